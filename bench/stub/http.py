"""A small HTTP/1.1 server: one handler for all requests, which answers at once or later."""

import asyncio
import time
from collections.abc import Callable, Mapping
from email.utils import formatdate
from functools import lru_cache
from typing import Final, NamedTuple, cast

JSON: Final = b"application/x-amz-json-1.0"
XML: Final = b"application/xml"
_REASONS: Final = {200: b"OK", 204: b"No Content", 206: b"Partial Content", 400: b"Bad Request", 404: b"Not Found"}


class Request(NamedTuple):
    """One request. `head`: its first line and headers, as they came, with a line break in front of each header."""

    method: bytes
    target: bytes
    head: bytes
    body: bytes

    def header(self, name: bytes) -> bytes:
        """The value of a header, or nothing. `name`: in lower case, with a colon."""
        lower = self.head.lower()
        start = lower.find(b"\r\n" + name)
        if start < 0:
            return b""
        start += len(name) + 2
        end = self.head.find(b"\r\n", start)
        return self.head[start : end if end >= 0 else None].strip()


def response(
    body: bytes, *, status: int = 200, kind: bytes = JSON, headers: Mapping[bytes, bytes] | None = None
) -> bytes:
    """The bytes of an answer with this body."""
    return head(len(body), status=status, kind=kind, headers=headers) + body


def head(size: int, *, status: int = 200, kind: bytes = JSON, headers: Mapping[bytes, bytes] | None = None) -> bytes:
    """The head of an answer whose body has so many bytes."""
    more = b"".join(b"%s: %s\r\n" % pair for pair in headers.items()) if headers else b""
    return b"HTTP/1.1 %d %s\r\nDate: %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n%s\r\n" % (
        status,
        _REASONS.get(status, b"Other"),
        _date(int(time.time())),
        kind,
        size,
        more,
    )


@lru_cache(maxsize=1)
def _date(second: int) -> bytes:
    return formatdate(second, usegmt=True).encode()


class Connection(asyncio.Protocol):
    """One connection of a client. A client may send several requests before it reads the first answer.

    The handler returns the bytes of the answer, or `None` if it calls `Connection.answer` later. Then no further
    request is handled before.
    """

    def __init__(self, handle: Callable[[Request, "Connection"], bytes | None]) -> None:
        self._handle = handle
        self._unread = b""
        self._is_waiting = False
        self.is_open = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not inherit from asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, _: Exception | None) -> None:
        self.is_open = False

    def data_received(self, data: bytes) -> None:
        self._unread = self._unread + data if self._unread else data
        if not self._is_waiting:
            self._answer_all()

    def answer(self, answer: bytes) -> None:
        """Send the answer of a request whose handler returned `None`."""
        self._is_waiting = False
        if self.is_open:
            self._transport.write(answer)
            if self._unread:
                self._answer_all()

    def _answer_all(self) -> None:
        answers = []
        while not self._is_waiting and (request := self._next_request()) is not None:
            answer = self._handle(request, self)
            if answer is None:
                self._is_waiting = True
            else:
                answers.append(answer)
        if answers:
            self._transport.write(answers[0] if len(answers) == 1 else b"".join(answers))

    def _next_request(self) -> Request | None:
        unread = self._unread
        end = unread.find(b"\r\n\r\n")
        if end < 0:
            return None
        method, target, _ = unread[: unread.find(b"\r\n")].split(b" ", 2)
        request = Request(method, target, unread[:end], b"")
        if method in (b"GET", b"HEAD"):
            self._unread = unread[end + 4 :]
            return request
        length = int(request.header(b"content-length:") or 0)
        whole = end + 4 + length
        if len(unread) < whole:
            if len(unread) == end + 4 and request.header(b"expect:"):
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            return None
        self._unread = unread[whole:]
        return request._replace(body=unread[end + 4 : whole])
