"""Log lines on standard error: an event name and its fields. JSON, or colored text on a terminal."""

import logging
import sys
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager, suppress
from typing import Any, Literal

import structlog

from jibe_sqs.telemetry.printable import printable

Style = Literal["auto", "json", "console"]

Event = MutableMapping[str, Any]
"""The name of the event in `event`, its `level`, and its fields."""
Listener = Callable[[Event], None]

_listeners: list[Listener] = []


def configure(level: str, style: Style) -> None:
    """Configure logging. Called once at the start with defaults, and again when the settings are loaded."""
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderers = _renderers(style)
    structlog.configure(
        processors=[*shared, _notify_listeners, *renderers],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    # Log lines of libraries use the same format. Otherwise a traceback of theirs would be forty lines that are not JSON.
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name, _notify_listeners],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(number, logging.WARNING), force=True)


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


def _notify_listeners(_logger: object, _method: str, event: Event) -> Event:
    for listener in tuple(_listeners):
        with suppress(Exception):
            listener(event)
    return event


def _renderers(style: Style) -> list[structlog.typing.Processor]:
    if style == "json" or (style == "auto" and not sys.stderr.isatty()):
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    # Tracebacks are rendered as text here. ConsoleRenderer would use rich, which shows local variables: also passwords.
    return [structlog.processors.format_exc_info, _make_printable, structlog.dev.ConsoleRenderer()]


def _make_printable(_logger: object, _method: str, event: Event) -> Event:
    """Replace control characters: keys of objects come from outside, and may contain escape sequences."""
    return {
        name: printable(value, allowed="\n\t") if isinstance(value, str) else value for name, value in event.items()
    }
