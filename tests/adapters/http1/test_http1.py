"""The HTTP client, against servers on loopback that behave, and that do not. On uvloop, and on asyncio's own loop."""

import asyncio
import base64
import gc
import socket
import ssl
import tracemalloc
from contextlib import asynccontextmanager, suppress
from functools import partial

import pytest
from tests.adapters.test_access_anywhere_tls import Authority

from jibe_sqs.adapters import http1, http1_connection
from jibe_sqs.adapters.http1 import HttpClient
from jibe_sqs.adapters.http1_connection import CHUNK, MAX_HEAD, SMALL
from jibe_sqs.adapters.http1_errors import (
    Disconnected,
    HttpError,
    Malformed,
    ProxyFailed,
    ReadTimedOut,
    TlsFailed,
    Unreachable,
)

LONG = 60.0


class Server:
    """A server that records what it is asked. `answer(request)` returns bytes, or a function of the writer."""

    def __init__(self, answer):
        self.answer = answer
        self.requests = []
        self.connections = 0
        self.lost = asyncio.Event()
        self._closing = asyncio.Event()
        self._serving = set()
        self.port = 0
        self.scheme = "http"

    @property
    def url(self):
        return f"{self.scheme}://127.0.0.1:{self.port}"

    async def close(self):
        self._closing.set()
        for each in self._serving:
            each.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def serve(self, reader, writer):
        self._serving.add(asyncio.current_task())
        self.connections += 1
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
                while True:
                    await self._one(reader, writer)
        finally:
            self.lost.set()
            writer.transport.abort()

    async def _one(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        lengths = [line for line in head.split("\r\n") if line.lower().startswith("content-length:")]
        body = await reader.readexactly(int(lengths[0].partition(":")[2])) if lengths else b""
        self.requests.append((head, body))
        answer = self.answer(head)
        if callable(answer):
            await answer(reader, writer)
        else:
            writer.write(answer)
        await writer.drain()


@asynccontextmanager
async def serving(answer, tls=None, kind=Server):
    server = kind(answer if callable(answer) else lambda _: answer)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    server.scheme = "https" if tls else "http"
    try:
        yield server
    finally:
        listening.close()
        await server.close()


@asynccontextmanager
async def asked(answer, **options):
    """A server and a client's connections to it."""
    async with serving(answer) as server, HttpClient(**options) as client:
        yield server, client.origin(server.url)


def reply(body=b"", *lines, status="200 OK"):
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *lines, "", ""]
    return "\r\n".join(head).encode() + body


async def silent(reader, _writer):
    await reader.read()


async def get(origin, target="/", **options):
    return await origin.request("GET", target, {}, **{"read_timeout": LONG, **options})


async def whole(answer):
    return b"".join([chunk async for chunk in chunks(answer)])


async def gathered(answer, sizes):
    """The size of each chunk, also of those before an error."""
    async for chunk in chunks(answer):
        sizes.append(len(chunk))


async def chunks(answer):
    while chunk := await answer.chunk():
        yield chunk


# Requests


async def test_a_request_is_sent_as_it_is_given():
    async with asked(reply()) as (server, origin):
        await origin.request("POST", "/a//b/../c%2F?x=%20&y", {"A": "1", "b-é": "é"}, b"body", read_timeout=LONG)
        (request,) = server.requests
        assert request == (
            f"POST /a//b/../c%2F?x=%20&y HTTP/1.1\r\nHost: {origin.host}\r\nA: 1\r\nb-é: é\r\nContent-Length: 4\r\n\r\n",
            b"body",
        )


@pytest.mark.parametrize(
    ("target", "headers"),
    [("/ ", {}), ("/\r\nX: y", {}), ("/", {"a": "b\r\nc: d"}), ("/", {"a": "b\nc"}), ("/", {"a\r": "b"})],
)
async def test_a_request_cannot_hold_another(target, headers):
    async with asked(reply()) as (server, origin):
        with pytest.raises(ValueError, match="more than one line"):
            await origin.request("GET", target, headers, read_timeout=LONG)
        assert not server.requests


