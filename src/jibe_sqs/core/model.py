"""The types that all parts share. Code before `ObjectEvent` in the data flow handles wire formats; code after it never does."""

from enum import StrEnum
from typing import Final

import msgspec

from jibe_sqs.core.errors import JibeError

LATEST: Final = 253_402_300_799.0
"""Seconds since the epoch: the end of the year 9999. A later time cannot be formatted, and no log has one."""
UNKNOWN_TIME: Final = LATEST
"""The time of an event whose time cannot be read. It is later than every watermark and sync, so the event is new."""


class Message(msgspec.Struct, frozen=True):
    """One SQS message. `sent_at`: seconds since the epoch by the queue's clock. `receive_count`: 1 at the first receive."""

    id: str
    receipt: str
    body: bytes
    """Its text in UTF-8. One emoji makes a string of Python take four bytes for each character, and messages wait for hours."""
    receive_count: int = 1
    sent_at: float = 0.0
    ours: bool = False
    """Made by this process, in memory. So its body can be trusted."""
    trace: str = ""
    """The sender's trace, as an X-Ray header. Empty if it has none, or if it was not asked for."""


class LogFile(msgspec.Struct, frozen=True, gc=False):
    """An announcement: a log file to fetch. `version` and `etag` (unquoted) are None if the announcement lacks them."""

    bucket: str
    key: str
    version: str | None = None
    etag: str | None = None
    size: int | None = None

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


class Nothing(msgspec.Struct, frozen=True):
    """An announcement that asks for nothing. `about`: a few words that describe it."""

    about: str
    bucket: str | None = None
    key: str | None = None


class Unreadable(msgspec.Struct, frozen=True):
    """An announcement: a record of a message that cannot be read. `index`: its position in the message, from 0."""

    error: JibeError
    index: int


class Kind(StrEnum):
    """How an object changed."""

    WRITTEN = "written"
    DELETED = "deleted"
    DELETED_UNLISTED = "deleted-unlisted"
    """Objects were deleted, and the source does not name them. Everything below `key`, a prefix, is stale."""
    WRITTEN_UNLISTED = "written-unlisted"
    """An object was written, and its key cannot be read. Everything below `key`, a prefix, is stale."""

    @property
    def is_unlisted(self) -> bool:
        """Whether `key` is a prefix below which everything is stale. Otherwise it is the key of one object."""
        return self in (Kind.DELETED_UNLISTED, Kind.WRITTEN_UNLISTED)


class Actor(msgspec.Struct, frozen=True, gc=False):
    """The caller that changed an object. A field is empty if the source does not have it."""

    principal: str = ""
    """ARN of the caller."""
    access_key: str = ""
    session_issuer: str = ""
    """ARN of the role that issued the session, if the caller is an assumed role."""
    source_address: str = ""
    user_agent: str = ""


class ObjectEvent(msgspec.Struct, frozen=True, gc=False):
    """One object written or deleted. `time`: when the change became visible, in seconds since the epoch by S3's clock."""

    kind: Kind
    bucket: str
    key: str
    time: float
    event_id: str = ""
    region: str = ""
    actor: Actor = Actor()
    version: str | None = None
    name: str = ""
    """The source's name of the call or event, for display."""
    request_id: str = ""
    """The id that S3 gave the request. Every source that announces the same change has the same. Empty if it is unknown."""


class SkipReason(StrEnum):
    """Why an event asks for no refresh. A closed list; each is a word in `explain`, reports and logs."""

    READ_ONLY = "read-only"
    FAILED = "failed"
    OWN_WRITE = "own-write"
    NOT_OBJECT_CHANGE = "not-object-change"
    IGNORED = "ignored"
    NOT_MAPPED = "not-mapped"
    BEFORE_SYNC = "before-sync"
    ALREADY_REFRESHED = "already-refreshed"
    DUPLICATE = "duplicate"


class Unchanged(msgspec.Struct, frozen=True, gc=False):
    """A record that changes no object in the index, and the reason. `actor`: the caller of a read, if readers are wanted."""

    reason: SkipReason
    bucket: str = ""
    key: str = ""
    time: float = 0.0
    event_id: str = ""
    name: str = ""
    actor: Actor | None = None


Record = ObjectEvent | Unchanged

Announcement = LogFile | ObjectEvent | Unchanged | Nothing | Unreadable


class Folder(msgspec.Struct, frozen=True, order=True):
    """A folder of Access Anywhere. `path` starts with `/` and does not end with it. `tree`: with everything below it."""

    path: str
    tree: bool = False

    def __str__(self) -> str:
        return f"{self.path.rstrip('/')}/**" if self.tree else self.path


class RefreshReason(StrEnum):
    """Why a folder is refreshed. The first reason counts if there are several, in this order."""

    EVENTS = "events"
    """A log file or a message names a change in it."""
    OPERATOR = "operator"
    """An operator asked for it."""
    COMPARE = "compare"
    """A comparison found a difference."""
    IMPORT = "import"
    """Its bucket appeared in Access Anywhere."""
    CATCH_UP = "catch-up"
    """Changes in it may have been missed during a long stop."""
    DESCENDANT = "descendant"
    """The refresh of a folder below it needs it."""

    @property
    def rank(self) -> int:
        """The position in the order: 0 counts first."""
        return _RANKS[self]


_RANKS: Final = {reason: rank for rank, reason in enumerate(RefreshReason)}


class Change(msgspec.Struct, frozen=True, gc=False):
    """One event, and the folders of Access Anywhere that show its object: one for each place."""

    event: ObjectEvent
    folders: tuple[Folder, ...]


class Skip(msgspec.Struct, frozen=True):
    """A decision: do nothing."""

    reason: SkipReason


class Refresh(msgspec.Struct, frozen=True):
    """A decision: these folders are stale, one for each place where the bucket is shown.

    `tops`: for each of the folders, the folder of its place. A tree that replaces the folder must not go above it.
    """

    folders: tuple[Folder, ...]
    tops: tuple[str, ...]


Decision = Skip | Refresh


class Done(msgspec.Struct, frozen=True):
    """A verdict: delete the message, because everything that it announced is done."""


class Retry(msgspec.Struct, frozen=True):
    """A verdict: show the message again after `delay` seconds."""

    delay: float
    reason: str


class Reject(msgspec.Struct, frozen=True):
    """A verdict: send the message to the dead-letter queue with its reason, because trying again cannot help."""

    error: str
    """The error's class name."""
    reason: str
    source: str = ""
    """Where the error was found: a log file as `s3://BUCKET/KEY`, or `message` for the message itself."""
    first_error: str = ""
    """The first error, if several parts failed and another error decided."""


Verdict = Done | Retry | Reject
