"""Time in tests: the `Clock` port three ways, and an event loop whose time jumps to the next timer when everything waits.

So no test sleeps for luck: an hour takes a millisecond, and what would wait for ever fails at once.
"""

import asyncio
import selectors
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import wraps
from typing import Any

EPOCH = 1_767_225_600.0
"""2026-01-01, the beginning of virtual time."""
TWO_DAYS = 2 * 86_400.0


class SystemClock:
    """The system's."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class SleptClock:
    """Time passes only by being slept away, and that takes a turn of the event loop."""

    def __init__(self, at: float = EPOCH) -> None:
        self.time = at
        self.slept: list[float] = []

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds
        await asyncio.sleep(0)


@dataclass
class ServersClock:
    """What the sandbox's server asks for the time, which passes when it is told to."""

    time: float = 1_700_000_000.0

    def __call__(self) -> float:
        return self.time


class VirtualClock:
    """The loop's: for what runs in a `VirtualLoop`."""

    def now(self) -> float:
        return EPOCH + self.monotonic()

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class _Impatient(selectors.DefaultSelector):
    """Never waits: what the loop would have waited is put on its clock."""

    def __init__(self, turn: float) -> None:
        super().__init__()
        self.time = 0.0
        self._turn = turn

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        self.time += self._turn
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise RuntimeError("deadlock: everything waits, and no timer runs")
        self.time += max(0.0, timeout - self._turn)
        if self.time > TWO_DAYS:
            raise RuntimeError("two virtual days have passed: this test never ends")
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time. No threads: it does not wait for them.

    `turn`: seconds that each of its turns takes. If none, who waits for less than a float can add waits for ever.
    """

    def __init__(self, *, turn: float = 0.0) -> None:
        self._impatient = _Impatient(turn)
        super().__init__(self._impatient)

    def time(self) -> float:
        return self._impatient.time


def virtually(main: Coroutine[Any, Any, Any], *, turn: float = 0.0) -> Any:
    """Run in a virtual loop of its own. For tests that hypothesis calls often."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(turn=turn)) as runner:
        return runner.run(main)


def in_virtual_time(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """An async test that runs so."""

    @wraps(test)
    def run(*arguments: Any, **fixtures: Any) -> None:
        virtually(test(*arguments, **fixtures))

    return run
