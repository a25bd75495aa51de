"""The configuration: the only reader of the environment and of configuration files.

Strongest first: the command line, the environment (`JIBE_…`, nested with `__`), secret files (in `JIBE_SECRETS_DIR`, named
as the variables are), the file that `JIBE_CONFIG` names (JSON or TOML; else `jibe-config.json` in the working directory,
if it is there), defaults. Jibe's own file (`endpoint`, `login`, `password`) and Okera's (`s3Region`, `sqsRegion`,
`sqsUrl`) load as they are.
"""

import os
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_settings import SettingsError as SourceError

from jibe_sqs.core.errors import SettingsError
from jibe_sqs.settings.mistakes import mistakes, unknown, unknown_variables
from jibe_sqs.settings.model import (
    AwsSettings,
    LimitSettings,
    LogSettings,
    NotificationSettings,
    OwnWritesSettings,
    Queues,
    QueueSettings,
    RoleSettings,
    Rules,
    Settings,
)
from jibe_sqs.settings.sources import named_file, read, translated

__all__ = [
    "AwsSettings",
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


def load(kind: type[S], *, config: Path | None = None, **overrides: Any) -> S:
    """The configuration from all its sources. Raises `SettingsError` with every mistake, each under its name."""
    path = config or named_file()
    values = translated(read(path), Settings.model_fields) if path else {}
    secrets = os.environ.get("JIBE_SECRETS_DIR")
    problems = unknown_variables(os.environ)
    if secrets:
        try:
            problems += unknown_variables(file.name for file in Path(secrets).iterdir())
        except OSError as error:
            problems.append(f"JIBE_SECRETS_DIR: {secrets}: cannot be read: {error.strerror}")
            secrets = None
    if not issubclass(kind, Settings):
        # It passes over what only others need, but not over what nobody knows.
        problems += [unknown(name, Settings.model_fields) for name in values.keys() - Settings.model_fields.keys()]

    # A class of its own, so that two loads with two files do not meet.
    sourced = type(kind.__name__, (kind,), {"file": values, "__module__": kind.__module__})
    try:
        loaded = sourced(**({"_secrets_dir": secrets} if secrets else {}), **overrides)
    except ValidationError as error:
        problems += mistakes(kind, error)
    except (SourceError, OSError, UnicodeDecodeError) as error:
        problems.append(f"JIBE_SECRETS_DIR: {secrets}: {error}")
    if problems:
        raise SettingsError(sorted(set(problems)))
    return loaded  # type: ignore[no-any-return]
