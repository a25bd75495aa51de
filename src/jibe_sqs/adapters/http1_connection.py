"""One connection of HTTP/1.1: it sends a request at a time, and makes an `Answer` of the bytes that come back.

There is no task behind it. Bytes of the server go through httptools' parser into the answer, whose future resolves

- when all of the body is here, if it has at most `SMALL` bytes: then a request costs one write and one future;
- when the body has begun, if it is larger. It is read with `Answer.chunk` then, and the connection receives at most
  `CHUNK` bytes ahead of the reader (and what one read of the socket brings).
"""

import asyncio
from collections.abc import Callable
from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from jibe_sqs.adapters.http1_errors import Disconnected, HttpError, Malformed, ReadTimedOut

SMALL: Final = 64 * 1024
"""The largest body that is received before its answer is returned."""
CHUNK: Final = 1024 * 1024
"""The least number of bytes of each chunk of a larger body, except for the last one."""
MAX_HEAD: Final = 64 * 1024
"""Bytes of headers, of trailers, and of interim answers in front of an answer; and what one read of the socket brings."""


class Answer:
    """An answer: its status and headers, and its body, which may still be on its way.

    `body`: all of it, or None if it has more than `SMALL` bytes. `length`: its length as the server announced it, or None
    if it did not. A body is as it was sent, without its Transfer-Encoding, and with its Content-Encoding.
    """

    __slots__ = (
        "_connection",
        "_ended",
        "_failure",
        "_fields",
        "_held",
        "_pieces",
        "_reader",
        "body",
        "length",
        "status",
    )

    def __init__(self, connection: "Connection", status: int, fields: dict[bytes, bytes]) -> None:
        """`fields`: the headers, with names in lower case."""
        length = fields.get(b"content-length")
        self.status = status
        self.length = None if length is None else int(length)
        self.body: bytes | None = None
        self._fields = fields
        self._connection: Connection | None = connection
        self._pieces: list[bytes] = []
        self._held = 0
        self._ended = False
        self._failure: HttpError | None = None
        self._reader: asyncio.Future[None] | None = None

    def header(self, name: str, default: str = "") -> str:
        """The value of a header; of a repeated one, the last. `name` is in lower case."""
        value = self._fields.get(name.encode())
        return default if value is None else value.decode("latin-1").strip()

    @property
    def headers(self) -> dict[str, str]:
        """All headers, with names in lower case; of a repeated one, the last."""
        return {name.decode("latin-1"): value.decode("latin-1").strip() for name, value in self._fields.items()}

    async def chunk(self) -> bytes:
        """The next bytes of the body: at least `CHUNK`, or all that is left; empty at its end.

        Raises `HttpError` if the body breaks off, after what came before.
        """
        while self._held < CHUNK and not self._ended and self._failure is None:
            await self._more()
        if self._pieces:
            chunk = b"".join(self._pieces)
            self._pieces.clear()
            self._held = 0
            if self._connection is not None:
                self._connection.resume()
            return chunk
        if self._failure is not None:
            raise self._failure
        return b""

    async def read(self, limit: int) -> bytes:
        """The whole body, and the end of the answer. Of a body of more than `limit` bytes, the end is missing.

        Raises `HttpError` if the body breaks off.
        """
        body = bytearray()
        try:
            while chunk := await self.chunk():
                body += chunk
                if len(body) > limit:
                    break
        finally:
            self.close()
        return bytes(body)

    def close(self) -> None:
        """Drop what was not read. Then the connection cannot be used again, and is closed."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort(Disconnected("the answer was closed before it was read"))

    async def _more(self) -> None:
        self._reader = asyncio.get_running_loop().create_future()
        try:
            await self._reader
        finally:
            self._reader = None

    # For the connection.

    def add(self, piece: bytes) -> int:
        """Take a part of the body. Returns the bytes that wait for the reader."""
        self._pieces.append(piece)
        self._held += len(piece)
        if self._held >= CHUNK:
            self._wake()
        return self._held

    def end(self, *, whole: bool) -> None:
        """All of the body is here. `whole`: nothing of it was read yet."""
        self._connection = None
        self._ended = True
        if whole:
            self.body = b"".join(self._pieces)
        self._wake()

    def fail(self, error: HttpError) -> None:
        """The rest of the body will not come."""
        self._connection = None
        self._failure = error
        self._wake()

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)


class Connection(asyncio.Protocol):
    """A connection, over TLS or not.

    `usable`: whether it takes another request once it is idle. `idle_since`: by the loop's clock; 0 if it never was.
    """

    def __init__(
        self,
        idle: Callable[["Connection"], None],
        lost: Callable[["Connection"], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """`idle` is called when an answer has ended and another request can be sent, `lost` once, at the end."""
        self.usable = False
        self.idle_since = 0.0
        self._idle = idle
        self._lost = lost
        self._loop = loop
        self._transport: asyncio.Transport
        self._fields: dict[bytes, bytes] = {}
        # The parser calls these. A function in C for each header is several times as fast as a method.
        self.on_header = self._fields.__setitem__
        self._parser = HttpResponseParser(self)
        self._future: asyncio.Future[Answer] | None = None
        self._answer: Answer | None = None
        self._complete = False
        self._keep_alive = False
        self._answered = False
        self._fruitless = 0
        self._paused = False
        self._timeout = 0.0
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None

    async def send(self, request: bytes, read_timeout: float) -> Answer:
        """Send a request. Raises `HttpError`. `read_timeout`: seconds without a byte from the server."""
        future: asyncio.Future[Answer] = self._loop.create_future()
        self._future = future
        self._answered = False
        self._fruitless = 0
        self._timeout = read_timeout
        self._deadline = self._loop.time() + read_timeout
        self._watch()
        self._transport.write(request)
        try:
            return await future
        except asyncio.CancelledError:
            if future.cancelled():
                # Else the answer came in between, and the connection may belong to another request already.
                if self._future is future:
                    self.abort()
            elif future.exception() is None:
                # The answer came at the same time, and nobody will read it.
                future.result().close()
            raise

    def resume(self) -> None:
        """Receive more of a body."""
        if self._paused:
            self._paused = False
            self._deadline = self._loop.time() + self._timeout
            self._transport.resume_reading()

    def abort(self, error: HttpError | None = None) -> None:
        """Close the connection now. `error`: for the request or the reader that waits, if there is one."""
        future, answer = self._future, self._answer
        self.usable = False
        self._future = self._answer = None
        self._transport.abort()
        if future is None:
            return
        error = error or Disconnected("the connection was closed before the answer was complete")
        if not future.done():
            future.set_exception(error)
        elif answer is not None:
            answer.fail(error)

    # asyncio calls these.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is open."""
        self._transport = transport  # type: ignore[assignment] # a transport of a stream
        self.usable = True

    def data_received(self, data: bytes) -> None:
        """Bytes of the server."""
        if self._future is None:
            # Not asked for, such as a 408 before the server closes an idle connection.
            self.abort()
            return
        self._answered = True
        self._deadline = self._loop.time() + self._timeout
        self._fruitless += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            if not self._complete:
                self.abort(Malformed(f"the answer is not HTTP/1.1: {error}"))
                return
            # There are bytes after the answer.
            self._keep_alive = False
        if self._complete:
            self._end()
        elif self._fruitless > MAX_HEAD:
            self.abort(Malformed(f"the answer's headers have more than {MAX_HEAD:,} bytes"))

    def eof_received(self) -> None:
        """The server sends nothing more. asyncio closes the connection then."""
        self.usable = False
        self._ended_by_server("the server closed the connection before its answer was complete")

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed."""
        self.usable = False
        if exc is None:
            self._ended_by_server("the connection was closed before the answer was complete")
        else:
            self.abort(Disconnected(f"the connection broke: {exc}", unanswered=not self._answered))
        if self._timer is not None:
            self._timer.cancel()
        # They refer to each other.
        del self._parser, self.on_header
        self._lost(self)

    # The parser calls these.

    def on_message_begin(self) -> None:
        """The first byte of an answer, or of what comes after it."""
        if self._complete:
            raise Malformed("a second answer")

    def on_headers_complete(self) -> None:
        """All headers are in `_fields`."""
        status = self._parser.get_status_code()
        if status < 100:
            # Otherwise it would count as interim, and its body would have no limit.
            raise Malformed(f"the status {status}")
        fields = {name.lower(): value for name, value in self._fields.items()}
        self._fields.clear()
        if status < 200 or self._future is None:
            return
        answer = self._answer = Answer(self, status, fields)
        if answer.length is not None and answer.length > SMALL:
            self._future.set_result(answer)

    def on_body(self, data: bytes) -> None:
        """A part of the body."""
        self._fruitless = 0
        if self._answer is None or self._future is None:
            return
        held = self._answer.add(data)
        if held > SMALL and not self._future.done():
            self._future.set_result(self._answer)
        if held >= CHUNK and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        """The end of an answer, or of an interim one."""
        if self._answer is not None:
            self._complete = True
            self._keep_alive = self._parser.should_keep_alive()
        self._fields.clear()  # of trailers

    # Ends of an answer.

    def _end(self) -> None:
        answer, future = self._answer, self._future
        if answer is None or future is None:
            return
        self._answer = self._future = None
        self._complete = False
        self.resume()
        answer.end(whole=not future.done())
        if self._keep_alive and self.usable and not self._transport.get_write_buffer_size():
            self._idle(self)
        else:
            self.abort()
        if not future.done():
            future.set_result(answer)

    def _ended_by_server(self, reason: str) -> None:
        answer = self._answer
        if answer is not None and answer.length is None and not answer.header("transfer-encoding"):
            # The length of such a body is shown only by its end.
            self._keep_alive = False
            self._end()
        else:
            self.abort(Disconnected(reason, unanswered=not self._answered))

    # One timer serves all requests: moving it for each would cost more than the rest of the bookkeeping.

    def _watch(self) -> None:
        if self._timer is not None:
            if self._timer.when() <= self._deadline:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(self._deadline, self._check)

    def _check(self) -> None:
        self._timer = None
        if self._future is None:
            return
        now = self._loop.time()
        if self._paused:
            self._deadline = now + self._timeout
        if now < self._deadline:
            self._watch()
        else:
            self.abort(ReadTimedOut(f"the server sent nothing for {self._timeout:g} seconds"))
