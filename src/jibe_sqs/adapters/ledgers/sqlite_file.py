"""The file of a SQLite ledger: opened, checked, and set aside if it is damaged or has another format.

The ledger only saves repetitions, so an unusable file is no reason to stop: work is done again. A path that cannot be
opened or written is a mistake of the configuration, and is not set aside.
"""

import os
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Final

from jibe_sqs.adapters.ledgers import finished_files
from jibe_sqs.core.errors import LedgerError

VERSION: Final = 3

_SCHEMA: Final = f"""{finished_files.SCHEMA}
CREATE TABLE IF NOT EXISTS folders (
    path TEXT NOT NULL, tree INTEGER NOT NULL, began REAL NOT NULL, written REAL NOT NULL,
    PRIMARY KEY (path, tree)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS folders_written ON folders (written);
CREATE TABLE IF NOT EXISTS principals (
    who TEXT NOT NULL PRIMARY KEY, first REAL NOT NULL, last REAL NOT NULL, count INTEGER NOT NULL, written REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS principals_written ON principals (written);
CREATE TABLE IF NOT EXISTS callers (
    who TEXT NOT NULL PRIMARY KEY, reads INTEGER NOT NULL, actor TEXT NOT NULL, written REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS callers_written ON callers (written);
CREATE TABLE IF NOT EXISTS history (id INTEGER PRIMARY KEY, written REAL NOT NULL, entry TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS notes (name TEXT NOT NULL PRIMARY KEY, text TEXT NOT NULL) WITHOUT ROWID;
"""

_UPGRADES: Final = {
    # SQLite only writes the new column into the schema, however many rows there are.
    1: "ALTER TABLE files ADD COLUMN rules TEXT NOT NULL DEFAULT ''",
    # The entries of `files` stay until they are pruned. The history is pruned in the order of its ids.
    2: "DROP INDEX IF EXISTS history_written",
}
"""The step from each earlier version to the next."""
_NEW_COLUMNS: Final = {1: {"files": ("rules",)}}
"""Version -> table -> the columns that came later."""

_PROBES: Final = {
    table: [
        f"SELECT * FROM {table} ORDER BY {column} {direction} LIMIT 1"  # noqa: S608 - constants
        for column in columns
        for direction in ("ASC", "DESC")
    ]
    for table, columns in (
        ("finished", ("id", "name")),
        ("files", ("bucket", "written")),
        ("folders", ("path", "written")),
        ("principals", ("who", "written")),
        ("callers", ("who", "written")),
        ("history", ("id",)),
        ("notes", ("name",)),
    )
}
"""Each reads one page of each level of a table or an index. A full check of 4 GB would delay the start by minutes."""

BUSY_TIMEOUT: Final = 10.0
"""Seconds that a write waits while another process writes to the file."""
BUSY_INTERVAL: Final = 0.001
"""Seconds between two tries meanwhile. SQLite's own pauses grow to 100 ms: a process that writes all the time would leave
no gap that is long enough for another one."""
MAX_WAL_BYTES: Final = 16 << 20
"""A longer write-ahead log is cut when SQLite begins it anew. It is begun anew after about 4 MB and one transaction."""
REPAIR_INTERVAL: Final = 3600.0
"""Seconds after which a damaged file is set aside again while the service runs. A broken disk damages each new file."""
REOPEN_INTERVAL: Final = 60.0
"""Seconds between two tries to open a new file."""

_DAMAGE: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_REFUSED: Final = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH)
_SUFFIXES: Final = ("-wal", "-shm", "-journal", "")
"""The main file is the last: beside a new file, the old write-ahead log would be taken for the new one's."""


class OtherFormat(LedgerError):
    """The file is a SQLite database, but not a ledger of this version."""


