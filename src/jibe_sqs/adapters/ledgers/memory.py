"""A ledger in memory, for trials and tests. A restart loses it; then folders are refreshed again, which is harmless."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from jibe_sqs.adapters.ledgers.claims import claimed_until
from jibe_sqs.adapters.ledgers.identity import counts, etag_of, is_same
from jibe_sqs.core.history import HistoryEntry, HistoryQuestion, Remembered
from jibe_sqs.core.model import Folder, LogFile
from jibe_sqs.core.principals import Seen
from jibe_sqs.ports import Validity

MAX_HISTORY: Final = 2000
"""Entries of the history, some of them with twenty folders. A ledger in memory is for trials."""


class MemoryLedger:
    """The `Ledger` port, in dictionaries."""

    def __init__(self, wall_clock: Callable[[], float] = time.time, *, validity: Validity | None = None) -> None:
        self.validity = validity or Validity()
        self._wall_clock = wall_clock
        self._files: dict[tuple[str, str], tuple[str | None, str, float, str]] = {}
        self._notes: dict[str, str] = {}
        self._claims: dict[str, tuple[str, float]] = {}
        """Name -> the owner, and until when its claim holds."""
        self._folders: dict[Folder, tuple[float, float]] = {}
        self._principals: dict[str, tuple[Seen, float]] = {}
        self._history: deque[Remembered] = deque(maxlen=MAX_HISTORY)

    def change_rules(self, rules: str) -> None:
        """Files finish under these rules from now on."""
        self.validity = replace(self.validity, rules=rules)

    async def is_finished(self, file: LogFile) -> bool:
        """Whether this file, in this version, was finished."""
        if (known := self._files.get((file.bucket, file.key))) is None:
            return False
        version, etag, written, rules = known
        return is_same(file, version, etag) and counts(self.validity, rules, written)

    async def unfinished(self, files: Sequence[LogFile]) -> list[LogFile]:
        """The files that are not finished."""
        return [file for file in files if not await self.is_finished(file)]

    async def finish(self, file: LogFile, etag: str) -> None:
        """Record that the file was finished."""
        self._files[file.bucket, file.key] = (
            file.version,
            etag_of(file, etag),
            self._wall_clock(),
            self.validity.rules,
        )

    async def watermarks(self, folders: Iterable[Folder]) -> dict[Folder, float]:
        """When the last successful refresh of each folder began."""
        return {folder: self._folders[folder][0] for folder in folders if folder in self._folders}

    async def refreshed(self, folder: Folder, began: float) -> None:
        """Record a successful refresh."""
        known, _ = self._folders.get(folder, (float("-inf"), 0.0))
        self._folders[folder] = (max(known, began), self._wall_clock())

    async def observe(self, principals: Mapping[str, Seen]) -> None:
        """Record the principals that changed or read objects."""
        for who, seen in principals.items():
            known, _ = self._principals.get(who, (Seen(seen.first, seen.last, 0), 0.0))
            known.merge(seen)
            self._principals[who] = known, self._wall_clock()

    async def principals(self) -> dict[str, Seen]:
        """All recorded principals."""
        return {who: msgspec.structs.replace(seen) for who, (seen, _) in self._principals.items()}

    async def note(self, name: str, text: str) -> None:
        """Remember a small fact."""
        self._notes[name] = text

    async def notes(self, names: Iterable[str]) -> dict[str, str]:
        """The facts with these names."""
        return {name: self._notes[name] for name in names if name in self._notes}

    async def claim(self, name: str, owner: str, seconds: float) -> bool:
        """Claim a task for `seconds`. False if another owner's claim still holds."""
        now = self._wall_clock()
        claimed_by, until = self._claims.get(name, (owner, 0.0))
        if claimed_by != owner and until > now:
            return False
        self._claims[name] = owner, claimed_until(now, seconds)
        return True

    async def record(self, entry: HistoryEntry) -> None:
        """Remember an entry of the history."""
        self._history.append(Remembered(self._wall_clock(), entry))

    async def history(self, question: HistoryQuestion) -> list[Remembered]:
        """The entries of the history that answer the question, the newest last."""
        found = [each for each in self._history if each.at >= question.since and question.concerns(each.entry)]
        return found[-question.limit :]

    async def prune(self, before: float) -> None:
        """Delete what was recorded before this time."""
        self._files = {file: entry for file, entry in self._files.items() if entry[2] >= before}
        self._folders = {folder: entry for folder, entry in self._folders.items() if entry[1] >= before}
        self._principals = {who: entry for who, entry in self._principals.items() if entry[1] >= before}
