"""Who changed objects, for people and for programs."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import IO

import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jibe_sqs.core.decisions import Seen
from jibe_sqs.telemetry.printable import printable


def as_lines(principals: Mapping[str, Seen], output: IO[str]) -> None:
    """One JSON object a line: `principal`, `first`, `last` (ISO 8601, UTC) and `count`; the most active first."""
    for who, seen in _by_count(principals):
        row = {"principal": who, "first": _iso(seen.first), "last": _iso(seen.last), "count": seen.count}
        output.write(orjson.dumps(row).decode() + "\n")


def as_table(principals: Mapping[str, Seen], output: IO[str]) -> None:
    """A table, the most active first."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("changes", justify="right")
    table.add_column("first seen", no_wrap=True)
    table.add_column("last seen", no_wrap=True)
    table.add_column("who", overflow="fold")
    for who, seen in _by_count(principals):
        table.add_row(str(seen.count), _iso(seen.first), _iso(seen.last), Text(printable(who)))
    Console(file=output).print(table if principals else "nobody was seen to change objects yet")


def _by_count(principals: Mapping[str, Seen]) -> list[tuple[str, Seen]]:
    return sorted(principals.items(), key=lambda item: (-item[1].count, item[0]))


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
