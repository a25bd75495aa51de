"""Explanations as JSON lines and as tables."""

import builtins
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import IO, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from jibe_sqs.commands.explanations import Explanation
from jibe_sqs.commands.output import plain, table_of, write_json_line
from jibe_sqs.core.phrases import counted, short_time

PIPED_WIDTH: Final = 100_000
"""Columns of a table that does not go to a terminal. A program that reads it expects each row on one line."""


def as_lines(sources: Iterable[Iterator[Explanation]], output: IO[str]) -> bool:
    """Write one JSON object per explanation. Returns whether everything could be read."""
    good = True
    for explanations in sources:
        for explanation in explanations:
            good = good and not _is_failure(explanation)
            write_json_line(explanation, output)
    return good


def as_table(sources: Iterable[Iterator[Explanation]], output: IO[str]) -> bool:
    """Write for each source a table, its totals, and its errors. Returns whether everything could be read."""
    console = Console(file=output, width=None if output.isatty() else PIPED_WIDTH)
    good = True
    for explanations in sources:
        rows = list(explanations)
        good = good and not any(map(_is_failure, rows))
        for part in _parts(rows):
            console.print(part, soft_wrap=isinstance(part, Text))
    return good


def _parts(rows: list[Explanation]) -> Iterator[Table | Text]:
    """What is printed for one source."""
    errors = [row for row in rows if "error" in row]
    decided = [row for row in rows if "decision" in row or "announcement" in row]
    source = next((row["source"] for row in decided), "nothing")
    if decided or not errors:
        yield _table(decided)
        yield plain(f"{source}: {_totals(rows)}", style="bold")
    for rule in dict.fromkeys(row["rule"] for row in rows if "rule" in row):
        yield plain(f"{source}: read by {rule}")
    yield from map(_error, errors)
    if (more := sum(row.get("bad_records", 0) for row in rows) - len(errors)) > 0:
        yield plain(f"{errors[0]['source']}: {counted(more, 'more bad record')}", style="yellow")


def _is_failure(explanation: Explanation) -> bool:
    """Whether this is an error. A bad record that its source allows to skip does not count as one."""
    return "error" in explanation and explanation.get("on_bad_record") != "skip"


def _table(rows: list[Explanation]) -> Table:
    table = table_of()
    table.add_column("time", no_wrap=True)
    table.add_column("what", overflow="fold")
    table.add_column("object", overflow="fold")
    table.add_column("decision", overflow="fold")
    for row in rows:
        path = "/".join(part for part in (row["bucket"], row["key"]) if part)
        what = row.get("announcement") or row.get("name") or row.get("kind")
        table.add_row(plain(short_time(row.get("time") or "")), plain(str(what or "")), plain(path), _decision(row))
    return table


def _decision(row: Explanation) -> Text:
    if "announcement" in row:
        return plain(row.get("about") or "read it")
    if row["decision"] == "skip":
        return plain(f"skip: {row['reason']}", style="dim")
    return plain(f"refresh {', '.join(row['folders'])}", style="green")


def _error(row: Explanation) -> Text:
    # For an error of Python, such as `FileNotFoundError`, the class says nothing that the message does not say.
    error = "cannot be read" if hasattr(builtins, row["error"]) else row["error"]
    text = f"{row['source']}: {error}: {row['message']}"
    if row.get("offset") is not None:
        text += f" (offset {row['offset']})"
    if not _is_failure(row):
        return plain(f"{text}: skipped", style="yellow")
    # Only an error in one record has an index. The other records are handled before the message is rejected.
    rejected = ": the message is rejected after its other records are done" if "index" in row else ""
    return plain(text + rejected, style="red")


def _totals(rows: list[Explanation]) -> str:
    """The counts of one source, in words."""
    records = [row for row in rows if "decision" in row]
    skipped = Counter(row["reason"] for row in records if row["decision"] == "skip")
    folders = {folder for row in records for folder in row["folders"]}
    bad = sum(row.get("bad_records", 0) for row in rows)
    # A message's record that cannot be read may also have an explanation: the refresh of its whole bucket.
    unreadable = 0 if bad else sum("index" in row for row in rows)
    files = sum(row.get("announcement") == "log-file" for row in rows)
    nothing = sum(row.get("announcement") == "nothing" for row in rows)
    refreshing = len(records) - skipped.total()
    parts = []
    if records or not (files or nothing):
        parts.append(counted(len(records) + bad, "record"))
    if refreshing:
        parts.append(f"{refreshing:,} for a refresh of {counted(len(folders), 'folder')}")
    parts += [f"{count:,} {reason}" for reason, count in skipped.most_common()]
    parts += [f"{bad:,} bad"] if bad else []
    parts += [f"{unreadable:,} not readable"] if unreadable else []
    parts += [f"{counted(files, 'log file')} to read"] if files else []
    parts += [f"{nothing:,} with nothing to do"] if nothing else []
    return ", ".join(parts)
