"""Templates with fields of an event, such as `{bucket}/{key}`. Operators write them as parameters of their own calls.

A value is inserted unchanged: a key `{bucket}` is not replaced again. `{{` and `}}` give a brace. Only the fields below
exist; attributes and formats are refused.
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
    # Consoles create the folder `a/b` as the object `a/b/`.
    key = f"/{event.key}".removesuffix("/")
    # A tree may be the refresh for a folder without a name, as in `a//b`. Then its path is the folder above `//`.
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
"""Field -> its value. See docs/reference/configuration.md. The value is empty if the source of the event does not have it."""

KNOWN_FIELDS: Final = ", ".join(f"{{{field}}}" for field in FIELDS)
BRACES_HINT: Final = "for a brace, write it twice"


class Template:
    """One template. `constant`: the whole text if it has no field, else None."""

    def __init__(self, text: str) -> None:
        """Parse the text. Raises `ValueError` with a message for the operator."""
        self._parts: list[str | Callable[[ObjectEvent, Folder], str]] = []
        for literal, field, form, conversion in _parsed(text):
            self._parts.append(literal)
            if field is None:
                continue
            if field not in FIELDS:
                raise ValueError(f"{{{field}}} is not one of {KNOWN_FIELDS}; {BRACES_HINT}")
            if form or conversion:
                raise ValueError(f"{{{field}}} takes no format and no conversion; {BRACES_HINT}")
            self._parts.append(FIELDS[field])
        literals = [part for part in self._parts if isinstance(part, str)]
        self.constant = "".join(literals) if len(literals) == len(self._parts) else None

    def render(self, event: ObjectEvent, folder: Folder) -> str:
        """The text for one event and one folder that shows its object."""
        return "".join(part if isinstance(part, str) else part(event, folder) for part in self._parts)


def templates(texts: Mapping[str, str], setting: str) -> dict[str, Template]:
    """The same names -> templates. Raises one `SettingsError` with all mistakes below `setting`."""
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
        raise ValueError(f"{error}; {BRACES_HINT}") from None
