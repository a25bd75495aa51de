"""A ledger in one SQLite file. A write that has returned survives a kill -9 and a power cut.

SQLite is synchronous, so its calls run in a thread of their own. Writes that wait at the same time share one transaction,
and so one fsync. Otherwise a busy service would spend its time waiting for the disk.
"""

import asyncio
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import msgspec
import structlog

from jibe_sqs.adapters.ledgers.forgetting import Forgetting, Forgotten
from jibe_sqs.adapters.ledgers.history import found_in_history
from jibe_sqs.adapters.ledgers.identity import counts, etag_of, is_same
from jibe_sqs.adapters.ledgers.sqlite_file import BUSY_TIMEOUT, LedgerFile, described
from jibe_sqs.concurrency.batches import Batches
from jibe_sqs.core.errors import LedgerError
from jibe_sqs.core.history import HistoryEntry, HistoryQuestion, Remembered
from jibe_sqs.core.model import LATEST, Folder, LogFile
from jibe_sqs.core.plan import Seen
from jibe_sqs.ports import Validity

log = structlog.get_logger()

T = TypeVar("T")

MAX_LOOK_UP = 400
"""Files that one statement looks up."""

ROOM_FOR_ROW = 2
"""Old entries that each new one deletes while the file is too large. With one, a file could still grow: an entry
deleted between others leaves part of a page."""
WARNING_INTERVAL = 3600.0
"""Seconds between two warnings that entries are forgotten early."""

# In SQLite, CROSS JOIN fixes the order: for each wanted file, look up its key. One statement takes a quarter of the time.
_LOOK_UP = """
WITH wanted (bucket, key) AS (VALUES {})
SELECT bucket, key, version, etag, written, rules FROM wanted CROSS JOIN files USING (bucket, key)
"""
_FINISH = "INSERT OR REPLACE INTO files (bucket, key, version, etag, written, rules) VALUES (?, ?, ?, ?, ?, ?)"
_NOTE = "INSERT OR REPLACE INTO notes VALUES (?, ?)"
_REFRESHED = """
INSERT INTO folders VALUES (?, ?, ?, ?)
ON CONFLICT (path, tree) DO UPDATE SET began = max(began, excluded.began), written = excluded.written
"""

_OBSERVED = """
INSERT INTO principals VALUES (?, ?, ?, ?, ?)
ON CONFLICT (who) DO UPDATE SET
    first = min(first, excluded.first), last = max(last, excluded.last), count = count + excluded.count,
    written = excluded.written
"""

_RECORD = "INSERT INTO history (written, entry) VALUES (?, ?)"
HISTORY_DELAY: Final = 1.0
"""Seconds after which an entry of the history is written, if no other write takes it along before that."""
MAX_WAITING_HISTORY: Final = 10_000
"""Entries of the history that wait for a write. Beyond it, the oldest are lost."""

_Write = tuple[str, tuple[Any, ...]]


