"""Finds files and folders by the ids in calls."""

from jibe_sqs.sandbox.access_anywhere.index import Index
from jibe_sqs.sandbox.access_anywhere.items import File, Folder, Item
from jibe_sqs.sandbox.access_anywhere.refusals import Refused


class Lookups:
    """Each method raises `Refused` (`not_found` or `trashed`). `in_trash`: items in the trash are accepted."""

    def __init__(self, index: Index) -> None:
        self._index = index

    def item(self, text: str, *, in_trash: bool = False) -> Item:
        item_id = int(text) if text.isdecimal() else -1
        item = self._index.item(item_id)
        if item is None:
            # Clients must understand both codes, so an object that is gone gets one or the other, depending on its id.
            if self._index.had_item(item_id) and item_id % 2:
                raise Refused("trashed", "This is in the trash")
            raise Refused("not_found", "This does not exist")
        if item.in_trash and not in_trash:
            raise Refused("trashed", "This is in the trash")
        return item

    def folder(self, text: str, *, in_trash: bool = False) -> Folder:
        """An empty id means the root."""
        found = self.item(text, in_trash=in_trash) if text else self._index.root
        if not isinstance(found, Folder):
            raise Refused("not_found", "This is not a folder")
        return found

    def file(self, text: str, *, in_trash: bool = False) -> File:
        found = self.item(text, in_trash=in_trash)
        if not isinstance(found, File):
            raise Refused("not_found", "This is not a file")
        return found
