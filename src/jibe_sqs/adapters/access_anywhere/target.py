"""Which calls make a folder of Access Anywhere true again.

A refresh covers one folder, and Access Anywhere can only refresh a folder that it knows. So a folder that it does not
know, because it is new or because it is gone, is looked for by a refresh of its parent, which may need its own parent
first, up to the mapped folder. A folder waits only for folders above it, and a tree only for plain folders: nothing
waits in a circle. Nobody holds a slot while waiting for another folder.

    known               began, refresh; and the parent's, if it is empty now: storage has no empty folders
    unknown             began, the parent's refresh; then: found -> known, not found -> gone, and the parent shows it
    vanishes meanwhile  as unknown
    tree                began, each folder's refresh from the top down, following what each then shows
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection

from jibe_sqs.adapters.access_anywhere.answers import Item
from jibe_sqs.adapters.access_anywhere.client import GONE, TOP, AccessAnywhere, nothing
from jibe_sqs.adapters.access_anywhere.paths import ROOT, is_below, joined, name, parent
from jibe_sqs.core.errors import CallFailed, FolderUnknown
from jibe_sqs.core.model import Folder
from jibe_sqs.ports import Clock, SyncTarget

ROUNDS = 3
"""How often a folder may vanish between being found and being refreshed."""


class RefreshTarget(SyncTarget):
    """Refreshes folders of Access Anywhere, at most `concurrency` at a time.

    `roots`: the mapped folders' paths; none is taken for gone, and only to find them is anything above them refreshed.
    `refresh_other`: how the refresh of another folder is had, which must begin after it was asked for; compose it with
    whatever lets many who ask at once share one. By default nothing is shared.
    """

    def __init__(
        self,
        client: AccessAnywhere,
        *,
        roots: Collection[str],
        clock: Clock,
        concurrency: int = 8,
        refresh_other: Callable[[Folder], Awaitable[None]] | None = None,
    ) -> None:
        self.refresh_other = refresh_other or self._refresh_alone
        self._client = client
        self._roots = frozenset(roots)
        self._concurrency = concurrency
        self._slots = asyncio.Semaphore(concurrency)
        self._ids = FolderIds(clock)

    async def refresh(self, folder: Folder, began: Callable[[], None]) -> None:
        """Make the folder's index true again. Raises `AccessAnywhereError`; `FolderUnknown` for a mapping's mistake."""
        if folder.tree:
            await self._refresh_tree(folder.path, began)
        else:
            await self._refresh_folder(folder.path, began)

    async def _refresh_folder(self, path: str, began: Callable[[], None]) -> None:
        fi_id = await self._find(path)
        for _ in range(ROUNDS):
            if fi_id is not None and await self._refresh_known(path, fi_id, began):
                return
            above = parent(path)
            if above == ROOT:
                raise unknown(path)
            began()
            await self.refresh_other(Folder(above))
            fi_id = await self._find(path, exact=False)
            if fi_id is None:
                if not is_below(path, self._roots):
                    raise unknown(path)
                return
        raise CallFailed(f"{path}: Access Anywhere shows this folder, but cannot refresh it", code="not_found")

    async def _refresh_known(self, path: str, fi_id: str, began: Callable[[], None]) -> bool:
        """False if the folder is not there any more."""
        try:
            is_empty = await self._client.refresh_folder(fi_id, began=began, slot=self._slots)
        except CallFailed as error:
            if error.code not in GONE:
                raise
            self._ids.forget(path)
            return False
        if is_empty and is_below(path, self._roots):
            # `began` is not called: this says nothing of what appears in the folder itself from now on.
            await self.refresh_other(Folder(parent(path)))
        return True

    async def _refresh_tree(self, top: str, began: Callable[[], None]) -> None:
        began()
        stale = [top]
        running: set[asyncio.Task[list[str]]] = set()
        try:
            while stale or running:
                # Tasks for as many as can run, not for every folder of a tree that may have a million.
                while stale and len(running) < self._concurrency:
                    running.add(asyncio.create_task(self._refresh_level(stale.pop())))
                done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    running.discard(task)
                    stale += task.result()
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _refresh_level(self, path: str) -> list[str]:
        """Refresh one folder; returns the paths of its subfolders."""
        await self.refresh_other(Folder(path))
        fi_id = await self._find(path, exact=False)
        if fi_id is None:
            return []
        paths = {joined(path, folder.name): folder.id for folder in await self._subfolders(fi_id)}
        self._ids.remember(paths)
        return list(paths)

    async def _find(self, path: str, *, exact: bool = True) -> str | None:
        """The folder's `fi_id`; None if Access Anywhere does not know it.

        Found name by name, from the nearest folder above whose id is known: a path as a whole may lead through another
        folder, whose name differs in case. Unless `exact`, the names may differ so too: it is all that there is.
        """
        missing = []
        level = path
        while (fi_id := self._ids.get(level)) is None and level != ROOT:
            missing.append(level)
            level = parent(level)
        is_exact = True
        for level in reversed(missing):
            found = await self._find_in(fi_id or TOP, name(level))
            # People write the mapping: its folders' case is theirs to choose.
            if found is not None and found.name != name(level) and is_below(level, self._roots):
                is_exact = False
            if found is None or (exact and not is_exact):
                return None
            fi_id = found.id
            # One of nearly that name is not remembered: the very one may turn up.
            if is_exact:
                self._ids.remember({level: fi_id})
        return fi_id or TOP

    async def _find_in(self, fi_id: str, called: str) -> Item | None:
        """The folder of that name, or else the one that Access Anywhere takes for it."""
        found = None
        if called:
            found = await self._client.check_path(called, within=fi_id)
            if found is None or (found.is_folder and found.name == called):
                return found
        # Nothing can be asked for by no name; and S3 lets `a`, `A/b` and `a/b` be, which the look-up does not tell apart.
        folders = await self._subfolders(fi_id)
        chosen = [folder for folder in folders if folder.name == called]
        chosen += [found] if found is not None and found.is_folder else []
        chosen += [folder for folder in folders if folder.name.casefold() == called.casefold()]
        return chosen[0] if chosen else None

    async def _subfolders(self, fi_id: str) -> list[Item]:
        """None for a folder that is gone."""
        try:
            return await self._client.subfolders(fi_id)
        except CallFailed as error:
            if error.code not in GONE:
                raise
            return []

    async def _refresh_alone(self, folder: Folder) -> None:
        # A task of its own: a key may have 500 folders in it, and awaits nest only as deep as calls do.
        await asyncio.create_task(self.refresh(folder, nothing))


class FolderIds:
    """Ids of folders lately seen, by path: saves most of the look-ups in a burst.

    An id outlives its folder's renaming in Access Anywhere, and then belongs to another path. So it is trusted for a
    minute only, and the folders are at most 50,000.
    """

    def __init__(self, clock: Clock, *, most: int = 50_000, max_age: float = 60.0) -> None:
        self._clock = clock
        self._most = most
        self._max_age = max_age
        self._seen: OrderedDict[str, tuple[str, float]] = OrderedDict()

    def get(self, path: str) -> str | None:
        """The id, if it is known and fresh."""
        fi_id, seen_at = self._seen.get(path, ("", 0.0))
        if not fi_id:
            return None
        if self._clock.monotonic() - seen_at > self._max_age:
            self.forget(path)
            return None
        return fi_id

    def remember(self, ids: dict[str, str]) -> None:
        """Ids just answered by the server, by path."""
        now = self._clock.monotonic()
        for path, fi_id in ids.items():
            self._seen[path] = (fi_id, now)
            self._seen.move_to_end(path)
        while len(self._seen) > self._most:
            self._seen.popitem(last=False)

    def forget(self, path: str) -> None:
        """The id is no good."""
        self._seen.pop(path, None)


def unknown(path: str) -> FolderUnknown:
    """The error, with its remedy."""
    return FolderUnknown(
        f"Access Anywhere has no folder {path!r}: check the spelling in the bucket mapping, that the provider is added "
        "and shows the bucket, and that the account may see it"
    )
