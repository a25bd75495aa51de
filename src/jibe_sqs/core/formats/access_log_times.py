"""The times in access logs, in seconds since the epoch. None if a time cannot be read, or is earlier than S3."""

import re
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from typing import Final

from jibe_sqs.core.event_times import EARLIEST, event_time
from jibe_sqs.core.model import LATEST, UNKNOWN_TIME, Kind

MONTHS: Final = {
    name: number
    for number, name in enumerate(
        (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"), 1
    )
}
_DAY = re.compile(rb"\[([0-9]{2})/([A-Z][a-z]{2})/([0-9]{4}):([0-9]{2}):([0-9]{2}):([0-9]{2})")
_ZONE = re.compile(rb"([+-])([0-9]{2})([0-9]{2})\]")
_MAX_LENGTH: Final = 64


def time_in_line(day: bytes, zone: bytes) -> float | None:
    """The time of `[31/Jan/2026:12:00:00` and `+0000]`."""
    # The cache must not keep the long texts of a hostile file.
    return _epoch(day, zone) if len(day) == 21 and len(zone) == 6 else None


def time_in_json(value: object) -> float | None:
    """The time in any form that `event_time` reads, or in the form of the text lines."""
    if isinstance(value, str) and len(value) <= _MAX_LENGTH:
        day, _, zone = value.strip().strip("[]").partition(" ")
        found = time_in_line(b"[" + day.encode("utf-8", "replace"), zone.encode("utf-8", "replace") + b"]")
        if found is not None:
            return found
    time = event_time(value)
    return None if time == UNKNOWN_TIME else time


def visible_at(start: float | None, milliseconds: float | None, kind: Kind) -> float:
    """The end of the request, when its change became visible. `UNKNOWN_TIME`, so that it counts as new, if it is not known.

    A deletion takes almost no time, so its duration may be missing. An upload may take hours, so its end is not known
    without the duration.
    """
    if milliseconds is None and kind is Kind.DELETED:
        milliseconds = 0
    if start is None or milliseconds is None:
        return UNKNOWN_TIME
    return min(start + milliseconds / 1000, LATEST)


@lru_cache(maxsize=4096)
def _epoch(day: bytes, zone: bytes) -> float | None:
    found, offset = _DAY.fullmatch(day), _ZONE.fullmatch(zone)
    month = MONTHS.get(found[2]) if found else None
    if found is None or offset is None or month is None:
        return None
    try:
        ahead = timedelta(hours=int(offset[2]), minutes=int(offset[3]))
        tz = timezone(-ahead if offset[1] == b"-" else ahead) if ahead else UTC
        moment = datetime(int(found[3]), month, int(found[1]), int(found[4]), int(found[5]), int(found[6]), tzinfo=tz)
        seconds = moment.astimezone(UTC).timestamp()
    except (ValueError, OverflowError):
        return None
    return seconds if seconds >= EARLIEST else None
