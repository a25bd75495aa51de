"""The demo's output: its progress while it runs, and its summary."""

import sys
from types import TracebackType
from typing import IO, Self

import msgspec
import orjson
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from jibe_sqs.sandbox.demo import Progress
from jibe_sqs.sandbox.demo_summary import Summary


class Watching:
    """Shows progress on stderr: a bar on a terminal, otherwise one line for each phase. `quiet`: nothing."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._console = Console(stderr=True)
        self._phase = ""
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(bar_width=12, pulse_style="cyan"),
            TextColumn("{task.fields[counts]}"),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            disable=quiet or not sys.stderr.isatty(),
        )
        self._task = self._bar.add_task("", total=None, counts="")

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
    for name, value in _rows(summary):
        table.add_row(name, value)
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


def _rows(summary: Summary) -> list[tuple[str, str]]:
    rows = [
        ("changes made", f"{summary.changes} ({_listed(summary.changes_by_kind)})"),
        ("formats", _listed(summary.formats)),
        ("log files", f"{summary.log_files}; {summary.messages} messages"),
        ("records read", f"{summary.records}, {summary.events} of them needed a refresh"),
        ("skipped", _listed(summary.skipped) or "0"),
        (
            "refreshes",
            f"{summary.refreshes} by Access Anywhere, {summary.refreshes_for_events} of them for events",
        ),
        (
            "coalescing",
            f"{summary.coalescing} events for each such refresh",
        ),
    ]
    if summary.lag is not None:
        rows.append(("lag", f"p50 {summary.lag.p50:.1f} s, p99 {summary.lag.p99:.1f} s, after the change was logged"))
    if summary.hosts:
        rows.append(("AWS hosts", _listed(summary.hosts)))
    if summary.swept:
        rows.append(("swept", f"{summary.swept} log files whose notifications were lost"))
    if summary.faults:
        rows.append(("faults", f"{summary.calls} calls of Access Anywhere, with faults: {_listed(summary.faults)}"))
    if summary.kills:
        rows.append(("kills", f"{summary.kills} (kill -9)"))
    if summary.kills or summary.redelivered or summary.faults:
        rows.append(
            ("received", ", ".join(f"{times} for the {_nth(nth)} time" for nth, times in summary.receives.items()))
        )
        rows.append(("not fetched again", f"{summary.files_not_fetched_again} log files announced again"))
    if summary.errors:
        rows.append(("errors", _listed(summary.errors)))
    if summary.dead_letters or summary.faults:
        rows.append(("dead letters", str(summary.dead_letters)))
    rows.append(("took", f"{summary.seconds:.0f} s (seed {summary.seed})"))
    return rows


def _nth(number: str) -> str:
    return {"1": "1st", "2": "2nd", "3": "3rd"}.get(number, f"{number}th")


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items(), key=lambda item: -item[1]))
