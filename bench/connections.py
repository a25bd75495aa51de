"""Calls over connections that stand each by itself, beside the same over one pool of httpx's: as to Access Anywhere."""

import asyncio
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext

import httpx

from jibe_sqs.adapters.connections import Connections

CALLS = 1500
AT_ONCE = (1, 8, 32)
ROUNDS = 5
TAKES = 0.02
"""Seconds for the server to answer."""
BODY = b'{"status":"ok"}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
ASKED = b"function=getFolderContents&apiformat=json&token=0123456789abcdef"

Client = AbstractAsyncContextManager[httpx.AsyncClient]


def run() -> None:
    """CPU of this process per call, of the server's none; medians of paired rounds."""
    asyncio.run(_compare())


async def _compare() -> None:
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.connections", stdout=asyncio.subprocess.PIPE
    )
    try:
        if server.stdout is None:
            raise SystemExit("the server has no output")
        async with asyncio.timeout(60):
            url = f"http://127.0.0.1:{int(await server.stdout.readline())}/api/rpc.php"
        print(f"  the server takes {TAKES:g} s a call")
        for at_once in AT_ONCE:
            await _compare_at(url, at_once)
    finally:
        server.terminate()
        await server.wait()


async def _compare_at(url: str, at_once: int) -> None:
    async with AsyncExitStack() as stack:
        limits = httpx.Limits(max_connections=at_once, max_keepalive_connections=at_once)
        pool = await stack.enter_async_context(httpx.AsyncClient(limits=limits))
        each = await stack.enter_async_context(Connections(lambda limits: httpx.AsyncClient(limits=limits)))
        candidates: dict[str, Callable[[], Client]] = {"one pool": lambda: nullcontext(pool), "by itself": each.one}
        times: dict[str, list[float]] = {name: [] for name in candidates}
        for _ in range(ROUNDS + 1):
            for name, client in candidates.items():
                times[name].append(await _cpu_of(client, url, at_once))
    pooled, ours = (statistics.median(times[name][1:]) for name in candidates)
    print(
        f"  {at_once:3} at a time  {ours * 1e6:6,.0f} µs of CPU a call, in one pool {pooled * 1e6:6,.0f} µs: "
        f"{pooled / ours:.2f} times as much"
    )


async def _cpu_of(connection: Callable[[], Client], url: str, at_once: int) -> float:
    calls = CALLS if at_once > 1 else CALLS // 10
    began = time.process_time()
    todo = iter(range(calls))

    async def work() -> None:
        for _ in todo:
            async with connection() as client, client.stream("POST", url, content=ASKED) as reply:
                assert await reply.aread() == BODY

    await asyncio.gather(*(work() for _ in range(at_once)))
    return (time.process_time() - began) / calls


class _Canned(asyncio.Protocol):
    def __init__(self) -> None:
        self._asked = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._asked += data
        if self._asked.endswith(ASKED):
            self._asked = b""
            asyncio.get_running_loop().call_later(TAKES, self._transport.write, ANSWER)  # type: ignore[attr-defined]


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(_Canned, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve())
