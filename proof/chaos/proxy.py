"""Links between one replica and each system, so that this replica alone can be cut off from that system alone.

    replica ── CONNECT sqs.eu-west-1.amazonaws.com:443 ──> Hop ── link of SQS ──────────────> the sandbox's AWS
            ── CONNECT jibe-….s3.amazonaws.com:443 ──────>     ── link of S3 ───────────────>
            ── http://127.0.0.1:PORT ────────────────────> Door ─ link of Access Anywhere ──> its server

A replica's way to AWS is an HTTPS proxy. The hop reads the host name of each new connection and passes everything on,
still encrypted, to the sandbox's own proxy, by the link of the system that the host belongs to.
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
"""Seconds that each piece takes in each direction while the link is slow."""
_END_OF_HEAD: Final = b"\r\n\r\n"

Accept = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


class Fault(StrEnum):
    """What happens to all connections of a link."""

    CUT = "cut"
    """They are reset, and so is every new one."""
    DELAY = "delay"
    """All that is sent takes longer."""
    RESET = "reset"
    """Each is reset in the middle of the next answer, whose call has had its effect."""
    BLACK_HOLE = "black hole"
    """New ones are accepted, what is sent is swallowed, nothing is answered: on these connections, for ever."""


class Link:
    """Passes connections on to the target, as far as the fault lets it."""

    def __init__(self, url: str) -> None:
        """Of the target."""
        self._target = _address(url)
        self._fault: Fault | None = None
        self._connections: set[_Connection] = set()

    @property
    def is_clear(self) -> bool:
        """Whether there is no fault."""
        return self._fault is None

    def set_fault(self, fault: Fault | None) -> None:
        """From now on this fault; None: no fault."""
        self._fault = fault
        for connection in list(self._connections):
            if fault is Fault.CUT:
                connection.reset()
            elif fault is Fault.BLACK_HOLE:
                connection.is_silent = True

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connect: bytes = b"") -> None:
        """One connection, from its beginning to its end. `connect`: the request for a tunnel, if it began with one."""
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
        there_reader, there = await asyncio.open_connection(*self._target)
        connection.writers.append(there)
        if connect and not connection.is_silent:
            # Part of opening the connection: no answer to a call.
            there.write(connect)
            connection.writers[0].write(await there_reader.readuntil(_END_OF_HEAD))
        pumps = [
            asyncio.create_task(self._pump(reader, there, connection, is_answer=False)),
            asyncio.create_task(self._pump(there_reader, connection.writers[0], connection, is_answer=True)),
        ]
        try:
            # Whichever end closes: no HTTP client waits for an answer on a connection that it has closed.
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
            # The server has given up, and the client must not notice.
            await asyncio.get_running_loop().create_future()


class _Connection:
    """Both its ends."""

    def __init__(self, here: asyncio.StreamWriter, *, is_tunnel: bool) -> None:
        self.writers = [here]
        self.is_silent = False
        self.is_shaking_hands = is_tunnel
        """TLS: the server has sent nothing but its first words. Its next words are an answer."""
        self._has_server_spoken = False

    def note_data(self, *, is_answer: bool) -> None:
        """Something was sent. The client speaks first, the server answers, and then the client sends its request."""
        if is_answer:
            self._has_server_spoken = True
        elif self._has_server_spoken:
            self.is_shaking_hands = False

    def reset(self) -> None:
        """Both ends see an RST."""
        for writer in self.writers:
            connected: socket.socket = writer.get_extra_info("socket")
            if not writer.transport.is_closing():
                connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()

    def close(self) -> None:
        for writer in self.writers:
            writer.close()


class Hop:
    """An HTTPS proxy: each tunnel goes by the link of the system that its host belongs to."""

    def __init__(self, links: Mapping[str, Link]) -> None:
        """`links`: by the name that `service` gives."""
        self._links = links

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, from its beginning to its end."""
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
    """`s3` of `BUCKET.s3.REGION.amazonaws.com`, `sqs` of `sqs.REGION.amazonaws.com`. A bucket's name may have dots."""
    labels = host.split(".")
    return next((label for label in reversed(labels) if label in ("s3", "sqs", "dynamodb")), labels[0])


@asynccontextmanager
async def listening(accept: Accept) -> AsyncIterator[str]:
    """Accepts connections on a loopback port of its own; gives its URL."""
    tasks: set[asyncio.Task[None]] = set()

    def start(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # asyncio's own tasks outlive the server; these do not.
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
