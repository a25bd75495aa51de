"""Counts the work per provider and bucket, for the reports.

A provider is known by its top-level folder in Access Anywhere. Records contain only a bucket: they count for each
provider that shows the bucket, and once in the total.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from jibe_sqs.core.decisions import Places
from jibe_sqs.core.model import UNKNOWN_TIME, Change, Folder, SkipReason
from jibe_sqs.core.plan import Counts as PlanCounts
from jibe_sqs.core.plan import Plan
from jibe_sqs.core.plan_sizes import text_size
from jibe_sqs.core.stale_folders import Needed, Stale
from jibe_sqs.ports import Clock, PendingRefresh, RefreshOutcome
from jibe_sqs.telemetry.lag import Lag

MAX_ROWS: Final = 1000
"""Pairs of provider and bucket with counts of their own. All others share one row without names."""
MAX_FAILED_SIZE: Final = 16 * 1024 * 1024
"""Bytes of the folders that are kept because their last refresh failed: 50,000 usual ones. A path may have thousands of
characters."""


class ProviderBucket(NamedTuple):
    """A provider and a bucket that it shows.

    Without a provider: no provider shows the bucket. Without a bucket: the work concerns no bucket or no single bucket,
    or there are more than `MAX_ROWS`.
    """

    provider: str
    bucket: str


class Counts(msgspec.Struct):
    """The work for one provider and bucket."""

    records: int = 0
    events: int = 0
    """Records that asked for a refresh. Those that are `already-refreshed` are counted in `skipped`, too."""
    skipped: Counter[str] = msgspec.field(default_factory=Counter)
    folders: int = 0
    """Refreshes of a folder that an event asked for."""
    trees: int = 0
    """Refreshes of a folder with everything below it."""
    for_descendant: int = 0
    """Refreshes of a folder that the refresh of a folder below it needed."""
    failed: Counter[str] = msgspec.field(default_factory=Counter)
    """Failed refreshes, by error class."""
    refreshing: float = 0.0
    """Seconds spent in refreshes. Several run at a time."""
    lag: Lag = msgspec.field(default_factory=Lag)
    """From the time of an event to the end of the refresh that it asked for."""

    @property
    def refreshes(self) -> int:
        """All successful refreshes."""
        return self.folders + self.trees + self.for_descendant

    def merge(self, other: "Counts") -> None:
        """Add the counts of another."""
        self.merge_read(other)
        self.folders += other.folders
        self.trees += other.trees
        self.for_descendant += other.for_descendant
        self.failed.update(other.failed)
        self.refreshing += other.refreshing
        self.lag.merge(other.lag)

    def add_read(self, counts: PlanCounts, already_refreshed: int) -> None:
        """Add the counts of one plan."""
        self.records += counts.records
        self.events += counts.events
        for reason, number in counts.skipped.items():
            self.skipped[reason] += number
        if already_refreshed:
            self.skipped[SkipReason.ALREADY_REFRESHED] += already_refreshed

    def merge_read(self, other: "Counts") -> None:
        """Add only the counts of records: `records`, `events` and `skipped`."""
        self.records += other.records
        self.events += other.events
        self.skipped.update(other.skipped)


class ActivityCounts(msgspec.Struct):
    """The counts per provider and bucket. `read` counts each record once, also if two providers show its bucket."""

    rows: dict[ProviderBucket, Counts] = msgspec.field(default_factory=dict)
    read: Counts = msgspec.field(default_factory=Counts)

    def row(self, provider: str, bucket: str) -> Counts:
        """The counts of one row. Creates the row if it does not exist."""
        row = ProviderBucket(provider, bucket)
        counts = self.rows.get(row)
        if counts is None:
            if len(self.rows) >= MAX_ROWS:
                row = ProviderBucket("", "")
            counts = self.rows.get(row) or self.rows.setdefault(row, Counts())
        return counts

    @property
    def total(self) -> Counts:
        """The counts of all rows together. A record counts once."""
        total = Counts()
        for counts in self.rows.values():
            total.merge(counts)
        total.records, total.events, total.skipped = self.read.records, self.read.events, self.read.skipped.copy()
        return total

    def merge(self, other: "ActivityCounts") -> None:
        """Add the counts of another."""
        for row, counts in other.rows.items():
            self.row(*row).merge(counts)
        self.read.merge_read(other.read)


class StaleFolders(msgspec.Struct):
    """The number of stale folders, and for how many seconds the oldest of them is stale."""

    count: int = 0
    oldest: float = 0.0


def no_bucket_map() -> None:
    """Without a bucket map, the folder of every bucket is `/BUCKET`."""


class Activity:
    """Counts the work of the handler and the refreshes. `places` returns the current bucket map, which may change."""

    def __init__(self, clock: Clock, places: Callable[[], Places | None] = no_bucket_map) -> None:
        self._clock = clock
        self._places = places
        self._now = ActivityCounts()
        self._before = ActivityCounts()
        self._failed: dict[Folder, float] = {}
        self._failed_size = 0
        self._indexed: Places | None = None
        """The bucket map that `_row_by_folder` was made from."""
        self._row_by_folder: dict[str, ProviderBucket] = {}

    def planned(self, plan: Plan, needed: Needed) -> None:
        """Count the records of a log file, or of a message with events. They are read to their end, and decided on."""
        already = Counter[str]()
        for bucket, events in needed.already_refreshed.items():
            # A plan counts all buckets beyond its limit under an empty name.
            already[bucket if bucket in plan.buckets else ""] += events
        for bucket, counts in plan.buckets.items():
            for each in (self._now.read, *(self._now.row(provider, bucket) for provider in self._providers_of(bucket))):
                each.add_read(counts, already[bucket] if already else 0)

    def done(self, stale: Iterable[Stale], changes: Sequence[Change]) -> None:
        """Add the lag of these events. Their folders are refreshed, or the changes are reported to Access Anywhere."""
        now = self._clock.now()
        if not now:
            return
        lags: dict[tuple[str, str], Lag] = {}
        for each in stale:
            for folder in each.folders:
                provider = _provider_of(folder)
                lag = lags.get((provider, each.bucket))
                if lag is None:
                    lag = lags[provider, each.bucket] = self._now.row(provider, each.bucket).lag
                _add_lag(lag, each, now)
        for change in changes:
            if change.event.time == UNKNOWN_TIME:
                continue
            for folder in change.folders:
                self._now.row(_provider_of(folder), change.event.bucket).lag.add(now - change.event.time)

    def refreshed(self, outcome: RefreshOutcome) -> None:
        """Count a refresh that has ended, with success or not."""
        folder = outcome.folder
        counts = self._now.row(*self._row_of(folder))
        counts.refreshing += outcome.seconds
        if outcome.error is not None:
            counts.failed[type(outcome.error).__name__] += 1
            if not outcome.for_descendant and folder not in self._failed and self._failed_size < MAX_FAILED_SIZE:
                self._failed[folder] = self._clock.monotonic() - outcome.waited
                self._failed_size += _size(folder)
            return
        if folder.tree:
            counts.trees += 1
        elif outcome.for_descendant:
            counts.for_descendant += 1
        else:
            counts.folders += 1
        self._forget_failures(folder)

    def take(self) -> ActivityCounts:
        """The counts since the last call."""
        taken, self._now = self._now, ActivityCounts()
        self._before.merge(taken)
        return taken

    def since_start(self) -> ActivityCounts:
        """The counts since the start."""
        counts = ActivityCounts()
        counts.merge(self._before)
        counts.merge(self._now)
        return counts

    def providers(self) -> Iterator[tuple[str, Counts]]:
        """The counts since the start, by provider. A provider comes again for each of its buckets, always in this order."""
        for counts in (self._before, self._now):
            for row, each in counts.rows.items():
                yield row.provider, each

    def unmapped(self, most: int) -> list[str]:
        """Some of the buckets with changes that no place shows, since the start."""
        rows = (*self._now.rows.items(), *self._before.rows.items())
        found = (row.bucket for row, counts in rows if row.bucket and counts.skipped[SkipReason.NOT_MAPPED])
        return sorted(set(found))[:most]

    def stale(self, pending: Iterable[PendingRefresh] = ()) -> dict[ProviderBucket, StaleFolders]:
        """The folders that are stale now, by row: those that wait for a refresh, and those whose last refresh failed."""
        stale_since = dict(self._failed)
        for each in pending:
            if not each.for_descendant:
                stale_since[each.folder] = min(stale_since.get(each.folder, each.since), each.since)
        found: dict[ProviderBucket, StaleFolders] = {}
        now = self._clock.monotonic()
        for folder, moment in stale_since.items():
            stale = found.setdefault(self._row_of(folder), StaleFolders())
            stale.count += 1
            stale.oldest = max(stale.oldest, now - moment)
        return found

    def _forget_failures(self, folder: Folder) -> None:
        """Forget the failures of this folder. If the refresh was of a tree, also of the folders below it."""
        done = [folder] if folder in self._failed else []
        if folder.tree:
            top = folder.path.rstrip("/")
            done = [each for each in self._failed if each.path == top or each.path.startswith(f"{top}/")]
        self.forget_failures(done)

    def forget_failures(self, folders: Iterable[Folder]) -> None:
        """These folders are not stale any more."""
        for each in folders:
            if self._failed.pop(each, None) is not None:
                self._failed_size -= _size(each)

    def _providers_of(self, bucket: str) -> Iterable[str]:
        places = self._places()
        if places is None or not bucket:
            return (bucket,)
        # One provider may show a bucket at several folders.
        shown = [_top_folder(place.folder) for place in places.get(bucket, ())]
        return dict.fromkeys(shown) if len(shown) > 1 else shown or ("",)

    def _row_of(self, folder: Folder) -> ProviderBucket:
        """The provider and the bucket of a folder. A folder above all buckets of its provider has no bucket."""
        places = self._places()
        if places is None:
            return ProviderBucket(_provider_of(folder), _provider_of(folder))
        if places is not self._indexed:
            self._row_by_folder = {
                place.folder.rstrip("/"): ProviderBucket(_top_folder(place.folder), bucket)
                for bucket, shown in places.items()
                for place in shown
            }
            self._indexed = places
        path = folder.path.rstrip("/")
        while path:
            if row := self._row_by_folder.get(path):
                return row
            path = path.rpartition("/")[0]
        return ProviderBucket(_provider_of(folder), "")


def _add_lag(lag: Lag, stale: Stale, now: float) -> None:
    """Add the lag of each event of a stale folder, if its time is known.

    Only the times of the first and the last event are known. The events between them count with the mean of both.
    """
    if stale.earliest == UNKNOWN_TIME:
        return
    lag.add(now - stale.earliest)
    if stale.latest == UNKNOWN_TIME:
        return
    if stale.events > 1:
        lag.add(now - stale.latest)
    if stale.events > 2:
        lag.add(now - (stale.earliest + stale.latest) / 2, stale.events - 2)


def _size(folder: Folder) -> int:
    return 200 + text_size(folder.path)


def _provider_of(folder: Folder) -> str:
    return _top_folder(folder.path)


def _top_folder(path: str) -> str:
    return path.lstrip("/").partition("/")[0]
