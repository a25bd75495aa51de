"""Warnings and errors that wait for a message, in groups of the same kind."""

import sys
from collections import Counter
from typing import Any, Final, Literal, NamedTuple

import msgspec

from jibe_sqs.telemetry.alert_kinds import BY_EVENT, OWN_EVENTS, State, is_shared, subject_of
from jibe_sqs.telemetry.logs import Event
from jibe_sqs.telemetry.printable import printable

LEVELS: Final = {"warning": 0, "error": 1, "critical": 2}
Level = Literal["warning", "error"]

MAX_GROUPS: Final = 200
"""Groups that are kept. Events of further groups are only counted. There is room for as many states besides: who knows of the
beginning of one waits for its end."""
MAX_VALUE_LENGTH: Final = 200
"""Characters of one field."""
MAX_EXAMPLE_LENGTH: Final = 500
"""Characters of all fields of a group's example."""
MAX_NAME_LENGTH: Final = 100
"""Characters of an event's name and of an error class."""
HIDDEN_FIELDS: Final = frozenset({"event", "level", "timestamp", "error", "exc_info", "exception", "stack", "logger"})
"""Fields that are not part of an example."""


class Kind(NamedTuple):
    """What is grouped. `event`: its name, or the logger's name for a library's log line. `error`: the error class, or empty.

    `subject`: of a state, what it is about; empty for other events.
    """

    level: str
    event: str
    error: str = ""
    subject: str = ""

    @property
    def state(self) -> State | None:
        """The state that it is about. None if it is an event without an end."""
        return BY_EVENT.get(self.event)


class Group(msgspec.Struct):
    """Events of the same kind: their number, the first and the last time, and the fields of the last one.

    All times are seconds since the epoch. Of a state: `began` and, if it has ended, `ended`. A state that was sent as lasting,
    and of which only the end is new, has the count 0.
    """

    count: int
    first: float
    last: float
    example: str = ""
    is_shared: bool = True
    began: float | None = None
    ended: float | None = None

    def add(self, later: "Group") -> None:
        """Add what has happened later."""
        self.count += later.count
        self.last = max(self.last, later.last)
        self.example = later.example or self.example
        if self.began is None or (self.ended is not None and later.count):
            self.began = later.began
        self.ended = later.ended


class Groups(msgspec.Struct):
    """All events that are not sent yet. `others`: the number of events that are in no group, by level."""

    by_kind: dict[Kind, Group] = msgspec.field(default_factory=dict)
    others: Counter[str] = msgspec.field(default_factory=Counter)

    def __bool__(self) -> bool:
        return bool(self.by_kind or self.others)

    @property
    def levels(self) -> Counter[str]:
        """The number of events of each level."""
        levels = self.others.copy()
        for kind, group in self.by_kind.items():
            levels[kind.level] += group.count
        return +levels

    def add(self, kind: Kind, later: Group) -> None:
        """Add events. They are later than the events of the same kind that are there."""
        group = self.by_kind.get(kind)
        if group is not None:
            group.add(later)
        elif len(self.by_kind) < (MAX_GROUPS if kind.state is None else 2 * MAX_GROUPS):
            self.by_kind[kind] = msgspec.structs.replace(later)
        elif later.count:
            self.others[kind.level] += later.count

    def merge(self, later: "Groups") -> None:
        """Add all events of later groups."""
        for kind, group in later.by_kind.items():
            self.add(kind, group)
        self.others.update(later.others)


def is_alert(event: Event, level: Level) -> bool:
    """Whether an event that is logged causes an alert. `level`: the lowest one that does."""
    return LEVELS.get(str(event.get("level")), -1) >= LEVELS[level] and event.get("event") not in OWN_EVENTS


def failure_of(error: Exception, now: float) -> tuple[Kind, Group]:
    """The alert that the service ends with this error."""
    return Kind("error", "service_failed", type(error).__name__), Group(
        1, now, now, one_line(str(error)), is_shared=False
    )


def kind_of(event: Event) -> Kind:
    """The kind of an event that is logged."""
    name = one_line(str(event.get("logger") or event.get("event")), MAX_NAME_LENGTH)
    level = str(event.get("level"))
    if "logger" not in event and (state := BY_EVENT.get(name)):
        return Kind(level, name, subject=subject_of(state, event))
    return Kind(level, name, one_line(_error(event), MAX_NAME_LENGTH))


def group_of(event: Event, now: float) -> Group:
    """A group with this event alone."""
    return Group(1, now, now, example(event), is_shared(event))


def example(event: Event) -> str:
    """The fields of an event, on one line."""
    fields = [f"{name}={one_line(_as_text(value))}" for name, value in event.items() if not _is_hidden(name)]
    # The event of a library is a whole text, not a name.
    text = [one_line(str(event.get("event")))] if "logger" in event else []
    return one_line(", ".join(text + fields), MAX_EXAMPLE_LENGTH)


def one_line(text: str, max_length: int = MAX_VALUE_LENGTH) -> str:
    """The text on one line, cut to a length."""
    text = printable(" ".join(text[: 4 * max_length].split()))
    return text if len(text) <= max_length else f"{text[: max_length - 1]}\N{HORIZONTAL ELLIPSIS}"


def _error(event: Event) -> str:
    if error := event.get("error"):
        return str(error)
    exc_info: Any = event.get("exc_info")
    if not exc_info:
        return ""
    if isinstance(exc_info, tuple):
        exc_info = exc_info[1]
    raised = exc_info if isinstance(exc_info, BaseException) else sys.exc_info()[1]
    return type(raised).__name__ if raised is not None else ""


def _is_hidden(name: str) -> bool:
    return name in HIDDEN_FIELDS or name.startswith("_")


def _as_text(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - a field that cannot be printed must not hide its event
        return "?"
