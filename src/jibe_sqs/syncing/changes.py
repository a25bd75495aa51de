"""Report changes one by one: for each object in the order of time, and any number of objects at a time.

Each object has a line of changes, and one of them is reported at a time: the first. An object is ready when its first
change may be reported. A call takes as many ready objects as fit into it, and several calls run at a time.

    done ──> behind others of its object ──> ready ──call──> in flight ──> reported, and the next of its object is ready
                       ^                                         └──failed──> and with it all changes behind it

A change behind a failed one fails, too, so that it cannot overtake it. Each comes back with its message.
"""

import asyncio
from collections import deque
from collections.abc import Sequence

import structlog

from jibe_sqs.core.errors import JibeError, without_frames
from jibe_sqs.core.model import Change
from jibe_sqs.ports import EventTarget

CHUNK = 1000
"""Changes of one message that are in lines at a time, so that a large file does not delay small ones."""

log = structlog.get_logger()

Object = tuple[str, str]
"""Bucket and key."""


class Changes:
    """Reports changes to the event target."""

    def __init__(self, *, target: EventTarget, most: int = 8, linger: float = 0.05) -> None:
        """`most`: calls in flight. `linger`: seconds that ready changes wait for a full batch."""
        self._target = target
        self._most = most
        self._linger = linger
        self._lines: dict[Object, deque[tuple[Change, _Caller]]] = {}
        self._ready: deque[Object] = deque()
        self._calls: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._is_due = False

    def change_most(self, most: int) -> None:
        """Make at most so many calls at a time from now on."""
        self._most = most

    async def done(self, changes: Sequence[Change]) -> list[JibeError]:
        """Wait until all changes are reported. Returns the errors."""
        caller = _Caller()
        # The sort is stable: two changes of the same time keep their order.
        changes = sorted(changes, key=lambda change: change.event.time)
        for start in range(0, len(changes), CHUNK):
            # If this is cancelled, the changes in the lines are still reported, which is harmless.
            await self._ask(changes[start : start + CHUNK], caller)
        errors: dict[str, JibeError] = {}
        for error in caller.failed.values():
            if not isinstance(error, JibeError):
                raise error
            errors.setdefault(str(error), error)
        return list(errors.values())

    async def stop(self) -> None:
        """Cancel the calls in flight, and fail the waiting changes."""
        # A call that still succeeds makes the next changes of its objects ready, and may start another call.
        while calls := list(self._calls):
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._ready.clear()
        for object_ in list(self._lines):
            self._fail(object_, RuntimeError("the report of changes was abandoned"))

    async def _ask(self, changes: Sequence[Change], caller: "_Caller") -> None:
        caller.begin()
        for change in changes:
            object_ = (change.event.bucket, change.event.key)
            if object_ in caller.failed:
                continue
            caller.left += 1
            line = self._lines.get(object_)
            if line is None:
                line = self._lines[object_] = deque()
                self._ready.append(object_)
            line.append((change, caller))
        self._call()
        if caller.left:
            await caller.all_reported

    def _call(self) -> None:
        """Start calls for ready objects: full batches at once, smaller ones after the linger time."""
        size = self._target.batch
        while self._ready and len(self._calls) < self._most and (self._is_due or len(self._ready) >= size):
            batch = [self._ready.popleft() for _ in range(min(size, len(self._ready)))]
            task = asyncio.create_task(self._report(batch))
            self._calls.add(task)
            task.add_done_callback(self._ended)
        if not self._ready:
            self._is_due = False
        elif not self._is_due and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._linger, self._lingered)

    def _lingered(self) -> None:
        self._timer = None
        self._is_due = True
        self._call()

    def _ended(self, call: "asyncio.Task[None]") -> None:
        self._calls.discard(call)
        if not call.cancelled():
            self._call()

    async def _report(self, batch: Sequence[Object]) -> None:
        error: Exception | None = None
        try:
            await self._target.report([self._lines[object_][0][0] for object_ in batch])
        except JibeError as failure:
            error = without_frames(failure)
            log.warning("changes_not_reported", changes=len(batch), error=type(error).__name__, reason=str(error))
        except Exception as defect:
            # A defect of ours. The waiting messages must get an answer, and the objects must stay usable.
            error = defect
            log.exception("reporting_crashed", changes=len(batch))
        for object_ in batch:
            if error is None:
                self._reported(object_)
            else:
                self._fail(object_, error)

    def _reported(self, object_: Object) -> None:
        line = self._lines[object_]
        _, caller = line.popleft()
        if line:
            self._ready.append(object_)
        else:
            del self._lines[object_]
        caller.answered()

    def _fail(self, object_: Object, error: Exception) -> None:
        for _, caller in self._lines.pop(object_):
            caller.failed[object_] = error
            caller.answered()


class _Caller:
    """A caller of `done`: how many of its changes are left, and the error of each object."""

    def __init__(self) -> None:
        self.failed: dict[Object, Exception] = {}
        self.left = 0
        self.all_reported: asyncio.Future[None]

    def begin(self) -> None:
        self.all_reported = asyncio.get_running_loop().create_future()

    def answered(self) -> None:
        self.left -= 1
        # It is done already if the caller was cancelled.
        if not self.left and not self.all_reported.done():
            self.all_reported.set_result(None)
