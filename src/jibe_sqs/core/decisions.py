"""What an event means here: a closed list of reasons to skip it, or the folders that are stale because of it."""

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

PRINCIPALS: Final = 10_000
"""Of one file; sessions have names of their own, and there is no end of them."""
CUT: Final = 1.0
"""Seconds. CloudTrail's times are whole seconds, cut off: a change was up to one second later than its time."""
CHANGES: Final = 50_000
"""Of one file that are told object by object; folders stand for the rest."""
BUCKETS: Final = 1000
"""Of one file that are counted each by itself; the rest together, under no name."""


class OwnWrites(msgspec.Struct, frozen=True):
    """By what Access Anywhere's own writes are known; any one is enough. ARNs and user agents take `*` and `?`."""

    access_keys: frozenset[str] = frozenset()
    principals: tuple[str, ...] = ()
    session_issuers: tuple[str, ...] = ()
    source_addresses: tuple[IPv4Network | IPv6Network, ...] = ()
    user_agents: tuple[str, ...] = ()


class Place(msgspec.Struct, frozen=True):
    """Where a bucket, or the part of it below `prefix`, is shown: `folder` is a path of Access Anywhere.

    `synced`: when its provider's last complete sync began (seconds since the epoch): what is older has been seen.
    """

    folder: str
    prefix: str = ""
    synced: float = float("-inf")


Places = Mapping[str, Sequence[Place]]
"""Bucket -> where it is shown."""


class Unmapped(Skip, frozen=True):
    """A decision: do nothing, because none of the `places` where the bucket was known to be shown shows the key."""

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
    """What is left of a plan after the watermarks were read.

    `already_refreshed`: by bucket, the number of events whose folders were all refreshed after the events.
    """

    stale: list[Stale] = []
    already_refreshed: Counter[str] = msgspec.field(default_factory=Counter)

    @property
    def folders(self) -> list[Folder]:
        """Each folder to refresh, once."""
        return list(dict.fromkeys(folder for stale in self.stale for folder in stale.folders))


class Counts(msgspec.Struct):
    """What was in a bucket: records, those of them that asked for something, and why the others did not."""

    records: int = 0
    events: int = 0
    skipped: Counter[SkipReason] = msgspec.field(default_factory=Counter)


class Seen(msgspec.Struct):
    """When somebody was seen to change objects (seconds since the epoch), and how often."""

    first: float
    last: float
    count: int = 1


class Decisions:
    """Decides on records. Without places, every bucket stands at `/BUCKET`. New places may be set at any time.

    `collisions`: what asked for a refresh and has to share its name in Access Anywhere.
    """

    def __init__(self, places: Places | None = None, own: OwnWrites | None = None) -> None:
        self.places = places
        self.collisions = Collisions()
        self._is_own = _recogniser(own or OwnWrites())

    def decide(self, record: Record) -> Decision:
        """The first reason to skip it, in the order of `SkipReason`; or the folders that it makes stale."""
        if isinstance(record, Unchanged):
            return Skip(record.reason)
        if self._is_own(record.actor):
            return Skip(SkipReason.OWN_WRITE)
        tree = record.kind.is_unlisted
        places = self.places.get(record.bucket, ()) if self.places is not None else (Place(f"/{record.bucket}"),)
        is_seen = False
        folders: dict[Folder, None] = {}
        for place in places:
            folder = _folder(place, record.key, tree=tree)
            if folder is None:
                continue
            if record.time + CUT < place.synced:
                is_seen = True
            else:
                folders[folder] = None
        if not folders:
            return Skip(SkipReason.BEFORE_SYNC) if is_seen else Unmapped(places=places)
        if record.kind is Kind.WRITTEN:
            self.collisions.see(record.bucket, record.key)
        elif record.kind is Kind.DELETED:
            self.collisions.forget(record.bucket, record.key)
        return Refresh(tuple(folders))


