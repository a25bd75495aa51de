"""Finds the id of a folder by its path, with few calls.

A folder is found name by name, from the nearest folder above whose id is known. A look-up of the whole path could lead
through another folder, whose name differs in case. The first few look-ups in one folder ask for their names. The others
share a listing of the folder, with a thousand names in each call.

    exact look-up      A listing may answer "not found": the caller then refreshes the folder above and looks again.
    inexact look-up    "Not found" means that the folder is gone, so only a look-up of the name may answer it.
"""

import sys
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import aclosing

import msgspec
from cachetools import TLRUCache

from jibe_sqs.adapters.access_anywhere.wire.answers import Item
from jibe_sqs.adapters.access_anywhere.wire.client import GONE, PAGE, AccessAnywhere
from jibe_sqs.adapters.access_anywhere.wire.paths import ROOT, TOP, is_below, joined, name, parent
from jibe_sqs.concurrency.single_flight import SingleFlight
from jibe_sqs.core.errors import CallFailed
from jibe_sqs.ports import Clock

ABSENCE_SECONDS = 5.0
"""Seconds for which a listing may answer "not found". New folders appear by refreshes, and nearly all of these are ours."""

MAX_NAMES = 10_000
"""The most names in a listing that may answer "not found". `KnownIds` must not evict any of them in that time."""

MAX_NAMES_BYTES = 10_000_000
"""Memory of the names of one listing: about 20,000 of them. The names after these are looked up one by one."""

MAX_LISTED_FOLDERS = 10_000
"""The most folders whose listings may answer "not found"."""

ENTRY_BYTES = 350
"""Memory of a known id, beside the texts of its path and itself."""

MAX_LOOKUPS = 2
"""How many look-ups by name may run in one folder at a time. Further ones share a listing."""


class Located(msgspec.Struct, frozen=True, gc=False):
    """The id of a folder. `is_exact` is False if the case of a name in its path differs."""

    id: str
    is_exact: bool


class Names(msgspec.Struct, frozen=True, gc=False):
    """The ids of a folder's subfolders, by name. `is_whole` is False if the folder has more entries than were read."""

    ids: dict[str, str]
    is_whole: bool