class SqliteLedger:
    """An async context manager; its calls raise `LedgerError`."""

    def __init__(
        self,
        path: Path,
        wall_clock: Callable[[], float] = time.time,
        *,
        validity: Validity | None = None,
        max_bytes: int = 4 << 30,
        history: float = 0.0,
        read_only: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`max_bytes`: of the file and its write-ahead log. `history`: seconds for which the history is kept. `read_only`: for a command; changes and creates nothing."""
        self._path = path
        self._validity = validity or Validity()
        self._wall_clock = wall_clock
        self._max_bytes = max_bytes
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self._set_aside: list[tuple[Path, str]] = []
        self._file = LedgerFile(path, read_only=read_only, set_aside=self._set_aside, clock=clock)
        self._forgetting = Forgetting(max_bytes)
        self._keeps_history = history
        self._history: deque[tuple[float, str]] = deque(maxlen=MAX_WAITING_HISTORY)
        self._flushing: asyncio.Task[None] | None = None
        self._forgotten_early = 0
        self._warned_at = float("-inf")
        self._busy_timeout = BUSY_TIMEOUT
        self._writes = Batches[_Write](self._write, size=500, linger=0.002)

    async def __aenter__(self) -> Self:
        """Open the file. Create it if it does not exist. A file that is not a usable ledger is set aside."""
        try:
            await self._do(self._file.open)
        except BaseException:
            self._thread.shutdown()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        if self._flushing is not None:
            self._flushing.cancel()
            await asyncio.gather(self._flushing, return_exceptions=True)
        if self._history:
            with suppress(LedgerError):
                await self._write([])
        await self._do(self._file.close)
        self._thread.shutdown()

    async def is_finished(self, file: LogFile) -> bool:
        """Whether this file, in this version, was finished."""
        return not await self.unfinished([file])

    async def unfinished(self, files: Sequence[LogFile]) -> list[LogFile]:
        """The files that are not finished."""
        unfinished = []
        for first in range(0, len(files), MAX_LOOK_UP):
            batch = files[first : first + MAX_LOOK_UP]
            # Not all files at once: writes wait for the same thread.
            found = await self._rows(
                _LOOK_UP.format(", ".join(["(?, ?)"] * len(batch))),
                tuple(name for file in batch for name in (file.bucket, file.key)),
            )
            known = {
                (bucket, key): (version, etag)
                for bucket, key, version, etag, written, rules in found
                if counts(self._validity, rules, written)
            }
            for file in batch:
                entry = known.get((file.bucket, file.key))
                if entry is None or not is_same(file, *entry):
                    unfinished.append(file)
        return unfinished

    async def finish(self, file: LogFile, etag: str) -> None:
        """Record that the file was finished. It is on the disk when this returns."""
        await self._writes.add(
            (
                _FINISH,
                (
                    file.bucket,
                    file.key,
                    file.version,
                    etag_of(file, etag),
                    self._wall_clock(),
                    self._validity.rules,
                ),
            )
        )

    async def watermarks(self, folders: Iterable[Folder]) -> dict[Folder, float]:
        """When the last successful refresh of each folder began."""
        wanted = list(folders)

        def look_up() -> dict[Folder, float]:
            found = {}
            for folder in wanted:
                row = self._connection.execute(
                    "SELECT began FROM folders WHERE (path, tree) = (?, ?)", (folder.path, folder.tree)
                ).fetchone()
                if row and self._is_time(row[0]):
                    found[folder] = row[0]
            return found

        return await self._do(look_up)

    @staticmethod
    def _is_time(began: object) -> bool:
        """Whether this can be the start of a refresh. A damaged value must not fail messages, nor skip all later changes."""
        return isinstance(began, float | int) and began < LATEST

    async def refreshed(self, folder: Folder, began: float) -> None:
        """Record a successful refresh. It is on the disk when this returns."""
        await self._writes.add((_REFRESHED, (folder.path, folder.tree, began, self._wall_clock())))

    async def observe(self, principals: Mapping[str, Seen]) -> None:
        """Record the principals that changed objects."""
        now = self._wall_clock()
        rows = [(who, seen.first, seen.last, seen.count, now) for who, seen in principals.items()]
        try:
            "".join(principals).encode()
        except UnicodeEncodeError as error:
            raise self._error(error) from error  # before any is written: all of a file are counted, or no one
        await asyncio.gather(*(self._writes.add((_OBSERVED, row)) for row in rows))

    async def principals(self) -> dict[str, Seen]:
        """All recorded principals."""
        rows = await self._rows("SELECT who, first, last, count FROM principals", ())
        return {who: Seen(first, last, count) for who, first, last, count in rows}

    async def note(self, name: str, text: str) -> None:
        """Remember a small fact. It is on the disk when this returns."""
        await self._writes.add((_NOTE, (name, text)))

    async def notes(self, names: Iterable[str]) -> dict[str, str]:
        """The facts with these names."""
        wanted = list(names)

        def look_up() -> dict[str, str]:
            rows = (
                self._connection.execute("SELECT name, text FROM notes WHERE name = ?", (name,)).fetchone()
                for name in wanted
            )
            return {row[0]: row[1] for row in rows if row}

        return await self._do(look_up)

    async def record(self, entry: HistoryEntry) -> None:
        """Remember an entry of the history. Another write takes it along, so it costs no transaction of its own."""
        if not self._keeps_history:
            return
        try:
            text = msgspec.json.encode(entry).decode()
        except UnicodeEncodeError:
            return  # a path that is no UTF-8: nothing can be asked about it
        self._history.append((self._wall_clock(), text))
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush_history(), name="ledger history")

    async def history(self, question: HistoryQuestion) -> list[Remembered]:
        """The entries of the history that answer the question, the newest last. It may have to read all entries."""
        if self._history:
            await self._write([])
        return await self._do(lambda: found_in_history(self._connection, question))

    async def _flush_history(self) -> None:
        await asyncio.sleep(HISTORY_DELAY)
        if self._history:
            # If it fails, other writes fail as well, and are reported.
            with suppress(LedgerError):
                await self._write([])

    async def prune(self, before: float) -> None:
        """Delete what was recorded before this time, and the oldest entries while the file is too large.

        It works in slices. Calls that come meanwhile are served between two slices.
        """
        while True:
            began = self._clock()
            oldest = self._wall_clock() - self._keeps_history
            done = await self._do(lambda: self._forgetting.slice(self._connection, before, oldest))  # noqa: B023
            self._warn_of_early(done)
            if not done.entries:
                return
            # At most half of the disk's time: other calls are several in a row, and each may wait for a slice.
            await asyncio.sleep(self._clock() - began)

    @property
    def _connection(self) -> sqlite3.Connection:
        return self._file.connection

    async def _write(self, writes: "Iterable[_Write]") -> list[Exception | None]:
        writes = list(writes)
        history = list(self._history)
        self._history.clear()
        forgotten = Forgotten()

        def write() -> list[Exception | None]:
            outcomes: list[Exception | None] = []
            self._connection.execute(f"PRAGMA busy_timeout = {self._busy_timeout * 1000:.0f}")
            # If this write waits in vain, the next ones must not wait: thousands could be queued, with reads behind them.
            self._busy_timeout = 0.0
            with self._connection:
                self._forgetting.make_room(self._connection, ROOM_FOR_ROW * (len(writes) + len(history)), forgotten)
                for statement, values in writes:
                    try:
                        self._connection.execute(statement, values)
                        outcomes.append(None)
                    except UnicodeEncodeError as error:
                        # This row was not written. The other rows of the transaction are valid.
                        outcomes.append(self._error(error))
                self._connection.executemany(_RECORD, history)
            self._busy_timeout = BUSY_TIMEOUT
            return outcomes

        outcomes = await self._do(write)
        self._warn_of_early(forgotten)
        return outcomes

    async def _rows(self, statement: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        return await self._do(lambda: self._connection.execute(statement, values).fetchall())

    async def _do(self, work: Callable[[], T]) -> T:
        try:
            done = asyncio.get_running_loop().run_in_executor(self._thread, self._repairing, work)
        except RuntimeError as error:
            raise LedgerError("the ledger is not open any more") from error
        try:
            return await done
        except (sqlite3.Error, OSError, UnicodeEncodeError) as error:
            raise self._error(error) from error
        finally:
            self._warn_of_set_aside()

    def _repairing(self, work: Callable[[], T]) -> T:
        """Run in the ledger's thread. This call fails if the file is damaged; the next ones have a new file."""
        try:
            return work()
        except sqlite3.Error as error:
            self._file.repair(error)
            raise

    def _error(self, error: Exception) -> LedgerError:
        return LedgerError(described(self._path, error))

    def _warn_of_set_aside(self) -> None:
        while self._set_aside:
            aside, reason = self._set_aside.pop()
            log.warning(
                "ledger_set_aside",
                path=str(self._path),
                set_aside=str(aside),
                reason=reason,
                consequence="the ledger begins empty: work that is announced again is done again",
            )

    def _warn_of_early(self, forgotten: Forgotten) -> None:
        self._forgotten_early += forgotten.early
        if not self._forgotten_early or self._clock() - self._warned_at < WARNING_INTERVAL:
            return
        log.warning(
            "ledger_full",
            path=str(self._path),
            max_bytes=self._max_bytes,
            entries=self._forgotten_early,
            consequence="entries are forgotten before ledger.retain_days: work that is announced again is done again",
        )
        self._warned_at, self._forgotten_early = self._clock(), 0
