"""How the commands print: JSON lines for programs, tables for people."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import IO, Any

import orjson
from rich.table import Table
from rich.text import Text

from jibe_sqs.telemetry.printable import printable


def write_json_line(row: Mapping[str, Any], output: IO[str]) -> None:
    """Write one JSON object and a newline. Times are written as ISO 8601 with a `Z`."""
    output.write(orjson.dumps(row, option=orjson.OPT_UTC_Z).decode() + "\n")


def utc_iso(seconds: float, *, precision: str = "seconds") -> str:
    """ISO 8601 with a `Z`, from seconds since the epoch. `precision`: a `timespec` of `datetime.isoformat`."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec=precision).replace("+00:00", "Z")


def short_time(iso_time: str) -> str:
    """A time for a table, without the year, the fraction and the zone: `01-31 12:00:00`. Empty if there is no time."""
    return iso_time[5:19].replace("T", " ")


def table_of(*, expand: bool = False) -> Table:
    """A table without borders."""
    return Table(box=None, pad_edge=False, header_style="bold", expand=expand)


def plain(text: str, style: str = "") -> Text:
    """Text for the console as it is: brackets are not markup, and control characters are replaced."""
    return Text(printable(text), style=style)


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
