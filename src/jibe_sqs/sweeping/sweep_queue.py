"""A queue in memory for the files that sweeps find. The consumer uses it like an SQS queue."""

import asyncio
import heapq
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from jibe_sqs.core.announcements import swept
from jibe_sqs.core.errors import ReceiptLost
from jibe_sqs.core.model import LogFile, Message, Reject
from jibe_sqs.core.plan_sizes import text_size
from jibe_sqs.ports import QueueDepth, QueueFacts

VISIBILITY: Final = 12 * 3600.0
"""Seconds. There is only one consumer, so a message becomes visible by itself only after a defect."""
MAX_RECEIVES: Final = 10
MAX_ENTRIES: Final = 20_000
MAX_SIZE: Final = 32 * 1024 * 1024
"""Files that wait or are being handled, and bytes of their names: one name may take several kilobytes."""
REJECTED_FOR: Final = 6 * 3600.0
MAX_REJECTED: Final = 50_000
"""Seconds for which a rejected file is not offered again, and the number of such files. Beyond it, the oldest are offered."""
NAME: Final = "sweeps"
FACTS: Final = QueueFacts(VISIBILITY, MAX_RECEIVES)


@dataclass(slots=True, eq=False)
class _Entry:
    file: LogFile
    found_at: float
    number: int
    """Its position among all files that were ever offered."""
    receive_count: int = 0
    receipt: str = ""
    hidden_until: float | None = None
    """By the event loop's clock; None if it is visible."""