@pytest.mark.parametrize("url", ["ftp://host", "host", "http://", "http://host:x", ""])
async def test_an_address_that_is_not_of_http_is_refused(url):
    with pytest.raises(ValueError):
        HttpClient().origin(url)


async def test_the_same_server_shares_its_connections():
    client = HttpClient()
    assert client.origin("http://Host/a") is client.origin("http://host:80/b?c")
    assert client.origin("http://host") is not client.origin("http://host", "http://proxy")
    assert client.origin("https://host").host == "host"
    assert client.origin("https://[::1]:80").host == "[::1]:80"


# Answers


async def test_a_small_answer_is_complete_at_once():
    async with asked(reply(b"body", "ETag:  x ", "X-Twice: 1", "x-twice: 2", status="404 Not Found")) as (_, origin):
        answer = await get(origin)
        assert (answer.status, answer.body, answer.length) == (404, b"body", 4)
        assert (answer.header("etag"), answer.header("none"), answer.header("none", "-")) == ("x", "", "-")
        assert answer.headers == {"content-length": "4", "etag": "x", "x-twice": "2"}
        assert (await answer.chunk(), await answer.chunk()) == (b"body", b"")
        answer.close()
        assert (await get(origin)).body == b"body"


ENDINGS = {
    "length": (reply(b"0123456789"), 10),
    "empty": (reply(), 0),
    "chunked": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n0123\r\n6;x=y\r\n456789\r\n0\r\n\r\n",
        None,
    ),
    "chunked, trailers": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nA\r\n0123456789\r\n0\r\nT: railer\r\n\r\n",
        None,
    ),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", None),
    "not modified": (b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n", None),
    "interim answers": (b"HTTP/1.1 100 Continue\r\nA: b\r\n\r\nHTTP/1.1 102 P\r\n\r\n" + reply(b"0123456789"), 10),
}


@pytest.mark.parametrize("case", ENDINGS)
async def test_an_answer_is_the_same_at_whatever_byte_it_is_cut(case):
    """Also in two pieces at each byte, and byte by byte. All on one connection: none leaves anything behind."""
    data, length = ENDINGS[case]
    cuts = iter([(), *((at,) for at in range(1, len(data))), tuple(range(1, len(data)))])

    async def in_pieces(_reader, writer):
        begin = 0
        for end in (*next(cuts), len(data)):
            writer.write(data[begin:end])
            await writer.drain()
            # The client's loop is this one: it reads the piece in one of its next rounds.
            for _ in range(4):
                await asyncio.sleep(0)
            begin = end

    async with asked(lambda _: in_pieces) as (server, origin):
        for _ in range(len(data) + 1):
            answer = await get(origin)
            assert answer.body == (b"0123456789" if answer.status == 200 and case != "empty" else b"")
            assert answer.length == length
            assert not answer.header("t")
        assert server.connections == 1


@pytest.mark.parametrize("line", ["Connection: close", "Connection: Close, x"])
async def test_a_connection_that_the_server_closes_is_not_used_again(line):
    async with asked(reply(b"x", line)) as (server, origin):
        for number in range(1, 4):
            assert (await get(origin)).body == b"x"
            assert server.connections == number


@pytest.mark.parametrize("size", [0, 10, SMALL + 1, 3 * CHUNK])
async def test_a_body_may_end_with_the_connection(size):
    async def until_the_end(_reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * size)
        await writer.drain()
        writer.close()

    async with asked(lambda _: until_the_end) as (_, origin):
        answer = await get(origin)
        assert answer.length is None
        assert len(await whole(answer)) == size


@pytest.mark.parametrize("extra", [b"x", b"\r\n\r\nx", reply(b"another"), reply(b"another")[:20]])
async def test_bytes_after_an_answer_belong_to_no_other(extra):
    """Otherwise the next request would get an answer that is not its own."""
    async with asked(reply(b"body") + extra) as (server, origin):
        for number in range(1, 4):
            assert (await get(origin)).body == b"body"
            assert server.connections == number


