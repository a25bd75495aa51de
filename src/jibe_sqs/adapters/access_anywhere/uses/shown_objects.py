"""What Access Anywhere shows of single objects now, without a refresh."""

from collections.abc import Callable, Collection
from contextlib import aclosing
from typing import Final

import msgspec

from jibe_sqs.adapters.access_anywhere.uses.folder_ids import FolderIds
from jibe_sqs.adapters.access_anywhere.wire.answers import Item
from jibe_sqs.adapters.access_anywhere.wire.client import AccessAnywhere
from jibe_sqs.adapters.access_anywhere.wire.paths import name, parent
from jibe_sqs.core.comparison import Entry
from jibe_sqs.ports import Clock

MAX_ALIKE: Final = 5
"""Names that differ only in case that are returned."""


class ShownObject(msgspec.Struct, frozen=True):
    """`entry`: None if nothing of exactly that name is shown. `alike`: what is shown in its place."""

    entry: Entry | None = None
    alike: list[str] = []


class ShownObjects:
    """Finds objects. Raises only `AccessAnywhereError`s. `roots` returns the paths of the mapped folders."""

    def __init__(self, client: AccessAnywhere, clock: Clock, *, roots: Callable[[], Collection[str]]) -> None:
        self._client = client
        self._ids = FolderIds(client, clock, roots=roots)

    async def find(self, path: str, *, is_folder: bool = False) -> ShownObject:
        """The file of exactly this path, or the folder."""
        called = name(path)
        above = await self._ids.find(parent(path), exact=False)
        if above is None or not called:
            return ShownObject()
        found = await self._client.check_path(called, within=above)
        if found is None:
            return ShownObject()
        if found.name == called and found.is_folder is is_folder:
            return ShownObject(_entry(found))
        # The look-up ignores case, and knows no types. The right one may exist beside the one that it found.
        alike: list[str] = []
        async with aclosing(self._client.list_folder(above)) as items:
            async for item in items:
                if item.name == called and item.is_folder is is_folder:
                    return ShownObject(_entry(item))
                if item.name.casefold() == called.casefold() and len(alike) < MAX_ALIKE:
                    alike.append(f"{item.name}/" if item.is_folder else item.name)
        return ShownObject(alike=alike)


def _entry(item: Item) -> Entry:
    return Entry(item.name, item.is_folder, item.size, item.seen.timestamp() if item.seen else None)
