"""How often a folder may be refreshed: once an interval, and less often if its refreshes take long.

Without a pace, a busy folder would be refreshed again and again, each time for the few requests that came since the last
refresh began. With it, requests wait for the folder's next turn together. A folder that was not refreshed for an interval
has its turn at once.
"""

import heapq

from cachetools import LRUCache

from jibe_sqs.core.model import Folder
from jibe_sqs.ports import Clock

NOTABLE_COST = 0.25
"""Seconds. Refreshes that cost less are treated alike, and are not remembered."""

COST_FACTOR = 2.0
"""The interval of a folder is at least this many times its cost, so that it is idle for half of the time."""

MAX_FOLDERS = 100_000
"""Folders that are remembered, each for costs and for turns. Only their hashes are kept: a path may have thousands of
characters, and two folders with the same hash only share a turn."""


class Costs:
    """The cost of a refresh of each folder to the server, in seconds: learned from refreshes that took notably long.

    The first slow refresh of a folder that was quick so far counts by half, because it may be an exception.
    """

    def __init__(self, *, max_folders: int = MAX_FOLDERS) -> None:
        self._costs: LRUCache[int, float] = LRUCache(max_folders)

    def expected(self, folder: Folder) -> float:
        """The cost of the next refresh; 0 for a folder that is quick or unknown."""
        return self._costs.get(hash(folder), 0.0)

    def learn(self, folder: Folder, seconds: float) -> None:
        """Take in how long a successful refresh took."""
        cost = (self._costs.pop(hash(folder), 0.0) + seconds) / 2
        if cost >= NOTABLE_COST:
            self._costs[hash(folder)] = cost


class Pace:
    """When each folder has its next turn. `folders`, `trees`: the shortest intervals, in seconds; 0 for no limit."""

    def __init__(
        self, clock: Clock, costs: Costs, *, folders: float, trees: float, max_folders: int = MAX_FOLDERS
    ) -> None:
        self._clock = clock
        self._costs = costs
        self._folders = folders
        self._trees = trees
        self._max_folders = max_folders
        self._turns: dict[int, float] = {}
        self._by_turn: list[tuple[float, int]] = []

    def turn_in(self, folder: Folder) -> float:
        """Seconds until the folder may be refreshed; 0 for now."""
        return max(0.0, self._turns.get(hash(folder), 0.0) - self._clock.monotonic())

    def ended(self, folder: Folder, began: float) -> None:
        """Take in that a refresh has ended, with or without success, that began at this time (monotonic)."""
        now = self._clock.monotonic()
        interval = self._trees if folder.tree else self._folders
        if interval > 0:
            turn = began + max(interval, COST_FACTOR * self._costs.expected(folder))
            if turn > now:
                self._turns[hash(folder)] = turn
                heapq.heappush(self._by_turn, (turn, hash(folder)))
        self._forget(now)

    def _forget(self, now: float) -> None:
        """Forget the turns that have come, which are nearly all; and the next ones if there are too many."""
        while self._by_turn and (self._by_turn[0][0] <= now or len(self._by_turn) > self._max_folders):
            turn, folder = heapq.heappop(self._by_turn)
            if self._turns.get(folder) == turn:
                del self._turns[folder]
