"""Coalescing: any number of requests for a folder, one refresh at a time of it, none too few.

Each folder is single-flight with a dirty mark. Whoever asks is released by the first refresh that *began* after it
asked: one that was already running may have read the folder before the change. All who wait for the same refresh
share one future, so ten thousand waiters of a folder cost no more than one.

    idle ──ask──> queued ──its turn──> called ──began──> running ──ask──> running and dirty
                    ^                            └──────ended──> idle            │
                    └───────────────────────────ended────────────────────────────┘
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Iterable

import msgspec
import structlog

from jibe_sqs.core.errors import JibeError
from jibe_sqs.core.model import Folder
from jibe_sqs.ports import Clock, Ledger, SyncTarget
from jibe_sqs.syncing.pace import Costs, Pace
from jibe_sqs.telemetry import optional_ledger

STARTED = 2000
"""Folders that are worked at, most of them to wait for the target's own limits; that many to choose from are enough."""

log = structlog.get_logger()


class Outcome(msgspec.Struct, frozen=True):
    """A finished refresh. `seconds`: since it last began; `waited`: since the first asked of those whom it answers."""

    folder: Folder
    seconds: float
    waited: float
    for_descendant: bool
    """No event asked for it, but the refresh of another folder."""
    error: Exception | None = None


class Pending(msgspec.Struct, frozen=True):
    """A folder that waits for its refresh, or is being refreshed. `since` (monotonic): when the first asked."""

    folder: Folder
    since: float
    for_descendant: bool


def unobserved(outcome: Outcome) -> None:
    """For those who need not know how refreshes end."""


