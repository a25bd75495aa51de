"""The progress of a backfill on standard error: two lines that change on a terminal, or else a line from time to time."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Final

import msgspec
from rich.console import Console, RenderableType
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, Task, TextColumn

from jibe_sqs.commands.output import plain
from jibe_sqs.core.phrases import counted

INTERVAL: Final = 0.25
LINE_INTERVAL: Final = 30.0
"""Seconds between two updates on a terminal, and between two lines elsewhere."""
RATE_PERIOD: Final = 60.0
"""Seconds that the shown rate is an average of."""
MAX_REASON: Final = 300


class Counts(msgspec.Struct, frozen=True):
    """Where a backfill is. `files`, `bytes`: of all files of the time range, as far as known. `failed`: files."""

    files: int = 0
    bytes: int = 0
    is_total: bool = False
    """All files of the time range are counted."""
    settled: int = 0
    """Files that need nothing more: processed now or before, or failed."""
    read: int = 0
    bytes_read: int = 0
    events: int = 0
    refreshes: int = 0
    failed: int = 0
    waits_for: str = ""
    """Why nothing happens now. Empty if it works."""


class _Bar(Progress):
    """A bar, and a line of counts below it."""

    below: RenderableType = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        """The bar and the line."""
        yield from super().get_renderables()
        yield self.below


class Shown:
    """Shows counts on standard error."""

    def __init__(
        self, counts: Callable[[], Counts], *, logging: Callable[[], None], console: Console | None = None
    ) -> None:
        """`logging` configures the log anew. Its lines must pass through the bar, so that they appear above it."""
        self._counts = counts
        self._logging = logging
        self._console = console or Console(stderr=True, highlight=False)
        self._bar = _Bar(
            TextColumn("{task.fields[files]}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[rate]}"),
            console=self._console,
            transient=True,
            expand=True,
            speed_estimate_period=RATE_PERIOD,
        )
        self._task = self._bar.add_task("", total=None, files="", rate="")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Show the counts until the block ends."""
        show = asyncio.create_task(self._on_terminal() if self._console.is_terminal else self._as_lines())
        try:
            yield
        finally:
            show.cancel()
            with suppress(asyncio.CancelledError):
                await show

    async def _on_terminal(self) -> None:
        try:
            with self._bar:
                # A second Ctrl-C ends the process at once: the cursor must not stay hidden.
                self._console.show_cursor(True)
                self._logging()
                while True:
                    self.update(self._counts())
                    await asyncio.sleep(INTERVAL)
        finally:
            self._logging()

    async def _as_lines(self) -> None:
        waited_for, shown = "", time.monotonic()
        while True:
            counts = self._counts()
            self.update(counts)
            is_news = counts.waits_for and not waited_for
            if is_news or time.monotonic() - shown >= LINE_INTERVAL:
                shown = time.monotonic()
                print(f"jibe-sqs: {self.line(counts)}", file=sys.stderr, flush=True)  # noqa: T201 - progress
            waited_for = counts.waits_for
            await asyncio.sleep(INTERVAL)

    def update(self, counts: Counts) -> None:
        """Show these counts from now on."""
        total = counts.files if counts.is_total else None
        self._bar.update(self._task, completed=counts.settled, total=total, files=_files(counts))
        self._bar.update(self._task, rate=_rate(self._bar.tasks[0]))
        self._bar.below = plain(below(counts), style="yellow" if counts.waits_for else "")

    def line(self, counts: Counts) -> str:
        """The same in one line of text."""
        return f"{_files(counts)}, {_rate(self._bar.tasks[0])}; {below(counts)}"


def below(counts: Counts) -> str:
    """The line below the bar: what was done, or what the backfill waits for."""
    if counts.waits_for:
        return f"waiting: {counts.waits_for}"[:MAX_REASON]
    size = f"{decimal(counts.bytes_read)} of {decimal(counts.bytes)}" if counts.is_total else decimal(counts.bytes_read)
    done = f"{size} read, {counted(counts.events, 'event')}, {counted(counts.refreshes, 'refresh', 'refreshes')}"
    return f"{done}, {counts.failed:,} failed" if counts.failed else done


def _files(counts: Counts) -> str:
    more = "" if counts.is_total else "+"
    return f"{counts.settled:,} of {counts.files:,}{more} files"


def _rate(task: Task) -> str:
    """Files a second, and the time that is left if the number of files is known."""
    rate = f"{task.speed or 0:,.0f}/s"
    if task.total is None or task.time_remaining is None:
        return rate
    hours, rest = divmod(int(task.time_remaining), 3600)
    return f"{rate}, {hours}:{rest // 60:02}:{rest % 60:02} left"
