"""Back-pressure: a number of units that are taken and given back, in the order of the requests."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType


class Budget:
    """A limited number of units, for example messages or bytes.

    Requests are served in their order, so small requests do not starve a large one. `free` is negative while the budget is
    overdrawn; then requests wait.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.free = size
        self._requests: deque[_Request] = deque()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_free(self) -> bool:
        """Whether a unit is free, and nobody waits for it."""
        return self.free > 0 and not self._requests

    def take_now(self, amount: int) -> bool:
        """Take units if they are free and nobody waits for any. Returns whether they were taken."""
        if self._requests or self.free < amount:
            return False
        self.free -= amount
        return True

    async def take(self, most: int, *, least: int | None = None, patience: float = 0.0) -> int:
        """Wait until `least` units are free (by default all of `most`). Returns the number taken, at most `most`.

        `patience`: the first request in the line waits for all of `most`, as long as units are given back within so many
        seconds of each other. A request that is larger than the whole budget is granted when all of it is free.
        """
        most = min(most, self.size)
        if self.take_now(most):
            return most
        request = _Request(most, most if least is None else min(least, most), patience)
        self._requests.append(request)
        self._serve()
        try:
            return await request.taken
        except asyncio.CancelledError:
            if request.taken.cancelled():
                self._serve()
            else:
                # It was granted and cancelled at the same moment.
                self.give(request.taken.result())
            raise

    def overdraw(self, amount: int = 1) -> None:
        """Take units now, also if they are not free: for what is here already."""
        self.free -= amount

    def resize(self, size: int) -> None:
        """Have so many units from now on. If more are taken, the budget is overdrawn until they are given back."""
        self.free += size - self.size
        self.size = size
        for request in self._requests:
            # Otherwise a request for more than the new size would wait for ever.
            request.limit(size)
        self._serve()

    def give(self, amount: int = 1) -> None:
        """Give units back."""
        self.free += amount
        if self._requests:
            self._serve()

    @asynccontextmanager
    async def share(self, amount: int) -> AsyncIterator["Share"]:
        """Take `amount`, waiting until it is free, and give it back at the end of the block."""
        share = Share(self, await self.take(amount))
        try:
            yield share
        finally:
            share.reduce_to(0)

    def _serve(self) -> None:
        """Grant what can be granted, in the order of the line."""
        while self._requests:
            first = self._requests[0]
            if not first.taken.done():
                if self.free < first.wanted:
                    self._begin_patience(first)
                    return
                taken = min(first.most, self.free)
                self.free -= taken
                first.taken.set_result(taken)
            self._requests.popleft()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _begin_patience(self, first: "_Request") -> None:
        """Some units may be free, but not all that the first request would like to have."""
        if self.free < first.least or first.wanted == first.least:
            return
        loop = asyncio.get_running_loop()
        first.impatient_at = loop.time() + first.patience
        if self._timer is None:
            self._timer = loop.call_at(first.impatient_at, self._end_patience)

    def _end_patience(self) -> None:
        self._timer = None
        first = next((each for each in self._requests if not each.taken.done()), None)
        if first is None or not first.impatient_at:
            return
        loop = asyncio.get_running_loop()
        # The first of the line may be another one by now, and units may have been given back.
        if loop.time() < first.impatient_at:
            self._timer = loop.call_at(first.impatient_at, self._end_patience)
        elif self.free >= first.least:
            first.wanted = first.least
            self._serve()


class _Request:
    """A request in the line. `wanted`: units that must be free. `impatient_at`: when `least` is enough; 0 if not known yet."""

    __slots__ = ("impatient_at", "least", "most", "patience", "taken", "wanted")

    def __init__(self, most: int, least: int, patience: float) -> None:
        self.most = most
        self.least = least
        self.patience = patience
        self.wanted = most if patience else least
        self.impatient_at = 0.0
        self.taken: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def limit(self, size: int) -> None:
        """Want no more than this."""
        self.most, self.least, self.wanted = min(self.most, size), min(self.least, size), min(self.wanted, size)


class Place:
    """One unit that was taken from a budget, and that several parts of one job use.

    It goes back to the budget when the last part ends, or at `leave`, and only once.
    """

    __slots__ = ("_budget", "_parts")

    def __init__(self, budget: Budget) -> None:
        self._budget: Budget | None = budget
        self._parts = 0

    def part(self) -> "_Part":
        """A context for one part of the job. The place is kept from this call until the context ends."""
        self._parts += 1
        return _Part(self)

    def leave(self) -> None:
        """Give the unit back now, if that has not happened yet."""
        budget, self._budget = self._budget, None
        if budget is not None:
            budget.give()

    def is_left(self) -> bool:
        """Whether the unit has been given back."""
        return self._budget is None

    def end_part(self) -> None:
        """One part has ended."""
        self._parts -= 1
        if not self._parts:
            self.leave()


class _Part:
    __slots__ = ("_place",)

    def __init__(self, place: Place) -> None:
        self._place = place

    def __enter__(self) -> None:
        """Nothing to do: the part counts since `Place.part`."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._place.end_part()


class Share:
    """A part of a budget that one block, or one message, holds."""

    __slots__ = ("_budget", "amount")

    def __init__(self, budget: Budget, amount: int) -> None:
        self.amount = amount
        self._budget = budget

    def reduce_to(self, amount: int) -> None:
        """Give back early what is held beyond `amount`."""
        if (excess := self.amount - amount) > 0:
            self.amount = amount
            self._budget.give(excess)

    def grow(self, amount: int) -> None:
        """Hold more, also if it is not free: it is in memory already."""
        self.amount += amount
        self._budget.overdraw(amount)

    def part(self, amount: int) -> "_More":
        """A context that holds so many units more, also if they are not free."""
        return _More(self, amount)

    @property
    def free(self) -> int:
        """The units of the budget that are free now; negative while it is overdrawn."""
        return self._budget.free


class _More:
    __slots__ = ("_amount", "_share")

    def __init__(self, share: Share, amount: int) -> None:
        self._share = share
        self._amount = amount

    def __enter__(self) -> None:
        self._share.grow(self._amount)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._share.reduce_to(self._share.amount - self._amount)
