"""`jibe-sqs compare`: Access Anywhere's index against S3."""

import asyncio
import sys
import time
from typing import Annotated

import typer

from jibe_sqs.cli.loading import load
from jibe_sqs.cli.options import ConfigOption, flag


def compare(
    target: Annotated[
        str | None,
        typer.Argument(metavar="[BUCKET[/PREFIX]]", help="Default: all buckets that Access Anywhere shows."),
    ] = None,
    repair: Annotated[bool, flag("--repair", "Refresh the folders that differ, and compare them again.")] = False,
    sample: Annotated[
        str | None, typer.Option("--sample", metavar="SHARE", help="Compare a share of the folders, such as 1%.")
    ] = None,
    inventory: Annotated[
        str | None,
        typer.Option(
            "--inventory", metavar="MANIFEST", help="Read S3's side from an S3 inventory: s3://…/manifest.json."
        ),
    ] = None,
    ignore_newer: Annotated[
        str,
        typer.Option(
            "--ignore-newer", metavar="TIME", help="Ignore objects that changed within this time, such as 15m."
        ),
    ] = "0",
    size_only: Annotated[bool, flag("--size-only", "Compare names and sizes, and no times.")] = False,
    as_json: Annotated[bool, flag("--json", "Print one JSON object.")] = False,
    config: ConfigOption = None,
) -> None:
    """Compare Access Anywhere's index with S3. The exit code is 1 if they differ."""
    from jibe_sqs.commands import comparison_text
    from jibe_sqs.commands.comparison_requests import request
    from jibe_sqs.commands.comparison_totals import Totals
    from jibe_sqs.compose.comparison import prepared
    from jibe_sqs.core.errors import ComparisonError, JibeError, SettingsError
    from jibe_sqs.settings import Settings
    from jibe_sqs.settings.types import duration
    from jibe_sqs.telemetry import logs

    try:
        wanted = request(
            target or "",
            repair=repair,
            sample=sample or "",
            inventory=inventory or "",
            ignore_newer=duration(ignore_newer),
            size_only=size_only,
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    settings = load(Settings, config)
    logs.configure(settings.log.level, settings.log.format)

    totals = Totals()

    async def compared() -> None:
        with comparison_text.progress(totals, sys.stderr):
            async with prepared(settings, wanted, totals, time.time()) as ready:
                await ready.run()

    try:
        asyncio.run(compared())
    except ComparisonError as error:
        raise typer.BadParameter(str(error)) from None
    except SettingsError:
        raise
    except JibeError as error:
        # What was found until then is shown as well.
        totals.fail(target or "everything", error)
    if as_json:
        comparison_text.as_json_object(totals, sys.stdout, sample=wanted.sample)
    else:
        comparison_text.as_text(totals, sys.stdout, sample=wanted.sample)
    raise typer.Exit(0 if totals.in_sync else 1)
