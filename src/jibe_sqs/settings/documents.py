"""Parses the JSON and TOML of an operator. Nesting is bounded, and an object may have a key only once."""

import json
import re
import tomllib
from collections import Counter
from typing import Any, Final

from jibe_sqs.core.errors import SettingsError

MAX_DEPTH: Final = 32
"""Lists and objects inside each other. The settings need six."""

_TOO_DEEP: Final = f"more than {MAX_DEPTH} lists and objects inside each other: not a configuration"

_LONG_KEY: Final = re.compile(
    rf"""^[ \t\[]*(?:(?:[\w-]++|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*){{{MAX_DEPTH}}}""", re.MULTILINE
)
"""A dotted key of TOML, which nests as many tables. The time that tomllib needs grows with the square of their number."""


def from_json(text: str, source: str) -> Any:
    """The value of a JSON text. `source`: the name of the file or variable, for errors.

    Raises `ValueError` if the text is not JSON, and `SettingsError` for a repeated key or too deep nesting.
    """
    try:
        value = json.loads(text, object_pairs_hook=_Object)
    except RecursionError:
        raise SettingsError([f"{source}: {_TOO_DEEP}"]) from None
    _check(value, source)
    return value


def from_toml(text: str, source: str) -> dict[str, Any]:
    """The tables of a TOML text. TOML itself forbids repeated keys. Raises like `from_json`."""
    if _LONG_KEY.search(text):
        raise SettingsError([f"{source}: {_TOO_DEEP}"])
    try:
        value = tomllib.loads(text)
    except RecursionError:
        raise SettingsError([f"{source}: {_TOO_DEEP}"]) from None
    except tomllib.TOMLDecodeError as error:
        # "Cannot overwrite a value" and "Cannot declare … twice" do not say what to correct.
        remedy = ": is a key or a table given twice?" if str(error).startswith("Cannot ") else ""
        raise ValueError(f"{error}{remedy}") from error
    _check(value, source)
    return value


class _Object(dict[str, Any]):
    """A JSON object that knows its repeated keys. A plain dict keeps the last value and hides the others."""

    __slots__ = ("repeated",)

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.repeated: list[str] = []
        if len(self) < len(pairs):
            self.repeated = [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]


def _check(value: object, source: str) -> None:
    """Looks at each list and object. Not recursive: the nesting is not known yet."""
    problems = []
    waiting: list[tuple[tuple[object, ...], object]] = [((), value)]
    while waiting:
        path, found = waiting.pop()
        if len(path) >= MAX_DEPTH:
            raise SettingsError([f"{source}: {_TOO_DEEP}"])
        if isinstance(found, _Object):
            problems += [
                f"{source}: {'.'.join(map(str, (*path, name)))}: given more than once in the same object: keep one of them"
                for name in found.repeated
            ]
        inner = found.items() if isinstance(found, dict) else enumerate(found) if isinstance(found, list) else ()
        waiting += [((*path, name), each) for name, each in inner if isinstance(each, dict | list)]
    if problems:
        raise SettingsError(problems)
