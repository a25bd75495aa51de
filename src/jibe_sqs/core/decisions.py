"""The decision on each event: skip it for a reason from a closed list, or refresh the folders that it makes stale."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import translate
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Final

import msgspec

from jibe_sqs.core.collisions import Collisions
from jibe_sqs.core.globs import KeyFilter
from jibe_sqs.core.key_names import leading_names
from jibe_sqs.core.model import (
    Actor,
    Decision,
    Folder,
    Kind,
    Record,
    Refresh,
    Skip,
    SkipReason,
    Unchanged,
)

TIME_PRECISION: Final = 1.0
"""Seconds. CloudTrail cuts its times to whole seconds, so a change was up to one second later than its time."""


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
    changes. `ignore`: keys of the bucket that are of no interest in this place.
    """

    folder: str
    prefix: str = ""
    synced: float = float("-inf")
    ignore: KeyFilter | None = None


Places = Mapping[str, Sequence[Place]]
"""Bucket -> the places that show it."""


class Unmapped(Skip, frozen=True):
    """A decision: do nothing, because no place shows the key. `places`: the places of the bucket at that time."""

    reason: SkipReason = SkipReason.NOT_MAPPED
    places: Sequence[Place] = ()


_IGNORED: Final = Skip(SkipReason.IGNORED)


class Decisions:
    """Decides on records. If `places` is None, every bucket is shown at `/BUCKET`. It may be replaced at any time.

    `ignore`: keys that are of no interest in any bucket. `collisions`: keys that asked for a refresh and differ only in
    case.
    """

    def __init__(
        self, places: Places | None = None, own: OwnWrites | None = None, ignore: KeyFilter | None = None
    ) -> None:
        self.places = places
        self.collisions = Collisions()
        self._is_own = _own_write_check(own or OwnWrites())
        self._ignore = ignore

    def decide(self, record: Record) -> Decision:
        """`Skip` with the first matching reason in the order of `SkipReason`, or `Refresh` with the stale folders."""
        if isinstance(record, Unchanged):
            return Skip(record.reason)
        if self._is_own(record.actor):
            return Skip(SkipReason.OWN_WRITE)
        tree = record.kind.is_unlisted
        # A tree is never ignored: some of its keys may be of interest.
        if self._ignore is not None and not tree and self._ignore.matches(record.key):
            return _IGNORED
        places = self.places.get(record.bucket, ()) if self.places is not None else (Place(f"/{record.bucket}"),)
        is_synced = is_ignored = False
        folders: dict[Folder, str] = {}
        for place in places:
            folder = _folder(place, record.key, tree=tree)
            if folder is None:
                continue
            if place.ignore is not None and not tree and place.ignore.matches(record.key):
                is_ignored = True
            elif record.time + TIME_PRECISION < place.synced:
                is_synced = True
            else:
                folders.setdefault(folder, place.folder)
        if not folders:
            if is_ignored:
                return _IGNORED
            return Skip(SkipReason.BEFORE_SYNC) if is_synced else Unmapped(places=places)
        if record.kind is Kind.WRITTEN:
            self.collisions.see(record.bucket, record.key)
        elif record.kind is Kind.DELETED:
            self.collisions.forget(record.bucket, record.key)
        return Refresh(tuple(folders), tuple(folders.values()))


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
    names = leading_names(segments)
    if len(names) < len(segments):
        # It is unknown how Access Anywhere names the next folder. So the whole tree above it is stale.
        tree = True
    return Folder("/".join([place.folder.rstrip("/"), *names]) or "/", tree=tree)


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
