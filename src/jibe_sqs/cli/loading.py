"""What every command needs before its work: its settings, and an event loop."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from jibe_sqs.settings import AwsSettings, Rules

S = TypeVar("S", bound="Rules")


def load(kind: "type[S]", config: str | None, *, with_secrets: bool = True) -> "S":
    """Load the settings that a command needs. Raises `SettingsError`.

    `with_secrets`: read the secrets to which settings refer. A command that uses none of them does not need to reach AWS.
    """
    from jibe_sqs.settings import load
    from jibe_sqs.settings.references import references

    settings = load(kind, config=config, fetch=_fetch)
    if with_secrets and references(settings):
        from jibe_sqs.compose.secrets import resolved

        return asyncio.run(resolved(settings))
    return settings


def _fetch(bucket: str, key: str, aws: "AwsSettings") -> bytes:
    from jibe_sqs.compose import stores

    return asyncio.run(stores.configuration(bucket, key, aws))


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop, where it exists."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
