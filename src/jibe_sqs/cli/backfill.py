"""`jibe-sqs backfill`: past log files, processed again."""

import asyncio
import os
import re
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final

import typer

from jibe_sqs.cli.loading import load, loop_factory
from jibe_sqs.cli.options import TIME_FORMATS, ConfigOption, errors_as_json, flag

if TYPE_CHECKING:
    from jibe_sqs.commands.backfill_jobs import Scope
    from jibe_sqs.commands.backfill_text import Result
    from jibe_sqs.compose.backfill import Part, Request, Running
    from jibe_sqs.core.date_folders import Window
    from jibe_sqs.settings import Settings

SINCE: Final = re.compile(r"(\d+(?:\.\d+)?)([smhd])", re.ASCII)
SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
NICENESS: Final = 10
"""The service on the same host gets the CPU first."""


def backfill(
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="Files of the last 30m, 2h or 3d, for example.")
    ] = None,
    start: Annotated[
        datetime | None,
        typer.Option(
            "--from",
            metavar="TIME",
            help="The start of the time range, UTC, such as 2026-01-31T12:00Z.",
            formats=TIME_FORMATS,
        ),
    ] = None,
    end: Annotated[
        datetime | None,
        typer.Option(
            "--to", metavar="TIME", help="The end of the time range, UTC. Default: now.", formats=TIME_FORMATS
        ),
    ] = None,
    bucket: Annotated[str, typer.Option("--bucket", help="Only log files in this bucket.")] = "",
    prefix: Annotated[str | None, typer.Option("--prefix", help="Only log files whose keys begin so.")] = None,
    again: Annotated[bool, flag("--again", "Also read files that are finished.")] = False,
    restart: Annotated[
        bool, flag("--restart", "Begin anew, where the same command was stopped before its end.")
    ] = False,
    dry_run: Annotated[
        bool, flag("--dry-run", "Only estimate the files, the calls and the cost. Nothing is refreshed.")
    ] = False,
    concurrency: Annotated[
        int | None,
        typer.Option(
            "--concurrency",
            min=1,
            max=1000,
            help="The most refreshes at the same time. Default: a quarter of access_anywhere.concurrency.",
        ),
    ] = None,
    as_json: Annotated[bool, flag("--json", "Print one JSON object.")] = False,
    config: ConfigOption = None,
) -> None:
    """Process past log files again. The time range is when the log files were written, not when objects changed."""
    from jibe_sqs.compose.backfill import Request, selected
    from jibe_sqs.settings import Settings

    scope = _scope(since, start, end, bucket, prefix, again=again)
    settings, parts = selected(load(Settings, config), bucket, prefix)
    os.nice(NICENESS)
    request = Request(scope=scope, restart=restart, concurrency=concurrency)
    with errors_as_json(as_json), asyncio.Runner(loop_factory=loop_factory()) as runner:
        if dry_run:
            raise typer.Exit(runner.run(_estimate(settings, parts, request, as_json=as_json)))
        raise typer.Exit(runner.run(_process(settings, parts, request, as_json=as_json)))


def _scope(
    since: str | None, start: datetime | None, end: datetime | None, bucket: str, prefix: str | None, *, again: bool
) -> "Scope":
    from jibe_sqs.commands.backfill_jobs import Scope

    if since is not None and start is not None:
        raise typer.BadParameter("--since and --from exclude each other: both are the start of the time range")
    if since is None and start is None:
        raise typer.BadParameter("say which log files: --since 2h, or --from 2026-01-31 (and --to 2026-02-01)")
    seconds = _seconds(since) if since is not None else None
    first, last = (moment.replace(tzinfo=UTC).timestamp() if moment else None for moment in (start, end))
    scope = Scope(bucket=bucket, prefix=prefix or "", since=seconds, start=first, end=last, again=again)
    window = scope.window(time.time())
    if window.start >= window.end:
        raise typer.BadParameter("the time range is empty: its start must be before its end, and before now")
    return scope


def _seconds(text: str) -> float:
    found = SINCE.fullmatch(text.strip())
    if not found or float(found[1]) == 0:
        raise typer.BadParameter(f"--since: {text!r} is no time: write 30m, 2h or 3d, for example")
    return float(found[1]) * SECONDS[found[2]]


async def _process(settings: "Settings", parts: "list[Part]", request: "Request", *, as_json: bool) -> int:
    from jibe_sqs.commands import backfill_text
    from jibe_sqs.commands.backfill_progress import Shown
    from jibe_sqs.compose.backfill import backfill

    began = time.monotonic()
    _configure_logs(settings)
    async with backfill(settings, parts, request) as running:
        _introduce(running, settings)
        async with Shown(lambda: running.counts, logging=lambda: _configure_logs(settings)).running():
            await running.run()
        result = _result(running, time.monotonic() - began)
    (backfill_text.as_json_object if as_json else backfill_text.as_text)(result, sys.stdout)
    return result.exit_code


async def _estimate(settings: "Settings", parts: "list[Part]", request: "Request", *, as_json: bool) -> int:
    from jibe_sqs.commands import backfill_estimate
    from jibe_sqs.compose.backfill_estimate import estimated

    _configure_logs(settings)
    _note("listing the files; nothing is refreshed")
    estimate, window = await estimated(settings, parts, request)
    _note_range(window)
    (backfill_estimate.as_json_object if as_json else backfill_estimate.as_text)(estimate, sys.stdout)
    return 1 if estimate.failed else 0


def _note_range(window: "Window") -> None:
    from jibe_sqs.commands.backfill_jobs import shown

    _note(f"log files written from {shown(window.start)} to {shown(window.end)}")


def _introduce(running: "Running", settings: "Settings") -> None:
    from jibe_sqs.commands.backfill_jobs import shown

    _note_range(running.job.window)
    if running.job.is_continued:
        _note(f"continues the run of {shown(running.job.began)}; --restart begins anew")
    if settings.sync.strategy == "dry-run":
        _note("sync.strategy is dry-run: nothing is refreshed, nothing is remembered, and a stop cannot be continued")
    elif settings.ledger.kind == "memory":
        _note("ledger.kind is memory: files that the service finished are read again, and a stop cannot be continued")


def _result(running: "Running", seconds: float) -> "Result":
    from jibe_sqs.commands.backfill_text import FailedFile, Result

    failed = [FailedFile(each.file, each.reason) for each in running.failures.first]
    return Result(running.counts, seconds, running.has_ended, failed)


def _configure_logs(settings: "Settings") -> None:
    """Only what an operator must see. Each file has its own log lines at the level `info`."""
    from jibe_sqs.telemetry import logs

    level = "warning" if settings.log.level == "info" else settings.log.level
    logs.configure(level, settings.log.format)


def _note(text: str) -> None:
    print(f"jibe-sqs: {text}", file=sys.stderr, flush=True)  # noqa: T201 - an answer
