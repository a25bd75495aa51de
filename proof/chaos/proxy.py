"""Links between one replica and each system, so that a fault can affect one system for one replica only.

    replica ── CONNECT sqs.eu-west-1.amazonaws.com:443 ──> proxy ─ link of SQS ─────────────> the sandbox's AWS
            ── CONNECT jibe-….s3.amazonaws.com:443 ──────>       ─ link of S3 ──────────────>
            ── http://127.0.0.1:PORT ───────────────────────────── link of Access Anywhere ─> its server

A replica reaches AWS through an HTTPS proxy. The proxy reads the host name of each new tunnel, and forwards the
encrypted connection to the sandbox's own proxy, through the link of the system to which the host belongs.
"""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import Any, Final
from urllib.parse import urlsplit

CHUNK_SIZE: Final = 64 * 1024
BACKLOG: Final = 512
DELAY: Final = 0.7
"""Seconds by which a slow link delays each piece of data, in each direction."""
_END_OF_HEAD: Final = b"\r\n\r\n"

Accept = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


class Fault(StrEnum):
    """A fault of all connections of a link."""

    CUT = "cut"
    """All connections are reset, and so is each new one."""
    DELAY = "delay"
    """All data is delayed."""
    RESET = "reset"
    """Each connection is reset in the middle of the next answer. The call has taken effect."""
    BLACK_HOLE = "black hole"
    """New connections are accepted. All data is dropped and nothing is answered, on these connections for ever."""


class Link:
    """Forwards connections to the target, as far as the current fault permits."""

    def __init__(self, url: str) -> None:
        """`url`: of the target."""
        self._target = _address(url)
        self._fault: Fault | None = None
        self._connections: set[_Connection] = set()

    @property
    def is_clear(self) -> bool:
        """Whether the link has no fault."""
        return self._fault is None

    def set_fault(self, fault: Fault | None) -> None:
        """Set the fault. None: no fault."""
        self._fault = fault
        for connection in list(self._connections):
            if fault is Fault.CUT:
                connection.reset()
            elif fault is Fault.BLACK_HOLE:
                connection.is_silent = True

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connect: bytes = b"") -> None:
        """Handle one connection. `connect`: the request that opened the tunnel, if it is a tunnel."""
        connection = _Connection(writer, is_tunnel=bool(connect))
        if self._fault is Fault.CUT:
            connection.reset()
            return
        connection.is_silent = self._fault is Fault.BLACK_HOLE
        self._connections.add(connection)
        try:
            await self._pass_on(connection, reader, connect)
        except (OSError, asyncio.IncompleteReadError):
            connection.reset()
        finally:
            self._connections.discard(connection)
            connection.close()

    async def _pass_on(self, connection: "_Connection", reader: asyncio.StreamReader, connect: bytes) -> None:
        server_reader, server_writer = await asyncio.open_connection(*self._target)
        connection.writers.append(server_writer)
        if connect and not connection.is_silent:
            # This is a part of opening the connection. It is not an answer to a call.
            server_writer.write(connect)
            connection.writers[0].write(await server_reader.readuntil(_END_OF_HEAD))
        pumps = [
            asyncio.create_task(self._pump(reader, server_writer, connection, is_answer=False)),
            asyncio.create_task(self._pump(server_reader, connection.writers[0], connection, is_answer=True)),
        ]
        try:
            # If one side closes, close both: no HTTP client waits for an answer on a connection that it has closed.
            ended, _ = await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for pump in ended:
                pump.result()
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: "_Connection", *, is_answer: bool
    ) -> None:
        while data := await reader.read(CHUNK_SIZE):
            connection.note_data(is_answer=is_answer)
            if self._fault is Fault.DELAY:
                await asyncio.sleep(DELAY)
            if connection.is_silent:
                continue
            if self._fault is Fault.RESET and is_answer and not connection.is_shaking_hands:
                writer.write(data[: len(data) // 2])
                await writer.drain()
                connection.reset()
                return
            writer.write(data)
            await writer.drain()
        if connection.is_silent and is_answer:
            # The server has closed the connection, but the client must not notice.
            await asyncio.get_running_loop().create_future()


class _Connection:
    """Both ends of a connection."""

    def __init__(self, client_writer: asyncio.StreamWriter, *, is_tunnel: bool) -> None:
        self.writers = [client_writer]
        self.is_silent = False
        self.is_shaking_hands = is_tunnel
        """During the TLS handshake, the server's first data is not an answer. Its next data is."""
        self._has_server_spoken = False

    def note_data(self, *, is_answer: bool) -> None:
        """Note that data was sent. The client sends first, the server answers, and then the client
        sends its request.
        """
        if is_answer:
            self._has_server_spoken = True
        elif self._has_server_spoken:
            self.is_shaking_hands = False

    def reset(self) -> None:
        """Reset both ends with an RST."""
        for writer in self.writers:
            connected: socket.socket = writer.get_extra_info("socket")
            if not writer.transport.is_closing():
                connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()

    def close(self) -> None:
        for writer in self.writers:
            writer.close()


class HttpsProxy:
    """An HTTPS proxy. Each tunnel goes through the link of the system to which its host belongs."""

    def __init__(self, links: Mapping[str, Link]) -> None:
        """`links`: by the names that `service` returns."""
        self._links = links

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Handle one connection."""
        try:
            connect = await reader.readuntil(_END_OF_HEAD)
        except (OSError, asyncio.IncompleteReadError):
            writer.close()
            return
        host = connect.split()[1].decode("latin-1").rpartition(":")[0]
        link = self._links.get(service(host))
        if link is None:
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            writer.close()
            return
        await link.accept(reader, writer, connect)


def service(host: str) -> str:
    """`s3` for `BUCKET.s3.REGION.amazonaws.com`, `sqs` for `sqs.REGION.amazonaws.com`.

    A bucket's name may contain dots.
    """
    labels = host.split(".")
    return next((label for label in reversed(labels) if label in ("s3", "sqs", "dynamodb")), labels[0])


@asynccontextmanager
async def listening(accept: Accept) -> AsyncIterator[str]:
    """Accept connections on a free loopback port. Yields the URL."""
    tasks: set[asyncio.Task[None]] = set()

    def start(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # asyncio's own tasks would outlive the server. These are cancelled with it.
        task = asyncio.create_task(accept(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(start, "127.0.0.1", 0, backlog=BACKLOG)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 80
