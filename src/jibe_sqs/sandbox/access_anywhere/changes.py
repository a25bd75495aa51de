"""What users do through Access Anywhere: copies, moves, renames and deletions, in S3 and in the index alike.

Files change at once. Folders change in the background, object by object: the index shows the result at once, and S3 has it
when the task is over. Until then the folder's old and new names are taken: calls about them get `error_background`.

Changes are made one after the other, each with the guards of all folders that it concerns: no refresh lists S3 in the
middle of one, and shows what was there before.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final, TypeVar

from jibe_sqs.sandbox.access_anywhere.index import Index
from jibe_sqs.sandbox.access_anywhere.items import TRASH, File, Folder
from jibe_sqs.sandbox.access_anywhere.refusals import Refused
from jibe_sqs.sandbox.access_anywhere.s3_writes import S3Writes
from jibe_sqs.sandbox.access_anywhere.storage import Storage, StorageError, StoredObject
from jibe_sqs.sandbox.access_anywhere.tasks import Callback, Status, Task, Tasks
from jibe_sqs.sandbox.access_anywhere.trash import Trash

T = TypeVar("T")
MISSING_CODES: Final = frozenset({"404", "NoSuchKey", "NotFound"})
"""S3's codes for an object that is not there."""
Shown = TypeVar("Shown", File, Folder)
NameKey = tuple[int, str]
"""The id of a folder, and a name in it, case-folded."""


