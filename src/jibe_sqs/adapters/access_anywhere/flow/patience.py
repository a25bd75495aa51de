"""Waiting for something that is not ready yet: patiently, ever longer, but not for ever."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from jibe_sqs.core.errors import CallFailed
from jibe_sqs.ports import Clock

BUSY = "error_background"
"""The code that says that a task of the server's own is in the way."""

BUSY_BUDGET = 120.0

T = TypeVar("T")


class Patience:
    """Waits that grow by `factor` from `first` to `longest`, until `budget` is spent. All in seconds.

    while await patience.wait(): ask again. The budget runs from construction, and so counts the asking too. A
    `head_start` takes the place of the first wait, where nothing is worth asking about before.
    """

    def __init__(
        self, clock: Clock, *, first: float, longest: float, factor: float, budget: float, head_start: float = 0.0
    ) -> None:
        self._clock = clock
        self._delay = first
        self._head_start = head_start
        self._longest = longest
        self._factor = factor
        self._deadline = clock.monotonic() + budget

    async def wait(self) -> bool:
        """Sleep for the next delay. False, without sleeping, if that would go beyond the budget."""
        delay = max(self._delay, self._head_start)
        if self._clock.monotonic() + delay > self._deadline:
            return False
        await self._clock.sleep(delay)
        self._head_start = 0.0
        self._delay = min(self._delay * self._factor, self._longest)
        return True


async def unless_busy(clock: Clock, attempt: Callable[[], Awaitable[T]]) -> T:
    """What the attempt gives, which is made again while the server is `BUSY`: nothing is wrong, it takes a while."""
    patience = Patience(clock, first=1.0, longest=30.0, factor=2.0, budget=BUSY_BUDGET)
    while True:
        try:
            return await attempt()
        except CallFailed as error:
            if error.code != BUSY or not await patience.wait():
                raise
