"""The HTTP side of the API."""

import asyncio
import hashlib
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from jibe_sqs.sandbox.access_anywhere.broken_answers import Download, broken_answer, huge_answer
from jibe_sqs.sandbox.access_anywhere.calls import Calls
from jibe_sqs.sandbox.access_anywhere.config import AccessAnywhereServer
from jibe_sqs.sandbox.access_anywhere.controls import Controls
from jibe_sqs.sandbox.access_anywhere.fault_plan import PlannedFault
from jibe_sqs.sandbox.access_anywhere.refusals import Refused
from jibe_sqs.sandbox.access_anywhere.sessions import NO_TOKENS
from jibe_sqs.sandbox.access_anywhere.storage import Storage

NO_FAULTS_HEADER = "X-Sandbox-No-Faults"
"""Calls with this header get no faults. The sandbox's own uploader sends it."""


class Server:
    """Handles HTTP requests. Every call goes through `rpc` or `uploader`, where faults are injected."""

    def __init__(self, calls: Calls, counts: Counter[str], begin: Callable[[], None]) -> None:
        self._calls = calls
        self._counts = counts
        self._begin = begin

    async def rpc(self, request: Request) -> Response:
        self._begin()
        params = await _params(request)
        # Clients write both `getToken` and `gettoken`.
        function = params.get("function", "").lower()
        self._counts[function] += 1
        token, is_download = params.get("token", ""), function == "getfile"
        fault = self._planned_fault(request, logged_in=token not in NO_TOKENS, is_download=is_download)
        if fault.kind == "expired_tokens":
            self._calls.sessions.forget(token)
        byte_range = request.headers.get("range", "")

        async def answer() -> Response:
            try:
                if fault.kind == "error_background":
                    raise Refused("error_background", "A background task is at work here. Please try again later")
                if is_download:
                    return await self._file(params | {"range": byte_range})
                answer = await self._calls.answer(function, params)
                return huge_answer(answer, size) if (size := self._calls.fault_plan.answer_size()) else _json(answer)
            except Refused as refused:
                return _json(_envelope(refused), _download_error(refused) if is_download else None)

        return await _answer_with_fault(fault, answer)

    async def _file(self, params: Mapping[str, str]) -> Response:
        file, piece = await self._calls.file(params)
        headers = {"Accept-Ranges": "bytes"}
        if piece.content_range:
            headers["Content-Range"] = piece.content_range
        kind = file.content_type or "application/octet-stream"
        max_bytes = piece.size // 2 if piece.size and self._calls.fault_plan.truncates() else None
        return Download(piece, headers=headers, media_type=kind, max_bytes=max_bytes)

    async def uploader(self, request: Request) -> Response:
        """Receive an upload's bytes, from the form field `datafile` or from a PUT. The query is the upload's code."""
        self._begin()
        self._counts["uploader"] += 1
        multipart = request.headers.get("content-type", "").startswith("multipart/form-data")
        body = await _datafile(request) if multipart else await request.body()

        async def answer() -> Response:
            try:
                self._calls.uploads.send(unquote(request.url.query), body)
            except Refused as refused:
                return _json({"success": "n", "error": refused.message})
            digest = hashlib.md5(body, usedforsecurity=False).hexdigest()
            size = self._calls.shapes.number("filesize", len(body), for_rclone=not multipart)
            return _json({"filesize": size, "md5": digest, "success": "y"})

        return await _answer_with_fault(self._planned_fault(request, logged_in=False), answer)

    def _planned_fault(self, request: Request, *, logged_in: bool, is_download: bool = False) -> PlannedFault:
        if NO_FAULTS_HEADER in request.headers:
            return PlannedFault()
        return self._calls.fault_plan.for_call(logged_in=logged_in, is_download=is_download)


def create_app(config: AccessAnywhereServer, storage: Storage, *, clock: Callable[[], float] = time.time) -> Starlette:
    """The server as an ASGI application. `clock`: seconds since the epoch, for sessions, records and
    the recent window.
    """
    calls, counts = Calls(config, storage, clock), Counter[str]()
    controls = Controls(config, calls, counts)
    server = Server(calls, counts, controls.begin)
    return Starlette(
        routes=[
            Route("/api/rpc.php", server.rpc, methods=["GET", "POST"]),
            Route("/cgi-bin/uploader/uploader1.cgi", server.uploader, methods=["POST", "PUT"]),
            # rclone appends the file's name in base64.
            Route("/cgi-bin/uploader/uploader1.cgi/{name:path}", server.uploader, methods=["POST", "PUT"]),
            *controls.routes(),
        ],
        exception_handlers={ClientDisconnect: _client_gone},
    )


async def _answer_with_fault(fault: PlannedFault, answer: Callable[[], Awaitable[Response]]) -> Response:
    if fault.delay:
        await asyncio.sleep(fault.delay)
    if fault.kind in {None, "expired_tokens", "error_background"}:
        return await answer()
    if fault.has_effect:
        await answer()
    return broken_answer(fault)


async def _client_gone(_: Request, __: Exception) -> Response:
    """The client closed the connection in the middle of its request, so no answer can arrive."""
    return Response(status_code=400)


async def _params(request: Request) -> dict[str, str]:
    """The parameters of the form and of the query. A download may be requested by GET."""
    sent = (request.scope["query_string"], await request.body())
    # The text is ASCII, with percent-encoded UTF-8. Latin-1 decodes any other byte without an error.
    return {name: value for part in sent for name, value in parse_qsl(part.decode("latin-1"), keep_blank_values=True)}


async def _datafile(request: Request) -> bytes:
    async with request.form() as form:
        sent = form.get("datafile")
        return await sent.read() if isinstance(sent, UploadFile) else (sent or "").encode()


def _json(value: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(value), headers=headers, media_type="application/json")


def _envelope(refused: Refused) -> dict[str, Any]:
    return {"status": refused.code, "statusmessage": refused.message}


def _download_error(refused: Refused) -> dict[str, str]:
    """The errors of a download are in headers: a client that streams the body would store an envelope as the file."""
    message = b64encode(refused.message.encode()).decode()
    headers = {
        f"X-{vendor}-DOWNLOAD-ERROR{part}": value
        for vendor in ("NAA", "SME")  # the older prefix is still sent
        for part, value in (("", message), ("-STATUS", refused.code))
    }
    if refused.provider_code:
        headers |= {"X-PROVIDER-DOWNLOAD-ERROR": message, "X-PROVIDER-DOWNLOAD-ERROR-CODE": refused.provider_code}
    return headers
