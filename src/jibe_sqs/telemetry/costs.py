"""Events that are delivered and of no use, what they cost a month, and what avoids them.

    reads         a log has reads of objects
    log-bucket    a log has events about the bucket that it is delivered to, or about another log bucket
    copies        the same change comes twice: by two trails, or by a trail and by S3's notifications

A file counts once, also if it is read again. Copies are found in a sample: of one request in sixteen, the plan of a file has a
hash, and the last ten thousand of these hashes are remembered, each with its file.
"""

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from enum import StrEnum
from typing import Final

import msgspec

from jibe_sqs.core.model import LogFile, SkipReason
from jibe_sqs.core.plan import SAMPLED, Counts, Plan
from jibe_sqs.core.prices import CLOUDTRAIL_DATA_EVENT
from jibe_sqs.telemetry.status import CostStatus

MAX_SUBJECTS: Final = 200
"""Buckets, and places of logs, with counts of their own. All others share one, under the name `OTHERS`."""
OTHERS: Final = "(others)"
MAX_PLACES: Final = 255
"""Places of logs that are distinguished when a copy is found."""
MAX_FILES: Final = 8192
"""Files that are remembered, and up to twice as many. A file that is read again later counts again."""
MAX_CHANGES: Final = 8192
"""Sampled changes that are remembered, and up to twice as many: each stands for sixteen. One takes about 170 bytes."""
MIN_COPIES: Final = 2
"""Copies in the sample before they are shown. CloudTrail itself may deliver an event twice, though seldom."""
WINDOW: Final = 24
"""Hours over which events are counted for the costs."""
SHORTEST: Final = 600.0
"""Seconds. No shorter time is extrapolated to a month."""
MONTH: Final = 30 * 86_400.0
HOUR: Final = 3600.0

NOTIFICATIONS: Final = "S3's notifications"
_TRAIL_FOLDER: Final = "AWSLogs/"
_CHANGES_SKIPPED: Final = (SkipReason.OWN_WRITE, SkipReason.IGNORED, SkipReason.NOT_MAPPED, SkipReason.BEFORE_SYNC)


class Avoidable(StrEnum):
    """Why events are of no use."""

    READS = "reads"
    LOG_BUCKET = "log-bucket"
    COPIES = "copies"


class Cause(msgspec.Struct, frozen=True):
    """What avoidable events have in common. `subject`: the place of the logs, the log bucket, or the two that deliver.

    `is_trail`: a trail delivers them, so each has a known price.
    """

    kind: Avoidable
    subject: str
    is_trail: bool


class CostCounts(msgspec.Struct, frozen=True):
    """Avoidable events by cause within `seconds`, up to now. Copies are as many as the sample stands for."""

    events: Sequence[tuple[Cause, int]] = ()
    seconds: float = SHORTEST


