"""The configuration: the only reader of the environment and of configuration files.

Strongest first: the command line, the environment (`JIBE_…`, nested with `__`), secret files (in `JIBE_SECRETS_DIR`, named
as the variables are), the file that `JIBE_CONFIG` names (JSON or TOML; else `jibe-config.json` in the working directory,
if it is there), defaults. Jibe's own file (`endpoint`, `login`, `password`) and Okera's (`s3Region`, `sqsRegion`,
`sqsUrl`) load as they are.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pydantic import ValidationError
from pydantic_settings import SettingsError as SourceError

from jibe_sqs.core.errors import SettingsError
from jibe_sqs.settings.jibe import translated
from jibe_sqs.settings.mistakes import mistakes, unknown, unknown_variables
from jibe_sqs.settings.model import (
    AwsSettings,
    DefaultLogs,
    LimitSettings,
    LogSettings,
    NotificationSettings,
    OwnWritesSettings,
    Queues,
    QueueSettings,
    RoleSettings,
    Rules,
    Settings,
    Sourced,
    StoreSettings,
)
from jibe_sqs.settings.sources import content_of, named, object_named, parsed

__all__ = [
    "AwsSettings",
    "DefaultLogs",
    "Fetch",
    "LimitSettings",
    "LogSettings",
    "NotificationSettings",
    "OwnWritesSettings",
    "QueueSettings",
    "Queues",
    "RoleSettings",
    "Rules",
    "Settings",
    "load",
]

S = TypeVar("S", bound=Rules)
T = TypeVar("T", bound=Sourced)


class Fetch(Protocol):
    """Reads an object from S3. Raises `SettingsError`."""

    def __call__(self, bucket: str, key: str, aws: AwsSettings, /) -> bytes:
        """Its bytes."""


def load(kind: type[S], *, config: Path | str | None = None, fetch: Fetch | None = None, **overrides: Any) -> S:
    """The configuration from all its sources. Raises `SettingsError` with every mistake, each under its name.

    `config` is a path or an `s3://` address, which `fetch` reads.
    """
    values: dict[str, Any] = {}
    problems = unknown_variables(os.environ)
    secrets, no_secrets = _secrets()
    problems += no_secrets
    if source := str(config or "") or named():
        with _naming_the_variable(by_variable=not config and bool(os.environ.get("JIBE_CONFIG"))):
            content = _content(source, fetch, secrets)
            parts = parsed(source, content)
        values, foreign = translated(parts, Settings.model_fields)
        problems += foreign
    if not issubclass(kind, Settings):
        # It passes over what only others need, but not over what nobody knows.
        problems += [unknown(name, Settings.model_fields) for name in values.keys() - Settings.model_fields.keys()]
    loaded, mistaken = _from_sources(kind, values, secrets, overrides)
    problems += mistaken
    if problems or loaded is None:
        raise SettingsError(sorted(set(problems)), in_settings=not set(problems) <= set(no_secrets))
    return loaded


def _secrets() -> tuple[str | None, list[str]]:
    """The folder of secret files, and what is wrong with it."""
    folder = os.environ.get("JIBE_SECRETS_DIR")
    if not folder:
        return None, []
    try:
        return folder, unknown_variables(file.name for file in Path(folder).iterdir())
    except OSError as error:
        return None, [f"JIBE_SECRETS_DIR: {folder}: cannot be read: {error.strerror}"]


@contextmanager
def _naming_the_variable(*, by_variable: bool) -> Iterator[None]:
    """Errors about the file name JIBE_CONFIG, if it named the file."""
    try:
        yield
    except SettingsError as error:
        if not by_variable or error.in_settings:
            raise
        raise SettingsError([f"JIBE_CONFIG: {problem}" for problem in error.problems]) from error


def _content(source: str, fetch: Fetch | None, secrets: str | None) -> bytes:
    """The configuration file's. Reading it from S3 needs `aws`, from the environment and secret files."""
    address = object_named(source)
    if address is None:
        if "://" in source:
            raise SettingsError([f"{source}: a path or an s3:// address is needed"])
        return content_of(Path(source))
    if fetch is None:
        raise SettingsError([f"{source}: cannot be read here: give the path of a file"])
    store, problems = _from_sources(StoreSettings, {}, secrets, {})
    if store is None:
        raise SettingsError(problems, in_settings=True)
    return fetch(*address, store.aws)


def _from_sources(
    kind: type[T], file: dict[str, Any], secrets: str | None, overrides: dict[str, Any]
) -> tuple[T | None, list[str]]:
    # A class of its own, so that two loads with two files do not meet.
    sourced = type(kind.__name__, (kind,), {"file": file, "__module__": kind.__module__})
    try:
        return sourced(**({"_secrets_dir": secrets} if secrets else {}), **overrides), []
    except ValidationError as error:
        files = [each.name for each in Path(secrets).iterdir()] if secrets else []
        return None, mistakes(kind, error, [*os.environ, *files])
    except (SourceError, OSError, UnicodeDecodeError) as error:
        return None, [f"JIBE_SECRETS_DIR: {secrets}: {error}"]
