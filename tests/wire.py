"""Changes to what comes over the wire: other fields, or the same bytes in pieces."""

from collections.abc import Iterable
from typing import Any


class _Absent:
    def __repr__(self) -> str:
        return "ABSENT"


ABSENT = _Absent()
"""In place of a value: the field is not there."""


def changed(made: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Change `made` itself, and return it. In the names of `changes`, `__` stands for a dot. ABSENT removes a field."""
    for path, value in changes.items():
        *above, field = path.split("__")
        holder = made
        for each in above:
            holder = holder[each]
        if value is ABSENT:
            del holder[field]
        else:
            holder[field] = value
    return made


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    """Cut into pieces, of which some may be empty. A place beyond the end is taken modulo the length + 1."""
    ends = sorted({place % (len(data) + 1) for place in places})
    return [data[a:b] for a, b in zip([0, *ends], [*ends, len(data)], strict=True)]
