"""A ledger in one SQLite file. A write that has returned survives a kill -9 and a power cut.

SQLite is synchronous, so its calls run in a thread of their own. Writes that wait at the same time share one transaction,
and so one fsync. Otherwise a busy service would spend its time waiting for the disk.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from jibe_sqs.adapters.ledgers.identity import etag_of, is_same
from jibe_sqs.concurrency.batches import Batches
from jibe_sqs.core.errors import LedgerError
from jibe_sqs.core.model import Folder, LogFile
from jibe_sqs.core.plan import Seen

T = TypeVar("T")

VERSION = 1

_SCHEMA = """
CREATE TABLE IF NOT EXISTS files (
    bucket TEXT NOT NULL, key TEXT NOT NULL, version TEXT, etag TEXT NOT NULL, written REAL NOT NULL,
    PRIMARY KEY (bucket, key)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS files_written ON files (written);
CREATE TABLE IF NOT EXISTS folders (
    path TEXT NOT NULL, tree INTEGER NOT NULL, began REAL NOT NULL, written REAL NOT NULL,
    PRIMARY KEY (path, tree)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS folders_written ON folders (written);
CREATE TABLE IF NOT EXISTS principals (
    who TEXT NOT NULL PRIMARY KEY, first REAL NOT NULL, last REAL NOT NULL, count INTEGER NOT NULL, written REAL NOT NULL
) WITHOUT ROWID;
"""

MAX_LOOK_UP = 400
"""Files that one statement looks up."""

BUSY_TIMEOUT = 10.0
"""Seconds that a write waits while another process writes to the file.

After a write that waited in vain, writes do not wait, until one succeeds.
"""

# In SQLite, CROSS JOIN fixes the order: for each wanted file, look up its key. One statement takes a quarter of the time.
_LOOK_UP = """
WITH wanted (bucket, key) AS (VALUES {})
SELECT bucket, key, version, etag FROM wanted CROSS JOIN files USING (bucket, key)
"""
_FINISH = "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?)"
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

_Write = tuple[str, tuple[Any, ...]]


class SqliteLedger:
    """An async context manager; its calls raise `LedgerError`."""

    def __init__(self, path: Path, wall_clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._wall_clock = wall_clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self._database: sqlite3.Connection | None = None
        self._busy_timeout = BUSY_TIMEOUT
        self._writes = Batches[_Write](self._write, size=500, linger=0.002)

    async def __aenter__(self) -> Self:
        """Open the file. Create it if it does not exist."""
        self._database = await self._do(self._open)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        if self._database is not None:
            await self._do(self._database.close)
            self._database = None
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
            known = {(bucket, key): (version, etag) for bucket, key, version, etag in found}
            for file in batch:
                entry = known.get((file.bucket, file.key))
                if entry is None or not is_same(file, *entry):
                    unfinished.append(file)
        return unfinished

    async def finish(self, file: LogFile, etag: str) -> None:
        """Record that the file was finished. It is on the disk when this returns."""
        await self._writes.add(
            (_FINISH, (file.bucket, file.key, file.version, etag_of(file, etag), self._wall_clock()))
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
                if row:
                    found[folder] = row[0]
            return found

        return await self._do(look_up)

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

    async def prune(self, before: float) -> None:
        """Delete what was recorded before this time."""

        def forget() -> None:
            with self._connection:
                self._connection.execute("DELETE FROM files WHERE written < ?", (before,))
                self._connection.execute("DELETE FROM folders WHERE written < ?", (before,))
                self._connection.execute("DELETE FROM principals WHERE written < ?", (before,))

        await self._do(forget)

    @property
    def _connection(self) -> sqlite3.Connection:
        if self._database is None:
            raise LedgerError("the ledger is not open")
        return self._database

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(self._path, timeout=BUSY_TIMEOUT, check_same_thread=False)
        try:
            found = database.execute("PRAGMA user_version").fetchone()[0]
            if found not in (0, VERSION):
                raise LedgerError(f"{self._path} is a ledger of version {found}; this program knows {VERSION}")
            # FULL, not NORMAL: in WAL mode, NORMAL loses the last transactions at a power cut, and their messages are deleted.
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = FULL")
            database.executescript(_SCHEMA)
            database.execute(f"PRAGMA user_version = {VERSION}")
        except BaseException:
            database.close()
            raise
        return database

    async def _write(self, writes: "Iterable[_Write]") -> list[Exception | None]:
        def write() -> list[Exception | None]:
            outcomes: list[Exception | None] = []
            self._connection.execute(f"PRAGMA busy_timeout = {self._busy_timeout * 1000:.0f}")
            # If this write waits in vain, the next ones must not wait: thousands could be queued, with reads behind them.
            self._busy_timeout = 0.0
            with self._connection:
                for statement, values in writes:
                    try:
                        self._connection.execute(statement, values)
                        outcomes.append(None)
                    except UnicodeEncodeError as error:
                        # This row was not written. The other rows of the transaction are valid.
                        outcomes.append(self._error(error))
            self._busy_timeout = BUSY_TIMEOUT
            return outcomes

        return await self._do(write)

    async def _rows(self, statement: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        return await self._do(lambda: self._connection.execute(statement, values).fetchall())

    async def _do(self, work: Callable[[], T]) -> T:
        try:
            done = asyncio.get_running_loop().run_in_executor(self._thread, work)
        except RuntimeError as error:
            raise LedgerError("the ledger is not open any more") from error
        try:
            return await done
        except (sqlite3.Error, OSError, UnicodeEncodeError) as error:
            raise self._error(error) from error

    def _error(self, error: Exception) -> LedgerError:
        return LedgerError(f"{self._path}: {error}")
