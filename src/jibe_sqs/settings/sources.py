"""Where values come from: variables, secret files, and a configuration file."""

import json
import os
import tomllib
from pathlib import Path
from typing import Any, Final

from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NestedSecretsSettingsSource,
    PydanticBaseSettingsSource,
)

from jibe_sqs.core.errors import SettingsError

PREFIX: Final = "JIBE_"
DEFAULT_FILE: Final = Path("jibe-config.json")
JIBE: Final = frozenset({"endpoint", "login", "password"})
OKERA: Final = frozenset({"s3Region", "sqsRegion", "sqsUrl"})
"""Keys at the top of Jibe's and of Okera's files."""
SOURCES: Final = "sources"
"""Jibe's list of what it reads."""


class _TextOrJson(EnvSettingsSource):
    """Text that is not JSON stays text: one word may stand for a list of one, and what may not is judged with the rest."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        try:
            return super().decode_complex_value(field_name, field, value)
        except ValueError:
            return value

    def __call__(self) -> dict[str, Any]:
        """Jibe's three keys have variables and secret files too: `JIBE_ENDPOINT`, `JIBE_LOGIN`, `JIBE_PASSWORD`."""
        values = super().__call__()
        found = {name: self.env_vars.get(f"{PREFIX}{name}".lower()) for name in JIBE}
        beneath(values, "access_anywhere", {name: value for name, value in found.items() if value is not None})
        return values


class Environment(_TextOrJson):
    """Variables."""


class SecretFiles(NestedSecretsSettingsSource, _TextOrJson):
    """Files, each named as a variable, with its value."""


class ConfigurationFile(PydanticBaseSettingsSource):
    """What the configuration file says."""

    def __init__(self, settings_cls: type[BaseSettings], values: dict[str, Any]) -> None:
        super().__init__(settings_cls)
        self._values = values

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        return self._values.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        return self._values


def named() -> str | None:
    """The file or `s3://` address that `JIBE_CONFIG` names, else the file in the working directory, if it is there."""
    return os.environ.get("JIBE_CONFIG") or (str(DEFAULT_FILE) if DEFAULT_FILE.is_file() else None)


def object_named(source: str) -> tuple[str, str] | None:
    """Bucket and key of `s3://BUCKET/KEY`; None for a path. Raises `SettingsError`."""
    scheme, separator, address = source.partition("://")
    if not separator or scheme.lower() != "s3":
        return None
    bucket, _, key = address.partition("/")
    if not bucket or not key or key.endswith("/"):
        raise SettingsError([f"{source}: must name an object: s3://BUCKET/KEY"])
    return bucket, key


def content_of(path: Path) -> bytes:
    """What is in a file. Raises `SettingsError`."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError([f"{path}: cannot be read: {error.strerror}"]) from error


def parsed(source: str, content: bytes) -> dict[str, Any]:
    """The values in a configuration file: TOML if its name ends in `.toml`, else JSON. Raises `SettingsError`."""
    is_toml = source.endswith(".toml")
    try:
        # Editors of Windows write a byte-order mark, which is not JSON.
        text = content.decode("utf-8-sig")
        values = tomllib.loads(text) if is_toml else json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SettingsError([f"{source}: not {'TOML' if is_toml else 'JSON'}: {error}"]) from error
    if not isinstance(values, dict):
        raise SettingsError([f"{source}: not an object with settings"])
    return values


def beneath(values: dict[str, Any], name: str, weaker: dict[str, Any]) -> None:
    """Put weaker values into a group of `values`."""
    if not weaker:
        return
    ours = values.get(name, {})
    # The validation reports a group that is not an object.
    values[name] = {**weaker, **ours} if isinstance(ours, dict) else ours
