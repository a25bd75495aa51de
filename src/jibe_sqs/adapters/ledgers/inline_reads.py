"""Reads of a SQLite ledger in the event loop's thread: microseconds, where a thread would cost a hundred.

A file on a slow disk must not stop the event loop. While the reads wait for the disk, they use the ledger's thread for some
seconds. A slow read alone says nothing on a busy machine, where the process may have waited for a processor; so the operating
system is asked whether this thread has read from a disk.
"""

import resource
import sqlite3
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

SLOW_AVERAGE: Final = 0.001
"""Seconds. A read from the memory takes a hundredth of it."""
BLOCKED_AVERAGE: Final = 0.02
"""Seconds. Beyond it, the cause does not matter: not every file system counts what is read."""
WEIGHT: Final = 0.02
"""Of the newest read in the average: it is one of the last fifty."""
MIN_REST, REST, MAX_REST = 2.0, 50, 60.0
"""Seconds for which the thread is used: so many times the last read, within these bounds. So the event loop loses some
hundredths of its time to slow reads."""


def blocks_read() -> int:
    """How often this thread has waited for a block of a disk."""
    return resource.getrusage(getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF)).ru_inblock


class InlineReads:
    """Reads with one connection, for the event loop's thread only."""

    def __init__(self, clock: Callable[[], float], blocks: Callable[[], int] = blocks_read) -> None:
        self._clock = clock
        self._blocks = blocks
        self._blocks_before = blocks()
        self._average = 0.0
        self._next_at = float("-inf")

    @property
    def are_fast(self) -> bool:
        """Whether the reads were not slow lately."""
        return self._clock() >= self._next_at

    def find(self, database: sqlite3.Connection, look_up: Callable[[sqlite3.Connection], T]) -> T:
        """The result of `look_up`. It sees each write that has returned before. Raises `sqlite3.Error`."""
        began = self._clock()
        try:
            return look_up(database)
        finally:
            ended = self._clock()
            self._average += (ended - began - self._average) * WEIGHT
            if self._average > SLOW_AVERAGE:
                self._slow(ended, ended - began)

    def _slow(self, now: float, seconds: float) -> None:
        before, self._blocks_before = self._blocks_before, self._blocks()
        if self._blocks_before > before or self._average > BLOCKED_AVERAGE:
            self._next_at = now + min(max(REST * seconds, MIN_REST), MAX_REST)
            self._average = SLOW_AVERAGE / 2
