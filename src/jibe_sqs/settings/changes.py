"""What differs between two readings of the settings, and the settings that are in force if only some changes count at once."""

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from jibe_sqs.core.errors import SettingsError
from jibe_sqs.settings.effective import leaves
from jibe_sqs.settings.mistakes import mistakes
from jibe_sqs.settings.model import Rules, Settings


def changed(old: Rules, new: Rules) -> list[str]:
    """The dotted names of the settings whose values differ, such as `log.level` and `buckets.media`."""
    before, after = dict(leaves(old)), dict(leaves(new))
    paths, missing = {*before, *after}, object()
    # An object or a list without entries on one side is a leaf there. Its entries on the other side are named.
    groups = {path[:length] for path in paths for length in range(1, len(path))}
    return sorted(".".join(path) for path in paths - groups if before.get(path, missing) != after.get(path, missing))


def in_force(old: Settings, new: Settings, is_live: Callable[[str], bool]) -> Settings:
    """The old settings with the new values of those that are live. Raises `SettingsError` if these do not go together."""
    values = {name: _combined(getattr(old, name), getattr(new, name), name, is_live) for name in Settings.model_fields}
    kind = type(new)
    given = {"file": kind.file, "secrets": kind.secrets, "overrides": kind.overrides, "__module__": Settings.__module__}
    combined: type[_Combined] = type("Settings", (_Combined,), given)
    try:
        return combined(**values)
    except ValidationError as error:
        raise SettingsError(mistakes(Settings, error)) from None


class _Combined(Settings):
    """Settings from values that were validated before. Only what concerns several groups is validated again."""

    model_config = SettingsConfigDict(nested_model_default_partial_update=False)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        *others: PydanticBaseSettingsSource,  # noqa: ARG003
        **named: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The values alone."""
        return (init_settings,)


def _combined(old: Any, new: Any, name: str, is_live: Callable[[str], bool]) -> Any:
    if is_live(name):
        return new
    if isinstance(old, BaseModel) and type(old) is type(new):
        parts = {
            each: _combined(getattr(old, each), getattr(new, each), f"{name}.{each}", is_live)
            for each in type(old).model_fields
        }
        return old.model_copy(update=parts)
    return old
