"""A histogram of delays, with constant memory for any number of values."""

from bisect import bisect_left
from itertools import accumulate
from typing import Final

BOUNDS: Final = tuple(0.1 * 2 ** (step / 2) for step in range(48))
"""Upper limits of the histogram's buckets, from 0.1 seconds to two weeks. One more bucket holds longer delays."""


class Lag:
    """A histogram of seconds. A percentile is too high by less than 50%; `longest` is exact."""

    __slots__ = ("buckets", "longest")

    def __init__(self) -> None:
        self.buckets = [0] * (len(BOUNDS) + 1)
        self.longest = 0.0

    @property
    def count(self) -> int:
        """The number of values."""
        return sum(self.buckets)

    def add(self, seconds: float, times: int = 1) -> None:
        """Add a delay, `times` times. A negative delay, from clocks that differ, counts as 0."""
        self.buckets[bisect_left(BOUNDS, seconds)] += times
        if seconds > self.longest:
            self.longest = seconds

    def merge(self, other: "Lag") -> None:
        """Add all values of another histogram."""
        self.buckets = [ours + theirs for ours, theirs in zip(self.buckets, other.buckets, strict=True)]
        self.longest = max(self.longest, other.longest)

    def percentile(self, share: float) -> float | None:
        """Seconds that at least this share (0 to 1) of all values do not exceed. None if there are no values."""
        rank = share * self.count
        if not self.count:
            return None
        bucket = next(index for index, so_far in enumerate(accumulate(self.buckets)) if so_far >= rank and so_far)
        return min(BOUNDS[bucket], self.longest) if bucket < len(BOUNDS) else self.longest
