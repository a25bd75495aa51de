"""The names in a key that are no names in a path. Code that reads a path skips them, or goes up by them.

It is unknown what Access Anywhere does with them, so they never reach it as parts of a path.
"""

from collections.abc import Sequence
from typing import Final

_UP_OR_HERE: Final = frozenset({".", ".."})
_NO_NAMES: Final = _UP_OR_HERE | {""}


def leading_names(names: Sequence[str]) -> Sequence[str]:
    """The names before the first that is empty, `.` or `..`: all names if there is no such name."""
    if _NO_NAMES.isdisjoint(names):
        return names
    return names[: next(at for at, name in enumerate(names) if name in _NO_NAMES)]


def is_path(key: str) -> bool:
    """Whether the key can be the end of a path: no name in it is `.` or `..`."""
    return _UP_OR_HERE.isdisjoint(key.split("/"))
