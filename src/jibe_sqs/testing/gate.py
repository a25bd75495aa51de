"""A gate that a test closes and opens."""

import asyncio


class ManualGate:
    """The `Gate` port. It is closed while `reason` is not empty. Set `reason` to close it; call `open` to open it."""

    def __init__(self, reason: str = "") -> None:
        self.reason = reason
        self._opened = asyncio.Event()

    async def passable(self) -> None:
        """Wait until the gate is open."""
        while self.reason:
            self._opened.clear()
            await self._opened.wait()

    def open(self) -> None:
        """Open the gate, and wake all waiting callers."""
        self.reason = ""
        self._opened.set()
