"""Looks at the queues once a minute: asks for their depth, remembers when they were received from, and notices silence.

None of it disturbs the work: a queue or a ledger that does not answer is asked again a minute later.
"""

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import structlog

from jibe_sqs.ports import Clock, Queue
from jibe_sqs.telemetry.optional_ledger import OptionalLedger
from jibe_sqs.telemetry.queue_activity import QueueActivity, not_later
from jibe_sqs.telemetry.silences import Silences, moment

log = structlog.get_logger()

INTERVAL: Final = 60.0
TICK: Final = 10.0
DEPTH_TIMEOUT: Final = 20.0
"""Seconds for one answer about a queue's depth."""
LAST_FILES: Final = "last files"
SILENCES: Final = "silences"


class LastFiles:
    """When the last log file of each source came, by the source's name. Seconds since the epoch, local clock."""

    def __init__(self, wall_clock: Callable[[], float] = time.time) -> None:
        self.times: dict[str, float] = {}
        self._wall_clock = wall_clock

    def came(self, source: str) -> None:
        """A log file of this source came."""
        self.times[source] = self._wall_clock()

    def of(self, source: str) -> float:
        """When the last one came; 0.0 for never."""
        return self.times.get(source, 0.0)

    def restore(self, note: str) -> None:
        """Take over what an earlier process noted."""
        try:
            now = self._wall_clock()
            found = {str(name): not_later(float(time), now) for name, time in json.loads(note).items()}
        except (ValueError, TypeError, AttributeError):
            return
        self.times = {name: max(found.get(name, 0.0), self.of(name)) for name in {*found, *self.times}}


class QueueWatch:
    """Watches the queues while `run` runs. `queues`: each with its activity."""

    def __init__(
        self,
        *,
        queues: Sequence[tuple[Queue, QueueActivity]],
        files: LastFiles,
        silences: Silences,
        ledger: OptionalLedger,
        clock: Clock,
    ) -> None:
        self._queues = queues
        self._files = files
        self._silences = silences
        self._ledger = ledger
        self._clock = clock
        self._noted: dict[str, str] | None = None
        """The notes as they are in the ledger. None if they are not read yet: they must not be replaced before."""
        self._writing = asyncio.Lock()
        self._is_wanted = False

    @property
    def counts(self) -> dict[str, dict[str, int | str | None]]:
        """The queues for the progress log: their depths as last asked for, and when their last messages came."""
        return {
            activity.name: {
                "visible": activity.depth.visible if activity.depth else None,
                "hidden": activity.depth.hidden if activity.depth else None,
                "last_message": moment(activity.last_message) if activity.last_message else None,
            }
            for _, activity in self._queues
        }

    def wanted(self) -> None:
        """Somebody looks at the depths: measure them again soon, not only after a minute."""
        self._is_wanted = True

    async def run(self) -> None:
        """Look at the queues until cancelled."""
        while True:
            try:
                await self._look()
            except Exception:
                # A defect of ours. Watching must not end the service.
                log.exception("queue_watch_crashed")
            await self._pause()

    async def _pause(self) -> None:
        """Wait for the next look. It comes early for what a kill must not lose: how to catch up depends on it."""
        before = [activity.brings_events for _, activity in self._queues]
        for _ in range(round(INTERVAL / TICK)):
            await self._tick()
            if [activity.brings_events for _, activity in self._queues] != before:
                return

    async def _tick(self) -> None:
        await self._clock.sleep(TICK)
        if self._is_wanted:
            self._is_wanted = False
            await self._measure_all()

    async def remember(self) -> None:
        """Write the notes that have changed."""
        async with self._writing:
            if self._noted is None:
                return
            for name, text in self._texts().items():
                if self._noted.get(name) != text and await self._ledger.note(name, text):
                    self._noted[name] = text

    def merge(self, notes: Mapping[str, str]) -> None:
        """Add what another process notes that receives from the queues at the same time."""
        for _, activity in self._queues:
            activity.merge(notes.get(_name(activity), ""))
        self._files.restore(notes.get(LAST_FILES, ""))

    async def _look(self) -> None:
        if self._noted is None:
            await self._restore()
        self._silences.check()
        await self.remember()
        await self._measure_all()

    async def _measure_all(self) -> None:
        await asyncio.gather(*(self._measure(queue, activity) for queue, activity in self._queues))

    async def _restore(self) -> None:
        notes = await self._ledger.noted(self._texts())
        if notes is None:
            return
        for _, activity in self._queues:
            activity.restore(notes.get(_name(activity), ""))
        self._files.restore(notes.get(LAST_FILES, ""))
        self._silences.restore(notes.get(SILENCES, ""))
        self._noted = notes

    def _texts(self) -> dict[str, str]:
        texts = {_name(activity): activity.note() for _, activity in self._queues}
        return texts | {LAST_FILES: json.dumps(self._files.times), SILENCES: self._silences.note()}

    @staticmethod
    async def _measure(queue: Queue, activity: QueueActivity) -> None:
        try:
            async with asyncio.timeout(DEPTH_TIMEOUT):
                activity.measured(await queue.depth())
        except Exception as error:  # noqa: BLE001 - the depth is for people only, and the next minute asks again
            activity.depth = None
            log.debug("depth_unknown", queue=queue.name, reason=str(error))


class RelayedWatch(QueueWatch):
    """Watches the queues in one of several processes that share them. One process notes what all of them have seen.

    This one passes its notes on, and with them the gaps that it has found.
    """

    def __init__(
        self,
        *,
        queues: Sequence[tuple[Queue, QueueActivity]],
        files: LastFiles,
        silences: Silences,
        ledger: OptionalLedger,
        clock: Clock,
        relay: Callable[[Mapping[str, str]], bool],
    ) -> None:
        """`relay`: takes notes, or returns False if it cannot."""
        super().__init__(queues=queues, files=files, silences=silences, ledger=ledger, clock=clock)
        self._relay = relay
        self._relayed: dict[str, str] = {}

    async def remember(self) -> None:
        """Pass on the notes that have changed."""
        notes = self._texts()
        if notes != self._relayed and self._relay(notes):
            self._relayed = notes
            for _, activity in self._queues:
                if activity.gap is not None:
                    activity.caught_up(activity.gap)

    async def _look(self) -> None:
        await self.remember()
        await self._measure_all()

    async def _pause(self) -> None:
        for _ in range(round(INTERVAL / TICK)):
            await self._tick()
            await self.remember()


def _name(activity: QueueActivity) -> str:
    return f"queue {activity.name}"
