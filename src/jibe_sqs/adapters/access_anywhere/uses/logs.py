"""Log files read through Access Anywhere, for those who give us no credentials of S3's.

Its index of a log bucket is as stale as any other: what CloudTrail has delivered shows once its folder is refreshed. So
a file that is not known has its folder refreshed, and a folder is refreshed before it is listed, unless nothing new is to
be expected in it: a refresh costs more than a listing, and most folders of a trail hold nothing but folders.

Which of the index's files is meant is for their exact names to say: `a` and `A` are two files of S3's.
"""

import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager
from functools import partial
from typing import Final

import msgspec

from jibe_sqs.adapters.access_anywhere.uses.folder_ids import KnownIds
from jibe_sqs.adapters.access_anywhere.wire.answers import Item
from jibe_sqs.adapters.access_anywhere.wire.client import GONE, AccessAnywhere
from jibe_sqs.adapters.access_anywhere.wire.files import Download
from jibe_sqs.adapters.access_anywhere.wire.paths import ROOT, TOP, is_below, name, parent
from jibe_sqs.concurrency.budget import Budget
from jibe_sqs.concurrency.single_flight import SingleFlight
from jibe_sqs.core.date_folders import shows_today
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
)
from jibe_sqs.core.model import Folder, LogFile
from jibe_sqs.ports import Clock, Found

CHUNK: Final = 1024 * 1024
WINDOW: Final = 2 * CHUNK
"""Bytes of the budget that a download takes: what was handed over, and what has come in since."""
SETTLED_AGE: Final = 900.0
"""Seconds after which a folder of folders is refreshed all the same: accounts, regions and trails come and go."""
REMEMBERED: Final = 50_000
"""Folders whose last look is known."""
DAY: Final = 86_400.0


class _Look(msgspec.Struct, frozen=True):
    """What was known of a folder when it was refreshed (seconds since the epoch).

    `is_settled`: it held nothing but folders, and today's if they are dates: soon there will be no other.
    """

    refreshed: float
    is_settled: bool

    def is_good(self, now: float) -> bool:
        return self.is_settled and now - self.refreshed < SETTLED_AGE and now // DAY == self.refreshed // DAY


