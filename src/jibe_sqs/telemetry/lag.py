"""How late things were: as many figures as you like, in the memory of a few."""

from bisect import bisect_left
from itertools import accumulate
from typing import Final

BOUNDS: Final = tuple(0.1 * 2 ** (step / 2) for step in range(48))
"""Seconds: the upper ends of the buckets, from a tenth of a second to two weeks; what is later is in one more."""


class Lag:
    """A histogram of seconds. Percentiles are too high by less than half; the longest is exact."""

    __slots__ = ("buckets", "longest")

    def __init__(self) -> None:
        self.buckets = [0] * (len(BOUNDS) + 1)
        self.longest = 0.0

    @property
    def count(self) -> int:
        """How many figures went in."""
        return sum(self.buckets)

    def add(self, seconds: float, times: int = 1) -> None:
        """So late, so often. Clocks differ: what is negative was not late at all."""
        seconds = max(0.0, seconds)
        self.buckets[bisect_left(BOUNDS, seconds)] += times
        self.longest = max(self.longest, seconds)

    def merge(self, other: "Lag") -> None:
        """Take in all of another's."""
        self.buckets = [ours + theirs for ours, theirs in zip(self.buckets, other.buckets, strict=True)]
        self.longest = max(self.longest, other.longest)

    def percentile(self, share: float) -> float | None:
        """At least this share of all (0 to 1) was no later than that. None if there is nothing to tell of."""
        wanted = share * self.count
        if not self.count:
            return None
        bucket = next(index for index, so_far in enumerate(accumulate(self.buckets)) if so_far >= wanted and so_far)
        return min(BOUNDS[bucket], self.longest) if bucket < len(BOUNDS) else self.longest
