"""Posts messages to a Slack webhook. Its address is a secret: everyone who knows it can post there."""

import asyncio
import logging
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

import httpx

from jibe_sqs import __version__
from jibe_sqs.adapters.connections import Connections
from jibe_sqs.adapters.http_answers import BodyMalformed, Decompression, read_body, retry_after
from jibe_sqs.core.errors import SettingsError
from jibe_sqs.telemetry.alerts import AlertFailed

STEP_TIMEOUT: Final = 10.0
"""Seconds for each step: to connect, to send, to receive."""
POST_TIMEOUT: Final = 30.0
"""Seconds for the whole post, also if the answer arrives slowly."""
MAX_ANSWER_BYTES: Final = 1024
"""Bytes of an answer that are read."""


class Webhook:
    """Posts messages. Errors never contain the address."""

    def __init__(self, connections: Connections, url: httpx.URL) -> None:
        self._connections = connections
        self._url = url

    async def post(self, text: str) -> None:
        """Send one message. Raises `AlertFailed`."""
        try:
            async with (
                asyncio.timeout(POST_TIMEOUT),
                self._connections.one() as client,
                client.stream("POST", self._url, json={"text": text}) as answer,
            ):
                body = await read_body(_decompressed(answer), MAX_ANSWER_BYTES)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            # The error's text and its cause may contain the address, so neither is kept.
            failure = f"the webhook in `alerts.webhook` cannot be reached: {type(error).__name__}"
        else:
            if answer.is_success:
                return
            failure = f"the webhook in `alerts.webhook` answered {answer.status_code}{_error_code(body)}"
            if answer.status_code in (401, 403, 404, 410):
                failure += ": check the address"
            raise AlertFailed(failure, retry_after=retry_after(answer.headers.get("Retry-After"), time.time()))
        raise AlertFailed(failure)


@asynccontextmanager
async def webhook(url: str) -> AsyncIterator[Webhook]:
    """A webhook, closed at the end. It uses the environment's proxy. Raises `SettingsError`."""
    try:
        address = httpx.URL(url)
    except httpx.InvalidURL:
        address = httpx.URL("")
    if address.scheme not in ("http", "https") or not address.host:
        raise SettingsError(["alerts.webhook: must begin with https:// or http:// and a host name"])
    # Redirects are not followed: they would send the messages to another host.
    async with Connections(
        timeout=STEP_TIMEOUT, follow_redirects=False, headers={"User-Agent": f"jibe-sqs/{__version__}"}
    ) as connections:
        with _hidden_from_log(str(address)):
            yield Webhook(connections, address)


@contextmanager
def _hidden_from_log(secret: str) -> Iterator[None]:
    """Drop httpx's log records that contain the address. At level INFO it logs the address of each request."""

    def is_harmless(record: logging.LogRecord) -> bool:
        return secret not in record.getMessage()

    logger = logging.getLogger("httpx")
    logger.addFilter(is_harmless)
    try:
        yield
    finally:
        logger.removeFilter(is_harmless)


def _error_code(body: bytes) -> str:
    """Slack's error code, such as `no_service`. Any other body might quote what we sent, so it is dropped."""
    return f" {body.decode()}" if re.fullmatch(rb"[a-z_]{3,40}", body) else ""


async def _decompressed(reply: httpx.Response) -> AsyncGenerator[bytes, None]:
    """The body in small portions, without its Content-Encoding. Raises httpx's errors."""
    if reply.is_stream_consumed:
        # The transport, such as one of a test, has read the body already.
        yield reply.content
        return
    try:
        decompression = Decompression(reply.headers.get("Content-Encoding", ""))
        async for chunk in reply.aiter_raw():
            for portion in decompression.portions(chunk):
                yield portion
    except BodyMalformed as error:
        raise httpx.DecodingError(str(error), request=reply.request) from error
