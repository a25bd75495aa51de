"""Requests over `Connections`, beside the same requests over one pool of httpx, as to Access Anywhere."""

import asyncio
import statistics
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext
from functools import partial

import httpx

from bench.canned import cpu_of, server
from jibe_sqs.adapters.connections import Connections

CALLS = 1500
AT_ONCE = (1, 8, 32)
ROUNDS = 5
TAKES = 0.02
"""Seconds for the server to answer."""
BODY = b'{"status":"ok"}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
ASKED = b"function=getFolderContents&apiformat=json&token=0123456789abcdef"

Connection = Callable[[], AbstractAsyncContextManager[httpx.AsyncClient]]


def run() -> None:
    """CPU time of this process per request, without the server; medians of paired rounds."""
    asyncio.run(_compare())


async def _compare() -> None:
    async with server(ANSWER, end=ASKED, takes=TAKES) as endpoint:
        print(f"  the server takes {TAKES:g} s a call")
        for at_once in AT_ONCE:
            await _compare_at(f"{endpoint}/api/rpc.php", at_once)


async def _compare_at(url: str, at_once: int) -> None:
    calls = CALLS if at_once > 1 else CALLS // 10
    async with AsyncExitStack() as stack:
        limits = httpx.Limits(max_connections=at_once, max_keepalive_connections=at_once)
        pool = await stack.enter_async_context(httpx.AsyncClient(limits=limits))
        each = await stack.enter_async_context(Connections())
        candidates: dict[str, Connection] = {"one pool": lambda: nullcontext(pool), "Connections": each.one}
        times: dict[str, list[float]] = {name: [] for name in candidates}
        for _ in range(ROUNDS + 1):
            for name, connection in candidates.items():
                times[name].append(await cpu_of(partial(_call, connection, url), times=calls, at_once=at_once))
    pooled, ours = (statistics.median(taken[1:]) for taken in times.values())
    print(
        f"  {at_once:3} at a time  {ours * 1e6:6,.0f} µs of CPU a call, in one pool {pooled * 1e6:6,.0f} µs: "
        f"{pooled / ours:.2f} times as much"
    )


async def _call(connection: Connection, url: str) -> None:
    async with connection() as client, client.stream("POST", url, content=ASKED) as reply:
        assert await reply.aread() == BODY
