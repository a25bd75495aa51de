"""`jibe-sqs history`: what the ledger remembers of a part of a bucket."""

import asyncio
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from jibe_sqs.cli.loading import load
from jibe_sqs.cli.options import ConfigOption, bucket_and_key_of, errors_as_json, flag

if TYPE_CHECKING:
    from jibe_sqs.core.history import Remembered
    from jibe_sqs.core.model import Folder


def history(
    url: Annotated[str, typer.Argument(metavar="s3://BUCKET[/PREFIX]", help="A bucket, a folder in it, or an object.")],
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="Only of this time until now, such as 2h or 7d.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="The newest entries that are shown.")] = 50,
    as_json: Annotated[bool, flag("--json", "Print one JSON object.")] = False,
    config: ConfigOption = None,
) -> None:
    """List the log files that changed a part of a bucket, and the refreshes of its folders."""
    from jibe_sqs.adapters.control import running_service
    from jibe_sqs.commands import history_text
    from jibe_sqs.compose import stores
    from jibe_sqs.compose.shown_places import shown_places
    from jibe_sqs.core.decisions import folders_of_prefix
    from jibe_sqs.core.history import HistoryQuestion
    from jibe_sqs.settings import Settings
    from jibe_sqs.settings.types import duration
    from jibe_sqs.telemetry import logs

    bucket, prefix = bucket_and_key_of(url)
    try:
        begin = time.time() - duration(since) if since else float("-inf")
    except ValueError as error:
        raise typer.BadParameter(f"--since: {error}") from None
    settings = load(Settings, config)
    logs.configure(settings.log.level, settings.log.format)

    async def found() -> "tuple[Sequence[Folder], list[Remembered]]":
        async with AsyncExitStack() as stack:
            ledger = await stack.enter_async_context(stores.ledger(settings))
            service = await stack.enter_async_context(running_service(settings.control_socket))
            folders = folders_of_prefix(await shown_places(settings, service, stack)(bucket), prefix, deep=False)
            # A change of an object is remembered for the folder that contains it.
            trees = tuple(folder.path for folder in folders)
            is_key = prefix and not prefix.endswith("/")
            paths = tuple(path.rpartition("/")[0] for path in trees) if is_key else ()
            question = HistoryQuestion(paths, bucket, trees, since=begin, limit=limit)
            return folders, await ledger.history(question)

    with errors_as_json(as_json):
        folders, entries = asyncio.run(found())
    (history_text.as_json_object if as_json else history_text.as_table)(url, folders, entries, sys.stdout)
