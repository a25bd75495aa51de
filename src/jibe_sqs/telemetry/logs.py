"""Log lines: an event's name and its fields, to standard error; JSON when nobody is looking."""

import logging
import sys
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager, suppress
from typing import Any, Literal

import structlog

from jibe_sqs.telemetry.printable import printable

Style = Literal["auto", "json", "console"]

Event = MutableMapping[str, Any]
"""Its name as `event`, its `level`, and its fields."""
Listener = Callable[[Event], None]

_listeners: list[Listener] = []


def configure(level: str, style: Style) -> None:
    """Before anything is logged; again when the configuration is known."""
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last = _renderers(style)
    structlog.configure(
        processors=[*shared, _tell, *last],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    # What libraries log comes out in the same way, or a traceback of theirs would be forty lines that are no JSON.
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name, _tell],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(number, logging.WARNING), force=True)


@contextmanager
def told_to(listener: Listener) -> Iterator[None]:
    """Meanwhile it is told of each event that is logged, in whichever thread, before the event is written.

    What it raises is ignored: nobody may fail for having logged something.
    """
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def _tell(_logger: object, _method: str, event: Event) -> Event:
    for listener in tuple(_listeners):
        with suppress(Exception):
            listener(event)
    return event


def _renderers(style: Style) -> list[structlog.typing.Processor]:
    if style == "json" or (style == "auto" and not sys.stderr.isatty()):
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    # Tracebacks as text: left to the console, rich would show each frame's variables with them, passwords too.
    return [structlog.processors.format_exc_info, _tame, structlog.dev.ConsoleRenderer()]


def _tame(_logger: object, _method: str, event: Event) -> Event:
    """Keys are other people's: what an escape in one of them does to a terminal is not for them to choose."""
    return {
        name: printable(value, allowed="\n\t") if isinstance(value, str) else value for name, value in event.items()
    }
