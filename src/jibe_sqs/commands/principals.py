"""The principals that changed objects, as JSON lines and as a table."""

from collections.abc import Mapping
from typing import IO

from rich.console import Console

from jibe_sqs.commands.output import plain, table_of, write_json_line
from jibe_sqs.core.phrases import utc_iso
from jibe_sqs.core.principals import Seen


def as_lines(principals: Mapping[str, Seen], output: IO[str]) -> None:
    """Write one JSON object per principal: `principal`, `first`, `last` (ISO 8601, UTC) and `count`. Most active first."""
    for principal, seen in _by_count(principals):
        row = {"principal": principal, "first": utc_iso(seen.first), "last": utc_iso(seen.last), "count": seen.count}
        write_json_line(row, output)


def as_table(principals: Mapping[str, Seen], output: IO[str]) -> None:
    """Write a table with one row per principal. Most active first."""
    table = table_of()
    table.add_column("changes", justify="right")
    table.add_column("first seen", no_wrap=True)
    table.add_column("last seen", no_wrap=True)
    table.add_column("who", overflow="fold")
    for principal, seen in _by_count(principals):
        table.add_row(str(seen.count), utc_iso(seen.first), utc_iso(seen.last), plain(principal))
    Console(file=output).print(table if principals else "no changes of objects are recorded yet")


def _by_count(principals: Mapping[str, Seen]) -> list[tuple[str, Seen]]:
    return sorted(principals.items(), key=lambda item: (-item[1].count, item[0]))
