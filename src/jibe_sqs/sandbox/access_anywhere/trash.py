"""The trash of each bucket: its folder `.trash`, in the index and in S3.

A deleted or overwritten file is moved there if its provider has a trash. Items in the trash keep their ids, and are
shown with `trash: true`. Calls with their former paths are answered with the code `trashed`.
"""

from jibe_sqs.sandbox.access_anywhere.index import Index
from jibe_sqs.sandbox.access_anywhere.items import TRASH, Folder, Item


class Trash:
    """Remembers the former places of the items in the trash."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._items: dict[tuple[int, str], int] = {}

    def takes(self, item: Item) -> bool:
        """Whether a deletion moves this item to the trash. A deletion in the trash is final."""
        provider = self._index.providers.get(item.top.provider) if item.top is not None else None
        return provider is not None and provider.trash and not item.in_trash

    def remember(self, item: Item) -> None:
        """Remember an item's place. Call it before the item is moved."""
        if item.parent is not None:
            self._items[item.parent.id, item.name.casefold()] = item.id

    def contains_path(self, path: str, start: Folder) -> bool:
        """Whether a path below a folder leads to an item in the trash, or led to one."""
        folder: Folder | None = start
        for name in path.strip("/").split("/"):
            if folder is None or folder.in_trash:
                break
            below = folder.item(name)
            if below is None:
                item_id = self._items.get((folder.id, name.casefold()))
                below = None if item_id is None else self._index.item(item_id)
                return below is not None and below.in_trash
            folder = below if isinstance(below, Folder) else None
        return folder is not None and folder.in_trash

    def free_name(self, top: Folder, name: str) -> str:
        """A name that the bucket's trash does not contain yet."""
        trash, free, n = top.folders.get(TRASH), name, 1
        while trash is not None and trash.item(free) is not None:
            n += 1
            free = f"{name} ({n})"
        return free
