"""The index: what Access Anywhere believes is in S3. Pure; it learns only what it is told.

A tree of folders: the root, a folder for each provider, below it one for each bucket (or the provider's folder is the
bucket itself), below that one for each level of the keys. Names are kept as they are and found whatever their case, the
exact one first. A folder and a file may have the same name (`a/b` and `a` are both good keys). Paths start with `/`; the
root's is empty.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TypeVar

from jibe_sqs.sandbox.access_anywhere.config import Provider
from jibe_sqs.sandbox.access_anywhere.items import File, Folder, Item
from jibe_sqs.sandbox.access_anywhere.journals import Journals
from jibe_sqs.sandbox.access_anywhere.storage import StoredObject

Registered = TypeVar("Registered", File, Folder)


class Index:
    """All that is known, by id and by path."""

    def __init__(self, providers: Iterable[Provider], *, case_insensitive: bool = False) -> None:
        self.providers: dict[str, Provider] = {}
        self._case_insensitive = case_insensitive
        self._next_id = 0
        self._items: dict[int, Item] = {}
        self.journals = Journals()
        self.root = self._register(Folder(self._id()))
        for provider in providers:
            self.add(provider)

    def add(self, provider: Provider) -> Folder:
        """Show a provider, with its buckets' names."""
        self.providers[provider.name] = provider
        folder = self._new_folder(self.root, provider.name)
        if not provider.is_bucket:
            self._show_folders(folder, provider.buckets, listed=0.0)
        return folder

    def remove(self, provider: str) -> None:
        """Show it no more, nor anything below it."""
        del self.providers[provider]
        self.remove_folder(self.root.folders[provider])

    def bucket_folders(self, bucket: str) -> Iterator[Folder]:
        """The folders that show the bucket, or what is below some prefix of its keys."""
        for top in self.root.folders.values():
            folder = top if top.bucket else top.folders.get(bucket)
            if folder is not None and folder.bucket == bucket:
                yield folder

    def item(self, item_id: int) -> Item | None:
        return self._items.get(item_id)

    def had_item(self, item_id: int) -> bool:
        """Whether there was such an item that is no more."""
        return 0 <= item_id < self._next_id and item_id not in self._items

    def find(self, path: str, start: Folder) -> Item | None:
        """What a path leads to from a folder. An empty name is a name (`a//b` is a good key), or nothing at all."""
        *names, last = path.removeprefix("/").split("/")
        here = start
        for name in names:
            if (step := here.folder(name)) is not None:
                here = step
            elif name:
                return None
        return here.item(last) or (None if last else here)

    def refresh(self, folder: Folder, names: Iterable[str], objects: Iterable[StoredObject], *, listed: float) -> None:
        """Make a folder show what a listing, begun at `listed`, found: files as they are, folders by name only.

        A listing begun before the one that it shows tells nothing new.
        """
        if listed < folder.listed:
            return
        self._show_folders(folder, names, listed=listed)
        distinct = {self._name_key(name_of(o.key)): o for o in objects}
        fresh = {name_of(o.key): o for o in distinct.values()}
        for name in folder.files.keys() - fresh.keys():
            del self._items[folder.files.pop(name).id]
        for name, seen in fresh.items():
            known = folder.files.get(name)
            if known is None or not _is_unchanged(known.seen, seen):
                self._show_file(folder, seen)
        folder.listed = listed
        folder.touched = max(folder.touched, listed)
        folder.changed()

    def refresh_tree(self, top: Folder, objects: Iterable[StoredObject], *, listed: float) -> None:
        """The same for a folder and all below it, by a listing of all levels."""
        files: defaultdict[str, list[StoredObject]] = defaultdict(list)
        for seen in objects:
            # A key that ends in `/` is a folder's marker, not a file.
            files[prefix_of(seen.key)] += [seen] if name_of(seen.key) else []
        # In their order: of two that share a name, the later is shown.
        names: defaultdict[str, dict[str, None]] = defaultdict(dict)
        for prefix in files:
            while prefix != top.prefix:
                below, prefix = prefix[:-1], prefix_of(prefix[:-1])  # noqa: PLW2901
                if name_of(below) in names[prefix]:
                    break
                names[prefix][name_of(below)] = None
        waiting = [top]
        while waiting:
            folder = waiting.pop()
            self.refresh(folder, names[folder.prefix], files[folder.prefix], listed=listed)
            # Also below one that was listed later, and so stays as it is.
            waiting += (sub for name, sub in folder.folders.items() if name in names[folder.prefix])

    def add_folder(self, folder: Folder, name: str) -> Folder:
        """Show a folder made through Access Anywhere. S3 has no empty folders: a refresh before it has a file ends it.

        Names are not case-sensitive: a folder whose name differs in case is the one that is shown already.
        """
        return folder.folder(name) or self._new_folder(folder, name)

    def add_upload(
        self, folder: Folder, seen: StoredObject, *, content_type: str, local_time: float | None, at: float
    ) -> File:
        """Show an object that was written through Access Anywhere."""
        file = self._show_at(folder, seen, at)
        file.content_type, file.local_time = content_type or None, local_time
        return file

    def move_file(self, file: File, top: Folder, seen: StoredObject, *, at: float) -> File:
        """Show a file, with its id, at another key below a folder; and the folders that lead to it."""
        old = file.parent
        if old.files.get(file.name) is file:
            del old.files[file.name]
            old.changed()
        old.touched = max(old.touched, at)
        self.journals.note(old.bucket, file.seen.key, None, at=at)
        here = top
        for name in seen.key.removeprefix(top.prefix).split("/")[:-1]:
            here = self._subfolder(here, name) or self._new_folder(here, name)
        del self._items[self._show_at(here, seen, at).id]
        moved = self._register(replace(file, parent=here, name=name_of(seen.key), seen=seen))
        here.files[moved.name] = moved
        return moved

    def move_folder(self, folder: Folder, parent: Folder, name: str, *, at: float) -> None:
        """Show a folder, and all below it, in another place, with the keys that its files will have there."""
        if folder.parent is not None:
            del folder.parent.folders[folder.name]
            folder.parent.touched = max(folder.parent.touched, at)
            folder.parent.changed()
        folder.parent, folder.name = parent, name
        parent.folders[name] = folder
        parent.touched = max(parent.touched, at)
        parent.changed()
        for each in folder.below():
            above = each.parent or parent
            each.path, each.prefix = f"{above.path}/{each.name}", f"{above.prefix}{each.name}/"
            each.provider, each.bucket = above.provider, above.bucket
            each.touched = max(each.touched, at)
            for file in each.files.values():
                file.seen = replace(file.seen, key=each.prefix + file.name)

    def remove_folder(self, folder: Folder) -> None:
        """Show a folder no more, nor anything below it."""
        if folder.parent is not None:
            del folder.parent.folders[folder.name]
            folder.parent.changed()
        for each in [*folder.below()]:
            for file in each.files.values():
                del self._items[file.id]
            del self._items[each.id]

    def folder_of(self, top: Folder, key: str) -> Folder | None:
        """The folder that shows the key, or would if there were such an object; None if it is not known."""
        here: Folder | None = top
        for name in key.removeprefix(top.prefix).split("/")[:-1]:
            here = here and self._subfolder(here, name)
        return here

    def show_object(self, top: Folder, seen: StoredObject, *, at: float) -> None:
        """Show one object below a folder, as it was looked at; and the folders that lead to it."""
        here = top
        for name in seen.key.removeprefix(top.prefix).split("/")[:-1]:
            known = self._subfolder(here, name)
            if known is None and here.listed > at:
                # A later listing knows that there is nothing any more.
                return
            here = known or self._new_folder(here, name)
        if name_of(seen.key) and here.listed <= at:
            self._show_at(here, seen, at)

    def remove_object(self, folder: Folder, key: str, *, at: float) -> None:
        """Show an object no more that was looked for and was not there."""
        file = folder.files.get(name_of(key))
        # Another key may have that name.
        if file is not None and file.seen.key == key and folder.listed <= at:
            del self._items[folder.files.pop(file.name).id]
            folder.changed()
        folder.touched = max(folder.touched, at)
        self.journals.note(folder.bucket, key, None, at=at)

    def remove_empty_folder(self, folder: Folder) -> None:
        """Show an empty folder no more."""
        if folder.parent is not None and not folder.contents() and self.shows(folder):
            del folder.parent.folders[folder.name]
            del self._items[folder.id]
            folder.parent.changed()

    def shows(self, folder: Folder) -> bool:
        """Whether the folder is still in the index."""
        return self._items.get(folder.id) is folder

    def files(self) -> Iterator[File]:
        for folder in self.root.below():
            yield from folder.files.values()

    def _show_folders(self, folder: Folder, names: Iterable[str], *, listed: float) -> None:
        wanted = set({self._name_key(name): name for name in names}.values())
        for name in folder.folders.keys() - wanted:
            if self._remove_stale(folder.folders[name], listed):
                del folder.folders[name]
        for name in sorted(wanted - folder.folders.keys()):
            self._new_folder(folder, name)
        folder.changed()

    def _new_folder(self, parent: Folder, name: str) -> Folder:
        """A new one, of a name that the parent doesn't have."""
        provider = self.providers[parent.provider or name]
        if parent.bucket:
            bucket, prefix = parent.bucket, f"{parent.prefix}{name}/"
        elif parent is not self.root or provider.is_bucket:
            bucket, prefix = provider.buckets[0] if provider.is_bucket else name, provider.prefix
        else:
            bucket, prefix = "", ""
        path = f"{parent.path}/{name}"
        folder = self._register(Folder(self._id(), parent, name, path, provider.name, bucket, prefix))
        parent.folders[name] = folder
        parent.changed()
        return folder

    def _show_at(self, folder: Folder, seen: StoredObject, at: float) -> File:
        name = name_of(seen.key)
        if self._case_insensitive:
            for other in [n for n in folder.files if n != name and self._name_key(n) == self._name_key(name)]:
                del self._items[folder.files.pop(other).id]
        folder.touched = max(folder.touched, at)
        folder.changed()
        self.journals.note(folder.bucket, seen.key, seen, at=at)
        return self._show_file(folder, seen)

    def _show_file(self, folder: Folder, seen: StoredObject) -> File:
        name = name_of(seen.key)
        known = folder.files.get(name)
        file = File(known.id if known else self._id(), folder, name, seen)
        if known and (known.seen.etag, known.seen.size) == (seen.etag, seen.size):
            # The same content: what its uploader said of it still holds.
            file.content_type, file.local_time = known.content_type, known.local_time
        folder.files[name] = self._register(file)
        return file

    def _remove_stale(self, folder: Folder, listed: float) -> bool:
        """Take a folder away with all below it, except what was looked at after this listing began and knows better."""
        if folder.touched > listed and folder.contents():
            return False
        folder.folders = {name: sub for name, sub in folder.folders.items() if not self._remove_stale(sub, listed)}
        for file in folder.files.values():
            del self._items[file.id]
        folder.files = {}
        folder.changed()
        if folder.folders:
            return False
        del self._items[folder.id]
        return True

    def _subfolder(self, folder: Folder, name: str) -> Folder | None:
        return folder.folder(name) if self._case_insensitive else folder.folders.get(name)

    def _name_key(self, name: str) -> str:
        """What a folder's items are told apart by."""
        return name.casefold() if self._case_insensitive else name

    def _id(self) -> int:
        self._next_id += 1
        return self._next_id - 1

    def _register(self, item: Registered) -> Registered:
        self._items[item.id] = item
        return item


def name_of(key: str) -> str:
    """What follows the last slash."""
    return key[key.rfind("/") + 1 :]


def prefix_of(key: str) -> str:
    """What goes before, and the slash; empty if there is none."""
    return key[: key.rfind("/") + 1]


def _is_unchanged(old: StoredObject, new: StoredObject) -> bool:
    # S3 tells whole seconds of one object, and of a listing perhaps fractions.
    return (old.key, old.etag, old.size, int(old.modified)) == (new.key, new.etag, new.size, int(new.modified))
