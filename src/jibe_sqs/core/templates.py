"""Texts with fields of an event in them, such as `{bucket}/{key}`, as operators write them for calls of their own.

What stands for a field is put in as it is: a key that reads `{bucket}` stays so. Braces are doubled to stand for
themselves. Nothing but the fields below can be asked for: no attributes, no formats.
"""

import string
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from math import floor
from typing import Final

from jibe_sqs.core.errors import SettingsError
from jibe_sqs.core.model import UNKNOWN_TIME, Folder, ObjectEvent


def _time(event: ObjectEvent) -> str:
    if event.time == UNKNOWN_TIME:
        return ""
    moment = datetime.fromtimestamp(event.time, UTC).isoformat(timespec="milliseconds")
    return f"{moment.removesuffix('+00:00')}Z"


def _path(event: ObjectEvent, folder: Folder) -> str:
    # The object `a/b/` is how consoles make the folder `a/b`.
    key = f"/{event.key}".removesuffix("/")
    # A tree stands for a folder without a name, `a//b`: its path is that of the folder above the first such.
    start = key.find("//") if folder.tree and "//" in key else key.rfind("/")
    return folder.path.rstrip("/") + key[start:]


FIELDS: Final[Mapping[str, Callable[[ObjectEvent, Folder], str]]] = {
    "bucket": lambda event, _: event.bucket,
    "key": lambda event, _: event.key,
    "kind": lambda event, _: event.kind.value,
    "name": lambda event, _: event.name,
    "time": lambda event, _: _time(event),
    "timestamp": lambda event, _: "" if event.time == UNKNOWN_TIME else str(floor(event.time)),
    "event_id": lambda event, _: event.event_id,
    "region": lambda event, _: event.region,
    "version": lambda event, _: event.version or "",
    "principal": lambda event, _: event.actor.principal,
    "folder": lambda _, folder: folder.path,
    "path": _path,
}
"""What a template may ask for: see docs/reference/configuration.md. Empty where the source of the event does not tell it."""

KNOWN: Final = ", ".join(f"{{{field}}}" for field in FIELDS)
DOUBLED: Final = "a brace that stands for itself is doubled"


class Template:
    """One such text. `constant`: all of it, if it asks for no field."""

    def __init__(self, text: str) -> None:
        """Raises `ValueError`, in the operator's words."""
        self._parts: list[str | Callable[[ObjectEvent, Folder], str]] = []
        for literal, field, form, conversion in _parsed(text):
            self._parts.append(literal)
            if field is None:
                continue
            if field not in FIELDS:
                raise ValueError(f"{{{field}}} is none of {KNOWN}; {DOUBLED}")
            if form or conversion:
                raise ValueError(f"{{{field}}} stands alone, without a format or conversion; {DOUBLED}")
            self._parts.append(FIELDS[field])
        literals = [part for part in self._parts if isinstance(part, str)]
        self.constant = "".join(literals) if len(literals) == len(self._parts) else None

    def render(self, event: ObjectEvent, folder: Folder) -> str:
        """The text for one event and one folder in which its object stands."""
        return "".join(part if isinstance(part, str) else part(event, folder) for part in self._parts)


def templates(texts: Mapping[str, str], setting: str) -> dict[str, Template]:
    """Each text as a template, by the same names. Raises `SettingsError` that tells of all mistakes below `setting`."""
    found, problems = {}, []
    for name, text in texts.items():
        try:
            found[name] = Template(text)
        except ValueError as error:
            problems.append(f"{setting}.{name}: {error}")
    if problems:
        raise SettingsError(problems)
    return found


def _parsed(text: str) -> list[tuple[str, str | None, str | None, str | None]]:
    try:
        return list(string.Formatter().parse(text))
    except ValueError as error:
        raise ValueError(f"{error}; {DOUBLED}") from None
