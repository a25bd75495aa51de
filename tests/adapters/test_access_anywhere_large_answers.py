"""The client against a server on loopback that answers with far more than a page: memory, turns of the event loop, an end."""

import asyncio
import gc
import itertools
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qsl

import pytest
from msgspec import structs
from tests.clocks import SystemClock
from tests.processes import PATIENCE

from jibe_sqs.adapters.access_anywhere import AccessAnywhere, connect
from jibe_sqs.adapters.access_anywhere.wire import answers, reader, transport
from jibe_sqs.core.errors import AnswerMalformed

MB = 1_000_000
PIECE = 64 * 1024
FILES = 8_000
OPEN = b'{"status":"ok","total":%d,"filelist":[' % FILES


class Server:
    """Answers getFolderContents with the pieces of `folders[fi_pid]`, one by one, and any other call with a token."""

    def __init__(self) -> None:
        self.folders: dict[str, Callable[[], Iterator[bytes]]] = {}
        self.packed = False
        self.sent = 0
        self.left = asyncio.Event()
        """Set when a client has closed its connection before the end of an answer."""

    async def answer(self, asked: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await asked.readuntil(b"\r\n\r\n")
            size = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
            form = dict(parse_qsl((await asked.readexactly(size)).decode()))
            pieces = iter([b'{"status":"ok","token":"secret-token"}'])
            if form["function"] == "getFolderContents":
                pieces = self.folders[form["fi_pid"]]()
            gzip = zlib.compressobj(wbits=31) if self.packed else None
            coding = b"Content-Encoding: gzip\r\n" if gzip else b""
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n%s\r\n" % coding)
            for piece in pieces:
                writer.write(gzip.compress(piece) if gzip else piece)
                await writer.drain()
                await asyncio.sleep(0)
                self.sent += len(piece)
            if gzip:
                writer.write(gzip.flush())
            await writer.drain()
        except (ConnectionError, asyncio.CancelledError):
            self.left.set()
        finally:
            writer.close()


@pytest.fixture
def server() -> Server:
    return Server()


@asynccontextmanager
async def connected(server: Server) -> AsyncIterator[AccessAnywhere]:
    async with await asyncio.start_server(server.answer, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        async with connect(endpoint=f"http://127.0.0.1:{port}", permanent_token="x", clock=SystemClock()) as client:
            await client.call("noop", {})
            yield client


def files() -> Iterator[bytes]:
    yield OPEN
    for number in range(FILES):
        entry = b'{"fi_id":"%08d","fi_pid":"1","fi_name":"%040d.json.gz","fi_type":"1","fi_size":"1","fi_other":"%s"}'
        yield (b"," if number else b"") + entry % (number, number, b"x" * 500)
    yield b"]}"


def endless(again: bytes) -> Callable[[], Iterator[bytes]]:
    return lambda: itertools.chain([OPEN], itertools.repeat(again))


async def listed(client: AccessAnywhere, fi_id: str) -> int:
    return len([item async for item in client.list_folder(fi_id)])


@asynccontextmanager
async def measured() -> AsyncIterator[list[int]]:
    """The peak of the memory that was allocated in this block, in bytes."""
    peak = [0]
    gc.collect()
    tracemalloc.start()
    try:
        yield peak
        peak[0] = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


async def turns_during(wanted: Awaitable[object]) -> int:
    """How many turns another task had until this ended."""
    task, turns = asyncio.ensure_future(wanted), 0
    while not task.done():
        await asyncio.sleep(0)
        turns += 1
    await task
    return turns


async def test_a_whole_folder_in_one_answer_costs_less_memory_than_its_text(server):
    server.folders["1"] = files
    async with connected(server) as client, measured() as peak:
        assert await listed(client, "1") == FILES
    assert server.sent > 4.8 * MB
    assert peak[0] < 4.8 * MB


async def test_a_refresh_answered_with_a_whole_folder_keeps_none_of_it(server):
    server.folders["1"] = files
    async with connected(server) as client, measured() as peak:
        await client._ask_refresh("1")
    assert server.sent > 4.8 * MB
    assert peak[0] < 3 * MB


TINY = b'{"fi_id":"1"},' * (PIECE // 14)


@pytest.mark.parametrize(
    ("again", "packed", "most"),
    [
        (b" " * PIECE, False, 3),
        (b'"' + b"x" * PIECE, False, 3),
        (b'"' + b"x" * PIECE, True, 3),
        (b"[" * PIECE, False, 3),
        (b"[" * PIECE, True, 3),
        (b'{"a":' * (PIECE // 5), False, 3),
        (TINY, False, 3),
        (TINY, True, 3),
    ],
)
async def test_an_answer_without_end_is_refused_with_little_memory(server, monkeypatch, again, packed, most):
    """As it is, or as a gzip bomb."""
    monkeypatch.setattr(reader, "MAX_ENTRIES", 1_000)
    monkeypatch.setattr(transport, "FILES", structs.replace(answers.FILES, max_entry=4096))
    monkeypatch.setattr(reader, "MAX_LIST_BYTES", 8 * MB)
    server.folders["1"] = endless(again)
    server.packed = packed
    async with connected(server) as client:
        async with measured() as peak:
            with pytest.raises(AnswerMalformed, match=r"has (a value of )?more than") as caught:
                await listed(client, "1")
        async with asyncio.timeout(PATIENCE):
            await server.left.wait()
    assert peak[0] < most * MB
    assert "secret" not in str(caught.value)


async def test_other_tasks_have_many_turns_while_a_large_answer_is_read(server):
    """All of the answer may have arrived already. The client must not read it in one turn."""
    server.folders["1"] = files
    async with connected(server) as client:
        turns = await turns_during(listed(client, "1"))
    assert turns > server.sent / (16 * 1024)


async def test_a_gzip_that_expands_very_much_is_parsed_in_many_turns(server):
    server.folders["1"] = lambda: iter([OPEN, b" " * 10 * MB, b"]}"])
    server.packed = True
    async with connected(server) as client:
        turns = await turns_during(listed(client, "1"))
    assert turns > 10 * MB / (16 * 1024)


async def test_a_call_can_be_cancelled_in_the_middle_of_a_large_answer(server):
    server.folders["1"] = endless(b" " * PIECE)
    async with connected(server) as client:
        call = asyncio.create_task(listed(client, "1"))
        async with asyncio.timeout(PATIENCE):
            while server.sent < 2 * MB:
                await asyncio.sleep(0)
            call.cancel()
            await asyncio.wait([call])
            await server.left.wait()
        assert call.cancelled()


async def test_one_large_answer_is_read_at_a_time_and_small_ones_pass_it(server):
    """Otherwise the memory would be the limit of one answer times the number of calls."""
    sent = {"1": 0, "2": 0}

    def counted(name: str) -> Iterator[bytes]:
        yield OPEN
        while True:
            sent[name] += PIECE
            yield b" " * PIECE

    server.folders |= {name: lambda name=name: counted(name) for name in sent}
    server.folders["3"] = lambda: iter([b'{"status":"ok","total":0}'])
    async with connected(server) as client, asyncio.timeout(PATIENCE):
        calls = {name: asyncio.create_task(listed(client, name)) for name in sent}
        while max(sent.values()) < 30 * MB:
            await asyncio.sleep(0)
        first = max(sent, key=lambda name: sent[name])
        other = next(name for name in sent if name != first)
        # What is on its way in buffers counts as sent.
        assert sent[other] < 15 * MB
        assert await listed(client, "3") == 0
        calls[first].cancel()
        while sent[other] < 30 * MB:
            await asyncio.sleep(0)
        calls[other].cancel()
        await asyncio.wait(calls.values())


async def test_an_answer_with_an_encoding_that_was_not_asked_for_is_refused():
    """Each further encoding multiplies how much a body can expand."""

    async def answer(asked: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asked.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip, gzip\r\nContent-Length: 2\r\n\r\n{}")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        async with connect(endpoint=f"http://127.0.0.1:{port}", permanent_token="x", clock=SystemClock()) as client:
            with pytest.raises(AnswerMalformed, match="decompress"):
                await client.version()
