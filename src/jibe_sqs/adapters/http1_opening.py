"""Opens connections of HTTP/1.1: directly or through a proxy, with TLS or without."""

import asyncio
import socket
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final, TypeVar
from urllib.parse import unquote, urlsplit

import aiohappyeyeballs
import msgspec
from aiohappyeyeballs import AddrInfoType

from jibe_sqs.adapters.http1_connection import MAX_HEAD, Connection
from jibe_sqs.adapters.http1_errors import ProxyFailed, TlsFailed, Unreachable

Made = TypeVar("Made", bound=asyncio.Protocol)
Tls = Callable[[], ssl.SSLContext]
"""Returns the context of TLS. To read a hundred certificates takes longer than all else about a client."""

KNOWN_FOR: Final = 10.0
"""Seconds for which the addresses of a name are kept. aiohttp's default."""
NEXT_ADDRESS: Final = 0.25
"""Seconds after which the next address of a name is tried at the same time: RFC 8305."""


class Server(msgspec.Struct, frozen=True):
    """A server, or a proxy."""

    host: str
    port: int
    tls: bool

    @staticmethod
    def of(url: str) -> "Server":
        """The server of a URL. Raises `ValueError`."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("not a URL of http or https with a host")
        tls = parts.scheme == "https"
        return Server(parts.hostname, parts.port or (443 if tls else 80), tls)

    @property
    def authority(self) -> str:
        """Host and port."""
        return f"{self._bracketed}:{self.port}"

    @property
    def host_header(self) -> str:
        """Host, and the port if it is not the scheme's."""
        return self._bracketed if self.port == (443 if self.tls else 80) else self.authority

    @property
    def _bracketed(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host


def proxy_authorization(proxy: str) -> str:
    """The value of Proxy-Authorization for the login in a proxy's URL; empty if it has none."""
    parts = urlsplit(proxy)
    if parts.username is None:
        return ""
    login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return f"Basic {b64encode(login.encode()).decode()}"


class Opener:
    """Opens connections to one server."""

    def __init__(self, server: Server, proxy: str | None, tls: Tls, timeout: float) -> None:
        """`proxy`: its URL. `timeout`: seconds for each step: to connect, for the proxy's answer, and for TLS."""
        self._server = server
        self._proxy = None if proxy is None else Server.of(proxy)
        self._authorization = "" if proxy is None else proxy_authorization(proxy)
        self._first = self._proxy or server
        self._tls = tls
        self._timeout = timeout
        self._addresses: Sequence[AddrInfoType] = ()
        self._found_at = 0.0
        self._looking = asyncio.Lock()

    async def open(self, make: Callable[[], Connection]) -> Connection:
        """A new connection. Raises `Unreachable`."""
        async with self._step(f"cannot connect to {self._first.authority}"):
            connected = await self._connected()
        try:
            if self._proxy is not None and self._server.tls:
                return await self._through_tunnel(connected, make)
            return (await self._attached(connected, make))[1]
        except BaseException:
            # Its transport closes the socket, perhaps later. If it were closed here, the transport would stay registered in
            # the loop for a descriptor that the next connection has.
            with suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)
            raise

    async def _connected(self) -> socket.socket:
        try:
            return await aiohappyeyeballs.start_connection(
                await self._found(), happy_eyeballs_delay=NEXT_ADDRESS, interleave=1
            )
        except BaseException:
            self._addresses = ()
            raise

    async def _found(self) -> Sequence[AddrInfoType]:
        """The addresses of the server, or of its proxy."""
        loop = asyncio.get_running_loop()
        async with self._looking:
            if not self._addresses or loop.time() - self._found_at > KNOWN_FOR:
                self._addresses = await loop.getaddrinfo(
                    self._first.host, self._first.port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
                )
                self._found_at = loop.time()
            return self._addresses

    async def _attached(self, connected: socket.socket, make: Callable[[], Made]) -> tuple[asyncio.Transport, Made]:
        """A transport over the socket, with TLS if the server, or its proxy, wants it."""
        loop = asyncio.get_running_loop()
        async with self._step(f"no connection to {self._first.authority}"):
            if self._first.tls:
                return await loop.create_connection(
                    make, sock=connected, ssl=self._tls(), server_hostname=self._first.host
                )
            return await loop.create_connection(make, sock=connected)

    async def _through_tunnel(self, connected: socket.socket, make: Callable[[], Connection]) -> Connection:
        transport, tunnel = await self._attached(connected, _Tunnel)
        try:
            async with self._step(f"no tunnel through {self._first.authority}"):
                await tunnel.opened(self._server.authority, self._authorization)
            connection = make()
            # It may be lost before it is secured.
            connection.connection_made(transport)
            async with self._step(f"no TLS with {self._server.authority}", Unreachable):
                secured = await asyncio.get_running_loop().start_tls(
                    transport, connection, self._tls(), server_hostname=self._server.host
                )
            if secured is None:
                raise Unreachable(f"no TLS with {self._server.authority}: the connection was closed")
        except BaseException:
            transport.abort()
            raise
        connection.connection_made(secured)
        return connection

    @asynccontextmanager
    async def _step(self, what: str, failure: type[Unreachable] | None = None) -> AsyncIterator[None]:
        """Limit the time of one step, and raise what goes wrong as one of our errors."""
        failure = failure or (Unreachable if self._proxy is None else ProxyFailed)
        try:
            async with asyncio.timeout(self._timeout):
                yield
        except ssl.SSLError as error:
            raise TlsFailed(f"{what}: {error}") from error
        except TimeoutError as error:
            raise failure(f"{what} within {self._timeout:g} seconds") from error
        except (OSError, UnicodeError) as error:
            # UnicodeError: of a name with an empty or too long label.
            raise failure(f"{what}: {error}") from error


class _Tunnel(asyncio.Protocol):
    """Asks a proxy for a tunnel. Format: RFC 9110, section 9.3.6."""

    def __init__(self) -> None:
        self._received = b""
        self._answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def opened(self, authority: str, authorization: str) -> None:
        """Returns when the tunnel is open. Raises `ProxyFailed`."""
        login = f"Proxy-Authorization: {authorization}\r\n" if authorization else ""
        self._transport.write(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{login}\r\n".encode())
        line = await self._answer
        protocol, _, status = line.partition(" ")
        if not protocol.startswith("HTTP/1.") or not status.startswith("2"):
            raise ProxyFailed(f"the proxy opens no tunnel to {authority}: {line[:100]}")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection to the proxy is open."""
        self._transport: asyncio.Transport = transport  # type: ignore[assignment] # a transport of a stream

    def data_received(self, data: bytes) -> None:
        """Bytes of the proxy."""
        self._received += data
        head, end, _ = self._received.partition(b"\r\n\r\n")
        if (end or len(head) > MAX_HEAD) and not self._answer.done():
            self._answer.set_result(head.partition(b"\r\n")[0].decode("latin-1"))

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection to the proxy is closed."""
        if not self._answer.done():
            self._answer.set_exception(ProxyFailed(f"the proxy closed the connection{f': {exc}' if exc else ''}"))
            # It may be that the request was cancelled, and this is not read.
            self._answer.exception()
