"""What an event means here: a closed list of reasons to skip it, or the folders that are stale because of it."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import translate
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Final

import msgspec

from jibe_sqs.core.model import Actor, Decision, Folder, Kind, ObjectEvent, Record, Refresh, Skip, SkipReason, Unchanged

PRINCIPALS: Final = 10_000
"""Of one file; sessions have names of their own, and there is no end of them."""


class OwnWrites(msgspec.Struct, frozen=True):
    """By what Access Anywhere's own writes are known; any one is enough. ARNs and user agents take `*` and `?`."""

    access_keys: frozenset[str] = frozenset()
    principals: tuple[str, ...] = ()
    session_issuers: tuple[str, ...] = ()
    source_addresses: tuple[IPv4Network | IPv6Network, ...] = ()
    user_agents: tuple[str, ...] = ()


class Place(msgspec.Struct, frozen=True):
    """Where a bucket, or the part of it below `prefix`, is shown: `folder` is a path of Access Anywhere."""

    folder: str
    prefix: str = ""


class Stale(msgspec.Struct):
    """Why a folder is stale. `latest`: the time of the newest change in it."""

    latest: float
    events: int


class Seen(msgspec.Struct):
    """When somebody was seen to change objects (seconds since the epoch), and how often."""

    first: float
    last: float
    count: int = 1


class Decisions:
    """Decides on records. Without places, every bucket stands at `/BUCKET`."""

    def __init__(self, places: Mapping[str, Sequence[Place]] | None = None, own: OwnWrites | None = None) -> None:
        self._places = places
        self._is_own = _recogniser(own or OwnWrites())

    def decide(self, record: Record) -> Decision:
        """The first reason to skip it, in the order of `SkipReason`; or the folders that it makes stale."""
        if isinstance(record, Unchanged):
            return Skip(record.reason)
        if self._is_own(record.actor):
            return Skip(SkipReason.OWN_WRITE)
        folders = self._folders(record)
        return Refresh(folders) if folders else Skip(SkipReason.NOT_MAPPED)

    def _folders(self, event: ObjectEvent) -> tuple[Folder, ...]:
        tree = event.kind is Kind.DELETED_UNLISTED
        places = self._places.get(event.bucket, ()) if self._places is not None else (Place(f"/{event.bucket}"),)
        found = (_folder(place, event.key, tree=tree) for place in places)
        return tuple(dict.fromkeys(folder for folder in found if folder))


class Plan:
    """What a log file asks for, folder by folder, however many its events. Bounded by the folders, not the records."""

    def __init__(self) -> None:
        self.records = 0
        self.events = 0
        self.skipped: Counter[SkipReason] = Counter()
        self.stale: dict[Folder, Stale] = {}
        self.principals: dict[str, Seen] = {}
        """Who changed objects, Access Anywhere itself included; informational."""

    def add(self, record: Record, decision: Decision) -> None:
        """Take in one record and what was decided on it."""
        self.records += 1
        if isinstance(record, ObjectEvent):
            self._see(record)
        if isinstance(decision, Skip):
            self.skipped[decision.reason] += 1
            return
        self.events += 1
        moment = record.time
        for folder in decision.folders:
            stale = self.stale.get(folder)
            if stale is None:
                self.stale[folder] = Stale(moment, 1)
            else:
                stale.latest = max(stale.latest, moment)
                stale.events += 1

    def _see(self, event: ObjectEvent) -> None:
        who = event.actor.principal or event.actor.access_key
        seen = self.principals.get(who)
        if seen is not None:
            seen.first, seen.last = min(seen.first, event.time), max(seen.last, event.time)
            seen.count += 1
        elif who and len(self.principals) < PRINCIPALS:
            self.principals[who] = Seen(event.time, event.time)

    def needed(self, watermarks: Mapping[Folder, float]) -> list[Folder]:
        """The folders whose newest change no refresh can have seen. The others' events count as `already-refreshed`."""
        needed = []
        for folder, stale in self.stale.items():
            # CloudTrail's times are whole seconds, cut off: the change was up to one second later than its time.
            if stale.latest + 1.0 > watermarks.get(folder, float("-inf")):
                needed.append(folder)
            else:
                self.skipped[SkipReason.ALREADY_REFRESHED] += stale.events
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
