"""The principals of a log file: the callers that changed objects, and the callers that read them if that is wanted.

The sessions of a role are one principal, the role: otherwise each session would be another one.
"""

import re
from typing import Final, Literal

import msgspec

from jibe_sqs.core.model import UNKNOWN_TIME, Actor, ObjectEvent, Unchanged
from jibe_sqs.core.plan_sizes import PRINCIPAL, text_size

KeptPrincipals = Literal["writers", "readers", "off"]
"""Which principals are kept: those that changed objects, also those that only read them, or no one."""

MAX_PRINCIPALS: Final = 5000
"""Principals of one file. Users of federated logins may each have a name, so their number has no limit."""
MAX_PRINCIPAL_LENGTH: Final = 2048
"""Characters. This is the longest ARN of AWS. A longer name is not kept."""
MAX_PRINCIPALS_SIZE: Final = 4 * 1024 * 1024
"""Bytes. Principals are for information only, so folders must not become trees for them."""
MAX_ACTOR_LENGTH: Final = 1024
"""Characters of all fields of an actor. The user agent and the session of a longer one are not kept."""

_SESSION: Final = re.compile(r"(arn:[\w-]+):sts::(\d+):assumed-role/(.+)/[^/]+")
"""The ARN of a session of a role: partition, account and role. A role's path is not in it."""
_SESSION_ID: Final = re.compile(r"(AWS:AROA[A-Z0-9]+):.+")
"""The id of such a session, in notifications of S3."""


class Seen(msgspec.Struct):
    """What one principal did: the first and the last time (seconds since the epoch), and the numbers of changes and reads.

    `actor`: the caller as it was seen once, for the rules of `own_writes`. Its fields are empty if it is not known.
    """

    first: float
    last: float
    count: int = 1
    """Changes of objects."""
    reads: int = 0
    actor: Actor = Actor()

    def merge(self, later: "Seen") -> None:
        """Add what was seen in another place, or later."""
        self.first = min(self.first, later.first)
        self.last = max(self.last, later.last)
        self.count += later.count
        self.reads += later.reads
        if later.actor != Actor():
            self.actor = later.actor


class Principals:
    """The principals of one file, in bounded memory. For information only."""

    def __init__(self) -> None:
        self.changes: dict[str, Seen] = {}
        """Principal -> its changes."""
        self.reads: dict[str, Seen] = {}
        """Principal -> its reads."""
        self.size = 0
        """Bytes."""
        self._max_size = MAX_PRINCIPALS_SIZE
        self._last: tuple[Actor, Seen] | None = None
        """The actor of the last change, and its entry. Changes of the same caller come in a row."""

    @property
    def all(self) -> dict[str, Seen]:
        """Principal -> its changes and reads."""
        if not self.reads:
            return self.changes
        found = {name: msgspec.structs.replace(seen) for name, seen in self.changes.items()}
        for name, seen in self.reads.items():
            if name in found:
                found[name].merge(seen)
            else:
                found[name] = seen
        return found

    def add_change(self, event: ObjectEvent) -> bool:
        """Count a change of an object, also if it is skipped. Returns whether this took memory."""
        time, last = event.time, self._last
        if time == UNKNOWN_TIME:
            return False
        if last is not None and event.actor is last[0]:
            seen = last[1]
        else:
            name = name_of(event.actor)
            known = self.changes.get(name)
            if known is None:
                return self._add(self.changes, name, Seen(time, time, 1, 0), event.actor)
            self._last, seen = (event.actor, known), known
        # Not `min` and `max`: this is done for each change.
        if time < seen.first:
            seen.first = time
        elif time > seen.last:
            seen.last = time
        seen.count += 1
        return False

    def add_read(self, record: Unchanged) -> bool:
        """Count a read of an object or of a bucket, if its caller is known. Returns whether this took memory."""
        actor, time = record.actor, record.time
        if actor is None or not time:
            return False
        name = name_of(actor)
        seen = self.reads.get(name)
        if seen is None:
            return self._add(self.reads, name, Seen(time, time, 0, 1), actor)
        if time < seen.first:
            seen.first = time
        elif time > seen.last:
            seen.last = time
        seen.reads += 1
        return False

    def give_way(self) -> None:
        """Forget all principals, and keep no more of them."""
        self.changes, self.reads = {}, {}
        self.size = self._max_size = 0
        self._last = None

    def _add(self, found: dict[str, Seen], name: str, seen: Seen, actor: Actor) -> bool:
        """Add a principal, if it has a name, and if there is room for it."""
        if not name or len(name) > MAX_PRINCIPAL_LENGTH or len(found) >= MAX_PRINCIPALS:
            return False
        seen.actor = _bounded(actor)
        size = PRINCIPAL + text_size(name) + _size(seen.actor)
        if self.size + size > self._max_size:
            return False
        found[name] = seen
        self.size += size
        return True


def name_of(actor: Actor) -> str:
    """The name of the principal: the role of a session, else the caller, else its access key."""
    return actor.session_issuer or role_of(actor.principal) or actor.principal or actor.access_key


def role_of(principal: str) -> str:
    """The ARN, or the id, of the role whose session this is. Empty if it is not a session of a role."""
    if ":assumed-role/" in principal and (found := _SESSION.fullmatch(principal)):
        return f"{found[1]}:iam::{found[2]}:role/{found[3]}"
    found = _SESSION_ID.fullmatch(principal) if principal.startswith("AWS:AROA") else None
    return found[1] if found else ""


def caller(name: str, seen: Seen) -> Actor:
    """The caller, for the rules of `own_writes`. Entries of earlier releases have only the name."""
    if seen.actor != Actor():
        return seen.actor
    is_role = ":role/" in name
    return Actor(
        principal=name,
        access_key="" if name.startswith("arn:") else name,
        session_issuer=name if is_role else role_of(name),
    )


def _bounded(actor: Actor) -> Actor:
    fields = msgspec.structs.astuple(actor)
    if sum(map(len, fields)) <= MAX_ACTOR_LENGTH:
        return actor
    return Actor(*(each if len(each) <= MAX_ACTOR_LENGTH // len(fields) else "" for each in fields))


def _size(actor: Actor) -> int:
    return sum(map(text_size, msgspec.structs.astuple(actor)))
