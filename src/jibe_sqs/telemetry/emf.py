"""Metrics for CloudWatch inside the log: a JSON line in the embedded metric format, which needs no agent and no permission.

CloudWatch Logs makes metrics of each log event that is a JSON object with a member `_aws`. Each of our log lines is an object.
Format: CloudWatch User Guide, "Specification: Embedded metric format".
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

import msgspec
import structlog

from jibe_sqs.telemetry.metrics import METRICS
from jibe_sqs.telemetry.samples import Distribution, Labels, Samples

INTERVAL: Final = 60.0
"""Seconds between two lines: CloudWatch's own resolution."""

log = structlog.get_logger()


class Exported(msgspec.Struct, frozen=True, kw_only=True):
    """One metric of CloudWatch. `metric`: where it comes from; the series with these label values, if any, are summed.

    `unit`: CloudWatch's name. `is_growth`: how much it grew since the last line; otherwise, its value now.
    `share`: of a histogram, the duration that this share of the values since the last line did not exceed.
    """

    name: str
    metric: str
    unit: str = "Count"
    labels: Labels = ()
    share: float = 0.0
    highest: bool = False
    """The highest of all series counts, not their sum."""

    @property
    def is_growth(self) -> bool:
        """Whether only what is new counts."""
        return METRICS[self.metric].kind != "gauge"


CLOUDWATCH: Final = (
    Exported(name="Ready", metric="jibe_ready", unit="None"),
    Exported(name="IndexLagP99", metric="jibe_index_lag_seconds", unit="Seconds", share=0.99),
    Exported(name="OldestMessageAge", metric="jibe_oldest_message_age_seconds", unit="Seconds", highest=True),
    Exported(name="FoldersWaiting", metric="jibe_folders_waiting"),
    Exported(name="IndexTrueRatio", metric="jibe_index_true_ratio", unit="None"),
    Exported(name="MessagesReceived", metric="jibe_messages_received_total"),
    Exported(name="MessagesDone", metric="jibe_messages_done_total"),
    Exported(name="MessagesRetried", metric="jibe_messages_retried_total"),
    Exported(name="DeadLetters", metric="jibe_dead_letters_total"),
    Exported(name="Events", metric="jibe_events_total"),
    Exported(name="Refreshes", metric="jibe_refreshes_total"),
    Exported(name="RefreshFailures", metric="jibe_refresh_failures_total"),
    Exported(name="BadRecords", metric="jibe_bad_records_total"),
    Exported(name="GatesClosed", metric="jibe_gate_closed"),
    Exported(name="CallsFailed", metric="jibe_access_anywhere_calls_total", labels=("failed",)),
    Exported(name="LedgerFailures", metric="jibe_ledger_failures_total"),
    Exported(name="SilentSources", metric="jibe_silent"),
    Exported(name="LogLinesLost", metric="jibe_log_lines_lost_total"),
    Exported(name="Memory", metric="process_resident_memory_bytes", unit="Bytes"),
)
"""The metrics that matter: CloudWatch charges for each."""


class EmbeddedMetrics:
    """Logs a line at each interval while `run` runs."""

    def __init__(
        self,
        samples: Callable[[], Awaitable[Samples]],
        *,
        namespace: str,
        service: str,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """`service`: the only dimension. Replicas share it, and CloudWatch adds their values, or takes the highest."""
        self._samples = samples
        self._namespace = namespace
        self._service = service
        self._wall_clock = wall_clock
        self._before = Samples()

    async def run(self) -> None:
        """Log a line at each interval, until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL)
            await self.log()

    async def log(self) -> None:
        """Log one line now. Raises nothing."""
        try:
            log.info("metrics", **self.fields(await self._samples()))
        except Exception:
            # A defect of ours. The next line may be right.
            log.exception("metrics_failed")

    def fields(self, samples: Samples) -> dict[str, Any]:
        """The fields of a line with these values, and with their growth since the last one."""
        values: dict[str, float] = {}
        for each in CLOUDWATCH:
            with suppress(LookupError):
                values[each.name] = _value(each, samples, self._before)
        self._before = samples
        metrics = [{"Name": each.name, "Unit": each.unit} for each in CLOUDWATCH if each.name in values]
        directive = {"Namespace": self._namespace, "Dimensions": [["service"]], "Metrics": metrics}
        return {
            "_aws": {"Timestamp": int(self._wall_clock() * 1000), "CloudWatchMetrics": [directive]},
            "service": self._service,
            **values,
        }


def _value(exported: Exported, samples: Samples, before: Samples) -> float:
    """Raises `LookupError` if there is none: then the metric is missing in the line, not 0."""
    if exported.share:
        return _percentile(exported, samples, before)
    now = _series(exported, samples)
    if not exported.is_growth:
        if not now:
            raise LookupError(exported.metric)
        return max(now) if exported.highest else sum(now)
    return max(0.0, sum(now) - sum(_series(exported, before)))


def _series(exported: Exported, samples: Samples) -> list[float]:
    series = samples.values.get(exported.metric, {})
    return [value for key, value in series.items() if set(exported.labels) <= set(key)]


def _percentile(exported: Exported, samples: Samples, before: Samples) -> float:
    now, then = (_all(exported.metric, each) for each in (samples, before))
    buckets = [max(0, new - old) for new, old in zip(now.buckets, then.buckets, strict=True)]
    rank, so_far = exported.share * sum(buckets), 0
    bounds = METRICS[exported.metric].bounds
    for bound, count in zip((*bounds, 2 * bounds[-1]), buckets, strict=True):
        so_far += count
        if count and so_far >= rank:
            return bound
    raise LookupError(exported.metric)


def _all(metric: str, samples: Samples) -> Distribution:
    """The values of all series together."""
    total = Distribution([0] * (len(METRICS[metric].bounds) + 1), 0.0)
    for each in samples.distributions.get(metric, {}).values():
        total.add(each)
    return total
