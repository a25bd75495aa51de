"""The nouns. Everything above `ObjectEvent` is wire shape; everything below it knows nothing of wire shapes."""

from enum import StrEnum
from typing import Final

import msgspec

from jibe_sqs.core.errors import JibeError

LATEST: Final = 253_402_300_799.0
"""Seconds since the epoch: the end of the year 9999. A later time cannot be told to people, and no log has one."""
UNKNOWN_TIME: Final = LATEST
"""The time of an event whose time cannot be read. It is later than every watermark and sync, so the event is new."""


class Message(msgspec.Struct, frozen=True):
    """One SQS message. `sent_at` is seconds since the epoch, by the queue's clock; `receive_count` is 1 at first."""

    id: str
    receipt: str
    body: str
    receive_count: int = 1
    sent_at: float = 0.0
    ours: bool = False
    """Made by ourselves, in memory: nobody else can have written it."""


class LogFile(msgspec.Struct, frozen=True):
    """An announcement: a log file to fetch. `version` and `etag` (unquoted) where the announcement names them."""

    bucket: str
    key: str
    version: str | None = None
    etag: str | None = None
    size: int | None = None

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


class Nothing(msgspec.Struct, frozen=True):
    """An announcement that asks for nothing. `about` says what it was, in a few words."""

    about: str
    bucket: str | None = None
    key: str | None = None


class Unreadable(msgspec.Struct, frozen=True):
    """An announcement: a record of a message that cannot be read. `index` is its position in the message, from 0."""

    error: JibeError
    index: int


class Kind(StrEnum):
    """What became of an object."""

    WRITTEN = "written"
    DELETED = "deleted"
    DELETED_UNLISTED = "deleted-unlisted"
    """Objects were deleted and the source does not say which: all below `key`, a prefix, is stale."""
    WRITTEN_UNLISTED = "written-unlisted"
    """An object was written and its key cannot be read: all below `key`, a prefix, is stale."""

    @property
    def is_unlisted(self) -> bool:
        """Whether `key` is a prefix, below which everything is stale, and not the key of one object."""
        return self in (Kind.DELETED_UNLISTED, Kind.WRITTEN_UNLISTED)


class Actor(msgspec.Struct, frozen=True):
    """Who did it, as far as the source tells; empty where it does not."""

    principal: str = ""
    """ARN of the caller."""
    access_key: str = ""
    session_issuer: str = ""
    """ARN of the role that an assumed role's session was issued by."""
    source_address: str = ""
    user_agent: str = ""


class ObjectEvent(msgspec.Struct, frozen=True, gc=False):
    """One object written or deleted. `time`: seconds since the epoch when the change was visible, by S3's clock."""

    kind: Kind
    bucket: str
    key: str
    time: float
    event_id: str = ""
    region: str = ""
    actor: Actor = Actor()
    version: str | None = None
    name: str = ""
    """The source's word for the call, for people."""


class SkipReason(StrEnum):
    """Why an event asks for no refresh. A closed list; each is a metric label and a word in `explain`."""

    READ_ONLY = "read-only"
    FAILED = "failed"
    OWN_WRITE = "own-write"
    NOT_OBJECT_CHANGE = "not-object-change"
    NOT_MAPPED = "not-mapped"
    BEFORE_SYNC = "before-sync"
    ALREADY_REFRESHED = "already-refreshed"
    DUPLICATE = "duplicate"


class Unchanged(msgspec.Struct, frozen=True, gc=False):
    """A record of a log file that changes no object in the index, and why."""

    reason: SkipReason
    bucket: str = ""
    key: str = ""
    time: float = 0.0
    event_id: str = ""
    name: str = ""


Record = ObjectEvent | Unchanged

Announcement = LogFile | ObjectEvent | Unchanged | Nothing | Unreadable


class Folder(msgspec.Struct, frozen=True, order=True):
    """A folder of Access Anywhere. `path` starts with `/` and does not end with one; `tree` means all below it too."""

    path: str
    tree: bool = False

    def __str__(self) -> str:
        return f"{self.path.rstrip('/')}/**" if self.tree else self.path


class Change(msgspec.Struct, frozen=True, gc=False):
    """One event, and the folders of Access Anywhere in which its object stands: one for each place."""

    event: ObjectEvent
    folders: tuple[Folder, ...]


class Skip(msgspec.Struct, frozen=True):
    """A decision: do nothing."""

    reason: SkipReason


class Refresh(msgspec.Struct, frozen=True):
    """A decision: these folders are stale, one for each place where the bucket is shown."""

    folders: tuple[Folder, ...]


Decision = Skip | Refresh


class Done(msgspec.Struct, frozen=True):
    """A verdict: everything that the message announced is done; delete it."""


class Retry(msgspec.Struct, frozen=True):
    """A verdict: show the message again after `delay` seconds."""

    delay: float
    reason: str


class Reject(msgspec.Struct, frozen=True):
    """A verdict: trying again cannot help; dead-letter the message with its reason."""

    error: str
    """The error's class name."""
    reason: str
    source: str = ""
    """Where it was met: the log file as `s3://BUCKET/KEY`, or `message` for what stands in the message itself."""
    first_error: str = ""
    """Where several parts failed, what failed first, and was not what decided."""


Verdict = Done | Retry | Reject
