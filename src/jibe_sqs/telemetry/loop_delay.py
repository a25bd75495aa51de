"""How late the event loop is: what holds it up delays everything."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from jibe_sqs.telemetry.lag import Durations

INTERVAL: Final = 1.0
"""Seconds between two timers."""


class LoopDelay:
    """Measures how late a timer is, once a second."""

    def __init__(self) -> None:
        self.delays = Durations()
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """Measure during the block."""
        loop = asyncio.get_running_loop()
        self._set_timer(loop)
        try:
            yield
        finally:
            if self._timer is not None:
                self._timer.cancel()

    def _set_timer(self, loop: asyncio.AbstractEventLoop) -> None:
        self._due = loop.time() + INTERVAL
        self._timer = loop.call_at(self._due, self._fire)

    def _fire(self) -> None:
        loop = asyncio.get_running_loop()
        self.delays.add(loop.time() - self._due)
        self._set_timer(loop)
