"""A server in another process that always sends the same answer, and the CPU time of this process for each request."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager


@asynccontextmanager
async def server(answer: bytes, *, end: bytes = b"\r\n\r\n", takes: float = 0.0) -> AsyncIterator[str]:
    """Start a server and yield its endpoint. `end`: the last bytes of each request. `takes`: seconds until it answers."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.canned", answer.hex(), end.hex(), str(takes), stdout=asyncio.subprocess.PIPE
    )
    try:
        if process.stdout is None:
            raise SystemExit("the server has no output")
        async with asyncio.timeout(60):
            endpoint = f"http://127.0.0.1:{int(await process.stdout.readline())}"
        yield endpoint
    finally:
        process.terminate()
        await process.wait()


async def cpu_of(ask: Callable[[], Awaitable[None]], *, times: int, at_once: int) -> float:
    """CPU seconds of this process for each call of `ask`."""
    began = time.process_time()
    todo = iter(range(times))

    async def work() -> None:
        for _ in todo:
            await ask()

    await asyncio.gather(*(work() for _ in range(at_once)))
    return (time.process_time() - began) / times


class _Canned(asyncio.Protocol):
    def __init__(self, answer: bytes, end: bytes, takes: float) -> None:
        self._answer = answer
        self._end = end
        self._takes = takes
        self._asked = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._asked += data
        if not self._asked.endswith(self._end):
            return
        self._asked = b""
        write = self._transport.write  # type: ignore[attr-defined]
        if self._takes:
            asyncio.get_running_loop().call_later(self._takes, write, self._answer)
        else:
            write(self._answer)


async def _serve(answer: bytes, end: bytes, takes: float) -> None:
    listening = await asyncio.get_running_loop().create_server(lambda: _Canned(answer, end, takes), "127.0.0.1", 0)
    print(listening.sockets[0].getsockname()[1], flush=True)
    await listening.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(bytes.fromhex(sys.argv[1]), bytes.fromhex(sys.argv[2]), float(sys.argv[3])))
