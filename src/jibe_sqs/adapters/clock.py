"""S3's clock, known from the `Date` headers of its answers."""

import asyncio
import time


class S3Clock:
    """S3's time: the last observed `Date`, plus the time since then by a monotonic clock.

    A `Date` is truncated to seconds, and is older than its arrival. So this clock is never ahead of S3's clock. Before
    the first observation it is 0, the epoch: then no event counts as older than a refresh.
    """

    def __init__(self) -> None:
        self._offset: float | None = None
        self._seen_at = float("-inf")

    def observe(self, date: float) -> None:
        """Record the `Date` (seconds since the epoch) of an answer that has just arrived."""
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
        """Seconds, for durations."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Sleep."""
        await asyncio.sleep(seconds)
