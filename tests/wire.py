"""What comes over the wire, as a test wants it: with other fields, or in pieces."""

from collections.abc import Iterable
from typing import Any

ABSENT = object()


def changed(made: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`made` itself, changed: in names of `changes` dots are written `__`, and ABSENT takes a field away."""
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
    """In pieces, some of them empty. A place beyond the end is counted on from the beginning."""
    ends = sorted({place % (len(data) + 1) for place in places})
    return [data[a:b] for a, b in zip([0, *ends], [*ends, len(data)], strict=True)]
