"""The decision on each event: skip it for a reason from a closed list, or refresh the folders that it makes stale."""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from fnmatch import translate
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Final

import msgspec

from jibe_sqs.core.collisions import Collisions
from jibe_sqs.core.model import (
    UNKNOWN_TIME,
    Actor,
    Change,
    Decision,
    Folder,
    Kind,
    ObjectEvent,
    Record,
    Refresh,
    Skip,
    SkipReason,
    Unchanged,
)

MAX_PRINCIPALS: Final = 10_000
"""Principals of one file. Each session has its own name, so their number has no limit."""
TIME_PRECISION: Final = 1.0
"""Seconds. CloudTrail cuts its times to whole seconds, so a change was up to one second later than its time."""
MAX_CHANGES: Final = 50_000
"""Changes of one file that are kept object by object. Beyond this number their folders become stale."""
MAX_BUCKETS: Final = 1000
"""Buckets of one file that are counted separately. All others are counted together, under an empty name."""


class OwnWrites(msgspec.Struct, frozen=True):
    """How Access Anywhere's own writes are recognised. One match is enough. `*` and `?` work in ARNs and user agents."""

    access_keys: frozenset[str] = frozenset()
    principals: tuple[str, ...] = ()
    session_issuers: tuple[str, ...] = ()
    source_addresses: tuple[IPv4Network | IPv6Network, ...] = ()
    user_agents: tuple[str, ...] = ()


class Place(msgspec.Struct, frozen=True):
    """Where Access Anywhere shows a bucket, or the part of it below `prefix`. `folder`: a path of Access Anywhere.

    `synced`: the start of the provider's last complete sync, in seconds since the epoch. That sync saw all earlier
    changes.
    """

    folder: str
    prefix: str = ""
    synced: float = float("-inf")


Places = Mapping[str, Sequence[Place]]
"""Bucket -> the places that show it."""


class Unmapped(Skip, frozen=True):
    """A decision: do nothing, because no place shows the key. `places`: the places of the bucket at that time."""

    reason: SkipReason = SkipReason.NOT_MAPPED
    places: Sequence[Place] = ()


class Stale(msgspec.Struct):
    """Folders that the same events of one bucket made stale: one folder for each place that shows the bucket.

    `earliest` and `latest` are the times of the first and the last of these events (seconds since the epoch).
    """

    bucket: str
    folders: tuple[Folder, ...]
    earliest: float
    latest: float
    events: int


class Needed(msgspec.Struct, frozen=True):
    """The part of a plan that still needs a refresh, by the watermarks.

    `already_refreshed`: bucket -> the number of events whose folders were all refreshed after the events.
    """

    stale: list[Stale] = []
    already_refreshed: Counter[str] = msgspec.field(default_factory=Counter)

    @property
    def folders(self) -> list[Folder]:
        """Each folder to refresh, once."""
        return list(dict.fromkeys(folder for stale in self.stale for folder in stale.folders))


class Counts(msgspec.Struct):
    """The counts of one bucket: records, records that asked for a refresh, and reasons of the others."""

    records: int = 0
    events: int = 0
    skipped: Counter[SkipReason] = msgspec.field(default_factory=Counter)


class Seen(msgspec.Struct):
    """The first and last change by one principal (seconds since the epoch), and the number of changes."""

    first: float
    last: float
    count: int = 1


class Decisions:
    """Decides on records. If `places` is None, every bucket is shown at `/BUCKET`. It may be replaced at any time.

    `collisions`: keys that asked for a refresh and differ only in case.
    """

    def __init__(self, places: Places | None = None, own: OwnWrites | None = None) -> None:
        self.places = places
        self.collisions = Collisions()
        self._is_own = _own_write_check(own or OwnWrites())

    def decide(self, record: Record) -> Decision:
        """`Skip` with the first matching reason in the order of `SkipReason`, or `Refresh` with the stale folders."""
        if isinstance(record, Unchanged):
            return Skip(record.reason)
        if self._is_own(record.actor):
            return Skip(SkipReason.OWN_WRITE)
        tree = record.kind.is_unlisted
        places = self.places.get(record.bucket, ()) if self.places is not None else (Place(f"/{record.bucket}"),)
        is_synced = False
        folders: dict[Folder, None] = {}
        for place in places:
            folder = _folder(place, record.key, tree=tree)
            if folder is None:
                continue
            if record.time + TIME_PRECISION < place.synced:
                is_synced = True
            else:
                folders[folder] = None
        if not folders:
            return Skip(SkipReason.BEFORE_SYNC) if is_synced else Unmapped(places=places)
        if record.kind is Kind.WRITTEN:
            self.collisions.see(record.bucket, record.key)
        elif record.kind is Kind.DELETED:
            self.collisions.forget(record.bucket, record.key)
        return Refresh(tuple(folders))


