"""`jibe-sqs principals`: what the ledger remembers."""

import asyncio
import sys

from jibe_sqs.cli.loading import load
from jibe_sqs.cli.options import ConfigOption, JsonOption


def principals(as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """List the principals that changed or read objects, and which of them may be Access Anywhere."""
    from jibe_sqs.commands import principals as tables
    from jibe_sqs.compose.identities import found_identities
    from jibe_sqs.settings import Identities

    settings = load(Identities, config)
    found = asyncio.run(found_identities(settings))
    if as_json:
        tables.as_lines(found, sys.stdout)
    else:
        tables.as_table(found, sys.stdout, has_readers=settings.principals == "readers")
