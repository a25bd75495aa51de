"""The parts of a support bundle, from a configuration that may be invalid, and a service that may be dead."""

import asyncio
import hashlib
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from jibe_sqs.adapters import host_facts
from jibe_sqs.adapters.aws import Account
from jibe_sqs.adapters.control import RunningService, running_service
from jibe_sqs.adapters.ledgers.statistics import statistics
from jibe_sqs.adapters.secrets import SecretReader
from jibe_sqs.commands.check import text
from jibe_sqs.commands.check.running import Report, report
from jibe_sqs.commands.support_bundle import Gathered, LeftOut, Part, gathered, write
from jibe_sqs.compose.checks import checks, secrets_report, settings_report
from jibe_sqs.compose.secrets import read
from jibe_sqs.core.errors import SecretUnavailable, SettingsError
from jibe_sqs.core.redaction import Redaction
from jibe_sqs.core.secret_references import SecretFile, secret_reference
from jibe_sqs.settings import Settings
from jibe_sqs.settings.effective import effective
from jibe_sqs.settings.raw import RawConfiguration
from jibe_sqs.settings.references import secrets_of

SECRETS_TIMEOUT: Final = 40.0
"""Seconds for reading the secrets to which settings refer."""
CHECK_TIMEOUT: Final = 120.0
MAX_LOG_BYTES: Final = 4 * 1024 * 1024
"""Bytes that are read of the end of a log file."""
_NOT_NAMES: Final = frozenset({"", "*", "/"})


class SupportBundle:
    """`settings`, or why they are invalid: `mistakes`. `log_file`: the service's log, if it has stopped."""

    def __init__(
        self,
        settings: Settings | None,
        mistakes: SettingsError | None,
        raw: RawConfiguration,
        *,
        log_file: Path | None,
        hides_names: bool,
    ) -> None:
        self._settings = settings
        self._mistakes = mistakes
        self._raw = raw
        self._log_file = log_file
        self._hides_names = hides_names
        self._secret_problems: Mapping[str, str] = {}

    async def write(self, path: Path) -> list[Gathered]:
        """Gather everything, and write the archive. Raises `OSError` if it cannot be written."""
        secrets = await self._secrets()
        # Recipients cannot guess names by trying: they do not know the secrets.
        key = hashlib.sha256("\n".join(sorted(secrets)).encode("utf-8", "surrogatepass")).digest()
        redaction = Redaction(secrets, self._names(), key if self._hides_names else b"")
        found = await gathered(self._parts(), redaction)
        write(
            path,
            found,
            redaction,
            {"names_are_hidden": self._hides_names, "settings_are_valid": self._mistakes is None},
        )
        return found

    def _parts(self) -> list[Part]:
        return [
            Part("versions.json", _off_loop(host_facts.versions)),
            Part("environment.json", _off_loop(host_facts.variables)),
            Part("settings.json", self._effective),
            Part("check.json", self._check, CHECK_TIMEOUT),
            Part("status.json", self._status),
            Part("log-lines.txt", self._log),
            Part("ledger.json", self._ledger),
        ]

    async def _secrets(self) -> set[str]:
        """All secrets that can be found out, also those that are kept elsewhere. Reading them has a limit."""
        found = self._raw.secrets()
        with suppress(TimeoutError):
            async with asyncio.timeout(SECRETS_TIMEOUT):
                if self._settings is not None:
                    self._settings, self._secret_problems = await read(self._settings)
        if self._settings is not None:
            found |= set(secrets_of(self._settings))
        return {each for each in found | await _kept_in_files(found) if not _is_reference(each)}

    def _names(self) -> Iterable[str]:
        if self._settings is None:
            return []
        settings = self._settings
        places = [place.folder for shown in (settings.buckets or {}).values() for place in shown]
        logs = [name for each in settings.logs for name in (each.bucket, each.folder or "", each.prefix)]
        return {*(settings.buckets or ()), *places, *logs, settings.report.folder or ""} - _NOT_NAMES

    async def _effective(self) -> Any:
        if self._settings is None:
            return {"mistakes": self._mistakes.problems if self._mistakes else []}
        return msgspec.to_builtins(effective(self._settings))

    async def _check(self) -> Any:
        return text.as_object(await self._checked())

    async def _checked(self) -> Report:
        if self._mistakes is not None or self._settings is None:
            return settings_report(self._mistakes or SettingsError([]))
        if self._secret_problems:
            return secrets_report(self._secret_problems)
        try:
            async with checks(self._settings) as found:
                return await report(found, limit=CHECK_TIMEOUT / 2)
        except SettingsError as error:
            return settings_report(error)

    async def _status(self) -> Any:
        async with running_service(self._socket) as service:
            return msgspec.to_builtins(await _running(service, self._socket).snapshot())

    async def _log(self) -> str:
        if self._log_file is not None:
            return await asyncio.to_thread(_end_of, self._log_file)
        async with running_service(self._socket) as service:
            lines = await _running(service, self._socket, "; give its log with --log FILE").log_lines()
        return "".join(f"{line}\n" for line in lines)

    async def _ledger(self) -> Any:
        ledger = self._settings.ledger if self._settings else None
        if ledger is not None and ledger.kind != "sqlite":
            raise LeftOut(f"the ledger is of the kind {ledger.kind}, which has no statistics here")
        return await asyncio.to_thread(statistics, ledger.path if ledger else self._raw.ledger())

    @property
    def _socket(self) -> Path | None:
        return self._settings.control_socket if self._settings else self._raw.control_socket()


def _running(service: RunningService | None, socket: Path | None, remedy: str = "") -> RunningService:
    if service is None:
        raise LeftOut(f"no service answers at {socket}{remedy}" if socket else f"control.socket is off{remedy}")
    return service


def _off_loop(function: Any) -> Any:
    async def called() -> Any:
        return await asyncio.to_thread(function)

    return called


async def _kept_in_files(texts: Iterable[str]) -> set[str]:
    """The secrets in files to which texts refer: also if the settings are invalid. Other places are not asked then."""
    found: set[str] = set()
    async with SecretReader(Account()) as reader:
        for each in texts:
            with suppress(ValueError, SecretUnavailable):
                reference = secret_reference(each)
                if reference is not None and isinstance(reference.kept, SecretFile):
                    found.add(await reader.value(reference))
    return found


def _is_reference(text: str) -> bool:
    try:
        return secret_reference(text) is not None
    except ValueError:
        return False


def _end_of(path: Path) -> str:
    """The end of a file in whole lines."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - MAX_LOG_BYTES))
            content = file.read(MAX_LOG_BYTES)
    except OSError as error:
        raise LeftOut(f"{path}: cannot be read: {error.strerror}") from None
    if size > MAX_LOG_BYTES:
        content = content.partition(b"\n")[2]
    return content.decode("utf-8", "replace")
