"""The control socket: a Unix-domain socket at which the running service answers commands of its own user."""

import os
import socket
import stat
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from jibe_sqs.adapters.control_messages import (
    BucketPlaces,
    FolderState,
    PendingState,
    RefreshRequest,
    ServiceStatus,
)
from jibe_sqs.adapters.http_server import served
from jibe_sqs.core.model import Folder
from jibe_sqs.ports import Clock
from jibe_sqs.syncing.operator_refreshes import operator_refreshes
from jibe_sqs.syncing.outcomes import Outcomes
from jibe_sqs.syncing.refreshes import Refreshes
from jibe_sqs.telemetry.optional_ledger import OptionalLedger

MODE: Final = 0o600
BACKLOG: Final = 16
MAX_BODY: Final = 4 << 20
"""Bytes of a request: a thousand of the longest paths."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Controls:
    """What the socket may ask of the service. `places` and `status` return what is known at that moment."""

    refreshes: Refreshes
    outcomes: Outcomes
    ledger: OptionalLedger
    clock: Clock
    places: Callable[[str], BucketPlaces]
    status: Callable[[], ServiceStatus]


@asynccontextmanager
async def control_server(path: Path, controls: Controls) -> AsyncIterator[None]:
    """Serve during the block. Raises `OSError` if the socket cannot be created; its text says why."""
    with _listening(path) as listener:
        async with served(_app(controls), [listener], name="control socket"):
            yield


@contextmanager
def _listening(path: Path) -> Iterator[socket.socket]:
    """A socket that listens. Its file is removed at the end, unless another service has replaced it by then."""
    with _new_listener(path) as listener:
        inode = path.lstat().st_ino
        try:
            yield listener
        finally:
            with suppress(OSError):
                if path.lstat().st_ino == inode:
                    path.unlink()


def _new_listener(path: Path) -> socket.socket:
    _remove_stale(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(os.fspath(path))
        # Nobody can connect before `listen`, so there is no moment at which others could use the socket.
        path.chmod(MODE)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def _remove_stale(path: Path) -> None:
    """Remove the socket of a process that was killed. Raises `OSError` if something else is there, or a service answers."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise FileExistsError("there is a file that is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
        except BlockingIOError:
            pass  # its backlog is full, so a process listens
    raise FileExistsError("another service listens there")


def _app(controls: Controls) -> Starlette:
    async def status(_: Request) -> Response:
        return _answer(controls.status())

    async def places(request: Request) -> Response:
        return _answer(controls.places(request.query_params.get("bucket", "")))

    async def folder(request: Request) -> Response:
        path = request.query_params.get("path", "")
        if not path.startswith("/"):
            return _mistake("path: write / and the path of a folder of Access Anywhere")
        return _answer(await _state(controls, Folder(path, tree=request.query_params.get("tree") == "1")))

    async def refresh(request: Request) -> Response:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY:
                return _mistake(f"the request is longer than {MAX_BODY:,} bytes")
        try:
            folders = msgspec.json.decode(body, type=RefreshRequest).folders
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return _mistake(str(error))
        if wrong := [each.path for each in folders if not each.path.startswith("/")]:
            return _mistake(f"not a path of a folder of Access Anywhere: {wrong[0]}")
        return StreamingResponse(_steps(controls, folders), media_type="application/x-ndjson")

    return Starlette(
        routes=[
            Route("/status", status),
            Route("/places", places),
            Route("/folder", folder),
            Route("/refresh", refresh, methods=["POST"]),
        ]
    )


async def _state(controls: Controls, folder: Folder) -> FolderState:
    # A refresh of a tree above it covers a folder as well.
    covering = (each for each in controls.refreshes.pending() if _covers(each.folder, folder))
    first = min(covering, key=lambda each: each.since, default=None)
    return FolderState(
        folder,
        (await controls.ledger.watermarks([folder])).get(folder),
        PendingState(controls.clock.monotonic() - first.since, first.reason.value) if first else None,
        controls.outcomes.last_error(folder),
    )


def _covers(refreshed: Folder, folder: Folder) -> bool:
    if refreshed.tree:
        return f"{folder.path}/".startswith(f"{refreshed.path.rstrip('/')}/")
    return refreshed == folder


async def _steps(controls: Controls, folders: list[Folder]) -> AsyncGenerator[bytes, None]:
    async with aclosing(operator_refreshes(controls.refreshes, controls.outcomes, folders)) as steps:
        async for step in steps:
            yield msgspec.json.encode(step) + b"\n"


def _answer(content: Any) -> Response:
    return Response(msgspec.json.encode(content), media_type="application/json")


def _mistake(what: str) -> Response:
    return JSONResponse({"error": what}, status_code=400)
