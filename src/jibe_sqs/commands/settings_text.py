"""The effective settings, as JSON lines and as a table."""

from collections.abc import Iterable
from typing import IO

import orjson
from rich.console import Console

from jibe_sqs.commands.output import plain, table_of, write_json_line
from jibe_sqs.telemetry.status import SettingStatus


def as_lines(settings: Iterable[SettingStatus], output: IO[str]) -> None:
    """Write one JSON object for each setting."""
    for each in settings:
        write_json_line({"name": each.name, "value": each.value, "source": each.source}, output)


def as_table(settings: Iterable[SettingStatus], output: IO[str]) -> None:
    """Write a table. Settings that are not defaults are bold."""
    table = table_of()
    for column in ("setting", "value", "source"):
        table.add_column(column, overflow="fold")
    for each in settings:
        style = "" if each.source == "default" else "bold"
        table.add_row(plain(each.name, style), plain(_text(each.value), style), plain(each.source, style))
    Console(file=output, highlight=False).print(table)


def _text(value: object) -> str:
    if value in (None, "", [], {}):
        return "-"
    return value if isinstance(value, str) else orjson.dumps(value).decode()
