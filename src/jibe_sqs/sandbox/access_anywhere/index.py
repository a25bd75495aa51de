"""The index: what Access Anywhere believes is in S3. Pure; it learns only what it is told.

A tree of folders: the root, a folder for each provider, below it one for each bucket, below that one for each key
prefix. Names are kept as they are and found whatever their case, the exact one first. A folder and a file may have the
same name (`a/b` and `a` are both good keys).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from jibe_sqs.sandbox.access_anywhere.storage import StoredObject

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class File:
    """One object as it was when last looked at. Times are seconds since the epoch."""

    id: int
    parent: "Folder"
    name: str
    seen: StoredObject
    content_type: str | None = None
    """What an uploader said it was; otherwise its name tells."""
    local_time: float | None = None
    """The modification time that an uploader gave, if one did."""

    @property
    def path(self) -> str:
        return f"{self.parent.path}/{self.name}"


@dataclass(slots=True, eq=False)
class Folder:
    """A folder; new ones are empty until they are refreshed."""

    id: int
    parent: "Folder | None" = None
    name: str = ""
    provider: str = ""
    bucket: str = ""
    prefix: str = ""
    """Of keys: empty, or ending in `/`."""
    listed: float = 0.0
    """When the listing that it shows was begun."""
    refreshed: float = 0.0
    """When it was last brought up to date."""
    folders: dict[str, "Folder"] = field(default_factory=dict)
    files: dict[str, File] = field(default_factory=dict)
    _ordered: Sequence["File | Folder"] | None = None

    @property
    def path(self) -> str:
        """As users see it: starts with `/`; the root's is empty."""
        names = [self.provider, self.bucket, *self.prefix[:-1].split("/")]
        return "".join(f"/{name}" for name in names[: self.depth])

    @property
    def depth(self) -> int:
        """How many names its path has."""
        return bool(self.provider) + bool(self.bucket) + self.prefix.count("/")

    @property
    def is_bucket(self) -> bool:
        return bool(self.bucket) and not self.prefix

    def contents(self) -> Sequence["File | Folder"]:
        """Folders first, each kind by name: an order that paging can rely on."""
        if self._ordered is None:
            folders, files = self.folders, self.files
            self._ordered = [*(folders[n] for n in sorted(folders)), *(files[n] for n in sorted(files))]
        return self._ordered

    def changed(self) -> None:
        self._ordered = None

    def below(self) -> Iterator["Folder"]:
        """This folder and all folders below it."""
        waiting = [self]
        while waiting:
            yield (folder := waiting.pop())
            waiting.extend(folder.folders.values())


Item = File | Folder
Kept = TypeVar("Kept", File, Folder)


class Index:
    """All that is known, by id and by path."""

    def __init__(self, providers: Mapping[str, Sequence[str]]) -> None:
        self._next = 0
        self._items: dict[int, Item] = {}
        self.root = self._keep(Folder(self._id()))
        for provider, buckets in providers.items():
            folder = self._keep(Folder(self._id(), self.root, provider, provider))
            self.root.folders[provider] = folder
            self._show_folders(folder, buckets, listed=0.0)

    def item(self, item_id: int) -> Item | None:
        return self._items.get(item_id)

    def had(self, item_id: int) -> bool:
        """Whether there was such an item that is no more."""
        return 0 <= item_id < self._next and item_id not in self._items

    def find(self, path: str, start: Folder) -> Item | None:
        """What a path leads to from a folder. An empty name is a name (`a//b` is a good key), or nothing at all."""
        *names, last = path.removeprefix("/").split("/")
        here = start
        for name in names:
            if (step := _named(here.folders, name)) is not None:
                here = step
            elif name:
                return None
        # Exactly that, before that in another case; a folder before a file.
        found = here.folders.get(last) or here.files.get(last)
        return found or _named(here.folders, last) or _named(here.files, last) or (None if last else here)

    def refresh(self, folder: Folder, names: Iterable[str], objects: Iterable[StoredObject], *, listed: float) -> None:
        """Make a folder show what a listing, begun at `listed`, found: files as they are, folders by name only."""
        self._show_folders(folder, names, listed=listed)
        fresh = {o.key.removeprefix(folder.prefix): o for o in objects}
        for name in folder.files.keys() - fresh.keys():
            del self._items[folder.files.pop(name).id]
        for name, seen in fresh.items():
            known = folder.files.get(name)
            if known is None or not _same(known.seen, seen):
                self._show_file(folder, name, seen)
        folder.listed = listed
        folder.changed()

    def made(self, folder: Folder, name: str) -> Folder:
        """Show a folder made through Access Anywhere. S3 has no empty folders: a refresh before it has a file ends it."""
        self._show_folders(folder, [*folder.folders, name], listed=folder.listed)
        return folder.folders[name]

    def uploaded(
        self, folder: Folder, seen: StoredObject, *, content_type: str, local_time: float | None, at: float
    ) -> File:
        """Show an object that was written through Access Anywhere."""
        file = self._show_file(folder, seen.key.removeprefix(folder.prefix), seen)
        file.content_type, file.local_time = content_type or None, local_time
        folder.listed = max(folder.listed, at)
        folder.changed()
        return file

    def shows(self, folder: Folder) -> bool:
        """Whether the folder is still in the index."""
        return self._items.get(folder.id) is folder

    def files(self) -> Iterator[File]:
        for folder in self.root.below():
            yield from folder.files.values()

    def _show_folders(self, folder: Folder, names: Iterable[str], *, listed: float) -> None:
        wanted = set(names)
        for name in folder.folders.keys() - wanted:
            if self._vanished(folder.folders[name], listed):
                del folder.folders[name]
        for name in sorted(wanted - folder.folders.keys()):
            bucket, prefix = (folder.bucket, f"{folder.prefix}{name}/") if folder.bucket else (name, "")
            folder.folders[name] = self._keep(Folder(self._id(), folder, name, folder.provider, bucket, prefix))
        folder.changed()

    def _show_file(self, folder: Folder, name: str, seen: StoredObject) -> File:
        known = folder.files.get(name)
        file = self._keep(File(known.id if known else self._id(), folder, name, seen))
        folder.files[name] = file
        return file

    def _vanished(self, folder: Folder, listed: float) -> bool:
        """Take a folder away with all below it, except what was looked at after this listing began and knows better."""
        if folder.listed > listed and folder.contents():
            return False
        folder.folders = {name: sub for name, sub in folder.folders.items() if not self._vanished(sub, listed)}
        for file in folder.files.values():
            del self._items[file.id]
        folder.files = {}
        folder.changed()
        if folder.folders:
            return False
        del self._items[folder.id]
        return True

    def _id(self) -> int:
        self._next += 1
        return self._next - 1

    def _keep(self, item: Kept) -> Kept:
        self._items[item.id] = item
        return item


def _named(items: Mapping[str, T], name: str) -> T | None:
    """The item of that name, else one whose name differs only in case."""
    if name in items:
        return items[name]
    folded = name.casefold()
    return next((item for known, item in items.items() if known.casefold() == folded), None)


def _same(old: StoredObject, new: StoredObject) -> bool:
    # S3 tells whole seconds of one object, and of a listing perhaps fractions.
    return (old.etag, old.size, int(old.modified)) == (new.etag, new.size, int(new.modified))
