"""The same time limit for many blocks at once. One timer serves all of them."""

import asyncio
from types import TracebackType
from typing import Self


class Deadlines:
    """`with deadlines.block():` raises `TimeoutError` in a block that takes longer than `seconds`, like `asyncio.timeout`."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        # They all have the same length, so the first is the next to expire.
        self._blocks: dict[_Block, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def block(self) -> "_Block":
        """The context of one block. It belongs to the task that enters it."""
        return _Block(self)

    def begin(self, block: "_Block") -> None:
        """A block begins."""
        loop = asyncio.get_running_loop()
        block.ends_at = loop.time() + self._seconds
        self._blocks[block] = None
        if self._timer is None:
            self._timer = loop.call_at(block.ends_at, self._expire)

    def end(self, block: "_Block") -> None:
        """A block has ended."""
        self._blocks.pop(block, None)
        if not self._blocks and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        while first := next(iter(self._blocks), None):
            # A loop may call its timers a little early.
            if first.ends_at > loop.time() + 1e-3:
                self._timer = loop.call_at(first.ends_at, self._expire)
                return
            del self._blocks[first]
            first.expire()


class _Block:
    """One block, and the task that it runs in. `is_expired`: its time was over before it ended."""

    __slots__ = ("_cancelling", "_deadlines", "_task", "ends_at", "is_expired")

    def __init__(self, deadlines: Deadlines) -> None:
        self._deadlines = deadlines
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self.is_expired = False
        self.ends_at = 0.0

    def __enter__(self) -> Self:
        """Begin."""
        self._task = asyncio.current_task()
        self._cancelling = self._task.cancelling() if self._task else 0
        self._deadlines.begin(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End. The cancellation of an expired block becomes a `TimeoutError`, unless the task was cancelled, too."""
        self._deadlines.end(self)
        if self.is_expired and self._task is not None:
            is_ours = self._task.uncancel() <= self._cancelling
            if is_ours and kind is not None and issubclass(kind, asyncio.CancelledError):
                raise TimeoutError from error

    def expire(self) -> None:
        """The time is over."""
        self.is_expired = True
        if self._task is not None:
            self._task.cancel()
