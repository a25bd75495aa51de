"""The slowest folders of the last hour, and those that cannot be refreshed."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from jibe_sqs.core.model import Folder
from jibe_sqs.ports import RefreshOutcome
from jibe_sqs.telemetry.status import FolderStatus

KEPT_FOR: Final = 3600.0
"""Seconds for which a slow refresh is remembered."""
MAX_SLOW: Final = 50
MAX_FAILING: Final = 200
"""Folders that are kept. More are only counted elsewhere."""
SLOW: Final = 1.0
"""Seconds. A quicker refresh is not slow."""
MAX_PATH: Final = 1000
MAX_REASON: Final = 300
"""Characters that are kept."""


class FolderTimes:
    """Observes refreshes that have ended."""

    def __init__(self, wall_clock: Callable[[], float] = time.time) -> None:
        self._wall_clock = wall_clock
        self._slow: dict[Folder, FolderStatus] = {}
        self._failing: dict[Folder, FolderStatus] = {}

    def observe(self, outcome: RefreshOutcome) -> None:
        """Take in a refresh."""
        folder = outcome.folder
        if outcome.error is not None:
            if folder in self._failing or len(self._failing) < MAX_FAILING:
                self._failing[folder] = self._status(outcome)
            return
        self._succeeded(folder)
        if outcome.seconds >= SLOW:
            self._slow[folder] = self._status(outcome)
            if len(self._slow) > MAX_SLOW:
                self._forget()

    @property
    def slowest(self) -> list[FolderStatus]:
        """The slowest first."""
        self._forget()
        return sorted(self._slow.values(), key=lambda each: -each.seconds)

    @property
    def failing(self) -> list[FolderStatus]:
        """Folders whose last refresh failed, the first that failed first."""
        return sorted(self._failing.values(), key=lambda each: each.since or 0.0)

    @property
    def failing_folders(self) -> list[Folder]:
        """The same folders, in no order."""
        return list(self._failing)

    def refreshed_elsewhere(self, began: Mapping[Folder, float]) -> list[Folder]:
        """Forget the failures of folders that another process refreshed later. Returns these folders.

        `began`: when the last successful refresh of each folder began, by any process (seconds since the epoch).
        """
        found = [
            folder
            for folder, at in began.items()
            if (failed := self._failing.get(folder)) is not None and at > failed.at - failed.seconds
        ]
        self.forget(found)
        return found

    def forget(self, folders: Iterable[Folder]) -> None:
        """Forget the failures of these folders."""
        for folder in folders:
            self._failing.pop(folder, None)

    def _succeeded(self, folder: Folder) -> None:
        if not self._failing:
            return
        self._failing.pop(folder, None)
        if folder.tree:
            top = folder.path.rstrip("/")
            for each in [each for each in self._failing if each.path == top or each.path.startswith(f"{top}/")]:
                del self._failing[each]

    def _forget(self) -> None:
        """Forget what is old, and the quickest if there are too many."""
        oldest = self._wall_clock() - KEPT_FOR
        kept = [(folder, each) for folder, each in self._slow.items() if each.at >= oldest]
        kept.sort(key=lambda each: -each[1].seconds)
        self._slow = dict(kept[:MAX_SLOW])

    def _status(self, outcome: RefreshOutcome) -> FolderStatus:
        now, folder = self._wall_clock(), outcome.folder
        known = self._failing.get(folder)
        since = None
        if outcome.error is not None:
            since = known.since if known else now - outcome.waited
        return FolderStatus(
            path=folder.path[:MAX_PATH],
            tree=folder.tree,
            seconds=outcome.seconds,
            at=now,
            since=since,
            error="" if outcome.error is None else f"{type(outcome.error).__name__}: {outcome.error}"[:MAX_REASON],
        )
