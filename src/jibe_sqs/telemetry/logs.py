"""Log lines on standard error: an event name and its fields. JSON, or colored text on a terminal.

A log call never raises: a value that cannot be rendered, or a line that cannot be written, costs only itself.
"""

import copy
import logging
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager, suppress
from typing import IO, Any, Final, Literal, cast

import structlog

from jibe_sqs.telemetry.log_levels import ModuleLevels, number, set_library_levels, without_secrets
from jibe_sqs.telemetry.printable import printable
from jibe_sqs.telemetry.standard_error import Lost, StandardError

# Returns the rendered line instead of writing it.
log = structlog.wrap_logger(structlog.ReturnLogger())

Style = Literal["auto", "json", "console"]

Event = MutableMapping[str, Any]
"""The name of the event in `event`, its `level`, and its fields."""
Listener = Callable[[Event], None]

PLAIN: Final = (str, int, float, bool, type(None))

lines: Final[Counter[str]] = Counter()
"""The number of lines since the start of the process, by level; also of those that were lost."""

MAX_RECENT: Final = 2000
"""Lines that are kept in memory."""
MAX_RECENT_LENGTH: Final = 2048
"""Characters of each of them."""

_recent: deque[str] = deque(maxlen=MAX_RECENT)
_listeners: list[Listener] = []
_are_verbose = True
_standard_error: StandardError | None = None


def take_standard_error() -> None:
    """Replace `sys.stderr` by a stream that never raises. Called once, when the program starts."""
    global _standard_error  # noqa: PLW0603 - there is one standard error
    if sys.stderr is None:  # descriptor 2 was closed when Python started
        _standard_error = StandardError(None, _notice)
    else:
        _standard_error = StandardError(sys.stderr.fileno(), _notice, encoding=sys.stderr.encoding)
    sys.stderr = cast("Any", _standard_error)


def write_in_background() -> None:
    """From now on, no write to standard error blocks. For the service, which must go on if its log is not read."""
    if _standard_error is not None:
        _standard_error.start()


def share_standard_error(lock: int) -> None:
    """Other processes write to the same standard error. `lock`: see `StandardError.share`."""
    if _standard_error is not None:
        _standard_error.share(lock)


def wait_until_written(timeout: float) -> None:
    """Wait until all log lines are written or lost, but not longer than `timeout` seconds."""
    if _standard_error is not None:
        _standard_error.wait_until_written(timeout)


def lost() -> Lost:
    """The log lines that cannot be written now, and why. Empty if lines are written."""
    return _standard_error.lost if _standard_error is not None else Lost()


def recent() -> list[str]:
    """The last lines that this process has logged, the oldest first, for the support bundle."""
    return [_shortened(line) for line in _recent.copy()]


def are_verbose() -> bool:
    """Whether lines of the level `debug` are written. A line for each message asks first: one that is not written costs, too."""
    return _are_verbose


def are_json(style: Style) -> bool:
    """Whether lines are JSON with this setting."""
    return style == "json" or (style == "auto" and not _is_terminal())


