"""Access Anywhere, told of changes object by object: it looks at each object that it is told of."""

from collections.abc import Sequence
from random import Random

from jibe_sqs.core.errors import AccessAnywhereUnavailable
from jibe_sqs.core.model import Change
from proof.simulation.access_anywhere import Index
from proof.simulation.judge import Judge
from proof.simulation.storage import Event, Storage


class SimulatedEventTarget:
    """The `EventTarget` port: one process's way to the server. Judges in which order it is told."""

    def __init__(self, index: Index, storage: Storage, judge: Judge, chance: Random, batch: int, most: int) -> None:
        """`most`: calls at a time."""
        self.batch = batch
        self._most = most
        self._calls = 0
        self._index = index
        self._storage = storage
        self._judge = judge
        self._chance = chance
        self._being_told: set[str] = set()
        self._last: dict[tuple[str, str], Event] = {}
        """Of each log file and object: what was told last, if that went well."""

    async def report(self, changes: Sequence[Change]) -> None:
        demand = self._judge.demand
        demand(1 <= len(changes) <= self.batch, "a call tells of no more than it may", len(changes))
        events = [self._storage.events[change.event.event_id] for change in changes]
        for event in events:
            demand(event.key not in self._being_told, "of an object one change is told at a time", event.key)
            self._being_told.add(event.key)
            last = self._last.pop((event.source, event.key), None)
            ahead = self._storage.ahead_of(event)
            is_seen = ahead is None or ahead.moment < self._index.synced_at
            demand(is_seen or ahead is last, "no change is told before those ahead of it", event.source, event.id)
        self._calls += 1
        demand(self._calls <= self._most, "there are no more calls at a time than there may be", self._calls)
        try:
            await self._index.reached()
            if not await self._index.hear(events):
                raise AccessAnywhereUnavailable("500")
        finally:
            self._calls -= 1
            self._being_told.difference_update(event.key for event in events)
        for event in events:
            self._last[event.source, event.key] = event
            event.is_told = True
        self._judge.saw("told", *(event.id for event in events))
