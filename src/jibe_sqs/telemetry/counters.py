"""What the service has done since it started, counted."""

from collections import Counter

import msgspec

from jibe_sqs.core.decisions import Needed, Plan
from jibe_sqs.core.model import SkipReason


class Counters(msgspec.Struct):
    """Counts since the start. Plain integers: read them at any moment."""

    messages: int = 0
    redelivered: int = 0
    """Messages that had been received before."""
    receives: Counter[int] = msgspec.field(default_factory=Counter)
    """How many times messages were received as the first, the second, … time."""
    done: int = 0
    retried: int = 0
    rejected: int = 0
    files: int = 0
    """Log files read to their end."""
    files_known: int = 0
    """Log files that the ledger knew as finished, and that were not fetched again."""
    bytes: int = 0
    """Of log files, as stored."""
    records: int = 0
    bad_records: int = 0
    """Skipped, where the source allows it."""
    events: int = 0
    """Records of changes that asked for a refresh."""
    nothing: Counter[str] = msgspec.field(default_factory=Counter)
    """Announcements that asked for nothing, by what they were."""
    skipped: Counter[str] = msgspec.field(default_factory=Counter)
    errors: Counter[str] = msgspec.field(default_factory=Counter)

    def planned(self, plan: Plan, needed: Needed) -> None:
        """Count what was read, and the events that need no refresh any more."""
        self.records += plan.records
        self.events += plan.events
        self.skipped.update({reason.value: count for reason, count in plan.skipped.items()})
        if seen := needed.already_refreshed.total():
            self.skipped[SkipReason.ALREADY_REFRESHED.value] += seen

    def as_dict(self) -> dict[str, object]:
        """For logs."""
        counts: dict[str, object] = msgspec.structs.asdict(self)
        counts["nothing"] = dict(self.nothing)
        counts["receives"] = {str(nth): times for nth, times in sorted(self.receives.items())}
        counts["skipped"] = dict(self.skipped)
        counts["errors"] = dict(self.errors)
        return counts
