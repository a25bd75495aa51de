"""Polling with growing delays, within a budget of time."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from jibe_sqs.core.errors import CallFailed
from jibe_sqs.ports import Clock

BUSY = "error_background"
"""The code of an answer while a background task of the server blocks the call."""

BUSY_BUDGET = 120.0
"""Seconds. rclone gives up after 6 s, which is too short."""

T = TypeVar("T")


class Patience:
    """Waits that grow by `factor` from `first` to `longest`, until `budget` is spent. All in seconds.

    Use it as `while await patience.wait():` and poll. The budget runs from construction, so it includes the time of the
    polls. The first wait lasts for `head_start` or more: an earlier poll would be useless.
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
        """Sleep for the next delay. Returns False, without sleeping, if the delay would exceed the budget."""
        delay = max(self._delay, self._head_start)
        if self._clock.monotonic() + delay > self._deadline:
            return False
        await self._clock.sleep(delay)
        self._head_start = 0.0
        self._delay = min(self._delay * self._factor, self._longest)
        return True


async def unless_busy(clock: Clock, attempt: Callable[[], Awaitable[T]]) -> T:
    """The result of `attempt`, which is repeated while the server answers `BUSY`. Being busy is not a failure."""
    patience = Patience(clock, first=1.0, longest=30.0, factor=2.0, budget=BUSY_BUDGET)
    while True:
        try:
            return await attempt()
        except CallFailed as error:
            if error.code != BUSY or not await patience.wait():
                raise
