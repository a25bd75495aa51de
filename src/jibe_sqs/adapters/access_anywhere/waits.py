"""Waiting for something that is not ready yet: patiently, ever longer, but not for ever."""

from jibe_sqs.ports import Clock


class Patience:
    """Waits that grow by `factor` from `first` to `longest`, until `budget` is spent. All in seconds.

    while await patience.wait(): ask again. The budget runs from construction, and so counts the asking too.
    """

    def __init__(self, clock: Clock, *, first: float, longest: float, factor: float, budget: float) -> None:
        self._clock = clock
        self._delay = first
        self._longest = longest
        self._factor = factor
        self._deadline = clock.monotonic() + budget

    async def wait(self) -> bool:
        """Sleep for the next delay. False, without sleeping, if that would go beyond the budget."""
        if self._clock.monotonic() + self._delay > self._deadline:
            return False
        await self._clock.sleep(self._delay)
        self._delay = min(self._delay * self._factor, self._longest)
        return True
