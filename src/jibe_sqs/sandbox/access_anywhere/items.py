"""The files and folders of the index. Times are seconds since the epoch; paths start with `/`, and the root's is empty."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from jibe_sqs.sandbox.access_anywhere.storage import StoredObject

TRASH: Final = ".trash"
"""The name of the folder, at the top of a bucket, that holds deleted files."""


@dataclass(slots=True, eq=False)
class File:
    """One object as it was when last looked at."""

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

    @property
    def top(self) -> "Folder | None":
        """The folder that shows the file's bucket."""
        return self.parent.top

    @property
    def in_trash(self) -> bool:
        return self.parent.in_trash


@dataclass(slots=True, eq=False)
class Folder:
    """A folder; new ones are empty until they are refreshed."""

    id: int
    parent: "Folder | None" = None
    name: str = ""
    path: str = ""
    provider: str = ""
    bucket: str = ""
    prefix: str = ""
    """Of keys: empty, or ending in `/`."""
    listed: float = 0.0
    """When the listing that it shows was begun."""
    touched: float = 0.0
    """When the latest of what it shows was looked at: then, or later."""
    refreshed: float = 0.0
    """When it was last brought up to date."""
    folders: dict[str, "Folder"] = field(default_factory=dict)
    files: dict[str, File] = field(default_factory=dict)
    _ordered: Sequence["File | Folder"] | None = None
    _by_folded_name: Mapping[str, "File | Folder"] | None = None

    @property
    def is_bucket(self) -> bool:
        return bool(self.bucket) and self.parent is not None and not self.parent.bucket

    @property
    def top(self) -> "Folder | None":
        """The folder that shows the bucket of this folder. None above buckets."""
        here: Folder | None = self
        while here is not None and not here.is_bucket:
            here = here.parent
        return here

    @property
    def in_trash(self) -> bool:
        """Whether it is the trash of a bucket, or in it."""
        here: Folder | None = self
        while here is not None and here.parent is not None:
            if here.name == TRASH and here.parent.is_bucket:
                return True
            here = here.parent
        return False

    def contents(self) -> Sequence["File | Folder"]:
        """Folders first, each kind by name: an order that paging can rely on."""
        if self._ordered is None:
            folders, files = self.folders, self.files
            self._ordered = [*(folders[n] for n in sorted(folders)), *(files[n] for n in sorted(files))]
        return self._ordered

    def folder(self, name: str) -> "Folder | None":
        """The folder of that name, else one whose name differs only in case."""
        if (found := self.folders.get(name)) is None:
            other = self._ignoring_case(name)
            found = other if isinstance(other, Folder) else None
        return found

    def item(self, name: str) -> "File | Folder | None":
        """As it is named, before in another case; a folder before a file."""
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
            # Of several, the first of them: folders before files.
            self._by_folded_name = {item.name.casefold(): item for item in reversed(self.contents())}
        return self._by_folded_name.get(name.casefold())


Item = File | Folder
