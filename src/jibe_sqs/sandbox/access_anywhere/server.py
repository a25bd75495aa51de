"""The server's doors: the API as clients find it, and `/sandbox/…` for the sandbox itself, which needs no login."""

import hashlib
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from jibe_sqs.sandbox.access_anywhere.calls import Calls
from jibe_sqs.sandbox.access_anywhere.config import AccessAnywhereServer
from jibe_sqs.sandbox.access_anywhere.refusals import Refused
from jibe_sqs.sandbox.access_anywhere.storage import Storage


class Server:
    """HTTP in, HTTP out. Every call passes `rpc` or `uploader`, so whatever is to befall calls belongs there."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._counts: Counter[str] = Counter()

    async def rpc(self, request: Request) -> Response:
        params = await _params(request)
        # Both `getToken` and `gettoken` are in use.
        function = params.get("function", "").lower()
        self._counts[function] += 1
        if function == "getfile":
            return await self._file(params | {"range": request.headers.get("range", "")})
        try:
            return JSONResponse(await self._calls.answer(function, params))
        except Refused as refused:
            return JSONResponse(_envelope(refused))

    async def _file(self, params: Mapping[str, str]) -> Response:
        try:
            file, piece = await self._calls.file(params)
        except Refused as refused:
            return JSONResponse(_envelope(refused), headers=_download_error(refused))
        headers = {"Accept-Ranges": "bytes"}
        if piece.content_range:
            headers["Content-Range"] = piece.content_range
        status = 206 if piece.content_range else 200
        kind = file.content_type or "application/octet-stream"
        return Response(piece.body, status_code=status, headers=headers, media_type=kind)

    async def uploader(self, request: Request) -> Response:
        """Takes the bytes: of the form's field `datafile`, or those of a PUT. The query is the upload's code."""
        self._counts["uploader"] += 1
        multipart = request.headers.get("content-type", "").startswith("multipart/form-data")
        body = await _datafile(request) if multipart else await request.body()
        try:
            self._calls.uploads.send(unquote(request.url.query), body)
        except Refused as refused:
            return JSONResponse({"success": "n", "error": refused.message})
        digest = hashlib.md5(body, usedforsecurity=False).hexdigest()
        size = self._calls.shapes.number("filesize", len(body), steady=not multipart)
        return JSONResponse({"filesize": size, "md5": digest, "success": "y"})

    async def index(self, _: Request) -> Response:
        """All files that the index shows; one of a bucket shown twice stands here twice."""
        return JSONResponse(
            [
                {
                    "bucket": file.parent.bucket,
                    "key": file.seen.key,
                    "size": file.seen.size,
                    "etag": file.seen.etag,
                    "path": file.path,
                }
                for file in self._calls.index.files()
            ]
        )

    async def refreshes(self, request: Request) -> Response:
        """The completed refreshes whose `n` is greater than `since`."""
        return JSONResponse(self._calls.refresher.records(int(request.query_params.get("since", "0"))))

    async def stats(self, _: Request) -> Response:
        return JSONResponse(
            {
                "calls": dict(self._counts),
                "refreshes": self._calls.refresher.completed,
                "logins": self._calls.sessions.logins,
            }
        )


def create_app(config: AccessAnywhereServer, storage: Storage, *, clock: Callable[[], float] = time.time) -> Starlette:
    """The server as an ASGI application. `clock` (seconds since the epoch) rules sessions, records and windows."""
    server = Server(Calls(config, storage, clock))
    return Starlette(
        routes=[
            Route("/api/rpc.php", server.rpc, methods=["GET", "POST"]),
            Route("/cgi-bin/uploader/uploader1.cgi", server.uploader, methods=["POST", "PUT"]),
            # rclone adds the file's name in base64.
            Route("/cgi-bin/uploader/uploader1.cgi/{name:path}", server.uploader, methods=["POST", "PUT"]),
            Route("/sandbox/index", server.index),
            Route("/sandbox/refreshes", server.refreshes),
            Route("/sandbox/stats", server.stats),
        ],
        exception_handlers={ClientDisconnect: _nobody},
    )


async def _nobody(_: Request, __: Exception) -> Response:
    """The client went away, killed perhaps, in the middle of its request. There is nobody to answer."""
    return Response(status_code=400)


async def _params(request: Request) -> dict[str, str]:
    """Of the form and of the query; a download may be asked for by GET."""
    async with request.form() as form:
        return dict(request.query_params) | {name: value for name, value in form.items() if isinstance(value, str)}


async def _datafile(request: Request) -> bytes:
    async with request.form() as form:
        sent = form.get("datafile")
        return await sent.read() if isinstance(sent, UploadFile) else (sent or "").encode()


def _envelope(refused: Refused) -> dict[str, Any]:
    return {"status": refused.code, "statusmessage": refused.message}


def _download_error(refused: Refused) -> dict[str, str]:
    """A download's errors stand in headers: a client that streams the body would take an envelope for the file."""
    message = b64encode(refused.message.encode()).decode()
    headers = {
        f"X-{vendor}-DOWNLOAD-ERROR{part}": value
        for vendor in ("NAA", "SME")  # the older name stayed
        for part, value in (("", message), ("-STATUS", refused.code))
    }
    if refused.provider_code:
        headers |= {"X-PROVIDER-DOWNLOAD-ERROR": message, "X-PROVIDER-DOWNLOAD-ERROR-CODE": refused.provider_code}
    return headers
