"""The settings in force, each with its source, for people: secrets are masked."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, SecretStr

from jibe_sqs.settings.model import Rules, Sourced
from jibe_sqs.settings.references import ReferencedSecret, ReferencedText
from jibe_sqs.settings.sources import Environment, SecretFiles
from jibe_sqs.telemetry.status import SettingStatus

MASK: Final = "********"
"""In place of a secret."""
FLAG: Final = "flag"
ENVIRONMENT: Final = "environment"
SECRET_FILE: Final = "secret file"  # noqa: S105 - the name of a source
FILE: Final = "file"
DEFAULT: Final = "default"

_REFERENCES: Final = ("arn:", "file:")
"""How the reference to a secret begins. It is no secret itself."""
_SECRET_NAME: Final = re.compile("password|secret|token|api_?key", re.IGNORECASE)
"""Names in objects that an operator writes freely, such as the parameters of a call, whose values may be secrets."""


def effective(settings: Rules) -> list[SettingStatus]:
    """Every setting with its value and its source. An object has a line for each of its names, and a list for each entry.

    Call it in the process that has loaded the settings: it looks into the environment.
    """
    given = _given(type(settings))
    return [
        SettingStatus(name=".".join(path), value=_shown(value, path[-1]), source=_source(path, given))
        for path, value in leaves(settings)
    ]


def leaves(settings: BaseModel) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every setting: its path, such as `("log", "level")` or `("buckets", "media")`, and its value with secrets."""
    for name in type(settings).model_fields:
        yield from _leaves((name,), getattr(settings, name))


def _leaves(path: tuple[str, ...], value: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _leaves((*path, name), getattr(value, name))
    elif isinstance(value, Mapping) and value:
        for name, each in value.items():
            yield (*path, str(name)), each
    elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
        for number, each in enumerate(value):
            yield (*path, str(number)), each
    else:
        yield path, value


def _given(kind: type[Sourced]) -> dict[str, Mapping[str, Any]]:
    """What each source gives, the strongest first."""
    return {
        FLAG: kind.overrides,
        ENVIRONMENT: Environment(kind)(),
        SECRET_FILE: SecretFiles(kind, kind.secrets)(),
        FILE: kind.file,
    }


def _source(path: tuple[str, ...], given: Mapping[str, Mapping[str, Any]]) -> str:
    return next((source for source, values in given.items() if _has(values, path)), DEFAULT)


def _has(values: Any, path: tuple[str, ...]) -> bool:
    """Whether these values have the setting, or a list or a text in place of the group or list that it is in."""
    for name in path:
        if not isinstance(values, Mapping):
            return True
        if name not in values:
            return False
        values = values[name]
    return True


def _shown(value: Any, name: str = "") -> Any:
    """The value as JSON can represent it, without secrets. Of the entry of a list, only what is not default."""
    match value:
        case ReferencedSecret() | ReferencedText():
            return value.reference.text
        case SecretStr():
            return _masked(value.get_secret_value())
        case BaseModel():
            fields = ((each, getattr(value, each)) for each in type(value).model_fields)
            defaults = type(value).model_fields
            return {each: _shown(found, each) for each, found in fields if found != defaults[each].default}
        case Mapping():
            return {str(each): _shown(found, str(each)) for each, found in value.items()}
        case tuple() | list() | frozenset():
            return [_shown(each, name) for each in value]
        case str() if _SECRET_NAME.search(name):
            return _masked(value)
        case None | str() | int() | float():
            return value
    return str(value) if not isinstance(value, Path) else value.as_posix()


def _masked(secret: str) -> str:
    """Empty if there is no secret; as it is if it is a reference to one."""
    return secret if not secret or secret.startswith(_REFERENCES) else MASK