async def test_unasked_bytes_on_an_idle_connection_are_no_answer():
    late = asyncio.Event()

    async def with_more_later(reader, writer):
        writer.write(reply(b"body"))
        await writer.drain()
        if server.connections == 1:
            await late.wait()
            writer.write(reply(b"stale", status="408 Request Timeout"))
            await writer.drain()
            await reader.read()

    async with asked(lambda _: with_more_later) as (server, origin):
        await get(origin)
        late.set()
        await server.lost.wait()
        assert (await get(origin)).body == b"body"
        assert server.connections == 2


# Large bodies


@pytest.mark.parametrize("size", [SMALL, SMALL + 1, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK + 3])
@pytest.mark.parametrize("how", ["length", "chunked"])
async def test_a_body_of_any_size_comes_whole_in_large_chunks(size, how):
    body = bytes(range(256)) * (size // 256 + 1)
    body = body[:size]
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (size, body)
    async with asked(reply(body) if how == "length" else chunked) as (server, origin):
        for _ in range(2):
            answer = await get(origin)
            assert (answer.body is None) == (size > SMALL)
            got = [chunk async for chunk in chunks(answer)]
            assert b"".join(got) == body
            assert all(len(chunk) >= CHUNK for chunk in got[:-1])
        assert server.connections == 1


async def test_a_slow_reader_holds_a_limited_number_of_bytes():
    """The server can send no more than the client takes, and what the system's buffers hold."""
    size, sent = 64 * CHUNK, 0

    async def endlessly(_reader, writer):
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        while sent < size:
            writer.write(bytes(CHUNK // 4))
            await writer.drain()
            sent += CHUNK // 4

    async with asked(lambda _: endlessly) as (_, origin):
        tracemalloc.start()
        try:
            answer = await get(origin)
            got = 0
            while chunk := await answer.chunk():
                got += len(chunk)
                del chunk
                before = -1
                while before != sent:
                    before = sent
                    for _ in range(20):
                        await asyncio.sleep(0)
                assert sent - got < 24 * CHUNK
            assert got == size
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 6 * CHUNK


async def test_a_reader_that_stops_closes_the_connection():
    async with asked(reply(bytes(8 * CHUNK))) as (server, origin):
        answer = await get(origin)
        await answer.chunk()
        answer.close()
        answer.close()
        await server.lost.wait()
        with pytest.raises(Disconnected, match="was closed before"):
            await answer.chunk()
        assert len(await whole(await get(origin))) == 8 * CHUNK
        assert server.connections == 2


async def test_an_answer_is_read_up_to_a_limit():
    async with asked(reply(bytes(8 * CHUNK))) as (server, origin):
        assert len(await (await get(origin)).read(8 * CHUNK)) == 8 * CHUNK
        assert CHUNK < len(await (await get(origin)).read(CHUNK)) < 8 * CHUNK
        await server.lost.wait()


# Errors


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"\x15\x03\x01\x00\x02\x02\x16",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 099 X\r\nContent-Length: 1000000000\r\n\r\n" + bytes(1000),
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxy",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n folded\r\n\r\n",
    ],
)
async def test_something_else_than_an_answer_is_malformed(answer):
    async with asked(answer) as (server, origin):
        with pytest.raises(Malformed):
            await get(origin)
        await server.lost.wait()


@pytest.mark.parametrize(
    "endless", [b"X-A: b\r\n", b"a" * 1000, b"HTTP/1.1 100 Continue\r\n\r\n"], ids=["headers", "name", "interim"]
)
async def test_endless_headers_are_malformed(endless):
    async def for_ever(_reader, writer):
        writer.write(b"" if endless.startswith(b"HTTP") else b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(endless * 100)
            await writer.drain()

    async with asked(lambda _: for_ever) as (_, origin):
        with pytest.raises(Malformed, match=f"more than {MAX_HEAD:,} bytes"):
            await get(origin)


async def test_endless_trailers_are_malformed():
    async def for_ever(_reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n")
        while True:
            writer.write(b"T: x\r\n" * 100)
            await writer.drain()

    async with asked(lambda _: for_ever) as (_, origin):
        with pytest.raises(Malformed, match="bytes"):
            await get(origin)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        reply(b"0123456789")[:-1],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n0123\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n0123\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
    ],
)
@pytest.mark.parametrize("how", ["close", "abort"])
async def test_a_small_answer_that_breaks_off_is_an_error(answer, how):
    async def in_part(_reader, writer):
        writer.write(answer)
        await writer.drain()
        getattr(writer.transport, how)()

    async with asked(lambda _: in_part) as (server, origin):
        with pytest.raises(Disconnected) as raised:
            await get(origin)
        assert raised.value.unanswered == (answer == b"")
        assert server.connections == 1


async def test_a_large_answer_that_breaks_off_is_an_error_after_its_bytes():
    async def in_part(_reader, writer):
        writer.write(reply(bytes(4 * CHUNK))[: -CHUNK - 7])
        await writer.drain()
        writer.close()

    async with asked(lambda _: in_part) as (_, origin):
        answer, got = await get(origin), []
        with pytest.raises(Disconnected):
            await gathered(answer, got)
        assert sum(got) == 3 * CHUNK - 7


async def test_a_silent_server_is_an_error_after_a_time():
    async with asked(lambda _: silent) as (server, origin):
        with pytest.raises(ReadTimedOut, match=r"nothing for 0\.05 seconds"):
            await get(origin, read_timeout=0.05)
        await server.lost.wait()


async def test_a_body_that_stops_is_an_error_after_a_time():
    async def in_part(reader, writer):
        writer.write(reply(bytes(4 * CHUNK))[:-1])
        await writer.drain()
        await reader.read()

    async with asked(lambda _: in_part) as (_, origin):
        answer = await get(origin, read_timeout=0.2)
        with pytest.raises(ReadTimedOut):
            await whole(answer)


class Timer:
    def __init__(self, when, callback):
        self.when = lambda: when
        self.run = callback

    def cancel(self):
        self.run = lambda: None


class SteppedLoop:
    """A loop whose time the test sets."""

    def __init__(self):
        self.now = 1000.0
        self.create_future = asyncio.get_running_loop().create_future
        self._timers = []

    def time(self):
        return self.now

    def call_at(self, when, callback):
        self._timers.append(Timer(when, callback))
        return self._timers[-1]

    def step(self, seconds):
        self.now += seconds
        due = [timer for timer in self._timers if timer.when() <= self.now]
        self._timers = [timer for timer in self._timers if timer.when() > self.now]
        for timer in due:
            timer.run()


class NoTransport:
    paused = aborted = False

    def write(self, _data):
        pass

    def get_write_buffer_size(self):
        return 0

    def pause_reading(self):
        self.paused = True

    def resume_reading(self):
        self.paused = False

    def abort(self):
        self.aborted = True


@pytest.fixture
async def stepped():
    loop, transport = SteppedLoop(), NoTransport()
    connection = http1_connection.Connection(lambda _: None, lambda _: None, loop)
    connection.connection_made(transport)
    return loop, transport, connection


async def sent(connection, seconds):
    request = asyncio.create_task(connection.send(b"", seconds))
    await asyncio.sleep(0)
    return request


async def test_a_slow_trickle_is_no_silence(stepped):
    """The whole answer takes far longer than the timeout, but each byte comes in time."""
    loop, _, connection = stepped
    data = reply(b"x" * 20)
    for _ in range(2):
        request = await sent(connection, 60)
        for byte in data:
            loop.step(59)
            connection.data_received(bytes([byte]))
        assert (await request).body == b"x" * 20


async def test_silence_is_counted_from_the_last_byte(stepped):
    loop, transport, connection = stepped
    request = await sent(connection, 60)
    loop.step(59)
    connection.data_received(b"HTTP/1.1 200 OK\r\n")
    loop.step(59)
    assert not transport.aborted
    loop.step(2)
    assert transport.aborted
    with pytest.raises(ReadTimedOut, match="nothing for 60 seconds"):
        await request


async def test_each_request_has_its_own_timeout(stepped):
    """A timer of a request with a long timeout, such as a long poll, is still set when the next request is sent."""
    loop, _, connection = stepped
    request = await sent(connection, 600)
    connection.data_received(reply())
    await request
    request = await sent(connection, 5)
    loop.step(6)
    with pytest.raises(ReadTimedOut, match="nothing for 5 seconds"):
        await request


async def test_an_idle_connection_does_not_time_out(stepped):
    loop, transport, connection = stepped
    request = await sent(connection, 60)
    connection.data_received(reply())
    await request
    loop.step(3600)
    assert not transport.aborted


async def test_a_reader_that_takes_its_time_is_no_silence(stepped):
    """While the client does not receive, the server cannot send."""
    loop, transport, connection = stepped
    request = await sent(connection, 60)
    connection.data_received(reply(bytes(3 * CHUNK))[: 2 * CHUNK])
    answer = await request
    assert transport.paused
    loop.step(3600)
    assert not transport.aborted
    await answer.chunk()
    assert not transport.paused
    loop.step(59)
    assert not transport.aborted
    loop.step(62)
    with pytest.raises(ReadTimedOut):
        await answer.chunk()


# Connections


async def test_thousands_of_requests_use_few_connections():
    async with asked(lambda head: reply(head.split(" ")[1].encode())) as (server, origin):
        todo = iter(range(3000))

        async def work():
            for number in todo:
                assert (await get(origin, f"/{number}")).body == f"/{number}".encode()

        await asyncio.gather(*(work() for _ in range(10)))
        assert server.connections == 10


async def test_no_more_than_so_many_connections_are_open():
    open_now, most = 0, 0

    async def count(_reader, writer):
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        for _ in range(20):
            await asyncio.sleep(0)
        open_now -= 1
        writer.write(reply())

    async with asked(lambda _: count, connections=3) as (server, origin):
        await asyncio.gather(*(get(origin) for _ in range(100)))
        assert most <= 3
        assert server.connections == 3


async def test_a_request_that_waits_takes_the_place_of_one_that_failed():
    answers = iter([b"rubbish\r\n\r\n", reply(b"x"), b"", reply(b"y")])

    async def next_one(_reader, writer):
        if answer := next(answers):
            writer.write(answer)
        else:
            writer.close()

    async with asked(lambda _: next_one, connections=1) as (_, origin):
        outcomes = await asyncio.gather(*(get(origin) for _ in range(3)), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [Malformed, http1_connection.Answer, http1_connection.Answer]


async def test_a_request_that_is_cancelled_while_it_waits_passes_its_turn_on():
    go = asyncio.Event()

    async def when_allowed(_reader, writer):
        await go.wait()
        writer.write(reply(b"x"))

    async with asked(lambda _: when_allowed, connections=1) as (server, origin):
        tasks = [asyncio.create_task(get(origin)) for _ in range(6)]
        while not server.requests:
            await asyncio.sleep(0)
        tasks[1].cancel()
        go.set()
        # This one is cancelled at the moment when it has its turn.
        tasks[0].add_done_callback(lambda _: tasks[2].cancel())
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(outcome).__name__ for outcome in outcomes[:2]] == ["Answer", "CancelledError"]
        assert [outcome.body for outcome in outcomes[3:]] == [b"x"] * 3


async def test_a_cancelled_request_leaves_no_answer_for_the_next():
    first = asyncio.Event()

    async def slow_at_first(_reader, writer):
        if len(server.requests) == 1:
            await first.wait()
        writer.write(reply(b"%d" % len(server.requests)))

    async with asked(lambda _: slow_at_first) as (server, origin):
        task = asyncio.create_task(get(origin))
        while not server.requests:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        first.set()
        assert (await get(origin)).body == b"2"
        assert server.connections == 2


async def test_a_request_that_is_cancelled_as_its_answer_comes_loses_no_connection():
    async with asked(reply(bytes(4 * CHUNK)), connections=1) as (_, origin):
        for rounds in range(30):
            task = asyncio.create_task(get(origin))
            for _ in range(rounds):
                await asyncio.sleep(0)
            task.cancel()
            with suppress(asyncio.CancelledError):
                (await task).close()
            assert len(await whole(await get(origin))) == 4 * CHUNK


async def test_a_cancelled_request_leaves_the_connection_to_the_request_that_has_it(stepped):
    """The answer comes after the cancellation, and another request is sent before the cancelled one hears of it."""
    _, transport, connection = stepped
    first = await sent(connection, 60)
    first.cancel()
    connection.data_received(reply(b"first"))
    second = asyncio.ensure_future(connection.send(b"", 60))
    with suppress(asyncio.CancelledError):
        await first
    await asyncio.sleep(0)
    assert not transport.aborted
    connection.data_received(reply(b"second"))
    assert (await second).body == b"second"


async def test_a_request_on_a_connection_that_the_server_had_closed_is_repeated():
    """Servers close idle connections: it is no failure, and the caller does not notice it."""

    async def once(reader, writer):
        writer.write(reply(b"x"))
        await writer.drain()
        if len(server.requests) % 2:
            # The next request comes, and is not answered.
            await reader.readuntil(b"\r\n\r\n")
            writer.close()

    async with asked(lambda _: once) as (server, origin):
        for _ in range(4):
            assert (await get(origin)).body == b"x"
        assert server.connections > 1


async def test_a_request_is_repeated_once_only():
    async def never(_reader, writer):
        if len(server.requests) == 1:
            writer.write(reply(b"x"))
        else:
            writer.close()

    async with asked(lambda _: never) as (server, origin):
        await get(origin)
        with pytest.raises(Disconnected):
            await get(origin)
        assert len(server.requests) == 3


async def test_a_request_whose_answer_has_begun_is_not_repeated():
    async def half(_reader, writer):
        if len(server.requests) == 1:
            writer.write(reply(b"x"))
        else:
            writer.write(b"HTTP/1.1 2")
            await writer.drain()
            writer.close()

    async with asked(lambda _: half) as (server, origin):
        await get(origin)
        with pytest.raises(Disconnected):
            await get(origin)
        assert len(server.requests) == 2


async def test_an_idle_connection_is_closed_after_a_while(monkeypatch):
    monkeypatch.setattr(http1, "KEEP_ALIVE", 0.05)
    async with asked(reply(b"x")) as (server, origin):
        await asyncio.gather(*(get(origin) for _ in range(3)))
        await server.lost.wait()
        before = server.connections
        while origin._all:
            await asyncio.sleep(0.01)
        await get(origin)
        assert server.connections == before + 1


async def test_an_answer_before_the_end_of_the_request_ends_the_connection():
    async def early(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply(b"too large", status="413 Content Too Large"))
        await writer.drain()
        await done.wait()
        writer.close()

    done = asyncio.Event()
    listening = await asyncio.start_server(early, "127.0.0.1", 0, limit=1000)
    async with listening, HttpClient() as client:
        origin = client.origin(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}")
        answer = await origin.request("POST", "/", {}, bytes(32 * CHUNK), read_timeout=LONG)
        assert (answer.status, answer.body) == (413, b"too large")
        assert not origin._idle
        done.set()


async def test_closing_the_client_ends_requests_and_connections():
    async with serving(lambda head: reply(b"x") if "/x" in head else silent) as server:
        client = HttpClient()
        origin = client.origin(server.url)
        await get(origin, "/x")
        task = asyncio.create_task(get(origin))
        while len(server.requests) < 2:
            await asyncio.sleep(0)
        await client.close()
        assert not origin._all
        with pytest.raises(HttpError):
            await task
    gc.collect()


async def test_closing_the_client_ends_requests_that_wait_for_a_connection():
    async with serving(lambda _: silent) as server:
        client = HttpClient(connections=1)
        origin = client.origin(server.url)
        tasks = [asyncio.create_task(get(origin)) for _ in range(4)]
        while not server.requests:
            await asyncio.sleep(0)
        await client.close()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [Disconnected] * 4


async def test_closing_the_client_ends_requests_whose_connection_is_being_opened():
    async with serving(lambda _: silent) as server:
        client = HttpClient()
        origin = client.origin(server.url)
        task = asyncio.create_task(get(origin))
        while not origin._opening:
            await asyncio.sleep(0)
        await client.close()
        with pytest.raises(Disconnected, match="the client is closed"):
            await task
        assert not origin._all


@pytest.mark.parametrize("name", ["a..b", f"{'a' * 64}.example"])
async def test_a_name_that_cannot_exist_is_unreachable(name):
    async with HttpClient() as client:
        with pytest.raises(Unreachable, match="cannot connect to"):
            await get(client.origin(f"http://{name}"))


async def test_a_server_that_is_not_there_is_unreachable():
    async with serving(reply()) as server:
        pass
    async with HttpClient() as client:
        with pytest.raises(Unreachable, match=rf"cannot connect to 127\.0\.0\.1:{server.port}"):
            await get(client.origin(server.url))
        with pytest.raises(Unreachable, match=r"cannot connect to no-such-host\.invalid:80"):
            await get(client.origin("http://no-such-host.invalid"))


async def test_another_address_of_the_same_name_is_tried(monkeypatch):
    async with serving(reply(b"x")) as server, HttpClient() as client:
        (found,) = await asyncio.get_running_loop().getaddrinfo("127.0.0.1", server.port, type=socket.SOCK_STREAM)
        origin = client.origin(server.url)

        async def with_a_dead_one():
            return [(*found[:4], ("127.0.0.1", 1)), found]

        monkeypatch.setattr(origin._opener, "_found", with_a_dead_one)
        assert (await get(origin)).body == b"x"


async def test_a_name_is_looked_up_once_for_many_connections():
    async with serving(reply(b"x")) as server, HttpClient() as client:
        origin = client.origin(server.url)
        await asyncio.gather(*(get(origin) for _ in range(20)))
        found = origin._opener._addresses
        await asyncio.gather(*(get(origin) for _ in range(20)))
        assert origin._opener._addresses is found


# TLS and proxies


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("http1") / "ours")


