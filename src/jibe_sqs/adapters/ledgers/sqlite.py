"""A ledger in one SQLite file. A write that has returned survives a kill -9 and a power cut.

    reads     in the event loop's thread, on a connection of their own     inline_reads
    writes    in the ledger's thread, all that wait in one transaction     grouped_writes
    history, principals   written with other writes, or within a second    unwritten

SQLite is synchronous, and a commit waits for the disk: so writes have a thread. A look-up takes some microseconds, a tenth of
what it costs to ask another thread.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NoReturn, Self, TypeVar

import msgspec
from msgspec.structs import astuple

from jibe_sqs.adapters.ledgers.claims import claimed_until
from jibe_sqs.adapters.ledgers.finished_files import FINISH, MAX_LOOK_UP, FinishedFiles
from jibe_sqs.adapters.ledgers.forgetting import Forgetting, Forgotten
from jibe_sqs.adapters.ledgers.grouped_writes import GroupedWrites, Rows
from jibe_sqs.adapters.ledgers.history import found_in_history
from jibe_sqs.adapters.ledgers.inline_reads import InlineReads
from jibe_sqs.adapters.ledgers.sqlite_file import BUSY_TIMEOUT, LedgerFile, described, is_unusable, transaction
from jibe_sqs.adapters.ledgers.unwritten import Unwritten
from jibe_sqs.adapters.ledgers.warnings import LedgerWarnings
from jibe_sqs.core.errors import LedgerError
from jibe_sqs.core.history import HistoryEntry, HistoryQuestion, Remembered
from jibe_sqs.core.model import LATEST, Actor, Folder, LogFile
from jibe_sqs.core.principals import Seen
from jibe_sqs.ports import Validity

T = TypeVar("T")

MAX_INLINE: Final = 50
"""Files or folders that one look-up in the event loop's thread may have. Longer ones use the ledger's thread."""
ROOM_FOR_ROW: Final = 8
"""Old entries that each new one deletes at most while the file is too large. A new one may be as large as several old."""
DELAY: Final = 1.0
"""Seconds after which the history and the principals are written at the latest."""
MAX_WAITING_PRINCIPALS: Final = 50_000
"""Principals that wait for a write. Beyond it, the next caller waits for that write."""

_NOTE: Final = "INSERT OR REPLACE INTO notes VALUES (?, ?)"
_REFRESHED: Final = """
INSERT INTO folders VALUES (?, ?, ?, ?)
ON CONFLICT (path, tree) DO UPDATE SET began = max(began, excluded.began), written = excluded.written
"""
_OBSERVED: Final = """
INSERT INTO principals VALUES (?, ?, ?, ?, ?)
ON CONFLICT (who) DO UPDATE SET
    first = min(first, excluded.first), last = max(last, excluded.last), count = count + excluded.count,
    written = excluded.written
"""
_CALLED: Final = """
INSERT INTO callers VALUES (?, ?, ?, ?)
ON CONFLICT (who) DO UPDATE SET
    reads = reads + excluded.reads, actor = CASE excluded.actor WHEN '' THEN actor ELSE excluded.actor END,
    written = excluded.written
