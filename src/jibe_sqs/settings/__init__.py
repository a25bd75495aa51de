"""The configuration. Only this package reads the environment and configuration files.

The sources, the strongest first: the command line; environment variables (`JIBE_…`, with `__` between group and name);
secret files (in `JIBE_SECRETS_DIR`, with the names of the variables); the file that `JIBE_CONFIG` names (JSON or TOML), or
else `jibe-config.json` in the working directory; the defaults. The files of Jibe (`endpoint`, `login`, `password`) and of
Okera (`s3Region`, `sqsRegion`, `sqsUrl`) load unchanged.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import msgspec
from msgspec.structs import replace
from pydantic import ValidationError

from jibe_sqs.core.errors import SettingsError
from jibe_sqs.settings.groups.buckets import OwnWritesSettings
from jibe_sqs.settings.groups.log_files import DefaultLogs, LogSettings
from jibe_sqs.settings.groups.messages import NotificationSettings
from jibe_sqs.settings.groups.processing import LimitSettings
from jibe_sqs.settings.groups.stores import AwsSettings, QueueSettings, RoleSettings
from jibe_sqs.settings.jibe import translated
from jibe_sqs.settings.mistakes import is_incomplete, mistakes, unknown, unknown_variables
from jibe_sqs.settings.model import Identities, Queues, Rules, Settings, Sourced, StoreSettings
from jibe_sqs.settings.sources import Address, address_of, configured_source, content_of, parsed, secret_files
from jibe_sqs.settings.workers import number_of_workers, share_of

__all__ = [
    "Address",
    "AwsSettings",
    "DefaultLogs",
    "Fetch",
    "Identities",
    "LimitSettings",
    "LogSettings",
    "NotificationSettings",
    "OwnWritesSettings",
    "QueueSettings",
    "Queues",
    "RoleSettings",
    "Rules",
    "Settings",
    "Texts",
    "load",
    "load_from",
    "number_of_workers",
    "read",
    "read_again",
    "read_secret_files",
    "share_of",
    "store_of_configuration",
]

SCHEMA: Final = "$schema"
"""A key for editors at the top of the configuration file. It is not a setting."""

S = TypeVar("S", bound=Rules)
T = TypeVar("T", bound=Sourced)


class Texts(msgspec.Struct, frozen=True):
    """What the settings are read from beside the environment, as it was at one moment. It contains secrets.

    `source`: the path or the address of the configuration file, whose content is `file`; empty if there is none. `secrets`: the
    texts of the secret files by their names, and `problems`, the mistakes in reading them. `by_variable`: `JIBE_CONFIG` has named
    the file.
    """

    source: str = ""
    file: bytes = b""
    secrets: dict[str, str] = {}
    problems: list[str] = []
    by_variable: bool = False

    def __repr__(self) -> str:
        """The source only: the rest may be secret."""
        return f"Texts({self.source!r})"


class Fetch(Protocol):
    """Reads an object from S3, or a parameter of Systems Manager. Raises `SettingsError`."""

    def __call__(self, address: Address, aws: AwsSettings, /) -> bytes:
        """Its content."""


def load(kind: type[S], *, config: Path | str | None = None, fetch: Fetch | None = None, **overrides: Any) -> S:
    """Reads the configuration from all sources. Raises `SettingsError` with all mistakes, one line for each.

    `config`: a path, or an address in AWS that `fetch` reads.
    """
    return load_from(kind, read(config, fetch), **overrides)


def read(config: Path | str | None = None, fetch: Fetch | None = None) -> Texts:
    """Read the configuration file and the secret files as they are now. Raises `SettingsError` for an unreadable file."""
    texts = read_secret_files()
    source = str(config or "") or configured_source()
    if not source:
        return texts
    by_variable = not config and bool(os.environ.get("JIBE_CONFIG"))
    with _errors_name_the_variable(by_variable=by_variable):
        file = _content(source, fetch, texts.secrets)
    return replace(texts, source=source, file=file, by_variable=by_variable)


def read_again(texts: Texts) -> Texts:
    """Read the same configuration file on a disk, and the secret files, as they are now. Raises `SettingsError`."""
    now = read_secret_files()
    if not texts.source:
        return now
    with _errors_name_the_variable(by_variable=texts.by_variable):
        return replace(now, source=texts.source, file=content_of(Path(texts.source)), by_variable=texts.by_variable)


def read_secret_files() -> Texts:
    """Read the secret files only. Their mistakes are in the result."""
    folder = os.environ.get("JIBE_SECRETS_DIR")
    if not folder:
        return Texts()
    texts, problems = secret_files(Path(folder))
    return Texts(secrets=texts, problems=[f"JIBE_SECRETS_DIR: {each}" for each in problems])


def load_from(kind: type[S], texts: Texts, **overrides: Any) -> S:
    """The settings of these texts, and of the variables. Raises `SettingsError` with all mistakes, one line for each."""
    values: dict[str, Any] = {}
    secrets, secret_problems = texts.secrets, [*texts.problems, *unknown_variables(texts.secrets)]
    problems = unknown_variables(os.environ) + secret_problems
    if texts.source:
        with _errors_name_the_variable(by_variable=texts.by_variable):
            parts = parsed(texts.source, texts.file)
        parts.pop(SCHEMA, None)
        values, foreign_problems = translated(parts, Settings.model_fields)
        problems += foreign_problems
    if not issubclass(kind, Settings):
        # This kind ignores settings that only other kinds need. Unknown names are still mistakes.
        problems += [unknown(name, Settings.model_fields) for name in values.keys() - Settings.model_fields.keys()]
    loaded, setting_problems = _from_sources(kind, values, secrets, overrides)
    problems += setting_problems
    if problems or loaded is None:
        raise SettingsError(
            sorted(set(problems)),
            in_settings=not set(problems) <= set(secret_problems),
            is_incomplete=is_incomplete(problems),
        )
    return loaded


@contextmanager
def _errors_name_the_variable(*, by_variable: bool) -> Iterator[None]:
    """Adds `JIBE_CONFIG` to errors about the file if that variable named the file."""
    try:
        yield
    except SettingsError as error:
        if not by_variable or error.in_settings:
            raise
        raise SettingsError([f"JIBE_CONFIG: {problem}" for problem in error.problems]) from error


def _content(source: str, fetch: Fetch | None, secrets: Mapping[str, str]) -> bytes:
    """The content of the configuration file. To read it from AWS, `aws` is taken from variables and secret files."""
    address = address_of(source)
    if address is None:
        return content_of(Path(source))
    if fetch is None:
        raise SettingsError([f"{source}: this command cannot read from AWS: use the path of a file"])
    return fetch(address, store_of_configuration(secrets))


def store_of_configuration(secrets: Mapping[str, str]) -> AwsSettings:
    """The address and the credentials of the store with the configuration file. Raises `SettingsError`."""
    store, problems = _from_sources(StoreSettings, {}, secrets, {})
    if store is None:
        raise SettingsError(problems, in_settings=True)
    return store.aws


def _from_sources(
    kind: type[T], file: dict[str, Any], secrets: Mapping[str, str], overrides: dict[str, Any]
) -> tuple[T | None, list[str]]:
    # A new class for each load: two loads with different files must not share `file`.
    given = {"file": file, "secrets": secrets, "overrides": overrides, "__module__": kind.__module__}
    sourced = type(kind.__name__, (kind,), given)
    try:
        return sourced(**overrides), []
    except ValidationError as error:
        return None, mistakes(kind, error, [*os.environ, *secrets])
    except SettingsError as error:
        return None, error.problems
