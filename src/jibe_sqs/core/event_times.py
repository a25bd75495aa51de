"""The time of an event, in each form in which a source writes it.

ISO 8601 is parsed in one place, `iso_time`. Three formats are not ISO 8601 and stay with their readers: the text lines
of S3 access logs (`[31/Jan/2026:12:00:00 +0000]`), the nanoseconds of audit logs, which a float cannot hold, and the
dates in folder names, which have no time of day.
"""

import re
from datetime import UTC, datetime
from typing import Final

from jibe_sqs.core.model import UNKNOWN_TIME

EARLIEST: Final = 1_136_073_600.0
"""The start of 2006, the year in which S3 was launched. An earlier time is the zero of a field that was not set, or
counts something else."""

_WITH_SECONDS: Final = re.compile(r".{8,10}?\D(?:\d\d:\d\d:\d\d|\d{6})")
"""A date, and a time to the second. A less exact time would look earlier than the event was."""

_MILLISECONDS: Final = 1e11
"""A number from here on counts milliseconds: as seconds it would be after the year 5138, as milliseconds it is 1973."""
_MICROSECONDS: Final = 1e14
_NANOSECONDS: Final = 1e17


def event_time(value: object) -> float:
    """Seconds since the epoch, from ISO 8601 or a number of (milli-, micro-, nano-) seconds.

    `UNKNOWN_TIME` if the value is not a time, is less exact than a second, or cannot be true.
    """
    seconds = _seconds(value)
    return seconds if seconds is not None and EARLIEST <= seconds < UNKNOWN_TIME else UNKNOWN_TIME


def iso_time(text: str) -> datetime:
    """An ISO 8601 time, in UTC. A time without an offset counts as UTC. Raises `ValueError`."""
    moment = datetime.fromisoformat(text)
    try:
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except OverflowError as error:
        raise ValueError(f"in UTC it is not in the years 1 to 9999: {text!r}") from error


def _seconds(value: object) -> float | None:
    try:
        if isinstance(value, str):
            return _of_text(value.strip())
        if isinstance(value, int | float) and not isinstance(value, bool):
            return _of_number(value)
    except (ValueError, OverflowError):
        pass
    return None


def _of_text(text: str) -> float:
    if text.isascii() and text.replace(".", "", 1).isdigit() and len(text) > 8:
        return _of_number(float(text[:40]))
    if not _WITH_SECONDS.match(text):
        raise ValueError("less exact than a second")
    return iso_time(text).timestamp()


def _of_number(number: float) -> float:
    for start, unit in ((_NANOSECONDS, 1e9), (_MICROSECONDS, 1e6), (_MILLISECONDS, 1e3)):
        if number >= start:
            return number / unit
    return float(number)
