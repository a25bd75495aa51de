"""The interfaces that the core needs from its surroundings. Each has only what its caller uses."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec

from jibe_sqs.core.comparison import Entry
from jibe_sqs.core.decisions import Place, Places
from jibe_sqs.core.history import HistoryEntry, HistoryQuestion, Remembered
from jibe_sqs.core.model import Change, Folder, LogFile, Message, RefreshReason, Reject
from jibe_sqs.core.principals import Seen


class QueueFacts(msgspec.Struct, frozen=True):
    """A queue's own settings. `visibility_timeout` in seconds; `max_receives` is its redrive policy's, if it has one."""

    visibility_timeout: float
    max_receives: int | None = None
    dead_letters: str | None = None
    """URL of the dead-letter queue, if there is one and we may write to it."""
    retention: float = 345_600.0
    """Seconds after which the queue deletes a message that nobody has deleted. The default is SQS's."""


class QueueDepth(msgspec.Struct, frozen=True):
    """How many messages a queue has now, approximately. `retention`: see `QueueFacts`; it may have changed."""

    visible: int
    hidden: int
    retention: float


class Queue(Protocol):
    """One SQS queue. Every call raises only `QueueError`s."""

    name: str

    async def facts(self) -> QueueFacts:
        """Ask the queue for its settings."""

    async def depth(self) -> QueueDepth:
        """Ask the queue for the number of its messages."""

    async def receive(self, limit: int, *, wait: float, visibility: float) -> Sequence[Message]:
        """Receive at most `limit` (1 to 10) messages, and hide them for `visibility` seconds from now.

        Waits up to `wait` seconds for the first.
        """

    async def delete(self, receipts: Sequence[str]) -> dict[str, Exception]:
        """Delete up to ten messages. Returns the errors by receipt."""

    async def show_after(self, delays: Sequence[tuple[str, float]]) -> dict[str, Exception]:
        """Set the visibility timeout (seconds from now) of up to ten receipts. Returns the errors by receipt."""

    async def reject(self, message: Message, why: Reject) -> bool:
        """Put a copy with its reason on the dead-letter queue. False if there is none that we may write to."""


