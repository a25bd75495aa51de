"""Back-pressure: a number of units that are taken and given back, in the order of the requests."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType


class Budget:
    """A limited number of units, for example messages or bytes.

    Requests are served in their order, so small requests do not starve a large one.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.free = size
        self._requests: deque[asyncio.Event] = deque()

    async def take(self, most: int, *, least: int | None = None) -> int:
        """Wait until `least` units are free (by default all of `most`). Returns the number taken, at most `most`.

        A request that is larger than the whole budget is granted when all of it is free.
        """
        most = min(most, self.size)
        least = most if least is None else min(least, most)
        request = asyncio.Event()
        self._requests.append(request)
        try:
            while self._requests[0] is not request or self.free < least:
                request.clear()
                await request.wait()
            taken = min(most, self.free)
            self.free -= taken
            return taken
        finally:
            self._requests.remove(request)
            self._wake()

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

    def _wake(self) -> None:
        if self._requests:
            self._requests[0].set()


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
    """A part of a budget that one block holds."""

    def __init__(self, budget: Budget, amount: int) -> None:
        self.amount = amount
        self._budget = budget

    def reduce_to(self, amount: int) -> None:
        """Give back early what is held beyond `amount`. A share never grows."""
        if (excess := self.amount - amount) > 0:
            self.amount = amount
            self._budget.give(excess)
