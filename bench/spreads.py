"""Medians and spreads of repeated measurements."""

import statistics
from collections.abc import Sequence

import msgspec


class Spread(msgspec.Struct, frozen=True):
    """The median of some measurements, the lowest and the highest."""

    median: float
    low: float
    high: float
    values: list[float]


def spread(values: Sequence[float]) -> Spread:
    """The spread of at least one value."""
    return Spread(statistics.median(values), min(values), max(values), list(values))


def ratios(values: Sequence[float], others: Sequence[float]) -> Spread:
    """How many times each value is contained in the other one of the same round.

    A machine that is busy in one round is busy for both, so the ratios vary less than the values.
    """
    return spread([other / value for value, other in zip(values, others, strict=True)])


def quantile(values: Sequence[float], part: float) -> float:
    """The smallest value such that `part` of the values, from 0 to 1, are not above it."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -int(-part * len(ordered) // 1) - 1))]
