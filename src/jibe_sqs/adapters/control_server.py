"""The answers of the control socket."""

import socket
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any, Final, TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from jibe_sqs.adapters.control_messages import (
    FolderState,
    PauseRequest,
    PendingState,
    RefreshRequest,
    ResumeRequest,
)
from jibe_sqs.adapters.control_socket import Controls
from jibe_sqs.adapters.http_server import served
from jibe_sqs.core.json_bytes import json_bytes
from jibe_sqs.core.model import Folder
from jibe_sqs.syncing.operator_refreshes import operator_refreshes
from jibe_sqs.telemetry import logs

MAX_BODY: Final = 4 << 20
"""Bytes of a request: a thousand of the longest paths."""

T = TypeVar("T", bound=msgspec.Struct)


def control_server(listener: socket.socket, controls: Controls) -> AbstractAsyncContextManager[None]:
    """Serve during the block, at a socket that listens."""
    return served(_app(controls), [listener], name="control server")


def _app(controls: Controls) -> Starlette:
    async def status(_: Request) -> Response:
        return _answer(controls.status())

    async def snapshot(_: Request) -> Response:
        return _answer(controls.snapshot())

    async def places(request: Request) -> Response:
        return _answer(controls.places(request.query_params.get("bucket", "")))

    async def folder(request: Request) -> Response:
        path = request.query_params.get("path", "")
        if not path.startswith("/"):
            return _mistake("path: write / and the path of a folder of Access Anywhere")
        return _answer(await _state(controls, Folder(path, tree=request.query_params.get("tree") == "1")))

    async def log_lines(_: Request) -> Response:
        return _answer(logs.recent())

    async def pause(request: Request) -> Response:
        try:
            wanted = await _content(request, PauseRequest)
        except ValueError as error:
            return _mistake(str(error))
        return _answer(await controls.pause(wanted))

    async def resume(request: Request) -> Response:
        try:
            wanted = await _content(request, ResumeRequest)
        except ValueError as error:
            return _mistake(str(error))
        return _answer(await controls.resume(wanted))

    async def refresh(request: Request) -> Response:
        try:
            folders = (await _content(request, RefreshRequest)).folders
        except ValueError as error:
            return _mistake(str(error))
        if wrong := [each.path for each in folders if not each.path.startswith("/")]:
            return _mistake(f"not a path of a folder of Access Anywhere: {wrong[0]}")
        return StreamingResponse(_steps(controls, folders), media_type="application/x-ndjson")

    return Starlette(
        routes=[
            Route("/status", status),
            Route("/snapshot", snapshot),
            Route("/places", places),
            Route("/folder", folder),
            Route("/log", log_lines),
            Route("/pause", pause, methods=["POST"]),
            Route("/resume", resume, methods=["POST"]),
            Route("/refresh", refresh, methods=["POST"]),
        ]
    )


async def _content(request: Request, kind: type[T]) -> T:
    """The decoded body of a request. Raises `ValueError` if it is too long, or not of this kind."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise ValueError(f"the request is longer than {MAX_BODY:,} bytes")
    return msgspec.json.decode(body, type=kind)


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
            yield json_bytes(step) + b"\n"


def _answer(content: Any) -> Response:
    return Response(json_bytes(content), media_type="application/json")


def _mistake(what: str) -> Response:
    return JSONResponse({"error": what}, status_code=400)
