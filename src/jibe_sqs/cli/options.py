"""The options that several commands share."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

TIME_FORMATS = ["%Y-%m-%d", "%Y-%m-%dT%H:%MZ", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"]

ConfigOption = Annotated[
    str | None,
    typer.Option(
        "--config",
        "-c",
        help="Configuration file (JSON or TOML): a path, an s3:// address, or the ARN of a parameter. "
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


def bucket_and_key_of(url: str) -> tuple[str, str]:
    """Bucket and key, or prefix, of an argument `s3://BUCKET/KEY`. Another address is a usage error."""
    from jibe_sqs.core.object_urls import bucket_and_key

    try:
        return bucket_and_key(url)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
