"""The values of all metrics at one moment, as a value that processes can send each other."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Self

import msgspec

from jibe_sqs.telemetry.lag import Lag
from jibe_sqs.telemetry.metrics import METRICS, OTHER, Metric

MAX_LABEL: Final = 128
"""Characters of a label's value. Names of buckets and queues are shorter."""

Labels = tuple[str, ...]


class Distribution(msgspec.Struct):
    """A histogram: the number of values up to each of the metric's bounds and beyond the one before; and their sum."""

    buckets: list[int]
    sum: float

    def add(self, other: Self) -> None:
        """Add the values of another."""
        self.buckets = [ours + theirs for ours, theirs in zip(self.buckets, other.buckets, strict=True)]
        self.sum += other.sum


class Sent(msgspec.Struct, frozen=True):
    """Samples as JSON can represent them, whose objects have only strings as keys."""

    started: float
    values: list[tuple[str, Labels, float]]
    distributions: list[tuple[str, Labels, Distribution]]


class Samples:
    """Values by metric and label values. Both are bounded, whatever is added.

    `started`: when the process that counts was started; it tells its counters from those of an earlier process.
    """

    def __init__(self, started: float = 0.0) -> None:
        self.started = started
        self.values: dict[str, dict[Labels, float]] = {}
        self.distributions: dict[str, dict[Labels, Distribution]] = {}

    def add(self, name: str, value: float, *labels: str) -> None:
        """Add to the value of a series. A value that is no number is left out."""
        if math.isfinite(value):
            series = self.values.setdefault(name, {})
            key = _key(METRICS[name], labels, series)
            series[key] = series.get(key, 0.0) + value

    def add_all(self, name: str, values: Mapping[str, float], *labels: str) -> None:
        """Add values by the last label."""
        for label, value in values.items():
            self.add(name, value, *labels, label)

    def add_histogram(self, name: str, lag: Lag, *labels: str) -> None:
        """Add the values of a histogram, whose bounds include the metric's."""
        metric = METRICS[name]
        series = self.distributions.setdefault(name, {})
        key = _key(metric, labels, series)
        added = Distribution(_coarse(lag, metric.bounds), lag.sum)
        if key in series:
            series[key].add(added)
        else:
            series[key] = added

    def sent(self) -> Sent:
        """These samples for another process."""
        return Sent(
            self.started,
            [(name, key, value) for name, series in self.values.items() for key, value in series.items()],
            [(name, key, each) for name, series in self.distributions.items() for key, each in series.items()],
        )

    @classmethod
    def received(cls, sent: Sent) -> Self:
        """The samples that another process has sent."""
        samples = cls(sent.started)
        for name, key, value in sent.values:
            samples.values.setdefault(name, {})[key] = value
        for name, key, each in sent.distributions:
            samples.distributions.setdefault(name, {})[key] = each
        return samples


def _coarse(lag: Lag, bounds: tuple[float, ...]) -> list[int]:
    """The buckets of a histogram with fewer bounds."""
    coarse, bound = [0] * (len(bounds) + 1), 0
    for limit, count in zip((*lag.bounds, math.inf), lag.buckets, strict=True):
        while bound < len(bounds) and limit > bounds[bound]:
            bound += 1
        coarse[bound] += count
    return coarse


def _key(metric: Metric, labels: Labels, series: Mapping[Labels, object]) -> Labels:
    """The series that a value counts for: its own, or the shared one if there are too many."""
    if len(labels) != len(metric.labels):
        raise ValueError(f"{metric.name} has the labels {metric.labels}, not {labels}")
    key = tuple(_label(each) for each in labels)
    return key if key in series or len(series) < metric.most else (OTHER,) * len(key)


def _label(text: str) -> str:
    """A label's value. Names come from outside: they may be long, and have characters that UTF-8 cannot represent."""
    return text[:MAX_LABEL].encode("utf-8", "replace").decode()


Source = Callable[[Samples], None]
"""Adds what it measures to the samples."""


class Merger:
    """The samples of several workers as one. Counters never decrease: what a worker has counted stays when it has ended.

    Otherwise each restart of a worker would look like a restart of all, and a rate would count everything once more.
    """

    def __init__(self) -> None:
        self._last: dict[str, Samples] = {}
        self._ended = Samples()

    def merged(self, samples: Mapping[str, Samples | None]) -> Samples:
        """The samples of all workers, by name; None for one that does not answer: its counters stay, its gauges are left out."""
        merged = Samples()
        for name, now in samples.items():
            last = self._last.get(name)
            if now is not None and last is not None and now.started != last.started:
                _add_counters(self._ended, last)
            if now is not None:
                self._last[name] = now
                _add_gauges(merged, now, name)
        for each in (self._ended, *self._last.values()):
            _add_counters(merged, each)
        return merged


def _add_counters(merged: Samples, samples: Samples) -> None:
    for name, series in samples.values.items():
        if METRICS[name].kind == "counter":
            ours = merged.values.setdefault(name, {})
            for key, value in series.items():
                ours[key] = ours.get(key, 0.0) + value
    for name, distributions in samples.distributions.items():
        sums = merged.distributions.setdefault(name, {})
        for key, each in distributions.items():
            sums.setdefault(key, Distribution([0] * len(each.buckets), 0.0)).add(each)


def _add_gauges(merged: Samples, samples: Samples, worker: str) -> None:
    for name, series in samples.values.items():
        metric = METRICS[name]
        if metric.kind == "counter":
            continue
        ours = merged.values.setdefault(name, {})
        for key, value in series.items():
            if metric.combine == "worker":
                ours[(*key, worker)] = value
            elif key not in ours:
                ours[key] = value
            else:
                ours[key] = _COMBINED[metric.combine]((ours[key], value))


_COMBINED: Final[dict[str, Callable[[Iterable[float]], float]]] = {"sum": sum, "max": max, "min": min}
