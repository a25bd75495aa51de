"""Coalescing: any number of requests for a folder, one refresh at a time of it, none too few.

Each folder is single-flight with a dirty mark. Whoever asks is released by the first refresh that *began* after it
asked: one that was already running may have read the folder before the change. All who wait for the same refresh
share one future, so ten thousand waiters of a folder cost no more than one.

    idle ──ask──> queued ──began──> running ──ask──> running and dirty
                    ^  └──────ended─────┘                 │
                    └───────────────ended─────────────────┘
"""

import asyncio
from collections import Counter
from collections.abc import Iterable

import structlog

from jibe_sqs.core.errors import JibeError
from jibe_sqs.core.model import Folder
from jibe_sqs.ports import Clock, Ledger, SyncTarget

log = structlog.get_logger()


class Refreshes:
    """Has the sync target refresh folders, and the ledger remember it."""

    def __init__(
        self, *, target: SyncTarget, ledger: Ledger, clock: Clock, margin: float = 5.0, tree_interval: float = 30.0
    ) -> None:
        """Seconds. `margin`: how far S3's clocks may differ. `tree_interval`: between two refreshes of one whole tree."""
        self._target = target
        self._ledger = ledger
        self._clock = clock
        self._margin = margin
        self._tree_interval = tree_interval
        self._folders: dict[Folder, _Queue] = {}
        self._tree_began: dict[Folder, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.counts: Counter[str] = Counter()

    def ask(self, folder: Folder, *, on_the_way: bool = False) -> "asyncio.Future[None]":
        """A future of the first refresh of this folder that begins from now on. Shared: never cancel it.

        It fails with the `JibeError` of the refresh, or of the ledger that could not remember it. `on_the_way`: no event
        asks for it, but the refresh of another folder.
        """
        queue = self._folders.get(folder)
        if queue is None:
            queue = self._folders[folder] = _Queue()
            task = asyncio.create_task(self._work_off(folder, queue), name=f"refresh {folder}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        queue.on_the_way = queue.on_the_way and on_the_way
        return queue.join()

    async def done(self, folders: Iterable[Folder]) -> list[JibeError]:
        """Wait for a refresh, begun from now on, of each folder; returns what went wrong."""
        futures = {self.ask(folder) for folder in folders}
        if not futures:
            return []
        # `wait` leaves the futures alone when it is cancelled: others wait for them too.
        await asyncio.wait(futures)
        errors: dict[str, JibeError] = {}
        for future in futures:
            error = _error(future)
            if isinstance(error, JibeError):
                errors.setdefault(str(error), error)
            elif error is not None:
                raise error
        return list(errors.values())

    async def refresh(self, folder: Folder) -> None:
        """Wait for one folder, as the target of another's refresh does. Raises what went wrong."""
        future = self.ask(folder, on_the_way=True)
        await asyncio.wait([future])
        if error := _error(future):
            raise error

    async def stop(self) -> None:
        """Cancel what is running. What it was for is in nobody's hands any more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # A task that was cancelled before its first step has not cleaned up after itself.
        left, self._folders = self._folders, {}
        for queue in left.values():
            queue.abandon()

    async def _work_off(self, folder: Folder, queue: "_Queue") -> None:
        try:
            while queue.waiting:
                await self._refresh_once(folder, queue)
        finally:
            self._folders.pop(folder, None)
            queue.abandon()

    async def _refresh_once(self, folder: Folder, queue: "_Queue") -> None:
        began = self._clock.now()

        def on_began() -> None:
            nonlocal began
            began = self._clock.now()
            queue.begin()

        try:
            if folder.tree:
                await self._wait_for_turn(folder)
            await self._target.refresh(folder, on_began)
            await self._ledger.refreshed(folder, began - self._margin)
        except JibeError as error:
            self.counts["failed"] += 1
            log.warning("refresh_failed", folder=str(folder), error=type(error).__name__, reason=str(error))
            queue.fail(error)
        except Exception as error:
            # A defect: whoever waits must hear of it, and the folder must stay usable.
            self.counts["failed"] += 1
            log.exception("refresh_crashed", folder=str(folder))
            queue.fail(error)
        else:
            self.counts["trees" if folder.tree else "on the way" if queue.on_the_way else "folders"] += 1
            log.debug("refreshed", folder=str(folder), began=began)
            queue.release()

    async def _wait_for_turn(self, folder: Folder) -> None:
        """All below a folder is much to refresh: its turn comes at most once an interval. Those who wait are held."""
        now = self._clock.monotonic()
        wait = self._tree_began.get(folder, now - self._tree_interval) + self._tree_interval - now
        if wait > 0:
            await self._clock.sleep(wait)
        now = self._clock.monotonic()
        # Only those of the last interval matter, and they stand in order.
        self._tree_began.pop(folder, None)
        while self._tree_began and (oldest := next(iter(self._tree_began.items())))[1] + self._tree_interval <= now:
            del self._tree_began[oldest[0]]
        self._tree_began[folder] = now


def _error(future: "asyncio.Future[None]") -> BaseException | None:
    """What went wrong. That a refresh was cancelled is not the cancellation of who waits for it."""
    return RuntimeError("the refresh was abandoned") if future.cancelled() else future.exception()


class _Queue:
    """Who waits for one folder: those the running refresh will serve, and those who asked since it began."""

    def __init__(self) -> None:
        self.waiting: asyncio.Future[None] | None = None
        self.on_the_way = True
        """No event has asked for it."""
        self._served: list[asyncio.Future[None]] = []

    def join(self) -> "asyncio.Future[None]":
        if self.waiting is None:
            self.waiting = asyncio.get_running_loop().create_future()
        return self.waiting

    def begin(self) -> None:
        """A refresh begins: it serves all who have asked so far."""
        if self.waiting is not None:
            self._served.append(self.waiting)
            self.waiting = None

    def release(self) -> None:
        served, self._served = self._served, []
        for future in served:
            future.set_result(None)

    def fail(self, error: Exception) -> None:
        """Those who asked before it failed hear of it, whether or not it had begun."""
        self.begin()
        served, self._served = self._served, []
        for future in served:
            future.set_exception(error)
            future.exception()  # looked at: a waiter may have gone

    def abandon(self) -> None:
        self.begin()
        for future in self._served:
            future.cancel()