class AccessAnywhereLogs:
    """The `LogStore` and the `Listing` port. Raises `LogStoreError`s only."""

    def __init__(
        self,
        *,
        client: AccessAnywhere,
        places: Callable[[], Places],
        refresh: Callable[[Folder], Awaitable[None]],
        budget: Budget,
        clock: Clock,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """`places`: where log buckets are shown, as known now. `refresh`: best shared by all who refresh folders.

        `budget` is of bytes. `wall_clock` says which day it is.
        """
        self._client = client
        self._places = places
        self._refresh = refresh
        self._budget = budget
        self._clock = clock
        self._wall_clock = wall_clock
        self._ids = KnownIds(clock)
        self._finding: SingleFlight[Item | None] = SingleFlight()
        self._looks: OrderedDict[str, _Look] = OrderedDict()

    @asynccontextmanager
    async def open(self, file: LogFile) -> AsyncIterator["AccessAnywhereLog"]:
        """Open a log file for reading."""
        item = await self._found(file)
        taken = await self._budget.take(WINDOW)
        try:
            async with AsyncExitStack() as stack:
                with _translated(file):
                    download = await stack.enter_async_context(self._client.download(item.id, chunk=CHUNK))
                log = AccessAnywhereLog(file, download, item.size)
                if (excess := taken - log.size) > 0:
                    self._budget.give(excess)
                    taken -= excess
                yield log
        finally:
            self._budget.give(taken)

    async def level(self, bucket: str, prefix: str) -> AsyncGenerator[Found | str, None]:
        """One level. Its folder is refreshed first, where something new may be in it."""
        start = name(prefix)
        folder = prefix.removesuffix(start)
        covering, within = self._shown(bucket, folder)
        if not covering and not within:
            raise _not_shown(LogFile(bucket, prefix))
        if not covering:
            for below in within:
                if below.startswith(prefix):
                    yield below
            return
        failures: list[LogStoreError] = []
        for place in covering:
            has_begun = False
            try:
                with _translated(LogFile(bucket, prefix)):
                    async with aclosing(self._entries(_folder_path(place, folder), folder)) as entries:
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
        """Whether its index has that folder now."""
        covering, within = self._shown(bucket, prefix)
        if not covering:
            return bool(within)
        with _translated(LogFile(bucket, prefix)):
            for place in covering:
                if await self._folder_id(_folder_path(place, prefix)) is not None:
                    return True
        return False

    async def buckets(self) -> Sequence[str]:
        """All that it shows."""
        return list(self._places())

    def _shown(self, bucket: str, prefix: str) -> tuple[list[Place], list[str]]:
        """The places that show all of a prefix; and the next folders on the way to those that show a part of it."""
        places = [_of_folder(place) for place in self._places().get(bucket, ())]
        parts = [place.prefix for place in places if place.prefix.startswith(prefix) and place.prefix != prefix]
        next_folders = {part[: part.index("/", len(prefix)) + 1] for part in parts}
        covering = [place for place in places if prefix.startswith(place.prefix)]
        # What seems to show a part only stands for the whole bucket as well, and comes last at that.
        partial = {place.folder for place in places if place.prefix}
        covering.sort(key=lambda place: not place.prefix and place.folder in partial)
        return covering, sorted(next_folders)

    async def _found(self, file: LogFile) -> Item:
        covering, _ = self._shown(file.bucket, file.key)
        if not covering:
            raise _not_shown(file)
        failures: list[LogStoreError] = []
        for place in covering:
            try:
                with _translated(file):
                    if (item := await self._refreshed_item(_path(place, file.key))) is not None:
                        return item
            except LogStoreError as error:
                failures.append(error)
        if failures:
            raise failures[0]
        where = " or ".join(parent(_path(place, file.key)) for place in covering)
        raise LogMissing(f"{_name(file)}: not in Access Anywhere's folder {where}, though that was refreshed just now")

    async def _refreshed_item(self, path: str) -> Item | None:
        if (item := await self._item(path)) is None:
            await self._refresh(Folder(parent(path)))
            # An id that was known may have been of a folder that is gone, and is there again.
            self._ids.forget(parent(path))
            item = await self._item(path)
        return item

    async def _item(self, path: str) -> Item | None:
        called = name(path)
        fi_id = await self._folder_id(parent(path)) if called else None
        if fi_id is None:
            return None
        found = await self._client.check_path(called, within=fi_id)
        if found is None or (not found.is_folder and found.name == called):
            return found
        # A folder of that name, or a file of nearly that name: the very one may be there too.
        async with aclosing(self._client.list_folder(fi_id)) as entries:
            async for item in entries:
                if item.name == called and not item.is_folder:
                    return item
        return None

    async def _entries(self, path: str, folder: str) -> AsyncGenerator[Item, None]:
        """What is in a folder of Access Anywhere, which shows `folder` of a bucket; nothing if it is gone."""
        now = self._wall_clock()
        look = self._looks.pop(path, None)
        if look is None or not look.is_good(now):
            await self._refresh(Folder(path))
            look = None
        refreshed = look.refreshed if look else now
        fi_id = await self._folder_id(path)
        if fi_id is None:
            return
        folders: list[str] = []
        has_files = False
        try:
            async with aclosing(self._client.list_folder(fi_id)) as entries:
                async for item in entries:
                    has_files = has_files or not item.is_folder
                    if item.is_folder:
                        folders.append(f"{folder}{item.name}/")
                    yield item
        except CallFailed as error:
            if error.code not in GONE:
                raise
            self._ids.forget(path)
            return
        is_settled = bool(folders) and not has_files and shows_today(folders, now)
        self._looks[path] = _Look(refreshed, is_settled)
        while len(self._looks) > REMEMBERED:
            self._looks.popitem(last=False)

    async def _folder_id(self, path: str) -> str | None:
        """Found name by name: a path as a whole may lead through another folder, whose name differs in case.

        What is not there is never remembered: it may be there after the next refresh.
        """
        missing = []
        level = path
        while (fi_id := TOP if level == ROOT else self._ids.get(level)) is None:
            missing.append(level)
            level = parent(level)
        for level in reversed(missing):
            asked = self._clock.monotonic()
            found = await self._finding.answer(level, partial(self._folder, level, fi_id))
            if found is None:
                return None
            fi_id = found.id
            self._ids.remember({level: fi_id}, asked)
        return fi_id

    async def _folder(self, path: str, within: str, _: int) -> Item | None:
        called = name(path)
        found = await self._client.check_path(called, within=within) if called else None
        if called and (found is None or (found.is_folder and found.name == called)):
            return found
        # Nothing can be asked for by no name; and a file, or a folder of nearly that name, may hide the very one.
        async with aclosing(self._client.list_folder(within)) as entries:
            async for item in entries:
                if item.is_folder and item.name == called:
                    return item
        # People write the settings: the case of their folders' names is theirs to choose.
        roots = {place.folder for places in self._places().values() for place in places}
        return found if found is not None and found.is_folder and not is_below(path, roots) else None


class AccessAnywhereLog:
    """An open log file. Its etag is not known: Access Anywhere tells none."""

    etag = ""

    def __init__(self, file: LogFile, download: Download, size: int) -> None:
        """`size`: the index's, for want of a better one."""
        self.size = size if download.size is None else download.size
        self._file = file
        self._download = download

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Its chunks. Raises `LogStoreUnavailable` where fewer bytes come than were promised."""
        with _translated(self._file):
            async for chunk in self._download:
                yield chunk


def _of_folder(place: Place) -> Place:
    """People write `trail` where they mean the folder: `trail/`."""
    if not place.prefix or place.prefix.endswith("/"):
        return place
    return Place(place.folder, f"{place.prefix}/")


def _not_shown(file: LogFile) -> LogMissing:
    return LogMissing(
        f"{_name(file)}: Access Anywhere shows no folder for it: set the log source's `folder`, or have its bucket shown"
    )


def _path(place: Place, key: str) -> str:
    """Where a place shows an object."""
    return f"{place.folder}/{key.removeprefix(place.prefix)}"


def _folder_path(place: Place, prefix: str) -> str:
    """Where a place shows a prefix that ends in `/`, or the whole bucket."""
    return _path(place, prefix).removesuffix("/")


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
