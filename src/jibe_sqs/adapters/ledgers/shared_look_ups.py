"""Look-ups that come at nearly the same time share one call to the table."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Final, Generic, TypeVar

T = TypeVar("T")

LINGER: Final = 0.005
"""Seconds that a call waits for further keys. The call itself takes as long, and costs a hundred times what a key costs."""


class SharedLookUps(Generic[T]):
    """`find` waits for the answer to a call with its keys, and those of others."""

    def __init__(self, look_up: Callable[[Sequence[str]], Awaitable[Mapping[str, T]]], *, size: int) -> None:
        """`look_up` returns what exists, by key. `size`: keys in one call."""
        self._look_up = look_up
        self._size = size
        self._open: dict[str, None] = {}
        self._answer: asyncio.Task[Mapping[str, T]] | None = None

    async def find(self, keys: Collection[str]) -> dict[str, T]:
        """Those of up to `size` keys that exist. Raises the error of the call."""
        if self._answer is None or len(self._open) + len(keys) > self._size:
            self._open = {}
            self._answer = asyncio.create_task(self._shared(self._open), name="ledger look-ups")
            # If all its callers are cancelled, nobody asks for its error.
            self._answer.add_done_callback(lambda answer: answer.cancelled() or answer.exception())
        self._open.update(dict.fromkeys(keys))
        answer = self._answer
        # The answer belongs to others, too: it goes on if this caller is cancelled.
        await asyncio.wait([answer])
        found = answer.result()
        return {key: found[key] for key in keys if key in found}

    async def _shared(self, keys: dict[str, None]) -> Mapping[str, T]:
        await asyncio.sleep(LINGER)
        if self._open is keys:
            self._answer = None
        return await self._look_up(list(keys))
