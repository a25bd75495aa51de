"""Copies, moves and deletions of single files, in S3 and in the index."""

import hashlib
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from jibe_sqs.sandbox.access_anywhere.background import BackgroundChanges
from jibe_sqs.sandbox.access_anywhere.change_checks import check_still_shown, check_target, existing_bucket_folder
from jibe_sqs.sandbox.access_anywhere.change_locks import ChangeLocks
from jibe_sqs.sandbox.access_anywhere.index import Index
from jibe_sqs.sandbox.access_anywhere.items import TRASH, File, Folder
from jibe_sqs.sandbox.access_anywhere.refusals import Refused
from jibe_sqs.sandbox.access_anywhere.s3_writes import S3Writes
from jibe_sqs.sandbox.access_anywhere.storage import StorageError
from jibe_sqs.sandbox.access_anywhere.tasks import Task
from jibe_sqs.sandbox.access_anywhere.trash import Trash

T = TypeVar("T")
MISSING_CODES: Final = frozenset({"404", "NoSuchKey", "NotFound"})
"""S3's error codes for an object that does not exist."""


class FileChanges:
    """Copies, moves and deletes files. Every method raises only `Refused`."""

    def __init__(
        self,
        index: Index,
        writes: S3Writes,
        trash: Trash,
        locks: ChangeLocks,
        background: BackgroundChanges,
        clock: Callable[[], float],
    ) -> None:
        self._index = index
        self._writes = writes
        self._trash = trash
        self._locks = locks
        self._background = background
        self._clock = clock

    async def copy(self, file: File, target: Folder, name: str, *, replace: bool) -> File:
        """Copy a file into a folder. `replace`: an existing file with that name is replaced."""
        check_target(self._locks, target, name)
        async with self._locks.held([file.parent, target]):
            file = check_still_shown(self._index, file, target)
            await self._free_name(target, name, None, replace=replace)
            seen = await _translated(self._writes.copy(_address(file), (target.bucket, target.prefix + name)))
            content_type, local_time = file.content_type or "", file.local_time
            return self._index.add_upload(
                target, seen, content_type=content_type, local_time=local_time, at=self._clock()
            )

    async def move(self, file: File, target: Folder, name: str, *, replace: bool = False) -> File:
        """Move a file to another folder, give it another name, or both."""
        self._locks.check_free(file.parent, file.name)
        check_target(self._locks, target, name)
        async with self._locks.held([file.parent, target]):
            file = check_still_shown(self._index, file, target)
            await self._free_name(target, name, file, replace=replace)
            return await self._moved(file, existing_bucket_folder(target), target.prefix + name)

    def move_later(self, file: File, target: Folder, name: str) -> Task:
        """Move a file in the background, as Access Anywhere does between buckets."""
        self._locks.check_free(file.parent, file.name)
        check_target(self._locks, target, name)

        async def move() -> None:
            await self.move(file, target, name)

        return self._background.start("MoveFiles", file.parent.provider, move())

    async def delete(self, file: File, *, complete: bool) -> None:
        """Delete a file: move it to the trash if the provider has one and `complete` is false, otherwise delete it."""
        self._locks.check_free(file.parent, file.name)
        async with self._locks.held([file.parent]):
            await self._delete_or_trash(check_still_shown(self._index, file), complete=complete)

    async def keep_overwritten(self, folder: Folder, name: str, *, body: bytes) -> None:
        """Before an upload of `body`: move an existing file with that name to the trash, if the provider has one.

        A file with the same content stays where it is.
        """
        digest = hashlib.md5(body, usedforsecurity=False).hexdigest()
        async with self._locks.held([folder]):
            old = folder.files.get(name)
            if old is not None and old.seen.etag != digest and self._trash.takes(old):
                await self._delete_or_trash(old, complete=False)

    async def _free_name(self, folder: Folder, name: str, mover: File | None, *, replace: bool) -> None:
        """Delete an existing file with that name, if `replace` allows it. Otherwise raises `Refused`."""
        other = folder.item(name)
        if other is None or (mover is not None and other.id == mover.id):
            return
        if not replace or not isinstance(other, File):
            raise Refused("already_exists", f"There is a file or folder {name!r} already")
        await self._delete_or_trash(other, complete=False)

    async def _delete_or_trash(self, file: File, *, complete: bool) -> None:
        if complete or not self._trash.takes(file):
            await _translated(self._writes.remove(file.parent.bucket, [file.seen.key]))
            self._index.remove_object(file.parent, file.seen.key, at=self._clock())
            return
        bucket_folder = existing_bucket_folder(file.parent)
        try:
            self._trash.remember(file)
            await self._moved(
                file, bucket_folder, f"{bucket_folder.prefix}{TRASH}/{self._trash.free_name(bucket_folder, file.name)}"
            )
        except Refused as refused:
            if refused.provider_code not in MISSING_CODES:
                raise
            # The object is already gone from S3.
            self._index.remove_object(file.parent, file.seen.key, at=self._clock())

    async def _moved(self, file: File, bucket_folder: Folder, key: str) -> File:
        source, target = _address(file), (bucket_folder.bucket, key)
        if source == target:
            return file
        seen = await _translated(self._writes.copy(source, target))
        await _translated(self._writes.remove(source[0], [source[1]]))
        old_bucket_folder = existing_bucket_folder(file.parent)
        moved = self._index.move_file(file, bucket_folder, seen, at=self._clock())
        # A sync may have listed the old key before the move, and shown it again during the move.
        if (holder := self._index.folder_of(old_bucket_folder, source[1])) is not None:
            self._index.remove_object(holder, source[1], at=self._clock())
        return moved


async def _translated(call: Awaitable[T]) -> T:
    """The result of a call to S3. Raises `Refused` in place of `StorageError`."""
    try:
        return await call
    except StorageError as e:
        raise Refused.by_provider(e) from e


def _address(file: File) -> tuple[str, str]:
    return file.parent.bucket, file.seen.key
