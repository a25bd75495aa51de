"""Finds the newest log file of a source, by the dates in the names of folders and files."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final

import msgspec

from jibe_sqs.concurrency.tree_walk import walk_tree
from jibe_sqs.core import date_folders
from jibe_sqs.core.log_names import holds_no_logs
from jibe_sqs.core.model import LogFile
from jibe_sqs.core.sources import LogSource, beside_logs
from jibe_sqs.ports import Found, Listing

DAYS: Final = 2
"""Today and yesterday."""
LISTINGS: Final = 8
MAX_FOLDERS: Final = 300
MAX_ENTRIES: Final = 5000
"""Entries of one folder. A folder may hold a million files, and the newest are enough."""


class Newest(msgspec.Struct, frozen=True):
    """The newest log file of today or yesterday. `is_complete`: whether everything recent was looked at."""

    file: LogFile | None
    is_complete: bool


class RecentFiles:
    """Looks for the newest file of each source, once: several checks need the answer."""

    def __init__(self, wall_clock: Callable[[], float] = time.time) -> None:
        self._wall_clock = wall_clock
        self._searches: dict[LogSource, asyncio.Task[Newest]] = {}

    async def newest(self, source: LogSource, listing: Listing) -> Newest:
        """The newest file of the source. Raises `LogStoreError`."""
        if source not in self._searches:
            self._searches[source] = asyncio.create_task(_Search(source, listing, self._wall_clock()).run())
        return await asyncio.shield(self._searches[source])


class _Search:
    def __init__(self, source: LogSource, listing: Listing, now: float) -> None:
        self._source = source
        self._listing = listing
        self._window = date_folders.recent(now, DAYS)
        self._folders = 0
        self._is_complete = True
        self._newest: Found | None = None

    async def run(self) -> Newest:
        await walk_tree(self._source.prefix, self._level, most=LISTINGS)
        return Newest(self._newest.file if self._newest else None, self._is_complete)

    async def _level(self, prefix: str) -> AsyncGenerator[list[str], None]:
        """See the files of one folder. Yields the subfolders that may have recent files."""
        self._folders += 1
        if self._folders > MAX_FOLDERS:
            self._is_complete = False
            return
        below: list[str] = []
        seen = 0
        async with aclosing(self._listing.level(self._source.bucket, prefix)) as entries:
            async for each in entries:
                seen += 1
                if seen > MAX_ENTRIES:
                    self._is_complete = False
                    break
                if isinstance(each, Found):
                    self._see(each)
                elif self._may_be_recent(each):
                    below.append(each)
        yield below

    def _may_be_recent(self, folder: str) -> bool:
        if holds_no_logs(folder) and not holds_no_logs(self._source.prefix):
            return False
        return date_folders.may_hold_recent(folder.removeprefix(self._source.prefix), self._window)

    def _see(self, found: Found) -> None:
        file = found.file
        if not file.size or file.key.endswith("/") or beside_logs(self._source, file.key):
            return
        if not date_folders.is_recent(file.key.removeprefix(self._source.prefix), found.modified, self._window):
            return
        if self._newest is None or (found.modified or 0.0) >= (self._newest.modified or 0.0):
            self._newest = found
