"""Deletes the oldest entries of a SQLite ledger, in short transactions: other calls wait for one of them at most.

Deleted entries free pages inside the file, and SQLite fills these first. So the file stops growing, and does not shrink.
"""

import sqlite3
import time
from dataclasses import dataclass
from typing import Final, NamedTuple

from jibe_sqs.adapters.ledgers.sqlite_file import transaction

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


FUTURE: Final = 86_400.0
"""Seconds. An entry that was written so long after now is deleted as well: the clock was wrong. Where entries are deleted in
the order of their ids, it would keep all that follow it."""


class _Table(NamedTuple):
    """`oldest`: when its oldest entry was written. `select`: its oldest entries, up to a number."""

    name: str
    oldest: str
    select: str
    delete: str


def _by_time(name: str, key: str) -> _Table:
    """A table with an index of `written`."""
    places = ", ".join("?" * len(key.split(",")))
    return _Table(
        name,
        f"SELECT written FROM {name} ORDER BY written LIMIT 1",  # noqa: S608 - constants
        f"SELECT written, {key} FROM {name} ORDER BY written LIMIT ?",  # noqa: S608
        f"DELETE FROM {name} WHERE ({key}) = ({places})",  # noqa: S608
    )


def _by_id(name: str) -> _Table:
    """A table whose ids grow with the time, which saves an index."""
    return _Table(
        name,
        f"SELECT written FROM {name} ORDER BY id LIMIT 1",  # noqa: S608 - constants
        f"SELECT written, id FROM {name} ORDER BY id LIMIT ?",  # noqa: S608
        f"DELETE FROM {name} WHERE id = ?",  # noqa: S608
    )


_TABLES: Final = [
    _by_id("finished"),
    _by_time("files", "bucket, key"),
    _by_time("folders", "path, tree"),
    _by_time("principals", "who"),
    _by_time("callers", "who"),
    _by_id(HISTORY),
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
        self._future = float("inf")

    def slice(
        self,
        database: sqlite3.Connection,
        before: float,
        history_before: float = float("-inf"),
        now: float = float("inf"),
    ) -> Forgotten:
        """Delete some entries that were written before this time, or are too many. Nothing is left if none is deleted."""
        self._before = dict.fromkeys(self._before, before) | {HISTORY: max(before, history_before)}
        self._future = now + FUTURE
        done = Forgotten()
        end = time.monotonic() + SLICE_SECONDS
        with transaction(database):
            # One step at least: without any, the pruning would seem to be complete.
            while self._expired(database, done) or self.make_room(database, STEP_ROWS, done):
                if done.entries >= SLICE_ROWS or time.monotonic() >= end:
                    break
        return done

    def make_room(self, database: sqlite3.Connection, rows: int, done: Forgotten) -> bool:
        """While the file is too large, delete up to so many of the oldest entries. Returns whether any was deleted."""
        left = rows
        while left > 0 and self._is_too_large(database):
            dated = [(row[0], table) for table in _TABLES if (row := database.execute(table.oldest).fetchone())]
            if not dated:
                break
            _, table = min(dated)
            written = self._deleted(database, table, float("inf"), min(left, STEP_ROWS))
            left -= len(written)
            done.entries += len(written)
            done.early += sum(each >= self._before[table.name] for each in written)
        return left < rows

    def _expired(self, database: sqlite3.Connection, done: Forgotten) -> bool:
        for table in _TABLES:
            if written := self._deleted(database, table, self._before[table.name], STEP_ROWS):
                done.entries += len(written)
                return True
        return False

    def _deleted(self, database: sqlite3.Connection, table: _Table, before: float, rows: int) -> list[float]:
        """Delete the oldest entries before this time. Returns when they were written."""
        # A DELETE of `written < ?` alone has no bound, and DELETE … LIMIT is not compiled into every SQLite.
        oldest = database.execute(table.select, (rows,)).fetchall()
        found = [entry for entry in oldest if entry[0] < before or entry[0] > self._future]
        if found:
            database.executemany(table.delete, [key for _, *key in found])
        return [written for written, *_ in found]

    def _is_too_large(self, database: sqlite3.Connection) -> bool:
        pages, free, size = (
            database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
        used: int = (pages - free) * size
        return used > self._max_bytes
