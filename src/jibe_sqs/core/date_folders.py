"""What of a log bucket is recent, as far as the names of folders and files tell. All days are UTC's.

Names are dates in any of these ways: `2026/01/31`, `2026-01-31`, `20260131`, `2026/01`, `2026`, and the same as
`year=2026/month=01`. What tells no date may hold anything. A name is no order of delivery: so whole days are looked at,
and nothing is ever taken for old because something newer was seen.
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


class Days(msgspec.Struct, frozen=True):
    """From the first to the last, both included."""

    first: date
    last: date

    def meets(self, other: "Days") -> bool:
        """Whether they have a day in common."""
        return self.first <= other.last and other.first <= self.last

    def are_one(self) -> bool:
        """Whether it is a single day."""
        return self.first == self.last


def recent(now: float, days: int, *, since: float | None = None) -> Days:
    """Today and so many days with it, by `now` (seconds since the epoch); and tomorrow, for clocks that are ahead.

    `since`: when that was last looked at: what has been recent from then on still is.
    """
    today = datetime.fromtimestamp(now, UTC).date()
    then = today if since is None else min(today, datetime.fromtimestamp(since, UTC).date())
    return Days(then - timedelta(days - 1), today + timedelta(1))


def told(folder: str) -> Days | None:
    """The days that a folder's names tell, the deepest date if there are several; None for none."""
    names = [name.rpartition("=")[2] for name in folder.split("/")]
    found = None
    at = 0
    while at < len(names):
        days, taken = _date(names[at : at + 3])
        found = days or found
        at += taken
    return found


def may_hold_recent(folder: str, window: Days) -> bool:
    """Whether a folder is worth looking into."""
    days = told(folder)
    return days is None or days.meets(window)


def is_recent(key: str, modified: float | None, window: Days) -> bool:
    """Whether a file is: by its folder's day, a date in its name, or when it was written (seconds since the epoch).

    A file may be delivered late, under an older name: so one that says yes is enough. So is nothing that says no.
    """
    folder, _, name = key.rpartition("/")
    days = told(folder)
    if days is not None and days.are_one():
        return days.meets(window)
    in_name = [day for found in _DAY_IN_NAME.finditer(name) if (day := _day(found[1], found[3], found[4]))]
    if modified is None:
        return not in_name or any(day.meets(window) for day in in_name)
    written = datetime.fromtimestamp(modified, UTC).date()
    return written >= window.first or any(day.meets(window) for day in in_name)


def shows_today(folders: Sequence[str], now: float) -> bool:
    """Whether of these folders, if they tell dates, one is today's: otherwise today's is still to come."""
    dated = [days for folder in folders if (days := told(folder))]
    today = datetime.fromtimestamp(now, UTC).date()
    return not dated or any(days.meets(Days(today, today)) for days in dated)


def _date(names: Sequence[str]) -> tuple[Days | None, int]:
    """The date at the beginning of these names, and how many of them it takes; None, and one, if there is none."""
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
