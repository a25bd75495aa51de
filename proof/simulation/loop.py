"""An event loop in virtual time whose order of steps a seed decides. Processes in it can die between any two steps."""

import asyncio
import heapq
import itertools
import warnings
from collections.abc import Callable
from contextvars import Context, ContextVar
from dataclasses import dataclass, field
from random import Random
from typing import Any

MAX_ROUNDS = 100_000
"""Rounds of the loop without a step of the time. More of them count as an endless loop."""

WORLD = Context()
"""The context of the world's own callbacks. They go on when a process dies."""


@dataclass(eq=False, slots=True)
class Process:
    """One process of a replica. When it dies, everything that it started is dropped and runs no `finally`."""

    name: str
    is_alive: bool = True
    steps: int = 0
    tasks: "list[asyncio.Task[Any]]" = field(default_factory=list)
    faults: dict[int, Callable[[], None]] = field(default_factory=dict)
    """Number of a step -> the fault that happens then."""
    check: Callable[[], None] | None = None
    """Called after each step."""
    hung: "list[asyncio.Handle] | None" = None
    """While it hangs: the callbacks that wait until it goes on. Otherwise None."""
    was_hung: bool = False
    disconnected_from: str | None = None
    """It cannot reach the servers whose names begin with this."""
    was_disconnected: bool = False
    was_stopped: bool = False
    knows_of_outage: dict[str, float] = field(default_factory=dict)
    """Log bucket -> the time from which it must know that the bucket cannot be read."""
    ended_at: float | None = None
    """When it ended by itself. After that, its callbacks must not run; `on_wake_after_end` is called for each one that does."""
    on_wake_after_end: Callable[[asyncio.Handle], None] = lambda _: None

    @property
    def is_undisturbed(self) -> bool:
        """Whether it works, and no fault has happened to it."""
        return self.is_alive and not (self.was_hung or self.was_disconnected or self.was_stopped)


PROCESS: ContextVar[Process | None] = ContextVar("PROCESS", default=None)


class Stuck(Exception):
    """Everything waits and no timer runs, or callbacks run for ever while no time passes."""


class _Task(asyncio.Task[Any]):
    """A task with the same hash in every run. Sets of tasks are iterated in the order of hashes, by default of addresses."""

    def __init__(self, number: int, *args: Any, **options: Any) -> None:
        self.number = number
        super().__init__(*args, **options)

    def __hash__(self) -> int:
        return self.number


class _Future(asyncio.Future[Any]):
    def __init__(self, number: int, *, loop: asyncio.AbstractEventLoop) -> None:
        self.number = number
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self.number


class SeededLoop(asyncio.BaseEventLoop):
    """Never waits: when no callback is ready, the time jumps to the next timer. No sockets, no threads.

    `chance` chooses the next one of the ready callbacks; without it, they run in their order. `after_step` is called
    after each callback.
    """

    def __init__(self, chance: Random | None, after_step: Callable[[], None]) -> None:
        super().__init__()
        self._chance = chance
        self._after_step = after_step
        self._now = 0.0
        self._rounds = 0
        self._numbers = itertools.count()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._ready: Any

    def time(self) -> float:
        return self._now

    def create_task(self, coro: Any, *, name: Any = None, context: Context | None = None) -> "asyncio.Task[Any]":
        task = _Task(next(self._numbers), coro, loop=self, name=name or "unnamed", context=context)
        process = context.get(PROCESS) if context is not None else PROCESS.get()
        if process is not None:
            process.tasks.append(task)
        return task

    def create_future(self) -> "asyncio.Future[Any]":
        return _Future(next(self._numbers), loop=self)

    def add_signal_handler(self, sig: int, callback: Callable[..., Any], *args: Any) -> None:  # type: ignore[override]
        """There are no signals here."""

    def remove_signal_handler(self, sig: int) -> bool:
        return bool(sig)

    def call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> asyncio.Handle:  # type: ignore[override]
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_at(self, when: float, callback: Any, *args: Any, context: Context | None = None) -> asyncio.TimerHandle:  # type: ignore[override]
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._numbers), timer))
        return timer

    def _write_to_self(self) -> None:
        """The loop never sleeps, so it need not be woken."""

    def _check_closed(self) -> None:
        """Callbacks of dead processes may still call a closed loop. That has no effect."""

    def _asyncgen_finalizer_hook(self, agen: Any) -> None:
        if not self.is_closed():
            super()._asyncgen_finalizer_hook(agen)  # type: ignore[misc]
        elif agen.ag_await is not None:
            _close(agen.ag_await)

    def _run_once(self) -> None:
        self._wake()
        ready, chance = self._ready, self._chance
        for _ in range(len(ready)):
            if chance is not None and len(ready) > 1:
                picked = int(chance.random() * len(ready))
                ready[picked], ready[0] = ready[0], ready[picked]
            handle = ready.popleft()
            if handle._cancelled:
                continue
            process = handle._context.get(PROCESS)
            if process is None:
                handle._run()
            elif process.ended_at is not None:
                if self._now > process.ended_at:
                    process.on_wake_after_end(handle)
            elif process.hung is not None:
                process.hung.append(handle)
            elif process.is_alive:
                handle._run()
                process.steps += 1
                if process.check is not None:
                    process.check()
                if fault := process.faults.pop(process.steps, None):
                    fault()
            self._after_step()

    def hang(self, process: Process, seconds: float) -> None:
        """Stop the process as SIGSTOP does. After `seconds`, it goes on with all callbacks that were ready meanwhile."""
        process.hung, process.was_hung = [], True
        self.call_later(seconds, self._go_on, process, context=WORLD)

    def _go_on(self, process: Process) -> None:
        left, process.hung = process.hung or [], None
        self._ready.extend(left)

    def _wake(self) -> None:
        timers = self._timers
        while timers and timers[0][2]._cancelled:
            heapq.heappop(timers)
        if not self._ready:
            if not timers:
                raise Stuck("everything waits, and no timer runs")
            if timers[0][0] > self._now:
                self._now, self._rounds = timers[0][0], 0
        self._rounds += 1
        if self._rounds > MAX_ROUNDS:
            raise Stuck("callbacks run for ever, and no time passes")
        while timers and timers[0][0] <= self._now:
            self._ready.append(heapq.heappop(timers)[2])


def close_tasks(process: Process) -> None:
    """Close the pending tasks of a dead process, so that Python does not report them later."""
    with warnings.catch_warnings():
        # A coroutine that is closed before its first step never awaits its arguments.
        warnings.simplefilter("ignore", RuntimeWarning)
        for task in process.tasks:
            if task.done():
                continue
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            _close(task.get_coro())


def _close(awaited: Any) -> None:
    for _ in range(20):
        try:
            awaited.close()
            break
        except BaseException:  # noqa: BLE001 - its `finally` awaits or raises: close it again
            continue
