"""Posts warnings and errors to people: the first one soon, then at most one message per interval, grouped.

log event ──take──> groups ──gathering time──> one message ──post──> success: no message for an interval
                      ^                                      └─────> failure: the groups go back, and are sent again
                      └────────────────────────────────────────────────────────────┘
"""

import asyncio
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Final, Literal

import msgspec
import structlog

from jibe_sqs.telemetry import logs
from jibe_sqs.telemetry.printable import printable

log = structlog.get_logger()

LEVELS: Final = {"warning": 0, "error": 1, "critical": 2}
OWN_EVENTS: Final = frozenset({"alerts_not_sent", "alerts_lost"})
"""Log events about alerts. They cause no alerts, which would never end."""
GATHER_TIME: Final = 2.0
"""Seconds from the first event of a message until it is sent. One failure often causes several events."""
FIRST_RETRY_DELAY: Final = 5.0
"""Seconds until a failed message is sent again. Each further delay is twice as long, up to the interval."""
MAX_RETRY_AFTER: Final = 3600.0
"""Seconds. A longer wait that the webhook asks for is cut to this."""
LAST_SEND_TIMEOUT: Final = 5.0
"""Seconds for sending the last message, while the service stops."""
MAX_GROUPS: Final = 200
"""Groups that are kept. Events of further groups are only counted."""
MAX_SHOWN_GROUPS: Final = 20
"""Groups in one message."""
MAX_MESSAGE_LENGTH: Final = 2900
"""Characters of a message. Slack allows 40,000, which is too long to read."""
MAX_VALUE_LENGTH: Final = 200
"""Characters of one field."""
MAX_EXAMPLE_LENGTH: Final = 500
"""Characters of all fields of a group's example."""
MAX_NAME_LENGTH: Final = 100
"""Characters of an event's name and of an error class."""
HIDDEN_FIELDS: Final = frozenset({"event", "level", "timestamp", "error", "exc_info", "exception", "stack", "logger"})
"""Fields that are not part of an example."""

Level = Literal["warning", "error"]
GroupKey = tuple[str, str, str]
"""The level; the event's name, or the logger's name for a library's log line; the error class, or empty."""


class AlertFailed(Exception):
    """A message could not be sent. The text must not contain the address, which is a secret.

    `retry_after`: seconds, if the webhook asked for a wait.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Group(msgspec.Struct):
    """Events with the same key: their number, the fields of the latest event, and its time."""

    count: int
    example: str
    latest: datetime


class Groups(msgspec.Struct):
    """All events that are not sent yet. `others`: the number of events that are in no group, by level."""

    by_key: dict[GroupKey, Group] = msgspec.field(default_factory=dict)
    others: Counter[str] = msgspec.field(default_factory=Counter)

    def __bool__(self) -> bool:
        return bool(self.by_key or self.others)

    @property
    def levels(self) -> Counter[str]:
        """The number of events of each level."""
        levels = self.others.copy()
        for (level, _, _), group in self.by_key.items():
            levels[level] += group.count
        return levels

    def add(self, key: GroupKey, later: Group) -> None:
        """Add events. They are later than the events of the same key that are there."""
        group = self.by_key.get(key)
        if group is not None:
            group.count += later.count
            group.example, group.latest = later.example, later.latest
        elif len(self.by_key) < MAX_GROUPS:
            self.by_key[key] = later
        else:
            self.others[key[0]] += later.count

    def merge(self, later: "Groups") -> None:
        """Add all events of later groups."""
        for key, group in later.by_key.items():
            self.add(key, group)
        self.others.update(later.others)


class Alerts:
    """Gathers warnings and errors, and posts them. `take` may be called from any thread."""

    def __init__(
        self,
        post: Callable[[str], Awaitable[None]],
        *,
        level: Level = "warning",
        interval: float = 300.0,
        source: str = "",
    ) -> None:
        """`post` sends one message in Slack's markup, or raises `AlertFailed`.

        `level`: the lowest level that causes an alert. `interval`: seconds. `source`: a name for this process.
        """
        self._post = post
        self._min_level = LEVELS[level]
        self._interval = interval
        self._source = source
        self._groups = Groups()
        # Reentrant: a destructor may run in the thread that holds the lock, and log.
        self._lock = threading.RLock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()
        self._next_post = float("-inf")
        self._failures = 0

    def take(self, event: logs.Event) -> None:
        """Add an event that is logged, if its level is high enough."""
        level = str(event.get("level"))
        if LEVELS.get(level, -1) < self._min_level or event.get("event") in OWN_EVENTS:
            return
        self._add(_group_key(event), Group(1, _example(event), _now()))

    def merge(self, groups: Groups) -> None:
        """Add the events of another process."""
        self._take(lambda: self._groups.merge(groups))

    async def reconfigure(self, *, level: Level, interval: float) -> None:
        """Change the lowest level and the interval (seconds)."""
        self._min_level = LEVELS[level]
        self._interval = interval

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Listen to the logs and post, while the body runs. At the end, post what is left.

        If the body ends with an error, that is an alert, too.
        """
        self._loop = asyncio.get_running_loop()
        with logs.listening(self.take):
            task = asyncio.create_task(self._run(), name="alerts")
            try:
                yield
            except Exception as error:
                key = "error", "service_failed", type(error).__name__
                self._add(key, Group(1, _one_line(str(error)), _now()))
                raise
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                await self._send_last()

    def _add(self, key: GroupKey, group: Group) -> None:
        self._take(lambda: self._groups.add(key, group))

    def _take(self, add: Callable[[], None]) -> None:
        with self._lock:
            is_first = not self._groups
            add()
        if is_first and self._loop is not None:
            # The loop may already be closed.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._wake.set)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        if self._groups:
            self._wake.set()
        while True:
            await self._wake.wait()
            await asyncio.sleep(max(GATHER_TIME, self._next_post - loop.time()))
            # Cleared before the groups are taken: an event that comes after that must set it again.
            self._wake.clear()
            delay = await self._send()
            self._next_post = loop.time() + delay

    async def _send(self) -> float:
        """Post all groups. If that fails, they are kept. Returns the seconds until the next message may be sent."""
        with self._lock:
            groups, self._groups = self._groups, Groups()
        if not groups:
            return 0.0
        try:
            await self._deliver(groups)
        except BaseException as error:
            # The message may have arrived all the same. To send it twice is better than to lose it.
            with self._lock:
                later, self._groups = self._groups, groups
                self._groups.merge(later)
            self._wake.set()
            if not isinstance(error, Exception):
                raise
            return self._failed(error)
        self._failures = 0
        return self._interval

    async def _deliver(self, groups: Groups) -> None:
        await self._post(message_text(groups, self._source))

    def _failed(self, error: Exception) -> float:
        delay = min(self._interval, FIRST_RETRY_DELAY * 2.0 ** min(self._failures, 20))
        # The text of an unexpected error may contain the address.
        reason = type(error).__name__
        if isinstance(error, AlertFailed):
            reason = str(error)
            delay = max(delay, min(error.retry_after or 0.0, MAX_RETRY_AFTER))
        self._failures += 1
        log.warning("alerts_not_sent", reason=reason, pending=self._groups.levels.total(), retry_in=round(delay, 1))
        return delay

    async def _send_last(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_SEND_TIMEOUT):
                while self._groups:
                    await self._send()
                    if self._groups:
                        await asyncio.sleep(1)
        if self._groups:
            log.warning("alerts_lost", count=self._groups.levels.total())


