"""The stale folders of a log file, and the trees that replace them when they take too much memory."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from jibe_sqs.core.decisions import TIME_PRECISION
from jibe_sqs.core.model import Folder, Refresh
from jibe_sqs.core.plan_sizes import PART, stale_size, text_size
from jibe_sqs.core.trees import Trees, below, starts_of_trees


class Stale(msgspec.Struct):
    """Folders that the same events of one bucket made stale: one folder for each place that shows the bucket.

    `earliest` and `latest` are the times of the first and the last of these events (seconds since the epoch).
    """

    bucket: str
    folders: tuple[Folder, ...]
    earliest: float
    latest: float
    events: int

    def add(self, earliest: float, latest: float, events: int) -> None:
        """Add events of these times."""
        # Not `min` and `max`: this is done for each event.
        if earliest < self.earliest:
            self.earliest = earliest
        if latest > self.latest:
            self.latest = latest
        self.events += events


class Needed(msgspec.Struct, frozen=True):
    """The part of a plan that still needs a refresh, by the watermarks.

    `already_refreshed`: bucket -> the number of events whose folders were all refreshed after the events.
    """

    stale: list[Stale] = []
    already_refreshed: Counter[str] = msgspec.field(default_factory=Counter)

    @property
    def folders(self) -> list[Folder]:
        """Each folder to refresh, once."""
        return list(self.newest)

    @property
    def newest(self) -> dict[Folder, float]:
        """The time of the last change in each folder to refresh (seconds since the epoch)."""
        found: dict[Folder, float] = {}
        for stale in self.stale:
            latest = stale.latest
            for folder in stale.folders:
                if latest > found.get(folder, float("-inf")):
                    found[folder] = latest
        return found


class _Part(msgspec.Struct):
    """The stale folders of one bucket in the same places. `tops`: the folders of these places."""

    bucket: str
    tops: tuple[str, ...]
    stale: dict[tuple[Folder, ...], Stale] = {}


class StaleFolders:
    """The stale folders of any number of events. Each event counts once, also if it is shown in several places."""

    def __init__(self) -> None:
        self._parts: dict[tuple[str, tuple[str, ...]], _Part] = {}
        self._trees = Trees()
        self._has_trees = False
        self._parts_size = self._folders_size = 0
        self._by_decision: dict[int, tuple[Refresh, Stale]] = {}
        """The decision that made an entry, by its identity: later events in the same folder have the same decision."""

    @property
    def size(self) -> int:
        """Bytes, with all that `needed` and `coarsen` add for a time. An estimate that is never too low."""
        return self._parts_size + self._folders_size

    @property
    def trees(self) -> int:
        """The number of trees that contain all later events below them. 0 before the first `coarsen`."""
        return len(self._trees)

    def __iter__(self) -> Iterator[Stale]:
        for part in self._parts.values():
            yield from part.stale.values()

    def add(self, bucket: str, decision: Refresh, time: float) -> bool:
        """Add one event. Returns whether this made a new entry."""
        known = self._by_decision.get(id(decision))
        if known is not None and known[1].bucket == bucket:
            known[1].add(time, time, 1)
            return False
        part = self._parts.get((bucket, decision.tops))
        if part is None:
            part = self._parts[bucket, decision.tops] = _Part(bucket, decision.tops)
            self._parts_size += PART + text_size(bucket) + sum(map(text_size, decision.tops))
        stale = self._merge(part, decision.folders, time, time, 1)
        if stale is None:
            return False
        self._by_decision[id(decision)] = decision, stale
        return True

    def coarsen(self, most: int) -> None:
        """Replace families of folders by trees, until all folders take at most this number of bytes.

        The savings are estimates: a folder in several places is saved only if all of its folders are. So the first attempt
        may save too little. The last attempt leaves only the trees of whole places, which may be more than `most`.
        """
        self._absorb(self._starts_of_trees())
        for goal in (most, most // 2, most // 8, float("-inf")):
            if self.size <= most:
                return
            self._absorb(starts_of_trees(self._costs(), self.size - goal))

    def needed(self, watermarks: Mapping[Folder, float]) -> Needed:
        """The folders with a change that a refresh may not have seen. `watermarks`: as for `Plan.needed`."""
        seen = self._seen(watermarks) if watermarks else ()
        needed = Needed()
        for stale in self:
            folders = stale.folders
            if len(folders) > 1 or folders[0] in seen:
                # Two places with the same folder may have the same tree.
                folders = tuple(dict.fromkeys(folder for folder in folders if folder not in seen))
            if folders:
                needed.stale.append(Stale(stale.bucket, folders, stale.earliest, stale.latest, stale.events))
            else:
                needed.already_refreshed[stale.bucket] += stale.events
        return needed

    def _seen(self, watermarks: Mapping[Folder, float]) -> set[Folder]:
        """The folders whose last change a refresh has seen."""
        latest: dict[Folder, float] = {}
        for stale in self:
            for folder in stale.folders:
                if folder in watermarks:
                    latest[folder] = max(stale.latest, latest.get(folder, stale.latest))
        return {folder for folder, moment in latest.items() if moment + TIME_PRECISION <= watermarks[folder]}

    def _merge(
        self, part: _Part, folders: tuple[Folder, ...], earliest: float, latest: float, events: int
    ) -> Stale | None:
        """Add events to the part, in the trees that contain their folders. Returns the entry if it is new."""
        if self._has_trees:
            folders = tuple(map(self._trees.of, part.tops, folders))
        known = part.stale.get(folders)
        if known is not None:
            known.add(earliest, latest, events)
            return None
        self._folders_size += stale_size(folders)
        stale = part.stale[folders] = Stale(part.bucket, folders, earliest, latest, events)
        return stale

    def _absorb(self, starts: Mapping[str, Iterable[str]]) -> None:
        """Add trees, and put all folders into the trees that contain them."""
        for top, starts_in_place in starts.items():
            self._trees.add(top, starts_in_place)
        self._has_trees = bool(self._trees)
        self._folders_size = 0
        self._by_decision.clear()
        for part in self._parts.values():
            before, part.stale = part.stale, {}
            for stale in before.values():
                self._merge(part, stale.folders, stale.earliest, stale.latest, stale.events)

    def _starts_of_trees(self) -> dict[str, set[str]]:
        """The trees of each place."""
        found: dict[str, set[str]] = {}
        for part in self._parts.values():
            for folders in part.stale:
                for top, folder in zip(part.tops, folders, strict=True):
                    if folder.tree:
                        found.setdefault(top, set()).add(below(folder.path))
        return found

    def _costs(self) -> dict[str, dict[str, int]]:
        """The bytes that are saved without each folder, by place."""
        costs: dict[str, dict[str, int]] = {}
        for part in self._parts.values():
            for folders in part.stale:
                for top, folder in zip(part.tops, folders, strict=True):
                    in_place, path = costs.setdefault(top, {}), below(folder.path)
                    in_place[path] = in_place.get(path, 0) + stale_size((folder,))
        return costs
