"""What several commands share: their options, and how the settings are loaded."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from jibe_sqs.settings import AwsSettings, Rules

S = TypeVar("S", bound="Rules")

TIME_FORMATS = ["%Y-%m-%d", "%Y-%m-%dT%H:%MZ", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"]

ConfigOption = Annotated[
    str | None,
    typer.Option(
        "--config",
        "-c",
        help="Configuration file (JSON or TOML): a path or an s3:// address. "
        "Default: JIBE_CONFIG, or jibe-config.json in this folder.",
    ),
]


def flag(name: str, meaning: str) -> Any:
    """An option without a value. By default, the help shows `<bool>` beside it."""
    return typer.Option(name, help=meaning, metavar="")


JsonOption = Annotated[bool, flag("--json", "Print one JSON object per line.")]


def load(kind: "type[S]", config: str | None) -> "S":
    """Load the settings that a command needs. Raises `SettingsError`."""
    from jibe_sqs.settings import load

    return load(kind, config=config, fetch=_fetch)


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
