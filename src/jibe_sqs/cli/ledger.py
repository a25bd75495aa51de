"""`jibe-sqs principals`: what the ledger remembers."""

import asyncio
import sys

from jibe_sqs.cli.loading import load
from jibe_sqs.cli.options import ConfigOption, JsonOption


def principals(as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """List the principals that changed objects: first and last time, and how often."""
    from jibe_sqs.commands import principals as tables
    from jibe_sqs.compose import stores
    from jibe_sqs.settings import Rules

    settings = load(Rules, config)

    async def show() -> None:
        async with stores.ledger(settings) as ledger:
            (tables.as_lines if as_json else tables.as_table)(await ledger.principals(), sys.stdout)

    asyncio.run(show())
