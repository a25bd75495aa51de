"""Broken answers: error pages, reset connections and incomplete downloads, as a failing server or
proxy produces them.
"""

import socket
import struct
from collections.abc import Mapping
from contextlib import aclosing, suppress
from http import HTTPStatus
from typing import Any, Final

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from jibe_sqs.sandbox.access_anywhere.fault_plan import PlannedFault
from jibe_sqs.sandbox.access_anywhere.storage import Piece, StorageError

TRANSPORT: Final = "sandbox.transport"
"""The ASGI extension that holds the connection's `asyncio.Transport`, if the server has sockets."""


def broken_answer(fault: PlannedFault) -> Response:
    """The answer to a call that fails by HTTP status or by a reset."""
    if fault.status is None:
        return Reset()
    phrase = HTTPStatus(fault.status).phrase
    # Proxies answer with HTML. A client that decodes JSON without checking the status fails.
    page = f"<html><head><title>{fault.status} {phrase}</title></head><body><h1>{phrase}</h1></body></html>\n"
    headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
    return Response(page, fault.status, headers, "text/html")


def huge_answer(answer: Mapping[str, Any], size: int) -> Response:
    """The answer with one more field of so many bytes. A client that decodes all fields needs about 20 times as much."""
    end = b',"others":[%s{}]}' % (b"{}," * (size // 3))
    return Response(msgspec.json.encode(answer).removesuffix(b"}") + end, media_type="application/json")


class Reset(Response):
    """No answer: the TCP connection is reset.

    Without a socket, it raises `ConnectionResetError` to the application's caller.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Reset the connection."""
        transport = _transport(scope)
        if transport is None:
            raise ConnectionResetError("The sandbox's Access Anywhere resets this connection")
        # With linger time 0, the kernel sends a reset in place of an orderly close.
        linger = struct.pack("ii", 1, 0)
        # The client may have closed the connection already, for example because it was killed.
        with suppress(OSError, ValueError):
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        transport.abort()
        await _disconnected(receive)


class Download(Response):
    """Bytes of an object in S3. If fewer bytes come than were promised, the connection is closed.

    That happens if S3 fails in the middle, and if `max_bytes` is less than the size.
    """

    def __init__(self, piece: Piece, *, headers: dict[str, str], media_type: str, max_bytes: int | None = None) -> None:
        super().__init__(
            status_code=206 if piece.content_range else 200,
            headers=headers | {"Content-Length": str(piece.size)},
            media_type=media_type,
        )
        self._piece = piece
        self._max_bytes = piece.size if max_bytes is None else max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the bytes."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        sent = 0
        with suppress(StorageError):
            async with aclosing(self._piece.chunks) as chunks:
                async for chunk in chunks:
                    part = chunk[: self._max_bytes - sent]
                    await send({"type": "http.response.body", "body": part, "more_body": True})
                    sent += len(part)
                    if sent == self._max_bytes:
                        break
        if sent < self._piece.size and (transport := _transport(scope)) is not None:
            transport.close()
            await _disconnected(receive)
        else:
            await send({"type": "http.response.body", "body": b""})


def _transport(scope: Scope) -> Any:
    return scope.get("extensions", {}).get(TRANSPORT)


async def _disconnected(receive: Receive) -> None:
    # If the application returned before the disconnect, the server would send an error answer for it.
    while (await receive())["type"] != "http.disconnect":
        pass
