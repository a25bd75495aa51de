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

    def __init__(
        self, index: Index, storage: Storage, judge: Judge, chance: Random, batch: int, max_calls: int
    ) -> None:
        """`most`: calls at a time."""
        self.batch = batch
        self._max_calls = max_calls
        self._calls = 0
        self._index = index
        self._storage = storage
        self._judge = judge
        self._chance = chance
        self._in_flight: set[str] = set()
        self._last: dict[tuple[str, str], Event] = {}
        """Of each log file and object: what was told last, if that went well."""

    async def report(self, changes: Sequence[Change]) -> None:
        require = self._judge.require
        require(1 <= len(changes) <= self.batch, "a call tells of no more than it may", len(changes))
        events = [self._storage.events[change.event.event_id] for change in changes]
        for event in events:
            require(event.key not in self._in_flight, "of an object one change is told at a time", event.key)
            self._in_flight.add(event.key)
            last = self._last.pop((event.source, event.key), None)
            ahead = self._storage.previous_change(event)
            is_seen = ahead is None or ahead.moment < self._index.synced_at
            require(is_seen or ahead is last, "no change is told before those ahead of it", event.source, event.id)
        self._calls += 1
        require(self._calls <= self._max_calls, "there are no more calls at a time than there may be", self._calls)
        try:
            await self._index.reach_server()
            if not await self._index.report(events):
                raise AccessAnywhereUnavailable("500")
        finally:
            self._calls -= 1
            self._in_flight.difference_update(event.key for event in events)
        for event in events:
            self._last[event.source, event.key] = event
            event.is_reported = True
        self._judge.record("reported", *(event.id for event in events))
