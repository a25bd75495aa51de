"""What is wrong with a configuration, in the operator's words: each mistake under its setting's name."""

import difflib
from collections.abc import Iterable
from typing import Final

from pydantic import BaseModel, ValidationError

from jibe_sqs.settings.model import Settings
from jibe_sqs.settings.sources import JIBE, OKERA, PREFIX, SOURCES

_SHAPES: Final = {"tuple_type": "a list", "dict_type": "an object", "model_type": "an object"}
_OURS: Final = frozenset({"JIBE_CONFIG", "JIBE_SECRETS_DIR"})


def unknown_variables(given: Iterable[str]) -> list[str]:
    """A variable that is misspelt would else be passed over in silence."""
    names = {f"{PREFIX}{name.upper()}" for name in (*Settings.model_fields, *JIBE)}
    return [
        f"{name}: no such setting{_close(top, names)}"
        for name in given
        if name.upper().startswith(PREFIX)
        and name not in _OURS
        and (top := name.upper().partition("__")[0]) not in names
    ]


def unknown(name: str, known: Iterable[str]) -> str:
    """Of a name that is no setting's."""
    return f"{name}: no such setting{_close(name.rpartition('.')[2], known)}"


def mistakes(kind: type[BaseModel], error: ValidationError) -> list[str]:
    """All that the validation found."""
    found = error.errors()
    return [
        _problem(kind, each["loc"], each["type"], each["msg"])
        for each in found
        # A list whose only part is wrong is not too short as well.
        if not (each["type"] == "too_short" and any(_is_part(f["loc"], each["loc"]) for f in found))
    ]


def _is_part(place: tuple[int | str, ...], whole: tuple[int | str, ...]) -> bool:
    return len(place) > len(whole) and place[: len(whole)] == whole


def _problem(kind: type[BaseModel], place: tuple[int | str, ...], type_: str, message: str) -> str:
    name = ".".join(str(part) for part in place if part != "[key]")
    if type_ == "extra_forbidden":
        known = _known_beside(kind, place) | (JIBE | OKERA | {SOURCES} if len(place) == 1 else frozenset())
        return unknown(name, known)
    if type_ == "missing":
        about = _description(kind, place)
        return f"{name}: missing{f': {about}' if about else ''}"
    if type_ in _SHAPES:
        return f"{name}: must be {_SHAPES[type_]}; in a variable or a secret file, as JSON"
    return ": ".join(part for part in (name, message.removeprefix("Value error, ")) if part)


def _description(kind: type[BaseModel], place: tuple[int | str, ...]) -> str | None:
    for part in place[:-1]:
        field = kind.model_fields.get(str(part))
        if field is None or not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            return None
        kind = field.annotation
    field = kind.model_fields.get(str(place[-1]))
    return field.description if field else None


def _known_beside(kind: type[BaseModel], place: tuple[int | str, ...]) -> set[str]:
    for part in place[:-1]:
        field = kind.model_fields.get(str(part))
        if field is None or not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            return set()
        kind = field.annotation
    return set(kind.model_fields)


def _close(name: str, known: Iterable[str]) -> str:
    found = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {found[0]}?" if found else ""
