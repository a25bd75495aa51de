"""Refreshes of whole trees that no change asks for by name: a few at a time, and only while work is taken."""

import asyncio
from collections.abc import Sequence
from typing import Final

from jibe_sqs.concurrency.gates import passable
from jibe_sqs.core.errors import JibeError
from jibe_sqs.core.model import Folder, RefreshReason
from jibe_sqs.ports import Gate
from jibe_sqs.syncing.refreshes import Refreshes

MOST: Final = 4
"""Trees at a time. The refreshes of changes share the limits of Access Anywhere with them, and must go on."""


class TreeRefreshes:
    """Refreshes trees. All its callers share its turns."""

    def __init__(self, refreshes: Refreshes, gates: Sequence[Gate] = (), *, most: int = MOST) -> None:
        self._refreshes = refreshes
        self._gates = gates
        self._turns = asyncio.Semaphore(most)

    async def refresh(self, path: str, reason: RefreshReason) -> JibeError | None:
        """Refresh this folder and everything below it, from now on. Returns the error that prevents it."""
        async with self._turns:
            await passable(self._gates)
            errors = await self._refreshes.done([Folder(path, tree=True)], reason=reason)
        return errors[0] if errors else None
