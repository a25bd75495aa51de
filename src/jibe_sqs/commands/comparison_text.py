"""Shows a comparison: its progress, and its result as text or as JSON."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Final

from rich.console import Console
from rich.live import Live
from rich.text import Text

from jibe_sqs.commands.comparison_totals import DifferentFolder, Totals
from jibe_sqs.commands.output import plain, table_of, write_json_line
from jibe_sqs.core.comparison import Kind
from jibe_sqs.core.phrases import counted
from jibe_sqs.telemetry.printable import LINE_WIDTH, printable, wrapped

SHOWN_FOLDERS: Final = 20
"""Folders in the text. The JSON object has more."""
NUMBERS_WIDTH: Final = 46
"""Columns of the table beside the folder, for numbers up to 99,999,999."""
REFRESHES_PER_SECOND: Final = 4


def as_json_object(totals: Totals, output: IO[str], *, sample: float) -> None:
    """Write one JSON object."""
    write_json_line({**totals.as_dict(), "sample": sample if sample < 1 else None, "skipped": totals.skipped}, output)


def as_text(totals: Totals, output: IO[str], *, sample: float) -> None:
    """Write the folders with the most differences, some examples, and the totals. At most 80 columns."""
    console = Console(file=output, width=LINE_WIDTH if not output.isatty() else None)
    if worst := totals.worst:
        _write_folders(worst, console)
        _write_examples(totals, output)
    for failure in totals.failures:
        output.write("\n".join(wrapped(f"FAILED {failure.folder}: {failure.reason}", indent="    ")) + "\n")
    lines = [f"{counted(totals.objects, 'object')} in {counted(totals.folders, 'folder')} compared"]
    lines.append(", ".join(f"{totals.counts[kind]:,} {kind}" for kind in Kind) + f", {totals.repaired:,} repaired")
    if sample < 1:
        lines.append(
            f"This is a sample: {sample:.4%} of the folders. {counted(totals.skipped, 'folder')} not compared."
        )
    if totals.failed:
        lines.append(f"{counted(totals.failed, 'failure')}: those folders are not compared, or not repaired")
    lines.append(_verdict(totals, sample))
    output.write("\n".join(lines) + "\n")


@contextmanager
def progress(totals: Totals, output: IO[str]) -> Iterator[None]:
    """Show the totals while they grow, if `output` is a terminal."""
    console = Console(file=output)
    if not console.is_terminal:
        yield
        return
    began = time.monotonic()

    def line() -> Text:
        rate = totals.objects / max(time.monotonic() - began, 1)
        return plain(
            f"{totals.stage}: {totals.folders:,} folders, {totals.objects:,} objects ({rate:,.0f}/s), "
            f"{totals.differences:,} different, {totals.repaired:,} repaired"
        )

    with Live(get_renderable=line, console=console, refresh_per_second=REFRESHES_PER_SECOND, transient=True):
        yield


def _write_folders(worst: list[DifferentFolder], console: Console) -> None:
    table = table_of(expand=True)
    table.add_column("folder", no_wrap=True, ratio=1)
    for name in ("objects", *Kind):
        table.add_column(name, justify="right", no_wrap=True)
    for each in worst[:SHOWN_FOLDERS]:
        numbers = (each.objects, each.missing, each.stale, each.extra, each.unshowable)
        folder = _shortened(printable(each.folder), console.width - NUMBERS_WIDTH)
        table.add_row(plain(folder), *(f"{number:,}" for number in numbers))
    console.print(table)
    if len(worst) > SHOWN_FOLDERS:
        console.print("Only the folders with the most differences are shown.")


def _write_examples(totals: Totals, output: IO[str]) -> None:
    output.write("\nexamples\n")
    for each in totals.examples:
        output.write(f"  {each.kind:<10}  {_shortened(printable(f's3://{each.bucket}/{each.key}'), LINE_WIDTH - 14)}\n")
    output.write("\n")


def _shortened(text: str, width: int) -> str:
    """The end of a path or an address says more than its beginning."""
    return text if len(text) <= width else f"…{text[1 - width :]}"


def _verdict(totals: Totals, sample: float) -> str:
    if not totals.in_sync:
        return f"NOT IN SYNC: {counted(totals.differences, 'difference')}"
    return "in sync" if sample >= 1 else "in sync, as far as the sample shows"