def configure(level: str, style: Style, levels: Mapping[str, str] | None = None, **fields: object) -> None:
    """Configure logging. Called once at the start with defaults, and again when settings are loaded.

    `levels`: of single loggers; see `log_levels`. `fields`: of every line of this process.
    """
    global _are_verbose  # noqa: PLW0603 - there is one log
    by_module = ModuleLevels(level, levels or {})
    lowest = by_module.lowest
    _are_verbose = lowest <= logging.DEBUG
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        lambda _logger, _method, event: {**event, **fields},
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    render = _rendering(_renderers(style))
    lines = _Lines(sys.stderr)
    structlog.configure(
        processors=[*shared, _notify_listeners, by_module or _dropping_below(lowest), _count, render],
        # Listeners need the lines at `info`, because they say that a state has ended.
        wrapper_class=structlog.make_filtering_bound_logger(min(lowest, logging.INFO)),
        logger_factory=lambda *_: lines,
        cache_logger_on_first_use=False,
    )
    # Log lines of libraries use the same format. Otherwise a traceback of theirs would be forty lines that are not JSON.
    handler = _LibraryHandler(lines)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name, _notify_listeners, _count],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(number(level), logging.WARNING), force=True)
    set_library_levels(levels or {})


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Call the listener for each event that is logged, in the thread that logs, before the event is written.

    Errors of the listener are ignored: a log call must never fail.
    """
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


class _Lines:
    """Writes lines to a stream. Never raises: the stream may be closed, or None."""

    def __init__(self, stream: IO[str] | None) -> None:
        self._stream = stream

    def msg(self, line: str) -> None:
        _recent.append(line if len(line) <= MAX_RECENT_LENGTH else line[:MAX_RECENT_LENGTH])
        if self._stream is not None:
            with suppress(Exception):
                # One call for the whole line, so that lines of other threads do not come between.
                self._stream.write(f"{line}\n")
                self._stream.flush()

    debug = info = warning = error = critical = exception = msg


def _shortened(line: str) -> str:
    """A line that was cut, without its last word: a part of a secret is not recognised as a secret."""
    if len(line) < MAX_RECENT_LENGTH:
        return line
    return line[: max(line.rfind(each) for each in " \"',")] + " …"


class _LibraryHandler(logging.Handler):
    """Writes the records of the standard library's loggers. Never raises."""

    def __init__(self, lines: _Lines) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(Exception):
            self._lines.msg(self.format(_with_message(record)))


def _with_message(record: logging.LogRecord) -> logging.LogRecord:
    """The record, or a copy. If its arguments do not fit into its message, it has the bare message."""
    try:
        message = record.getMessage()
        if record.levelno < logging.WARNING and (harmless := without_secrets(message)) != message:
            record = copy.copy(record)
            record.msg, record.args = harmless, ()
    except Exception:  # noqa: BLE001 - the arguments are values of any kind
        record = copy.copy(record)
        record.msg, record.args = f"{_safe(record.msg)} (its arguments cannot be rendered)", ()
    return record


def _notify_listeners(_logger: object, _method: str, event: Event) -> Event:
    for listener in tuple(_listeners):
        with suppress(Exception):
            listener(event)
    return event


def _count(_logger: object, _method: str, event: Event) -> Event:
    lines[event.get("level", "")] += 1
    return event


def _dropping_below(number: int) -> structlog.typing.Processor:
    """A processor that drops the lines of a lower level."""
    dropped = {name for name in ("debug", "info", "warning") if logging.getLevelNamesMapping()[name.upper()] < number}

    def drop(_logger: object, method: str, event: Event) -> Event:
        if method in dropped:
            raise structlog.DropEvent
        return event

    return drop


def _rendering(renderers: list[structlog.typing.Processor]) -> structlog.typing.Processor:
    """All renderers as one that never raises."""

    def rendered(logger: object, method: str, event: Event) -> Any:
        for renderer in renderers:
            event = cast("Event", renderer(logger, method, event))
        return event

    def render(logger: object, method: str, event: Event) -> Any:
        try:
            return rendered(logger, method, dict(event))
        except Exception:  # noqa: BLE001 - a field may be a value of any kind
            return rendered(logger, method, {name: _safe(value) for name, value in event.items()})

    return render


def _safe(value: object) -> Any:
    """A value that can be rendered for certain."""
    if type(value) in PLAIN:
        return value
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - a value of any kind
        return f"<a {type(value).__name__} that cannot be rendered>"


def _notice(missing: Lost) -> str:
    """The line that reports lost lines. Empty if the level of the log is higher."""
    since = missing.since.isoformat(timespec="seconds") if missing.since else ""
    line = log.warning("log_lines_lost", count=missing.count, since=since, reason=missing.reason)
    return f"{line}\n" if line else ""


def _renderers(style: Style) -> list[structlog.typing.Processor]:
    if are_json(style):
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    # Tracebacks are rendered as text here. ConsoleRenderer would use rich, which shows local variables: also passwords.
    return [structlog.processors.format_exc_info, _make_printable, structlog.dev.ConsoleRenderer()]


def _make_printable(_logger: object, _method: str, event: Event) -> Event:
    """Replace control characters: keys of objects come from outside, and may contain escape sequences."""
    return {
        name: printable(value, allowed="\n\t") if isinstance(value, str) else value for name, value in event.items()
    }


def _is_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()
