"""Samples as text, in the format of Prometheus."""

from collections.abc import Iterable
from itertools import accumulate
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family

from jibe_sqs.telemetry.metrics import METRICS, Metric
from jibe_sqs.telemetry.samples import Distribution, Labels, Samples

_PROCESS: Final = ProcessCollector(registry=None)


def exposition(samples: Samples) -> tuple[bytes, str]:
    """The text, and its content type."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(samples))
    return generate_latest(registry), CONTENT_TYPE_LATEST


class _Collected:
    def __init__(self, samples: Samples) -> None:
        self._samples = samples

    def collect(self) -> Iterable[Family]:
        """The families, in the order of the table."""
        for name, metric in METRICS.items():
            if distributions := self._samples.distributions.get(name):
                yield _histogram(metric, distributions)
            elif values := self._samples.values.get(name):
                yield _family(metric, values)


def _family(metric: Metric, values: dict[Labels, float]) -> Family:
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    # Merged series of several workers have one label more.
    is_merged = metric.combine == "worker" and any(len(key) > len(metric.labels) for key in values)
    family = kind(metric.name, metric.help, labels=(*metric.labels, "worker") if is_merged else metric.labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _histogram(metric: Metric, distributions: dict[Labels, Distribution]) -> Family:
    family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
    limits = [*(f"{bound:.6g}" for bound in metric.bounds), "+Inf"]
    for key, each in distributions.items():
        buckets = list(zip(limits, accumulate(each.buckets), strict=True))
        family.add_metric(key, buckets, sum_value=each.sum)
    return family


def add_process(samples: Samples) -> None:
    """Add the memory, descriptors and time of this process, where the system shows them."""
    for family in _PROCESS.collect():
        for each in family.samples:
            if each.name in METRICS:
                samples.add(each.name, each.value)
