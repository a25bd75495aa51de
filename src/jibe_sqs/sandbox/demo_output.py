"""The demo's output: its progress while it runs, and its summary."""

import sys
import textwrap
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import IO, Final, Self

import msgspec
import orjson
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from jibe_sqs.sandbox.change_feeds import LOG_FORMATS
from jibe_sqs.sandbox.demo import Progress
from jibe_sqs.sandbox.demo_summary import Summary

NBSP: Final = "\N{NO-BREAK SPACE}"
COLUMN_GAP: Final = 2
"""Columns between the two columns of the table."""


class Watching:
    """Shows progress on stderr: a bar on a terminal, otherwise one line for each phase. `quiet`: nothing."""

    def __init__(self, *, quiet: bool, phase: str = "") -> None:
        """`phase`: the phase that has been printed already."""
        self._quiet = quiet
        self._console = Console(stderr=True)
        self._phase = phase
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(bar_width=12, pulse_style="cyan"),
            TextColumn("{task.fields[counts]}"),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            disable=quiet or not sys.stderr.isatty(),
        )
        self._task = self._bar.add_task(phase, total=None, counts="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def __call__(self, progress: Progress) -> None:
        """Show the current progress."""
        if self._quiet:
            return
        if self._bar.disable and progress.phase != self._phase:
            print(f"{progress.phase} …", file=sys.stderr, flush=True)
        self._phase = progress.phase
        counts = f"{progress.changes} changes, {progress.waiting} waiting" if progress.changes else ""
        self._bar.update(self._task, description=progress.phase, counts=counts)


def as_json_object(summary: Summary, output: IO[str]) -> None:
    """One JSON object on one line."""
    output.write(orjson.dumps(msgspec.to_builtins(summary)).decode() + "\n")


def as_text(summary: Summary, output: IO[str]) -> None:
    """Text for people, at most 80 columns wide."""
    console = Console(file=output, highlight=False)
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    rows = list(_rows(summary))
    room = console.width - max(len(name) for name, _ in rows) - COLUMN_GAP
    for name, value in rows:
        table.add_row(name, _wrapped(value, room))
    console.print()
    console.print(table)
    console.print()
    if summary.in_sync:
        console.print(
            Text(f"in sync: Access Anywhere shows all {summary.objects} objects as they are in S3", "bold green")
        )
        return
    wrong = f"{summary.missing} missing, {summary.stale} stale, {summary.extra} extra"
    console.print(Text(f"NOT in sync. Of {summary.objects} objects: {wrong}", "bold red"))
    for example in summary.examples:
        console.print(Text(f"  {example}"))


def _rows(summary: Summary) -> Iterator[tuple[str, str]]:
    """The rows of the table. A non-breaking space keeps a number and its word on one line."""
    yield "changes made", f"{summary.changes} ({_listed(summary.changes_by_kind)})"
    yield from _delivered(summary)
    yield "records read", f"{summary.records}, {_counted(summary.events, 'of')} them needed a refresh"
    yield "skipped", _listed(summary.skipped) or "0"
    needed = _counted(summary.refreshes_for_events, "that")
    others = "and parent folders and subfolders that these needed"
    yield "refreshes", f"{summary.refreshes} by Access Anywhere: {needed} events needed, {others}"
    yield "coalescing", f"{summary.coalescing}{NBSP}events for each refresh that events needed"
    if summary.lag is not None:
        yield (
            "lag",
            f"p50{NBSP}{summary.lag.p50:.1f}{NBSP}s, p99{NBSP}{summary.lag.p99:.1f}{NBSP}s, after the change was logged",
        )
    if summary.hosts:
        yield "requests to AWS", _listed(summary.hosts)
    yield from _disturbances(summary)
    yield "took", f"{summary.seconds:.0f}{NBSP}s (seed{NBSP}{summary.seed})"


def _delivered(summary: Summary) -> Iterator[tuple[str, str]]:
    """How the changes were announced."""
    in_files = {feed: count for feed, count in summary.formats.items() if feed in LOG_FORMATS}
    in_messages = {feed: count for feed, count in summary.formats.items() if feed not in LOG_FORMATS}
    if in_files:
        yield "log files", f"{summary.log_files} ({_listed(in_files)})"
    if in_messages:
        yield "events", f"{sum(in_messages.values())} ({_listed(in_messages)})"
    if summary.swept:
        yield "swept", f"{_counted(summary.swept, 'log')} files, whose notifications were lost"
    else:
        yield "messages", str(summary.messages)


def _disturbances(summary: Summary) -> Iterator[tuple[str, str]]:
    """What went wrong, on purpose or not."""
    if summary.faults:
        faults = _counted(sum(summary.faults.values()), "injected")
        yield (
            "faults",
            f"{_counted(summary.calls, 'calls')} to Access Anywhere; {faults} faults: {_listed(summary.faults)}",
        )
    if summary.kills:
        yield "kills", f"{summary.kills} (kill -9)"
    if summary.kills or summary.redelivered or summary.faults:
        received = (f"{_counted(times, 'for')} the {_nth(nth)}{NBSP}time" for nth, times in summary.receives.items())
        yield "received", ", ".join(received)
        yield "not fetched again", f"{_counted(summary.files_not_fetched_again, 'log')} files announced again"
    if summary.errors:
        yield "errors", _listed(summary.errors)
    if summary.dead_letters or summary.faults:
        yield "dead letters", str(summary.dead_letters)


def _wrapped(text: str, width: int) -> str:
    """Lines of at most this width. `rich` would also break a line at a non-breaking space."""
    lines = textwrap.wrap(text, max(1, width), break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines).replace(NBSP, " ")


def _nth(number: str) -> str:
    return {"1": "1st", "2": "2nd", "3": "3rd"}.get(number, f"{number}th")


def _counted(count: int, word: str) -> str:
    return f"{count}{NBSP}{word}"


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(_counted(count, name) for name, count in sorted(counts.items(), key=lambda item: -item[1]))
