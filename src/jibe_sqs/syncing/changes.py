"""Changes that are told one by one: in the order of their times for each object, and any number of objects at a time.

Of each object one change is told at a time, the first in its line; the others wait behind it. Objects whose first
change may be told are ready. Calls take what is ready, as much as fits into one, and as many run as may.

    done ──> behind others of its object ──> ready ──call──> being told ──> told, and the next of its object is ready
                       ^                                          └──failed──> and with it all behind it

What comes behind a failure would overtake it: it comes back with its message, and the one that failed with its own.
"""

import asyncio
from collections import deque
from collections.abc import Sequence

import structlog

from jibe_sqs.core.errors import JibeError
from jibe_sqs.core.model import Change
from jibe_sqs.ports import EventTarget

CHUNK = 1000
"""Changes of one message that are in line at a time: so that a large file does not keep small ones waiting."""

log = structlog.get_logger()

Object = tuple[str, str]
"""Bucket and key."""


class Changes:
    """Has the event target told of changes."""

    def __init__(self, *, target: EventTarget, most: int = 8, linger: float = 0.05) -> None:
        """`most`: calls at a time. `linger`: seconds for which what is ready waits for a full batch."""
        self._target = target
        self._most = most
        self._linger = linger
        self._lines: dict[Object, deque[tuple[Change, _Asker]]] = {}
        self._ready: deque[Object] = deque()
        self._calls: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._is_due = False

    async def done(self, changes: Sequence[Change]) -> list[JibeError]:
        """Wait until all of them are told; returns what went wrong."""
        asker = _Asker()
        # Stable: of two at one time, the first stays the first.
        changes = sorted(changes, key=lambda change: change.event.time)
        for start in range(0, len(changes), CHUNK):
            # If this is cancelled, what is in line is told nevertheless. That harms nothing.
            await self._ask(changes[start : start + CHUNK], asker)
        errors: dict[str, JibeError] = {}
        for error in asker.failed.values():
            if not isinstance(error, JibeError):
                raise error
            errors.setdefault(str(error), error)
        return list(errors.values())

    async def stop(self) -> None:
        """Cancel the calls that are running. What waits is in nobody's hands any more."""
        # One that ends well nevertheless makes the next of its objects ready, and perhaps a call of them.
        while calls := list(self._calls):
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._ready.clear()
        for object_ in list(self._lines):
            self._fail(object_, RuntimeError("the telling of changes was abandoned"))

    async def _ask(self, changes: Sequence[Change], asker: "_Asker") -> None:
        asker.begin()
        for change in changes:
            object_ = (change.event.bucket, change.event.key)
            if object_ in asker.failed:
                continue
            asker.left += 1
            line = self._lines.get(object_)
            if line is None:
                line = self._lines[object_] = deque()
                self._ready.append(object_)
            line.append((change, asker))
        self._call()
        if asker.left:
            await asker.over

    def _call(self) -> None:
        """Call with what is ready: with full batches at once, with less when that has lingered."""
        size = self._target.batch
        while self._ready and len(self._calls) < self._most and (self._is_due or len(self._ready) >= size):
            batch = [self._ready.popleft() for _ in range(min(size, len(self._ready)))]
            task = asyncio.create_task(self._tell(batch))
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

    async def _tell(self, batch: Sequence[Object]) -> None:
        error: Exception | None = None
        try:
            await self._target.tell([self._lines[object_][0][0] for object_ in batch])
        except JibeError as failure:
            error = failure
            log.warning("changes_not_told", changes=len(batch), error=type(error).__name__, reason=str(error))
        except Exception as defect:
            # Whoever waits must hear of it, and the objects must stay usable.
            error = defect
            log.exception("telling_crashed", changes=len(batch))
        for object_ in batch:
            if error is None:
                self._told(object_)
            else:
                self._fail(object_, error)

    def _told(self, object_: Object) -> None:
        line = self._lines[object_]
        _, asker = line.popleft()
        if line:
            self._ready.append(object_)
        else:
            del self._lines[object_]
        asker.answered()

    def _fail(self, object_: Object, error: Exception) -> None:
        for _, asker in self._lines.pop(object_):
            asker.failed[object_] = error
            asker.answered()


class _Asker:
    """Who waits for changes: how many of them are left, and what went wrong with which object."""

    def __init__(self) -> None:
        self.failed: dict[Object, Exception] = {}
        self.left = 0
        self.over: asyncio.Future[None]

    def begin(self) -> None:
        self.over = asyncio.get_running_loop().create_future()

    def answered(self) -> None:
        self.left -= 1
        # It is done already if its waiter was cancelled.
        if not self.left and not self.over.done():
            self.over.set_result(None)