class FolderIds:
    """Finds folders. Every call raises only `AccessAnywhereError`s.

    `roots` returns the paths of the mapped folders, as known now. The case of their names may differ from the settings.
    """

    def __init__(self, client: AccessAnywhere, clock: Clock, *, roots: Callable[[], Collection[str]]) -> None:
        self._client = client
        self._clock = clock
        self._roots = roots
        self._known = KnownIds(clock)
        self._listed_whole: TLRUCache[str, float] = TLRUCache(
            MAX_LISTED_FOLDERS, ttu=lambda _fi_id, asked, _now: asked + ABSENCE_SECONDS, timer=clock.monotonic
        )
        self._listing: set[str] = set()
        self._lookups: Counter[str] = Counter()
        self._found: SingleFlight[Item | None] = SingleFlight()
        self._names: SingleFlight[Names] = SingleFlight()
        self._subfolders: SingleFlight[list[Item]] = SingleFlight()

    async def find(self, path: str, *, exact: bool = True) -> str | None:
        """The id of the folder. Returns None if Access Anywhere does not know it.

        If not `exact`, a folder whose name differs in case counts if there is no other; and None is then certain.
        """
        found = await self._locate(path, exact=exact)
        return found.id if found else None

    async def below(self, path: str) -> dict[str, str]:
        """The ids of its subfolders, by path. Empty if the folder is gone."""
        found = await self._locate(path, exact=False)
        if found is None:
            return {}
        asked = self._clock.monotonic()
        ids = {joined(path, folder.name): folder.id for folder in await self._all_in(found.id)}
        if found.is_exact:
            self._known.remember(ids, asked)
        return ids

    def forget(self, path: str) -> None:
        """Forget the id of this folder, because it was refused."""
        self._known.forget(path)

    def refreshed(self, fi_id: str) -> None:
        """Report that this folder was refreshed: it may have new subfolders."""
        self._listed_whole.pop(fi_id, None)
        self._listing.discard(fi_id)

    def forget_absences(self) -> None:
        """Report that unknown folders were refreshed: any folder may have new subfolders."""
        self._listed_whole.clear()
        self._listing.clear()

    async def _locate(self, path: str, *, exact: bool) -> Located | None:
        missing = []
        level = path
        while (fi_id := self._known.get(level)) is None and level != ROOT:
            missing.append(level)
            level = parent(level)
        here = Located(fi_id or TOP, is_exact=True)
        for level in reversed(missing):
            # Another look-up may have found it meanwhile.
            if here.is_exact and (known := self._known.get(level)) is not None:
                here = Located(known, is_exact=True)
                continue
            asked = self._clock.monotonic()
            found = await self._find_in(here, level, exact=exact)
            if found is None:
                return None
            # Up to the mapped folders, the names come from the settings, and their case may differ.
            is_named = found.name == name(level) or not is_below(level, self._roots())
            here = Located(found.id, is_exact=here.is_exact and is_named)
            if exact and not here.is_exact:
                return None
            # An inexact result is not remembered: the folder with the exact name may appear.
            if here.is_exact:
                self._known.remember({level: here.id}, asked)
        return here

    async def _find_in(self, above: Located, path: str, *, exact: bool) -> Item | None:
        """Find the folder of that path in the folder above it: by its exact name, or else by its name in another case."""
        called, fi_id = name(path), above.id
        if exact and fi_id in self._listed_whole and is_below(path, self._roots()):
            return None
        if called and self._lookups[fi_id] >= MAX_LOOKUPS:
            # One page for each waiting look-up: the listing then costs no more than a call for each of them.
            listed = await self._names.answer(fi_id, lambda waiting: self._list(above, parent(path), waiting))
            if called in listed.ids:
                return Item(id=listed.ids[called], name=called, is_folder=True)
            if exact and listed.is_whole and is_below(path, self._roots()):
                return None
        found = None
        if called:
            self._lookups[fi_id] += 1
            try:
                found = await self._found.answer(
                    (fi_id, called), lambda _: self._client.check_path(called, within=fi_id)
                )
            finally:
                self._lookups[fi_id] -= 1
                if not self._lookups[fi_id]:
                    del self._lookups[fi_id]
            if found is None or (found.is_folder and found.name == called):
                return found
        # An empty name cannot be looked up. And a look-up ignores case and type, while S3 may have `a`, `A/b` and `a/b`.
        folders = await self._all_in(fi_id)
        chosen = [folder for folder in folders if folder.name == called]
        chosen += [found] if found is not None and found.is_folder else []
        chosen += [folder for folder in folders if folder.name.casefold() == called.casefold()]
        return chosen[0] if chosen else None

    async def _list(self, folder: Located, path: str, waiting: int) -> Names:
        self._listing.add(folder.id)
        try:
            asked = self._clock.monotonic()
            names = await self._names_in(folder.id, waiting * PAGE)
            if folder.is_exact:
                self._known.remember({joined(path, called): found for called, found in names.ids.items()}, asked)
                # `_listing` lacks the folder if it was refreshed meanwhile.
                if names.is_whole and len(names.ids) <= MAX_NAMES and folder.id in self._listing:
                    self._listed_whole[folder.id] = asked
            return names
        finally:
            self._listing.discard(folder.id)

    async def _names_in(self, fi_id: str, most: int) -> Names:
        """Read the folders among the first `most` entries: a folder may have a million files and few subfolders."""
        ids: dict[str, str] = {}
        seen = size = 0
        try:
            async with aclosing(self._client.list_folder(fi_id)) as entries:
                async for entry in entries:
                    seen += 1
                    if entry.is_folder:
                        ids[entry.name] = entry.id
                        size += ENTRY_BYTES + sys.getsizeof(entry.name)
                    if seen == most or size > MAX_NAMES_BYTES:
                        return Names(ids, is_whole=False)
        except CallFailed as error:
            if error.code not in GONE:
                raise
        return Names(ids, is_whole=True)

    async def _all_in(self, fi_id: str) -> list[Item]:
        return await self._subfolders.answer(fi_id, lambda _: self._subfolders_of(fi_id))

    async def _subfolders_of(self, fi_id: str) -> list[Item]:
        """Returns an empty list if the folder is gone."""
        try:
            return await self._client.subfolders(fi_id)
        except CallFailed as error:
            if error.code not in GONE:
                raise
            return []


class KnownIds:
    """The ids of recently used folders, by path. They save most of the look-ups in a burst of events.

    A folder that is renamed in Access Anywhere keeps its id, which then belongs to another path. So an id is trusted for
    one minute only. The most recently used folders are kept: 25 MB of them, which are about 50,000. In a burst these are the folders
    above the stale ones, which are far fewer. A folder that waits for its refresh keeps its own id and needs no entry.
    """

    def __init__(self, clock: Clock, *, most: int = 25_000_000, max_age: float = 60.0) -> None:
        """`most`: bytes. `max_age`: seconds."""
        self._ids: TLRUCache[str, _KnownId] = TLRUCache(
            most,
            ttu=lambda _path, known, _now: known.asked + max_age,
            timer=clock.monotonic,
            getsizeof=lambda known: known.size,
        )

    def get(self, path: str) -> str | None:
        """The id of the folder. Returns None if it is unknown or too old."""
        known = self._ids.get(path)
        return known.id if known else None

    def remember(self, ids: dict[str, str], asked: float) -> None:
        """Remember ids by path. `asked`: when the server was asked for them (monotonic); a later answer is never replaced."""
        for path, fi_id in ids.items():
            known = self._ids.get(path)
            if known is None or known.asked <= asked:
                # A path may have many thousands of characters, and each may take four bytes.
                self._ids[path] = _KnownId(fi_id, asked, ENTRY_BYTES + sys.getsizeof(path) + sys.getsizeof(fi_id))

    def forget(self, path: str) -> None:
        """Forget the id of this folder."""
        self._ids.pop(path, None)


class _KnownId(msgspec.Struct, frozen=True, gc=False):
    id: str
    asked: float
    size: int
