"""Where values come from: variables, secret files, and a configuration file, Jibe's and Okera's own among them."""

import difflib
import json
import os
import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final

import structlog
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NestedSecretsSettingsSource,
    PydanticBaseSettingsSource,
)

from jibe_sqs.core.errors import SettingsError

log = structlog.get_logger()

PREFIX: Final = "JIBE_"
DEFAULT_FILE: Final = Path("jibe-config.json")
JIBE: Final = frozenset({"endpoint", "login", "password"})
OKERA: Final = frozenset({"s3Region", "sqsRegion", "sqsUrl"})
"""What those two call things at the top of their files."""


class _TextOrJson(EnvSettingsSource):
    """Text that is not JSON stays text: one word may stand for a list of one, and what may not is judged with the rest."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        try:
            return super().decode_complex_value(field_name, field, value)
        except ValueError:
            return value


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


def named_file() -> Path | None:
    """The file that `JIBE_CONFIG` names, else the one in the working directory, if it is there."""
    if named := os.environ.get("JIBE_CONFIG"):
        return Path(named)
    return DEFAULT_FILE if DEFAULT_FILE.is_file() else None


def read(path: Path) -> dict[str, Any]:
    """What a configuration file says. Raises `SettingsError`."""
    try:
        # Windows' editors begin a file with a mark that JSON does not know.
        text = path.read_text(encoding="utf-8-sig")
        values = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except OSError as error:
        raise SettingsError([f"{path}: cannot be read: {error.strerror}"]) from error
    except ValueError as error:
        raise SettingsError([f"{path}: not {'TOML' if path.suffix == '.toml' else 'JSON'}: {error}"]) from error
    if not isinstance(values, dict):
        raise SettingsError([f"{path}: not an object with settings"])
    return values


def translated(values: dict[str, Any], ours: Collection[str]) -> dict[str, Any]:
    """Jibe's and Okera's keys in our own words. `ours` are the settings' names; they win where both are given."""
    if not values.keys() & (JIBE | OKERA):
        return values
    known = {*ours, *JIBE, *OKERA}
    for name in sorted(values.keys() - known):
        if not difflib.get_close_matches(name, known, 1, cutoff=0.8):
            # Jibe's other settings have no meaning here; a misspelt one of ours is still an error.
            log.warning("setting_ignored", setting=name)
            values = {key: value for key, value in values.items() if key != name}
    values = dict(values)
    jibe = {name: values.pop(name) for name in JIBE if name in values}
    if jibe:
        _beneath(values, "access_anywhere", jibe)
    queue = {"url": values.pop("sqsUrl", None), "region": values.pop("sqsRegion", None)}
    if any(queue.values()):
        values.setdefault("queues", [{name: value for name, value in queue.items() if value}])
    if region := values.pop("s3Region", None):
        _beneath(values, "aws", {"region": region})
    return values


def _beneath(values: dict[str, Any], name: str, weaker: dict[str, Any]) -> None:
    ours = values.get(name, {})
    # What is no object is left for the validation to tell.
    values[name] = {**weaker, **ours} if isinstance(ours, dict) else ours
