"""Finds the references to secrets in settings, and puts the secrets in their places."""

import os
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar, cast, get_args

from pydantic import AfterValidator, BaseModel, SecretStr

from jibe_sqs.core.secret_references import SecretReference, secret_reference
from jibe_sqs.settings.groups.group import SettingsGroup
from jibe_sqs.settings.sources import JIBE, PREFIX
from jibe_sqs.settings.types import text_or_reference

B = TypeVar("B", bound=BaseModel)

SettingPath = tuple[str | int, ...]
"""Where a setting is, such as `("queues", 0, "session_token")`."""

_MAY_BE_REFERENCE: Final = AfterValidator(text_or_reference)


class ReferencedSecret(SecretStr):
    """A secret that was read from where it is kept."""

    def __init__(self, value: str, reference: SecretReference) -> None:
        super().__init__(value)
        self.reference = reference


class ReferencedText(str):  # noqa: SLOT000 - a str cannot have slots for more than itself
    """A text that was read from where it is kept, such as a login name."""

    reference: SecretReference

    @classmethod
    def of(cls, value: str, reference: SecretReference) -> "ReferencedText":
        """The text, and where it is kept."""
        found = cls(value)
        found.reference = reference
        return found


def references(settings: BaseModel) -> dict[SettingPath, SecretReference]:
    """The references that are not replaced yet. Their form is right: the settings were validated."""
    found: dict[SettingPath, SecretReference] = {}

    def note(path: SettingPath, text: str) -> None:
        if reference := secret_reference(text):
            found[path] = reference

    def look(path: SettingPath, leaf: SecretStr | str) -> SecretStr | str:
        if not isinstance(leaf, ReferencedSecret | ReferencedText):
            note(path, leaf.get_secret_value() if isinstance(leaf, SecretStr) else leaf)
        return leaf

    _mapped(settings, (), look)
    return found


def with_secrets(settings: B, values: Mapping[SettingPath, str]) -> B:
    """The settings with these secrets in place of their references."""
    found = references(settings)

    def replace(path: SettingPath, leaf: SecretStr | str) -> SecretStr | str:
        if path not in values:
            return leaf
        if isinstance(leaf, SecretStr):
            return ReferencedSecret(values[path], found[path])
        return ReferencedText.of(values[path], found[path])

    return cast("B", _mapped(settings, (), replace))


def referenced_values(settings: BaseModel) -> dict[SecretReference, str]:
    """The secrets that were put in place of references."""
    found: dict[SecretReference, str] = {}

    def collect(_path: SettingPath, leaf: SecretStr | str) -> SecretStr | str:
        if isinstance(leaf, ReferencedSecret):
            found[leaf.reference] = leaf.get_secret_value()
        elif isinstance(leaf, ReferencedText):
            found[leaf.reference] = str(leaf)
        return leaf

    _mapped(settings, (), collect)
    return found


def secrets_of(settings: BaseModel) -> list[str]:
    """All secrets of the settings, and the texts that are kept like secrets. Not empty, not references."""
    found: list[str] = []

    def collect(_path: SettingPath, leaf: SecretStr | str) -> SecretStr | str:
        if isinstance(leaf, SecretStr):
            found.append(leaf.get_secret_value())
        elif isinstance(leaf, ReferencedText):
            found.append(leaf)
        return leaf

    _mapped(settings, (), collect)
    return [text for text in found if text and not secret_reference(text)]


def secret_file_with(setting: str, text: str) -> Path | None:
    """The file in `JIBE_SECRETS_DIR` that contains this value of the setting, such as `access_anywhere.password`.

    None if there is none: the value comes from elsewhere, or the file has changed since it was read.
    """
    folder = os.environ.get("JIBE_SECRETS_DIR")
    if not folder or not text:
        return None
    last = setting.rpartition(".")[2]
    names = {f"{PREFIX}{setting.replace('.', '__')}".upper(), *({f"{PREFIX}{last}".upper()} if last in JIBE else ())}
    try:
        files = [each for each in sorted(Path(folder).iterdir()) if each.name.upper() in names and each.is_file()]
        return next((each for each in files if each.read_text(encoding="utf-8").strip() == text), None)
    except (OSError, UnicodeDecodeError):
        return None


def _mapped(value: Any, path: SettingPath, change: Callable[[SettingPath, SecretStr | str], SecretStr | str]) -> Any:
    """The value with each secret in it changed. Parts without a change stay the same objects."""
    if isinstance(value, SecretStr):
        return change(path, value)
    if isinstance(value, BaseModel):
        changed: dict[str, Any] = {}
        for name in _fields_with_secrets(type(value)):
            old = getattr(value, name)
            new = change((*path, name), old) if isinstance(old, str) else _mapped(old, (*path, name), change)
            if new is not old:
                changed[name] = new
        return value.model_copy(update=changed) if changed else value
    if isinstance(value, tuple | list):
        entries = [_mapped(each, (*path, index), change) for index, each in enumerate(value)]
        return type(value)(entries) if any(a is not b for a, b in zip(entries, value, strict=True)) else value
    if isinstance(value, Mapping):
        parts = {name: _mapped(each, (*path, str(name)), change) for name, each in value.items()}
        return parts if any(parts[name] is not value[name] for name in value) else value
    return value


def _fields_with_secrets(kind: type[BaseModel]) -> tuple[str, ...]:
    """The fields that may contain a secret. The others, such as very many buckets, are not looked through."""
    # Each load of the settings makes a new class of all settings, with their texts: a cache would keep it for ever.
    return _of_group(kind) if issubclass(kind, SettingsGroup) else _found_fields(kind)


@cache
def _of_group(kind: type[SettingsGroup]) -> tuple[str, ...]:
    return _found_fields(kind)


def _found_fields(kind: type[BaseModel]) -> tuple[str, ...]:
    return tuple(
        name
        for name, field in kind.model_fields.items()
        if _MAY_BE_REFERENCE in field.metadata or _has_secrets(field.annotation)
    )


def _has_secrets(annotation: object) -> bool:
    if isinstance(annotation, type) and not get_args(annotation):
        if issubclass(annotation, BaseModel):
            return bool(_fields_with_secrets(annotation))
        return issubclass(annotation, SecretStr)
    return any(map(_has_secrets, get_args(annotation)))
