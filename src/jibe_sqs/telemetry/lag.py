"""Histograms of durations, with constant memory for any number of values."""

from bisect import bisect_left
from itertools import accumulate
from typing import ClassVar, Final, Self

BOUNDS: Final = tuple(0.1 * 2 ** (step / 2) for step in range(48))
"""Upper limits of the histogram's buckets, from 0.1 seconds to two weeks. One more bucket holds longer delays."""
SHORT_BOUNDS: Final = tuple(0.001 * 2**step for step in range(24))
"""The same for stages of the work, from a millisecond to two hours."""


class Lag:
    """A histogram of seconds. A percentile is too high by less than 50%; `longest` and `sum` are exact."""

    __slots__ = ("buckets", "longest", "sum")
    bounds: ClassVar[tuple[float, ...]] = BOUNDS

    def __init__(self) -> None:
        self.buckets = [0] * (len(self.bounds) + 1)
        self.longest = 0.0
        self.sum = 0.0

    @property
    def count(self) -> int:
        """The number of values."""
        return sum(self.buckets)

    def add(self, seconds: float, times: int = 1) -> None:
        """Add a delay, `times` times. A negative delay, from clocks that differ, counts as 0."""
        self.buckets[bisect_left(self.bounds, seconds)] += times
        if seconds > 0:
            self.sum += seconds * times
            if seconds > self.longest:
                self.longest = seconds

    def merge(self, other: Self) -> None:
        """Add all values of another histogram."""
        self.buckets = [ours + theirs for ours, theirs in zip(self.buckets, other.buckets, strict=True)]
        self.longest = max(self.longest, other.longest)
        self.sum += other.sum

    def percentile(self, share: float) -> float | None:
        """Seconds that at least this share (0 to 1) of all values do not exceed. None if there are no values."""
        rank = share * self.count
        if not self.count:
            return None
        bucket = next(index for index, so_far in enumerate(accumulate(self.buckets)) if so_far >= rank and so_far)
        return min(self.bounds[bucket], self.longest) if bucket < len(self.bounds) else self.longest


class Durations(Lag):
    """A histogram of the durations of one stage, which are shorter than lags. A percentile is too high by less than 100%."""

    __slots__ = ()
    bounds = SHORT_BOUNDS
