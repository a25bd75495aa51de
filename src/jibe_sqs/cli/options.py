"""What several commands share: their options, and how the settings are loaded."""

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


@contextmanager
def errors_as_json(as_json: bool) -> Iterator[None]:
    """With `--json`, also an error is one object on standard output: its class and its text. It is raised all the same."""
    from jibe_sqs.commands.output import write_json_line
    from jibe_sqs.core.errors import JibeError, SettingsError

    try:
        yield
    except SettingsError:
        raise
    except JibeError as error:
        if as_json:
            write_json_line({"error": type(error).__name__, "reason": str(error)}, sys.stdout)
        raise


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


def bucket_and_key_of(url: str) -> tuple[str, str]:
    """Bucket and key, or prefix, of an argument `s3://BUCKET/KEY`. Another address is a usage error."""
    from jibe_sqs.core.object_urls import bucket_and_key

    try:
        return bucket_and_key(url)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
