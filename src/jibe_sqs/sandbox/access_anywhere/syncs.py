"""Syncs of whole providers: an initial sync for a new provider, and later ones on request.

A sync lists all buckets of its provider at its start, and changes the index at its end, so that a change in between
is certainly missed. Folders that were refreshed, and objects that were looked at, in between keep that newer state.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from jibe_sqs.sandbox.access_anywhere.config import Provider
from jibe_sqs.sandbox.access_anywhere.index import Index
from jibe_sqs.sandbox.access_anywhere.storage import Storage, StorageError, StoredObject
from jibe_sqs.sandbox.access_anywhere.tasks import Task, TaskName, Tasks

Objects = dict[str, StoredObject | None]
"""Key -> object. None: the object does not exist any more."""


class Syncs:
    """Syncs providers of the index on request, one sync at a time for each provider."""

    def __init__(self, index: Index, storage: Storage, tasks: Tasks, clock: Callable[[], float]) -> None:
        self._index = index
        self._storage = storage
        self._tasks = tasks
        self._clock = clock
        self._running: set[asyncio.Task[None]] = set()
        self._locks: dict[str, asyncio.Lock] = {}

    def start(self, task_name: TaskName, provider: str, until: Callable[[], Awaitable[object]]) -> Task:
        """Start a sync. It lasts until the listing is complete and `until` has returned."""
        task = self._tasks.add(task_name, provider)
        running = asyncio.create_task(self._run(task, until))
        # asyncio keeps only weak references to tasks: without this one, the task could be collected while it runs.
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        return task

    async def _run(self, task: Task, until: Callable[[], Awaitable[object]]) -> None:
        async with self._locks.setdefault(task.provider, asyncio.Lock()):
            task.status = "w"
            began = self._clock()
            provider = self._index.providers.get(task.provider)
            with self._index.journals.journal(began) as journal:
                try:
                    found = await self._found(provider) if provider else {}
                except StorageError:
                    self._tasks.end(task, "error")
                    return
                await until()
                # The provider may have been removed, or replaced by another one with the same name.
                if provider is None or self._index.providers.get(provider.name) is not provider:
                    self._tasks.end(task, "error")
                    return
                for (bucket, key), seen in journal.items():
                    if bucket in found and key.startswith(provider.prefix):
                        found[bucket][key] = seen
                shown = {bucket: [o for o in objects.values() if o is not None] for bucket, objects in found.items()}
                self._show(provider, shown, began)
            self._tasks.end(task, files=sum(map(len, shown.values())))

    async def _found(self, provider: Provider) -> dict[str, Objects]:
        """The objects in the provider's existing buckets."""
        found: dict[str, Objects] = {}
        for bucket in provider.buckets:
            if await self._storage.exists(bucket):
                found[bucket] = {o.key: o for o in await self._storage.list_all(bucket, provider.prefix)}
        return found

    def _show(self, provider: Provider, found: Mapping[str, Sequence[StoredObject]], began: float) -> None:
        folder = self._index.root.folders[provider.name]
        if not provider.is_bucket:
            self._index.refresh(folder, found, [], listed=began)
        for bucket, objects in found.items():
            # A refresh during the sync may have removed the bucket's folder.
            if (top := folder if provider.is_bucket else folder.folders.get(bucket)) is not None:
                self._index.refresh_tree(top, objects, listed=began)
