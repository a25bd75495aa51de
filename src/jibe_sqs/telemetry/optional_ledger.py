"""A ledger whose failures do not stop the work: without its answer, the work is done again.

A failing ledger is logged at its first failure, then once a minute, and when it works again. A full disk affects every
message, and must not cause ten thousand log lines.
"""

import asyncio
from collections.abc import Awaitable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

import structlog

from jibe_sqs.core.errors import LedgerError
from jibe_sqs.core.history import HistoryEntry
from jibe_sqs.core.model import Folder, LogFile
from jibe_sqs.core.principals import Seen
from jibe_sqs.ports import Ledger

log = structlog.get_logger()

T = TypeVar("T")
D = TypeVar("D")

REPEAT_INTERVAL: Final = 60.0
"""Seconds between two log lines about a ledger that keeps failing."""
RECOVERY_TIME: Final = 10.0
"""The ledger works again after a success that follows this many seconds without a failure."""


class OptionalLedger:
    """A ledger that returns a safe answer instead of raising `LedgerError`. That leads to more work, never to a loss."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._reads = _Failures(
            "ledger_unreadable", "ledger_readable", consequence="nothing is skipped: more is refreshed"
        )
        self._writes = _Failures(
            "ledger_unwritable", "ledger_writable", consequence="work that is announced again is done again"
        )

    def change_rules(self, rules: str) -> None:
        """Files finish under these rules from now on."""
        self._ledger.change_rules(rules)

    @property
    def failures(self) -> dict[str, int]:
        """Failed calls since the start, by the kind of access."""
        return {"read": self._reads.total, "write": self._writes.total}

    @property
    def failing(self) -> dict[str, bool]:
        """Whether it fails now, by the kind of access."""
        return {"read": self._reads.are_recent, "write": self._writes.are_recent}

    # These are no coroutines of their own, because each message makes several calls: they return the one that is awaited.

    def is_finished(self, file: LogFile) -> Coroutine[Any, Any, bool]:
        """Whether the file was finished; False if the ledger cannot be read."""
        return self._read("is_finished", self._ledger.is_finished(file), otherwise=False)

    def unfinished(self, files: Sequence[LogFile]) -> Coroutine[Any, Any, list[LogFile]]:
        """The files that are not finished, in their order; all of them if the ledger cannot be read."""
        return self._read("unfinished", self._ledger.unfinished(files), otherwise=list(files))

    def watermarks(self, folders: Iterable[Folder]) -> Coroutine[Any, Any, dict[Folder, float]]:
        """The watermark of each folder; none of them if the ledger cannot be read."""
        return self._read("watermarks", self._ledger.watermarks(folders), otherwise={})

    def finish(self, file: LogFile, etag: str) -> Coroutine[Any, Any, bool]:
        """Remember that the file is finished. False if the ledger cannot be written."""
        return self._written("finish", self._ledger.finish(file, etag))

    def refreshed(self, folder: Folder, began: float) -> Coroutine[Any, Any, bool]:
        """Remember when a refresh began. False if the ledger cannot be written."""
        return self._written("refreshed", self._ledger.refreshed(folder, began))

    def observe(self, principals: Mapping[str, Seen]) -> Coroutine[Any, Any, bool]:
        """Remember who changed objects. False if the ledger cannot be written."""
        return self._written("observe", self._ledger.observe(principals))

    def note(self, name: str, text: str) -> Coroutine[Any, Any, bool]:
        """Remember a small fact. False if the ledger cannot be written."""
        return self._written("note", self._ledger.note(name, text))

    def notes(self, names: Iterable[str]) -> Coroutine[Any, Any, dict[str, str]]:
        """The facts with these names; none of them if the ledger cannot be read."""
        return self._read("notes", self._ledger.notes(names), otherwise={})

    def noted(self, names: Iterable[str]) -> Coroutine[Any, Any, dict[str, str] | None]:
        """The facts with these names. None if the ledger cannot be read: they may be there, or not."""
        return self._read("notes", self._ledger.notes(names), otherwise=None)

    async def claim(self, name: str, owner: str, seconds: float, *, otherwise: bool = True) -> bool:
        """Claim a task for `seconds`. `otherwise`: the answer if the ledger cannot be written.

        By default, that is True: a task is rather done twice than never.
        """
        try:
            claimed = await self._ledger.claim(name, owner, seconds)
        except LedgerError as error:
            self._writes.failed("claim", error)
            return otherwise
        if self._writes.are_recent:
            self._writes.succeeded("claim")
        return claimed

    def record(self, entry: HistoryEntry) -> Coroutine[Any, Any, None]:
        """Remember an entry of the history. It is lost if the ledger cannot be written."""
        return self._ledger.record(entry)

    async def _read(self, operation: str, answer: Awaitable[T], *, otherwise: D) -> T | D:
        try:
            result = await answer
        except LedgerError as error:
            self._reads.failed(operation, error)
            return otherwise
        if self._reads.are_recent:
            self._reads.succeeded(operation)
        return result

    async def _written(self, operation: str, write: Awaitable[None]) -> bool:
        try:
            await write
        except LedgerError as error:
            self._writes.failed(operation, error)
            return False
        if self._writes.are_recent:
            self._writes.succeeded(operation)
        return True


class _Failures:
    """The failures of reads, or of writes, and what is logged about them."""

    def __init__(self, failing: str, working: str, *, consequence: str) -> None:
        """`failing`, `working`: the names of the log events."""
        self._failing = failing
        self._working = working
        self._consequence = consequence
        self._count = 0
        self.total = 0
        self._last_failures: dict[str, float] = {}
        """Operation -> its last failure. One operation may be denied while the others work."""
        self._logged: float | None = None

    @property
    def are_recent(self) -> bool:
        """Whether an operation has failed that does not work again yet."""
        return bool(self._last_failures)

    def failed(self, operation: str, error: LedgerError) -> None:
        now = self._last_failures[operation] = _now()
        self._count += 1
        self.total += 1
        if self._logged is None or now - self._logged >= REPEAT_INTERVAL:
            self._logged = now
            log.warning(self._failing, reason=str(error), consequence=self._consequence, failures=self._count)

    def succeeded(self, operation: str) -> None:
        # A ledger that is throttled fails and succeeds by turns.
        if _now() - self._last_failures.get(operation, float("inf")) < RECOVERY_TIME:
            return
        if self._last_failures.pop(operation, None) is not None and not self._last_failures:
            log.info(self._working, failures=self._count)
            self._logged, self._count = None, 0


def _now() -> float:
    return asyncio.get_running_loop().time()