@pytest.fixture
def trusting(authority):
    return partial(ssl.create_default_context, cafile=authority.ca_file)


async def test_requests_go_over_tls(authority, trusting):
    body = bytes(range(256)) * 4096 * 12
    async with serving(reply(body), tls=authority.context) as server, HttpClient(trusting) as client:
        for _ in range(3):
            assert await whole(await get(client.origin(server.url))) == body
        assert server.connections == 1


async def test_an_unknown_authority_is_refused(authority):
    async with serving(reply(), tls=authority.context) as server, HttpClient(ssl.create_default_context) as client:
        with pytest.raises(TlsFailed, match="CERTIFICATE_VERIFY_FAILED"):
            await get(client.origin(server.url))
        assert not server.requests


async def test_a_server_without_tls_is_unreachable_with_it(trusting):
    async with serving(b"HTTP/1.1 400 Bad Request\r\n\r\n") as server, HttpClient(trusting) as client:
        with pytest.raises(Unreachable):
            await get(client.origin(f"https://127.0.0.1:{server.port}"))


async def test_a_server_that_is_silent_in_the_handshake_is_unreachable(trusting):
    async with serving(reply()) as server, HttpClient(trusting) as client:
        with pytest.raises(Unreachable, match=r"within 0\.1 seconds"):
            await get(client.origin(f"https://127.0.0.1:{server.port}", connect_timeout=0.1))


