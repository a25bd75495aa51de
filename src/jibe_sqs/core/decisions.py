"""The decision on each event: skip it for a reason from a closed list, or refresh the folders that it makes stale."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address
from operator import attrgetter
from typing import Final

import msgspec

from jibe_sqs.core.collisions import Collisions
from jibe_sqs.core.globs import Globs, KeyFilter
from jibe_sqs.core.key_names import leading_names
from jibe_sqs.core.model import (
    Actor,
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


class OwnWrite(Skip, frozen=True):
    """A decision: do nothing, because Access Anywhere itself made the change. `rule`: the setting that matched it."""

    reason: SkipReason = SkipReason.OWN_WRITE
    rule: str = ""


_IGNORED: Final = Skip(SkipReason.IGNORED)
_UNCHANGED: Final = {reason: Skip(reason) for reason in SkipReason}
_WRITTEN, _DELETED = Kind.WRITTEN, Kind.DELETED

MAX_REMEMBERED: Final = 20_000
"""Folders of buckets whose decisions are remembered."""
MAX_REMEMBERED_LENGTH: Final = 512
"""Characters of the name of such a folder, and of such a bucket."""


class Decisions:
    """Decides on records. If `places` is None, every bucket is shown at `/BUCKET`. It may be replaced at any time.

    `ignore`: keys that are of no interest in any bucket. `collisions`: keys that asked for a refresh and differ only in
    case.
    """

    def __init__(
        self, places: Places | None = None, own: OwnWrites | None = None, ignore: KeyFilter | None = None
    ) -> None:
        self.collisions = Collisions()
        self._own_writes = _OwnWriteRules(own or OwnWrites())
        self._ignore = ignore
        self._buckets: dict[str, _ShownBucket] = {}
        self.remembered = 0
        """Buckets, and folders of buckets, whose decisions are remembered. They are forgotten when the places change."""
        self.places = places

    @property
    def places(self) -> Places | None:
        """The places of every bucket."""
        return self._places

    @places.setter
    def places(self, places: Places | None) -> None:
        self._places = places
        self._forget()

    @property
    def ignore(self) -> KeyFilter | None:
        """The keys that are of no interest in any bucket."""
        return self._ignore

    def change_rules(self, own: OwnWrites, ignore: KeyFilter | None) -> None:
        """Decide by other rules from now on. The places stay."""
        # Both are asked before the decisions on folders, so these stay.
        self._own_writes = _OwnWriteRules(own)
        self._ignore = ignore

    def decide(self, record: Record) -> Decision:
        """`Skip` with the first matching reason in the order of `SkipReason`, or `Refresh` with the stale folders."""
        if isinstance(record, Unchanged):
            return _UNCHANGED[record.reason]
        if (own_write := self._own_writes.first(record.actor)) is not None:
            return own_write
        kind, key = record.kind, record.key
        if kind is _WRITTEN:
            decision = self._decide_on_key(record)
            if isinstance(decision, Refresh):
                self.collisions.see(record.bucket, key)
        elif kind is _DELETED:
            decision = self._decide_on_key(record)
            if isinstance(decision, Refresh):
                self.collisions.forget(record.bucket, key)
        else:
            # A tree is never ignored: some of its keys may be of interest.
            decision = self._bucket(record.bucket).decide(key, record.time, tree=True)
        return decision

    def own_write_rule(self, actor: Actor) -> str:
        """The rule that recognises a caller as Access Anywhere. Empty if none does."""
        found = self._own_writes.of(actor)
        return found.rule if found is not None else ""

    def _decide_on_key(self, record: ObjectEvent) -> Decision:
        """Most events are in a folder that had an event before. So the decision on a folder is made once."""
        key = record.key
        if self._ignore is not None and self._ignore.matches(key):
            return _IGNORED
        bucket = self._bucket(record.bucket)
        if not bucket.folder_decides(key, record.time):
            return bucket.decide(key, record.time, tree=False)
        folder = key[: key.rfind("/") + 1]
        decision = bucket.by_folder.get(folder)
        if decision is None:
            decision = bucket.decide(key, record.time, tree=False)
            if len(folder) <= MAX_REMEMBERED_LENGTH:
                bucket.by_folder[folder] = decision
                self.remembered += 1
        return decision

    def _bucket(self, name: str) -> "_ShownBucket":
        if self.remembered >= MAX_REMEMBERED:
            self._forget()
        found = self._buckets.get(name)
        if found is None:
            places = self._places.get(name, ()) if self._places is not None else (Place(f"/{name}"),)
            found = _ShownBucket(places)
            if len(name) <= MAX_REMEMBERED_LENGTH:
                self._buckets[name] = found
                self.remembered += 1
        return found

    def _forget(self) -> None:
        self._buckets.clear()
        self.remembered = 0


class _ShownBucket:
    """The places of one bucket, and the decisions on its folders that are known."""

    def __init__(self, places: Sequence[Place]) -> None:
        self.by_folder: dict[str, Decision] = {}
        """Folder of the bucket (empty, or it ends in `/`) -> the decision on each key directly in it."""
        self._places = places
        self._decides_on_folders = all(
            place.ignore is None and (not place.prefix or place.prefix.endswith("/")) for place in places
        )
        self._synced = max((place.synced for place in places), default=float("-inf"))

    def folder_decides(self, key: str, time: float) -> bool:
        """Whether the decision on this key is the same as on all later changes of keys in the same folder."""
        # The key `a/` is shown where `a` is, not in the folder `a/`.
        return self._decides_on_folders and time + TIME_PRECISION >= self._synced and not key.endswith("/")

    def decide(self, key: str, time: float, *, tree: bool) -> Decision:
        """The decision on the change of a key, or of anything below a prefix if `tree`."""
        is_synced = is_ignored = False
        folders: dict[Folder, str] = {}
        for place in self._places:
            folder = _folder(place, key, tree=tree)
            if folder is None:
                continue
            if place.ignore is not None and not tree and place.ignore.matches(key):
                is_ignored = True
            elif time + TIME_PRECISION < place.synced:
                is_synced = True
            else:
                folders.setdefault(folder, place.folder)
        if folders:
            return Refresh(tuple(folders), tuple(folders.values()))
        if is_ignored:
            return _IGNORED
        return Skip(SkipReason.BEFORE_SYNC) if is_synced else Unmapped(places=self._places)


def folders_of_prefix(places: Iterable[Place], prefix: str, *, deep: bool) -> list[Folder]:
    """The folders that show a prefix, which is meant as a folder; with everything below them if `deep`.

    Also a place that shows only a part of the prefix counts. Empty if no place shows any of it.
    """
    prefix = f"{prefix}/" if prefix and not prefix.endswith("/") else prefix
    found: dict[Folder, None] = {}
    for place in places:
        folder = _folder(place, prefix, tree=True)
        if folder is not None:
            # If a name in the prefix is no name in a path, only the tree above it is certain to show it.
            direct = _folder(place, f"{prefix}x", tree=False)
            found[Folder(folder.path, tree=deep or (direct is not None and direct.tree))] = None
    return list(found)


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


class _OwnWriteRules:
    """Recognises Access Anywhere's own writes. The answer for the last caller is remembered: its changes come in a row."""

    def __init__(self, own: OwnWrites) -> None:
        self._checks = _own_write_checks(own)
        self._actor = Actor()
        self._rule: OwnWrite | None = self.of(self._actor)

    def first(self, actor: Actor) -> OwnWrite | None:
        """The decision of the first rule that matches the caller."""
        if actor is not self._actor:
            self._rule = self.of(actor)
            self._actor = actor
        return self._rule

    def of(self, actor: Actor) -> OwnWrite | None:
        """The same, if the next caller is probably another one."""
        return next((found for check in self._checks if (found := check(actor)) is not None), None)


