"""The outcomes of refreshes: the last error of each folder, for those who ask, and all of them for those who listen."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import msgspec
from cachetools import LRUCache

from jibe_sqs.core.model import Folder
from jibe_sqs.ports import RefreshOutcome

MAX_FOLDERS: Final = 10_000
"""Folders whose last error is kept."""
MAX_REASON: Final = 1000
"""Characters of an error that are kept."""


class LastError(msgspec.Struct, frozen=True):
    """The error of a folder's last refresh. `at`: when it failed (seconds since the epoch, local clock)."""

    error: str
    reason: str
    at: float


class Outcomes:
    """Observes all refreshes of the service. A folder has no last error if its last refresh succeeded."""

    def __init__(self, wall_clock: Callable[[], float] = time.time) -> None:
        self._wall_clock = wall_clock
        self._errors: LRUCache[Folder, LastError] = LRUCache(MAX_FOLDERS)
        self._listeners: list[Callable[[RefreshOutcome], None]] = []

    def observe(self, outcome: RefreshOutcome) -> None:
        """Take in a refresh that has ended."""
        if outcome.error is None:
            self._errors.pop(outcome.folder, None)
        else:
            self._errors[outcome.folder] = LastError(
                type(outcome.error).__name__, str(outcome.error)[:MAX_REASON], self._wall_clock()
            )
        for listener in self._listeners:
            listener(outcome)

    def last_error(self, folder: Folder) -> LastError | None:
        """The error of the folder's last refresh, if that failed."""
        return self._errors.get(folder)

    @contextmanager
    def heard_by(self, listener: Callable[[RefreshOutcome], None]) -> Iterator[None]:
        """Call the listener after each refresh, during the block."""
        self._listeners.append(listener)
        try:
            yield
        finally:
            self._listeners.remove(listener)
