"""Runs changes in the background, as tasks that users see in Access Anywhere."""

import asyncio
from collections.abc import Awaitable, Iterable
from contextlib import AsyncExitStack

from jibe_sqs.sandbox.access_anywhere.change_locks import ChangeLocks, NameKey
from jibe_sqs.sandbox.access_anywhere.refusals import Refused
from jibe_sqs.sandbox.access_anywhere.storage import StorageError
from jibe_sqs.sandbox.access_anywhere.tasks import Callback, Status, Task, Tasks


class BackgroundChanges:
    """Starts changes, and keeps references to them until they end."""

    def __init__(self, tasks: Tasks, locks: ChangeLocks) -> None:
        self._tasks = tasks
        self._locks = locks
        self._running: set[asyncio.Task[None]] = set()

    def start(
        self,
        callback: Callback,
        provider: str,
        work: Awaitable[None],
        stack: AsyncExitStack | None = None,
        busy: Iterable[NameKey] = (),
    ) -> Task:
        """Start `work`. At its end, the locks in `stack` are released, and the `busy` names are free again."""
        task = self._tasks.add(callback, provider)
        names = set(busy)
        self._locks.busy_names |= names

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
