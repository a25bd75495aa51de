"""Runs the server, in a thread of this process or as a process of its own."""

import argparse
import asyncio
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from jibe_sqs.sandbox.access_anywhere.broken_answers import TRANSPORT
from jibe_sqs.sandbox.access_anywhere.config import AccessAnywhereServer
from jibe_sqs.sandbox.access_anywhere.s3 import S3Storage
from jibe_sqs.sandbox.access_anywhere.server import create_app

SHUTDOWN_GRACE = 2
"""Seconds that running calls get when the server stops."""
THREAD_TIMEOUT = 60
"""Seconds for starting and for stopping the server in a thread."""


class _Protocol(H11Protocol):
    """Passes the connection's transport to the application, so that it can break the connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        app = self.app

        async def with_transport(scope: Scope, receive: Receive, send: Send) -> None:
            scope["extensions"] = {**scope.get("extensions", {}), TRANSPORT: transport}
            await app(scope, receive, send)

        self.app = with_transport


class _Server(uvicorn.Server):
    """Calls `ready` when it accepts connections."""

    def __init__(self, app: ASGIApp, ready: Callable[[], None]) -> None:
        # Access logs would contain tokens, because clients put them into queries.
        super().__init__(
            uvicorn.Config(
                app,
                http=_Protocol,
                log_level="warning",
                access_log=False,
                ws="none",
                lifespan="off",
                timeout_graceful_shutdown=SHUTDOWN_GRACE,
            )
        )
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()


@contextmanager
def serving(app: ASGIApp, *, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Serve in a thread. Port 0: a free port. Yields the URL.

    Raises `RuntimeError` if the server does not start or stop.
    """
    listener = _listener(host, port)
    ready = threading.Event()
    server = _Server(app, ready.set)
    thread = threading.Thread(target=server.run, args=([listener],), name="access-anywhere", daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + THREAD_TIMEOUT
        while not ready.wait(0.05):
            if not thread.is_alive():
                raise RuntimeError("the server ended before it accepted connections")
            if time.monotonic() > deadline:
                raise RuntimeError(f"the server did not accept connections within {THREAD_TIMEOUT} s")
        yield _url(listener)
    finally:
        server.should_exit = True
        thread.join(THREAD_TIMEOUT)
        listener.close()
    if thread.is_alive():
        raise RuntimeError(f"the server did not stop within {THREAD_TIMEOUT} s")


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT. Prints `{"endpoint": …}` when it accepts connections."""
    parser = argparse.ArgumentParser(prog="python -m jibe_sqs.sandbox.access_anywhere", description=__doc__)
    parser.add_argument("--aws-endpoint", required=True, help="URL of the S3 server to index")
    parser.add_argument("--config", required=True, type=Path, help="JSON file with the server's settings")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 (the default): a free port")
    parser.add_argument("--exit-with-parent", action="store_true", help="stop when the parent process ends")
    options = parser.parse_args(arguments)
    parent = os.getppid()

    config = AccessAnywhereServer.read(options.config)
    app = create_app(config, S3Storage(options.aws_endpoint, config.regions()))
    with _listener(options.host, options.port) as listener:
        server = _Server(app, lambda: print(json.dumps({"endpoint": _url(listener)}), flush=True))

        def stop(*_: object) -> None:
            server.should_exit = True

        # uvicorn installs its own handlers. When it has stopped, it restores these and raises the signal again; the
        # default handler would end the process with an error.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        if options.exit_with_parent:
            threading.Thread(target=_stop_after, args=(parent, stop), daemon=True).start()
        server.run([listener])
    return 0


def _stop_after(parent: int, stop: Callable[[], None]) -> None:
    # Linux's parent-death signal is not used: it comes when the parent's *thread* ends.
    while os.getppid() == parent:
        time.sleep(0.25)
    stop()


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=512)


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
