"""Coalescing: any number of requests for a folder need only one refresh of it at a time, and never one too few.

Each folder is single-flight with a dirty mark. A request is served by the first refresh that *began* after the request:
one that was running already may have read the folder before the change. All requests that wait for the same refresh
share one future, so ten thousand requests for a folder cost no more than one.

    idle ──ask──> queued ──its turn──> called ──began──> running ──ask──> running and dirty
                    ^                            └──────ended──> idle            │
                    └───────────────────────────ended────────────────────────────┘
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from functools import reduce
from itertools import islice
from operator import attrgetter
from typing import Final

import structlog

from jibe_sqs.core.errors import JibeError, without_frames
from jibe_sqs.core.history import folder_refreshed
from jibe_sqs.core.model import Folder, RefreshReason
from jibe_sqs.ports import Clock, PendingRefresh, RefreshOutcome, SyncTarget
from jibe_sqs.syncing.pace import Costs, Pace
from jibe_sqs.telemetry.optional_ledger import OptionalLedger
from jibe_sqs.telemetry.tracing import Askers, RefreshSpan, Tracer

MAX_STARTED = 2000
"""Folders with a task. Most of them wait for the target's own limits, which need no more than this to choose from."""

MOST_LOOKED_AT = 1000
"""Folders that are looked at for the oldest request."""

log = structlog.get_logger()


_rank: Final = attrgetter("rank")


def unobserved(outcome: RefreshOutcome) -> None:
    """The observer of a `Refreshes` without one."""


