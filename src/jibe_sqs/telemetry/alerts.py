"""Warnings and errors, told to people: soon the first time, then at most one message an interval, and grouped.

log line ──take──> groups ──gathering time──> one message ──post──> well: silence for an interval
                     ^                                      └─────> not: they go back, and are tried again
                     └────────────────────────────────────────────────────────┘
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
OURS: Final = frozenset({"alerts_not_sent", "alerts_lost"})
"""What is said of alerts themselves. To alert of that would never end."""
GATHERING: Final = 2.0
"""Seconds from the first event of a message until it is sent: trouble seldom comes alone."""
FIRST_RETRY: Final = 5.0
LONGEST_RETRY: Final = 3600.0
LAST: Final = 5.0
"""Seconds that the last message may take."""
KINDS: Final = 200
"""Groups that are kept; what is of yet other kinds is counted."""
SHOWN: Final = 20
LONGEST: Final = 2900
"""Characters of a message. Slack allows 40,000, and nobody reads them."""
VALUE: Final = 200
EXAMPLE: Final = 500
NAME: Final = 100
NO_FIELDS: Final = frozenset({"event", "level", "timestamp", "error", "exc_info", "exception", "stack", "logger"})

Level = Literal["warning", "error"]
Kind = tuple[str, str, str]
"""Level; the event's name, or the logger's where a library logs text; and an error's class, if there is one."""


class AlertFailed(Exception):
    """A message could not be sent. Names no address: who has it may write there. `retry_after`: seconds, if asked for."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Group(msgspec.Struct):
    """Events of one kind: how many, and the latest."""

    count: int
    latest: str
    at: datetime


class Groups(msgspec.Struct):
    """All that is to be told. `others`: how many of kinds beyond those that are kept, by level."""

    kinds: dict[Kind, Group] = msgspec.field(default_factory=dict)
    others: Counter[str] = msgspec.field(default_factory=Counter)

    def __bool__(self) -> bool:
        return bool(self.kinds or self.others)

    @property
    def levels(self) -> Counter[str]:
        """How many there are of each level."""
        levels = self.others.copy()
        for (level, _, _), group in self.kinds.items():
            levels[level] += group.count
        return levels

    def add(self, kind: Kind, group: Group) -> None:
        """Take in some more of a kind; they are later than those that are there."""
        there = self.kinds.get(kind)
        if there is not None:
            there.count += group.count
            there.latest, there.at = group.latest, group.at
        elif len(self.kinds) < KINDS:
            self.kinds[kind] = group
        else:
            self.others[kind[0]] += group.count

    def merge(self, later: "Groups") -> None:
        """Take in what came later."""
        for kind, group in later.kinds.items():
            self.add(kind, group)
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
        """`post` sends one message, in Slack's markup, or raises `AlertFailed`. `interval` in seconds. `source`: whose."""
        self._post = post
        self._least = LEVELS[level]
        self._interval = interval
        self._source = source
        self._groups = Groups()
        # Reentrant: while it is held, a destructor may run in this very thread, and log.
        self._lock = threading.RLock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()
        self._next = float("-inf")
        self._failures = 0

    def take(self, event: logs.Event) -> None:
        """Note an event that is being logged, if it is one to alert of."""
        level = str(event.get("level"))
        if LEVELS.get(level, -1) < self._least or event.get("event") in OURS:
            return
        self._add(_kind(event), Group(1, _example(event), _now()))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Hear of what is logged, and post; at the end what is left, and of what ended it, should that be an error."""
        self._loop = asyncio.get_running_loop()
        with logs.told_to(self.take):
            task = asyncio.create_task(self._run(), name="alerts")
            try:
                yield
            except Exception as error:
                kind = "error", "service_failed", type(error).__name__
                self._add(kind, Group(1, _line(str(error)), _now()))
                raise
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                await self._send_last()

    def _add(self, kind: Kind, group: Group) -> None:
        with self._lock:
            is_first = not self._groups
            self._groups.add(kind, group)
        if is_first and self._loop is not None:
            # The loop may be closed already.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._wake.set)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        if self._groups:
            self._wake.set()
        while True:
            await self._wake.wait()
            await asyncio.sleep(max(GATHERING, self._next - loop.time()))
            # Before they are taken out: who comes first after that wakes us again.
            self._wake.clear()
            wait = await self._send()
            self._next = loop.time() + wait

    async def _send(self) -> float:
        """Post all; returns in how many seconds there may be another message. What could not be sent is kept."""
        with self._lock:
            groups, self._groups = self._groups, Groups()
        if not groups:
            return 0.0
        try:
            await self._post(message(groups, self._source))
        except BaseException as error:
            # If it arrived nevertheless, it is told twice: better than never.
            with self._lock:
                later, self._groups = self._groups, groups
                self._groups.merge(later)
            self._wake.set()
            if not isinstance(error, Exception):
                raise
            return self._failed(error)
        self._failures = 0
        return self._interval

    def _failed(self, error: Exception) -> float:
        wait = min(self._interval, FIRST_RETRY * 2.0 ** min(self._failures, 20))
        reason = type(error).__name__
        if isinstance(error, AlertFailed):
            reason = str(error)
            wait = max(wait, min(error.retry_after or 0.0, LONGEST_RETRY))
        self._failures += 1
        log.warning("alerts_not_sent", reason=reason, pending=self._groups.levels.total(), retry_in=round(wait, 1))
        return wait

    async def _send_last(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST):
                while self._groups:
                    await self._send()
                    if self._groups:
                        await asyncio.sleep(1)
        if self._groups:
            log.warning("alerts_lost", count=self._groups.levels.total())


def message(groups: Groups, source: str = "") -> str:
    """What people read, in Slack's markup: errors first, then by number."""
    levels = groups.levels
    heading = ", ".join(
        f"{levels[level]} {level}{'s' * (levels[level] != 1)}" for level in reversed(LEVELS) if levels[level]
    )
    lines = [_escaped(f"jibe-sqs{f' on {source}' * bool(source)}: {heading}")]
    room = LONGEST - len(lines[0]) - 100  # for the last line
    left = sorted(groups.kinds.items(), key=lambda item: (-LEVELS[item[0][0]], -item[1].count, item[0]))
    while left and len(lines) <= SHOWN:
        (level, name, error), group = left[0]
        times = "once" if group.count == 1 else f"{group.count} times, the last"
        what = f"{level} {name}" + f" ({error})" * bool(error)
        line = _escaped(f"\N{BULLET} {what}: {times} at {group.at:%H:%M:%S} UTC")
        example = "\n    " + _escaped(group.latest) if group.latest else ""
        if len(line) + len(example) + 1 > room:
            break
        lines.append(line + example)
        room -= len(line) + len(example) + 1
        left.pop(0)
    if left:
        total = sum(group.count for _, group in left)
        lines.append(f"and {len(left)} more kind{'s' * (len(left) != 1)}, {total} in all")
    if groups.others:
        lines.append(f"and of yet other kinds: {groups.others.total()}")
    return "\n".join(lines)


