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


class FirstPoll:
    """When to ask for the first time whether a refresh has ended, so that nearly every refresh needs one poll only.

    A poll that came too early costs a call, and one that came late costs time. So the delay doubles after each poll
    that came too early, and shrinks by 1 % after each that did not. Refreshes that run at the same time count once.
    """

    def __init__(self, *, shortest: float, longest: float) -> None:
        """In seconds."""
        self._shortest = shortest
        self._longest = longest
        self.delay = shortest

    def ended(self, delay: float) -> None:
        """Report that a refresh had ended after this delay."""
        # A refresh that began meanwhile may have made the delay longer.
        if self.delay <= delay:
            self.delay = max(self._shortest, 0.99 * delay)

    def came_too_early(self, delay: float) -> None:
        """Report that a refresh had not ended after this delay."""
        self.delay = max(self.delay, min(2 * delay, self._longest))


async def unless_busy(clock: Clock, attempt: Callable[[], Awaitable[T]]) -> T:
    """The result of `attempt`, which is repeated while the server answers `BUSY`. Being busy is not a failure."""
    began, patience = clock.monotonic(), None
    while True:
        try:
            return await attempt()
        except CallFailed as error:
            if error.code != BUSY:
                raise
            if patience is None:
                spent = clock.monotonic() - began
                patience = Patience(clock, first=1.0, longest=30.0, factor=2.0, budget=BUSY_BUDGET - spent)
            if not await patience.wait():
                raise
