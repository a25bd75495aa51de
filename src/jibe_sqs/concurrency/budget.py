"""Back-pressure: a number of things that may be taken and must be given back, in the order of asking."""

import asyncio
from collections import deque


class Budget:
    """So many messages, or so many bytes. Nothing is taken out of turn, so a large wish is not starved by small ones."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.free = size
        self._row: deque[asyncio.Event] = deque()

    async def take(self, most: int, *, least: int | None = None) -> int:
        """Wait until `least` (or else all of `most`) is free; returns what was taken, at most `most`.

        A wish larger than the whole budget is granted when all of it is free.
        """
        most = min(most, self.size)
        least = most if least is None else min(least, most)
        turn = asyncio.Event()
        self._row.append(turn)
        try:
            while self._row[0] is not turn or self.free < least:
                turn.clear()
                await turn.wait()
            taken = min(most, self.free)
            self.free -= taken
            return taken
        finally:
            self._row.remove(turn)
            self._wake()

    def give(self, amount: int = 1) -> None:
        """Give back what was taken."""
        self.free += amount
        self._wake()

    def _wake(self) -> None:
        if self._row:
            self._row[0].set()
