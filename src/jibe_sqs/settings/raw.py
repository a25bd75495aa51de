"""What can be learnt of a configuration without validating it: it may be invalid. For the support bundle and `status`."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from jibe_sqs.core.errors import SettingsError
from jibe_sqs.settings.sources import (
    PREFIX,
    address_of,
    configured_source,
    content_of,
    parsed,
    secret_files,
)

_SECRET_NAME: Final = re.compile(
    r"passw|pwd|secret|token|access_?key|api_?key|credential|webhook|authorization|auth_", re.IGNORECASE
)
_PLACE: Final = re.compile(r"^(OLD)?PWD$|_(FILE|DIR|PATH|SOCK|URI)$", re.IGNORECASE)
"""Names of variables that say where something is."""
_ASSIGNED: Final = re.compile(
    r"[\w.-]*(?:passw|secret|token|key|webhook|credential)[\w.-]*[\"']?\s*[:=]\s*(?:\"((?:[^\"\\\n]|\\.)*)\"|'([^'\n]*)'|([^\s\"'{}\[\],]+))",
    re.IGNORECASE,
)
_AWS_FILES: Final = (("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"), ("AWS_CONFIG_FILE", "~/.aws/config"))
_MAX_AWS_FILE: Final = 1 << 20


class RawConfiguration:
    """The texts of the configuration file, the secret files and the variables. `values`: of the file, if it can be parsed."""

    def __init__(self, config: str | None) -> None:
        self.text, self.values = _file(config)
        folder = os.environ.get("JIBE_SECRETS_DIR")
        self.secret_files = secret_files(Path(folder))[0] if folder else {}

    def secrets(self) -> set[str]:
        """Everything that may be a secret: rather too much than too little. Some of it may be references to secrets."""
        found = {text for name, text in os.environ.items() if _SECRET_NAME.search(name) and not _PLACE.search(name)}
        found |= set(self.secret_files.values())
        found |= {each for name, text in os.environ.items() if name.startswith(PREFIX) for each in _assigned(text)}
        found |= _assigned(self.text)
        found |= set(_below(self.values, is_secret=False))
        for variable, default in _AWS_FILES:
            found |= _assigned(_text(Path(os.environ.get(variable) or default).expanduser()))
        return {each for each in found if each.strip()}

    def control_socket(self) -> Path:
        """Where the service probably listens."""
        control, ledger = self._group("control"), self._group("ledger")
        if isinstance(socket := control.get("socket"), str):
            return Path(socket)
        path = ledger.get("path")
        return Path(path if isinstance(path, str) else "jibe-ledger.sqlite").with_name("jibe-sqs.sock")

    def ledger(self) -> Path:
        """Where the ledger probably is."""
        path = self._group("ledger").get("path")
        return Path(path if isinstance(path, str) else "jibe-ledger.sqlite")

    def _group(self, name: str) -> Mapping[str, Any]:
        found = self.values.get(name)
        group = dict(found) if isinstance(found, Mapping) else {}
        for variable, text in os.environ.items():
            if variable.upper().startswith(f"{PREFIX}{name.upper()}__"):
                group[variable.upper().rpartition("__")[2].lower()] = text
        return group


def _file(config: str | None) -> tuple[str, Mapping[str, Any]]:
    try:
        source = config or configured_source()
        if not source or address_of(source) is not None:
            return "", {}
        content = content_of(Path(source))
    except SettingsError:
        return "", {}
    text = content.decode("utf-8", "replace")
    try:
        return text, parsed(source, content)
    except SettingsError:
        return text, {}


def _assigned(text: str) -> set[str]:
    found: set[str] = set()
    for match in _ASSIGNED.finditer(text):
        value = next((group for group in match.groups() if group is not None), "")
        found |= {value, value.replace('\\"', '"').replace("\\/", "/").replace("\\\\", "\\")}
    return {each for each in found if len(each) > 1}


def _below(value: Any, *, is_secret: bool) -> list[str]:
    """The texts below a name that sounds like a secret."""
    if isinstance(value, Mapping):
        return [
            text
            for name, each in value.items()
            for text in _below(each, is_secret=is_secret or bool(_SECRET_NAME.search(str(name))))
        ]
    if isinstance(value, list | tuple):
        return [text for each in value for text in _below(each, is_secret=is_secret)]
    return [value] if is_secret and isinstance(value, str) else []


def _text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(_MAX_AWS_FILE)
    except OSError:
        return ""
