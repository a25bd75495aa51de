"""Coalescing: any number of requests for a folder need only one refresh of it at a time, and never one too few.

Each folder is single-flight with a dirty mark. A request is served by the first refresh that *began* after the request:
one that was running already may have read the folder before the change. All requests that wait for the same refresh
share one future, so ten thousand requests for a folder cost no more than one.

    idle ──ask──> queued ──its turn──> called ──began──> running ──ask──> running and dirty
                    ^                            └──────ended──> idle            │
                    └───────────────────────────ended────────────────────────────┘

If many are queued, most turns go to the folders with the newest changes, and each fourth one to the folder that has waited
longest. A folder that is paused is not queued: its requests fail with `RefreshPaused` at once, and ask again after the pause.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import reduce
from itertools import islice
from operator import attrgetter
from typing import Final

import structlog

from jibe_sqs.concurrency.newest_first import Entry, NewestFirst
from jibe_sqs.core.errors import JibeError, RefreshPaused, without_frames
from jibe_sqs.core.history import folder_refreshed
from jibe_sqs.core.model import UNKNOWN_TIME, Folder, RefreshReason
from jibe_sqs.ports import Clock, OtherRefreshes, PendingRefresh, RefreshOutcome, SyncTarget
from jibe_sqs.syncing.pace import Costs, Pace
from jibe_sqs.syncing.pauses import Pauses
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
    """Lets the sync target refresh folders, and the ledger remember when."""

    newest = 0.0
    """As `OtherRefreshes`, for a caller that knows of no change."""

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
        pauses: Pauses | None = None,
        observe: Callable[[RefreshOutcome], None] = unobserved,
        tracer: Tracer | None = None,
    ) -> None:
        """All times in seconds. `margin`: how far S3's clocks may differ.

        `min_interval`, `tree_interval`: the shortest time between two refreshes of a folder, of a tree; 0 for none.
        `costs`, which the target learns, make these times longer. `pauses`: what is held now. `observe` is called after each
        refresh that was not held.
        """
        self._target = target
        self._ledger = ledger
        self._clock = clock
        self._margin = margin
        self._pace = Pace(clock, costs or Costs(), folders=min_interval, trees=tree_interval)
        self._observe = observe
        self._tracer = tracer
        self._folders: dict[Folder, _Queue] = {}
        self._unstarted: NewestFirst[Folder] = NewestFirst()
        self._tasks: set[asyncio.Task[None]] = set()
        self._free_places = max_started
        self.counts: Counter[str] = Counter()
        self.requests = 0
        """Requests since the start. `counts` has the refreshes that served them."""
        self._pauses = pauses or Pauses(clock)
        self._pauses.on_change(self._hold)

    def ask(
        self, folder: Folder, *, reason: RefreshReason = RefreshReason.EVENTS, newest: float = 0.0
    ) -> "asyncio.Future[None]":
        """Return a future of the first refresh of this folder that begins from now on. It is shared: do not cancel it.

        `newest`: when the last change happened that asks for it (seconds since the epoch); 0 if that is not known.
        It fails with the `JibeError` of the refresh. `RefreshPaused` is the answer at once while the folder is paused.
        """
        self.requests += 1
        if self._pauses.is_any and (paused := self._pauses.held(folder, reason)) is not None:
            return _failed(paused)
        now, priority = self._clock.monotonic(), _priority(newest)
        queue = self._folders.get(folder)
        if queue is None:
            queue = self._folders[folder] = _Queue()
            if reason is RefreshReason.DESCENDANT:
                # The refreshes that have the places may wait for this one, so it must not wait for a place.
                self._start(folder, queue)
            elif self._free_places:
                self._start_in_place(folder, queue)
            else:
                queue.entry = self._unstarted.add(folder, due=now, newest=priority)
        elif queue.entry is not None:
            if reason is RefreshReason.DESCENDANT:
                self._unstarted.remove(queue.entry)
                self._start(folder, queue)
            elif priority is not None:
                self._unstarted.renew(queue.entry, priority)
        requests = queue.join(now, reason, priority or 0.0)
        if self._tracer is not None:
            requests.askers.add(self._tracer.spans.here())
        return requests.future

    async def done(
        self,
        folders: Iterable[Folder],
        *,
        reason: RefreshReason = RefreshReason.EVENTS,
        newest: Mapping[Folder, float] | None = None,
        held: list[Folder] | None = None,
    ) -> list[JibeError]:
        """Wait for a refresh of each folder that begins from now on. Returns the errors.

        `newest`: as for `ask`, by folder. `held`: gets the folders that are paused, in place of an error for them.
        """
        errors: dict[str, JibeError] = {}
        defect: BaseException | None = None
        times = newest or {}
        # All are asked for before the first wait.
        asked = [(folder, self.ask(folder, reason=reason, newest=times.get(folder, 0.0))) for folder in folders]
        for folder, future in asked:
            error = await _outcome(future)
            if held is not None and isinstance(error, RefreshPaused):
                held.append(folder)
            elif isinstance(error, JibeError):
                errors.setdefault(str(error), error)
            else:
                defect = defect or error
        if defect is not None:
            raise defect
        return list(errors.values())

    async def refresh(self, folder: Folder, *, newest: float = 0.0) -> None:
        """Wait for a refresh of one folder that another refresh needs. Raises its error. `newest`: as for `ask`."""
        if error := await _outcome(self.ask(folder, reason=RefreshReason.DESCENDANT, newest=newest)):
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
        self._unstarted = NewestFirst()
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
            folder = self._unstarted.pop()
            self._start_in_place(folder, self._folders[folder])

    def _start_in_place(self, folder: Folder, queue: "_Queue") -> None:
        self._free_places -= 1
        queue.has_place = True
        self._start(folder, queue)

    def _hold(self) -> None:
        """Answer the requests for folders that are paused now. A refresh that has begun goes on to its end."""
        if not self._pauses.is_any:
            return
        for folder, queue in list(self._folders.items()):
            paused = self._pauses.held(folder, queue.reason)
            if paused is None:
                continue
            queue.fail(paused)
            if queue.entry is not None:
                self._unstarted.remove(queue.entry)
                del self._folders[folder]
            else:
                # It may wait for the refresh of another folder of this provider, and that would be until the pause ends.
                self._leave_place(queue)

    def _start(self, folder: Folder, queue: "_Queue") -> None:
        queue.entry = None
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
                    if not queue.waiting:
                        break  # it was paused meanwhile
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
            await self._target.refresh(folder, on_began, _Others(self, queue.newest))
            # While S3's clock is unknown, `began` is 0: such a time would cause no skip, so it is not stored. The requests
            # are served whether or not the ledger remembers it.
            if began:
                await self._ledger.refreshed(folder, began - self._margin)
        except JibeError as failure:
            # A failure during a pause is no answer: the server may be down for maintenance.
            # Messages keep the error until their other folders are done.
            error = self._pauses.held(folder, queue.reason) or without_frames(failure)
            report = log.info if isinstance(error, RefreshPaused) else log.warning
            report("refresh_failed", folder=str(folder), error=type(error).__name__, reason=str(failure))
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
        if isinstance(error, RefreshPaused):
            self.counts["paused"] += 1
            queue.release(error)
            return
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


class _Others(OtherRefreshes):
    """The refreshes that the refresh of one folder needs. They are for the same changes."""

    __slots__ = ("_refreshes", "newest")

    def __init__(self, refreshes: Refreshes, newest: float) -> None:
        self._refreshes = refreshes
        self.newest = newest

    async def refresh(self, folder: Folder) -> None:
        """Wait for a refresh of this folder."""
        await self._refreshes.refresh(folder, newest=self.newest)

    def watch(self, folder: Folder) -> Callable[[], Awaitable[bool]]:
        """See `Refreshes.watch`."""
        return self._refreshes.watch(folder)


def _priority(newest: float) -> float | None:
    """The time of a change as a priority. None if it is not known: then only the time of the request counts."""
    return newest if 0.0 < newest < UNKNOWN_TIME else None


def _failed(error: JibeError) -> "asyncio.Future[None]":
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.set_exception(error)
    future.exception()  # marks it as retrieved
    return future


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
    """Requests that share one future. `since`: when the first came. `reason`: the one of them that counts first.

    `newest`: the time of the last change that they are for; 0 if it is not known.
    """

    __slots__ = ("_askers", "future", "newest", "reason", "since")

    def __init__(self, since: float) -> None:
        self._askers: Askers | None = None
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.since = since
        self.reason = RefreshReason.DESCENDANT
        self.newest = 0.0

    def answer(self, error: Exception | None) -> None:
        if error is None:
            self.future.set_result(None)
        else:
            self.future.set_exception(error)
            self.future.exception()  # marks it as retrieved: the waiter may be gone

    @property
    def askers(self) -> Askers:
        """The spans that wait for it, if there is tracing."""
        if self._askers is None:
            self._askers = Askers()
        return self._askers


class _Queue:
    """The requests for one folder: those that the running refresh serves, and those that came since it began.

    `entry`: in the line for a place; None if it is not in it.
    """

    __slots__ = ("entry", "has_place", "served", "waiting")

    def __init__(self) -> None:
        self.entry: Entry[Folder] | None = None
        self.has_place = False
        self.waiting: _Requests | None = None
        self.served: list[_Requests] = []

    def join(self, now: float, reason: RefreshReason, newest: float) -> _Requests:
        waiting = self.waiting
        if waiting is None:
            waiting = self.waiting = _Requests(now)
        waiting.reason = min(waiting.reason, reason, key=_rank)
        if newest > waiting.newest:
            waiting.newest = newest
        return waiting

    @property
    def newest(self) -> float:
        """The time of the last change that waits; 0 if it is not known."""
        return self.waiting.newest if self.waiting else 0.0

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
            requests.answer(error)

    def fail(self, error: Exception) -> None:
        """Answer the requests that wait for the next refresh."""
        waiting, self.waiting = self.waiting, None
        if waiting is not None:
            waiting.answer(error)

    def abandon(self) -> None:
        self.begin()
        for requests in self.served:
            requests.future.cancel()

    def _next(self) -> list[_Requests]:
        return self.served or ([self.waiting] if self.waiting else [])
