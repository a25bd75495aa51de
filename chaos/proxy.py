"""A TCP proxy between one replica and one system, so that this replica alone can be cut off from that system alone."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

CHUNK: Final = 64 * 1024
BACKLOG: Final = 512
DELAY: Final = 0.7
"""Seconds that each piece takes in each direction while the way is slow."""


class Fault(StrEnum):
    """What befalls all connections by this way."""

    CUT = "cut"
    """They are reset, and so is every new one."""
    DELAY = "delay"
    """All that is said takes longer."""
    RESET = "reset"
    """Each is reset in the middle of the next answer, whose call has had its effect."""
    BLACK_HOLE = "black hole"
    """New ones are accepted, what is said is swallowed, nothing is answered: on these connections, for ever."""


class Proxy:
    """Listens on a loopback port of its own and passes on to the target, as far as the fault lets it."""

    def __init__(self, host: str, port: int) -> None:
        """Of the target."""
        self._target = host, port
        self._fault: Fault | None = None
        self._connections: set[_Connection] = set()
        self.port = 0
        """Where it listens, once it does."""

    @property
    def is_clear(self) -> bool:
        """Whether nothing is amiss."""
        return self._fault is None

    def befall(self, fault: Fault | None) -> None:
        """From now on, this; None for an ordinary way."""
        self._fault = fault
        for connection in list(self._connections):
            if fault is Fault.CUT:
                connection.reset()
            elif fault is Fault.BLACK_HOLE:
                connection.is_silent = True

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, from its beginning to its end."""
        connection = _Connection(writer)
        if self._fault is Fault.CUT:
            connection.reset()
            return
        connection.is_silent = self._fault is Fault.BLACK_HOLE
        self._connections.add(connection)
        try:
            await self._pass_on(connection, reader)
        except OSError:
            connection.reset()
        finally:
            self._connections.discard(connection)
            connection.close()

    async def _pass_on(self, connection: "_Connection", reader: asyncio.StreamReader) -> None:
        there_reader, there = await asyncio.open_connection(*self._target)
        connection.writers.append(there)
        pumps = [
            asyncio.create_task(self._pump(reader, there, connection, is_answer=False)),
            asyncio.create_task(self._pump(there_reader, connection.writers[0], connection, is_answer=True)),
        ]
        try:
            # Whichever end closes: nobody who speaks HTTP waits for an answer on a connection that he has closed.
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
        while data := await reader.read(CHUNK):
            if self._fault is Fault.DELAY:
                await asyncio.sleep(DELAY)
            if connection.is_silent:
                continue
            if self._fault is Fault.RESET and is_answer:
                writer.write(data[: len(data) // 2])
                await writer.drain()
                connection.reset()
                return
            writer.write(data)
            await writer.drain()
        if connection.is_silent and is_answer:
            # The server has given up, and who asked must not hear of it.
            await asyncio.get_running_loop().create_future()


class _Connection:
    """Both its ends."""

    def __init__(self, here: asyncio.StreamWriter) -> None:
        self.writers = [here]
        self.is_silent = False

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


@asynccontextmanager
async def proxied(url: str) -> AsyncIterator[tuple[Proxy, Callable[[str], str]]]:
    """A proxy to that URL's host; and how any URL of that host is called by way of it."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 80
    proxy = Proxy(host, port)
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # asyncio's own tasks outlive the server; these do not.
        task = asyncio.create_task(proxy.accept(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, backlog=BACKLOG)
    proxy.port = server.sockets[0].getsockname()[1]

    def by_way_of_it(address: str) -> str:
        return urlsplit(address)._replace(netloc=f"127.0.0.1:{proxy.port}").geturl()

    try:
        yield proxy, by_way_of_it
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()
