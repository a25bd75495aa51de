"""What a backfill prints at its end: one JSON object for programs, or a few lines for people."""

from collections.abc import Sequence
from typing import IO, Any, Final

import msgspec
from rich.console import Console
from rich.filesize import decimal

from jibe_sqs.commands.backfill_progress import Counts
from jibe_sqs.commands.output import plain, write_json_line
from jibe_sqs.core.phrases import counted

MAX_SHOWN: Final = 20
"""Failures that are printed for people. With --json, as many as are kept."""


class FailedFile(msgspec.Struct, frozen=True):
    """A file, or a folder of a log bucket, that could not be processed. `file`: empty if the reason names it."""

    file: str
    reason: str


class Result(msgspec.Struct, frozen=True):
    """The end of a backfill. `is_complete`: it was not stopped before. `failed`: the first failures."""

    counts: Counts
    seconds: float
    is_complete: bool
    failed: Sequence[FailedFile]

    @property
    def exit_code(self) -> int:
        """0 if everything is done."""
        return 0 if self.is_complete and not self.counts.failed else 1


def as_json_object(result: Result, output: IO[str]) -> None:
    """One JSON object on one line."""
    counts = result.counts
    row: dict[str, Any] = {
        "files": counts.files,
        "read": counts.read,
        "events": counts.events,
        "refreshes": counts.refreshes,
        "failed": counts.failed,
        "bytes": counts.bytes_read,
        "seconds": round(result.seconds, 1),
        "complete": result.is_complete,
        "failures": [msgspec.to_builtins(each) for each in result.failed],
    }
    write_json_line(row, output)


def as_text(result: Result, output: IO[str]) -> None:
    """The failures, and one paragraph with the counts."""
    console = Console(file=output, highlight=False)
    for each in result.failed[:MAX_SHOWN]:
        about = each.reason if each.file in each.reason else f"{each.file}: {each.reason}"
        console.print(plain(about, style="red"), soft_wrap=True)
    if (more := result.counts.failed - min(MAX_SHOWN, len(result.failed))) > 0:
        console.print(plain(f"and {counted(more, 'more failure')}", style="red"))
    counts = result.counts
    console.print(
        plain(
            f"{counted(counts.files, 'file')} in the time range: {counts.read:,} read ({decimal(counts.bytes_read)}), "
            f"{counts.failed:,} failed. {counted(counts.events, 'event')}, {counted(counts.refreshes, 'refresh', 'refreshes')}. "
            f"It took {result.seconds:,.0f} s.",
            style="bold",
        )
    )
    if not result.is_complete:
        console.print(plain("It was stopped. Run the same command again to continue.", style="yellow"))
    elif counts.failed:
        console.print(
            plain("Fix the cause, and run the same command again: only these files are read.", style="yellow")
        )