class Refreshes:
    """Has the sync target refresh folders, and the ledger remember it."""

    def __init__(
        self,
        *,
        target: SyncTarget,
        ledger: Ledger,
        clock: Clock,
        margin: float = 5.0,
        min_interval: float = 0.0,
        tree_interval: float = 30.0,
        costs: Costs | None = None,
        observe: Callable[[Outcome], None] = unobserved,
    ) -> None:
        """Seconds. `margin`: how far S3's clocks may differ.

        `min_interval`, `tree_interval`: between two refreshes of one folder, of one whole tree, at least; 0 for none.
        `costs`, which the target teaches, make them longer. `observe` is told of each refresh that has ended.
        """
        self._target = target
        self._ledger = ledger
        self._clock = clock
        self._margin = margin
        self._pace = Pace(clock, costs or Costs(), folders=min_interval, trees=tree_interval)
        self._observe = observe
        self._unwritable = optional_ledger.unwritable()
        self._folders: dict[Folder, _Queue] = {}
        self._unstarted: OrderedDict[Folder, _Queue] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()
        self._places = STARTED
        self.counts: Counter[str] = Counter()

    def ask(self, folder: Folder, *, for_descendant: bool = False) -> "asyncio.Future[None]":
        """A future of the first refresh of this folder that begins from now on. Shared: never cancel it.

        It fails with the `JibeError` of the refresh. `for_descendant`: no event asks for it, but the refresh of another folder.
        """
        queue = self._folders.get(folder)
        if queue is None:
            queue = self._folders[folder] = self._unstarted[folder] = _Queue()
            self._start_next()
        if for_descendant and folder in self._unstarted:
            # Those who have the places may wait for this one: it must not wait for theirs.
            del self._unstarted[folder]
            self._start(folder, queue)
        return queue.join(self._clock.monotonic(), for_descendant=for_descendant)

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
        future = self.ask(folder, for_descendant=True)
        await asyncio.wait([future])
        if error := _error(future):
            # Many raise the same one, and each would add its own traceback to it.
            raise error.with_traceback(None)

    def watch(self, folder: Folder) -> Callable[[], Awaitable[bool]]:
        """Returns whom to ask later whether a refresh of it has ended meanwhile; one that runs then is waited for.

        So whoever looks for something new in the folder can look again before asking for one more refresh.
        """
        queue = self._folders.get(folder)
        ahead = queue.ahead if queue else None

        async def has_ended() -> bool:
            if ahead is not None and ahead.done():
                return True
            queue = self._folders.get(folder)
            if queue is None or not queue.served:
                return False
            await asyncio.wait([queue.served[-1].future])
            return True

        return has_ended

    def pending(self) -> list[Pending]:
        """The folders that wait or are being refreshed, in no order."""
        return [Pending(folder, queue.since, queue.for_descendant) for folder, queue in self._folders.items()]

    async def stop(self) -> None:
        """Cancel what is running. What it was for is in nobody's hands any more."""
        self._unstarted.clear()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # A task that was cancelled before its first step has not cleaned up after itself.
        left, self._folders = self._folders, {}
        for queue in left.values():
            queue.abandon()

    def _start_next(self) -> None:
        # A task that waits costs ten times what a folder does that has none yet, and there may be 100,000 of them.
        while self._unstarted and self._places:
            self._places -= 1
            folder, queue = self._unstarted.popitem(last=False)
            queue.has_place = True
            self._start(folder, queue)

    def _start(self, folder: Folder, queue: "_Queue") -> None:
        task = asyncio.create_task(self._work_off(folder, queue), name=f"refresh {folder}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _leave_place(self, queue: "_Queue") -> None:
        if queue.has_place:
            queue.has_place = False
            self._places += 1
            self._start_next()

    async def _work_off(self, folder: Folder, queue: "_Queue") -> None:
        try:
            while queue.waiting:
                if (wait := self._pace.turn_in(folder)) > 0:
                    # Those who wait are held; whoever asks until the turn comes is served by it too.
                    self._leave_place(queue)
                    await self._clock.sleep(wait)
                await self._refresh_once(folder, queue)
        finally:
            self._folders.pop(folder, None)
            queue.abandon()
            self._leave_place(queue)

    async def _refresh_once(self, folder: Folder, queue: "_Queue") -> None:
        began, started = self._clock.now(), self._clock.monotonic()

        def on_began() -> None:
            nonlocal began, started
            began, started = self._clock.now(), self._clock.monotonic()
            queue.begin()

        error: Exception | None = None
        try:
            await self._target.refresh(folder, on_began)
            # It is refreshed, remembered or not.
            with self._unwritable:
                await self._ledger.refreshed(folder, began - self._margin)
        except JibeError as failure:
            error = failure
            log.warning("refresh_failed", folder=str(folder), error=type(error).__name__, reason=str(error))
        except Exception as defect:
            # Whoever waits must hear of it, and the folder must stay usable.
            error = defect
            log.exception("refresh_crashed", folder=str(folder))
        else:
            log.debug("refreshed", folder=str(folder), began=began)
        if error:
            # They asked before it failed, whether or not it had begun.
            queue.begin()
        self._pace.ended(folder, started)
        self._ended(folder, queue, started, error)

    def _ended(self, folder: Folder, queue: "_Queue", started: float, error: Exception | None) -> None:
        now = self._clock.monotonic()
        outcome = Outcome(folder, now - started, now - queue.since, queue.for_descendant, error)
        kind = "trees" if folder.tree else "on the way" if queue.for_descendant else "folders"
        self.counts["failed" if error else kind] += 1
        queue.release(error)
        self._observe(outcome)


def _error(future: "asyncio.Future[None]") -> BaseException | None:
    """What went wrong. That a refresh was cancelled is not the cancellation of who waits for it."""
    return RuntimeError("the refresh was abandoned") if future.cancelled() else future.exception()


class _Askers:
    """All who share one future; the first came at `since`. `for_descendant`: no event among them."""

    __slots__ = ("for_descendant", "future", "since")

    def __init__(self, since: float) -> None:
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.since = since
        self.for_descendant = True


class _Queue:
    """Who waits for one folder: those the running refresh will serve, and those who asked since it began."""

    __slots__ = ("has_place", "served", "waiting")

    def __init__(self) -> None:
        self.has_place = False
        self.waiting: _Askers | None = None
        self.served: list[_Askers] = []

    def join(self, now: float, *, for_descendant: bool) -> "asyncio.Future[None]":
        if self.waiting is None:
            self.waiting = _Askers(now)
        self.waiting.for_descendant = self.waiting.for_descendant and for_descendant
        return self.waiting.future

    @property
    def since(self) -> float:
        """When the first of them asked."""
        return min((askers.since for askers in self._next()), default=0.0)

    @property
    def ahead(self) -> "asyncio.Future[None] | None":
        """Of the refresh that runs, or else the next."""
        return next((askers.future for askers in reversed(self._next())), None)

    @property
    def for_descendant(self) -> bool:
        """Whether no event asks for the refresh that runs, or else the next."""
        return all(askers.for_descendant for askers in self._next())

    def begin(self) -> None:
        """A refresh begins: it serves all who have asked so far."""
        if self.waiting is not None:
            self.served.append(self.waiting)
            self.waiting = None

    def release(self, error: Exception | None) -> None:
        """It is over."""
        served, self.served = self.served, []
        for askers in served:
            if error is None:
                askers.future.set_result(None)
            else:
                askers.future.set_exception(error)
                askers.future.exception()  # looked at: a waiter may have gone

    def abandon(self) -> None:
        self.begin()
        for askers in self.served:
            askers.future.cancel()

    def _next(self) -> list[_Askers]:
        return self.served or ([self.waiting] if self.waiting else [])