"""
_PRINCIPALS: Final = """
SELECT who, first, last, count, coalesce(reads, 0), coalesce(actor, '') FROM principals LEFT JOIN callers USING (who)
"""
_PRINCIPALS_ALONE: Final = "SELECT who, first, last, count, 0, '' FROM principals"
_RECORD: Final = "INSERT INTO history (written, entry) VALUES (?, ?)"
_NO_ACTOR: Final = Actor()
_actors: Final = msgspec.json.Decoder(tuple[str, str, str, str, str])
_WATERMARK: Final = "SELECT began FROM folders WHERE (path, tree) = (?, ?)"


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
        self._wall_clock = wall_clock
        self._keeps_history = history
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self._warnings = LedgerWarnings(path, max_bytes, clock)
        self._file = LedgerFile(path, read_only=read_only, set_aside=self._warnings.unusable, clock=clock)
        self._finished = FinishedFiles(validity or Validity())
        self._reader: sqlite3.Connection | None = None
        self._reads = InlineReads(clock)
        self._writes = GroupedWrites(self._write)
        self._unwritten = Unwritten()
        self._timer: asyncio.TimerHandle | None = None
        self._principals_are_due = False
        self._patience = BUSY_TIMEOUT
        self._forgetting = Forgetting(max_bytes)

    async def __aenter__(self) -> Self:
        """Open the file. Create it if it does not exist. A file that is not a usable ledger is set aside."""
        try:
            await self._do(self._open)
        except BaseException:
            self._thread.shutdown()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write what waits, and close it."""
        with suppress(LedgerError):
            await self._flush()
        if self._timer is not None:
            self._timer.cancel()
        # The last connection that is closed copies the write-ahead log into the file: that is for the thread.
        self._file.reader = None
        self._current_reader()
        await self._do(self._file.close)
        self._thread.shutdown()

    def change_rules(self, rules: str) -> None:
        """Files finish under these rules from now on."""
        self._finished.change_rules(rules)

    async def is_finished(self, file: LogFile) -> bool:
        """Whether this file, in this version, was finished."""
        return await self._read(lambda database: self._finished.is_finished(database, file))

    async def unfinished(self, files: Sequence[LogFile]) -> list[LogFile]:
        """The files that are not finished."""
        unfinished: list[LogFile] = []
        for first in range(0, len(files), MAX_LOOK_UP):
            # Not all files at once: writes wait for the same thread.
            some = files[first : first + MAX_LOOK_UP]
            unfinished += await self._read(
                lambda database: self._finished.unfinished(database, some),  # noqa: B023 - called before the next turn
                inline=len(some) <= MAX_INLINE,
            )
        return unfinished

    async def finish(self, file: LogFile, etag: str) -> None:
        """Record that the file was finished. It is on the disk when this returns."""
        try:
            row = self._finished.row(file, etag, self._wall_clock())
        except UnicodeEncodeError as error:
            raise self._error(error) from error
        await self._writes.add(FINISH, row)

    async def watermarks(self, folders: Iterable[Folder]) -> dict[Folder, float]:
        """When the last successful refresh of each folder began."""
        wanted = list(folders)
        return await self._read(lambda database: _watermarks(database, wanted), inline=len(wanted) <= MAX_INLINE)

    async def refreshed(self, folder: Folder, began: float) -> None:
        """Record a successful refresh. It is on the disk when this returns."""
        self._check_text(folder.path)
        await self._writes.add(_REFRESHED, (folder.path, folder.tree, began, self._wall_clock()))

    async def observe(self, principals: Mapping[str, Seen]) -> None:
        """Count the principals that changed or read objects. They are on the disk within a second."""
        self._check_open()
        self._check_text(
            "".join(principals), *(text for seen in principals.values() for text in astuple(seen.actor))
        )  # before any is counted: all of a file are, or no one
        if len(self._unwritten.principals) + len(principals) > MAX_WAITING_PRINCIPALS:
            await self._flush()
        self._unwritten.observe(principals, self._wall_clock())
        self._write_soon()

    async def principals(self) -> dict[str, Seen]:
        """All recorded principals."""
        if self._unwritten.principals:
            await self._flush()
        rows = await self._do(lambda: _principals(self._connection))
        return {who: Seen(first, last, count, reads, _actor(actor)) for who, first, last, count, reads, actor in rows}

    async def note(self, name: str, text: str) -> None:
        """Remember a small fact. It is on the disk when this returns."""
        self._check_text(name, text)
        await self._writes.add(_NOTE, (name, text))

    async def notes(self, names: Iterable[str]) -> dict[str, str]:
        """The facts with these names."""
        wanted = list(names)
        return await self._read(lambda database: _notes(database, wanted), inline=len(wanted) <= MAX_INLINE)

    async def claim(self, name: str, owner: str, seconds: float) -> bool:
        """Claim a task for `seconds`. False if another owner's claim still holds. Claims are among the notes."""
        self._check_text(name, owner)
        now = self._wall_clock()
        until = claimed_until(now, seconds)
        return await self._do(lambda: _claimed(self._connection, f"claim/{name}", owner, now, until))

    async def record(self, entry: HistoryEntry) -> None:
        """Remember an entry of the history. Another write takes it along, so it costs no transaction of its own."""
        if self._keeps_history:
            self._unwritten.record(entry, self._wall_clock())
            self._write_soon()

    async def history(self, question: HistoryQuestion) -> list[Remembered]:
        """The entries of the history that answer the question, the newest last. It may have to read all entries."""
        if self._unwritten.history:
            await self._flush()
        return await self._do(lambda: found_in_history(self._connection, question))

    async def prune(self, before: float) -> None:
        """Delete what was recorded before this time, and the oldest entries while the file is too large.

        It works in slices. Writes that come meanwhile are served between two slices.
        """
        await self._flush()
        while True:
            began = self._clock()
            now = self._wall_clock()
            done = await self._do(
                lambda: self._forgetting.slice(self._connection, before, now - self._keeps_history, now)  # noqa: B023
            )
            self._warnings.forgotten(done)
            if not done.entries:
                break
            # At most half of the disk's time: other calls are several in a row, and each may wait for a slice.
            await asyncio.sleep(self._clock() - began)
        await self._do(lambda: self._finished.notice_earlier(self._connection))

    @property
    def _connection(self) -> sqlite3.Connection:
        """For the ledger's thread."""
        return self._file.connection

    def _open(self) -> None:
        database = self._file.open()
        if not self._file.read_only:
            self._finished.notice_earlier(database)

    async def _read(self, look_up: Callable[[sqlite3.Connection], T], *, inline: bool = True) -> T:
        reader = self._current_reader()
        if inline and reader is not None and self._reads.are_fast:
            try:
                return self._reads.find(reader, look_up)
            except UnicodeEncodeError as error:
                raise self._error(error) from error
            except sqlite3.Error as error:
                if is_unusable(error):
                    await self._do(partial(_raise, error))
        return await self._do(lambda: look_up(self._connection))

    def _current_reader(self) -> sqlite3.Connection | None:
        """The connection for the event loop's thread. Closes the one of a file that has been replaced, or closed."""
        if self._reader is not self._file.reader:
            if self._reader is not None:
                self._reader.close()
            self._reader = self._file.reader
        return self._reader

    def _write_soon(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(DELAY, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if self._unwritten:
            self._principals_are_due = True
            # If it fails, other writes fail as well, and are reported.
            self._writes.flush().add_done_callback(asyncio.Future.exception)

    async def _flush(self) -> None:
        """Write the history and the principals now."""
        self._principals_are_due = True
        if self._unwritten or not self._writes.are_finished:
            await self._writes.flush()

    async def _write(self, rows: Rows) -> None:
        history = self._unwritten.take_history()
        principals = self._unwritten.take_principals() if self._principals_are_due else {}
        self._principals_are_due = False
        rows = {
            **rows,
            _RECORD: history,
            _OBSERVED: [(who, seen.first, seen.last, seen.count, at) for who, (seen, at) in principals.items()],
            _CALLED: [(who, seen.reads, _actor_text(seen.actor), at) for who, (seen, at) in principals.items()],
        }
        try:
            forgotten = await self._do(lambda: self._written(rows))
        except BaseException:
            self._unwritten.put_back(principals)
            if principals and self._file.is_open:
                self._write_soon()
            raise
        self._warnings.forgotten(forgotten)

    def _written(self, rows: Rows) -> Forgotten:
        """In the ledger's thread: write all rows in one transaction."""
        forgotten = Forgotten()
        # If this write waits in vain, the next ones must not wait: thousands could be queued, with reads behind them.
        patience, self._patience = self._patience, 0.0
        database = self._connection
        with transaction(database, patience=patience):
            self._forgetting.make_room(database, ROOM_FOR_ROW * sum(map(len, rows.values())), forgotten)
            for statement, values in rows.items():
                if values:
                    database.executemany(statement, values)
        self._patience = BUSY_TIMEOUT
        return forgotten

    async def _do(self, work: Callable[[], T]) -> T:
        """Do it in the ledger's thread."""
        try:
            done = asyncio.get_running_loop().run_in_executor(self._thread, self._repairing, work)
        except RuntimeError as error:
            raise LedgerError("the ledger is not open any more") from error
        try:
            return await done
        except (sqlite3.Error, OSError, UnicodeEncodeError) as error:
            raise self._error(error) from error
        finally:
            self._current_reader()
            self._warnings.set_aside()

    def _repairing(self, work: Callable[[], T]) -> T:
        """In the ledger's thread: this call fails if the file is damaged; the next ones have a new file."""
        try:
            return work()
        except sqlite3.Error as error:
            self._file.repair(error)
            raise

    def _error(self, error: Exception) -> LedgerError:
        return LedgerError(described(self._path, error))

    def _check_open(self) -> None:
        if not self._file.is_open:
            raise LedgerError(f"{self._path}: the ledger is not open")

    def _check_text(self, *texts: str) -> None:
        """Raises before a row that cannot be encoded fails its transaction."""
        try:
            for text in texts:
                text.encode()
        except UnicodeEncodeError as error:
            raise self._error(error) from error


def _claimed(database: sqlite3.Connection, note: str, owner: str, now: float, until: float) -> bool:
    """In the ledger's thread: whether the claim is the owner's now. The transaction keeps out all other processes."""
    with transaction(database):
        known = _notes(database, [note]).get(note, "")
        until_then, _, claimant = known.partition(" ")
        if claimant not in ("", owner) and float(until_then) > now:
            return False
        database.execute(_NOTE, (note, f"{until!r} {owner}"))
    return True


def _raise(error: Exception) -> NoReturn:
    raise error


def _watermarks(database: sqlite3.Connection, folders: Sequence[Folder]) -> dict[Folder, float]:
    found = {}
    for folder in folders:
        row = database.execute(_WATERMARK, (folder.path, folder.tree)).fetchone()
        if row and _is_time(row[0]):
            found[folder] = row[0]
    return found


def _principals(database: sqlite3.Connection) -> list[tuple[Any, ...]]:
    try:
        return database.execute(_PRINCIPALS).fetchall()
    except sqlite3.OperationalError:
        # A command reads the file of an earlier release, which has no such table.
        return database.execute(_PRINCIPALS_ALONE).fetchall()


def _actor_text(actor: Actor) -> str:
    return "" if actor == _NO_ACTOR else msgspec.json.encode(astuple(actor)).decode()


def _actor(text: str) -> Actor:
    """The actor of a row. A damaged text must not hide the other principals."""
    try:
        return Actor(*_actors.decode(text)) if text else _NO_ACTOR
    except msgspec.MsgspecError:
        return _NO_ACTOR


def _is_time(began: object) -> bool:
    """Whether this can be the start of a refresh. A damaged value must not fail messages, nor skip all later changes."""
    return isinstance(began, float | int) and began < LATEST


def _notes(database: sqlite3.Connection, names: Sequence[str]) -> dict[str, str]:
    rows = (database.execute("SELECT name, text FROM notes WHERE name = ?", (name,)).fetchone() for name in names)
    return {row[0]: row[1] for row in rows if row}
