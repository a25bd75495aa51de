"""A client of HTTP/1.1 for many small requests to few servers: GETs of log files from S3, and calls of SQS.

    async with HttpClient(lambda: tls) as client:              # one for each set of trusted certificates
        origin = client.origin("https://s3.eu-west-1.amazonaws.com", proxy=None)      # once; keeps its connections
        answer = await origin.request("GET", "/bucket/key?versionId=1", {"Accept-Encoding": "identity"}, read_timeout=60)
        answer.status, answer.header("etag"), answer.body

`request` returns when all of the body is here, if it is small. If it is larger, `answer.body` is None, and

        while chunk := await answer.chunk():                   # a MiB at least
            ...
        answer.close()                                         # not needed after the end

Every error is an `HttpError`. Not there, because none of these servers needs it: redirects, cookies, decompression,
HEAD, bodies of requests that are not in memory, `Expect: 100-continue`, HTTP/2.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import Final, Self

from jibe_sqs.adapters.http1_connection import Answer, Connection
from jibe_sqs.adapters.http1_errors import Disconnected, Unreachable
from jibe_sqs.adapters.http1_opening import Opener, Server, Tls, proxy_authorization

CONNECT_TIMEOUT: Final = 10.0
"""Seconds for each step of opening a connection."""
KEEP_ALIVE: Final = 12.0
"""Seconds for which an idle connection is kept. aiobotocore's default; S3 closes it after about 20."""
CONNECTIONS: Final = 512
"""Connections to one origin. With 300 GETs in flight, each of 30 ms, 10,000 files a second are read."""


class HttpClient:
    """Connections to any number of origins. An async context manager: its end closes all of them."""

    def __init__(self, tls: Tls = ssl.create_default_context, *, connections: int = CONNECTIONS) -> None:
        """`tls`: makes the context of https, when the first connection needs it. `connections`: the most to one origin."""
        self.tls = tls
        self._connections = connections
        self._origins: dict[tuple[Server, str | None], Origin] = {}

    async def __aenter__(self) -> Self:
        """Connections are opened when they are needed."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections, also those in use. No request may follow."""
        for origin in self._origins.values():
            await origin.close()

    def origin(self, url: str, proxy: str | None = None, *, connect_timeout: float = CONNECT_TIMEOUT) -> "Origin":
        """The origin of a URL, whose path is not read, behind a proxy. The same arguments return the same origin.

        `proxy`: its URL, with a login if it needs one. Raises `ValueError` for a URL that is not of http or https.
        """
        key = Server.of(url), proxy
        if key not in self._origins:
            opener = Opener(key[0], proxy, self.tls, connect_timeout)
            self._origins[key] = Origin(key[0], proxy, opener, self._connections)
        return self._origins[key]


class Origin:
    """A server, perhaps behind a proxy, and the connections to it. `host`: the Host header of its requests."""

    def __init__(self, server: Server, proxy: str | None, opener: Opener, connections: int) -> None:
        """`connections`: the most of them."""
        self.host = server.host_header
        self._opener = opener
        self._most = connections
        # A proxy needs the whole URL of a request that it reads, and its login in each.
        reads = proxy if not server.tls else None
        self._prefix = f"http://{self.host}" if reads else ""
        authorization = proxy_authorization(reads) if reads else ""
        self._constant = f"Host: {self.host}\r\n" + (
            f"Proxy-Authorization: {authorization}\r\n" if authorization else ""
        )
        self._constant_lines = self._constant.count("\n")
        self._all: set[Connection] = set()
        self._opening = 0
        # The connection used last is used next, so surplus ones grow old, and the oldest is the first.
        self._idle: deque[Connection] = deque()
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._closing_idle: asyncio.TimerHandle | None = None
        self._closed: asyncio.Future[None] | None = None

    async def request(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes = b"", *, read_timeout: float
    ) -> Answer:
        """Send a request, and return its answer when its body is here, or, if it is large, when it begins.

        `target`: path and query, encoded. `headers`: all but Host and Content-Length. `read_timeout`: seconds without a
        byte from the server. Raises `HttpError`; `ValueError` for a target or headers that are not of one line.

        If the server closes a connection that was idle, because it has just timed out there, the request is repeated once.
        """
        request = self._encoded(method, target, headers, body)
        connection = self._reused() or await self._taken()
        try:
            return await connection.send(request, read_timeout)
        except Disconnected as error:
            if not error.unanswered or not connection.idle_since:
                raise
        return await (await self._opened()).send(request, read_timeout)

    async def close(self) -> None:
        """Close all connections, and end all requests, also those without a connection. No request may follow."""
        if self._closing_idle is not None:
            self._closing_idle.cancel()
        self._most = 0
        while self._waiting:
            self._next()
        for connection in [*self._all]:
            connection.abort()
        if self._all:
            self._closed = asyncio.get_running_loop().create_future()
            await self._closed

    def _encoded(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> bytes:
        lines = [f"{method} {self._prefix}{target} HTTP/1.1\r\n{self._constant}"]
        lines += [f"{name}: {value}\r\n" for name, value in headers.items()]
        if body or method != "GET":
            lines.append(f"Content-Length: {len(body)}\r\n")
        lines.append("\r\n")
        head = "".join(lines)
        # A line end in a value would begin another header, or another request.
        expected = self._constant_lines + len(lines)
        if head.count("\n") != expected or head.count("\r") != expected or " " in target:
            raise ValueError("a target or a header of the request has more than one line")
        return head.encode() + body

    def _reused(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
        return None

    async def _taken(self) -> Connection:
        """A connection that is free now, or a new one, as soon as the limit allows it."""
        while len(self._all) + self._opening >= self._most > 0:
            await self._turn()
            if (connection := self._reused()) is not None:
                return connection
        return await self._opened()

    async def _turn(self) -> None:
        """Wait until a connection is free or closed."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._next()
            raise

    async def _opened(self) -> Connection:
        if not self._most:
            raise _closed()
        loop = asyncio.get_running_loop()
        self._opening += 1
        try:
            connection = await self._opener.open(lambda: Connection(self._is_idle, self._is_lost, loop))
        except BaseException:
            self._opening -= 1
            self._next()
            raise
        self._opening -= 1
        if not self._most:
            connection.abort()
            raise _closed()
        if not connection.usable:
            self._next()
            raise Unreachable("the server closed the connection at once")
        self._all.add(connection)
        return connection

    def _next(self) -> None:
        """Let the next request have its turn."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    def _is_idle(self, connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        connection.idle_since = loop.time()
        self._idle.append(connection)
        self._next()
        if self._closing_idle is None:
            self._closing_idle = loop.call_later(KEEP_ALIVE, self._close_idle)

    def _is_lost(self, connection: Connection) -> None:
        if connection in self._all:
            self._all.remove(connection)
            self._next()
            if self._closed is not None and not self._all and not self._closed.done():
                self._closed.set_result(None)

    def _close_idle(self) -> None:
        loop = asyncio.get_running_loop()
        self._closing_idle = None
        while self._idle and self._idle[0].idle_since <= loop.time() - KEEP_ALIVE:
            self._idle.popleft().abort()
        if self._idle:
            self._closing_idle = loop.call_at(self._idle[0].idle_since + KEEP_ALIVE, self._close_idle)


def _closed() -> Disconnected:
    return Disconnected("the client is closed")
