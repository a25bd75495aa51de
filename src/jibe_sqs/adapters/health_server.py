"""Serves `/livez` and `/readyz` over HTTP in the service's event loop, so an answer shows that the loop runs."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from jibe_sqs.core.errors import SettingsError
from jibe_sqs.telemetry.health import Health


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture no signals: the service handles them."""
        yield


@asynccontextmanager
async def health_server(host: str, port: int, health: Health) -> AsyncIterator[int]:
    """Serve during the block. Yields the port, also if `port` is 0. Raises `SettingsError` if the port is in use."""
    config = uvicorn.Config(
        _app(health),
        lifespan="off",
        ws="none",
        http="h11",
        log_config=None,
        # Requests of port scanners are not worth a log line.
        log_level="critical",
        access_log=False,
        server_header=False,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=1,
    )
    with _listening(host, port) as listener:
        server = _Server(config)
        task = asyncio.create_task(server.serve(sockets=[listener]), name="health server")
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            await asyncio.gather(task, return_exceptions=True)


def _listening(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "not a host name"
        raise SettingsError(
            [f"health.port: cannot listen on {host} port {port}: {why}: choose another health.port, or health.host"]
        ) from error


def _app(health: Health) -> Starlette:
    async def livez(_: Request) -> JSONResponse:
        reasons = health.liveness_failures
        return JSONResponse({"alive": not reasons, "reasons": reasons}, status_code=503 if reasons else 200)

    async def readyz(_: Request) -> JSONResponse:
        reasons = health.readiness_failures
        content = {"ready": not reasons, "reasons": reasons, "warnings": health.warnings}
        return JSONResponse(content, status_code=503 if reasons else 200)

    return Starlette(routes=[Route("/livez", livez), Route("/readyz", readyz)])
