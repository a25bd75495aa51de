"""The plan of a log file: its stale folders, its counts and its principals. Its size in bytes is bounded."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

import msgspec

from jibe_sqs.core.decisions import OwnWrite, Place, Unmapped
from jibe_sqs.core.key_names import is_path
from jibe_sqs.core.model import (
    UNKNOWN_TIME,
    Change,
    Decision,
    Folder,
    ObjectEvent,
    Record,
    Refresh,
    SkipReason,
    Unchanged,
)
from jibe_sqs.core.plan_sizes import BUCKET, change_size, text_size
from jibe_sqs.core.principals import KeptPrincipals, Principals, Seen
from jibe_sqs.core.stale_folders import Needed, StaleFolders

ROOM: Final = 32 * 1024 * 1024
"""Bytes of one plan, if its caller sets no other bound."""
STEP: Final = 256 * 1024
"""Bytes. A plan asks again for its room when it has grown by this, or by half."""
MAX_CHANGES: Final = 50_000
"""Changes of one file that are kept object by object. If there are more, all of their folders become stale."""
MAX_BUCKETS: Final = 1000
"""Buckets of one file that are counted separately. All others are counted together, under an empty name."""
MAX_BUCKET_LENGTH: Final = 512
"""Characters. No store has longer names of buckets. A longer name is not kept: its records count under an empty name."""

SAMPLED: Final = 16
"""One of so many requests is remembered, to find changes that are announced twice."""
MAX_SAMPLES: Final = 4096
"""Changes of one file that are remembered for that."""
SAMPLE: Final = 48
"""Bytes of one of them."""
_SAMPLE_MASK: Final = SAMPLED - 1
_READ_ONLY: Final = SkipReason.READ_ONLY
_LISTS: Final = frozenset({"ListObjects", "ListObjectsV2", "ListObjectVersions"})
"""Reads of objects that name no key."""

MAX_EXAMPLE_LENGTH: Final = 512
"""Characters of each text of an example. The end of a longer one is kept, because keys differ there."""


class Counts(msgspec.Struct):
    """The counts of one bucket: records, records that asked for a refresh, and reasons of the others."""

    records: int = 0
    events: int = 0
    skipped: Counter[SkipReason] = msgspec.field(default_factory=Counter)
    reads: int = 0
    """Of the skipped ones: reads of objects, and lists of them."""


class SkippedChanges(msgspec.Struct):
    """Changes that were skipped for the same cause: their number, and the first of them as an example.

    `principal`: the caller, or its access key. Empty if the source has neither.
    """

    bucket: str
    key: str
    principal: str
    count: int = 1


class Plan:
    """What a log file asks for. Its size grows with the number of folders, not of records, and not beyond its room.

    `by_object`: keep each change in `changes` instead, in the order of the records. Then only events that name no object, or
    whose key is not a path, make folders stale. Beyond `MAX_CHANGES`, or beyond the room, all changes become stale folders.
    `room`: bytes. A function is called again whenever the plan has grown, and its answer may change.
    `principals`: which principals are kept.
    """

    def __init__(
        self,
        *,
        by_object: bool = False,
        room: int | Callable[[], int] = ROOM,
        principals: KeptPrincipals = "writers",
    ) -> None:
        self.buckets: dict[str, Counts] = {}
        """Bucket -> its counts. All buckets beyond `MAX_BUCKETS` have the key `""`."""
        self.unmapped: dict[str, Sequence[Place]] = {}
        """Buckets with changes that no place shows -> the places of the bucket when that was decided."""
        self.unmapped_changes: dict[str, SkippedChanges] = {}
        """The same buckets -> their changes that no place shows."""
        self.own_writes: dict[str, SkippedChanges] = {}
        """Rule -> the changes that it recognised as Access Anywhere's own. There are no more than configured rules."""
        self.newest_unmapped = float("-inf")
        """The time of the latest of those changes."""
        self.changes: list[Change] = []
        self.samples: list[int] = []
        """Hashes of some changes. They are the same wherever the change is announced, until the process ends."""
        self.moment = 0.0
        """The time of one of the records, for an idea of how old the file is. 0.0 if no time is known."""
        self._principals = Principals()
        self._are_principals_wanted = principals != "off"
        self._by_object = by_object
        self._tops_of_changes: list[tuple[str, ...]] = []
        self._stale = StaleFolders()
        self._room = room if callable(room) else lambda: room
        self._granted = 0
        """The size at which the room is asked for again."""
        self._changes_size = self._buckets_size = 0
        self._has_grown = False

    @property
    def size(self) -> int:
        """Bytes of the plan, and of all that `needed` and coarsening add for a time. An estimate that is never too low."""
        information = self._principals.size + SAMPLE * len(self.samples)
        return self._stale.size + self._changes_size + self._buckets_size + information

    @property
    def coarsened(self) -> int:
        """The number of trees that contain all later events below them. 0 if the plan was not coarsened."""
        return self._stale.trees

    def add(self, record: Record, decision: Decision) -> None:
        """Add one record and the decision on it."""
        counts = self.buckets.get(record.bucket)
        if counts is None:
            counts = self._new_bucket(record)
        counts.records += 1
        if isinstance(record, ObjectEvent):
            if self._principals.add_change(record):
                self._has_grown = True
            request = record.request_id
            if request and not hash(request) & _SAMPLE_MASK and len(self.samples) < MAX_SAMPLES:
                self.samples.append(hash((request, record.key)))
                self._has_grown = True
        if isinstance(decision, Refresh):
            counts.events += 1
            self._add_event(record, decision)
        else:
            reason = decision.reason
            counts.skipped[reason] += 1
            if reason is _READ_ONLY:
                if record.key or record.name in _LISTS:
                    counts.reads += 1
                    if isinstance(record, Unchanged) and record.actor is not None and self._principals.add_read(record):
                        self._has_grown = True
            elif isinstance(record, ObjectEvent):
                if isinstance(decision, Unmapped):
                    self._add_unmapped(record, decision)
                elif isinstance(decision, OwnWrite):
                    self._add_skipped(self.own_writes, decision.rule, record)
        if self._has_grown:
            self._has_grown = False
            if self.size > self._granted:
                self._fit()

    @property
    def records(self) -> int:
        """The number of records."""
        return sum(counts.records for counts in self.buckets.values())

    @property
    def span(self) -> tuple[float, float]:
        """The times of the first and the last change, also of skipped ones, as far as they are known; or 0."""
        known = [time for seen in self._principals.changes.values() for time in (seen.first, seen.last)]
        for stale in self._stale:
            if stale.earliest != UNKNOWN_TIME:
                known.append(stale.earliest)
            if stale.latest != UNKNOWN_TIME:
                known.append(stale.latest)
        return (min(known), max(known)) if known else (0.0, 0.0)

    @property
    def principals(self) -> dict[str, Seen]:
        """Principal -> what it did. Contains Access Anywhere itself. For information only."""
        return self._principals.all if self._are_principals_wanted else {}

    @property
    def events(self) -> int:
        """The number of records that asked for a refresh."""
        return sum(counts.events for counts in self.buckets.values())

    @property
    def skipped(self) -> Counter[SkipReason]:
        """The reasons of all other records. `already-refreshed` is not among them: `needed` counts those events."""
        return sum((counts.skipped for counts in self.buckets.values()), Counter())

    @property
    def folders(self) -> Collection[Folder]:
        """Every folder that an event made stale, or the tree that contains it, once."""
        return dict.fromkeys(folder for stale in self._stale for folder in stale.folders)

    def needed(self, watermarks: Mapping[Folder, float]) -> Needed:
        """The folders with a change that a refresh may not have seen. The plan does not change.

        `watermarks`: folder -> start of its last successful refresh, in seconds since the epoch.
        """
        return self._stale.needed(watermarks)

    def _new_bucket(self, record: Record) -> Counts:
        bucket = record.bucket
        if not self.moment and record.time != UNKNOWN_TIME:
            self.moment = record.time
        has_counts = len(self.buckets) < MAX_BUCKETS and len(bucket) <= MAX_BUCKET_LENGTH
        name = bucket if has_counts else ""
        if name not in self.buckets:
            self.buckets[name] = Counts()
            self._buckets_size += BUCKET + text_size(name)
            self._has_grown = True
        return self.buckets[name]

    def _add_unmapped(self, event: ObjectEvent, decision: Unmapped) -> None:
        self.newest_unmapped = max(self.newest_unmapped, event.time)
        bucket = event.bucket
        if bucket not in self.unmapped:
            if len(self.unmapped) >= MAX_BUCKETS or len(bucket) > MAX_BUCKET_LENGTH:
                return
            self.unmapped[bucket] = decision.places
        self._add_skipped(self.unmapped_changes, bucket, event)

    def _add_skipped(self, found: dict[str, SkippedChanges], name: str, event: ObjectEvent) -> None:
        if (known := found.get(name)) is not None:
            known.count += 1
            return
        principal = event.actor.principal or event.actor.access_key
        bucket, key, principal = (text[-MAX_EXAMPLE_LENGTH:] for text in (event.bucket, event.key, principal))
        found[name] = SkippedChanges(bucket, key, principal)
        self._buckets_size += BUCKET + sum(map(text_size, (bucket, key, principal)))
        self._has_grown = True

    def _add_event(self, record: Record, decision: Refresh) -> None:
        if self._by_object and isinstance(record, ObjectEvent) and not record.kind.is_unlisted and is_path(record.key):
            self.changes.append(Change(record, decision.folders))
            self._tops_of_changes.append(decision.tops)
            self._changes_size += change_size(record, decision)
            self._has_grown = True
            if len(self.changes) > MAX_CHANGES:
                self._refresh_changes()
        elif self._stale.add(record.bucket, decision, record.time):
            self._has_grown = True

    def _fit(self) -> None:
        """Ask for the room, and make the plan smaller if it takes more."""
        room = self._room()
        is_larger = self.size > room
        if is_larger:
            self._shrink(room)
        size = self.size
        self._granted = min(room, size + max(size // 2, STEP))
        if is_larger:
            # Perhaps hardly more than trees of whole places is left. Then the next attempt must not follow at once.
            self._granted = max(self._granted, size + size // 4)

    def _shrink(self, room: int) -> None:
        if self.changes:
            self._refresh_changes()
        if self._principals.size > room // 8:
            self._principals.give_way()
        if self.size > room:
            # To the half, so that the time for all coarsening grows no faster than the log file.
            self._stale.coarsen(max(room - (self.size - self._stale.size), 0) // 2)

    def _refresh_changes(self) -> None:
        """Make the folders of all changes stale, and of all later changes.

        Not only of some: the refreshes of a file are done before its changes are reported. So an earlier change of an object
        would be reported after the refresh for its later change, and an event target may believe it.
        """
        self._by_object = False
        for change, tops in zip(self.changes, self._tops_of_changes, strict=True):
            self._stale.add(change.event.bucket, Refresh(change.folders, tops), change.event.time)
        self.changes, self._tops_of_changes, self._changes_size = [], [], 0
