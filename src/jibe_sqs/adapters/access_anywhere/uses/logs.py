"""Log files read through Access Anywhere, for services without S3 credentials.

Access Anywhere's index of a log bucket may be as stale as any other: a file that CloudTrail delivered appears after a
refresh of its folder. So the folder of an unknown file is refreshed, and a folder is refreshed before it is listed,
unless new entries are unlikely.

Files are found by their exact names, because `a` and `A` are two objects in S3.
"""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager
from typing import Final

from jibe_sqs.adapters.access_anywhere.uses.folder_ids import FolderIds
from jibe_sqs.adapters.access_anywhere.uses.log_folders import LogFolders
from jibe_sqs.adapters.access_anywhere.uses.log_places import folder_path, object_path, places_of
from jibe_sqs.adapters.access_anywhere.wire.answers import Item
from jibe_sqs.adapters.access_anywhere.wire.client import GONE, AccessAnywhere
from jibe_sqs.adapters.access_anywhere.wire.files import Download
from jibe_sqs.adapters.access_anywhere.wire.paths import name, parent
from jibe_sqs.adapters.http1_connection import CHUNK
from jibe_sqs.concurrency.budget import Budget
from jibe_sqs.core.decisions import Place, Places
from jibe_sqs.core.errors import (
    CallFailed,
    FolderUnknown,
    JibeError,
    LogAccessDenied,
    LoginFailed,
    LogMissing,
    LogStoreError,
    LogStoreUnavailable,
    RefreshPaused,
)
from jibe_sqs.core.model import Folder, LogFile
from jibe_sqs.ports import Clock, Found

WINDOW: Final = 2 * CHUNK
"""Bytes of the budget that a download takes: the chunk that the reader has, and the chunk that has arrived since."""


class AccessAnywhereLogs:
    """The `LogStore` port and the `Listing` port. Raises only `LogStoreError`s."""

    def __init__(
        self,
        *,
        client: AccessAnywhere,
        places: Callable[[], Places],
        refresh: Callable[[Folder], Awaitable[None]],
        budget: Budget,
        clock: Clock,
        wall_clock: Callable[[], float] = time.time,
        paused: Callable[[str], RefreshPaused | None] = lambda _: None,
    ) -> None:
        """`places` returns where log buckets are shown, as known now. `refresh` refreshes a folder, best coalesced.

        `budget` is of bytes. `wall_clock` returns seconds since the epoch; its day is the day of date folders.
        `paused` returns why nothing may be read now in the folder of a place.
        """
        self._paused = paused
        self._client = client
        self._places = places
        self._budget = budget
        ids = FolderIds(client, clock, roots=self._roots)
        self._folders = LogFolders(client, ids, refresh=refresh, wall_clock=wall_clock)

    @asynccontextmanager
    async def open(self, file: LogFile) -> AsyncIterator["AccessAnywhereLog"]:
        """Open a log file for reading."""
        item = await self._item(file)
        async with self._budget.share(WINDOW) as share, AsyncExitStack() as stack:
            with _translated(file):
                download = await stack.enter_async_context(self._client.download(item.id))
            log = AccessAnywhereLog(file, download, item.size)
            share.reduce_to(log.size)
            yield log

    async def level(self, bucket: str, prefix: str) -> AsyncGenerator[Found | str, None]:
        """List one level. Its folder is refreshed first if it may have new entries."""
        start = name(prefix)
        folder = prefix.removesuffix(start)
        covering, next_folders = self._places_of(bucket, folder)
        if not covering and not next_folders:
            raise _not_shown(LogFile(bucket, prefix))
        if not covering:
            for below in next_folders:
                if below.startswith(prefix):
                    yield below
            return
        failures: list[LogStoreError] = []
        for place in covering:
            has_begun = False
            try:
                with self._of(LogFile(bucket, prefix), place):
                    async with aclosing(self._folders.entries(folder_path(place, folder), folder)) as entries:
                        async for item in entries:
                            has_begun = True
                            if item.name.startswith(start):
                                yield f"{folder}{item.name}/" if item.is_folder else _as_found(bucket, folder, item)
                return
            except LogStoreError as error:
                if has_begun:
                    raise
                failures.append(error)
        raise failures[0]

    async def has(self, bucket: str, prefix: str) -> bool:
        """Whether the index has that folder now."""
        covering, next_folders = self._places_of(bucket, prefix)
        if not covering:
            return bool(next_folders)
        for place in covering:
            with self._of(LogFile(bucket, prefix), place):
                if await self._folders.has(folder_path(place, prefix)):
                    return True
        return False

    async def buckets(self) -> Sequence[str]:
        """All buckets that Access Anywhere shows."""
        return list(self._places())

    @contextmanager
    def _of(self, file: LogFile, place: Place) -> Iterator[None]:
        """Look for the file in this place, unless it is paused."""
        with _translated(file):
            if paused := self._paused(place.folder):
                raise paused
            yield

    def _roots(self) -> set[str]:
        return {place.folder for places in self._places().values() for place in places}

    def _places_of(self, bucket: str, prefix: str) -> tuple[list[Place], list[str]]:
        return places_of(self._places().get(bucket, ()), prefix)

    async def _item(self, file: LogFile) -> Item:
        covering, _ = self._places_of(file.bucket, file.key)
        if not covering:
            raise _not_shown(file)
        failures: list[LogStoreError] = []
        for place in covering:
            try:
                with self._of(file, place):
                    if (item := await self._folders.file(object_path(place, file.key))) is not None:
                        return item
            except LogStoreError as error:
                failures.append(error)
        if failures:
            raise failures[0]
        where = " or ".join(parent(object_path(place, file.key)) for place in covering)
        raise LogMissing(f"{_name(file)}: not in Access Anywhere's folder {where}, which was refreshed just now")


class AccessAnywhereLog:
    """An open log file. Its etag is empty, because Access Anywhere does not report etags."""

    etag = ""

    def __init__(self, file: LogFile, download: Download, size: int) -> None:
        """`size`: the size in the index. The download's own size counts if it has one."""
        self.size = size if download.size is None else download.size
        self._file = file
        self._download = download

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Its chunks. Raises `LogStoreUnavailable` if fewer bytes arrive than were announced."""
        with _translated(self._file):
            async for chunk in self._download:
                yield chunk


def _not_shown(file: LogFile) -> LogMissing:
    return LogMissing(
        f"{_name(file)}: Access Anywhere shows no folder for it: set the log source's `folder`, or add the bucket to Access Anywhere"
    )


def _as_found(bucket: str, folder: str, item: Item) -> Found:
    file = LogFile(bucket, f"{folder}{item.name}", size=item.size)
    return Found(file, item.modified.timestamp() if item.modified else None)


def _name(file: LogFile) -> str:
    return f"s3://{file.bucket}/{file.key}"


@contextmanager
def _translated(file: LogFile) -> Iterator[None]:
    try:
        yield
    except LogStoreError:
        raise
    except JibeError as error:
        raise _error(f"{_name(file)}: {error}", error) from error


def _error(text: str, error: JibeError) -> LogStoreError:
    match error:
        case CallFailed(code=code) if code in GONE:
            return LogMissing(text)
        case FolderUnknown():
            return LogMissing(text)
        case LoginFailed():
            return LogAccessDenied(text)
        case _:
            return LogStoreUnavailable(text)