class Refreshes:
    """Lets the sync target refresh folders, and the ledger remember when. Implements `OtherRefreshes` for the target."""

    def __init__(
        self,
        *,
        target: SyncTarget,
        ledger: OptionalLedger,
        clock: Clock,
        margin: float = 5.0,
        min_interval: float = 0.0,
        tree_interval: float = 30.0,
        max_started: int = MAX_STARTED,
        costs: Costs | None = None,
        observe: Callable[[RefreshOutcome], None] = unobserved,
        tracer: Tracer | None = None,
    ) -> None:
        """All times in seconds. `margin`: how far S3's clocks may differ.

        `min_interval`, `tree_interval`: the shortest time between two refreshes of a folder, of a tree; 0 for none.
        `costs`, which the target learns, make these times longer. `observe` is called after each refresh.
        """
        self._target = target
        self._ledger = ledger
        self._clock = clock
        self._margin = margin
        self._pace = Pace(clock, costs or Costs(), folders=min_interval, trees=tree_interval)
        self._observe = observe
        self._tracer = tracer
        self._folders: dict[Folder, _Queue] = {}
        self._unstarted: OrderedDict[Folder, _Queue] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()
        self._free_places = max_started
        self.counts: Counter[str] = Counter()
        self.requests = 0
        """Requests since the start. `counts` has the refreshes that served them."""

    def ask(self, folder: Folder, *, reason: RefreshReason = RefreshReason.EVENTS) -> "asyncio.Future[None]":
        """Return a future of the first refresh of this folder that begins from now on. It is shared: do not cancel it.

        It fails with the `JibeError` of the refresh.
        """
        self.requests += 1
        queue = self._folders.get(folder)
        if queue is None:
            queue = self._folders[folder] = self._unstarted[folder] = _Queue()
            self._start_next()
        if reason is RefreshReason.DESCENDANT and folder in self._unstarted:
            # The refreshes that have the places may wait for this one, so it must not wait for a place.
            del self._unstarted[folder]
            self._start(folder, queue)
        requests = queue.join(self._clock.monotonic(), reason)
        if self._tracer is not None:
            requests.askers.add(self._tracer.spans.here())
        return requests.future

    async def done(self, folders: Iterable[Folder], *, reason: RefreshReason = RefreshReason.EVENTS) -> list[JibeError]:
        """Wait for a refresh of each folder that begins from now on. Returns the errors."""
        errors: dict[str, JibeError] = {}
        defect: BaseException | None = None
        # All are asked for before the first wait.
        for future in [self.ask(folder, reason=reason) for folder in folders]:
            error = await _outcome(future)
            if isinstance(error, JibeError):
                errors.setdefault(str(error), error)
            else:
                defect = defect or error
        if defect is not None:
            raise defect
        return list(errors.values())

    async def refresh(self, folder: Folder) -> None:
        """Wait for a refresh of one folder that another refresh needs. Raises its error."""
        if error := await _outcome(self.ask(folder, reason=RefreshReason.DESCENDANT)):
            # Many waiters raise the same object, and each would add its own traceback to it.
            raise error.with_traceback(None)

    def watch(self, folder: Folder) -> Callable[[], Awaitable[bool]]:
        """Return a function that says later whether a refresh of the folder has ended since. It waits for a running one.

        A target that looks for something new in the folder can then look once more before it asks for a refresh.
        """
        queue = self._folders.get(folder)
        ahead = queue.ahead if queue else None

        async def has_ended() -> bool:
            if ahead is not None and ahead.done():
                return True
            queue = self._folders.get(folder)
            if queue is None or not queue.served:
                return False
            await _outcome(queue.served[-1].future)
            return True

        return has_ended

    def pending(self) -> list[PendingRefresh]:
        """Return the folders that wait for a refresh or are being refreshed, in no order."""
        return [PendingRefresh(folder, queue.since, queue.reason) for folder, queue in self._folders.items()]

    @property
    def waiting(self) -> tuple[int, float | None]:
        """The number of folders in `pending`, and when the oldest request came (monotonic), approximately."""
        # The first folders came first, but each may have newer requests by now. To look at all could take too long.
        first = islice(self._folders.values(), MOST_LOOKED_AT)
        return len(self._folders), min((queue.since for queue in first), default=None)

    async def stop(self) -> None:
        """Cancel all refreshes. The messages that wait for them are not done, and will be delivered again."""
        self._unstarted.clear()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # A task that was cancelled before its first step has not cleaned up.
        left, self._folders = self._folders, {}
        for queue in left.values():
            queue.abandon()

    def _start_next(self) -> None:
        # A waiting task costs ten times as much as a folder without one, and 100,000 folders may wait.
        while self._unstarted and self._free_places:
            self._free_places -= 1
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
            self._free_places += 1
            self._start_next()

    async def _work_off(self, folder: Folder, queue: "_Queue") -> None:
        try:
            while queue.waiting:
                if (wait := self._pace.turn_in(folder)) > 0:
                    # Requests that come before the turn are served by it, too.
                    self._leave_place(queue)
                    await self._clock.sleep(wait)
                await self._refresh_once(folder, queue)
        finally:
            self._folders.pop(folder, None)
            queue.abandon()
            self._leave_place(queue)

    async def _refresh_once(self, folder: Folder, queue: "_Queue") -> None:
        if self._tracer is None:
            await self._refresh(folder, queue, None)
            return
        with self._tracer.refresh(folder, queue.reason, queue.askers) as span:
            await self._refresh(folder, queue, span)

    async def _refresh(self, folder: Folder, queue: "_Queue", span: RefreshSpan | None) -> None:
        began, started = self._clock.now(), self._clock.monotonic()

        def on_began() -> None:
            nonlocal began, started
            began, started = self._clock.now(), self._clock.monotonic()
            queue.begin()
            if span is not None:
                span.began()

        error: Exception | None = None
        try:
            await self._target.refresh(folder, on_began, self)
            # While S3's clock is unknown, `began` is 0: such a time would cause no skip, so it is not stored. The requests
            # are served whether or not the ledger remembers it.
            if began:
                await self._ledger.refreshed(folder, began - self._margin)
        except JibeError as failure:
            # Messages keep it until their other folders are done.
            error = without_frames(failure)
            log.warning("refresh_failed", folder=str(folder), error=type(error).__name__, reason=str(error))
        except Exception as defect:
            # A defect of ours. The requests must get an answer, and the folder must stay usable.
            error = defect
            log.exception("refresh_crashed", folder=str(folder))
        else:
            log.debug("refreshed", folder=str(folder), began=began or None)
        if error:
            # All requests so far came before the failure, whether or not the refresh had begun.
            queue.begin()
        if span is not None:
            span.served(queue.askers, error)
        self._pace.ended(folder, started)
        await self._remember(folder, queue, started, error)
        self._ended(folder, queue, started, error)

    async def _remember(self, folder: Folder, queue: "_Queue", started: float, error: Exception | None) -> None:
        seconds = self._clock.monotonic() - started
        await self._ledger.record(folder_refreshed(folder, seconds=seconds, reason=queue.reason.value, error=error))

    def _ended(self, folder: Folder, queue: "_Queue", started: float, error: Exception | None) -> None:
        now = self._clock.monotonic()
        outcome = RefreshOutcome(folder, now - started, now - queue.since, queue.reason, error)
        kind = "trees" if folder.tree else "for descendants" if outcome.for_descendant else "folders"
        self.counts["failed" if error else kind] += 1
        queue.release(error)
        self._observe(outcome)