def _kind(event: logs.Event) -> Kind:
    name = event.get("logger") or event.get("event")
    error = event.get("error") or ""
    if not error and (exc_info := event.get("exc_info")):
        raised = exc_info if isinstance(exc_info, BaseException) else None
        if raised is None:
            raised = exc_info[1] if isinstance(exc_info, tuple) else sys.exc_info()[1]
        error = type(raised).__name__ if raised is not None else ""
    return str(event.get("level")), _line(str(name), NAME), _line(str(error), NAME)


def _example(event: logs.Event) -> str:
    fields = [f"{name}={_line(_text(value))}" for name, value in event.items() if not _is_aside(name)]
    # A library's event is a text of its own.
    text = [_line(str(event.get("event")))] if "logger" in event else []
    return _line(", ".join(text + fields), EXAMPLE)


def _is_aside(name: str) -> bool:
    return name in NO_FIELDS or name.startswith("_")


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 (of whatever kind: an event is told all the same)
        return "?"


def _line(text: str, longest: int = VALUE) -> str:
    """On one line, and cut."""
    text = printable(" ".join(text[: 4 * longest].split()))
    return text if len(text) <= longest else f"{text[: longest - 1]}\N{HORIZONTAL ELLIPSIS}"


def _escaped(text: str) -> str:
    """The three characters that mean something to Slack: `<!channel>` would call everybody."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _now() -> datetime:
    return datetime.now(UTC)
