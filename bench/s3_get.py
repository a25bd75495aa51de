"""GETs of small objects from a server with a canned answer: `S3Logs` beside other clients, and beside a bare socket.

The clients take turns, and each is compared with the bare socket of the same round: what else the machine does counts for
all. `aiohttp` is what `S3Logs` used before: aiohttp's session, and a signature of botocore's `add_auth`.
"""

import asyncio
import os
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import urlsplit

import aiohttp
import uvloop
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials

from bench.canned import cpu_of, server
from jibe_sqs.adapters.aws import Account, Aws
from jibe_sqs.adapters.clock import S3Clock
from jibe_sqs.adapters.s3 import Regions, S3Logs, Source
from jibe_sqs.concurrency.budget import Budget
from jibe_sqs.core.model import LogFile

OBJECT = os.urandom(1500)
KEY = "AWSLogs/111122223333/CloudTrail/us-east-1/2026/01/31/111122223333_CloudTrail_us-east-1_20260131T0000Z_ab.json.gz"
GETS = 1000
AT_ONCE = 50
ROUNDS = 5
HEAD = (
    b'HTTP/1.1 200 OK\r\nContent-Length: %d\r\nETag: "0123456789abcdef"\r\nDate: Sat, 21 Nov 2026 10:00:00 GMT\r\n'
    b"Last-Modified: Sat, 21 Nov 2026 10:00:00 GMT\r\nContent-Type: application/json\r\nx-amz-request-id: X\r\n\r\n"
)
ANSWER = HEAD % len(OBJECT) + OBJECT


def run() -> None:
    """CPU time of this process per GET, without the server; medians of paired rounds."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_compare())


async def _compare() -> None:
    async with server(ANSWER) as endpoint, Aws() as aws, aiohttp.ClientSession(auto_decompress=False) as session:
        account = Account(endpoint=endpoint, access_key_id="a", secret_access_key="b")
        client = await aws.client("s3", "us-east-1", account)
        source = Source(account, region="us-east-1")
        clock = S3Clock()
        regions = Regions(aws, clock)
        # The server answers no HEAD, from which these are known.
        clock.observe(time.time())
        regions._cache.values["logs", source] = "us-east-1"  # noqa: SLF001
        logs = S3Logs(aws=aws, regions=regions, budget=Budget(2**30), sources={"logs": [source]})
        sockets = [await Socket.connected(endpoint) for _ in range(AT_ONCE)]

        async def by_us() -> None:
            async with logs.open(LogFile("logs", KEY)) as log:
                async for _ in log:
                    pass

        async def by_aiohttp() -> None:
            request = AWSRequest(method="GET", url=f"{endpoint}/logs/{KEY}", headers={"User-Agent": "bench"})
            S3SigV4Auth(ReadOnlyCredentials("a", "b", None, None), "s3", "us-east-1").add_auth(request)
            async with session.get(request.url, headers=dict(request.headers.items())) as answer:
                await answer.read()

        async def by_aiobotocore() -> None:
            found = await client.get_object(Bucket="logs", Key=KEY)
            await found["Body"].read()

        async def by_socket() -> None:
            socket = sockets.pop()
            await socket.get()
            sockets.append(socket)

        candidates: dict[str, Callable[[], Awaitable[None]]] = {
            "S3Logs": by_us,
            "aiohttp": by_aiohttp,
            "aiobotocore": by_aiobotocore,
            "bare socket": by_socket,
        }
        _print(await _measured(candidates))
        for socket in sockets:
            socket.transport.abort()


async def _measured(candidates: Mapping[str, Callable[[], Awaitable[None]]]) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(ROUNDS + 1):
        for name, get in candidates.items():
            times[name].append(await cpu_of(get, times=GETS, at_once=AT_ONCE))
    return {name: taken[1:] for name, taken in times.items()}


def _print(times: dict[str, list[float]]) -> None:
    for name, taken in times.items():
        ratio = statistics.median(one / bare for one, bare in zip(taken, times["bare socket"], strict=True))
        print(f"  {name:12} {statistics.median(taken) * 1e6:6.0f} µs of CPU per GET, {ratio:5.1f} bare sockets")


class Socket(asyncio.Protocol):
    """The least that a GET can cost in Python: it knows the length of the answer, and sends what was signed before."""

    transport: asyncio.Transport
    request = b""

    @staticmethod
    async def connected(endpoint: str) -> "Socket":
        parts = urlsplit(endpoint)
        _, made = await asyncio.get_running_loop().create_connection(Socket, str(parts.hostname), parts.port or 80)
        made.request = f"GET /logs/{KEY} HTTP/1.1\r\nHost: {parts.netloc}\r\nX: {'x' * 500}\r\n\r\n".encode()
        return made

    async def get(self) -> None:
        self.missing = len(ANSWER)
        self.answered = asyncio.get_running_loop().create_future()
        self.transport.write(self.request)
        await self.answered

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment] # a transport of a stream

    def data_received(self, data: bytes) -> None:
        self.missing -= len(data)
        if not self.missing:
            self.answered.set_result(None)
