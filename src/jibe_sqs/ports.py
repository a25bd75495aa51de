"""What the core asks of the world. Each port is the wish of its caller, no more."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec

from jibe_sqs.core.decisions import Place, Places, Seen
from jibe_sqs.core.model import Change, Folder, LogFile, Message, Reject


class QueueFacts(msgspec.Struct, frozen=True):
    """What a queue says of itself. `visibility_timeout` in seconds; `max_receives` is its redrive policy's, if any."""

    visibility_timeout: float
    max_receives: int | None = None
    dead_letters: str | None = None
    """URL of the dead-letter queue, if there is one and we may write to it."""


class Queue(Protocol):
    """One SQS queue. Every call raises only `QueueError`s."""

    name: str

    async def facts(self) -> QueueFacts:
        """Ask the queue for its own settings."""

    async def receive(self, limit: int, *, wait: float) -> Sequence[Message]:
        """At most `limit` (1 to 10) messages, waiting up to `wait` seconds for the first."""

    async def delete(self, receipts: Sequence[str]) -> dict[str, Exception]:
        """Delete up to ten; returns what failed, by receipt."""

    async def show_after(self, delays: Sequence[tuple[str, float]]) -> dict[str, Exception]:
        """Set the visibility (seconds from now) of up to ten receipts; returns what failed, by receipt."""

    async def reject(self, message: Message, why: Reject) -> bool:
        """Put a copy with its reason on the dead-letter queue. False if there is none that we may write to."""


class Log(Protocol):
    """An open log file: its chunks of bytes, as stored."""

    etag: str
    size: int

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Chunks in order. Raises `LogStoreError`, also for an object cut short on its way."""


class LogStore(Protocol):
    """Where log files are."""

    def open(self, file: LogFile) -> AbstractAsyncContextManager[Log]:
        """Open for reading; holds its share of the byte budget until closed. Raises `LogStoreError`."""


class Signatures(Protocol):
    """Who can say whether a message was sent by SNS."""

    async def check(self, body: str) -> None:
        """Return if it was. Raises `AnnouncementError`s only, of which `SignatureUnavailable` may pass."""


class Verifier(Protocol):
    """Who can say whether a log file is what CloudTrail delivered."""

    async def verify(self, file: LogFile, sha256hex: str) -> None:
        """Return if it is, by the hash of its decompressed text. Raises `VerificationError`, `LogStoreError`."""


class OtherRefreshes(Protocol):
    """The refreshes of other folders, as a target sees them while it refreshes one. Calls are coalesced with all others."""

    async def refresh(self, folder: Folder) -> None:
        """Wait for a refresh of this folder that begins from now on. Raises the `JibeError` of that refresh."""

    def watch(self, folder: Folder) -> Callable[[], Awaitable[bool]]:
        """Start watching the folder. The returned function says whether a refresh of it has ended since; it waits for one that is running."""


class SyncTarget(Protocol):
    """The system whose index is kept true."""

    async def refresh(self, folder: Folder, began: Callable[[], None], others: OtherRefreshes) -> None:
        """Make the index of this folder true again. Returns when it is.

        Calls `began` at each moment from which on all earlier changes are sure to be seen. The last call before the
        return counts. `others` refreshes the other folders that this refresh needs. Raises `AccessAnywhereError`.
        """


class EventTarget(Protocol):
    """Who is told of changes, object by object."""

    batch: int
    """How many changes one call takes, at most."""

    async def tell(self, changes: Sequence[Change]) -> None:
        """Return when all of them are taken in. Raises `AccessAnywhereError`: then none may be."""


class Gate(Protocol):
    """Whether there is any sense in taking more work."""

    @property
    def reason(self) -> str:
        """Why there is none; empty where there is."""

    async def passable(self) -> None:
        """Return at once, or else when there is sense in it again."""


class Buckets(Protocol):
    """Where buckets are shown, as far as is known now."""

    async def appeared(self, unknown: Mapping[str, Sequence[Place]], latest: float) -> bool:
        """Whether one of these buckets is shown elsewhere than at the places by which it was decided on.

        Certain of all that changed there up to `latest` (seconds since the epoch, S3's clock), and so it may take half a
        minute: hold nothing that others need. Raises `AccessAnywhereError` where it cannot be told.
        """


class Providers(Protocol):
    """What Access Anywhere shows. Every call raises only `AccessAnywhereError`s."""

    async def places(self) -> Places:
        """Every bucket that it shows, and where. Says nothing of syncs."""

    async def synced(self, folders: Collection[str]) -> Mapping[str, float]:
        """When the last complete sync of each of these providers began, at the latest (seconds since the epoch).

        Providers are known by the names of their top-level folders. Absent where that cannot be told for sure.
        """


class Found(msgspec.Struct, frozen=True):
    """What a listing shows of an object. `modified`: seconds since the epoch; None where the store does not tell."""

    file: LogFile
    modified: float | None = None


class Listing(Protocol):
    """What a sweep asks of a log store. Every call raises only `LogStoreError`s."""

    def level(self, bucket: str, prefix: str) -> AsyncGenerator[Found | str, None]:
        """One level: the objects directly below the prefix, and the folders, as prefixes that end in `/`."""

    async def has(self, bucket: str, prefix: str) -> bool:
        """Whether anything is below that prefix, as far as can be told in one look."""

    async def buckets(self) -> Sequence[str]:
        """All that we may list."""


class Ledger(Protocol):
    """What survives a restart. Every call raises only `LedgerError`s. What `finish` and `refreshed` return from is durable."""

    async def is_finished(self, file: LogFile) -> bool:
        """Whether this very file was read to its end and everything in it refreshed."""

    async def unfinished(self, files: Sequence[LogFile]) -> list[LogFile]:
        """Those of them that are not finished, in their order."""

    async def finish(self, file: LogFile, etag: str) -> None:
        """Remember so. `etag` is of the object that was read; empty where its store tells none.

        Then whichever etag an announcement names later is taken for it: log files are written once, and one that was
        replaced is worth less than reading every file twice that was both swept and announced.
        """

    async def watermarks(self, folders: Iterable[Folder]) -> dict[Folder, float]:
        """When the last good refresh of each began (seconds since the epoch, S3's clock); unknown folders are absent."""

    async def refreshed(self, folder: Folder, began: float) -> None:
        """Remember when a good refresh began. An earlier one never replaces a later one."""

    async def observe(self, principals: Mapping[str, Seen]) -> None:
        """Remember who changed objects: the earliest, the latest, and the sum of the counts."""

    async def principals(self) -> dict[str, Seen]:
        """All who were seen."""

    async def prune(self, before: float) -> None:
        """Forget what was written before that moment (seconds since the epoch, local clock)."""


class Clock(Protocol):
    """Time. `now` is S3's clock, never ahead of it; `monotonic` never steps; `sleep` sleeps. All in seconds."""

    def now(self) -> float:
        """Seconds since the epoch, by S3's clock as last seen, never ahead of it."""

    def monotonic(self) -> float:
        """For durations."""

    async def sleep(self, seconds: float) -> None:
        """Sleep."""