class Plan:
    """What a log file asks for, folder by folder, however many its events. Bounded by the folders, not the records.

    `by_object`: change by change instead, in the order of their times for each object. Only for what names no object,
    and for what is beyond `CHANGES`, folders are stale.
    """

    def __init__(self, *, by_object: bool = False) -> None:
        self.buckets: dict[str, Counts] = {}
        """By bucket; what is beyond `BUCKETS` stands under no name."""
        self.unmapped: dict[str, Sequence[Place]] = {}
        """Buckets with changes that are shown nowhere, with the places that were known when that was decided."""
        self.newest_unmapped = float("-inf")
        """When the latest of those changes was."""
        self._stale: dict[tuple[str, tuple[Folder, ...]], Stale] = {}
        self.changes: list[Change] = []
        self._by_object = by_object
        self.principals: dict[str, Seen] = {}
        """Who changed objects, Access Anywhere itself included; informational."""

    def add(self, record: Record, decision: Decision) -> None:
        """Take in one record and what was decided on it."""
        counts = self.buckets.get(record.bucket)
        if counts is None:
            name = record.bucket if len(self.buckets) < BUCKETS else ""
            counts = self.buckets.setdefault(name, Counts())
        counts.records += 1
        if isinstance(record, ObjectEvent):
            self._see(record)
        if isinstance(decision, Skip):
            counts.skipped[decision.reason] += 1
            if isinstance(decision, Unmapped):
                self.newest_unmapped = max(self.newest_unmapped, record.time)
                if len(self.unmapped) < BUCKETS:
                    self.unmapped.setdefault(record.bucket, decision.places)
            return
        counts.events += 1
        if (
            self._by_object
            and isinstance(record, ObjectEvent)
            and not record.kind.is_unlisted
            and len(self.changes) < CHANGES
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
        """How many there were."""
        return sum(counts.records for counts in self.buckets.values())

    @property
    def events(self) -> int:
        """Those of them that asked for something."""
        return sum(counts.events for counts in self.buckets.values())

    @property
    def skipped(self) -> Counter[SkipReason]:
        """Why the others did not. Events that are `already-refreshed` are not among them: `needed` counts those."""
        return sum((counts.skipped for counts in self.buckets.values()), Counter())

    @property
    def folders(self) -> Collection[Folder]:
        """Every folder that an event made stale, once."""
        return dict.fromkeys(folder for stale in self._stale.values() for folder in stale.folders)

    def _see(self, event: ObjectEvent) -> None:
        if event.time == UNKNOWN_TIME:
            return
        who = event.actor.principal or event.actor.access_key
        seen = self.principals.get(who)
        if seen is not None:
            seen.first, seen.last = min(seen.first, event.time), max(seen.last, event.time)
            seen.count += 1
        elif who and len(self.principals) < PRINCIPALS:
            self.principals[who] = Seen(event.time, event.time)

    def needed(self, watermarks: Mapping[Folder, float]) -> Needed:
        """The folders with a change that no refresh can have seen. This only asks: the plan stays as it is."""
        latest: dict[Folder, float] = {}
        for stale in self._stale.values():
            for folder in stale.folders:
                latest[folder] = max(stale.latest, latest.get(folder, stale.latest))
        never = float("-inf")
        unseen = {folder for folder, moment in latest.items() if moment + CUT > watermarks.get(folder, never)}
        needed = Needed()
        for stale in self._stale.values():
            folders = tuple(folder for folder in stale.folders if folder in unseen)
            if folders:
                needed.stale.append(msgspec.structs.replace(stale, folders=folders))
            else:
                needed.already_refreshed[stale.bucket] += stale.events
        return needed


def _folder(place: Place, key: str, *, tree: bool) -> Folder | None:
    """The folder of one key, or all below a prefix, in this place; None where the place doesn't show it."""
    if key.startswith(place.prefix):
        below = key[len(place.prefix) :]
    elif tree and place.prefix.startswith(key):
        below = ""
    else:
        return None
    # The object `a/b/` is how consoles make the folder `a/b`: it shows in `a`.
    segments = (below if tree else below.removesuffix("/")).split("/")[:-1]
    if "" in segments:
        # What Access Anywhere calls a folder without a name is not known: all below the folder above is stale.
        segments, tree = segments[: segments.index("")], True
    return Folder("/".join([place.folder.rstrip("/"), *segments]) or "/", tree=tree)


def _recogniser(own: OwnWrites) -> Callable[[Actor], bool]:
    principals, issuers, agents = map(_any_of, (own.principals, own.session_issuers, own.user_agents))

    def is_own(actor: Actor) -> bool:
        return (
            (bool(actor.access_key) and actor.access_key in own.access_keys)
            or (principals is not None and principals(actor.principal))
            or (issuers is not None and issuers(actor.session_issuer))
            or (agents is not None and agents(actor.user_agent))
            or (bool(own.source_addresses) and _within(actor.source_address, own.source_addresses))
        )

    return is_own


def _any_of(patterns: Iterable[str]) -> Callable[[str], bool] | None:
    expressions = [translate(pattern.replace("[", "[[]")) for pattern in patterns]
    if not expressions:
        return None
    matches = re.compile("|".join(expressions)).match
    return lambda text: bool(text) and matches(text) is not None


def _within(address: str, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    try:
        found = ip_address(address)
    except ValueError:
        # AWS services put their name there.
        return False
    return any(found in network for network in networks)
