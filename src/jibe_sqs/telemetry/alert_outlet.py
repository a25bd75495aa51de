"""Sends alerts to one target: the first message soon, then at most one per interval, and the same text until it has arrived.

add, end ──> groups ──gathering time──> message ──send──> success: no message for an interval
               ^                            ^     └─────> failure: the same message again, after growing delays
               └── sent by another replica a short time ago: later
"""

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final, Protocol

import msgspec
import structlog

from jibe_sqs.telemetry.alert_groups import MAX_GROUPS, Group, Groups, Kind
from jibe_sqs.telemetry.alert_messages import AlertMessage, Source, message_of
from jibe_sqs.telemetry.alert_sharing import ALONE, REMINDER, STALE, SharedAlerts, Sorted, Turn

log = structlog.get_logger()

GATHER_TIME: Final = 2.0
"""Seconds from the first event of a message until it is sent. One failure often causes several events."""
FIRST_RETRY_DELAY: Final = 5.0
"""Seconds until a failed message is sent again. Each further delay is twice as long, up to the interval."""
MAX_RETRY_AFTER: Final = 3600.0
"""Seconds. A longer wait that the target asks for is cut to this."""
LAST_SEND_TIMEOUT: Final = 5.0
"""Seconds for sending the last message, while the service stops."""
LAST_LOOK_TIMEOUT: Final = 1.0
"""Seconds for a last look at what other processes have sent, while the service stops."""
BUSY_DELAY: Final = 3.0
"""Seconds until the next try, while it is the turn of another process."""
CONFIRM_INTERVAL: Final = 60.0
"""Seconds between two notes in the ledger that this process still sees a state."""


