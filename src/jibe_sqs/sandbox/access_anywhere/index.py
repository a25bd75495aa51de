"""The index: what Access Anywhere shows of S3. It does no I/O: its callers pass what they found in S3.

It is a tree of folders: the root, one folder for each provider, below it one for each bucket (or the provider's
folder shows its bucket directly), below it one for each level of the keys. Names keep their case. A look-up prefers
the exact name, and otherwise ignores case. A folder and a file may have the same name (`a/b` and `a` are both valid
keys). Paths start with `/`; the root's path is empty.
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
    """All files and folders, by id and by path."""

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
        """Show a provider, with the names of its buckets."""
        self.providers[provider.name] = provider
        folder = self._new_folder(self.root, provider.name)
        if not provider.is_bucket:
            self._show_folders(folder, provider.buckets, listed=0.0)
        return folder

    def remove(self, provider: str) -> None:
        """Remove a provider and everything below it."""
        del self.providers[provider]
        self.remove_folder(self.root.folders[provider])

    def bucket_folders(self, bucket: str) -> Iterator[Folder]:
        """The folders that show the bucket, or its keys below a prefix."""
        for top in self.root.folders.values():
            folder = top if top.bucket else top.folders.get(bucket)
            if folder is not None and folder.bucket == bucket:
                yield folder

    def item(self, item_id: int) -> Item | None:
        return self._items.get(item_id)

    def had_item(self, item_id: int) -> bool:
        """Whether this id belonged to an item that was removed."""
        return 0 <= item_id < self._next_id and item_id not in self._items

    def find(self, path: str, start: Folder) -> Item | None:
        """The item at a path below a folder.

        An empty name in the path is a folder's name (`a//b` is a valid key), or is ignored.
        """
        *names, last = path.removeprefix("/").split("/")
        here = start
        for name in names:
            if (step := here.folder(name)) is not None:
                here = step
            elif name:
                return None
        return here.item(last) or (None if last else here)

    def refresh(self, folder: Folder, names: Iterable[str], objects: Iterable[StoredObject], *, listed: float) -> None:
        """Make a folder show the result of a listing that began at `listed`: its files, and the names of its folders.

        A listing that began before the one that the folder shows is ignored.
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
        """The same for a folder and everything below it, from a listing of all levels."""
        files: defaultdict[str, list[StoredObject]] = defaultdict(list)
        for seen in objects:
            # A key that ends in `/` is the marker of a folder, not a file.
            files[prefix_of(seen.key)] += [seen] if name_of(seen.key) else []
        # In the order of the listing: of two keys that share a name, the later one is shown.
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
            # Also below a folder that was listed later and is therefore unchanged.
            waiting += (sub for name, sub in folder.folders.items() if name in names[folder.prefix])

    def add_folder(self, folder: Folder, name: str) -> Folder:
        """Show a folder that was created through Access Anywhere. S3 has no empty folders: a refresh removes it while
        it is empty.

        Names are not case-sensitive here: an existing folder whose name differs only in case is returned.
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
        """Show a file under another key below `top`, with the same id. Missing folders are created."""
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
        """Show a folder and everything below it in another place, with the new keys of its files."""
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
        """Remove a folder and everything below it."""
        if folder.parent is not None:
            del folder.parent.folders[folder.name]
            folder.parent.changed()
        for each in [*folder.below()]:
            for file in each.files.values():
                del self._items[file.id]
            del self._items[each.id]

    def folder_of(self, top: Folder, key: str) -> Folder | None:
        """The folder that shows the key, or would show it if the object existed.

        None if the index does not have that folder.
        """
        here: Folder | None = top
        for name in key.removeprefix(top.prefix).split("/")[:-1]:
            here = here and self._subfolder(here, name)
        return here

    def show_object(self, top: Folder, seen: StoredObject, *, at: float) -> None:
        """Show one object below `top`, as it was at `at`. Missing folders are created."""
        here = top
        for name in seen.key.removeprefix(top.prefix).split("/")[:-1]:
            known = self._subfolder(here, name)
            if known is None and here.listed > at:
                # A later listing has shown that this folder does not exist.
                return
            here = known or self._new_folder(here, name)
        if name_of(seen.key) and here.listed <= at:
            self._show_at(here, seen, at)

    def remove_object(self, folder: Folder, key: str, *, at: float) -> None:
        """Remove an object that did not exist at `at`."""
        file = folder.files.get(name_of(key))
        # With ignored case, the name may belong to another key.
        if file is not None and file.seen.key == key and folder.listed <= at:
            del self._items[folder.files.pop(file.name).id]
            folder.changed()
        folder.touched = max(folder.touched, at)
        self.journals.note(folder.bucket, key, None, at=at)

    def remove_empty_folder(self, folder: Folder) -> None:
        """Remove a folder if it is empty."""
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
        """Create a folder whose name the parent does not have yet."""
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
            # The content is the same, so the uploader's details are still right.
            file.content_type, file.local_time = known.content_type, known.local_time
        folder.files[name] = self._register(file)
        return file

    def _remove_stale(self, folder: Folder, listed: float) -> bool:
        """Remove a folder and everything below it, except parts that were seen after the listing began.

        Returns whether it is gone.
        """
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
        """The name as a key for comparison within a folder."""
        return name.casefold() if self._case_insensitive else name

    def _id(self) -> int:
        self._next_id += 1
        return self._next_id - 1

    def _register(self, item: Registered) -> Registered:
        self._items[item.id] = item
        return item


def name_of(key: str) -> str:
    """The part after the last slash."""
    return key[key.rfind("/") + 1 :]


def prefix_of(key: str) -> str:
    """The part up to and including the last slash. Empty if there is no slash."""
    return key[: key.rfind("/") + 1]


def _is_unchanged(old: StoredObject, new: StoredObject) -> bool:
    # HEAD returns whole seconds, and a listing may return fractions.
    return (old.key, old.etag, old.size, int(old.modified)) == (new.key, new.etag, new.size, int(new.modified))
