"""`jibe-sqs refresh`: refresh a part of a bucket now."""

import asyncio
import sys
from contextlib import aclosing
from typing import Annotated

import typer

from jibe_sqs.cli.loading import load
from jibe_sqs.cli.options import ConfigOption, bucket_and_key_of, flag


def refresh(
    url: Annotated[str, typer.Argument(metavar="s3://BUCKET[/PREFIX]", help="A bucket, a folder in it, or an object.")],
    deep: Annotated[bool, flag("--deep", "With everything below it.")] = False,
    as_json: Annotated[bool, flag("--json", "Print one JSON object.")] = False,
    config: ConfigOption = None,
) -> None:
    """Let Access Anywhere read a folder again now, through the running service if it answers."""
    from rich.console import Console

    from jibe_sqs.commands import refresh_results
    from jibe_sqs.commands.refresh_results import RefreshResult, collected
    from jibe_sqs.compose.operator_refreshes import refresher
    from jibe_sqs.core.decisions import folders_of_prefix
    from jibe_sqs.core.errors import JibeError, NotMapped, SettingsError
    from jibe_sqs.settings import Settings
    from jibe_sqs.telemetry import logs

    bucket, prefix = bucket_and_key_of(url)
    settings = load(Settings, config)
    logs.configure(settings.log.level, settings.log.format)

    async def refreshed() -> RefreshResult:
        with Console(stderr=True).status("asking where the bucket is shown") as status:
            async with refresher(settings) as ready:
                folders = folders_of_prefix(await ready.places(bucket), prefix, deep=deep)
                if not folders:
                    raise NotMapped.of(bucket, prefix)
                result = RefreshResult(ready.through)
                async with aclosing(ready.refresh(folders)) as steps:
                    await collected(steps, result, status.update)
                return result

    try:
        result = asyncio.run(refreshed())
    except JibeError as error:
        if not as_json or isinstance(error, SettingsError):
            raise
        result = RefreshResult.of_nothing(error)
    (refresh_results.as_json_object if as_json else refresh_results.as_text)(result, sys.stdout)
    raise typer.Exit(result.exit_code)
