"""Counters of the service's work since it started."""

from collections import Counter

import msgspec

from jibe_sqs.core.model import SkipReason
from jibe_sqs.core.plan import Plan
from jibe_sqs.core.stale_folders import Needed


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

    def planned(self, plan: Plan, needed: Needed) -> None:
        """Count the records of a plan, and the events whose folders are already refreshed."""
        for counts in plan.buckets.values():
            self.records += counts.records
            self.events += counts.events
            for reason, number in counts.skipped.items():
                self.skipped[reason.value] += number
        if already_refreshed := needed.already_refreshed.total():
            self.skipped[SkipReason.ALREADY_REFRESHED.value] += already_refreshed

    def as_dict(self) -> dict[str, object]:
        """The counts as fields of a log event."""
        counts: dict[str, object] = msgspec.structs.asdict(self)
        counts["nothing"] = dict(self.nothing)
        counts["receives"] = {str(nth): count for nth, count in sorted(self.receives.items())}
        counts["skipped"] = dict(self.skipped)
        counts["errors"] = dict(self.errors)
        return counts
