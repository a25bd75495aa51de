"""Downloads of files from Access Anywhere, and uploads of reports to it."""

import asyncio
import base64
import binascii
import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import quote

import httpx

from jibe_sqs.adapters.access_anywhere.flow.patience import unless_busy
from jibe_sqs.adapters.access_anywhere.wire.answers import Item, decoded, item, json_object, number, text, truth
from jibe_sqs.adapters.access_anywhere.wire.reader import MAX_FIELDS_BYTES, Answer
from jibe_sqs.adapters.access_anywhere.wire.session import Session
from jibe_sqs.adapters.access_anywhere.wire.translation import (
    MAX_CALL_SECONDS,
    READ_ERRORS,
    BrokenOff,
    check_status,
    refusal,
    translated,
)
from jibe_sqs.adapters.access_anywhere.wire.transport import BACKOFF, Transport
from jibe_sqs.adapters.http_answers import decompressed, read_body
from jibe_sqs.core.errors import AccessAnywhereUnavailable, AnswerMalformed, CallFailed, DownloadTruncated
from jibe_sqs.ports import Clock

GET_FILE = "getFile"
CHUNK = 65_536
MAX_ENVELOPE_BYTES = 65_536
"""Bytes. A larger answer is a file."""

ENVELOPE = frozenset({"status", "statusmessage", "taskid"})

MESSAGES = ("X-NAA-DOWNLOAD-ERROR", "X-SME-DOWNLOAD-ERROR", "X-PROVIDER-DOWNLOAD-ERROR")
CODES = ("X-NAA-DOWNLOAD-ERROR-STATUS", "X-SME-DOWNLOAD-ERROR-STATUS", "X-PROVIDER-DOWNLOAD-ERROR-CODE")
"""Headers that explain why a body is not the file: the newer name, the older name, and the storage's own error."""

UPLOADER = "/cgi-bin/uploader/uploader1.cgi"
MAX_UPLOAD_TRIES = 3
"""How many times a whole upload is tried."""


