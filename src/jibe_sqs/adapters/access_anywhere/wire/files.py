"""Downloads of files from Access Anywhere, and uploads of reports to it."""

import asyncio
import base64
import binascii
import hashlib
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import quote

from jibe_sqs.adapters.access_anywhere.flow.patience import unless_busy
from jibe_sqs.adapters.access_anywhere.wire.answers import Item, decoded, item, json_object, number, text, truth
from jibe_sqs.adapters.access_anywhere.wire.http import Reply, read_body
from jibe_sqs.adapters.access_anywhere.wire.reader import MAX_FIELDS_BYTES, Answer
from jibe_sqs.adapters.access_anywhere.wire.session import Session
from jibe_sqs.adapters.access_anywhere.wire.translation import (
    MAX_CALL_SECONDS,
    BrokenOff,
    check_status,
    refusal,
    translated,
)
from jibe_sqs.adapters.access_anywhere.wire.transport import BACKOFF, FORM, Transport, form
from jibe_sqs.adapters.http1_errors import Disconnected, HttpError
from jibe_sqs.core.errors import AccessAnywhereUnavailable, AnswerMalformed, CallFailed, DownloadTruncated
from jibe_sqs.ports import Clock

GET_FILE = "getFile"
MAX_ENVELOPE_BYTES = 65_536
"""Bytes. A larger answer is a file."""

ENVELOPE = frozenset({"status", "statusmessage", "taskid"})

MESSAGES = ("x-naa-download-error", "x-sme-download-error", "x-provider-download-error")
CODES = ("x-naa-download-error-status", "x-sme-download-error-status", "x-provider-download-error-code")
"""Headers that explain why a body is not the file: the newer name, the older name, and the storage's own error."""

UPLOADER = "/cgi-bin/uploader/uploader1.cgi"
MAX_UPLOAD_TRIES = 3
"""How many times a whole upload is tried."""


class Download:
    """The bytes of a file as they arrive. `size` is the Content-Length, or None if the server sent none."""

    def __init__(self, reply: Reply, head: bytes) -> None:
        """`head`: the first chunk."""
        self.size = reply.length
        self._reply = reply
        self._head = head

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Iterate once, over chunks of bytes. Raises `DownloadTruncated`."""
        seen, chunk = 0, self._head
        while chunk:
            seen += len(chunk)
            yield chunk
            try:
                chunk = b"" if self._reply.body is not None else await self._reply.chunk()
            except HttpError as error:
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
    async def download(self, fi_id: str) -> AsyncIterator[Download]:
        """A file, open for reading. A failure before the first bytes is retried; a later one is raised in the reader."""
        async with self._downloads:
            reply, download = await unless_busy(
                self._clock, lambda: self._session.with_token(lambda token: self._opened(fi_id, token))
            )
            try:
                yield download
            finally:
                reply.close()

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

    async def _opened(self, fi_id: str, token: str) -> tuple[Reply, Download]:
        return await self._transport.with_retries(
            GET_FILE, lambda: self._open(fi_id, token), about=lambda: (GET_FILE, fi_id)
        )

    async def _open(self, fi_id: str, token: str) -> tuple[Reply, Download]:
        parameters = {"fi_id": fi_id, "token": token}
        with translated(GET_FILE, parameters):
            async with asyncio.timeout(MAX_CALL_SECONDS):
                reply = await self._begun(form(GET_FILE, parameters))
                try:
                    check_status(GET_FILE, reply, self._clock.now())
                    check_headers(reply, parameters)
                    head = await beginning(reply)
                    check_envelope(head, parameters)
                except BaseException:
                    reply.close()
                    raise
        return reply, Download(reply, head)

    async def _begun(self, asked: bytes) -> Reply:
        headers = {"Content-Type": FORM, "Accept": "*/*", "Accept-Encoding": "identity"}
        try:
            return await self._transport.post(self._transport.path, asked, headers)
        except Disconnected as error:
            if error.unanswered:
                raise
            raise BrokenOff(f"{GET_FILE}: the file ends early: {type(error).__name__}") from error

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
        secret = {"uploadcode": code}
        target = f"{self._transport.path.removesuffix('/api/rpc.php')}{UPLOADER}?{quote(code, safe='')}"
        kind, posted = multipart("datafile", name, body)
        with translated("uploader", secret):
            async with asyncio.timeout(MAX_CALL_SECONDS):
                reply = await self._transport.post(target, posted, {"Content-Type": kind})
                try:
                    answer = await read_body(reply, MAX_FIELDS_BYTES)
                finally:
                    reply.close()
        check_status("uploader", reply, self._clock.now())
        result = json_object(answer)
        if not truth(result.get("success")):
            raise refusal("uploader", "upload_failed", text(result.get("error")), secret)
        size, md5 = number(result.get("filesize")), text(result.get("md5")).lower()
        if size not in {None, len(body)} or md5 not in {"", hashlib.md5(body, usedforsecurity=False).hexdigest()}:
            raise refusal("uploader", "upload_failed", "it received other bytes than the ones that were sent", secret)


def multipart(field: str, name: str, body: bytes) -> tuple[str, bytes]:
    """A form with one file: its content type and its body. Format: RFC 7578, with names encoded as browsers do."""
    boundary = secrets.token_hex(16)
    for character in '"\r\n':
        name = name.replace(character, f"%{ord(character):02X}")
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    return f"multipart/form-data; boundary={boundary}", b"".join(
        [head.encode(), body, f"\r\n--{boundary}--\r\n".encode()]
    )


async def beginning(reply: Reply) -> bytes:
    """The first chunk of a body. It contains all of an envelope."""
    if reply.body is not None:
        return reply.body
    try:
        return await reply.chunk()
    except HttpError as error:
        # This does not count as a failure of the server: one file alone may be damaged.
        raise BrokenOff(f"{GET_FILE}: the file ends early: {type(error).__name__}") from error


def check_headers(reply: Reply, parameters: Mapping[str, str]) -> None:
    """Raise `CallFailed` if a header reports that the body is not the file."""
    codes = [code for name in CODES if (code := reply.header(name))]
    messages = [plain(message) for name in MESSAGES if (message := reply.header(name))]
    if codes or messages:
        # The headers with older names repeat the newer ones.
        why = "; ".join(dict.fromkeys(messages + codes[1:]))
        raise refusal(GET_FILE, codes[0] if codes else "download_error", why, parameters)


def check_envelope(head: bytes, parameters: Mapping[str, str]) -> None:
    """Raise `CallFailed` if the body is an envelope and not the file.

    A file may be JSON with a `status`, too. It then has more fields than an envelope.
    """
    if len(head) > MAX_ENVELOPE_BYTES:
        return
    try:
        answer = decoded(head)
    except AnswerMalformed:
        return
    code = str(answer["status"])
    if code.lower() != "ok" and answer.keys() <= ENVELOPE:
        raise refusal(GET_FILE, code, text(answer.get("statusmessage")), parameters)


def plain(message: str) -> str:
    """Decode a header's message from base64. A message that is not base64 is returned as it is."""
    try:
        return base64.b64decode(message, validate=True).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return message
