"""The warnings and errors of one of several processes, for another process that sends those of all."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import structlog

from jibe_sqs.telemetry import logs
from jibe_sqs.telemetry.alert_groups import (
    MAX_GROUPS,
    Group,
    Groups,
    Kind,
    Level,
    failure_of,
    group_of,
    is_alert,
    kind_of,
)
from jibe_sqs.telemetry.alert_kinds import ends_of

log = structlog.get_logger()

RELAY_INTERVAL: Final = 1.0
"""Seconds between two tries to pass on what has come."""
LAST_TRIES: Final = 5
"""Tries, while the process ends."""


class RelayedAlerts:
    """Gathers warnings and errors, and passes them on every second. `take` may be called from any thread."""

    def __init__(
        self,
        relay: Callable[[Groups], bool],
        *,
        level: Level = "warning",
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """`relay`: takes the groups, or returns False if it cannot. Then they are passed on later."""
        self.level = level
        self._relay = relay
        self._wall_clock = wall_clock
        self._groups = Groups()
        self._lasting: dict[tuple[str, str], Kind] = {}
        # Reentrant: a destructor may run in the thread that holds the lock, and log.
        self._lock = threading.RLock()

    def take(self, event: logs.Event) -> None:
        """Add an event that is logged, if its level is high enough, or if a state ends with it."""
        now = self._wall_clock()
        for about in ends_of(event):
            with self._lock:
                if (kind := self._lasting.pop(about, None)) is not None:
                    self._groups.add(kind, Group(0, now, now, ended=now))
        if is_alert(event, self.level):
            kind, group = kind_of(event), group_of(event, now)
            with self._lock:
                if kind.state is not None and len(self._lasting) < MAX_GROUPS:
                    kind = self._lasting.setdefault((kind.event, kind.subject), kind)
                self._groups.add(kind, group)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Listen to the logs and pass on, while the body runs. At the end, pass on what is left."""
        with logs.listening(self.take):
            task = asyncio.create_task(self._run(), name="alerts")
            try:
                yield
            except Exception as error:
                with self._lock:
                    self._groups.add(*failure_of(error, self._wall_clock()))
                raise
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                await self._pass_on_last()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(RELAY_INTERVAL)
            self._pass_on()

    def _pass_on(self) -> bool:
        with self._lock:
            groups, self._groups = self._groups, Groups()
        if not groups or self._relay(groups):
            return True
        with self._lock:
            later, self._groups = self._groups, groups
            self._groups.merge(later)
        return False

    async def _pass_on_last(self) -> None:
        for _ in range(LAST_TRIES):
            if self._pass_on():
                return
            await asyncio.sleep(RELAY_INTERVAL)
        log.warning("alerts_lost", target="supervisor", count=self._groups.levels.total())
