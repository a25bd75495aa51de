"""How the commands print: JSON lines for programs, tables for people."""

from collections.abc import Mapping
from typing import IO, Any

import orjson
from rich.table import Table
from rich.text import Text

from jibe_sqs.telemetry.printable import printable


def write_json_line(row: Mapping[str, Any], output: IO[str]) -> None:
    """Write one JSON object and a newline. Times are written as ISO 8601 with a `Z`."""
    output.write(orjson.dumps(row, option=orjson.OPT_UTC_Z).decode() + "\n")


def table_of(*, expand: bool = False) -> Table:
    """A table without borders."""
    return Table(box=None, pad_edge=False, header_style="bold", expand=expand)


def plain(text: str, style: str = "") -> Text:
    """Text for the console as it is: brackets are not markup, and control characters are replaced."""
    return Text(printable(text), style=style)