class SweepQueue:
    """The `Queue` port for the consumer, and `offer` for the sweeper."""

    name = NAME

    def __init__(
        self,
        *,
        max_entries: int = MAX_ENTRIES,
        max_size: int = MAX_SIZE,
        wall_clock: Callable[[], float] = time.time,
        on_reject: Callable[[LogFile, Reject], None] = lambda _file, _why: None,
    ) -> None:
        """`max_entries`, `max_size`: the number of files it holds, and their bytes. If it is full, `offer` waits.

        `on_reject` is called with each rejected file.
        """
        self._max_entries = max_entries
        self._max_size = max_size
        self._size = 0
        self._wall_clock = wall_clock
        self._on_reject = on_reject
        self._entries: dict[str, _Entry] = {}
        self._waiting: deque[str] = deque()
        self._hidden: list[tuple[float, str]] = []
        self._rejected: dict[bytes, float] = {}
        """The hash of each rejected file, and when it was rejected."""
        self._shown = asyncio.Event()
        self._room = asyncio.Event()
        self._left = asyncio.Event()
        self._receives = 0
        self.newest = 0
        """The number of the last file that was added."""
        self.rejected = 0
        """Files that were rejected since the start, or that were offered and not taken because they had been rejected."""

    def __len__(self) -> int:
        return len(self._entries)

    def missing(self, files: Sequence[LogFile]) -> list[LogFile]:
        """Return the files that are not in this queue."""
        return [file for file in files if _id(file) not in self._entries]

    async def offer(self, files: Sequence[LogFile]) -> int:
        """Add the files that are neither in the queue nor rejected. Returns their number. Waits until there is room."""
        taken = 0
        for file in files:
            id_ = _id(file)
            while id_ not in self._entries and self._is_full:
                self._room.clear()
                await self._room.wait()
            if id_ in self._entries:
                continue
            if self._is_rejected(file):
                self.rejected += 1
                continue
            self.newest += 1
            self._entries[id_] = _Entry(file, self._wall_clock(), self.newest)
            self._size += _size(id_)
            self._show(id_)
            taken += 1
        return taken

    def has_left(self, number: int) -> bool:
        """Whether all files up to this number are done or rejected."""
        # A dict keeps the order in which the files were added.
        return not self._entries or next(iter(self._entries.values())).number > number

    async def left(self, number: int) -> None:
        """Wait until all files up to this number are done or rejected."""
        while not self.has_left(number):
            self._left.clear()
            await self._left.wait()

    async def facts(self) -> QueueFacts:
        """Return its settings, as a queue of SQS does."""
        return FACTS

    async def depth(self) -> QueueDepth:
        """The number of its files. They are never deleted unseen."""
        hidden = sum(entry.hidden_until is not None for entry in self._entries.values())
        return QueueDepth(len(self._entries) - hidden, hidden, float("inf"))

    async def receive(self, limit: int, *, wait: float, visibility: float) -> Sequence[Message]:
        """Receive at most `limit` messages, and hide them. Waits up to `wait` seconds for the first."""
        deadline = _now() + wait
        while True:
            self._show_due()
            if found := self._taken(limit, visibility):
                return found
            now = _now()
            if now >= deadline:
                return []
            self._shown.clear()
            try:
                async with asyncio.timeout(min([deadline, *(due for due, _ in self._hidden[:1])]) - now):
                    await self._shown.wait()
            except TimeoutError:
                pass

    async def delete(self, receipts: Sequence[str]) -> dict[str, Exception]:
        """Delete the messages: they are done."""
        failed: dict[str, Exception] = {}
        for receipt in receipts:
            if (known := self._of(receipt)) is None:
                failed[receipt] = ReceiptLost("not in hand")
            else:
                del self._entries[known]
                self._size -= _size(known)
                self._room.set()
                self._left.set()
        return failed

    async def show_after(self, delays: Sequence[tuple[str, float]]) -> dict[str, Exception]:
        """Hide each message for so many seconds from now."""
        failed: dict[str, Exception] = {}
        for receipt, delay in delays:
            if (known := self._of(receipt)) is None:
                failed[receipt] = ReceiptLost("not in hand")
            else:
                self._hide(known, _now() + delay)
        if delays:
            # A receive that is waiting must compute its waiting time again.
            self._shown.set()
        return failed

    async def emptied(self) -> None:
        """Wait until each file is done or rejected."""
        while self._entries:
            self._room.clear()
            await self._room.wait()

    async def reject(self, message: Message, why: Reject) -> bool:
        """Do not offer the file for some hours. There is no dead-letter queue, but sweeps find the file again.

        It is not refused for ever: the cause may have been fixed later than the retries lasted.
        """
        if (entry := self._entries.get(message.id)) is not None:
            self.rejected += 1
            version = _version(entry.file)
            self._rejected.pop(version, None)
            self._rejected[version] = _now()
            if len(self._rejected) > MAX_REJECTED:
                del self._rejected[next(iter(self._rejected))]
            self._on_reject(entry.file, why)
        return True

    @property
    def _is_full(self) -> bool:
        return len(self._entries) >= self._max_entries or self._size >= self._max_size

    def _is_rejected(self, file: LogFile) -> bool:
        at = self._rejected.get(_version(file))
        return at is not None and _now() - at < REJECTED_FOR

    def _of(self, receipt: str) -> str | None:
        id_ = receipt.rpartition("#")[0]
        entry = self._entries.get(id_)
        return id_ if entry is not None and entry.receipt == receipt else None

    def _show(self, id_: str) -> None:
        self._entries[id_].hidden_until = None
        self._waiting.append(id_)
        self._shown.set()

    def _hide(self, id_: str, until: float) -> None:
        self._entries[id_].hidden_until = until
        heapq.heappush(self._hidden, (until, id_))
        # A deleted message, or one that was hidden again, leaves an outdated entry in the heap.
        if len(self._hidden) > 2 * len(self._entries) + 100:
            hidden = ((each.hidden_until, id_) for id_, each in self._entries.items())
            self._hidden = [(until, id_) for until, id_ in hidden if until is not None]
            heapq.heapify(self._hidden)

    def _show_due(self) -> None:
        now = _now()
        while self._hidden and self._hidden[0][0] <= now:
            until, id_ = heapq.heappop(self._hidden)
            entry = self._entries.get(id_)
            if entry is not None and entry.hidden_until == until:
                self._show(id_)

    def _taken(self, limit: int, visibility: float) -> list[Message]:
        found: list[Message] = []
        while self._waiting and len(found) < limit:
            id_ = self._waiting.popleft()
            entry = self._entries.get(id_)
            # It was deleted while it waited, and perhaps found and received again since.
            if entry is None or entry.hidden_until is not None:
                continue
            self._receives += 1
            entry.receive_count += 1
            entry.receipt = f"{id_}#{self._receives}"
            self._hide(id_, _now() + visibility)
            found.append(Message(id_, entry.receipt, swept(entry.file), entry.receive_count, entry.found_at, ours=True))
        return found


def _id(file: LogFile) -> str:
    return f"s3://{file.bucket}/{file.key}"


def _size(id_: str) -> int:
    """Bytes of an entry: its name is in the id, in the file and in the receipt."""
    return 600 + 3 * text_size(id_)


def _version(file: LogFile) -> bytes:
    """A hash of the file's name and its contents."""
    text = f"{_id(file)}\n{file.etag}\n{file.size}"
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _now() -> float:
    return asyncio.get_running_loop().time()
