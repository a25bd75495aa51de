"""Posts alerts to a webhook, for Slack or as JSON. Its address is a secret: everyone who knows it can post there."""

import asyncio
import logging
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final, Literal

import httpx

from jibe_sqs import __version__
from jibe_sqs.adapters.connections import Connections
from jibe_sqs.adapters.http_answers import BodyMalformed, Decompression, read_body, retry_after
from jibe_sqs.core.errors import SettingsError
from jibe_sqs.telemetry.alert_messages import AlertMessage
from jibe_sqs.telemetry.alert_outlet import AlertFailed

STEP_TIMEOUT: Final = 10.0
"""Seconds for each step: to connect, to send, to receive."""
POST_TIMEOUT: Final = 30.0
"""Seconds for the whole post, also if the answer arrives slowly."""
MAX_ANSWER_BYTES: Final = 1024
"""Bytes of an answer that are read."""

Format = Literal["slack", "json"]
Renew = Callable[[], Awaitable[str]]


class _AddressRefused(AlertFailed):
    """The address is not valid, or not valid any more."""


class Webhook:
    """Posts messages. Errors never contain the address.

    `renew`: returns the address as it is now where it is kept. It is asked after a refusal, and limits how often it looks.
    """

    name = "webhook"

    def __init__(self, connections: Connections, url: httpx.URL, form: Format, renew: Renew | None = None) -> None:
        """`form`: the body is Slack's `{"text": …}`, or the message's own object."""
        self._connections = connections
        self._url = url
        self._form = form
        self._renew = renew

    @property
    def address(self) -> str:
        """The present address, which is a secret."""
        return str(self._url)

    async def send(self, message: AlertMessage) -> None:
        """Send one message. If the address is refused and was replaced meanwhile, use the new one. Raises `AlertFailed`."""
        body = {"text": message.text(markup=True)} if self._form == "slack" else message.document()
        # The same for each try: so a receiver can drop a message whose answer was lost.
        headers = {"Idempotency-Key": message.id}
        try:
            await self._post(body, headers)
        except _AddressRefused:
            if not await self._is_renewed():
                raise
            await self._post(body, headers)

    async def _is_renewed(self) -> bool:
        if self._renew is None:
            return False
        before = self._url
        self._url = _address(await self._renew()) or before
        return self._url != before

    async def _post(self, content: object, headers: dict[str, str]) -> None:
        try:
            async with (
                asyncio.timeout(POST_TIMEOUT),
                self._connections.one() as client,
                client.stream("POST", self._url, json=content, headers=headers) as answer,
            ):
                if answer.is_success:
                    # Its body is not read: the message has arrived, and must not be sent again if that fails.
                    return
                body = await read_body(_decompressed(answer), MAX_ANSWER_BYTES)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            # The error's text and its cause may contain the address, so neither is kept.
            failure = f"the webhook in `alerts.webhook` cannot be reached: {type(error).__name__}"
        else:
            failure = f"the webhook in `alerts.webhook` answered {answer.status_code}{_error_code(body)}"
            if answer.status_code in (401, 403, 404, 410):
                raise _AddressRefused(f"{failure}: check the address")
            raise AlertFailed(failure, retry_after=retry_after(answer.headers.get("Retry-After"), time.time()))
        raise AlertFailed(failure)


@asynccontextmanager
async def webhook(url: str, form: Format = "slack", renew: Renew | None = None) -> AsyncIterator[Webhook]:
    """A webhook, closed at the end. It uses the environment's proxy. `renew`: see `Webhook`. Raises `SettingsError`."""
    address = _address(url)
    if address is None:
        raise SettingsError(["alerts.webhook: must begin with https:// or http:// and a host name"])
    # Redirects are not followed: they would send the messages to another host.
    async with Connections(
        timeout=STEP_TIMEOUT, follow_redirects=False, headers={"User-Agent": f"jibe-sqs/{__version__}"}
    ) as connections:
        opened = Webhook(connections, address, form, renew)
        with _hidden_from_log(lambda: opened.address):
            yield opened


def _address(url: str) -> httpx.URL | None:
    """The address. None if it is not one."""
    try:
        address = httpx.URL(url)
    except httpx.InvalidURL:
        return None
    return address if address.scheme in ("http", "https") and address.host else None


@contextmanager
def _hidden_from_log(secret: Callable[[], str]) -> Iterator[None]:
    """Drop httpx's log records that contain the address. At level INFO it logs the address of each request."""

    def is_harmless(record: logging.LogRecord) -> bool:
        return secret() not in record.getMessage()

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