class EventCosts:
    """Counts avoidable events. For one process: a copy is only found if it reads both files."""

    def __init__(
        self, log_buckets: Collection[str] = (), wall_clock: Callable[[], float] = time.time, *, workers: int = 1
    ) -> None:
        """`workers`: the processes that share the files. Each finds about one in so many of the copies in its files."""
        self._log_buckets = frozenset(log_buckets)
        self._wall_clock = wall_clock
        self._first = wall_clock()
        """The time of the first event, or of the start."""
        self._hours: dict[int, Counter[Cause]] = {}
        """Hour since the epoch -> the events of that hour."""
        self._totals: Counter[Avoidable] = Counter()
        self._causes: set[Cause] = set()
        self._files = _Files()
        self._copies = _Copies()
        self._copies_per_sample = SAMPLED * workers

    @property
    def totals(self) -> dict[str, int]:
        """The avoidable events since the start, by the words of `Avoidable`."""
        return {kind.value: count for kind, count in self._totals.items()}

    def read(self, file: LogFile, plan: Plan, *, prefix: str = "", is_trail: bool = True) -> None:
        """Count the records of a log file. `prefix`: of its source. `is_trail`: a trail of CloudTrail has delivered it."""
        identity = hash((file.bucket, file.key))
        if not self._files.add(identity):
            return
        found: Counter[Cause] = Counter()
        place = _place(file, prefix)
        for bucket, counts in plan.buckets.items():
            if bucket and (bucket == file.bucket or bucket in self._log_buckets):
                if events := counts.reads + _changes(counts):
                    found[Cause(Avoidable.LOG_BUCKET, bucket, is_trail)] += events
            elif counts.reads:
                found[Cause(Avoidable.READS, place, is_trail)] += counts.reads
        if plan.samples:
            for cause in self._copies.found(plan.samples, identity, place, is_trail=is_trail):
                found[cause] += self._copies_per_sample
        if found:
            self._add(found, plan.moment)

    def announced(self, plan: Plan) -> None:
        """Count the changes that a message itself announces. Only copies of them are avoidable."""
        found: Counter[Cause] = Counter()
        for cause in self._copies.found(plan.samples, 0, NOTIFICATIONS, is_trail=False):
            found[cause] += self._copies_per_sample
        if found:
            self._add(found, plan.moment)

    def counts(self) -> CostCounts:
        """The avoidable events of the last hours."""
        now = self._wall_clock()
        self._forget(now)
        sums: Counter[Cause] = Counter()
        for hour in self._hours.values():
            sums.update(hour)
        return CostCounts(tuple(sums.items()), min(max(now - self._first, SHORTEST), WINDOW * HOUR))

    def statuses(self) -> list[CostStatus]:
        """The avoidable events of the last hours, the most expensive first."""
        return cost_statuses(self.counts())

    def _add(self, found: Counter[Cause], moment: float) -> None:
        now = self._wall_clock()
        moment = min(moment or now, now)
        for cause, events in found.items():
            self._totals[cause.kind] += events
        if moment <= now - WINDOW * HOUR:
            # A backfill, or files that have waited for long: they say nothing about the present rate.
            return
        self._first = min(self._first, moment)
        hour = int(moment // HOUR)
        if hour not in self._hours:
            self._forget(now)
        counts = self._hours.setdefault(hour, Counter())
        for cause, events in found.items():
            counts[self._bounded(cause)] += events

    def _bounded(self, cause: Cause) -> Cause:
        if cause not in self._causes:
            if len(self._causes) >= MAX_SUBJECTS:
                return msgspec.structs.replace(cause, subject=OTHERS)
            self._causes.add(cause)
        return cause

    def _forget(self, now: float) -> None:
        oldest = int(now // HOUR) - WINDOW + 1
        for hour in [each for each in self._hours if each < oldest]:
            del self._hours[hour]


class _Files:
    """Remembers the last files by their hashes, in two generations."""

    def __init__(self) -> None:
        self._new: set[int] = set()
        self._old: set[int] = set()

    def add(self, identity: int) -> bool:
        """Remember a file. False if it is remembered already."""
        if identity in self._new or identity in self._old:
            return False
        self._new.add(identity)
        if len(self._new) >= MAX_FILES:
            self._old, self._new = self._new, set()
        return True


class _Copies:
    """Remembers sampled changes, in two generations: the hash of a change -> where it came first.

    That is one number, to save memory: the hash of the file, whose last eight bits are the number of its place.
    """

    def __init__(self) -> None:
        self._places: dict[tuple[str, bool], int] = {(NOTIFICATIONS, False): 0}
        self._new: dict[int, int] = {}
        self._old: dict[int, int] = {}

    def found(self, samples: Iterable[int], identity: int, place: str, *, is_trail: bool) -> list[Cause]:
        """The cause of each copy among these changes, which are all in the file with this hash. 0: in messages."""
        origin = identity & ~0xFF | self._number(place, is_trail=is_trail)
        causes: list[Cause] = []
        for sample in samples:
            known = self._new.get(sample)
            if known is None:
                known = self._old.get(sample)
            if known is None:
                self._new[sample] = origin
            elif known >> 8 != origin >> 8:
                causes.append(self._cause(known, origin))
        if len(self._new) >= MAX_CHANGES:
            self._old, self._new = self._new, {}
        return causes

    def _number(self, place: str, *, is_trail: bool) -> int:
        known = self._places.get((place, is_trail))
        if known is None:
            known = min(len(self._places), MAX_PLACES)
            if known < MAX_PLACES:
                self._places[place, is_trail] = known
        return known

    def _cause(self, one: int, other: int) -> Cause:
        places = list(self._places)
        pair = [places[each & 0xFF] if each & 0xFF < len(places) else (OTHERS, True) for each in (one, other)]
        subject = " and ".join(sorted({place for place, _ in pair}))
        return Cause(Avoidable.COPIES, subject, any(is_trail for _, is_trail in pair))


def merged_costs(found: Sequence[CostCounts]) -> CostCounts:
    """The counts of all workers of a service together."""
    sums: Counter[Cause] = Counter()
    for counts in found:
        for cause, events in counts.events:
            sums[cause] += events
    return CostCounts(tuple(sums.items()), max((each.seconds for each in found), default=SHORTEST))


def cost_statuses(counts: CostCounts) -> list[CostStatus]:
    """What to show: the most expensive first. The dollars are those of a month at the rate of the counted time."""
    shown = [
        CostStatus(
            what=_what(cause),
            events=events,
            dollars=events * MONTH / counts.seconds * CLOUDTRAIL_DATA_EVENT if cause.is_trail else 0.0,
            remedy=_remedy(cause),
            seconds=counts.seconds,
        )
        for cause, events in counts.events
        if cause.kind is not Avoidable.COPIES or events >= MIN_COPIES * SAMPLED
    ]
    return sorted(shown, key=lambda each: (-each.dollars, -each.events, each.what))


def _what(cause: Cause) -> str:
    match cause.kind:
        case Avoidable.READS:
            return (
                f"reads of objects in {'the files of the trail' if cause.is_trail else 'the logs'} in {cause.subject}"
            )
        case Avoidable.LOG_BUCKET:
            loop = "each log file makes more of them"
            return f"events about the log bucket {cause.subject} itself ({loop})"
        case Avoidable.COPIES if " and " in cause.subject:
            return f"changes that come twice, from {cause.subject} (estimated from one in {SAMPLED})"
        case Avoidable.COPIES:
            return f"changes that are in two files in {cause.subject} (estimated from one in {SAMPLED})"


def _remedy(cause: Cause) -> str:
    match cause.kind:
        case Avoidable.READS if cause.is_trail:
            return "set readOnly to false, or ReadWriteType to WriteOnly, in the trail's data events"
        case Avoidable.READS:
            return "this log cannot leave out reads: S3's notifications, or a trail with readOnly = false, can"
        case Avoidable.LOG_BUCKET if cause.is_trail:
            arn = f"arn:aws:s3:::{cause.subject}/"
            return f"exclude {arn} from the trail's data events (resources.ARN, NotStartsWith)"
        case Avoidable.LOG_BUCKET:
            return f"do not log the requests to {cause.subject}"
        case Avoidable.COPIES if NOTIFICATIONS in cause.subject:
            return "remove the buckets from the trail's data events, or remove their notifications"
        case Avoidable.COPIES:
            return "remove the buckets from the data events of one of the trails"


def _place(file: LogFile, prefix: str) -> str:
    """Where the log is delivered: the folder above `AWSLogs`, else the prefix of the source."""
    before, folder, _ = file.key.partition(_TRAIL_FOLDER)
    return f"s3://{file.bucket}/{before if folder else prefix}"


def _changes(counts: Counts) -> int:
    return counts.events + sum(counts.skipped[reason] for reason in _CHANGES_SKIPPED)
