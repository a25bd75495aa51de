"""Back-pressure: a number of units that are taken and given back, in the order of the requests."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
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

    async def take(
        self, most: int, *, least: int | None = None, patience: Callable[[], Awaitable[object]] | None = None
    ) -> int:
        """Wait until `least` units are free (by default all of `most`). Returns the number taken, at most `most`.

        `patience`: until it ends, the request waits for all of `most`; it keeps its position in the line. A request that
        is larger than the whole budget is granted when all of it is free.
        """
        most = min(most, self.size)
        least = most if least is None else min(least, most)
        request = _Request(least)
        waiting: asyncio.Future[object] | None = None
        if patience is not None and least < most and (self._requests or self.free < most):
            request.least = most
            waiting = asyncio.ensure_future(patience())
            waiting.add_done_callback(lambda _: self._reduce(request, least))
        self._requests.append(request)
        try:
            while self._requests[0] is not request or self.free < request.least:
                request.wake.clear()
                await request.wake.wait()
            taken = min(most, self.free)
            self.free -= taken
            return taken
        finally:
            self._requests.remove(request)
            self._wake()
            if waiting is not None:
                waiting.cancel()

    def overdraw(self, amount: int = 1) -> None:
        """Take units now, also if they are not free: for what is here already."""
        self.free -= amount

    def give(self, amount: int = 1) -> None:
        """Give units back."""
        self.free += amount
        self._wake()

    @asynccontextmanager
    async def share(self, amount: int) -> AsyncIterator["Share"]:
        """Take `amount`, waiting until it is free, and give it back at the end of the block."""
        share = Share(self, await self.take(amount))
        try:
            yield share
        finally:
            share.reduce_to(0)

    def _reduce(self, request: "_Request", least: int) -> None:
        request.least = least
        request.wake.set()

    def _wake(self) -> None:
        if self._requests:
            self._requests[0].wake.set()


class _Request:
    def __init__(self, least: int) -> None:
        self.least = least
        self.wake = asyncio.Event()


class Place:
    """One unit that was taken from a budget, and that several parts of one job use.

    It goes back to the budget when the last part ends, or at `leave`, and only once.
    """

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

    @property
    def free(self) -> int:
        """The units of the budget that are free now; negative while it is overdrawn."""
        return self._budget.free
