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
        self.seen: dict[str, Seen] = {}
        self.size = 0
        """Bytes. It only grows when a principal is added."""
        self._max_size = MAX_PRINCIPALS_SIZE
        self._last: Actor | None = None
        """The actor of the last record. Records of the same caller come in a row."""
        self._last_seen: Seen | None = None

    def add_change(self, event: ObjectEvent) -> None:
        """Count a change of an object, also if it is skipped."""
        if (time := event.time) == UNKNOWN_TIME:
            return
        seen = self._last_seen if event.actor is self._last else self._of(event.actor, time)
        if seen is not None:
            # Not `min` and `max`: this is done for each change.
            if time < seen.first:
                seen.first = time
            elif time > seen.last:
                seen.last = time
            seen.count += 1

    def add_read(self, record: Unchanged) -> None:
        """Count a read of an object or of a bucket, if its caller is known."""
        actor, time = record.actor, record.time
        if actor is None or not time:
            return
        seen = self._last_seen if actor is self._last else self._of(actor, time)
        if seen is not None:
            if time < seen.first:
                seen.first = time
            elif time > seen.last:
                seen.last = time
            seen.reads += 1

    def give_way(self) -> None:
        """Forget all principals, and keep no more of them."""
        self.seen = {}
        self.size = self._max_size = 0
        self._last = self._last_seen = None

    def _of(self, actor: Actor, time: float) -> Seen | None:
        """The entry of this caller. None if it has no name, or if there is no room for it."""
        name = name_of(actor)
        seen = self.seen.get(name)
        if seen is None and name and len(name) <= MAX_PRINCIPAL_LENGTH and len(self.seen) < MAX_PRINCIPALS:
            kept = _bounded(actor)
            size = PRINCIPAL + text_size(name) + _size(kept)
            if self.size + size <= self._max_size:
                seen = self.seen[name] = Seen(time, time, 0, 0, kept)
                self.size += size
        self._last, self._last_seen = actor, seen
        return seen


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