class Log(Protocol):
    """An open log file: its bytes in chunks, as stored."""

    etag: str
    size: int

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Iterate over the chunks in order. Raises `LogStoreError`, also if the transfer is cut short."""


class LogStore(Protocol):
    """The store of the log files."""

    def open(self, file: LogFile) -> AbstractAsyncContextManager[Log]:
        """Open a file for reading. Holds its part of the byte budget until it is closed. Raises `LogStoreError`."""


class Signatures(Protocol):
    """Checks whether SNS sent a message."""

    async def check(self, body: bytes) -> None:
        """Return if SNS sent it. Raises only `AnnouncementError`s; of these, `SignatureUnavailable` is transient."""


class Verifier(Protocol):
    """Checks whether a log file is unchanged since CloudTrail delivered it."""

    async def verify(self, file: LogFile, sha256hex: str) -> None:
        """Return if the hash of the decompressed text is right. Raises `VerificationError`, `LogStoreError`."""


class OtherRefreshes(Protocol):
    """The refreshes of other folders, for a target that refreshes one. Requests are coalesced with all others."""

    newest: float = 0.0
    """When the last change happened that the refresh is for (seconds since the epoch); 0 if that is not known."""

    async def refresh(self, folder: Folder) -> None:
        """Wait for a refresh of this folder that begins from now on. Raises the `JibeError` of that refresh."""

    def watch(self, folder: Folder) -> Callable[[], Awaitable[bool]]:
        """Return a function that says later whether a refresh of the folder has ended since. It waits for a running one."""


class SyncTarget(Protocol):
    """The system whose index is kept up to date."""

    async def refresh(self, folder: Folder, began: Callable[[], None], others: OtherRefreshes) -> None:
        """Bring the index of this folder up to date. Returns when it shows every change before the last call of `began`.

        It calls `began` just before it reads the folder's content, and again before each new reading. `others` refreshes
        the other folders that this refresh needs first. Raises `AccessAnywhereError`.
        """


class RefreshOutcome(msgspec.Struct, frozen=True):
    """A refresh that has ended. `seconds`: since it last began. `waited`: since the first of its requests."""

    folder: Folder
    seconds: float
    waited: float
    reason: RefreshReason = RefreshReason.EVENTS
    error: Exception | None = None

    @property
    def for_descendant(self) -> bool:
        """Nothing asked for it but the refresh of another folder, which needed it."""
        return self.reason is RefreshReason.DESCENDANT


class PendingRefresh(msgspec.Struct, frozen=True):
    """A folder that waits for a refresh, or is being refreshed. `since` (monotonic): when the first request came."""

    folder: Folder
    since: float
    reason: RefreshReason = RefreshReason.EVENTS

    @property
    def for_descendant(self) -> bool:
        """Nothing asked for it but the refresh of another folder, which needs it."""
        return self.reason is RefreshReason.DESCENDANT


class EventTarget(Protocol):
    """A system that is informed of each change by itself."""

    batch: int
    """The largest number of changes in one call."""

    async def report(self, changes: Sequence[Change]) -> None:
        """Report changes. Returns when all are taken in. Raises `AccessAnywhereError`: then perhaps none is."""


class Gate(Protocol):
    """A condition under which no new work is taken."""

    @property
    def reason(self) -> str:
        """Why no work is taken now; empty if work is taken."""

    async def passable(self) -> None:
        """Wait until work is taken."""


class Buckets(Protocol):
    """The buckets that Access Anywhere shows, as far as is known now."""

    async def appeared(self, unknown: Mapping[str, Sequence[Place]], latest: float) -> bool:
        """Whether one of these buckets is shown at another place than those that the decision was made with.

        Certain for all changes up to `latest` (seconds since the epoch, S3's clock). So it may take half a minute: hold
        nothing that others need. Raises `AccessAnywhereError` if this cannot be found out.
        """


class Providers(Protocol):
    """The providers and buckets of Access Anywhere. Every call raises only `AccessAnywhereError`s."""

    async def places(self) -> Places:
        """Every bucket that Access Anywhere shows, and where. Does not set the times of syncs."""

    async def synced(self, folders: Collection[str]) -> Mapping[str, float]:
        """When the last complete sync of each provider began, at the latest (seconds since the epoch).

        A provider is known by the name of its top-level folder. It is absent if the time is not certain.
        """


class Found(msgspec.Struct, frozen=True):
    """An object in a listing. `modified`: seconds since the epoch; None if the store does not return it."""

    file: LogFile
    modified: float | None = None


class Listing(Protocol):
    """The listing of a log store, for sweeps. Every call raises only `LogStoreError`s."""

    def level(self, bucket: str, prefix: str) -> AsyncGenerator[Found | str, None]:
        """List one level: the objects directly below the prefix, and the folders as prefixes that end in `/`."""

    async def has(self, bucket: str, prefix: str) -> bool:
        """Whether there is anything below the prefix, as far as one request shows."""

    async def buckets(self) -> Sequence[str]:
        """The buckets that we may list."""


class Validity(msgspec.Struct, frozen=True):
    """Which finished files count as finished: a ledger is made with it.

    `rules`: the fingerprint of the settings that decide what a log file asks for. A file that was finished under other
    settings does not count. `since`: seconds since the epoch, local clock; a file that was finished earlier does not.
    """

    rules: str = ""
    since: float = 0.0


class Index(Protocol):
    """What Access Anywhere shows now. Every call raises only `AccessAnywhereError`s."""

    async def folder(self, path: str) -> str | None:
        """The id of the folder. None if Access Anywhere does not show it."""

    def entries(self, folder: str) -> AsyncGenerator[Entry, None]:
        """What the folder of that id shows, in any order, with what is in the trash. Nothing if the folder is gone."""


class Ledger(Protocol):
    """What must survive a restart. Every call raises only `LedgerError`s.

    A write is durable when its call returns, and each read that is begun afterwards sees it; except for the principals and
    the history.
    """

    def change_rules(self, rules: str) -> None:
        """From now on, files finish under these rules, and only those that did count; see `Validity`."""

    async def is_finished(self, file: LogFile) -> bool:
        """Whether this file was read to its end, and everything in it was refreshed, as its `Validity` demands."""

    async def unfinished(self, files: Sequence[LogFile]) -> list[LogFile]:
        """The files that are not finished, in their order."""

    async def finish(self, file: LogFile, etag: str) -> None:
        """Remember that a file is finished. `etag` is of the object that was read; empty if its store has none.

        With an empty ETag, the file counts as finished under any ETag that is announced later. Log files are written
        once, and to read each file twice that was both swept and announced costs more than a replaced file is worth.
        """

    async def watermarks(self, folders: Iterable[Folder]) -> dict[Folder, float]:
        """When the last successful refresh of each folder began (seconds since the epoch, S3's clock), where known."""

    async def refreshed(self, folder: Folder, began: float) -> None:
        """Remember when a successful refresh began. An earlier time never replaces a later one."""

    async def observe(self, principals: Mapping[str, Seen]) -> None:
        """Remember who changed or read objects: the earliest time, the latest time, the sums of the counts, the last actor.

        For information only, so it need not be durable yet: a kill may lose what was observed in the last second.
        """

    async def principals(self) -> dict[str, Seen]:
        """All principals that were observed."""

    async def note(self, name: str, text: str) -> None:
        """Remember a small fact by its name. It replaces what was noted before, and is never forgotten."""

    async def notes(self, names: Iterable[str]) -> dict[str, str]:
        """The facts with these names, where there are any."""

    async def claim(self, name: str, owner: str, seconds: float) -> bool:
        """Claim a task for one of the processes that share the ledger, for `seconds` from now, by the local clock.

        False if another owner's claim still holds. An owner can prolong its claim, and end it with 0 seconds.
        """

    async def record(self, entry: HistoryEntry) -> None:
        """Remember an entry of the history for some days. Raises nothing: it may be lost, and need not be durable yet."""

    async def history(self, question: HistoryQuestion) -> list[Remembered]:
        """The entries of the history that answer the question, the newest last."""

    async def prune(self, before: float) -> None:
        """Forget what was written before that time (seconds since the epoch, local clock). Notes stay."""


class Clock(Protocol):
    """Time, in seconds."""

    def now(self) -> float:
        """Seconds since the epoch by S3's clock, as last seen and never ahead of it; 0.0 while it is not known."""

    def monotonic(self) -> float:
        """For durations: it never steps."""

    async def sleep(self, seconds: float) -> None:
        """Sleep."""
