"""How often a folder may be refreshed: at most once an interval, and a longer one if its refreshes take long.

A busy folder would otherwise be refreshed again and again, each time for the few who asked since the last one began.
So whoever asks waits for the folder's turn, together with all who ask until then. A folder that was quiet for an
interval has its turn at once.
"""

import heapq
from collections import OrderedDict

from jibe_sqs.core.model import Folder
from jibe_sqs.ports import Clock

NOTABLE = 0.25
"""Seconds. Refreshes that cost less are all alike, and not remembered."""

REST = 2.0
"""A folder is refreshed again this many times its cost after its last refresh began: half of the time it is left alone."""

MOST = 100_000
"""Folders that are remembered, each for costs and for turns."""


class Costs:
    """What a refresh of each folder costs the server, in seconds: learned from those that took notably long.

    Of a folder that was quick so far, the first slow refresh counts by half: once is no habit.
    """

    def __init__(self, *, most: int = MOST) -> None:
        self._most = most
        self._costs: OrderedDict[Folder, float] = OrderedDict()

    def expected(self, folder: Folder) -> float:
        """What the next one will cost; 0 for one that is quick, or new."""
        return self._costs.get(folder, 0.0)

    def learn(self, folder: Folder, seconds: float) -> None:
        """A refresh that went well took so long."""
        cost = (self._costs.pop(folder, 0.0) + seconds) / 2
        if cost < NOTABLE:
            return
        self._costs[folder] = cost
        if len(self._costs) > self._most:
            self._costs.popitem(last=False)


class Pace:
    """When each folder has its next turn. `folders`, `trees`: the shortest intervals, in seconds; 0 sets no pace."""

    def __init__(self, clock: Clock, costs: Costs, *, folders: float, trees: float, most: int = MOST) -> None:
        self._clock = clock
        self._costs = costs
        self._folders = folders
        self._trees = trees
        self._most = most
        self._turns: dict[Folder, float] = {}
        self._by_turn: list[tuple[float, Folder]] = []

    def turn_in(self, folder: Folder) -> float:
        """Seconds until it may be refreshed; 0 for now."""
        return max(0.0, self._turns.get(folder, 0.0) - self._clock.monotonic())

    def ended(self, folder: Folder, began: float) -> None:
        """A refresh of it is over, well or not; it `began` (monotonic) then."""
        now = self._clock.monotonic()
        interval = self._trees if folder.tree else self._folders
        if interval > 0:
            turn = began + max(interval, REST * self._costs.expected(folder))
            if turn > now:
                self._turns[folder] = turn
                heapq.heappush(self._by_turn, (turn, folder))
        self._forget(now)

    def _forget(self, now: float) -> None:
        """Turns that have come, which is nearly all of them; and the next ones, should there be too many."""
        while self._by_turn and (self._by_turn[0][0] <= now or len(self._by_turn) > self._most):
            turn, folder = heapq.heappop(self._by_turn)
            if self._turns.get(folder) == turn:
                del self._turns[folder]
