"""Translates validation errors into lines for the operator. Each line begins with the name of a setting or variable."""

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Final, get_args

from pydantic import BaseModel, ValidationError

from jibe_sqs.settings.groups.group import GROUP_INCOMPLETE
from jibe_sqs.settings.model import Settings
from jibe_sqs.settings.sources import JIBE, OKERA, PREFIX, SOURCES

_EXPECTED_TYPES: Final = {"tuple_type": "a list", "dict_type": "an object", "model_type": "an object"}
_MISSING: Final = re.compile(r"^[\w.]+: missing\b")
_OTHER_VARIABLES: Final = frozenset({"JIBE_CONFIG", "JIBE_SECRETS_DIR"})
"""Variables that are not settings."""


def unknown_variables(given: Iterable[str]) -> list[str]:
    """Reports variables and secret files whose names begin with `JIBE_` and name no setting, such as misspelt ones."""
    names = {f"{PREFIX}{name.upper()}" for name in (*Settings.model_fields, *JIBE)}
    return [
        f"{name}: no such setting{_suggestion(top, names)}"
        for name in given
        if name.upper().startswith(PREFIX)
        and name not in _OTHER_VARIABLES
        and (top := name.upper().partition("__")[0]) not in names
    ]


def unknown(name: str, known: Iterable[str]) -> str:
    """The text for a name that is not the name of a setting."""
    return f"{name}: no such setting{_suggestion(name.rpartition('.')[2], known)}"


def mistakes(kind: type[BaseModel], error: ValidationError, variables: Iterable[str] = ()) -> list[str]:
    """One line for each validation error.

    `variables`: the names of all variables and secret files. If an unknown name comes from one of them, the line names it.
    """
    given = {name.upper(): name for name in variables}
    found = error.errors()
    return [
        _line(kind, each["loc"], each["type"], each["msg"], given)
        for each in found
        # A list whose only entry is invalid is also reported as too short: leave that out.
        if not (each["type"] == "too_short" and any(_is_inside(f["loc"], each["loc"]) for f in found))
    ]


def is_incomplete(problems: Iterable[str]) -> bool:
    """Whether one of these lines is about a required setting that is missing."""
    return any(_MISSING.search(problem) for problem in problems)


def _is_inside(path: tuple[int | str, ...], group: tuple[int | str, ...]) -> bool:
    return len(path) > len(group) and path[: len(group)] == group


def _line(
    kind: type[BaseModel], path: tuple[int | str, ...], type_: str, message: str, variables: Mapping[str, str]
) -> str:
    if type_ == GROUP_INCOMPLETE:
        path = path[:-1]
    name = ".".join(str(part) for part in path if part != "[key]")
    if type_ == "extra_forbidden":
        known = _known_beside(kind, path) | (JIBE | OKERA | {SOURCES} if len(path) == 1 else frozenset())
        if variable := variables.get(_variable(path)):
            return f"{variable}: no such setting{_suggestion(_variable(path), {_variable((*path[:-1], n)) for n in known})}"
        return unknown(name, known)
    if type_ == "missing":
        about = _short_description(kind, path)
        return f"{name}: missing{f': {about}' if about else ''}"
    if type_ in _EXPECTED_TYPES:
        return f"{name}: must be {_EXPECTED_TYPES[type_]}. In a variable or a secret file, write it as JSON"
    if type_ == "string_type":
        return f"{name}: must be text in quotes"
    return ": ".join(part for part in (name, message.removeprefix("Value error, ")) if part)


def _variable(path: tuple[int | str, ...]) -> str:
    return PREFIX + "__".join(str(part) for part in path).upper()


def _short_description(kind: type[BaseModel], path: tuple[int | str, ...]) -> str | None:
    parent = _model_at(kind, path[:-1])
    field = parent.model_fields.get(str(path[-1])) if parent else None
    return field.description.partition(". ")[0] if field and field.description else None


def _known_beside(kind: type[BaseModel], path: tuple[int | str, ...]) -> set[str]:
    parent = _model_at(kind, path[:-1])
    return set(parent.model_fields) if parent else set()


def _model_at(kind: type[BaseModel], path: tuple[int | str, ...]) -> type[BaseModel] | None:
    """The model of the object at that path. The path may lead through lists and through objects with free keys."""
    for part in path:
        field = kind.model_fields.get(str(part))
        if field is None:
            # A position in a list, or a free key: the model of the entries is already known.
            continue
        found = _model_in(field.annotation)
        if found is None:
            return None
        kind = found
    return kind


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)


def _suggestion(name: str, known: Iterable[str]) -> str:
    found = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {found[0]}?" if found else ""
