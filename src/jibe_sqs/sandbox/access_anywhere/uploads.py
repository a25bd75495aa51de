"""Uploads in three calls: begin, send, complete. On completion the object is in S3 and in the index."""

import asyncio
import secrets
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

from jibe_sqs.sandbox.access_anywhere.changes import Changes
from jibe_sqs.sandbox.access_anywhere.index import Index
from jibe_sqs.sandbox.access_anywhere.items import File, Folder
from jibe_sqs.sandbox.access_anywhere.refusals import Refused
from jibe_sqs.sandbox.access_anywhere.s3_writes import S3Writes
from jibe_sqs.sandbox.access_anywhere.storage import StorageError


@dataclass(slots=True)
class Upload:
    """An upload that has begun. `body`: None until the bytes are sent."""

    folder: Folder
    name: str
    content_type: str
    local_time: float | None
    code: str = field(default_factory=lambda: secrets.token_hex(12))
    body: bytes | None = None


class Uploads:
    """The uploads that are not complete, by code."""

    def __init__(
        self,
        index: Index,
        writes: S3Writes,
        changes: Changes,
        guard: Callable[[Folder], AbstractAsyncContextManager[None] | asyncio.Lock],
        clock: Callable[[], float],
    ) -> None:
        self._index = index
        self._writes = writes
        self._changes = changes
        self._guard = guard
        self._clock = clock
        self._open: dict[str, Upload] = {}

    def begin(self, upload: Upload) -> str:
        if not upload.folder.bucket:
            raise Refused("upload_not_allowed", "Files cannot be stored here")
        if not upload.name or "/" in upload.name:
            raise Refused("invalid_name", "A file's name is not empty and has no slash")
        self._changes.locks.check_free(upload.folder, upload.name)
        self._open[upload.code] = upload
        return upload.code

    def send(self, code: str, body: bytes) -> None:
        self._find(code).body = body

    def abort(self, code: str) -> None:
        self._open.pop(code, None)

    async def complete(self, code: str, size: int | None) -> File:
        upload = self._find(code)
        if upload.body is None or size not in {None, len(upload.body)}:
            raise Refused("upload_incomplete", "Not all of the file has arrived")
        folder = upload.folder
        self._changes.locks.check_free(folder, upload.name)
        await self._changes.files.keep_overwritten(folder, upload.name, body=upload.body)
        # With the guard: otherwise a refresh that listed S3 before the write would remove the file from the index.
        async with self._guard(folder):
            if not self._index.shows(folder) or folder.in_trash:
                raise Refused("not_found", "The folder is gone")
            try:
                target = folder.bucket, folder.prefix + upload.name
                seen = await self._writes.put(target, upload.body, upload.content_type)
            except StorageError as e:
                raise Refused.by_provider(e) from e
            file = self._index.add_upload(
                folder, seen, content_type=upload.content_type, local_time=upload.local_time, at=self._clock()
            )
        self.abort(code)
        return file

    def _find(self, code: str) -> Upload:
        if code not in self._open:
            raise Refused("upload_not_found", "There is no such upload")
        return self._open[code]
