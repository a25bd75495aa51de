"""Moves and deletions of whole folders, in S3 and in the index.

The index shows the result at once. S3 follows in the background, object by object.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack

from jibe_sqs.sandbox.access_anywhere.background import BackgroundChanges
from jibe_sqs.sandbox.access_anywhere.change_checks import (
    check_folder,
    check_still_shown,
    check_target,
    existing_bucket_folder,
)
from jibe_sqs.sandbox.access_anywhere.change_locks import ChangeLocks, name_key
from jibe_sqs.sandbox.access_anywhere.index import Index
from jibe_sqs.sandbox.access_anywhere.items import TRASH, Folder
from jibe_sqs.sandbox.access_anywhere.refusals import Refused
from jibe_sqs.sandbox.access_anywhere.s3_writes import S3Writes
from jibe_sqs.sandbox.access_anywhere.storage import Storage, StoredObject
from jibe_sqs.sandbox.access_anywhere.tasks import Task, TaskName
from jibe_sqs.sandbox.access_anywhere.trash import Trash


class FolderChanges:
    """Moves and deletes folders, and empties the trash. Every method raises only `Refused`."""

    def __init__(
        self,
        index: Index,
        storage: Storage,
        writes: S3Writes,
        trash: Trash,
        locks: ChangeLocks,
        background: BackgroundChanges,
        clock: Callable[[], float],
    ) -> None:
        self._index = index
        self._storage = storage
        self._writes = writes
        self._trash = trash
        self._locks = locks
        self._background = background
        self._clock = clock

    async def move(self, folder: Folder, target: Folder, name: str) -> Task:
        """Move a folder into another one, give it another name, or both."""
        check_folder(self._locks, folder)
        check_target(self._locks, target, name)
        if target in folder.below():
            raise Refused("invalid_parameter", "A folder cannot be moved into itself")
        held_locks = await self._locks.acquire([*_affected_folders(folder), target])
        async with held_locks:
            check_still_shown(self._index, folder, target)
            other = target.item(name)
            if other is not None and other is not folder:
                raise Refused("already_exists", f"There is a file or folder {name!r} already")
            return self._move_later(folder, target, name, held_locks.pop_all(), "MoveFolder")

    async def delete(self, folder: Folder) -> Task:
        """Delete a folder with all its contents: move it to the trash if the provider has one."""
        check_folder(self._locks, folder)
        held_locks = await self._locks.acquire(_affected_folders(folder))
        async with held_locks:
            check_still_shown(self._index, folder)
            if self._trash.takes(folder):
                bucket_folder = existing_bucket_folder(folder)
                self._trash.remember(folder)
                name = self._trash.free_name(bucket_folder, folder.name)
                target = self._index.add_folder(bucket_folder, TRASH)
                return self._move_later(folder, target, name, held_locks.pop_all(), "DeleteFileObjects")
            return self._delete_later(folder, held_locks.pop_all())

    async def empty_trash(self) -> Sequence[Task]:
        """Delete the contents of every bucket's trash."""
        buckets = [folder for folder in self._index.root.below() if folder.is_bucket]
        tasks = []
        for trash in [bucket.folders[TRASH] for bucket in buckets if TRASH in bucket.folders]:
            held_locks = await self._locks.acquire(_affected_folders(trash))
            async with held_locks:
                if self._index.shows(trash):
                    tasks.append(self._delete_later(trash, held_locks.pop_all()))
        return tasks

    def _move_later(
        self, folder: Folder, target: Folder, name: str, held_locks: AsyncExitStack, task_name: TaskName
    ) -> Task:
        """Show the folder in its new place now, and move its objects in the background."""
        busy_names = {name_key(folder), (target.id, name.casefold())}
        old_bucket_folder, bucket, prefix = existing_bucket_folder(folder), folder.bucket, folder.prefix
        self._index.move_folder(folder, target, name, at=self._clock())
        bucket_folder = existing_bucket_folder(target)

        async def move() -> None:
            objects = await self._storage.list_all(bucket, prefix)
            keys = {seen.key: folder.prefix + seen.key.removeprefix(prefix) for seen in objects}
            if (bucket, prefix) != (folder.bucket, folder.prefix):
                copies = [
                    await self._writes.copy((bucket, old), (bucket_folder.bucket, new)) for old, new in keys.items()
                ]
                await self._writes.remove(bucket, list(keys))
                self._show(folder, bucket_folder, copies)
                self._hide(old_bucket_folder, prefix, keys)

        return self._background.start(task_name, folder.provider, move(), held_locks, busy_names)

    def _delete_later(self, folder: Folder, held_locks: AsyncExitStack) -> Task:
        """Remove the folder from the index now, and delete its objects in the background."""
        busy_names, bucket_folder = {name_key(folder)}, existing_bucket_folder(folder)
        self._index.remove_folder(folder)

        async def delete() -> None:
            keys = [seen.key for seen in await self._storage.list_all(folder.bucket, folder.prefix)]
            await self._writes.remove(folder.bucket, keys)
            self._hide(bucket_folder, folder.prefix, keys)

        return self._background.start("DeleteFileObjects", folder.provider, delete(), held_locks, busy_names)

    def _show(self, folder: Folder, bucket_folder: Folder, objects: Iterable[StoredObject]) -> None:
        """Make the moved folder show exactly these objects."""
        at = self._clock()
        by_key = {seen.key: seen for seen in objects}
        for each in [*folder.below()] if self._index.shows(folder) else ():
            for file in [*each.files.values()]:
                if file.seen.key not in by_key:
                    self._index.remove_object(each, file.seen.key, at=at)
        for seen in by_key.values():
            self._index.journals.note(bucket_folder.bucket, seen.key, seen, at=at)
            # The folder may be gone: a refresh of a folder above it may have listed S3 before the first object arrived.
            self._index.show_object(bucket_folder, seen, at=at)

    def _hide(self, bucket_folder: Folder, prefix: str, keys: Iterable[str]) -> None:
        """Remove moved or deleted objects from the index, and their folder if it is empty.

        A sync may have listed them before the change, and shown them again during the change.
        """
        at = self._clock()
        for key in keys:
            self._index.journals.note(bucket_folder.bucket, key, None, at=at)
            if (holder := self._index.folder_of(bucket_folder, key)) is not None:
                self._index.remove_object(holder, key, at=at)
        folder = self._index.folder_of(bucket_folder, prefix)
        if folder is not None and folder is not bucket_folder and not any(each.files for each in folder.below()):
            self._index.remove_folder(folder)


def _affected_folders(folder: Folder) -> list[Folder]:
    """The folder, its parent and all folders below it: the contents of all of them change with it."""
    return [*([folder.parent] if folder.parent is not None else []), *folder.below()]
