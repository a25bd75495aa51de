"""Access Anywhere with reported changes: it reads each object whose change is reported."""

from collections.abc import Callable, Sequence
from random import Random

from jibe_sqs.core.errors import AccessAnywhereUnavailable
from jibe_sqs.core.model import Change
from proof.simulation.access_anywhere import Index
from proof.simulation.judge import Judge
from proof.simulation.storage import Event, Storage


class SimulatedEventTarget:
    """The `EventTarget` port, for one process. It checks the order of the reported changes."""

    def __init__(
        self,
        index: Index,
        storage: Storage,
        judge: Judge,
        chance: Random,
        batch: int,
        max_calls: int,
        skips: Callable[[Event], bool],
    ) -> None:
        """`max_calls`: the largest number of calls at the same time. `skips`: whether a change is not reported."""
        self.batch = batch
        self._max_calls = max_calls
        self._calls = 0
        self._skips = skips
        self._index = index
        self._storage = storage
        self._judge = judge
        self._chance = chance
        self._in_flight: set[str] = set()
        self._last: dict[tuple[str, str], Event] = {}
        """Log file and object -> the change that was reported last, if that succeeded."""

    async def report(self, changes: Sequence[Change]) -> None:
        require = self._judge.require
        require(1 <= len(changes) <= self.batch, "a call has no more changes than the batch size", len(changes))
        events = [self._storage.events[change.event.event_id] for change in changes]
        for event in events:
            require(event.key not in self._in_flight, "one change of an object is reported at a time", event.key)
            self._in_flight.add(event.key)
            last = self._last.pop((event.source, event.key), None)
            ahead = self._storage.previous_change(event, self._skips)
            is_seen = ahead is None or ahead.moment < max(self._index.synced_at, self._index.listed_at)
            require(
                is_seen or ahead is last,
                "no change is reported before the earlier changes of its object",
                event.source,
                event.id,
            )
        self._calls += 1
        require(self._calls <= self._max_calls, "there are no more calls at the same time than configured", self._calls)
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