class LedgerFile:
    """The connections to the file: one for the ledger's thread, and one that only reads, for the event loop's thread.

    Raises `LedgerError`, `sqlite3.Error` and `OSError`.
    """

    def __init__(
        self,
        path: Path,
        *,
        read_only: bool,
        set_aside: list[tuple[Path, str]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`set_aside`: a list that gets the new path of each unusable file, and the reason."""
        self._path = path
        self.read_only = read_only
        self._found_unusable = set_aside
        self._clock = clock
        self._database: sqlite3.Connection | None = None
        self.reader: sqlite3.Connection | None = None
        """The connection for the event loop's thread, which closes it. None while the file is not open."""
        self._inode = 0
        self.is_open = False
        """Whether the file is in use. It may have no connection, after damage that could not be repaired."""
        self._repaired_at = float("-inf")
        self._reopen_at = float("-inf")

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection. Opens the file again if that failed after damage."""
        if self._database is None:
            if not self.is_open or self._clock() < self._reopen_at:
                raise LedgerError(f"{self._path}: the ledger is not open")
            self._reopen_at = self._clock() + REOPEN_INTERVAL
            return self.open()
        return self._database

    def open(self) -> sqlite3.Connection:
        """Open the file, and create it if it does not exist. An unusable file is set aside first."""
        self._database = database = _opened_to_read(self._path) if self.read_only else self._opened_to_write()
        self._inode = self._path.stat()[stat.ST_INO]
        self.is_open = True
        self.reader = self._opened_reader()
        return database

    def close(self) -> None:
        """Close the file."""
        self.is_open = False
        self._disconnect()

    def repair(self, error: Exception) -> None:
        """After an error while the file is open: if it is damaged, set it aside, and go on with a new file."""
        now = self._clock()
        if self.read_only or not is_unusable(error) or now - self._repaired_at < REPAIR_INTERVAL:
            return
        self._repaired_at, self._reopen_at = now, now + REOPEN_INTERVAL
        self._disconnect()
        with suppress(FileNotFoundError):
            # Another process may have set the file aside already. Its new file is not damaged.
            if self._path.stat()[stat.ST_INO] == self._inode:
                self._set_aside(error)
        self.open()

    def _opened_to_write(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if self._path.is_dir():
            raise LedgerError(f"{self._path} is a directory: set ledger.path to the name of a file")
        try:
            return _opened(self._path)
        except (sqlite3.Error, OtherFormat) as error:
            if not is_unusable(error) or not self._path.is_file():
                raise
            self._set_aside(error)
        return _opened(self._path)

    def _opened_reader(self) -> sqlite3.Connection | None:
        """Of the same file: another process may have set it aside since it was opened, and begun a new one."""
        reader = _connected_to_read(self._path, timeout=0.0)
        if self._path.stat()[stat.ST_INO] == self._inode:
            return reader
        reader.close()
        return None

    def _disconnect(self) -> None:
        self.reader = None
        database, self._database = self._database, None
        if database is not None:
            database.close()

    def _set_aside(self, error: Exception) -> None:
        try:
            aside = _moved(self._path)
        except OSError as failure:
            raise LedgerError(
                f"{described(self._path, error)}. It cannot be set aside: {failure}: move or delete the file"
            ) from failure
        self._found_unusable.append((aside, str(error)))


@contextmanager
def transaction(database: sqlite3.Connection, *, patience: float = BUSY_TIMEOUT) -> Iterator[None]:
    """A transaction that may write. Waits for other processes' transactions, `patience` seconds at most."""
    end = time.monotonic() + patience
    while True:
        try:
            database.execute("BEGIN IMMEDIATE")
            break
        except sqlite3.OperationalError as error:
            if _code(error) != sqlite3.SQLITE_BUSY or time.monotonic() >= end:
                raise
            time.sleep(BUSY_INTERVAL)
    with database:
        yield


def is_unusable(error: Exception) -> bool:
    """Whether the error says that the content of the file is damaged, or that it is not a ledger of this version."""
    return isinstance(error, OtherFormat) or _code(error) in _DAMAGE


def described(path: Path, error: Exception) -> str:
    """What went wrong with which file. With a remedy if it may not be opened or written."""
    if isinstance(error, LedgerError):
        return str(error)
    remedy = ": allow the service to write the file and its directory, or correct ledger.path"
    return f"{path}: {error}{remedy if _code(error) in _REFUSED else ''}"


def _code(error: Exception) -> int | None:
    """SQLite's primary result code. The higher bits are details."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _opened(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=BUSY_TIMEOUT, check_same_thread=False, isolation_level=None)
    try:
        _check(path, database)
        # FULL, not NORMAL: in WAL mode, NORMAL loses the last transactions at a power cut, and their messages are deleted.
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute(f"PRAGMA journal_size_limit = {MAX_WAL_BYTES}")
        _upgrade(database)
        _create(path, database)
        database.execute(f"PRAGMA user_version = {VERSION}")
        database.execute(f"PRAGMA busy_timeout = {BUSY_INTERVAL * 1000:.0f}")
    except BaseException:
        database.close()
        raise
    return database


def _upgrade(database: sqlite3.Connection) -> None:
    """Bring a file of an earlier version up to this one. A file without a version, or of this one, stays as it is."""
    # Another process may be upgrading the file.
    with transaction(database):
        while (version := database.execute("PRAGMA user_version").fetchone()[0]) in _UPGRADES:
            database.execute(_UPGRADES[version])
            database.execute(f"PRAGMA user_version = {version + 1}")


def _create(path: Path, database: sqlite3.Connection) -> None:
    try:
        database.executescript(_SCHEMA)
    except sqlite3.OperationalError as error:
        # For example a view, or an index of another program, that has the name of one of our tables.
        if _code(error) == sqlite3.SQLITE_ERROR:
            raise OtherFormat(f"{path} is not a ledger: {error}") from error
        raise


def _opened_to_read(path: Path) -> sqlite3.Connection:
    """For commands: the file is neither created nor changed, and never set aside."""
    database = _connected_to_read(path, timeout=BUSY_TIMEOUT)
    try:
        _check(path, database)
    except BaseException as error:
        database.close()
        if isinstance(error, sqlite3.Error | OtherFormat) and is_unusable(error):
            raise LedgerError(
                f"{described(path, error)}. The service sets such a file aside when it starts: correct ledger.path if "
                "another file is meant"
            ) from error
        raise
    return database


def _connected_to_read(path: Path, *, timeout: float) -> sqlite3.Connection:
    database = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=timeout, check_same_thread=False, isolation_level=None
    )
    try:
        database.execute("PRAGMA query_only = 1")
    except BaseException:
        database.close()
        raise
    return database


def _check(path: Path, database: sqlite3.Connection) -> None:
    """Raises `OtherFormat`, or SQLite's error for a damaged file. Changes nothing."""
    version = database.execute("PRAGMA user_version").fetchone()[0]
    if version not in (0, *_UPGRADES, VERSION):
        raise OtherFormat(f"{path} is a ledger of version {version}; this program knows version {VERSION}")
    with closing(sqlite3.connect(":memory:")) as example:
        example.executescript(_SCHEMA)
        expected, found = _columns(example), _columns(database)
    # Tables may be missing, and be more, in the file of another release with the same version.
    if version == 0 and not found.keys() <= expected.keys():
        raise OtherFormat(f"{path} is not a ledger, but another program's SQLite database")
    for table in expected.keys() & found.keys():
        later = _NEW_COLUMNS.get(version, {}).get(table, ())
        if found[table] != [column for column in expected[table] if column[1] not in later]:
            raise OtherFormat(f"{path} is not a ledger of this program: its table {table} has other columns")
        for probe in _PROBES[table]:
            database.execute(probe).fetchall()


def _columns(database: sqlite3.Connection) -> dict[str, list[tuple[object, ...]]]:
    """Table -> its columns: number, name, type, whether it is required, default, position in the key."""
    tables = database.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    return {
        name: database.execute("SELECT * FROM pragma_table_info(?)", (name,)).fetchall()
        for (name,) in tables.fetchall()
    }


def _moved(path: Path) -> Path:
    """Rename the file, its write-ahead log and its index of that log. Returns the new path. Overwrites nothing."""
    stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    names = (f"{path.name}.set-aside-{stamp}{f'-{number}' if number > 1 else ''}" for number in count(1))
    free = (name for name in names if not any(os.path.lexists(path.with_name(name + each)) for each in _SUFFIXES))
    aside = path.with_name(next(free))
    for suffix in _SUFFIXES:
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
    return aside
