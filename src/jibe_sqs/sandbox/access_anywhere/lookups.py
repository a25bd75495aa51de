"""Files and folders by the ids that callers give."""

from jibe_sqs.sandbox.access_anywhere.index import Index
from jibe_sqs.sandbox.access_anywhere.items import File, Folder, Item
from jibe_sqs.sandbox.access_anywhere.refusals import Refused


class Lookups:
    """Each raises `Refused`: `not_found` or `trashed`. `in_trash` accepts what is in the trash as well."""

    def __init__(self, index: Index) -> None:
        self._index = index

    def item(self, text: str, *, in_trash: bool = False) -> Item:
        item_id = int(text) if text.isdecimal() else -1
        item = self._index.item(item_id)
        if item is None:
            # Clients have to know both codes, so an object that is gone from S3 has one or the other.
            if self._index.had_item(item_id) and item_id % 2:
                raise Refused("trashed", "This is in the trash")
            raise Refused("not_found", "This does not exist")
        if item.in_trash and not in_trash:
            raise Refused("trashed", "This is in the trash")
        return item

    def folder(self, text: str, *, in_trash: bool = False) -> Folder:
        """An empty id is the root's."""
        found = self.item(text, in_trash=in_trash) if text else self._index.root
        if not isinstance(found, Folder):
            raise Refused("not_found", "This is not a folder")
        return found

    def file(self, text: str, *, in_trash: bool = False) -> File:
        found = self.item(text, in_trash=in_trash)
        if not isinstance(found, File):
            raise Refused("not_found", "This is not a file")
        return found
