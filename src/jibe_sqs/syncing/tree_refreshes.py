"""Refreshes of whole trees that no change asks for by name: a few at a time, and only while work is taken."""

import asyncio
from collections.abc import Sequence
from typing import Final

from jibe_sqs.concurrency.gates import passable
from jibe_sqs.core.errors import JibeError, RefreshPaused
from jibe_sqs.core.model import Folder, RefreshReason
from jibe_sqs.ports import Gate
from jibe_sqs.syncing.pauses import Pauses
from jibe_sqs.syncing.refreshes import Refreshes

MOST: Final = 4
"""Trees at a time. The refreshes of changes share the limits of Access Anywhere with them, and must go on."""


class TreeRefreshes:
    """Refreshes trees. All its callers share its turns."""

    def __init__(
        self, refreshes: Refreshes, gates: Sequence[Gate] = (), pauses: Pauses | None = None, *, most: int = MOST
    ) -> None:
        self._refreshes = refreshes
        self._gates = gates
        self._pauses = pauses
        self._turns = asyncio.Semaphore(most)

    async def refresh(self, path: str, reason: RefreshReason) -> JibeError | None:
        """Refresh this folder and everything below it, from now on. Returns the error that prevents it."""
        tree = Folder(path, tree=True)
        while True:
            # Before its turn, so that trees of other providers have theirs.
            if self._pauses is not None:
                await self._pauses.released([tree])
            async with self._turns:
                await passable(self._gates)
                errors = await self._refreshes.done([tree], reason=reason)
            if not errors:
                return None
            if not isinstance(errors[0], RefreshPaused):
                return errors[0]
