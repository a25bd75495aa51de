"""What a comparison has found: counts of everything, and a few examples."""

import heapq
from collections import Counter
from typing import Any, Final

import msgspec

from jibe_sqs.core.comparison import Difference, Kind, Outcome, Same, Subfolder

MAX_EXAMPLES: Final = 20
MAX_FOLDERS: Final = 100
"""Folders with differences that are listed: those with the most."""
MAX_NAMES: Final = 20_000
"""Names of differences that are kept of one folder, as hashes: about 2 MB."""
WRONG: Final = (Kind.MISSING, Kind.STALE, Kind.EXTRA)
"""The kinds of differences that a refresh should repair."""


class FolderCounts:
    """The counts of one folder, and which objects differ."""

    def __init__(self) -> None:
        self.objects = 0
        self.counts: Counter[Kind] = Counter()
        self.examples: list[Difference] = []
        self._names: set[int] = set()

    @property
    def wrong(self) -> int:
        """The number of differences that a refresh should repair."""
        return sum(self.counts[kind] for kind in WRONG)

    @property
    def knows_all_names(self) -> bool:
        """Whether the names of all differences were kept."""
        return len(self._names) < MAX_NAMES

    def add(self, outcome: Outcome, only_in: "FolderCounts | None" = None) -> None:
        """Count an outcome. `only_in`: an earlier comparison. Only what was wrong then as well counts as wrong."""
        if isinstance(outcome, Subfolder):
            return
        if isinstance(outcome, Same):
            self.objects += 1
            return
        self.objects += outcome.kind is not Kind.EXTRA
        if only_in is None or outcome.kind not in WRONG or only_in.had(outcome):
            self.counts[outcome.kind] += 1
            if len(self._names) < MAX_NAMES:
                self._names.add(hash(outcome.name))
            if len(self.examples) < MAX_EXAMPLES:
                self.examples.append(outcome)

    def limit_to(self, earlier: "FolderCounts") -> None:
        """Count no more differences than the earlier comparison. It matters where not all of its names were kept."""
        if earlier.knows_all_names:
            return
        for kind in WRONG:
            self.counts[kind] = min(self.counts[kind], earlier.counts[kind])

    def had(self, difference: Difference) -> bool:
        """Whether this object differed in any way, or may have: a missing one that becomes stale is not right."""
        return not self.knows_all_names or hash(difference.name) in self._names


class DifferentFolder(msgspec.Struct, frozen=True, order=True):
    """A folder with differences. `prefix`: of its keys. `folder`: its path in Access Anywhere."""

    differences: int
    bucket: str
    prefix: str
    folder: str
    objects: int
    missing: int
    stale: int
    extra: int
    unshowable: int


class Example(msgspec.Struct, frozen=True):
    """One difference. `path`: where Access Anywhere shows it, or should."""

    kind: Kind
    bucket: str
    key: str
    path: str


class Failure(msgspec.Struct, frozen=True):
    """A folder that could not be compared or refreshed."""

    folder: str
    reason: str


class Totals:
    """The totals of a comparison. The number of differences of each kind is in `counts`."""

    def __init__(self) -> None:
        self.stage = "starting"
        """What is done now, for people."""
        self.folders = 0
        self.skipped = 0
        """Folders that the sample does not contain."""
        self.objects = 0
        self.counts: Counter[Kind] = Counter()
        self.repaired = 0
        self.failed = 0
        self.examples: list[Example] = []
        self.failures: list[Failure] = []
        self._worst: list[DifferentFolder] = []

    @property
    def differences(self) -> int:
        """Missing, stale and extra objects. What cannot be shown is no difference: nothing can repair it."""
        return sum(self.counts[kind] for kind in WRONG)

    @property
    def in_sync(self) -> bool:
        """Whether every folder was compared, and the index is true, but for what cannot be shown."""
        return not self.differences and not self.failed

    @property
    def worst(self) -> list[DifferentFolder]:
        """The folders with the most differences, the worst first."""
        return sorted(self._worst, reverse=True)

    def add(self, bucket: str, prefix: str, path: str, found: FolderCounts) -> None:
        """Add the counts of one folder."""
        self.folders += 1
        self.objects += found.objects
        self.counts += found.counts
        if not found.counts.total():
            return
        for each in found.examples[: MAX_EXAMPLES - len(self.examples)]:
            self.examples.append(Example(each.kind, bucket, prefix + each.name, f"{path}/{each.name}"))
        counts = {kind.value: found.counts[kind] for kind in Kind}
        entry = DifferentFolder(found.counts.total(), bucket, prefix, path, found.objects, **counts)
        (heapq.heappush if len(self._worst) < MAX_FOLDERS else heapq.heappushpop)(self._worst, entry)

    def fail(self, path: str, error: Exception) -> None:
        """Count a folder that could not be compared."""
        self.failed += 1
        if len(self.failures) < MAX_EXAMPLES:
            self.failures.append(Failure(path, str(error)))

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "in_sync": self.in_sync,
            "objects": self.objects,
            **{kind.value: self.counts[kind] for kind in Kind},
            "folders": self.folders,
            "repaired": self.repaired,
            "failed": self.failed,
            "differing": msgspec.to_builtins(self.worst),
            "examples": msgspec.to_builtins(self.examples),
            "failures": msgspec.to_builtins(self.failures),
        }
