"""Refreshes of other folders that are not coalesced, for tests that use a sync target without `Refreshes`."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable

from jibe_sqs.core.model import Folder
from jibe_sqs.ports import OtherRefreshes, SyncTarget


def nothing() -> None:
    pass


class UncoalescedRefreshes(OtherRefreshes):
    """Refreshes a folder anew for each call."""

    newest = 0.0

    def __init__(self, target: SyncTarget) -> None:
        self._target = target

    async def refresh(self, folder: Folder) -> None:
        # Each in a task of its own: a key may have 500 folders in it, and the awaits would nest as deep.
        await asyncio.create_task(self._refresh(folder))

    async def _refresh(self, folder: Folder) -> None:
        await self._target.refresh(folder, nothing, self)

    def watch(self, folder: Folder) -> Callable[[], Awaitable[bool]]:
        return _has_not_ended


class SerialRefreshes(UncoalescedRefreshes):
    """Refreshes a folder anew for each call, one call after the other."""

    def __init__(self, target: SyncTarget) -> None:
        super().__init__(target)
        self._locks: dict[Folder, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def _refresh(self, folder: Folder) -> None:
        async with self._locks[folder]:
            await super()._refresh(folder)


async def _has_not_ended() -> bool:
    return False
