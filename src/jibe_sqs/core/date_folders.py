"""Which folders and files of a log bucket are recent, or of a window of time, by the dates in their names. Days are in UTC.

These are dates: `2026/01/31`, `2026-01-31`, `20260131`, `2026/01`, `2026`, and the same as `year=2026/month=01`. A folder
without a date may contain anything. Files are not delivered in the order of their names. So whole days are searched, and
nothing counts as old because something newer was seen.
"""

import calendar
import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Final

import msgspec

_YEAR: Final = re.compile(r"(?:19|20)[0-9]{2}")
_TWO: Final = re.compile(r"[0-9]{2}")
_DAY: Final = re.compile(r"((?:19|20)[0-9]{2})(-?)([0-9]{2})\2([0-9]{2})")
_DAY_IN_NAME: Final = re.compile(rf"(?<![0-9]){_DAY.pattern}(?![0-9])")
# The time is not consumed: what looks like one may be the beginning of the next date.
_MOMENT_IN_NAME: Final = re.compile(
    rf"{_DAY_IN_NAME.pattern}(?=(?:[T_-]([01][0-9]|2[0-3])-?([0-5][0-9])(?:-?([0-5][0-9]))?(?![0-9]))?)"
)
_SECOND, _MINUTE, _DAY_LONG = 1.0, 60.0, 86_400.0


class Days(msgspec.Struct, frozen=True):
    """A range of days. `first` and `last` are included."""

    first: date
    last: date

    def overlaps(self, other: "Days") -> bool:
        """Whether the two ranges have a day in common."""
        return self.first <= other.last and other.first <= self.last

    def is_one_day(self) -> bool:
        """Whether this is a single day."""
        return self.first == self.last


class Window(msgspec.Struct, frozen=True):
    """A range of time, in seconds since the epoch. Both ends are included."""

    start: float
    end: float

    def days(self, late: int) -> Days:
        """Its days, with the `late` days before it: a file may be delivered late, into the folder of an earlier day."""
        first, last = (datetime.fromtimestamp(moment, UTC).date() for moment in (self.start, self.end))
        return Days(first - timedelta(late), last + timedelta(1))

    def overlaps(self, start: float, seconds: float) -> bool:
        """Whether the time from `start` on, for so many seconds, is partly in this window."""
        return start <= self.end and self.start < start + seconds


def recent(now: float, days: int, *, since: float | None = None) -> Days:
    """The last `days` days, with today, at `now` (seconds since the epoch). Also tomorrow, for clocks that are ahead.

    `since`: the time of the last search. Every day that was recent at that time or later is included.
    """
    today = datetime.fromtimestamp(now, UTC).date()
    start = today if since is None else min(today, datetime.fromtimestamp(since, UTC).date())
    return Days(start - timedelta(days - 1), today + timedelta(1))


def days_of(folder: str) -> Days | None:
    """The days of the deepest date in a folder's names. None if there is no date."""
    names = [name.rpartition("=")[2] for name in folder.split("/")]
    found = None
    at = 0
    while at < len(names):
        days, taken = _date(names[at : at + 3])
        found = days or found
        at += taken
    return found


def may_hold_recent(folder: str, window: Days) -> bool:
    """Whether a folder may contain recent files."""
    days = days_of(folder)
    return days is None or days.overlaps(window)


def is_recent(key: str, modified: float | None, window: Days) -> bool:
    """Whether a file is recent, by its folder's day, a date in its name, or `modified` (seconds since the epoch).

    A file may be delivered late, under an older name. So if its folder is not of one day, one recent date is enough.
    A file without any date counts as recent.
    """
    folder, _, name = key.rpartition("/")
    days = days_of(folder)
    if days is not None and days.is_one_day():
        return days.overlaps(window)
    in_name = [day for found in _DAY_IN_NAME.finditer(name) if (day := _day(found[1], found[3], found[4]))]
    if modified is None:
        return not in_name or any(day.overlaps(window) for day in in_name)
    written = datetime.fromtimestamp(modified, UTC).date()
    return written >= window.first or any(day.overlaps(window) for day in in_name)


def is_within(key: str, modified: float | None, window: Window) -> bool:
    """Whether a file is of the window, by `modified` (seconds since the epoch) or by the time in its name.

    One of both is enough: a file that was copied later has only the name. A file that was modified after the window, and
    has no time in its name, is of the window if its folder is of one day of it. A file without any time is of the window.
    """
    if modified is not None and window.overlaps(modified, _SECOND):
        return True
    folder, _, name = key.rpartition("/")
    if moments := [moment for found in _MOMENT_IN_NAME.finditer(name) if (moment := _moment(found))]:
        return any(window.overlaps(start, seconds) for start, seconds in moments)
    if modified is not None and modified < window.start:
        return False
    days = days_of(folder)
    if days is not None and days.is_one_day():
        start = datetime.combine(days.first, datetime.min.time(), UTC).timestamp()
        return window.overlaps(start, _DAY_LONG)
    return modified is None


def shows_today(folders: Sequence[str], now: float) -> bool:
    """Whether one of these folders contains today. True if none of them has a date.

    False: the folder of today does not exist yet.
    """
    dated = [days for folder in folders if (days := days_of(folder))]
    today = datetime.fromtimestamp(now, UTC).date()
    return not dated or any(days.overlaps(Days(today, today)) for days in dated)


def _date(names: Sequence[str]) -> tuple[Days | None, int]:
    """The date at the start of these names, and the number of names that it uses. (None, 1) if there is no date."""
    if found := _DAY.fullmatch(names[0]):
        return _day(found[1], found[3], found[4]), 1
    if not _YEAR.fullmatch(names[0]):
        return None, 1
    year = int(names[0])
    if len(names) < 2 or not _TWO.fullmatch(names[1]) or not 1 <= int(names[1]) <= 12:
        return Days(date(year, 1, 1), date(year, 12, 31)), 1
    month = int(names[1])
    if len(names) > 2 and _TWO.fullmatch(names[2]) and (day := _day(names[0], names[1], names[2])):
        return day, 3
    return Days(date(year, month, 1), date(year, month, calendar.monthrange(year, month)[1])), 2


def _day(year: str, month: str, day: str) -> Days | None:
    try:
        found = date(int(year), int(month), int(day))
    except ValueError:
        return None
    return Days(found, found)


def _moment(found: re.Match[str]) -> tuple[float, float] | None:
    """The start of the time in a name, and for how many seconds it lasts: a second, a minute, or a day."""
    year, _, month, day, hour, minute, second = found.groups()
    try:
        start = datetime(
            int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0), tzinfo=UTC
        )
    except ValueError:
        return None
    return start.timestamp(), _SECOND if second else _MINUTE if hour else _DAY_LONG
