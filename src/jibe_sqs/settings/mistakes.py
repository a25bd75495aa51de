"""What is wrong with a configuration, in the operator's words: each mistake under its setting's name."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Final, get_args

from pydantic import BaseModel, ValidationError

from jibe_sqs.settings.model import GROUP_INCOMPLETE, Settings
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


def mistakes(kind: type[BaseModel], error: ValidationError, variables: Iterable[str] = ()) -> list[str]:
    """All that the validation found. `variables`: names of variables and secret files; an unknown one is named itself."""
    given = {name.upper(): name for name in variables}
    found = error.errors()
    return [
        _problem(kind, each["loc"], each["type"], each["msg"], given)
        for each in found
        # A list whose only part is wrong is not too short as well.
        if not (each["type"] == "too_short" and any(_is_part(f["loc"], each["loc"]) for f in found))
    ]


def _is_part(place: tuple[int | str, ...], whole: tuple[int | str, ...]) -> bool:
    return len(place) > len(whole) and place[: len(whole)] == whole


def _problem(
    kind: type[BaseModel], place: tuple[int | str, ...], type_: str, message: str, variables: Mapping[str, str]
) -> str:
    if type_ == GROUP_INCOMPLETE:
        place = place[:-1]
    name = ".".join(str(part) for part in place if part != "[key]")
    if type_ == "extra_forbidden":
        known = _known_beside(kind, place) | (JIBE | OKERA | {SOURCES} if len(place) == 1 else frozenset())
        if variable := variables.get(_variable(place)):
            return (
                f"{variable}: no such setting{_close(_variable(place), {_variable((*place[:-1], n)) for n in known})}"
            )
        return unknown(name, known)
    if type_ == "missing":
        about = _description(kind, place)
        return f"{name}: missing{f': {about}' if about else ''}"
    if type_ in _SHAPES:
        return f"{name}: must be {_SHAPES[type_]}; in a variable or a secret file, as JSON"
    if type_ == "string_type":
        return f"{name}: must be a text, in quotes"
    return ": ".join(part for part in (name, message.removeprefix("Value error, ")) if part)


def _variable(place: tuple[int | str, ...]) -> str:
    return PREFIX + "__".join(str(part) for part in place).upper()


def _description(kind: type[BaseModel], place: tuple[int | str, ...]) -> str | None:
    around = _model_at(kind, place[:-1])
    field = around.model_fields.get(str(place[-1])) if around else None
    return field.description if field else None


def _known_beside(kind: type[BaseModel], place: tuple[int | str, ...]) -> set[str]:
    around = _model_at(kind, place[:-1])
    return set(around.model_fields) if around else set()


def _model_at(kind: type[BaseModel], place: tuple[int | str, ...]) -> type[BaseModel] | None:
    """The model of the object at that place, also in lists and in objects with free keys."""
    for part in place:
        field = kind.model_fields.get(str(part))
        if field is None:
            # The position in a list, or a free key: the model is that of its parts.
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


def _close(name: str, known: Iterable[str]) -> str:
    found = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {found[0]}?" if found else ""
