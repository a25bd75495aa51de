"""Runs changes in the background, as tasks that users see in Access Anywhere."""

import asyncio
from collections.abc import Awaitable, Iterable
from contextlib import AsyncExitStack

from jibe_sqs.sandbox.access_anywhere.change_locks import ChangeLocks, NameKey
from jibe_sqs.sandbox.access_anywhere.refusals import Refused
from jibe_sqs.sandbox.access_anywhere.storage import StorageError
from jibe_sqs.sandbox.access_anywhere.tasks import Status, Task, TaskName, Tasks


class BackgroundChanges:
    """Starts changes, and keeps references to them until they end."""

    def __init__(self, tasks: Tasks, locks: ChangeLocks) -> None:
        self._tasks = tasks
        self._locks = locks
        self._running: set[asyncio.Task[None]] = set()

    def start(
        self,
        task_name: TaskName,
        provider: str,
        work: Awaitable[None],
        held_locks: AsyncExitStack | None = None,
        busy_names: Iterable[NameKey] = (),
    ) -> Task:
        """Start `work`. At its end, the locks in `held_locks` are released, and the `busy_names` are free again."""
        task = self._tasks.add(task_name, provider)
        names = set(busy_names)
        self._locks.busy_names |= names

        async def run() -> None:
            task.status = "w"
            ended: Status = "error"
            try:
                async with held_locks or AsyncExitStack():
                    await work
                ended = "c"
            except (StorageError, Refused) as error:
                task.message = str(error)
            finally:
                self._locks.busy_names -= names
                self._tasks.end(task, ended)

        running = asyncio.create_task(run())
        # asyncio keeps only weak references to tasks: without this one, the task could be collected while it runs.
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        return task

    async def wait(self) -> None:
        """Return when no change runs in the background."""
        while self._running:
            await asyncio.wait(self._running)