async def test_a_request_that_is_cancelled_while_its_connection_is_opened_harms_no_other(authority, trusting):
    """At whatever step: a descriptor that is closed too early belongs to another connection soon."""
    async with serving(reply(b"x"), tls=authority.context) as server, HttpClient(trusting) as client:
        for steps in range(40):
            task = asyncio.create_task(get(client.origin(server.url)))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            others = [asyncio.create_task(get(client.origin(server.url))) for _ in range(3)]
            assert [(await other).body for other in others] == [b"x"] * 3
            with suppress(asyncio.CancelledError):
                await task
            for connection in [*client.origin(server.url)._all]:
                connection.abort()


class Proxy(Server):
    """A proxy of tunnels. If `answer(head)` is not None, it is sent instead of one, and the connection is closed."""

    async def _one(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.requests.append(head)
        if (other := self.answer(head)) is None:
            host, _, port = head.split(" ")[1].rpartition(":")
            far_reader, far_writer = await asyncio.open_connection(host, int(port))
            writer.write(b"HTTP/1.1 200 Connection established\r\nVia: us\r\n\r\n")
            try:
                await asyncio.gather(self._copy(reader, far_writer), self._copy(far_reader, writer))
            finally:
                far_writer.transport.abort()
        else:
            writer.write(other)
            await writer.drain()
        raise ConnectionError

    async def _copy(self, source, sink):
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
        raise ConnectionError

    @property
    def url(self):
        return super().url.replace("//", "//jo%40x:p%2Fw%3A@")


@asynccontextmanager
async def proxying(tls=None, answer=None):
    async with serving(lambda _: answer, tls, Proxy) as proxy:
        yield proxy


LOGIN = "Basic " + base64.b64encode(b"jo@x:p/w:").decode()


@pytest.mark.parametrize("proxy_tls", [False, True])
async def test_https_goes_through_a_tunnel_of_the_proxy(authority, trusting, proxy_tls):
    body = bytes(range(256)) * 4096 * 4
    async with (
        serving(reply(body), tls=authority.context) as server,
        proxying(authority.context if proxy_tls else None) as proxy,
        HttpClient(trusting) as client,
    ):
        origin = client.origin(server.url, proxy.url)
        for _ in range(3):
            assert await whole(await get(origin)) == body
        (head,) = proxy.requests
        assert head.startswith(f"CONNECT 127.0.0.1:{server.port} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n")
        assert f"\r\nProxy-Authorization: {LOGIN}\r\n" in head
        assert all("Proxy-Authorization" not in request for request, _ in server.requests)
        await client.close()


async def test_http_is_read_by_the_proxy():
    async with serving(reply(b"x")) as proxy, HttpClient() as client:
        origin = client.origin("http://store.example:81", f"http://jo%40x:p%2Fw%3A@127.0.0.1:{proxy.port}")
        assert (await get(origin, "/a//b")).body == b"x"
        ((head, _),) = proxy.requests
        assert head.startswith("GET http://store.example:81/a//b HTTP/1.1\r\nHost: store.example:81\r\n")
        assert f"\r\nProxy-Authorization: {LOGIN}\r\n" in head


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "407 Proxy Authentication Required"),
        (b"SSH-2.0-x\r\n\r\n", "SSH"),
        (b"", "closed the connection"),
    ],
)
async def test_a_proxy_without_a_tunnel_is_an_error(trusting, answer, words):
    async with proxying(answer=answer) as proxy, HttpClient(trusting) as client:
        with pytest.raises(ProxyFailed, match=words) as raised:
            await get(client.origin("https://store.example", proxy.url))
        assert "p/w" not in str(raised.value)
        assert "p%2Fw" not in str(raised.value)


async def test_a_silent_proxy_is_an_error_after_a_time(trusting):
    """aiohttp waits for a proxy's answer to CONNECT without a limit."""
    async with serving(lambda _: silent) as proxy, HttpClient(trusting) as client:
        with pytest.raises(ProxyFailed, match=r"within 0\.1 seconds"):
            await get(client.origin("https://store.example", proxy.url, connect_timeout=0.1))


async def test_a_proxy_that_is_not_there_is_an_error(trusting):
    async with proxying() as proxy:
        pass
    async with HttpClient(trusting) as client:
        with pytest.raises(ProxyFailed, match="cannot connect"):
            await get(client.origin("https://store.example", proxy.url))


async def test_an_unknown_authority_is_refused_through_a_tunnel(authority):
    async with (
        serving(reply(), tls=authority.context) as server,
        proxying() as proxy,
        HttpClient(ssl.create_default_context) as client,
    ):
        origin = client.origin(server.url, proxy.url)
        with pytest.raises(TlsFailed, match="CERTIFICATE_VERIFY_FAILED"):
            await get(origin)
        assert not origin._all
