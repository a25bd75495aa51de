"""docs/reference/limits.md: the bounds in limits.toml, with their values from the program and the tests that show them."""

import pkgutil
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from jibe_sqs.concurrency.backoff import Backoff

from .configuration import default, settings, size
from .document import REFERENCE, Page, handwritten, table

BOUNDS: Final = "limits.toml"
ROOT: Final = REFERENCE.parents[1]

Bound = Mapping[str, Any]


def bounds() -> dict[str, list[Bound]]:
    """The bounds of each table."""
    return handwritten(BOUNDS)


def value(bound: Bound) -> str:
    """The settings, constants and foreign values of a bound. Raises `ValueError` for a name that does not exist."""
    known = {each.name: each for each in settings()}
    shown = []
    for name in bound.get("settings", ()):
        if name not in known:
            raise ValueError(f"{BOUNDS}: there is no setting {name}")
        shown.append(f"`{name}`: {default(known[name])}")
    shown += [f"{_written(constant(name), bound.get('unit', ''))}: `{name}`" for name in bound.get("constants", ())]
    shown += [bound["value"]] if "value" in bound else []
    return "<br>".join(shown)


def constant(name: str) -> object:
    """The value of a constant such as `consuming.room.OVERHEAD`."""
    try:
        return pkgutil.resolve_name(f"jibe_sqs.{name}")
    except (ImportError, AttributeError):
        raise ValueError(f"{BOUNDS}: there is no constant {name}") from None


def has_test(name: str) -> bool:
    """Whether there is a test such as `tests/flow/test_pace.py::test_a_folder`."""
    path, _, function = name.partition("::")
    file = ROOT / path
    return file.is_file() and bool(
        re.search(rf"^\s*(async )?def {re.escape(function)}\(", file.read_text("utf-8"), re.MULTILINE)
    )


def _facts() -> dict[str, str]:
    found = bounds()
    named = [name for table_ in found.values() for bound in table_ for name in bound["tests"]]
    if missing := [name for name in named if not has_test(name)]:
        raise ValueError(f"{BOUNDS}: there are no tests {missing}")
    return {name: _table(rows) for name, rows in found.items()}


def _table(rows: list[Bound]) -> str:
    cells = (
        (each["bound"], value(each), each["beyond"], "<br>".join(f"`{name}`" for name in each["tests"]))
        for each in rows
    )
    return table(("bound", "value", "beyond it", "shown by"), cells)


def _written(number: object, unit: str) -> str:
    if isinstance(number, Backoff):
        random = f", minus a random part of up to {number.jitter:.0%}" if number.jitter else ""
        return f"{number.first:g} s, doubled each time up to {number.longest:g} s{random}"
    if isinstance(number, timedelta):
        number, unit = number.total_seconds(), "s"
    if not isinstance(number, int | float):
        raise ValueError(f"{BOUNDS}: {number!r} is not a number")  # noqa: TRY004 - a mistake in the table
    if unit == "bytes":
        return size(int(number)) if number >= 1024 else f"{number:,} bytes"
    if unit == "s":
        return _duration(number)
    return f"{number:,g} {unit}".strip() if isinstance(number, float) else f"{number:,} {unit}".strip()


def _duration(seconds: float) -> str:
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds > 100 and seconds % (length / 2) == 0:
            return f"{seconds / length:g} {unit}"
    return f"{seconds:g} s"


PAGE: Final = Page("limits", _facts)
