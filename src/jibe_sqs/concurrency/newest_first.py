"""A waiting line in which the newest come first, and no entry waits for ever.

Each entry is due at a time, and may have a time at which it was new. Of four choices in a row, three take the newest entry, and
one takes the entry that is due first. So an entry that n others precede in the order of their due times is chosen after 4 (n + 1)
choices at the latest, whatever comes later.

An entry that is not new takes part in the order of due times only. Each operation costs O(log n).
"""

import heapq
from typing import Final, Generic, TypeVar

OLDEST_EACH: Final = 4
"""One of so many choices takes the entry that is due first."""
MIN_STALE: Final = 64
"""Stale entries of a heap that are not worth its rebuilding."""

T = TypeVar("T")


class Entry(Generic[T]):
    """One entry of a line. `newest`: the larger, the earlier; None if it is not new."""

    __slots__ = ("due", "is_waiting", "item", "newest", "order")

    def __init__(self, item: T, due: float, newest: float | None, order: int) -> None:
        self.item = item
        self.due = due
        self.newest = newest
        self.order = order
        self.is_waiting = True


class NewestFirst(Generic[T]):
    """The line."""

    def __init__(self) -> None:
        self._by_due: list[tuple[float, int, Entry[T]]] = []
        self._by_newest: list[tuple[float, int, float, Entry[T]]] = []
        self._count = 0
        self._order = 0
        self._turn = 0

    def __len__(self) -> int:
        return self._count

    def add(self, item: T, *, due: float, newest: float | None = None) -> Entry[T]:
        """Add an entry. Of two that are due at the same time, the one that was added first is due first."""
        self._order += 1
        entry = Entry(item, due, None, self._order)
        heapq.heappush(self._by_due, (due, entry.order, entry))
        self._count += 1
        if newest is not None:
            self.renew(entry, newest)
        return entry

    def renew(self, entry: Entry[T], newest: float) -> None:
        """The entry is at least so new."""
        if entry.newest is None or newest > entry.newest:
            entry.newest = newest
            heapq.heappush(self._by_newest, (-newest, entry.order, newest, entry))
            self._tidy()

    def remove(self, entry: Entry[T]) -> None:
        """Remove an entry, if it still waits."""
        if entry.is_waiting:
            entry.is_waiting = False
            self._count -= 1
            self._tidy()

    def pop(self) -> T:
        """Remove the next entry, and return its item. The line must not be empty."""
        self._turn = (self._turn + 1) % OLDEST_EACH
        entry = self._newest() if self._turn else None
        if entry is None:
            entry = self._first_due()
        entry.is_waiting = False
        self._count -= 1
        self._tidy()
        return entry.item

    def _newest(self) -> Entry[T] | None:
        while self._by_newest:
            _, _, newest, entry = heapq.heappop(self._by_newest)
            if entry.is_waiting and newest == entry.newest:
                return entry
        return None

    def _first_due(self) -> Entry[T]:
        while True:
            _, _, entry = heapq.heappop(self._by_due)
            if entry.is_waiting:
                return entry

    def _tidy(self) -> None:
        """Rebuild a heap of which more than half is stale. Each of its entries has paid for that when it came."""
        limit = 2 * self._count + MIN_STALE
        if len(self._by_due) > limit:
            self._by_due = [each for each in self._by_due if each[2].is_waiting]
            heapq.heapify(self._by_due)
        if len(self._by_newest) > limit:
            self._by_newest = [each for each in self._by_newest if each[3].is_waiting and each[2] == each[3].newest]
            heapq.heapify(self._by_newest)
