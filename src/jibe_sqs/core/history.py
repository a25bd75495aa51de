"""The history of folders: which log files changed them, and which refreshes ran. For operators; no decision depends on it.

An entry is small, however large its log file is: beyond some folders, the rest is one tree that contains them.
"""

from collections.abc import Iterable, Sequence
from itertools import islice, takewhile
from typing import Final

import msgspec

from jibe_sqs.core.model import Folder, SkipReason
from jibe_sqs.core.plan import Counts, Plan

MAX_FOLDERS: Final = 20
"""Folders in an entry."""
MAX_BUCKETS: Final = 10
"""Buckets in an entry whose skipped changes are counted."""
MAX_TEXT: Final = 500
"""Characters that are kept of an error, and of the name of a file."""
_CHANGES_SKIPPED: Final = (SkipReason.OWN_WRITE, SkipReason.IGNORED, SkipReason.NOT_MAPPED, SkipReason.BEFORE_SYNC)
"""The reasons for skipping changes of objects. Other records change nothing."""


class FileRead(msgspec.Struct, frozen=True, tag="read", omit_defaults=True):
    """A log file, or the records in a message, was read, and everything in it is done.

    `file`: `s3://BUCKET/KEY`; empty for a message. `events`: changes that asked for a refresh. `first`, `last`: the times of
    all changes (seconds since the epoch); 0 if unknown. `more`: folders that are not listed; all are in the tree `rest`.
    `skipped`: bucket -> reason -> number of changes. `own_writes`: rule -> an example of a principal whose changes it skipped.
    """

    file: str = ""
    events: int = 0
    first: float = 0.0
    last: float = 0.0
    folders: tuple[Folder, ...] = ()
    more: int = 0
    rest: Folder | None = None
    skipped: dict[str, dict[str, int]] = {}
    own_writes: dict[str, str] = {}


class FolderRefreshed(msgspec.Struct, frozen=True, tag="refresh", omit_defaults=True):
    """A refresh has ended. `seconds`: its duration. `reason`: a word of `RefreshReason`.

    `error`: the class of its error, and `text` the error's text; empty after a success.
    """

    folder: Folder
    seconds: float = 0.0
    reason: str = ""
    error: str = ""
    text: str = ""


HistoryEntry = FileRead | FolderRefreshed


class Remembered(msgspec.Struct, frozen=True):
    """An entry. `at`: when it was recorded, in seconds since the epoch by the local clock."""

    at: float
    entry: HistoryEntry


class HistoryQuestion(msgspec.Struct, frozen=True):
    """The entries that concern these folders, or skipped changes of this bucket. The newest `limit` since `since`.

    `trees`: paths of folders that count with everything below them.
    `any_file`: every log file, whatever it changed, and nothing else. `since`: seconds since the epoch, local clock.
    """

    paths: tuple[str, ...] = ()
    bucket: str = ""
    trees: tuple[str, ...] = ()
    any_file: bool = False
    since: float = float("-inf")
    limit: int = 1000

    def concerns(self, entry: HistoryEntry) -> bool:
        """Whether the entry is among them."""
        if self.any_file:
            return isinstance(entry, FileRead)
        if isinstance(entry, FolderRefreshed):
            return self._is_wanted(entry.folder)
        if self.bucket in entry.skipped:
            return True
        return any(map(self._is_wanted, entry.folders)) or (entry.rest is not None and self._is_wanted(entry.rest))

    def ancestors(self) -> list[str]:
        """The paths above the wanted ones, whose trees contain them."""
        return sorted({above for path in (*self.paths, *self.trees) for above in _above(path)})

    def _is_wanted(self, folder: Folder) -> bool:
        for path in (*self.paths, *self.trees):
            if folder.path == path or (folder.tree and _is_below(path, folder.path)):
                return True
        return any(_is_below(folder.path, path) for path in self.trees)


def file_read(plan: Plan, file: str = "") -> FileRead | None:
    """The entry for a plan that is complete. None if it has no changes of objects."""
    skipped = {
        bucket: found
        for bucket, counts in plan.buckets.items()
        if counts.skipped and (found := _changes_skipped(counts))
    }
    events = plan.events
    if not events and not skipped:
        return None
    folders = plan.folders
    if plan.changes:
        folders = dict.fromkeys([*folders, *(folder for change in plan.changes for folder in change.folders)])
    listed = tuple(islice(folders, MAX_FOLDERS))
    rest = list(islice(folders, MAX_FOLDERS, None))
    first, last = plan.span
    return FileRead(
        file=file[:MAX_TEXT],
        events=events,
        first=first,
        last=last,
        folders=listed,
        more=len(rest),
        rest=_common(rest) if rest else None,
        skipped=dict(list(skipped.items())[:MAX_BUCKETS]),
        own_writes={
            rule[:MAX_TEXT]: changes.principal for rule, changes in list(plan.own_writes.items())[:MAX_BUCKETS]
        },
    )


def _changes_skipped(counts: Counts) -> dict[str, int]:
    return {reason.value: counts.skipped[reason] for reason in _CHANGES_SKIPPED if reason in counts.skipped}


def folder_refreshed(folder: Folder, *, seconds: float, reason: str, error: Exception | None) -> FolderRefreshed:
    """The entry for a refresh that has ended."""
    return FolderRefreshed(
        folder,
        seconds=round(seconds, 3),
        reason=reason,
        error=type(error).__name__ if error else "",
        text=str(error)[:MAX_TEXT] if error else "",
    )


def _common(folders: Sequence[Folder]) -> Folder:
    """The smallest tree that contains all of them."""
    first, last = (pick(folder.path for folder in folders).split("/") for pick in (min, max))
    same = list(takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False)))
    return Folder("/".join(name for name, _ in same) or "/", tree=True)


def _is_below(path: str, above: str) -> bool:
    return path.startswith(f"{above.rstrip('/')}/")


def _above(path: str) -> Iterable[str]:
    while path.strip("/"):
        path = path.rpartition("/")[0]
        yield path or "/"
