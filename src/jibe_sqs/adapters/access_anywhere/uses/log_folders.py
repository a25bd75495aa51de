"""The contents of log folders in Access Anywhere, refreshed where new files may be missing.

A refresh costs more than a listing, and most folders of a trail contain only folders. So a folder that contained only
folders at the last listing is listed without a refresh for a while.
"""

import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Final

import msgspec
from cachetools import LRUCache

from jibe_sqs.adapters.access_anywhere.uses.folder_ids import FolderIds
from jibe_sqs.adapters.access_anywhere.wire.answers import Item
from jibe_sqs.adapters.access_anywhere.wire.client import GONE, AccessAnywhere
from jibe_sqs.adapters.access_anywhere.wire.paths import name, parent
from jibe_sqs.core.date_folders import shows_today
from jibe_sqs.core.errors import CallFailed
from jibe_sqs.core.model import Folder

SETTLED_AGE: Final = 900.0
"""Seconds after which a folder of folders is refreshed again: accounts, regions and trails are added and removed."""
LISTINGS_BYTES: Final = 20_000_000
"""Memory of the last listings that are remembered: about 50,000 folders."""
LISTING_BYTES: Final = 300
"""Memory of one of them, without the path of its folder."""
NAMES_BYTES: Final = 10_000_000
"""Memory of the names of the folders in one folder. If there are more, the folder is refreshed before each listing."""
DAY: Final = 86_400.0


class _Listing(msgspec.Struct, frozen=True):
    """What the last listing of a folder showed. `refreshed`: when the folder was refreshed, in seconds since the epoch.

    `is_settled`: it contained only folders, and if they are dates, today's among them. New folders are then unlikely.
    """

    refreshed: float
    is_settled: bool
    size: int
    """Bytes of memory."""

    def is_current(self, now: float) -> bool:
        return self.is_settled and now - self.refreshed < SETTLED_AGE and now // DAY == self.refreshed // DAY


class LogFolders:
    """Lists folders and finds files by their paths. Raises `AccessAnywhereError`s, and what `refresh` raises."""

    def __init__(
        self,
        client: AccessAnywhere,
        ids: FolderIds,
        *,
        refresh: Callable[[Folder], Awaitable[None]],
        wall_clock: Callable[[], float],
    ) -> None:
        """`wall_clock`: seconds since the epoch; its day is the day of date folders."""
        self._client = client
        self._ids = ids
        self._refresh = refresh
        self._wall_clock = wall_clock
        self._listings: LRUCache[str, _Listing] = LRUCache(LISTINGS_BYTES, getsizeof=lambda listing: listing.size)

    async def file(self, path: str) -> Item | None:
        """The file of exactly this path. If it is not in the index, its folder is refreshed first."""
        if (item := await self._item(path)) is None:
            await self._refreshed(parent(path))
            # The known id may be of a folder that was removed and exists again.
            self._ids.forget(parent(path))
            item = await self._item(path)
        return item

    async def entries(self, path: str, prefix: str) -> AsyncGenerator[Item, None]:
        """The files and folders in a folder, which shows `prefix` of a bucket; nothing if the folder is gone."""
        now = self._wall_clock()
        listing = self._listings.pop(path, None)
        if listing is None or not listing.is_current(now):
            await self._refreshed(path)
            listing = None
        refreshed = listing.refreshed if listing else now
        fi_id = await self._ids.find(path)
        if fi_id is None:
            return
        folders: list[str] = []
        has_files = False
        size = 0
        try:
            async with aclosing(self._client.list_folder(fi_id)) as entries:
                async for item in entries:
                    has_files = has_files or not item.is_folder
                    if item.is_folder and not has_files and size <= NAMES_BYTES:
                        folders.append(f"{prefix}{item.name}/")
                        size += sys.getsizeof(folders[-1])
                    yield item
        except CallFailed as error:
            if error.code not in GONE:
                raise
            self._ids.forget(path)
            return
        is_settled = bool(folders) and not has_files and size <= NAMES_BYTES and shows_today(folders, now)
        self._listings[path] = _Listing(refreshed, is_settled, LISTING_BYTES + sys.getsizeof(path))

    async def has(self, path: str) -> bool:
        """Whether the index has that folder now. Nothing is refreshed."""
        return await self._ids.find(path) is not None

    async def _refreshed(self, path: str) -> None:
        await self._refresh(Folder(path))
        # That may have refreshed folders above it, too.
        self._ids.forget_absences()

    async def _item(self, path: str) -> Item | None:
        called = name(path)
        fi_id = await self._ids.find(parent(path)) if called else None
        if fi_id is None:
            return None
        found = await self._client.check_path(called, within=fi_id)
        if found is None or (not found.is_folder and found.name == called):
            return found
        # The answer is a folder of that name, or a file whose name differs in case. The right file may exist beside it.
        async with aclosing(self._client.list_folder(fi_id)) as entries:
            async for item in entries:
                if item.name == called and not item.is_folder:
                    return item
        return None
