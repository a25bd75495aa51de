"""What happened, place by place: for the reports.

A place is a provider, the folder of Access Anywhere's first level, and a bucket that it shows. What is read is known by
its bucket alone: it counts for each provider that shows the bucket, and once in the total.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

import msgspec

from jibe_sqs.core.decisions import Needed, Places, Plan, Stale
from jibe_sqs.core.model import UNKNOWN_TIME, Change, Folder, SkipReason
from jibe_sqs.ports import Clock, PendingRefresh, RefreshOutcome
from jibe_sqs.telemetry.lag import Lag

ROWS: Final = 1000
"""Places that are counted each by itself; what is beyond stands together, without a name."""
FAILED: Final = 100_000
"""Folders that are remembered because their last refresh failed."""


class At(NamedTuple):
    """A place. Without a provider: a bucket that none shows. Without a bucket: of none, or of too many to tell apart."""

    provider: str
    bucket: str


class Counts(msgspec.Struct):
    """What happened at a place. `events` asked for something; those `already-refreshed` are counted as skipped too."""

    records: int = 0
    events: int = 0
    skipped: Counter[str] = msgspec.field(default_factory=Counter)
    folders: int = 0
    """Refreshed because an event asked for it."""
    trees: int = 0
    for_descendant: int = 0
    """Folders refreshed because the refresh of another needed it."""
    failed: Counter[str] = msgspec.field(default_factory=Counter)
    """Refreshes that failed, by the error's class."""
    refreshing: float = 0.0
    """Seconds in refreshes; several run at a time."""
    lag: Lag = msgspec.field(default_factory=Lag)
    """From an event to the end of what it asked for."""

    @property
    def refreshes(self) -> int:
        """That went well."""
        return self.folders + self.trees + self.for_descendant

    def merge(self, other: "Counts") -> None:
        """Take in all of another's."""
        self.merge_read(other)
        self.folders += other.folders
        self.trees += other.trees
        self.for_descendant += other.for_descendant
        self.failed.update(other.failed)
        self.refreshing += other.refreshing
        self.lag.merge(other.lag)

    def merge_read(self, other: "Counts") -> None:
        """Take in what was read."""
        self.records += other.records
        self.events += other.events
        self.skipped.update(other.skipped)


class Counted(msgspec.Struct):
    """What happened everywhere. `total`: what two providers show was read once."""

    places: dict[At, Counts] = msgspec.field(default_factory=dict)
    read: Counts = msgspec.field(default_factory=Counts)

    def at(self, provider: str, bucket: str) -> Counts:
        """The counts of one place."""
        place = At(provider, bucket)
        if place not in self.places and len(self.places) >= ROWS:
            place = At("", "")
        return self.places.setdefault(place, Counts())

    @property
    def total(self) -> Counts:
        """Of all places."""
        total = Counts()
        for counts in self.places.values():
            total.merge(counts)
        total.records, total.events, total.skipped = self.read.records, self.read.events, self.read.skipped.copy()
        return total

    def merge(self, other: "Counted") -> None:
        """Take in all of another's."""
        for place, counts in other.places.items():
            self.at(*place).merge(counts)
        self.read.merge_read(other.read)


class StaleNow(msgspec.Struct):
    """Folders of a place that are stale: how many, and for how long the oldest (seconds)."""

    count: int = 0
    oldest: float = 0.0


def everywhere() -> None:
    """No mapping: every bucket stands at `/BUCKET`."""


