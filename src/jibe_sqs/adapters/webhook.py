"""A webhook that takes Slack's messages. Its address is a secret: whoever knows it may write there."""

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

import httpx

from jibe_sqs import __version__
from jibe_sqs.adapters.connections import Connections
from jibe_sqs.adapters.http_answers import read_body, retry_after
from jibe_sqs.core.errors import SettingsError
from jibe_sqs.telemetry.alerts import AlertFailed

STEP_TIMEOUT: Final = 10.0
"""Seconds of each step."""
POST_TIMEOUT: Final = 30.0
"""Seconds of all of them, however an answer trickles."""
MAX_ANSWER_BYTES: Final = 1024
"""Bytes of an answer."""


class Webhook:
    """Posts messages."""

    def __init__(self, connections: Connections, url: httpx.URL) -> None:
        self._connections = connections
        self._url = url

    async def post(self, text: str) -> None:
        """Send one message. Raises `AlertFailed`, which does not name the address."""
        try:
            async with (
                asyncio.timeout(POST_TIMEOUT),
                self._connections.one() as client,
                client.stream("POST", self._url, json={"text": text}) as answer,
            ):
                said = await read_body(answer.aiter_bytes(), MAX_ANSWER_BYTES)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            # Neither its text nor where it came from: both know the address.
            failure = f"the webhook of alerts.webhook cannot be reached: {type(error).__name__}"
        else:
            if answer.is_success:
                return
            failure = f"the webhook of alerts.webhook answered {answer.status_code}{_word(said)}"
            if answer.status_code in (401, 403, 404, 410):
                failure += ": is the address still the right one?"
            raise AlertFailed(failure, retry_after=retry_after(answer.headers.get("Retry-After"), time.time()))
        raise AlertFailed(failure)


@asynccontextmanager
async def webhook(url: str) -> AsyncIterator[Webhook]:
    """A webhook, closed at the end; a proxy comes from the environment. Raises `SettingsError`."""
    try:
        address = httpx.URL(url)
    except httpx.InvalidURL:
        address = httpx.URL("")
    if address.scheme not in ("http", "https") or not address.host:
        raise SettingsError(["alerts.webhook: not an address: it starts with https:// and a host's name"])
    # An address that is a secret is not to be carried on to where a redirect points.
    async with Connections(
        timeout=STEP_TIMEOUT, follow_redirects=False, headers={"User-Agent": f"jibe-sqs/{__version__}"}
    ) as connections:
        with _unlogged(str(address)):
            yield Webhook(connections, address)


@contextmanager
def _unlogged(secret: str) -> Iterator[None]:
    """For who has httpx log that much: it names the address of each request."""

    def is_harmless(record: logging.LogRecord) -> bool:
        return secret not in record.getMessage()

    logger = logging.getLogger("httpx")
    logger.addFilter(is_harmless)
    try:
        yield
    finally:
        logger.removeFilter(is_harmless)


def _word(said: bytes) -> str:
    """Slack says in a word what is wrong, such as `no_service`; anything else might quote what we sent."""
    return f" {said.decode()}" if re.fullmatch(rb"[a-z_]{3,40}", said) else ""
