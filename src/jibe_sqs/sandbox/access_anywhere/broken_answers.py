"""Answers that are none: what a client gets from a server, or from a proxy in front of it, that is not well."""

import socket
import struct
from contextlib import aclosing, suppress
from http import HTTPStatus
from typing import Any, Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from jibe_sqs.sandbox.access_anywhere.fault_plan import PlannedFault
from jibe_sqs.sandbox.access_anywhere.storage import Piece, StorageError

TRANSPORT: Final = "sandbox.transport"
"""The ASGI extension under which a server that has sockets tells the connection's `asyncio.Transport`."""


def broken(fault: PlannedFault) -> Response:
    """The end of a call that fails."""
    if fault.status is None:
        return Reset()
    phrase = HTTPStatus(fault.status).phrase
    # As proxies write it: whoever decodes JSON without a look at the status will stumble.
    page = f"<html><head><title>{fault.status} {phrase}</title></head><body><h1>{phrase}</h1></body></html>\n"
    headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
    return Response(page, fault.status, headers, "text/html")


class Reset(Response):
    """No answer: TCP says reset. Without a socket it raises `ConnectionResetError` to who called the application."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Break the connection."""
        transport = _transport(scope)
        if transport is None:
            raise ConnectionResetError("The sandbox's Access Anywhere resets this connection")
        # With nothing to linger for, the system sends a reset in place of an orderly end.
        linger = struct.pack("ii", 1, 0)
        # Who asked may have gone already: killed, perhaps.
        with suppress(OSError, ValueError):
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        transport.abort()
        await _disconnected(receive)


class Download(Response):
    """Bytes as they come from S3. Where they end before all that was promised are sent, so does the connection.

    That is so if S3 fails when bytes have come already, and if no more than `most` are to be sent.
    """

    def __init__(self, piece: Piece, *, headers: dict[str, str], media_type: str, most: int | None = None) -> None:
        super().__init__(
            status_code=206 if piece.content_range else 200,
            headers=headers | {"Content-Length": str(piece.size)},
            media_type=media_type,
        )
        self._piece = piece
        self._most = piece.size if most is None else most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send what there is."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        sent = 0
        with suppress(StorageError):
            async with aclosing(self._piece.chunks) as chunks:
                async for chunk in chunks:
                    part = chunk[: self._most - sent]
                    await send({"type": "http.response.body", "body": part, "more_body": True})
                    sent += len(part)
                    if sent == self._most:
                        break
        if sent < self._piece.size and (transport := _transport(scope)) is not None:
            transport.close()
            await _disconnected(receive)
        else:
            await send({"type": "http.response.body", "body": b""})


def _transport(scope: Scope) -> Any:
    return scope.get("extensions", {}).get(TRANSPORT)


async def _disconnected(receive: Receive) -> None:
    # Who returns before is taken for one who forgot to answer, and is answered for.
    while (await receive())["type"] != "http.disconnect":
        pass
