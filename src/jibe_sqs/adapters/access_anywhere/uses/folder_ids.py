"""The id of a folder, by its path, with as few calls as can be.

Found name by name, from the nearest folder above whose id is known: a path as a whole may lead through another folder,
whose name differs in case. The first few who look in the same folder ask for their names; the others share a listing
of it, a thousand names a call.

    an exact look-up       "no" costs whoever asked a refresh of the folder above, and then a second look: a listing will do
    one that is not exact  "no" means that the folder is gone: only the name itself, asked for, may say so
"""

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
"""Seconds for which a listing may say "no" again: only refreshes make folders appear, and nearly all of them are ours."""

MAX_NAMES = 10_000
"""Names of one folder that `KnownIds` is sure to keep that long."""

MAX_LISTED_FOLDERS = 10_000
"""Folders whose listing is remembered for that long."""

MAX_LOOKUPS = 2
"""How many look-ups in one folder may go on at a time before the rest share a listing."""


class Located(msgspec.Struct, frozen=True, gc=False):
    """A folder's id. Not `is_exact`: the case of a name differs."""

    id: str
    is_exact: bool


class Names(msgspec.Struct, frozen=True, gc=False):
    """The ids of a folder's subfolders, by name. Not `whole` if there were too many to go on."""

    ids: dict[str, str]
    is_whole: bool


class FolderIds:
    """Finds folders. `roots` returns the mapped ones, as known now. Every call raises only `AccessAnywhereError`s."""

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
        """The folder's id; None if Access Anywhere does not know it.

        Unless `exact`, the names may differ in case, for that is then all that there is; and None is certain.
        """
        found = await self._locate(path, exact=exact)
        return found.id if found else None

    async def below(self, path: str) -> dict[str, str]:
        """The ids of its subfolders, by path; none for a folder that is gone."""
        found = await self._locate(path, exact=False)
        if found is None:
            return {}
        asked = self._clock.monotonic()
        ids = {joined(path, folder.name): folder.id for folder in await self._all_in(found.id)}
        if found.is_exact:
            self._known.remember(ids, asked)
        return ids

    def forget(self, path: str) -> None:
        """Its id is no good."""
        self._known.forget(path)

    def refreshed(self, fi_id: str) -> None:
        """There may be new folders in it."""
        self._listed_whole.pop(fi_id, None)
        self._listing.discard(fi_id)

    def forget_absences(self) -> None:
        """There may be new folders in any folder."""
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
            # Somebody else may have found it while we looked for the one above.
            if here.is_exact and (known := self._known.get(level)) is not None:
                here = Located(known, is_exact=True)
                continue
            asked = self._clock.monotonic()
            found = await self._find_in(here, level, exact=exact)
            if found is None:
                return None
            # People write the mapping: its folders' case is theirs to choose.
            is_named = found.name == name(level) or not is_below(level, self._roots())
            here = Located(found.id, is_exact=here.is_exact and is_named)
            if exact and not here.is_exact:
                return None
            # One of nearly that name is not remembered: the very one may turn up.
            if here.is_exact:
                self._known.remember({level: here.id}, asked)
        return here

    async def _find_in(self, above: Located, path: str, *, exact: bool) -> Item | None:
        """The folder of that path in the one above it, or else the one that Access Anywhere takes for it."""
        called, fi_id = name(path), above.id
        if exact and fi_id in self._listed_whole and is_below(path, self._roots()):
            return None
        if called and self._lookups[fi_id] >= MAX_LOOKUPS:
            # A page for each who waits, and no more: it is they who would ask otherwise.
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
        # Nothing can be asked for by no name; and S3 lets `a`, `A/b` and `a/b` be, which the look-up does not tell apart.
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
                # Unless it was refreshed meanwhile.
                if names.is_whole and len(names.ids) <= MAX_NAMES and folder.id in self._listing:
                    self._listed_whole[folder.id] = asked
            return names
        finally:
            self._listing.discard(folder.id)

    async def _names_in(self, fi_id: str, most: int) -> Names:
        """Of the first `most` entries: a million files may lie between a folder's few subfolders."""
        ids: dict[str, str] = {}
        seen = 0
        try:
            async with aclosing(self._client.list_folder(fi_id)) as entries:
                async for entry in entries:
                    seen += 1
                    if entry.is_folder:
                        ids[entry.name] = entry.id
                    if seen == most:
                        break
        except CallFailed as error:
            if error.code not in GONE:
                raise
        return Names(ids, is_whole=seen < most)

    async def _all_in(self, fi_id: str) -> list[Item]:
        return await self._subfolders.answer(fi_id, lambda _: self._subfolders_of(fi_id))

    async def _subfolders_of(self, fi_id: str) -> list[Item]:
        """None for a folder that is gone."""
        try:
            return await self._client.subfolders(fi_id)
        except CallFailed as error:
            if error.code not in GONE:
                raise
            return []


class KnownIds:
    """Ids of folders lately seen, by path: saves most of the look-ups in a burst.

    An id outlives its folder's renaming in Access Anywhere, and then belongs to another path. So it is trusted for a
    minute only. The folders are at most 50,000, or 25 MB, those lately used: in a burst, the folders above the stale
    ones, of which there are far fewer. What waits to be refreshed has its own id in hand, and needs none of this.
    """

    def __init__(self, clock: Clock, *, most: int = 50_000, max_age: float = 60.0) -> None:
        self._ids: TLRUCache[str, _KnownId] = TLRUCache(
            most, ttu=lambda _path, known, _now: known.asked + max_age, timer=clock.monotonic
        )

    def get(self, path: str) -> str | None:
        """The id, if it is known and fresh."""
        known = self._ids.get(path)
        return known.id if known else None

    def remember(self, ids: dict[str, str], asked: float) -> None:
        """Ids that the server answered, by path, when it was `asked` (monotonic): a later answer is never replaced."""
        for path, fi_id in ids.items():
            known = self._ids.get(path)
            if known is None or known.asked <= asked:
                self._ids[path] = _KnownId(fi_id, asked)

    def forget(self, path: str) -> None:
        """The id is no good."""
        self._ids.pop(path, None)


class _KnownId(msgspec.Struct, frozen=True, gc=False):
    id: str
    asked: float