class Changes:
    """Makes them. Every call raises only `Refused`."""

    def __init__(
        self,
        index: Index,
        storage: Storage,
        writes: S3Writes,
        guard: Callable[[Folder], asyncio.Lock],
        tasks: Tasks,
        clock: Callable[[], float],
    ) -> None:
        self.trash = Trash(index)
        self._index = index
        self._storage = storage
        self._writes = writes
        self._guard = guard
        self._tasks = tasks
        self._clock = clock
        self._lock = asyncio.Lock()
        self._busy_names: set[NameKey] = set()
        self._running: set[asyncio.Task[None]] = set()

    def check_free(self, folder: Folder, name: str = "") -> None:
        """Raises `Refused` if a background task is at work on the folder, on one above it, or on that name in it."""
        here: Folder | None = folder
        while here is not None:
            if (here.id, name.casefold()) in self._busy_names:
                raise Refused("error_background", f"A background task is at work on {name!r}. Please try again later")
            name, here = here.name, here.parent

    async def copy_file(self, file: File, target: Folder, name: str, *, replace: bool) -> File:
        """Copy a file into a folder. `replace`: a file that has the name already is replaced."""
        self._check_target(target, name)
        async with self._guards([file.parent, target]):
            file = self._current(file, target)
            await self._free_name(target, name, None, replace=replace)
            seen = await _translated(self._writes.copy(_address(file), (target.bucket, target.prefix + name)))
            content_type, local_time = file.content_type or "", file.local_time
            return self._index.add_upload(
                target, seen, content_type=content_type, local_time=local_time, at=self._clock()
            )

    async def move_file(self, file: File, target: Folder, name: str, *, replace: bool = False) -> File:
        """Give a file another folder, or another name, or both."""
        self.check_free(file.parent, file.name)
        self._check_target(target, name)
        async with self._guards([file.parent, target]):
            file = self._current(file, target)
            await self._free_name(target, name, file, replace=replace)
            return await self._moved(file, _top(target), target.prefix + name)

    def move_file_later(self, file: File, target: Folder, name: str) -> Task:
        """The same in the background, as between buckets."""
        self.check_free(file.parent, file.name)
        self._check_target(target, name)

        async def move() -> None:
            await self.move_file(file, target, name)

        return self._start("MoveFiles", file.parent.provider, move())

    async def delete_file(self, file: File, *, complete: bool) -> None:
        """Delete a file: into the trash, if there is one; at once, if the deletion is to be complete."""
        self.check_free(file.parent, file.name)
        async with self._guards([file.parent]):
            await self._delete_or_trash(self._current(file), complete=complete)

    async def keep_overwritten(self, folder: Folder, name: str, *, than: bytes) -> None:
        """Move the file that an upload is about to overwrite to the trash, if there is such a file and a trash.

        If the upload has the same content, nothing is lost, and nothing is kept.
        """
        digest = hashlib.md5(than, usedforsecurity=False).hexdigest()
        async with self._guards([folder]):
            old = folder.files.get(name)
            if old is not None and old.seen.etag != digest and self.trash.takes(old):
                await self._delete_or_trash(old, complete=False)

    async def move_folder(self, folder: Folder, target: Folder, name: str) -> Task:
        """Give a folder another parent, or another name, or both."""
        self._check_folder(folder)
        self._check_target(target, name)
        if target in folder.below():
            raise Refused("invalid_parameter", "A folder cannot be moved into itself")
        stack = await self._acquire_guards([*_affected_folders(folder), target])
        async with stack:
            self._current(folder, target)
            other = target.item(name)
            if other is not None and other is not folder:
                raise Refused("already_exists", f"There is a file or folder {name!r} already")
            return self._move_folder_later(folder, target, name, stack.pop_all(), "MoveFolder")

    async def delete_folder(self, folder: Folder) -> Task:
        """Delete a folder and all below it: into the trash, if there is one."""
        self._check_folder(folder)
        stack = await self._acquire_guards(_affected_folders(folder))
        async with stack:
            self._current(folder)
            if self.trash.takes(folder):
                top = _top(folder)
                self.trash.remember(folder)
                name = self.trash.free_name(top, folder.name)
                target = self._index.add_folder(top, TRASH)
                return self._move_folder_later(folder, target, name, stack.pop_all(), "DeleteFileObjects")
            return self._delete_folder_later(folder, stack.pop_all())

    async def empty_trash(self) -> Sequence[Task]:
        """Delete all that is in the trash of any bucket."""
        tops = [folder for folder in self._index.root.below() if folder.is_bucket]
        tasks = []
        for trash in [top.folders[TRASH] for top in tops if TRASH in top.folders]:
            stack = await self._acquire_guards(_affected_folders(trash))
            async with stack:
                if self._index.shows(trash):
                    tasks.append(self._delete_folder_later(trash, stack.pop_all()))
        return tasks

    async def wait_for_tasks(self) -> None:
        """Return when no task is under way."""
        while self._running:
            await asyncio.wait(self._running)

    # Checks

    def _check_target(self, folder: Folder, name: str) -> None:
        if not folder.bucket:
            raise Refused("not_allowed", "Files and folders are stored in buckets")
        if not name or "/" in name:
            raise Refused("invalid_name", "A name is not empty and has no slash")
        self.check_free(folder, name)

    def _check_folder(self, folder: Folder) -> None:
        if not folder.bucket or folder.is_bucket:
            raise Refused("not_allowed", "Providers and buckets cannot be moved or deleted here")
        if folder.parent is not None:
            self.check_free(folder.parent, folder.name)

    def _current(self, item: Shown, target: Folder | None = None) -> Shown:
        """The item as it is now: others may have changed it, or deleted it, while we waited for our turn."""
        now = self._index.item(item.id)
        if not isinstance(now, type(item)) or (target is not None and not self._index.shows(target)):
            raise Refused("not_found", "This is gone")
        return now

    async def _free_name(self, folder: Folder, name: str, mover: File | None, *, replace: bool) -> None:
        other = folder.item(name)
        if other is None or (mover is not None and other.id == mover.id):
            return
        if not replace or not isinstance(other, File):
            raise Refused("already_exists", f"There is a file or folder {name!r} already")
        await self._delete_or_trash(other, complete=False)

    # Files

    async def _delete_or_trash(self, file: File, *, complete: bool) -> None:
        if complete or not self.trash.takes(file):
            await _translated(self._writes.remove(file.parent.bucket, [file.seen.key]))
            self._index.remove_object(file.parent, file.seen.key, at=self._clock())
            return
        top = _top(file.parent)
        try:
            self.trash.remember(file)
            await self._moved(file, top, f"{top.prefix}{TRASH}/{self.trash.free_name(top, file.name)}")
        except Refused as refused:
            if refused.provider_code not in MISSING_CODES:
                raise
            self._index.remove_object(file.parent, file.seen.key, at=self._clock())

    async def _moved(self, file: File, top: Folder, key: str) -> File:
        source, place = _address(file), (top.bucket, key)
        if source == place:
            return file
        seen = await _translated(self._writes.copy(source, place))
        await _translated(self._writes.remove(source[0], [source[1]]))
        old_top = _top(file.parent)
        moved = self._index.move_file(file, top, seen, at=self._clock())
        # A sync that listed it before, and ended meanwhile, may have shown it again.
        if (holder := self._index.folder_of(old_top, source[1])) is not None:
            self._index.remove_object(holder, source[1], at=self._clock())
        return moved

    # Folders

    def _move_folder_later(
        self, folder: Folder, target: Folder, name: str, stack: AsyncExitStack, callback: Callback
    ) -> Task:
        """Show a folder in its new place now, and have its objects follow."""
        busy = {_name_key(folder), (target.id, name.casefold())}
        old_top, bucket, prefix = _top(folder), folder.bucket, folder.prefix
        self._index.move_folder(folder, target, name, at=self._clock())
        top = _top(target)

        async def move() -> None:
            objects = await self._storage.list_all(bucket, prefix)
            keys = {seen.key: folder.prefix + seen.key.removeprefix(prefix) for seen in objects}
            if (bucket, prefix) != (folder.bucket, folder.prefix):
                copies = [await self._writes.copy((bucket, old), (top.bucket, new)) for old, new in keys.items()]
                await self._writes.remove(bucket, list(keys))
                self._show(folder, top, copies)
                self._hide(old_top, prefix, keys)

        return self._start(callback, folder.provider, move(), stack, busy)

    def _delete_folder_later(self, folder: Folder, stack: AsyncExitStack) -> Task:
        """Show a folder no more from now on, and have its objects deleted."""
        busy, top = {_name_key(folder)}, _top(folder)
        self._index.remove_folder(folder)

        async def delete() -> None:
            keys = [seen.key for seen in await self._storage.list_all(folder.bucket, folder.prefix)]
            await self._writes.remove(folder.bucket, keys)
            self._hide(top, folder.prefix, keys)

        return self._start("DeleteFileObjects", folder.provider, delete(), stack, busy)

    def _show(self, folder: Folder, top: Folder, objects: Iterable[StoredObject]) -> None:
        """Show a folder's objects as they are in S3, in its new place; no others."""
        at = self._clock()
        there = {seen.key: seen for seen in objects}
        for each in [*folder.below()] if self._index.shows(folder) else ():
            for file in [*each.files.values()]:
                if file.seen.key not in there:
                    self._index.remove_object(each, file.seen.key, at=at)
        for seen in there.values():
            self._index.note(top.bucket, seen.key, seen, at=at)
            # Also if a listing of a folder above, made before the first object arrived, has taken the folder away.
            self._index.show_object(top, seen, at=at)

    def _hide(self, top: Folder, prefix: str, keys: Iterable[str]) -> None:
        """Show objects no more that were moved or deleted; nor their folder.

        A sync that listed them before, and ended meanwhile, may have shown them again.
        """
        at = self._clock()
        for key in keys:
            self._index.note(top.bucket, key, None, at=at)
            if (holder := self._index.folder_of(top, key)) is not None:
                self._index.remove_object(holder, key, at=at)
        folder = self._index.folder_of(top, prefix)
        if folder is not None and folder is not top and not any(each.files for each in folder.below()):
            self._index.remove_folder(folder)

    def _start(
        self,
        callback: Callback,
        provider: str,
        work: Awaitable[None],
        stack: AsyncExitStack | None = None,
        busy: Iterable[NameKey] = (),
    ) -> Task:
        """Run work in the background, as a task that users see. What the stack holds is released at its end."""
        task = self._tasks.add(callback, provider)
        names = set(busy)
        self._busy_names |= names

        async def run() -> None:
            task.status = "w"
            ended: Status = "error"
            try:
                async with stack or AsyncExitStack():
                    await work
                ended = "c"
            except (StorageError, Refused) as error:
                task.message = str(error)
            finally:
                self._busy_names -= names
                self._tasks.end(task, ended)

        running = asyncio.create_task(run())
        # asyncio keeps no reference to a task: without ours, it might be collected while it runs.
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        return task

    # Turns

    async def _acquire_guards(self, folders: Iterable[Folder]) -> AsyncExitStack:
        """Wait for our turn, and for the guards of folders and of the trash. The caller, or its task, releases them.

        No other code holds more than one guard, so their order does not matter.
        """
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._lock)
            wanted = list(folders)
            tops = [folder.top for folder in wanted]
            wanted += [top.folders[TRASH] for top in tops if top is not None and TRASH in top.folders]
            for folder in {folder.id: folder for folder in wanted}.values():
                await stack.enter_async_context(self._guard(folder))
            return stack.pop_all()

    @asynccontextmanager
    async def _guards(self, folders: Iterable[Folder]) -> AsyncIterator[None]:
        async with await self._acquire_guards(folders):
            yield


async def _translated(call: Awaitable[T]) -> T:
    """The answer of S3. Raises `Refused`."""
    try:
        return await call
    except StorageError as e:
        raise Refused.by_provider(e) from e


def _address(file: File) -> tuple[str, str]:
    return file.parent.bucket, file.seen.key


def _name_key(folder: Folder) -> NameKey:
    return folder.parent.id if folder.parent is not None else 0, folder.name.casefold()


def _top(folder: Folder) -> Folder:
    if (top := folder.top) is None:
        raise Refused("not_allowed", "Files and folders are stored in buckets")
    return top


def _affected_folders(folder: Folder) -> list[Folder]:
    """A folder with its parent, and all below it: those whose contents change with it."""
    return [*([folder.parent] if folder.parent is not None else []), *folder.below()]