_OwnWriteCheck = Callable[[Actor], OwnWrite | None]


def _own_write_checks(own: OwnWrites) -> list[_OwnWriteCheck]:
    """A check for each kind of rule that is configured. The decision on each rule is made once, and names the rule."""
    checks: list[_OwnWriteCheck] = []
    if own.access_keys:
        by_key = {key: OwnWrite(rule=f"own_writes.access_keys: {key}") for key in own.access_keys if key}
        checks.append(lambda actor: by_key.get(actor.access_key))
    if own.principals:
        checks.append(_pattern_check("principals", own.principals, attrgetter("principal")))
    if own.session_issuers:
        checks.append(_pattern_check("session_issuers", own.session_issuers, attrgetter("session_issuer")))
    if own.user_agents:
        checks.append(_pattern_check("user_agents", own.user_agents, attrgetter("user_agent")))
    if own.source_addresses:
        checks.append(_address_check(own.source_addresses))
    return checks


def _pattern_check(name: str, patterns: Iterable[str], field: Callable[[Actor], str]) -> _OwnWriteCheck:
    by_pattern = {pattern: OwnWrite(rule=f"own_writes.{name}: {pattern}") for pattern in patterns}
    first = Globs(by_pattern).first

    def check(actor: Actor) -> OwnWrite | None:
        text = field(actor)
        pattern = first(text) if text else None
        return by_pattern[pattern] if pattern is not None else None

    return check


def _address_check(networks: Iterable[IPv4Network | IPv6Network]) -> _OwnWriteCheck:
    by_network = {network: OwnWrite(rule=f"own_writes.source_addresses: {network}") for network in networks}

    def check(actor: Actor) -> OwnWrite | None:
        try:
            address = ip_address(actor.source_address)
        except ValueError:
            # A call by an AWS service has the name of the service in place of an address.
            return None
        return next((skip for network, skip in by_network.items() if address in network), None)

    return check