async def _outcome(future: "asyncio.Future[None]") -> BaseException | None:
    """Wait for a refresh. Returns its error. If the refresh was cancelled, its requests were not: they get an error.

    If this is cancelled, the future is not: other requests share it. `asyncio.wait` costs three times as much.
    """
    if not future.done():
        ended = future.get_loop().create_future()

        def end(_: object) -> None:
            if not ended.done():
                ended.set_result(None)

        future.add_done_callback(end)
        try:
            await ended
        except asyncio.CancelledError:
            future.remove_done_callback(end)
            raise
    return RuntimeError("the refresh was abandoned") if future.cancelled() else future.exception()


class _Requests:
    """Requests that share one future. `since`: when the first came. `reason`: the one of them that counts first."""

    __slots__ = ("_askers", "future", "reason", "since")

    def __init__(self, since: float) -> None:
        self._askers: Askers | None = None
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.since = since
        self.reason = RefreshReason.DESCENDANT

    @property
    def askers(self) -> Askers:
        """The spans that wait for it, if there is tracing."""
        if self._askers is None:
            self._askers = Askers()
        return self._askers


class _Queue:
    """The requests for one folder: those that the running refresh serves, and those that came since it began."""

    __slots__ = ("has_place", "served", "waiting")

    def __init__(self) -> None:
        self.has_place = False
        self.waiting: _Requests | None = None
        self.served: list[_Requests] = []

    def join(self, now: float, reason: RefreshReason) -> _Requests:
        if self.waiting is None:
            self.waiting = _Requests(now)
        self.waiting.reason = min(self.waiting.reason, reason, key=_rank)
        return self.waiting

    @property
    def since(self) -> float:
        """When the first of the requests came."""
        requests = self._next()
        return requests[0].since if requests else 0.0

    @property
    def ahead(self) -> "asyncio.Future[None] | None":
        """The future of the running refresh, or else of the next."""
        return next((requests.future for requests in reversed(self._next())), None)

    @property
    def reason(self) -> RefreshReason:
        """Why the running refresh, or else the next, is done."""
        return min((requests.reason for requests in self._next()), default=RefreshReason.DESCENDANT, key=_rank)

    @property
    def askers(self) -> Askers:
        """The spans that the running refresh, or else the next, serves."""
        return reduce(Askers.merged, (requests.askers for requests in self._next()), Askers())

    def begin(self) -> None:
        """A refresh begins: it serves all requests so far."""
        if self.waiting is not None:
            self.served.append(self.waiting)
            self.waiting = None

    def release(self, error: Exception | None) -> None:
        """The refresh has ended: answer the requests that it served."""
        served, self.served = self.served, []
        for requests in served:
            if error is None:
                requests.future.set_result(None)
            else:
                requests.future.set_exception(error)
                requests.future.exception()  # marks it as retrieved: the waiter may be gone

    def abandon(self) -> None:
        self.begin()
        for requests in self.served:
            requests.future.cancel()

    def _next(self) -> list[_Requests]:
        return self.served or ([self.waiting] if self.waiting else [])
