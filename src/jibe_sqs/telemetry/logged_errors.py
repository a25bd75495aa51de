"""The last warnings and errors of the log, and the last dead letters among them."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import msgspec

from jibe_sqs.telemetry import logs
from jibe_sqs.telemetry.status import DeadLetterStatus, LoggedError

LEVELS: Final = frozenset({"warning", "error", "critical"})
MAX_KINDS: Final = 100
"""Kinds of events that are kept: pairs of an event's name and an error class. The oldest is dropped first."""
MAX_DEAD_LETTERS: Final = 50
MAX_TEXT: Final = 500
"""Characters of a reason."""
DEAD_LETTER: Final = "message_rejected"


class LoggedErrors:
    """Listens to the log. `take` may be called from any thread."""

    def __init__(self, wall_clock: Callable[[], float] = time.time) -> None:
        self._wall_clock = wall_clock
        self._kinds: dict[tuple[str, str], LoggedError] = {}
        self._dead_letters: deque[DeadLetterStatus] = deque(maxlen=MAX_DEAD_LETTERS)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen during the block."""
        with logs.listening(self.take):
            yield

    def take(self, event: logs.Event) -> None:
        """Take in an event that is logged, if it is a warning or an error."""
        level = event.get("level")
        if level not in LEVELS:
            return
        # The event of a library is a whole text, and its logger is the name.
        name = _text(event.get("logger") or event.get("event"), 100)
        error = _text(event.get("error") or "", 100)
        reason = _text(event.get("reason") or (event.get("event") if "logger" in event else "") or "", MAX_TEXT)
        key = name, error
        known = self._kinds.pop(key, None)
        count = known.count + 1 if known else 1
        self._kinds[key] = LoggedError(
            event=name, level=str(level), at=self._wall_clock(), count=count, error=error, reason=reason
        )
        if len(self._kinds) > MAX_KINDS:
            self._kinds.pop(next(iter(self._kinds)), None)
        if name == DEAD_LETTER and event.get("dead_lettered"):
            queue = _text(event.get("queue"), 200)
            self._dead_letters.append(DeadLetterStatus(at=self._wall_clock(), queue=queue, error=error, reason=reason))

    @property
    def errors(self) -> list[LoggedError]:
        """The latest first."""
        return list(self._kinds.values())[::-1]

    @property
    def dead_letters(self) -> list[DeadLetterStatus]:
        """The latest first."""
        return list(self._dead_letters)[::-1]


def merged(errors: list[LoggedError]) -> list[LoggedError]:
    """Those of several processes: one for each kind, the latest first."""
    found: dict[tuple[str, str], LoggedError] = {}
    for each in sorted(errors, key=lambda each: each.at):
        known = found.pop((each.event, each.error), None)
        found[each.event, each.error] = (
            each if known is None else msgspec.structs.replace(each, count=each.count + known.count)
        )
    return list(found.values())[::-1]


def _text(value: object, longest: int) -> str:
    try:
        return str(value)[:longest]
    except Exception:  # noqa: BLE001 - a field may be a value of any kind
        return "?"
