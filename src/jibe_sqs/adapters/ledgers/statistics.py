"""What a SQLite ledger consists of: sizes, numbers of rows, its version and its notes. It is only read."""

import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from jibe_sqs.core.errors import LedgerError

TIME: Final = 10.0
"""Seconds for counting. A ledger may have ten million rows."""
MAX_NOTES: Final = 200
MAX_NOTE: Final = 2000
"""Notes that are read, and characters of each."""
_SUFFIXES: Final = ("", "-wal", "-shm")


def statistics(path: Path) -> dict[str, Any]:
    """The statistics. What cannot be counted in time is None. Raises `LedgerError`."""
    sizes = {f"{path.name}{each}": _size(path.with_name(f"{path.name}{each}")) for each in _SUFFIXES}
    if sizes[path.name] is None:
        raise LedgerError(f"{path}: no ledger there")
    deadline = time.monotonic() + TIME
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=1.0)) as database:
            # Returns true to interrupt the statement.
            database.set_progress_handler(lambda: time.monotonic() > deadline, 10_000)
            version = database.execute("PRAGMA user_version").fetchone()[0]
            names = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            rows = {name: _count(database, name) for name in sorted(names)}
            notes = _notes(database) if "notes" in names else {}
    except sqlite3.Error as error:
        raise LedgerError(f"{path}: {error}") from error
    return {"path": str(path), "bytes": sizes, "schema_version": version, "rows": rows, "notes": notes}


def _count(database: sqlite3.Connection, table: str) -> int | None:
    try:
        quoted = table.replace('"', '""')
        return int(database.execute(f'SELECT count(*) FROM "{quoted}"').fetchone()[0])  # noqa: S608 - quoted, from its schema
    except sqlite3.OperationalError:
        return None


def _notes(database: sqlite3.Connection) -> dict[str, Any]:
    found = database.execute("SELECT name, substr(text, 1, ?) FROM notes ORDER BY name LIMIT ?", (MAX_NOTE, MAX_NOTES))
    return {name: _parsed(text) for name, text in found.fetchall()}


def _parsed(text: str) -> Any:
    """Most notes are JSON."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
