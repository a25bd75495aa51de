"""An HTTP client of Access Anywhere over a transport of httpx, such as a handler or an application in this process."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from urllib.parse import urlsplit

import httpx

from jibe_sqs.adapters.access_anywhere.wire.http import Origin
from jibe_sqs.adapters.http1_connection import SMALL
from jibe_sqs.adapters.http1_errors import Disconnected, HttpError, Malformed, ReadTimedOut, Unreachable

TURNS = 4
"""Turns of the event loop that a call takes at least. Over a network, no answer comes in the turn of its request."""

ERRORS: tuple[tuple[type[Exception], Callable[[str], HttpError]], ...] = (
    (httpx.ConnectError, Unreachable),
    (httpx.ConnectTimeout, Unreachable),
    (httpx.TimeoutException, ReadTimedOut),
    (httpx.RemoteProtocolError, Disconnected),
    (httpx.NetworkError, Disconnected),
    (httpx.TransportError, Malformed),
    (ssl.SSLError, Disconnected),
)


def over_httpx(transport: httpx.AsyncBaseTransport) -> Callable[[str], Origin]:
    """For `connect(origin_of=...)`: the transport, in place of the network."""

    def origin_of(url: str) -> Origin:
        parts = urlsplit(url)
        return _Origin(transport, f"{parts.scheme}://{parts.netloc}")

    return origin_of


class _Origin:
    def __init__(self, transport: httpx.AsyncBaseTransport, base: str) -> None:
        self._transport = transport
        self._base = base

    async def request(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes = b"", *, read_timeout: float
    ) -> "_Reply":
        """As `adapters.http1.Origin.request`: a small body is read before this returns."""
        request = httpx.Request(method, f"{self._base}{target}", headers=dict(headers), content=body)
        for _ in range(TURNS):
            await asyncio.sleep(0)
        try:
            response = await self._transport.handle_async_request(request)
            return await _begun(response)
        except (httpx.TransportError, ssl.SSLError) as error:
            raise _translated(error) from error


async def _begun(response: httpx.Response) -> "_Reply":
    reply = _Reply(response)
    announced = reply.length
    if announced is None or announced <= SMALL:
        body = b""
        async for chunk in reply.chunks:
            body += chunk
            if len(body) > SMALL:
                reply.head = body
                return reply
        reply.body = body
        if announced is not None and len(body) < announced and response.headers.get("content-encoding") is None:
            raise Disconnected("the server closed the connection before its answer was complete")
    return reply


class _Reply:
    def __init__(self, response: httpx.Response) -> None:
        length = response.headers.get("content-length")
        self.status = response.status_code
        self.length = int(length) if length else None
        self.body: bytes | None = None
        self.head = b""
        self._headers = response.headers
        self.chunks = _chunks(response)

    def header(self, name: str, default: str = "") -> str:
        """As http1's."""
        return self._headers.get(name, default)

    async def chunk(self) -> bytes:
        """As http1's, but chunks may be small."""
        if self.head:
            head, self.head = self.head, b""
            return head
        try:
            return await anext(self.chunks, b"")
        except (httpx.TransportError, ssl.SSLError) as error:
            raise _translated(error) from error

    def close(self) -> None:
        """Nothing is open."""


async def _chunks(response: httpx.Response) -> AsyncIterator[bytes]:
    if response.is_stream_consumed:
        yield response.content
        return
    async for chunk in response.stream:
        if chunk:
            yield chunk


def _translated(error: Exception) -> HttpError:
    made = next(made for kind, made in ERRORS if isinstance(error, kind))
    return made(str(error))
