"""Deletes the oldest entries of a SQLite ledger, in short transactions: other calls wait for one of them at most.

Deleted entries free pages inside the file, and SQLite fills these first. So the file stops growing, and does not shrink.
"""

import sqlite3
import time
from dataclasses import dataclass
from typing import Final, NamedTuple

SLICE_SECONDS: Final = 0.05
"""Seconds after which a slice ends. It may take longer by one step and its commit."""
SLICE_ROWS: Final = 1000
"""Entries in one slice. They bound the write-ahead log: in the worst case, each is on a page of its own."""
STEP_ROWS: Final = 100
"""Entries between two looks at the time."""
RESERVED_BYTES: Final = 32 << 20
"""Bytes kept free below `max_bytes`: for the write-ahead log, and for the growth by one batch of writes."""
HISTORY: Final = "history"
"""The table whose entries expire earlier than all others."""


class _Table(NamedTuple):
    name: str
    oldest: str
    select: str
    delete: str


_TABLES: Final = [
    _Table(
        name,
        f"SELECT written FROM {name} ORDER BY written LIMIT 1",  # noqa: S608 - constants
        f"SELECT written, {key} FROM {name} WHERE written < ? ORDER BY written LIMIT ?",  # noqa: S608
        f"DELETE FROM {name} WHERE ({key}) = ({', '.join('?' * (1 + key.count(',')))})",  # noqa: S608
    )
    for name, key in (("files", "bucket, key"), ("folders", "path, tree"), ("principals", "who"), (HISTORY, "id"))
]


@dataclass(slots=True)
class Forgotten:
    """What was deleted. `early`: entries that were deleted because of the size, before their time."""

    entries: int = 0
    early: int = 0


class Forgetting:
    """Forgets entries that are too old, and the oldest ones while the file is too large. For one thread."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes - RESERVED_BYTES
        self._before = dict.fromkeys((table.name for table in _TABLES), float("-inf"))

    def slice(self, database: sqlite3.Connection, before: float, history_before: float = float("-inf")) -> Forgotten:
        """Delete some entries that were written before this time, or are too many. Nothing is left if none is deleted."""
        self._before = dict.fromkeys(self._before, before) | {HISTORY: max(before, history_before)}
        done = Forgotten()
        end = time.monotonic() + SLICE_SECONDS
        with database:
            # One step at least: without any, the pruning would seem to be complete.
            while self._expired(database, done) or self.make_room(database, STEP_ROWS, done):
                if done.entries >= SLICE_ROWS or time.monotonic() >= end:
                    break
        return done

    def make_room(self, database: sqlite3.Connection, rows: int, done: Forgotten) -> bool:
        """If the file is too large, delete so many of the oldest entries. Returns whether any was deleted."""
        if not self._is_too_large(database):
            return False
        dated = [(row[0], table) for table in _TABLES if (row := database.execute(table.oldest).fetchone())]
        if not dated:
            return False
        _, table = min(dated)
        written = _deleted(database, table, float("inf"), rows)
        done.entries += len(written)
        done.early += sum(each >= self._before[table.name] for each in written)
        return True

    def _expired(self, database: sqlite3.Connection, done: Forgotten) -> bool:
        for table in _TABLES:
            if written := _deleted(database, table, self._before[table.name], STEP_ROWS):
                done.entries += len(written)
                return True
        return False

    def _is_too_large(self, database: sqlite3.Connection) -> bool:
        pages, free, size = (
            database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
        used: int = (pages - free) * size
        return used > self._max_bytes


def _deleted(database: sqlite3.Connection, table: _Table, before: float, rows: int) -> list[float]:
    """Delete the oldest entries before this time. Returns when they were written."""
    # A DELETE of `written < ?` alone has no bound, and DELETE … LIMIT is not compiled into every SQLite.
    found = database.execute(table.select, (before, rows)).fetchall()
    if found:
        database.executemany(table.delete, [key for _, *key in found])
    return [row[0] for row in found]
