"""Counters of the service's work since it started."""

from collections import Counter
from typing import Final

import msgspec

from jibe_sqs.core.model import SkipReason
from jibe_sqs.core.plan import Plan
from jibe_sqs.core.stale_folders import Needed
from jibe_sqs.telemetry.metrics import MOST_BUCKETS, OTHER
from jibe_sqs.telemetry.stages import Stages

NOT_LOGGED: Final = frozenset({"buckets", "dead_letters", "stages"})
"""Counters that are metrics, and too long for a log line."""


class BucketCounts(msgspec.Struct):
    """The records of one bucket."""

    records: int = 0
    events: int = 0
    skipped: Counter[str] = msgspec.field(default_factory=Counter)


class Counters(msgspec.Struct):
    """Counts since the start. They may be read at any moment."""

    messages: int = 0
    redelivered: int = 0
    """Messages that were received for the second time or later."""
    receives: Counter[int] = msgspec.field(default_factory=Counter)
    """The number of receives, by the receive count of the message: 1 for the first receive, 2 for the second, …"""
    done: int = 0
    retried: int = 0
    rejected: int = 0
    files: int = 0
    """Log files that were read to their end."""
    files_known: int = 0
    """Log files that were not fetched, because they are finished in the ledger."""
    coarsened: int = 0
    """Log files with too many folders, for which whole trees were refreshed."""
    bytes: int = 0
    """Bytes of log files, as stored."""
    records: int = 0
    bad_records: int = 0
    """Records that could not be read and were skipped, because their source allows it."""
    events: int = 0
    """Records that asked for a refresh."""
    nothing: Counter[str] = msgspec.field(default_factory=Counter)
    """Announcements that asked for nothing, by their kind."""
    skipped: Counter[str] = msgspec.field(default_factory=Counter)
    errors: Counter[str] = msgspec.field(default_factory=Counter)
    dead_letters: Counter[tuple[str, str]] = msgspec.field(default_factory=Counter)
    """Rejected messages, by queue and error."""
    buckets: dict[str, BucketCounts] = msgspec.field(default_factory=dict)
    """Of the first `MOST_BUCKETS` buckets that came, and of all others together under `OTHER`."""
    stages: Stages = msgspec.field(default_factory=Stages)

    def planned(self, plan: Plan, needed: Needed) -> None:
        """Count the records of a plan, and the events whose folders are already refreshed."""
        for bucket, counts in plan.buckets.items():
            self.records += counts.records
            self.events += counts.events
            in_bucket = self._bucket(bucket)
            in_bucket.records += counts.records
            in_bucket.events += counts.events
            for reason, number in counts.skipped.items():
                self.skipped[reason.value] += number
                in_bucket.skipped[reason.value] += number
        for bucket, number in needed.already_refreshed.items():
            self.skipped[SkipReason.ALREADY_REFRESHED.value] += number
            self._bucket(bucket).skipped[SkipReason.ALREADY_REFRESHED.value] += number

    def _bucket(self, name: str) -> BucketCounts:
        counts = self.buckets.get(name)
        if counts is None:
            # A plan has an empty name for all buckets beyond its limit.
            is_known = name and len(self.buckets) < MOST_BUCKETS
            name = name if is_known else OTHER
            counts = self.buckets.get(name) or self.buckets.setdefault(name, BucketCounts())
        return counts

    def as_dict(self) -> dict[str, object]:
        """The counts as fields of a log event."""
        counts: dict[str, object] = {
            name: value for name, value in msgspec.structs.asdict(self).items() if name not in NOT_LOGGED
        }
        counts["nothing"] = dict(self.nothing)
        counts["receives"] = {str(nth): count for nth, count in sorted(self.receives.items())}
        counts["skipped"] = dict(self.skipped)
        counts["errors"] = dict(self.errors)
        return counts
