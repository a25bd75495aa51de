"""`jibe-sqs check`: everything that can be wrong, all at once."""

import asyncio
import sys
from typing import Annotated

import typer

from jibe_sqs.cli.loading import load
from jibe_sqs.cli.options import ConfigOption, flag


def check(
    as_json: Annotated[bool, flag("--json", "Print one JSON object.")] = False, config: ConfigOption = None
) -> None:
    """Check the configuration, AWS and Access Anywhere, and say what to do about each problem."""
    from jibe_sqs.commands.check import text
    from jibe_sqs.commands.check.running import Report, report
    from jibe_sqs.compose.checks import checks, secrets_report, settings_report
    from jibe_sqs.compose.secrets import read
    from jibe_sqs.core.errors import SettingsError
    from jibe_sqs.settings import Settings
    from jibe_sqs.telemetry import logs

    async def checked(settings: Settings) -> Report:
        settings, problems = await read(settings)
        if problems:
            return secrets_report(problems)
        async with checks(settings) as found:
            return await report(found)

    try:
        settings = load(Settings, config, with_secrets=False)
        # The findings say everything. Warnings of the retries would disturb them.
        logs.configure("error", settings.log.format)
        result = asyncio.run(checked(settings))
    except SettingsError as error:
        result = settings_report(error)
    (text.as_json_object if as_json else text.as_table)(result, sys.stdout)
    raise typer.Exit(1 if result.problems else 0)
