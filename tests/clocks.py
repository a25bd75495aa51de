"""Time in tests: three clocks for the `Clock` port, and an event loop in virtual time.

If all tasks of that loop wait, its time jumps to the next timer. An hour takes a millisecond, and a deadlock fails at once.
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
    """The time of the system."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class SleptClock:
    """Time passes only in `sleep`, which takes one turn of the event loop."""

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
    """The clock of the sandbox's server. Its time passes only if a test changes `time`."""

    time: float = 1_700_000_000.0

    def __call__(self) -> float:
        return self.time


class VirtualClock:
    """The time of the running `VirtualLoop`."""

    def now(self) -> float:
        return EPOCH + self.monotonic()

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class _VirtualSelector(selectors.DefaultSelector):
    """Never waits. It adds to its clock the time for which the loop would have waited."""

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
            raise RuntimeError("deadlock: all tasks wait, and there is no timer")
        self.time += max(0.0, timeout - self._turn)
        if self.time > TWO_DAYS:
            raise RuntimeError("this test has taken more than two virtual days: it would never end")
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time. Its tasks must not use threads, since it does not wait for them.

    `turn`: the seconds that each of its turns takes. If 0, a wait that is too short to change a float never ends.
    """

    def __init__(self, *, turn: float = 0.0) -> None:
        self._selector_clock = _VirtualSelector(turn)
        super().__init__(self._selector_clock)

    def time(self) -> float:
        return self._selector_clock.time

    def advance(self, seconds: float) -> None:
        """Let time pass within a turn, as if its work took so long."""
        self._selector_clock.time += seconds


def virtually(main: Coroutine[Any, Any, Any], *, turn: float = 0.0) -> Any:
    """Run a coroutine in a new virtual loop. For tests that hypothesis calls often."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(turn=turn)) as runner:
        return runner.run(main)


def in_virtual_time(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Make an async test run in a new virtual loop."""

    @wraps(test)
    def run(*arguments: Any, **fixtures: Any) -> None:
        virtually(test(*arguments, **fixtures))

    return run
