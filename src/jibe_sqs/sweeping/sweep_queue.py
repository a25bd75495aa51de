"""A queue in memory, for what sweeps find: it is to the consumer what an SQS queue is."""

import asyncio
import heapq
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from jibe_sqs.core.announcements import swept
from jibe_sqs.core.errors import ReceiptLost
from jibe_sqs.core.model import LogFile, Message, Reject
from jibe_sqs.ports import QueueFacts

VISIBILITY: Final = 12 * 3600.0
"""Seconds. Nobody else receives from this queue; only what a defect has lost shows again by itself."""
MAX_RECEIVES: Final = 10
MOST: Final = 20_000
"""Findings that wait, or are in hand."""
REST: Final = 6 * 3600.0
"""Seconds for which what was rejected is not offered again."""


@dataclass(slots=True, eq=False)
class _Finding:
    file: LogFile
    found_at: float
    receive_count: int = 0
    receipt: str = ""
    hidden_until: float | None = None
    """By the loop's clock; None while it waits."""


class SweepQueue:
    """The `Queue` port, and `offer` at its other end."""

    name = "sweeps"

    def __init__(self, *, most: int = MOST, wall_clock: Callable[[], float] = time.time) -> None:
        """`most`: findings that it holds; then whoever offers more has to wait."""
        self._most = most
        self._wall_clock = wall_clock
        self._findings: dict[str, _Finding] = {}
        self._waiting: deque[str] = deque()
        self._hidden: list[tuple[float, str]] = []
        self._rejected: dict[str, tuple[LogFile, float]] = {}
        self._shown = asyncio.Event()
        self._room = asyncio.Event()
        self._receives = 0

    def __len__(self) -> int:
        return len(self._findings)

    def missing(self, files: Sequence[LogFile]) -> list[LogFile]:
        """Those that are not here."""
        return [file for file in files if _id(file) not in self._findings]

    async def offer(self, files: Sequence[LogFile]) -> int:
        """Take in those that are not here already, and were not rejected; returns how many. Waits until there is room."""
        taken = 0
        for file in files:
            id_ = _id(file)
            while id_ not in self._findings and len(self._findings) >= self._most:
                self._room.clear()
                await self._room.wait()
            if id_ in self._findings or self._is_rejected(id_, file):
                continue
            self._findings[id_] = _Finding(file, self._wall_clock())
            self._show(id_)
            taken += 1
        return taken

    async def facts(self) -> QueueFacts:
        """What it is like."""
        return QueueFacts(VISIBILITY, MAX_RECEIVES)

    async def receive(self, limit: int, *, wait: float) -> Sequence[Message]:
        """At most `limit` messages, waiting up to `wait` seconds for the first."""
        deadline = _now() + wait
        while True:
            self._show_due()
            if found := self._taken(limit):
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
        """They are done."""
        failed: dict[str, Exception] = {}
        for receipt in receipts:
            if (known := self._of(receipt)) is None:
                failed[receipt] = ReceiptLost("not in hand")
            else:
                del self._findings[known]
                self._room.set()
        return failed

    async def show_after(self, delays: Sequence[tuple[str, float]]) -> dict[str, Exception]:
        """Hide them until so many seconds from now."""
        failed: dict[str, Exception] = {}
        for receipt, delay in delays:
            if (known := self._of(receipt)) is None:
                failed[receipt] = ReceiptLost("not in hand")
            else:
                self._hide(known, _now() + delay)
        if delays:
            # Whoever receives has to look anew how long to wait.
            self._shown.set()
        return failed

    async def reject(self, message: Message, why: Reject) -> bool:  # noqa: ARG002 - whoever asks logs it
        """Let it rest. There is no dead-letter queue to keep it, but it is in its bucket still, for sweeps to find.

        For ever would lose what only took too long to mend, and will mend.
        """
        now = _now()
        while self._rejected and now - next(iter(self._rejected.values()))[1] >= REST:
            del self._rejected[next(iter(self._rejected))]
        if (finding := self._findings.get(message.id)) is not None:
            self._rejected.pop(message.id, None)
            self._rejected[message.id] = finding.file, now
        return True

    def _is_rejected(self, id_: str, file: LogFile) -> bool:
        if (known := self._rejected.get(id_)) is None:
            return False
        rejected, at = known
        return (rejected.etag, rejected.size) == (file.etag, file.size) and _now() - at < REST

    def _of(self, receipt: str) -> str | None:
        id_ = receipt.rpartition("#")[0]
        finding = self._findings.get(id_)
        return id_ if finding is not None and finding.receipt == receipt else None

    def _show(self, id_: str) -> None:
        self._findings[id_].hidden_until = None
        self._waiting.append(id_)
        self._shown.set()

    def _hide(self, id_: str, until: float) -> None:
        self._findings[id_].hidden_until = until
        heapq.heappush(self._hidden, (until, id_))
        # What was deleted, or hidden for another time, leaves its entry behind.
        if len(self._hidden) > 2 * len(self._findings) + 100:
            hidden = ((each.hidden_until, id_) for id_, each in self._findings.items())
            self._hidden = [(until, id_) for until, id_ in hidden if until is not None]
            heapq.heapify(self._hidden)

    def _show_due(self) -> None:
        now = _now()
        while self._hidden and self._hidden[0][0] <= now:
            until, id_ = heapq.heappop(self._hidden)
            finding = self._findings.get(id_)
            if finding is not None and finding.hidden_until == until:
                self._show(id_)

    def _taken(self, limit: int) -> list[Message]:
        found: list[Message] = []
        while self._waiting and len(found) < limit:
            id_ = self._waiting.popleft()
            finding = self._findings.get(id_)
            # Deleted while it waited; and perhaps found again since, and taken.
            if finding is None or finding.hidden_until is not None:
                continue
            self._receives += 1
            finding.receive_count += 1
            finding.receipt = f"{id_}#{self._receives}"
            self._hide(id_, _now() + VISIBILITY)
            found.append(
                Message(id_, finding.receipt, swept(finding.file), finding.receive_count, finding.found_at, ours=True)
            )
        return found


def _id(file: LogFile) -> str:
    return f"s3://{file.bucket}/{file.key}"


def _now() -> float:
    return asyncio.get_running_loop().time()
