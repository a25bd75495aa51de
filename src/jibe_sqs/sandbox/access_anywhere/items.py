"""The files and folders of the index. Times: seconds since the epoch. Paths start with `/`; the root's
path is empty.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from jibe_sqs.sandbox.access_anywhere.storage import StoredObject

TRASH: Final = ".trash"
"""The name of the folder, at the top of a bucket, that contains deleted files."""


@dataclass(slots=True, eq=False)
class File:
    """One object as it was last seen."""

    id: int
    parent: "Folder"
    name: str
    seen: StoredObject
    content_type: str | None = None
    """The type that its uploader gave. None: the type follows from its name."""
    local_time: float | None = None
    """The modification time that its uploader gave."""

    @property
    def path(self) -> str:
        return f"{self.parent.path}/{self.name}"

    @property
    def top(self) -> "Folder | None":
        """The folder that shows the file's bucket."""
        return self.parent.top

    @property
    def in_trash(self) -> bool:
        return self.parent.in_trash


@dataclass(slots=True, eq=False)
class Folder:
    """A folder. A new one is empty until it is refreshed."""

    id: int
    parent: "Folder | None" = None
    name: str = ""
    path: str = ""
    provider: str = ""
    bucket: str = ""
    prefix: str = ""
    """The prefix of its keys. Empty, or ends in `/`."""
    listed: float = 0.0
    """When the listing that it shows began."""
    touched: float = 0.0
    """When the newest part of its contents was seen in S3; this is not before `listed`."""
    refreshed: float = 0.0
    """When its last refresh ended."""
    folders: dict[str, "Folder"] = field(default_factory=dict)
    files: dict[str, File] = field(default_factory=dict)
    _ordered: Sequence["File | Folder"] | None = None
    _by_folded_name: Mapping[str, "File | Folder"] | None = None

    @property
    def is_bucket(self) -> bool:
        return bool(self.bucket) and self.parent is not None and not self.parent.bucket

    @property
    def top(self) -> "Folder | None":
        """The folder that shows the bucket of this folder. None for the root and for folders that contain buckets."""
        ancestor: Folder | None = self
        while ancestor is not None and not ancestor.is_bucket:
            ancestor = ancestor.parent
        return ancestor

    @property
    def in_trash(self) -> bool:
        """Whether this is the trash of a bucket, or is in it."""
        ancestor: Folder | None = self
        while ancestor is not None and ancestor.parent is not None:
            if ancestor.name == TRASH and ancestor.parent.is_bucket:
                return True
            ancestor = ancestor.parent
        return False

    def contents(self) -> Sequence["File | Folder"]:
        """Folders first, then files, each sorted by name. Paging relies on this order."""
        if self._ordered is None:
            folders, files = self.folders, self.files
            self._ordered = [*(folders[n] for n in sorted(folders)), *(files[n] for n in sorted(files))]
        return self._ordered

    def folder(self, name: str) -> "Folder | None":
        """The folder with this name; otherwise one whose name differs only in case."""
        if (found := self.folders.get(name)) is None:
            other = self._ignoring_case(name)
            found = other if isinstance(other, Folder) else None
        return found

    def item(self, name: str) -> "File | Folder | None":
        """The item with this name, folders first; otherwise one whose name differs only in case."""
        return self.folders.get(name) or self.files.get(name) or self._ignoring_case(name)

    def changed(self) -> None:
        self._ordered = self._by_folded_name = None

    def below(self) -> Iterator["Folder"]:
        """This folder and all folders below it."""
        waiting = [self]
        while waiting:
            yield (folder := waiting.pop())
            waiting.extend(folder.folders.values())

    def _ignoring_case(self, name: str) -> "File | Folder | None":
        if self._by_folded_name is None:
            # Reversed, so that the first of several equal names wins: folders before files.
            self._by_folded_name = {item.name.casefold(): item for item in reversed(self.contents())}
        return self._by_folded_name.get(name.casefold())


Item = File | Folder
