"""Sends warnings and errors to people: each kind soon, grouped, to several targets, and the end of each state that lasts.

log event ──take──┬── an event, or a state begins ──add──> outlet of each target
                  └── a state ends ────────────────end──>  (a webhook, a topic)
"""

import asyncio
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Final

import msgspec

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
from jibe_sqs.telemetry.alert_messages import Source
from jibe_sqs.telemetry.alert_outlet import Outlet, Target
from jibe_sqs.telemetry.alert_sharing import SharedAlerts
from jibe_sqs.telemetry.optional_ledger import OptionalLedger

FORGET_DELAY: Final = 60.0
"""Seconds until a state ends that only a process saw that has ended. If it is started again, it sees the state again."""


class Lasting(msgspec.Struct):
    """A state that lasts: when it began, and when each of the processes that see it reported it last."""

    kind: Kind
    began: float
    seen: dict[str, float] = msgspec.field(default_factory=dict)


class Alerts:
    """Gathers warnings and errors, and sends them to each target. `take` may be called from any thread."""

    def __init__(
        self,
        targets: Iterable[Target] = (),
        *,
        level: Level = "warning",
        interval: float = 300.0,
        source: Source = Source(),  # noqa: B008 - frozen
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """`level`: the lowest level that causes an alert. `interval`: the least seconds between two messages to a target."""
        self._level = level
        self._interval = interval
        self._source = source
        self._wall_clock = wall_clock
        self._outlets = {target.name: self._outlet(target) for target in targets}
        self._lasting: dict[tuple[str, str], Lasting] = {}
        # Reentrant: a destructor may run in the thread that holds the lock, and log.
        self._lock = threading.RLock()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._is_running = False
        self._ledger: OptionalLedger | None = None
        self._owner = f"{source.instance}-{uuid.uuid4().hex[:8]}"

    def take(self, event: logs.Event) -> None:
        """Add an event that is logged, if its level is high enough, or if a state ends with it."""
        if not self._outlets:
            return
        for about in ends_of(event):
            self._end(about, self._wall_clock())
        if is_alert(event, self._level):
            self._add(kind_of(event), group_of(event, self._wall_clock()))

    def merge(self, groups: Groups, process: str) -> None:
        """Add the events of another process."""
        for kind, group in groups.by_kind.items():
            if group.count:
                self._add(kind, msgspec.structs.replace(group, ended=None), process)
            if group.ended is not None:
                self._end((kind.event, kind.subject), group.ended, process)
        if groups.others:
            for outlet in self._all_outlets():
                outlet.add_others(groups.others)

    def forget(self, process: str) -> None:
        """Another process has ended. The states that it saw end after a while, if it does not report them again."""
        now = self._wall_clock()

        def forget() -> None:
            for about, lasting in tuple(self._lasting.items()):
                if lasting.seen.get(process, now) < now:
                    self._end(about, now, process)

        asyncio.get_running_loop().call_later(FORGET_DELAY, forget)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Listen to the logs and send, while the body runs. At the end, send what is left.

        If the body ends with an error, that is an alert, too.
        """
        with logs.listening(self.take):
            self._is_running = True
            for outlet in self._outlets.values():
                self._start(outlet)
            try:
                yield
            except Exception as error:
                self._add(*failure_of(error, self._wall_clock()))
                raise
            finally:
                self._is_running = False
                await asyncio.gather(*(self._stop(outlet) for outlet in tuple(self._outlets.values())))

    @asynccontextmanager
    async def shared(self, ledger: OptionalLedger | None) -> AsyncIterator[None]:
        """Send each kind once for all processes that share this ledger, while the body runs. None: there is no such ledger."""
        self._ledger = ledger
        for outlet in self._outlets.values():
            outlet.shared = self._shared(outlet.target.name)
        try:
            yield
        finally:
            self._ledger = None
            if ledger is not None:
                await asyncio.gather(*(outlet.stop_sharing() for outlet in self._all_outlets()))

    async def reconfigure(
        self,
        *,
        level: Level | None = None,
        interval: float | None = None,
        targets: Sequence[Target] | None = None,
        source: Source | None = None,
    ) -> None:
        """Change what is given, while it runs. A target with the name of an earlier one takes its place.

        What waits for a target that is not among them any more is sent to it before it returns, within some seconds.
        """
        self._level = level or self._level
        self._interval = self._interval if interval is None else interval
        self._source = source or self._source
        wanted = None if targets is None else {target.name: target for target in targets}
        removed = [] if wanted is None else [each for name, each in self._outlets.items() if name not in wanted]
        for outlet in removed:
            del self._outlets[outlet.target.name]
        for name, target in (wanted or {}).items():
            if name in self._outlets:
                self._outlets[name].target = target
                continue
            outlet = self._outlets[name] = self._outlet(target)
            outlet.shared = self._shared(name)
            if self._is_running:
                self._start(outlet)
        for outlet in self._all_outlets():
            outlet.interval, outlet.source = self._interval, self._source
        await asyncio.gather(*(self._stop(outlet) for outlet in removed))

    def _add(self, kind: Kind, group: Group, process: str = "") -> None:
        with self._lock:
            if kind.state is not None:
                about = kind.event, kind.subject
                if about not in self._lasting and len(self._lasting) < MAX_GROUPS:
                    self._lasting[about] = Lasting(kind, group.first)
                if (lasting := self._lasting.get(about)) is not None:
                    lasting.seen[process] = group.last
                    kind, group.began = lasting.kind, lasting.began
            for outlet in self._all_outlets():
                outlet.add(kind, group)

    def _end(self, about: tuple[str, str], at: float, process: str = "") -> None:
        with self._lock:
            lasting = self._lasting.get(about)
            if lasting is None:
                return
            lasting.seen.pop(process, None)
            if lasting.seen:
                return
            del self._lasting[about]
            for outlet in self._all_outlets():
                outlet.end(lasting.kind, at)

    def _all_outlets(self) -> Sequence[Outlet]:
        return tuple(self._outlets.values())

    def _outlet(self, target: Target) -> Outlet:
        return Outlet(target, interval=self._interval, source=self._source, wall_clock=self._wall_clock)

    def _shared(self, target: str) -> SharedAlerts | None:
        return SharedAlerts(self._ledger, target, self._owner) if self._ledger is not None else None

    def _start(self, outlet: Outlet) -> None:
        name = outlet.target.name
        self._tasks[name] = asyncio.create_task(outlet.run(), name=f"alerts to {name}")

    async def _stop(self, outlet: Outlet) -> None:
        if (task := self._tasks.pop(outlet.target.name, None)) is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await outlet.send_last()
