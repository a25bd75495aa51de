"""S3's clock, as its answers show it."""

import asyncio
import time


class S3Clock:
    """S3's time, from the `Date` of its answers, carried on by a clock that never steps.

    A `Date` is whole seconds, cut off, and is of before we saw it: so what is told here is never ahead of S3's own
    clock. Before the first answer it is the beginning of time: nothing can be known to be older than that.
    """

    def __init__(self) -> None:
        self._offset: float | None = None
        self._seen_at = float("-inf")

    def observe(self, date: float) -> None:
        """An answer with this `Date` (seconds since the epoch) has just come in."""
        self._seen_at = self.monotonic()
        self._offset = date - self._seen_at

    @property
    def age(self) -> float:
        """Seconds since the last observation."""
        return self.monotonic() - self._seen_at

    def now(self) -> float:
        """Seconds since the epoch."""
        return 0.0 if self._offset is None else self.monotonic() + self._offset

    def monotonic(self) -> float:
        """For durations."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Sleep."""
        await asyncio.sleep(seconds)