class Activity:
    """Takes in what the handler and the refreshes do. `places` are asked for each time: they change."""

    def __init__(self, clock: Clock, places: Callable[[], Places | None] = everywhere) -> None:
        self._clock = clock
        self._places = places
        self._now = Counted()
        self._before = Counted()
        self._failed: dict[Folder, float] = {}
        self._indexed: Places | None = None
        self._by_folder: dict[str, At] = {}

    def planned(self, plan: Plan, needed: Needed) -> None:
        """A log file, or a message's own events, were read to their end and decided on."""
        already = Counter[str]()
        for bucket, events in needed.already_refreshed.items():
            # A plan counts the buckets beyond its limit together, without a name.
            already[bucket if bucket in plan.buckets else ""] += events
        for bucket, counts in plan.buckets.items():
            read = Counts(counts.records, counts.events, Counter(counts.skipped))
            if already[bucket]:
                read.skipped[SkipReason.ALREADY_REFRESHED] += already[bucket]
            self._now.read.merge_read(read)
            for provider in self._providers(bucket):
                self._now.at(provider, bucket).merge_read(read)

    def done(self, stale: Iterable[Stale], changes: Sequence[Change]) -> None:
        """The folders are refreshed, and the changes are reported to Access Anywhere. Records the lag of their events."""
        now = self._clock.now()
        if not now:
            return
        for each in stale:
            for folder in each.folders:
                _add_lag(self._now.at(_provider(folder), each.bucket).lag, each, now)
        for change in changes:
            if change.event.time == UNKNOWN_TIME:
                continue
            for folder in change.folders:
                self._now.at(_provider(folder), change.event.bucket).lag.add(now - change.event.time)

    def refreshed(self, outcome: RefreshOutcome) -> None:
        """A refresh has ended, well or not."""
        folder = outcome.folder
        counts = self._now.at(*self._place(folder))
        counts.refreshing += outcome.seconds
        if outcome.error is not None:
            counts.failed[type(outcome.error).__name__] += 1
            if not outcome.for_descendant and len(self._failed) < FAILED:
                self._failed.setdefault(folder, self._clock.monotonic() - outcome.waited)
            return
        if folder.tree:
            counts.trees += 1
        elif outcome.for_descendant:
            counts.for_descendant += 1
        else:
            counts.folders += 1
        self._mended(folder)

    def take(self) -> Counted:
        """What happened since this was last asked."""
        taken, self._now = self._now, Counted()
        self._before.merge(taken)
        return taken

    def since_start(self) -> Counted:
        """What happened since the start."""
        counted = Counted()
        counted.merge(self._before)
        counted.merge(self._now)
        return counted

    def stale(self, waiting: Iterable[PendingRefresh] = ()) -> dict[At, StaleNow]:
        """Which places have stale folders now: those that wait for a refresh, and those whose last one failed."""
        since = dict(self._failed)
        for each in waiting:
            if not each.for_descendant:
                since[each.folder] = min(since.get(each.folder, each.since), each.since)
        found: dict[At, StaleNow] = {}
        now = self._clock.monotonic()
        for folder, moment in since.items():
            place = found.setdefault(self._place(folder), StaleNow())
            place.count += 1
            place.oldest = max(place.oldest, now - moment)
        return found

    def _mended(self, folder: Folder) -> None:
        self._failed.pop(folder, None)
        if folder.tree and self._failed:
            top = folder.path.rstrip("/")
            below = [each for each in self._failed if each.path == top or each.path.startswith(f"{top}/")]
            for each in below:
                del self._failed[each]

    def _providers(self, bucket: str) -> Iterable[str]:
        places = self._places()
        if places is None or not bucket:
            return (bucket,)
        # One provider may show several parts of a bucket.
        return dict.fromkeys(_first(place.folder) for place in places.get(bucket, ())) or ("",)

    def _place(self, folder: Folder) -> At:
        """The place that shows the folder. A folder above all of a provider's places has no bucket."""
        places = self._places()
        if places is None:
            return At(_provider(folder), _provider(folder))
        if places is not self._indexed:
            self._by_folder = {
                place.folder.rstrip("/"): At(_first(place.folder), bucket)
                for bucket, shown in places.items()
                for place in shown
            }
            self._indexed = places
        path = folder.path.rstrip("/")
        while path:
            if place := self._by_folder.get(path):
                return place
            path = path.rpartition("/")[0]
        return At(_provider(folder), "")


def _add_lag(lag: Lag, stale: Stale, now: float) -> None:
    """Events whose time is unknown have no lag. Of those between the first and the last, only the number is known."""
    if stale.earliest == UNKNOWN_TIME:
        return
    lag.add(now - stale.earliest)
    if stale.latest == UNKNOWN_TIME:
        return
    if stale.events > 1:
        lag.add(now - stale.latest)
    if stale.events > 2:
        lag.add(now - (stale.earliest + stale.latest) / 2, stale.events - 2)


def _provider(folder: Folder) -> str:
    return _first(folder.path)


def _first(path: str) -> str:
    return path.lstrip("/").partition("/")[0]
