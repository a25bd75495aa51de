"""The sources of settings: variables, secret files, and a configuration file."""

import os
import re
import select
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
)

from jibe_sqs.core.errors import SettingsError
from jibe_sqs.core.secret_references import Parameter, secret_reference
from jibe_sqs.settings.documents import from_json, from_toml

PREFIX: Final = "JIBE_"
DEFAULT_FILE: Final = Path("jibe-config.json")
JIBE: Final = frozenset({"endpoint", "login", "password"})
OKERA: Final = frozenset({"s3Region", "sqsRegion", "sqsUrl"})
"""Keys at the top of the configuration files of Jibe and Okera."""
SOURCES: Final = "sources"
"""The key of Jibe's list of sources."""
MAX_BYTES: Final = 4 * 1024 * 1024
"""Bytes of a configuration file or a secret file."""
_S3_ARN: Final = re.compile(r"^arn:aws[a-z-]*:s3:::")
_ARNS: Final = (
    "an ARN of a parameter or an object: arn:aws:ssm:REGION:ACCOUNT:parameter/NAME, or arn:aws:s3:::BUCKET/KEY"
)
PATIENCE: Final = 10.0
"""Seconds in which a file must be read. Only a pipe or a device needs time."""


class _TextOrJson(EnvSettingsSource):
    """A source of text. Text that is not JSON is kept as text: it may be a list of one word. If it is not, validation fails."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:  # noqa: ARG002
        """The value of a variable with JSON. Raises `SettingsError` for a repeated key or too deep nesting."""
        names = (name.upper() for name, text in self.env_vars.items() if text == value)
        try:
            return from_json(value, " or ".join(name for name in names if name.startswith(PREFIX)))
        except ValueError:
            return value

    def __call__(self) -> dict[str, Any]:
        """Adds the variables and secret files for Jibe's three keys: `JIBE_ENDPOINT`, `JIBE_LOGIN`, `JIBE_PASSWORD`."""
        values = super().__call__()
        found = {name: self.env_vars.get(f"{PREFIX}{name}".lower()) for name in JIBE}
        add_defaults(values, "access_anywhere", {name: value for name, value in found.items() if value is not None})
        return values


class Environment(_TextOrJson):
    """Environment variables."""


class SecretFiles(_TextOrJson):
    """Secret files. The name of a file is the name of a variable; its content is the value."""

    def __init__(self, settings_cls: type[BaseSettings], files: Mapping[str, str]) -> None:
        self._files = files
        super().__init__(settings_cls, env_ignore_empty=False)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {name.lower(): text for name, text in self._files.items()}


class ConfigurationFile(PydanticBaseSettingsSource):
    """The values in the configuration file."""

    def __init__(self, settings_cls: type[BaseSettings], values: dict[str, Any]) -> None:
        super().__init__(settings_cls)
        self._values = values

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        return self._values.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        return self._values


def configured_source() -> str | None:
    """The path or the address in `JIBE_CONFIG`, or else the default file in the working directory, if it exists."""
    return os.environ.get("JIBE_CONFIG") or (str(DEFAULT_FILE) if DEFAULT_FILE.is_file() else None)


Address = tuple[str, str] | Parameter
"""Where a configuration file is kept in AWS: bucket and key of an object, or a parameter of Systems Manager."""


def address_of(source: str) -> Address | None:
    """The address of a configuration file in AWS. Returns None for a path. Raises `SettingsError` for anything else."""
    if not source.startswith("arn:") or _S3_ARN.match(source):
        return bucket_and_key(source)
    try:
        found = secret_reference(source)
    except ValueError:
        found = None
    if found is None or not isinstance(found.kept, Parameter) or found.key:
        raise SettingsError([f"the configuration file: not {_ARNS}"])
    return found.kept


def bucket_and_key(source: str) -> tuple[str, str] | None:
    """Bucket and key of `s3://BUCKET/KEY`, or of an object's ARN. Returns None for a path. Raises `SettingsError`.

    A login, a signed address or the settings themselves are not repeated in the error: they may be secret.
    """
    if source.lstrip().startswith("{"):
        raise SettingsError(
            ["the configuration file: must be a path, an s3:// address or an ARN, not the settings themselves"]
        )
    source = _S3_ARN.sub("s3://", source)
    scheme, separator, address = source.partition("://")
    if not separator:
        return None
    if scheme.lower() != "s3":
        raise SettingsError([f"{scheme}://…: must be a path, an s3:// address or an ARN"])
    bucket, _, key = address.partition("/")
    if "@" in bucket:
        raise SettingsError(["s3://…: contains a login or a password: write s3://BUCKET/KEY"])
    if not bucket or not key or key.endswith("/"):
        raise SettingsError([f"{source}: must contain a bucket and a key: s3://BUCKET/KEY"])
    return bucket, key


def content_of(path: Path) -> bytes:
    """Reads a file, which may be a pipe. Raises `SettingsError`, also for a file that is large or never ends."""
    try:
        # Without O_NONBLOCK, opening a pipe waits for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            return _all_bytes(descriptor, path)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise SettingsError([f"{path}: cannot be read: {error.strerror}"]) from error


def _all_bytes(descriptor: int, path: Path) -> bytes:
    found, end = bytearray(), time.monotonic() + PATIENCE
    # Not `select`, which takes no descriptor above 1023: a service with many connections reads a secret again.
    readable = select.poll()
    readable.register(descriptor, select.POLLIN)
    while len(found) <= MAX_BYTES:
        if not readable.poll(1000 * max(0.0, end - time.monotonic())):
            raise SettingsError([f"{path}: cannot be read: its end is not reached after {PATIENCE:g} s: is it a pipe?"])
        chunk = os.read(descriptor, MAX_BYTES)
        if not chunk:
            return bytes(found)
        found += chunk
    raise SettingsError([f"{path}: larger than {MAX_BYTES} bytes, so it is not a file with settings"])


def secret_files(folder: Path) -> tuple[dict[str, str], list[str]]:
    """The texts of all secret files by their names, and the mistakes. Files whose names have no `JIBE_` are not read."""
    texts, problems = {}, []
    try:
        files = [each for each in sorted(folder.iterdir()) if each.name.upper().startswith(PREFIX)]
    except OSError as error:
        return {}, [f"{folder}: cannot be read: {error.strerror}"]
    for file in files:
        try:
            texts[file.name] = content_of(file).decode().strip()
        except SettingsError as error:
            problems += error.problems
        except UnicodeDecodeError:
            problems.append(f"{file}: cannot be read: not UTF-8")
    return texts, problems


def parsed(source: str, content: bytes) -> dict[str, Any]:
    """Parses a configuration file: TOML if its name ends in `.toml`, otherwise JSON. Raises `SettingsError`."""
    is_toml = source.endswith(".toml")
    try:
        # Editors on Windows write a byte-order mark, which JSON does not allow.
        text = content.decode("utf-8-sig")
        values = from_toml(text, source) if is_toml else from_json(text, source)
    except ValueError as error:
        raise SettingsError([f"{source}: not {'TOML' if is_toml else 'JSON'}: {error}"]) from error
    if not isinstance(values, dict):
        raise SettingsError([f"{source}: must be an object with settings"])
    return values


def add_defaults(values: dict[str, Any], name: str, weaker: dict[str, Any]) -> None:
    """Adds `weaker` to the group `name` of `values`. Values that are in the group already stay."""
    if not weaker:
        return
    ours = values.get(name, {})
    # Validation reports a group that is not an object.
    values[name] = {**weaker, **ours} if isinstance(ours, dict) else ours