def message_text(groups: Groups, source: str = "") -> str:
    """The message for people, in Slack's markup: errors first, then the largest groups first."""
    levels = groups.levels
    heading = ", ".join(
        f"{levels[level]} {level}{'s' * (levels[level] != 1)}" for level in reversed(LEVELS) if levels[level]
    )
    lines = [_escaped(f"jibe-sqs{f' on {source}' * bool(source)}: {heading}")]
    room = MAX_MESSAGE_LENGTH - len(lines[0]) - 100  # for the last two lines
    left = sorted(groups.by_key.items(), key=lambda item: (-LEVELS[item[0][0]], -item[1].count, item[0]))
    while left and len(lines) <= MAX_SHOWN_GROUPS:
        text = _group_text(*left[0])
        if len(text) + 1 > room:
            break
        lines.append(text)
        room -= len(text) + 1
        left.pop(0)
    if left:
        events = sum(group.count for _, group in left)
        lines.append(f"and {len(left)} more kind{'s' * (len(left) != 1)} of events, {events} in all")
    if groups.others:
        lines.append(f"and events of other kinds: {groups.others.total()}")
    return "\n".join(lines)


def _group_text(key: GroupKey, group: Group) -> str:
    level, name, error = key
    count = "once" if group.count == 1 else f"{group.count} times, the last"
    kind = f"{level} {name}" + f" ({error})" * bool(error)
    line = _escaped(f"\N{BULLET} {kind}: {count} at {group.latest:%H:%M:%S} UTC")
    return f"{line}\n    {_escaped(group.example)}" if group.example else line


def _group_key(event: logs.Event) -> GroupKey:
    name = event.get("logger") or event.get("event")
    error = event.get("error") or ""
    if not error and (exc_info := event.get("exc_info")):
        raised = exc_info if isinstance(exc_info, BaseException) else None
        if raised is None:
            raised = exc_info[1] if isinstance(exc_info, tuple) else sys.exc_info()[1]
        error = type(raised).__name__ if raised is not None else ""
    return str(event.get("level")), _one_line(str(name), MAX_NAME_LENGTH), _one_line(str(error), MAX_NAME_LENGTH)


def _example(event: logs.Event) -> str:
    fields = [f"{name}={_one_line(_as_text(value))}" for name, value in event.items() if not _is_hidden(name)]
    # The event of a library is a whole text, not a name.
    text = [_one_line(str(event.get("event")))] if "logger" in event else []
    return _one_line(", ".join(text + fields), MAX_EXAMPLE_LENGTH)


def _is_hidden(name: str) -> bool:
    return name in HIDDEN_FIELDS or name.startswith("_")


def _as_text(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - a field that cannot be printed must not hide its event
        return "?"


def _one_line(text: str, max_length: int = MAX_VALUE_LENGTH) -> str:
    """The text on one line, cut to a length."""
    text = printable(" ".join(text[: 4 * max_length].split()))
    return text if len(text) <= max_length else f"{text[: max_length - 1]}\N{HORIZONTAL ELLIPSIS}"


def _escaped(text: str) -> str:
    """Escape the three special characters of Slack's markup: `<!channel>` would notify all members of a channel."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _now() -> datetime:
    return datetime.now(UTC)
