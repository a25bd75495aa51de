"""What every command needs before its work: its settings, and an event loop."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from jibe_sqs.settings import Address, AwsSettings, Rules, Settings, Texts

S = TypeVar("S", bound="Rules")


def load(kind: "type[S]", config: str | None, *, with_secrets: bool = True) -> "S":
    """Load the settings that a command needs. Raises `SettingsError`.

    `with_secrets`: read the secrets to which settings refer. A command that uses none of them does not need to reach AWS.
    """
    return load_from(kind, read(config), with_secrets=with_secrets)


def read(config: str | None) -> "Texts":
    """Read what the settings are loaded from. Raises `SettingsError`."""
    from jibe_sqs.settings import read

    return read(config, _fetch)


def load_from(kind: "type[S]", texts: "Texts", *, with_secrets: bool = True) -> "S":
    """Load the settings from these texts. `with_secrets`: see `load`. Raises `SettingsError`."""
    from jibe_sqs.settings import load_from
    from jibe_sqs.settings.references import references

    settings = load_from(kind, texts)
    if with_secrets and references(settings):
        from jibe_sqs.compose.secrets import resolved

        return asyncio.run(resolved(settings))
    return settings


def load_without_account(texts: "Texts") -> "tuple[Settings, bool]":
    """The settings, and whether they have the account of Access Anywhere. References are not read. Raises `SettingsError`."""
    from jibe_sqs.core.errors import SettingsError
    from jibe_sqs.settings import Settings, load_from

    try:
        return load_from(Settings, texts), True
    except SettingsError as error:
        # Only a group that is incomplete as a whole is reported under its own name.
        if not any(each.startswith("access_anywhere: ") for each in error.problems):
            raise
    return load_from(Settings, texts, access_anywhere={"permanent_token": "not used"}), False


def _fetch(address: "Address", aws: "AwsSettings") -> bytes:
    if isinstance(address, tuple):
        from jibe_sqs.compose import stores

        return asyncio.run(stores.configuration(*address, aws))
    from jibe_sqs.compose.secrets import configuration

    return asyncio.run(configuration(address, aws))


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop, where it exists."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
