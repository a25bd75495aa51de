"""Reads of a SQLite ledger in the event loop's thread: microseconds, where a thread would cost a hundred.

A file on a slow disk must not stop the event loop. While the reads are slow on average, they use the ledger's thread for some
seconds. One slow read says nothing on a busy machine: the process may have waited for a processor.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

SLOW_AVERAGE: Final = 0.001
"""Seconds. A read from the memory takes a hundredth of it; on a machine with four times too much work, a third."""
WEIGHT: Final = 0.02
"""Of the newest read in the average: it is one of the last fifty."""
MIN_REST, REST, MAX_REST = 2.0, 50, 60.0
"""Seconds for which the thread is used when the average is slow: so many times the last read, within these bounds. So the
event loop loses some hundredths of its time to slow reads."""


class InlineReads:
    """Reads with one connection, for the event loop's thread only."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._average = 0.0
        self._next_at = float("-inf")
        self._snapshot: sqlite3.Connection | None = None

    @property
    def are_fast(self) -> bool:
        """Whether the reads were not slow lately."""
        return self._clock() >= self._next_at

    def find(self, database: sqlite3.Connection, look_up: Callable[[sqlite3.Connection], T]) -> T:
        """The result of `look_up`. It sees each write that has returned before. Raises `sqlite3.Error`."""
        began = self._clock()
        try:
            if self._snapshot is not database:
                self._begin(database)
            return look_up(database)
        finally:
            self._took(began, self._clock())

    def end(self) -> None:
        """End the common transaction, before its connection is closed."""
        database, self._snapshot = self._snapshot, None
        if database is not None:
            database.execute("COMMIT")

    def _begin(self, database: sqlite3.Connection) -> None:
        """Begin a transaction for all reads of this turn of the event loop: to begin and end one costs more than a read.

        A write that ends from now on wakes up its caller after the transaction has ended, because callbacks are called in
        the order in which they were scheduled. So that caller, too, sees its write.
        """
        self.end()
        database.execute("BEGIN")
        self._snapshot = database
        asyncio.get_running_loop().call_soon(self.end)

    def _took(self, began: float, ended: float) -> None:
        seconds = ended - began
        self._average += (seconds - self._average) * WEIGHT
        if self._average > SLOW_AVERAGE:
            self._next_at = ended + min(max(REST * seconds, MIN_REST), MAX_REST)
            self._average = SLOW_AVERAGE / 2
