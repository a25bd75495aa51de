"""Reads both sides of one folder, and compares them."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from typing import Any, Final

import msgspec

from jibe_sqs.commands.sorted_entries import SortedEntries
from jibe_sqs.core.comparison import Difference, Entry, Kind, Outcome, Subfolder, View, outcomes
from jibe_sqs.core.globs import KeyFilter
from jibe_sqs.core.key_names import leading_names
from jibe_sqs.ports import Index, Listing

TURN: Final = 1000
"""Outcomes after which other tasks get their turn."""


class Level(msgspec.Struct, frozen=True):
    """One folder to compare: the keys with `prefix`, which is empty or ends in `/`, and the folder at `path`.

    `id`: of the folder, if it is known. `kind`: if it is set, only one side has the folder, or it cannot be shown.
    `ignore`: keys that match one of these do not count.
    """

    bucket: str
    prefix: str
    path: str
    id: str = ""
    kind: Kind | None = None
    ignore: tuple[KeyFilter, ...] = ()

    def below(self, found: Subfolder) -> "Level":
        """The level of a folder in it. What is below a folder that only one side has is on that side only."""
        name = found.name
        kind = found.kind if self.kind is not Kind.UNSHOWABLE else self.kind
        return Level(self.bucket, f"{self.prefix}{name}/", f"{self.path}/{name}", found.id, kind, self.ignore)

    def ignores(self, entry: Entry) -> bool:
        """Whether the object does not count, or nothing in the folder does."""
        if not self.ignore:
            return False
        key = self.prefix + entry.name
        return any(each.covers(f"{key}/") if entry.is_folder else each.matches(key) for each in self.ignore)


class Levels:
    """Compares folders, each by itself. Raises `LogStoreError`s of S3's side, `AccessAnywhereError`s of the other."""

    def __init__(self, listing: Listing, index: Index, *, view: Callable[[], View] = View) -> None:
        """`view` is called for each folder: what counts may depend on the time."""
        self._listing = listing
        self._index = index
        self._view = view

    async def compare(self, level: Level) -> AsyncGenerator[Outcome, None]:
        """The outcomes of one folder. Only the sides that have the folder are read."""
        view = self._view()
        with SortedEntries() as stored, SortedEntries() as shown:
            reading: list[Coroutine[Any, Any, None]] = []
            if level.kind is not Kind.EXTRA:
                reading.append(stored.add_all(self._stored(level)))
            if level.kind is Kind.EXTRA or level.kind is None:
                reading.append(self._add_shown(level, shown))
            await _all_of(reading)
            for number, outcome in enumerate(outcomes(stored, shown, view), 1):
                yield _of_kind(outcome, level.kind)
                if not number % TURN:
                    await asyncio.sleep(0)

    async def subfolders(self, level: Level) -> AsyncGenerator[Subfolder, None]:
        """The folders that S3 has, without asking Access Anywhere."""
        async with aclosing(self._stored(level)) as entries:
            async for entry in entries:
                if entry.is_folder:
                    yield Subfolder(entry.name, kind=level.kind if leading_names([entry.name]) else Kind.UNSHOWABLE)

    async def _add_shown(self, level: Level, shown: SortedEntries) -> None:
        fi_id = level.id or await self._index.folder(level.path)
        if fi_id is not None:
            await shown.add_all(self._shown(level, fi_id))

    async def _stored(self, level: Level) -> AsyncGenerator[Entry, None]:
        start = len(level.prefix)
        async with aclosing(self._listing.level(level.bucket, level.prefix)) as found:
            async for each in found:
                if isinstance(each, str):
                    entry = Entry(each[start:-1], is_folder=True)
                elif len(each.file.key) > start:
                    entry = Entry(each.file.key[start:], size=each.file.size or 0, modified=each.modified)
                else:
                    # The object whose key is the prefix itself only marks the folder.
                    continue
                if not level.ignores(entry):
                    yield entry

    async def _shown(self, level: Level, fi_id: str) -> AsyncGenerator[Entry, None]:
        async with aclosing(self._index.entries(fi_id)) as found:
            async for each in found:
                if not level.ignores(each):
                    yield each


def _of_kind(outcome: Outcome, kind: Kind | None) -> Outcome:
    """What is missing in a folder that cannot be shown cannot be shown either."""
    if kind is Kind.UNSHOWABLE and isinstance(outcome, Difference):
        return Difference(kind, outcome.name)
    return outcome


async def _all_of(works: list[Coroutine[Any, Any, None]]) -> None:
    """Do all of them at the same time. Raises the first error, after all have ended."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
