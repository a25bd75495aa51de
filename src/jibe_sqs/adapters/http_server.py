"""Serves an HTTP application in the service's event loop. Signals and log lines stay those of the service."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture no signals: the service handles them."""
        yield


@asynccontextmanager
async def served(
    app: ASGIApp, listeners: Sequence[socket.socket], *, name: str, protocol: type[H11Protocol] = H11Protocol
) -> AsyncIterator[None]:
    """Serve at sockets that listen, during the block. `name`: of the task. `protocol`: of each connection."""
    config = uvicorn.Config(
        app,
        lifespan="off",
        ws="none",
        http=protocol,
        log_config=None,
        # Requests of port scanners are not worth a log line.
        log_level="critical",
        access_log=False,
        server_header=False,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=1,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=list(listeners)), name=name)
    try:
        yield
    finally:
        server.should_exit = True
        await asyncio.gather(task, return_exceptions=True)