class Download:
    """The bytes of a file as they arrive. `size` is the Content-Length, or None if the server sent none."""

    def __init__(self, reply: httpx.Response, head: list[bytes], rest: AsyncIterator[bytes]) -> None:
        length = reply.headers.get("Content-Length", "")
        self.size = int(length) if length.isdecimal() else None
        self._head = head
        self._rest = rest

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Iterate once, over chunks of bytes. Raises `DownloadTruncated`."""
        seen = 0
        try:
            for chunk in self._head:
                seen += len(chunk)
                yield chunk
            async for chunk in self._rest:
                seen += len(chunk)
                yield chunk
        except READ_ERRORS as error:
            raise self._truncated(seen, f" ({type(error).__name__})") from error
        if self.size is not None and seen < self.size:
            raise self._truncated(seen)

    def _truncated(self, seen: int, why: str = "") -> DownloadTruncated:
        of = "" if self.size is None else f" of {self.size}"
        return DownloadTruncated(f"{GET_FILE}: the file ended after {seen}{of} bytes{why}: it has to be read again")


class Files:
    """Downloads, up to `downloads` at a time, and uploads. Raises what `Session` raises."""

    def __init__(self, transport: Transport, session: Session, clock: Clock, *, downloads: int) -> None:
        self._transport = transport
        self._session = session
        self._clock = clock
        # Downloads do not take places of calls: a slow reader must not delay the refreshes.
        self._downloads = asyncio.Semaphore(downloads)

    @asynccontextmanager
    async def download(self, fi_id: str, *, chunk: int = CHUNK) -> AsyncIterator[Download]:
        """A file, open for reading. A failure before the first bytes is retried; a later one is raised in the reader."""
        async with self._downloads:
            reply, download = await unless_busy(
                self._clock, lambda: self._session.with_token(lambda token: self._opened(fi_id, token, chunk))
            )
            async with reply:
                yield download

    async def upload(self, folder: str, name: str, body: bytes) -> Item:
        """Store a file in the folder of that `fi_id`. An upload that fails starts again from its first call."""
        failures = 0
        while True:
            code = await self._announce(folder, name, body)
            try:
                return await self._deliver(code, name, body)
            except (AccessAnywhereUnavailable, CallFailed):
                failures += 1
                if failures == MAX_UPLOAD_TRIES:
                    raise
            await self._clock.sleep(BACKOFF.delay(failures))

    async def _opened(self, fi_id: str, token: str, chunk: int) -> tuple[AsyncExitStack, Download]:
        return await self._transport.with_retries(
            GET_FILE, lambda: self._open(fi_id, token, chunk), about=(GET_FILE, fi_id)
        )

    async def _open(self, fi_id: str, token: str, chunk: int) -> tuple[AsyncExitStack, Download]:
        form = {"function": GET_FILE, "apiformat": "json", "fi_id": fi_id, "token": token}
        async with AsyncExitStack() as stack:
            with translated(GET_FILE, form):
                async with asyncio.timeout(MAX_CALL_SECONDS):
                    client = await stack.enter_async_context(self._transport.http.one())
                    reply = await stack.enter_async_context(
                        client.stream(
                            "POST",
                            self._transport.url,
                            data=form,
                            headers={"Accept": "*/*", "Accept-Encoding": "identity"},
                        )
                    )
                    check_status(GET_FILE, reply, self._clock.now())
                    check_headers(reply, form)
                    chunks = reply.aiter_raw(chunk)
                    head = await beginning(chunks)
                    check_envelope(b"".join(head), form)
            return stack.pop_all(), Download(reply, head, chunks)

    async def _announce(self, folder: str, name: str, body: bytes) -> str:
        about = {"fi_name": name, "fi_filename": name, "fi_pid": folder, "fi_size": str(len(body))}
        answer = await self._call("doInitUpload", {**about, "responsetype": "json"})
        code = text(answer.get("uploadcode"))
        if not code:
            raise AnswerMalformed("doInitUpload: Access Anywhere's answer is ok, but has no `uploadcode`")
        return code

    async def _deliver(self, code: str, name: str, body: bytes) -> Item:
        await self._transport.with_retries("uploader", lambda: self._send(code, name, body), tries=1)
        answer = await self._call("doCompleteUpload", {"uploadcode": code, "fi_size": str(len(body))})
        return item(answer.get("file"))

    async def _call(self, function: str, parameters: Mapping[str, str]) -> Answer:
        return await unless_busy(self._clock, lambda: self._session.call(function, parameters))

    async def _send(self, code: str, name: str, body: bytes) -> None:
        secrets = {"uploadcode": code}
        url = f"{self._transport.url.removesuffix('/api/rpc.php')}{UPLOADER}?{quote(code, safe='')}"
        with translated("uploader", secrets):
            async with asyncio.timeout(MAX_CALL_SECONDS):
                async with self._transport.post(url, files={"datafile": (name, body)}) as reply:
                    answer = await read_body(decompressed(reply), MAX_FIELDS_BYTES)
        check_status("uploader", reply, self._clock.now())
        result = json_object(answer)
        if not truth(result.get("success")):
            raise refusal("uploader", "upload_failed", text(result.get("error")), secrets)
        size, md5 = number(result.get("filesize")), text(result.get("md5")).lower()
        if size not in {None, len(body)} or md5 not in {"", hashlib.md5(body, usedforsecurity=False).hexdigest()}:
            raise refusal("uploader", "upload_failed", "it received other bytes than the ones that were sent", secrets)


async def beginning(chunks: AsyncIterator[bytes]) -> list[bytes]:
    """The first chunk of a body. If the body may be an envelope, as many chunks as an envelope can have."""
    head: list[bytes] = []
    try:
        async for chunk in chunks:
            head.append(chunk)
            if not head[0].lstrip().startswith(b"{") or sum(map(len, head)) > MAX_ENVELOPE_BYTES:
                break
    except READ_ERRORS as error:
        # This does not count as a failure of the server: one file alone may be damaged.
        raise BrokenOff(f"{GET_FILE}: the file ends early: {type(error).__name__}") from error
    return head


def check_headers(reply: httpx.Response, form: Mapping[str, str]) -> None:
    """Raise `CallFailed` if a header reports that the body is not the file."""
    codes = [code for name in CODES if (code := reply.headers.get(name))]
    messages = [plain(message) for name in MESSAGES if (message := reply.headers.get(name))]
    if codes or messages:
        # The headers with older names repeat the newer ones.
        why = "; ".join(dict.fromkeys(messages + codes[1:]))
        raise refusal(GET_FILE, codes[0] if codes else "download_error", why, form)


def check_envelope(head: bytes, form: Mapping[str, str]) -> None:
    """Raise `CallFailed` if the body is an envelope and not the file.

    A file may be JSON with a `status`, too. It then has more fields than an envelope.
    """
    try:
        answer = decoded(head)
    except AnswerMalformed:
        return
    code = str(answer["status"])
    if code.lower() != "ok" and answer.keys() <= ENVELOPE:
        raise refusal(GET_FILE, code, text(answer.get("statusmessage")), form)


def plain(message: str) -> str:
    """Decode a header's message from base64. A message that is not base64 is returned as it is."""
    try:
        return base64.b64decode(message, validate=True).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return message