class AlertFailed(Exception):
    """A message could not be sent. The text must not contain the target's address, which may be a secret.

    `retry_after`: seconds, if the target asked for a wait.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Target(Protocol):
    """Where alerts are sent to."""

    name: str

    async def send(self, message: AlertMessage) -> None:
        """Send a message. Raises `AlertFailed`."""


class Announced(msgspec.Struct):
    """A state that was sent as lasting: when that was, when the state began, and an example."""

    at: float
    began: float
    example: str
    is_shared: bool


class Outlet:
    """What is sent to one target. `add` and `end` may be called from any thread."""

    def __init__(
        self,
        target: Target,
        *,
        interval: float,
        source: Source,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """`interval`: the least seconds between two messages."""
        self.target = target
        self.interval = interval
        self.source = source
        self.shared: SharedAlerts | None = None
        self._wall_clock = wall_clock
        self._groups = Groups()
        self._announced: dict[Kind, Announced] = {}
        self._message: AlertMessage | None = None
        # Reentrant: a destructor may run in the thread that holds the lock, and log.
        self._lock = threading.RLock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()
        self._next_send = float("-inf")
        self._failures = 0
        self._turns = asyncio.Lock()

    def add(self, kind: Kind, group: Group) -> None:
        """Add events. A state of which it was sent that it lasts is sent again after an hour."""
        with self._lock:
            is_new = kind not in self._groups.by_kind
            known = self._announced.get(kind)
            if is_new and known is not None and group.last - known.at < REMINDER:
                return
            self._groups.add(kind, group)
        if is_new:
            self._wake_up()

    def add_others(self, others: Mapping[str, int]) -> None:
        """Add events that are in no group, by level."""
        with self._lock:
            self._groups.others.update(others)
        self._wake_up()

    def end(self, kind: Kind, at: float) -> None:
        """A state has ended. That is sent if it was sent that it lasts, or in the same message."""
        with self._lock:
            is_new = kind not in self._groups.by_kind
            if not is_new:
                self._groups.by_kind[kind].ended = at
            elif (known := self._announced.get(kind)) is not None:
                group = Group(0, known.began, at, known.example, known.is_shared, known.began, at)
                self._groups.add(kind, group)
        if is_new:
            self._wake_up()

    async def run(self) -> None:
        """Send, until cancelled."""
        loop = self._loop = asyncio.get_running_loop()
        if self._groups or self._message:
            self._wake.set()
        confirming = asyncio.create_task(self._confirm_forever(), name="alerts seen")
        try:
            while True:
                await self._wake.wait()
                await asyncio.sleep(max(GATHER_TIME, self._next_send - loop.time()))
                # Cleared before the groups are taken: an event that comes after that must set it again.
                self._wake.clear()
                delay = await self._send()
                self._next_send = loop.time() + delay
        finally:
            confirming.cancel()
            await asyncio.gather(confirming, return_exceptions=True)

    async def send_last(self) -> None:
        """Send what is left, within some seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_SEND_TIMEOUT):
                while self._waiting:
                    await self._send(is_last=True)
                    if self._waiting:
                        await asyncio.sleep(1)
        if left := self._waiting:
            log.warning("alerts_lost", target=self.target.name, count=left)

    async def stop_sharing(self) -> None:
        """The ledger closes. From now on all is sent that no other process has sent until now."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_LOOK_TIMEOUT), self._turns:
                if self._groups and (turn := await self._begin_turn(claims=False)) is not None:
                    ready = self._take(turn)
                    ready.send.merge(ready.later)
                    self._put_back(ready.send)
        self.shared = None

    @property
    def _waiting(self) -> int:
        """The number of events that are not sent."""
        with self._lock:
            groups = sum(max(group.count, 1) for group in self._groups.by_kind.values())
            return groups + self._groups.others.total() + (self._message.count if self._message else 0)

    async def _send(self, *, is_last: bool = False) -> float:
        """Send what waits. Returns the seconds until the next message may be sent."""
        async with self._turns:
            turn = await self._begin_turn(claims=not is_last)
            if turn is None:
                self._wake.set()
                return BUSY_DELAY
            try:
                return await self._send_in(turn, is_last=is_last)
            finally:
                if self.shared is not None and not is_last:
                    await self.shared.end(turn)

    async def _send_in(self, turn: Turn, *, is_last: bool) -> float:
        if self._message is None or turn.covers(self._message.groups):
            self._message = self._next_message(turn, is_last=is_last)
        message = self._message
        if message is None:
            return 0.0
        try:
            await self.target.send(message)
        except BaseException as error:
            # The message may have arrived all the same. To send it twice is better than to lose it.
            self._wake.set()
            if not isinstance(error, Exception):
                raise
            return self._failed(error)
        turn.sent(message.groups, message.sent, self._wall_clock())
        self._message, self._failures = None, 0
        if self._groups:
            self._wake.set()
        return self.interval

    def _next_message(self, turn: Turn, *, is_last: bool) -> AlertMessage | None:
        ready = self._take(turn)
        if is_last:
            ready.send.merge(ready.later)
        elif ready.later:
            self._put_back(ready.later)
            asyncio.get_running_loop().call_later(ready.wait, self._wake.set)
        if not ready.send:
            return None
        now = self._wall_clock()
        for kind, group in ready.send.by_kind.items():
            self._announce(kind, group, now)
        return message_of(ready.send, self.source, now)

    def _take(self, turn: Turn) -> Sorted:
        with self._lock:
            groups, self._groups = self._groups, Groups()
        ready = turn.sort(groups, self.interval)
        for kind, shown in ready.covered.items():
            self._announce(kind, groups.by_kind[kind], shown.sent)
        return ready

    def _put_back(self, earlier: Groups) -> None:
        with self._lock:
            later, self._groups = self._groups, earlier
            self._groups.merge(later)

    def _announce(self, kind: Kind, group: Group, at: float) -> None:
        """Remember that people know of a state, or of its end."""
        with self._lock:
            self._announced.pop(kind, None)
            if kind.state is not None and group.ended is None and len(self._announced) < MAX_GROUPS:
                began = group.first if group.began is None else group.began
                self._announced[kind] = Announced(at, began, group.example, group.is_shared)

    def _failed(self, error: Exception) -> float:
        delay = min(self.interval, FIRST_RETRY_DELAY * 2.0 ** min(self._failures, 20))
        # The text of an unexpected error may contain the address.
        reason = type(error).__name__
        if isinstance(error, AlertFailed):
            reason = str(error)
            delay = max(delay, min(error.retry_after or 0.0, MAX_RETRY_AFTER))
        self._failures += 1
        log.warning(
            "alerts_not_sent",
            target=self.target.name,
            reason=reason,
            pending=self._waiting,
            retry_in=round(delay, 1),
        )
        return delay

    def _wake_up(self) -> None:
        if self._loop is not None:
            # The loop may already be closed.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._wake.set)

    async def _begin_turn(self, *, claims: bool) -> Turn | None:
        if self.shared is None:
            return ALONE
        return await self.shared.begin(self._wall_clock(), claims=claims)

    async def _confirm_forever(self) -> None:
        """Note again and again which states this process sees. At first also look for states of processes that are gone."""
        first_looks = int(STALE // CONFIRM_INTERVAL) + 2
        while True:
            await asyncio.sleep(CONFIRM_INTERVAL)
            lasting = {kind: each.began for kind, each in tuple(self._announced.items()) if each.is_shared}
            if self.shared is not None and (lasting or first_looks > 0):
                first_looks -= 1
                async with self._turns:
                    await self._confirm(lasting)

    async def _confirm(self, lasting: Mapping[Kind, float]) -> None:
        if self.shared is None or (turn := await self.shared.begin(self._wall_clock())) is None:
            return
        now = self._wall_clock()
        again = {kind: Group(1, began, now, began=began) for kind, began in lasting.items()}
        for kind in turn.confirm({kind: began for kind, began in lasting.items() if kind not in self._groups.by_kind}):
            self._announced.pop(kind, None)
            self.add(kind, again[kind])
        for kind, group in turn.abandoned().by_kind.items():
            self.add(kind, group)
        await self.shared.end(turn)
