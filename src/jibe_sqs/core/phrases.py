"""Counts, durations and times as people read them."""

from datetime import UTC, datetime


def utc_iso(seconds: float, *, precision: str = "seconds") -> str:
    """ISO 8601 with a `Z`, from seconds since the epoch. `precision`: a `timespec` of `datetime.isoformat`."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec=precision).replace("+00:00", "Z")


def short_time(iso_time: str) -> str:
    """A time for a table, without the year, the fraction and the zone: `01-31 12:00:00`. Empty if there is no time."""
    return iso_time[5:19].replace("T", " ")


def counted(count: int, noun: str, plural: str = "") -> str:
    """A count and its noun: `1 record`, `2,000 records`. `plural`: if it does not end in a mere `s`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {plural or f'{noun}s'}"


def duration(seconds: float) -> str:
    """A duration in its largest unit that is whole, or in seconds: `4 days`, `90 minutes`, `45 seconds`."""
    whole = round(seconds)
    for unit, name in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if whole and whole % unit == 0:
            return counted(whole // unit, name)
    if whole >= 2 * 86_400:
        return counted(whole // 86_400, "day")
    return counted(whole // 3600, "hour") if whole >= 2 * 3600 else counted(whole, "second")


def about(seconds: float) -> str:
    """A duration in one short unit, or two: `4 s`, `3 min`, `1 h 20 min`, `2 d 4 h`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min"
    (first, second), size = (("h", "min"), 3600) if whole < 86_400 else (("d", "h"), 86_400)
    rest = whole % size // (60 if size == 3600 else 3600)
    return f"{whole // size} {first}" + f" {rest} {second}" * bool(rest)