class Plan:
    """The stale folders of a log file. Its size grows with the number of folders, not with the number of records.

    `by_object`: keep each change in `changes` instead, in the order of the records. Then only events that name no object,
    and events beyond `MAX_CHANGES`, make folders stale.
    """

    def __init__(self, *, by_object: bool = False) -> None:
        self.buckets: dict[str, Counts] = {}
        """Bucket -> its counts. All buckets beyond `MAX_BUCKETS` have the key `""`."""
        self.unmapped: dict[str, Sequence[Place]] = {}
        """Buckets with changes that no place shows -> the places of the bucket when that was decided."""
        self.newest_unmapped = float("-inf")
        """The time of the latest of those changes."""
        self._stale: dict[tuple[str, tuple[Folder, ...]], Stale] = {}
        self.changes: list[Change] = []
        self._by_object = by_object
        self.principals: dict[str, Seen] = {}
        """Principal -> its changes of objects. Contains Access Anywhere itself. For information only."""

    def add(self, record: Record, decision: Decision) -> None:
        """Add one record and the decision on it."""
        counts = self.buckets.get(record.bucket)
        if counts is None:
            name = record.bucket if len(self.buckets) < MAX_BUCKETS else ""
            counts = self.buckets.setdefault(name, Counts())
        counts.records += 1
        if isinstance(record, ObjectEvent):
            self._count_principal(record)
        if isinstance(decision, Skip):
            counts.skipped[decision.reason] += 1
            if isinstance(decision, Unmapped):
                self.newest_unmapped = max(self.newest_unmapped, record.time)
                if len(self.unmapped) < MAX_BUCKETS:
                    self.unmapped.setdefault(record.bucket, decision.places)
            return
        counts.events += 1
        if (
            self._by_object
            and isinstance(record, ObjectEvent)
            and not record.kind.is_unlisted
            and len(self.changes) < MAX_CHANGES
        ):
            self.changes.append(Change(record, decision.folders))
            return
        moment = record.time
        stale = self._stale.get((record.bucket, decision.folders))
        if stale is None:
            stale = Stale(record.bucket, decision.folders, moment, moment, 1)
            self._stale[record.bucket, decision.folders] = stale
        else:
            stale.earliest = min(stale.earliest, moment)
            stale.latest = max(stale.latest, moment)
            stale.events += 1

    @property
    def records(self) -> int:
        """The number of records."""
        return sum(counts.records for counts in self.buckets.values())

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
        """Every folder that an event made stale, once."""
        return dict.fromkeys(folder for stale in self._stale.values() for folder in stale.folders)

    def _count_principal(self, event: ObjectEvent) -> None:
        if event.time == UNKNOWN_TIME:
            return
        name = event.actor.principal or event.actor.access_key
        seen = self.principals.get(name)
        if seen is not None:
            seen.first, seen.last = min(seen.first, event.time), max(seen.last, event.time)
            seen.count += 1
        elif name and len(self.principals) < MAX_PRINCIPALS:
            self.principals[name] = Seen(event.time, event.time)

    def needed(self, watermarks: Mapping[Folder, float]) -> Needed:
        """The folders with a change that a refresh may not have seen. The plan does not change.

        `watermarks`: folder -> start of its last successful refresh, in seconds since the epoch.
        """
        latest: dict[Folder, float] = {}
        for stale in self._stale.values():
            for folder in stale.folders:
                latest[folder] = max(stale.latest, latest.get(folder, stale.latest))
        never = float("-inf")
        unseen = {
            folder for folder, moment in latest.items() if moment + TIME_PRECISION > watermarks.get(folder, never)
        }
        needed = Needed()
        for stale in self._stale.values():
            folders = tuple(folder for folder in stale.folders if folder in unseen)
            if folders:
                needed.stale.append(msgspec.structs.replace(stale, folders=folders))
            else:
                needed.already_refreshed[stale.bucket] += stale.events
        return needed


def _folder(place: Place, key: str, *, tree: bool) -> Folder | None:
    """The folder of a key, or the tree below a prefix, in this place. None if the place does not show it."""
    if key.startswith(place.prefix):
        below = key[len(place.prefix) :]
    elif tree and place.prefix.startswith(key):
        below = ""
    else:
        return None
    # Consoles create the folder `a/b` as the object `a/b/`. Access Anywhere shows it in `a`.
    segments = (below if tree else below.removesuffix("/")).split("/")[:-1]
    if "" in segments:
        # It is unknown how Access Anywhere names a folder without a name. So the whole tree above it is stale.
        segments, tree = segments[: segments.index("")], True
    return Folder("/".join([place.folder.rstrip("/"), *segments]) or "/", tree=tree)


def _own_write_check(own: OwnWrites) -> Callable[[Actor], bool]:
    principals, issuers, agents = map(_matcher, (own.principals, own.session_issuers, own.user_agents))

    def is_own(actor: Actor) -> bool:
        return (
            (bool(actor.access_key) and actor.access_key in own.access_keys)
            or (principals is not None and principals(actor.principal))
            or (issuers is not None and issuers(actor.session_issuer))
            or (agents is not None and agents(actor.user_agent))
            or (bool(own.source_addresses) and _is_in_any(actor.source_address, own.source_addresses))
        )

    return is_own


def _matcher(patterns: Iterable[str]) -> Callable[[str], bool] | None:
    expressions = [translate(pattern.replace("[", "[[]")) for pattern in patterns]
    if not expressions:
        return None
    matches = re.compile("|".join(expressions)).match
    return lambda text: bool(text) and matches(text) is not None


def _is_in_any(address: str, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    try:
        found = ip_address(address)
    except ValueError:
        # A call by an AWS service has the name of the service in place of an address.
        return False
    return any(found in network for network in networks)
