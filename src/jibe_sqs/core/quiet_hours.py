"""Quiet hours: a part of each day, by the clock of a place, in which work that can wait does so."""

import re
from datetime import datetime, time, timedelta, tzinfo
from typing import Final, Self

import msgspec

MAX_HOURS: Final = 10
"""SQS hides a message for twelve hours, and the change to winter time makes a night an hour longer."""
_FORM: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)\s*-\s*([01]\d|2[0-3]):([0-5]\d)")


class QuietHours(msgspec.Struct, frozen=True):
    """From `start` to `end`, by the clocks of `zone`. They go over midnight if `end` is before `start`."""

    start: time
    end: time
    zone: tzinfo

    @classmethod
    def parsed(cls, text: str, zone: tzinfo) -> Self:
        """Parse a text such as `22:00-06:00`. Raises `ValueError`."""
        found = _FORM.fullmatch(text.strip())
        if found is None:
            raise ValueError("not hours of a day: write their begin and end, such as 22:00-06:00")
        begin_hour, begin_minute, end_hour, end_minute = map(int, found.groups())
        hours = cls(time(begin_hour, begin_minute), time(end_hour, end_minute), zone)
        minutes = (end_hour - begin_hour) * 60 + end_minute - begin_minute
        if not 0 < minutes % 1440 <= MAX_HOURS * 60:
            raise ValueError(f"quiet hours may last for {MAX_HOURS} hours at most, because messages wait for their end")
        return hours

    def contain(self, moment: float) -> bool:
        """Whether this moment (seconds since the epoch) is in the quiet hours."""
        now = datetime.fromtimestamp(moment, self.zone).time()
        if self.start < self.end:
            return self.start <= now < self.end
        return now >= self.start or now < self.end

    def end_after(self, moment: float) -> float:
        """When the quiet hours end that contain this moment (seconds since the epoch).

        If the clocks are changed meanwhile, and their end exists twice or not at all, this may differ by the change from the
        moment from which `contain` is false. It is later than `moment`.
        """
        now = datetime.fromtimestamp(moment, self.zone)
        day = now.date() if now.time() < self.end else now.date() + timedelta(days=1)
        end = datetime.combine(day, self.end, self.zone)
        # If it exists twice, and the first has passed, this is between the two.
        return end.timestamp() if end.timestamp() > moment else end.replace(fold=1).timestamp()
