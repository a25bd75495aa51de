"""How late the event loop is, so that a duration can be known without it.

A timer fires every few milliseconds while something is timed. What makes it late makes every answer of a server late, too:
work of ours that holds up the loop, or a machine that is busy.
"""

import asyncio
from typing import Final

BEAT: Final = 0.01
"""Seconds between two timers. Shorter delays of the loop are not noticed."""


class LoopLag:
    """The lag of the event loop, while it is watched."""

    def __init__(self) -> None:
        self._watchers = 0
        self._due = 0.0
        self._last = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def watch(self) -> None:
        """Begin to time something. Call `unwatch` at its end."""
        self._watchers += 1
        if self._timer is None:
            self._last = 0.0
            self._set_timer(asyncio.get_running_loop())

    def unwatch(self) -> float:
        """Return by how many seconds the loop may have delayed what ends now."""
        self._watchers -= 1
        # An answer waits in its socket while the loop is held up. Then its task may wait for one more turn of the loop.
        return self._last + max(0.0, asyncio.get_running_loop().time() - self._due)

    def _set_timer(self, loop: asyncio.AbstractEventLoop) -> None:
        self._due = loop.time() + BEAT
        self._timer = loop.call_at(self._due, self._beat)

    def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        self._last = loop.time() - self._due
        self._timer = None
        if self._watchers:
            self._set_timer(loop)
