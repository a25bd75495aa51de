"""`jibe-sqs why`: is this object shown as it is, and if not, why, and what to do."""

import asyncio
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from jibe_sqs.cli.loading import load
from jibe_sqs.cli.options import ConfigOption, bucket_and_key_of, flag

if TYPE_CHECKING:
    from jibe_sqs.commands.object_facts import ObjectFacts


def why(
    url: Annotated[str, typer.Argument(metavar="s3://BUCKET/KEY", help="An object in S3, also one that was deleted.")],
    as_json: Annotated[bool, flag("--json", "Print one JSON object.")] = False,
    config: ConfigOption = None,
) -> None:
    """Say whether Access Anywhere shows an object as it is; and if not, why, and what to do."""
    from rich.console import Console

    from jibe_sqs.commands import object_verdict_text
    from jibe_sqs.commands.object_verdict import Verdict, answer
    from jibe_sqs.compose.object_facts import object_facts
    from jibe_sqs.settings import Settings
    from jibe_sqs.telemetry import logs

    bucket, key = bucket_and_key_of(url)
    if not key:
        raise typer.BadParameter(f"not an object: write s3://BUCKET/KEY; for a bucket, use jibe-sqs compare: {url!r}")
    settings = load(Settings, config)
    # The answer says everything. Warnings of the retries would disturb it.
    logs.configure("error", settings.log.format)

    async def facts() -> "ObjectFacts":
        with Console(stderr=True).status("asking S3, Access Anywhere, the service, the ledger and the dead letters"):
            return await object_facts(settings, bucket, key, time.time())

    known = asyncio.run(facts())
    found = answer(known)
    (object_verdict_text.as_json_object if as_json else object_verdict_text.as_text)(known, found, sys.stdout)
    raise typer.Exit(0 if found.verdict is Verdict.IN_SYNC else 1)
