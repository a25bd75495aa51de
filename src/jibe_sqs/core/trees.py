"""Trees: which folders of a plan are replaced by trees of their common ancestors, so that the plan takes less memory.

A family is a folder with several folders of the plan directly below it, where "directly" skips folders without branches. The
largest family is folded first. A family waits for the larger families inside it, so that trees are made as far down as
possible, and few folders elsewhere stay as they are. All ancestors lie in one place: a tree never goes above the place.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from heapq import heapify, heappop, heappush
from itertools import pairwise

import msgspec

from jibe_sqs.core.model import Folder
from jibe_sqs.core.plan_sizes import tree_size


class Trees:
    """The trees of each place, none inside another. A place is known by its folder, `top`."""

    def __init__(self) -> None:
        self._starts: dict[str, list[str]] = {}
        """`top` -> the paths of the trees in the order of text, with a `/` at the end."""
        self._trees: dict[str, list[Folder]] = {}
        """`top` -> the same trees in the same order."""

    def __len__(self) -> int:
        return sum(map(len, self._trees.values()))

    def add(self, top: str, starts: Iterable[str]) -> None:
        """Add trees of a place. `starts`: paths with a `/` at the end. A tree replaces the trees inside it."""
        known = dict(zip(self._starts.get(top, ()), self._trees.get(top, ()), strict=True))
        kept: list[str] = []
        for start in sorted({*known, *starts}):
            if not kept or not start.startswith(kept[-1]):
                kept.append(start)
        self._starts[top] = kept
        self._trees[top] = [known.get(start) or Folder(start.rstrip("/") or "/", tree=True) for start in kept]

    def of(self, top: str, folder: Folder) -> Folder:
        """The tree that contains the folder, or else the folder itself."""
        starts = self._starts.get(top)
        if not starts:
            return folder
        path = below(folder.path)
        # Only the last tree before the path, in the order of text, can contain it: all texts between begin with that tree.
        at = bisect_right(starts, path) - 1
        return self._trees[top][at] if at >= 0 and path.startswith(starts[at]) else folder


def below(path: str) -> str:
    """What the paths of all folders below this folder begin with: the path, with one `/` at its end."""
    return path.rstrip("/") + "/"


class _Family(msgspec.Struct):
    """A folder that branches. `start`: its path with a `/`, as the first `length` characters of one of the paths.

    `folders`: the cost of the folders directly below it. `inside`: the cost of all that is in families inside it.
    """

    path: str
    length: int
    cost: int = 0
    folders: int = 0
    inside: int = 0
    parent: "_Family | None" = None
    is_folded: bool = False

    @property
    def start(self) -> str:
        return self.path[: self.length]

    @property
    def tree_size(self) -> int:
        """Bytes of the tree."""
        return tree_size(self.length, self.path)

    @property
    def saving(self) -> int:
        """Bytes that are saved at least if this family becomes a tree."""
        return self.folders - self.tree_size

    @property
    def is_next(self) -> bool:
        """Whether most of its cost is directly below it. This is so for each family without families inside."""
        return self.folders >= self.inside and self.saving > 0


def starts_of_trees(costs: Mapping[str, Mapping[str, int]], excess: float) -> dict[str, list[str]]:
    """Choose trees that save at least `excess` bytes if that is possible. Returns place -> the trees' paths with a `/`.

    `costs`: the folder of a place -> the folders in it, as paths with a `/` -> the bytes that are saved without this folder.
    """
    heap: list[tuple[int, int, int, str, _Family]] = []
    for top, folders in costs.items():
        for family in _families(below(top), folders):
            if family.is_next:
                heap.append(_entry(top, family, len(heap)))
    heapify(heap)
    pushed = len(heap)
    found: dict[str, list[str]] = {}
    while heap and excess > 0:
        _, _, _, top, family = heappop(heap)
        if family.is_folded:
            continue
        family.is_folded = True
        excess -= family.saving
        found.setdefault(top, []).append(family.start)
        parent = family.parent
        if parent is not None and not parent.is_folded:
            parent.folders += family.tree_size
            parent.inside -= family.cost
            if parent.is_next:
                pushed += 1
                heappush(heap, _entry(top, parent, pushed))
    return found


def _entry(top: str, family: _Family, number: int) -> tuple[int, int, int, str, _Family]:
    """The family that saves most comes first, and of equal ones the longest path. `number` is unique."""
    return -family.saving, -family.length, number, top, family


def _families(top: str, folders: Mapping[str, int]) -> list[_Family]:
    """All families of one place. Each parent comes after the families inside it; the last is the place itself.

    The paths are visited in the order of text. So the families that contain the current path are a stack.
    """
    paths = sorted(folders)
    found: list[_Family] = []
    stack = [_Family(top, len(top))]
    # `above` and `behind`: the lengths of the common ancestors with the path before, and with the path after.
    above = len(top)
    for path, after in pairwise([*paths, ""]):
        behind = max(_common_ancestor(path, after), len(top))
        if behind > above:
            stack.append(_Family(path, behind))
        cost = folders[path]
        stack[-1].folders += cost
        stack[-1].cost += cost
        while stack[-1].length > behind:
            family = stack.pop()
            if stack[-1].length < behind:
                stack.append(_Family(path, behind))
            family.parent = stack[-1]
            family.parent.cost += family.cost
            family.parent.inside += family.cost
            found.append(family)
        above = behind
    found.append(stack[-1])
    return found


def _common_ancestor(one: str, other: str) -> int:
    """The length of the longest path, with a `/` at its end, that both begin with. Compares in few, large steps."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return one.rfind("/", 0, low) + 1
