"""The principals in the ledger, with the rules of `own_writes` that match them, and what is known of Access Anywhere."""

import asyncio
import socket
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

from jibe_sqs.compose import rules, stores
from jibe_sqs.core.identities import Identity, identities
from jibe_sqs.settings import Identities

LOOK_UP_TIMEOUT: Final = 3.0
"""Seconds for finding the addresses of Access Anywhere's host."""


async def found_identities(settings: Identities) -> list[Identity]:
    """All principals that the ledger has seen, the most active first. Raises `LedgerError`."""
    async with stores.ledger(settings) as ledger:
        principals = await ledger.principals()
    return identities(principals, rules.decisions(settings).own_write_rule, await _addresses(settings))


async def _addresses(settings: Identities) -> dict[str, str]:
    """The IP addresses of Access Anywhere, and its host. Empty if they cannot be found: they are only evidence."""
    server = settings.access_anywhere
    host = urlsplit(server.endpoint).hostname if server is not None and server.endpoint else None
    if not host:
        return {}
    found: dict[str, str] = {}
    with suppress(OSError, UnicodeError, TimeoutError):
        async with asyncio.timeout(LOOK_UP_TIMEOUT):
            for *_, address in await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM):
                found[str(address[0])] = host
    return found
