"""The secrets to which settings refer: read at the start, and read again when a login is refused."""

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from jibe_sqs.adapters.access_anywhere import Credentials, credentials_from
from jibe_sqs.adapters.aws import Account
from jibe_sqs.adapters.partitions import is_aws
from jibe_sqs.adapters.secrets import RenewedSecrets, SecretReader
from jibe_sqs.compose import stores
from jibe_sqs.core.errors import SecretUnavailable, SettingsError
from jibe_sqs.core.secret_references import Parameter, SecretFile, SecretReference, secret_reference
from jibe_sqs.settings import AwsSettings, Rules, Settings
from jibe_sqs.settings.references import (
    ReferencedSecret,
    ReferencedText,
    SettingPath,
    referenced_values,
    references,
    secret_file_with,
    with_secrets,
)

R = TypeVar("R", bound=Rules)


async def resolved(settings: R, known: Rules | None = None) -> R:
    """The settings with all secrets in place of their references. Raises `SettingsError` with a line for each that fails.

    `known`: settings from before. References that they have, too, are not read again.
    """
    if known is not None:
        values = referenced_values(known)
        found = references(settings)
        settings = with_secrets(settings, {path: values[each] for path, each in found.items() if each in values})
    ready, problems = await read(settings)
    if problems:
        raise SettingsError([f"{setting}: {problem}" for setting, problem in problems.items()])
    return ready


async def read(settings: R) -> tuple[R, dict[str, str]]:
    """The settings with the secrets that can be read, and the problems of the others by their settings."""
    found = references(settings)
    values: dict[SettingPath, str] = {}
    problems: dict[str, str] = {}
    if not found:
        return settings, problems
    if _are_in_aws(found.values()):
        try:
            # The clients' own settings, such as proxies and certificates, are checked before the first client is made.
            stores.clients(settings)
        except SettingsError as error:
            return settings, {_name(path): str(error) for path in found}
    async with SecretReader(_account(settings.aws)) as reader:
        for path, reference in found.items():
            try:
                values[path] = await reader.value(reference)
            except SecretUnavailable as error:
                problems[_name(path)] = str(error)
    return with_secrets(settings, values), problems


async def configuration(parameter: Parameter, aws: AwsSettings) -> bytes:
    """Read a configuration file from Systems Manager. Raises `SettingsError`."""
    stores.check(aws)
    async with SecretReader(_account(aws)) as reader:
        try:
            return (await reader.content(parameter)).encode()
        except SecretUnavailable as error:
            raise SettingsError([str(error)]) from None


def renewed_secrets(settings: Rules, group: str, names: Iterable[str]) -> RenewedSecrets | None:
    """These secrets of a group, by name, which can be read again. None if all of them are in the settings themselves."""
    found: dict[str, SecretReference] = {}
    values: dict[str, str] = {}
    for name in names:
        value = getattr(getattr(settings, group), name)
        text = value.get_secret_value() if hasattr(value, "get_secret_value") else value or ""
        values[name] = text
        if isinstance(value, ReferencedSecret | ReferencedText):
            found[name] = value.reference
        elif file := secret_file_with(f"{group}.{name}", text):
            found[name] = SecretReference(SecretFile(str(file), is_stripped=True))
    return RenewedSecrets(found, values, _account(settings.aws)) if found else None


def renewed_secret(settings: Rules, group: str, name: str) -> Callable[[], Awaitable[str]] | None:
    """Reads one secret again. None if it is in the settings themselves."""
    secrets = renewed_secrets(settings, group, (name,))
    if secrets is None:
        return None

    async def renewed() -> str:
        return (await secrets.renewed())[name]

    return renewed


def renewed_credentials(settings: Settings) -> Callable[[], Awaitable[Credentials]] | None:
    """Reads the credentials of Access Anywhere again. None if all of them are in the settings themselves."""
    secrets = renewed_secrets(settings, "access_anywhere", ("login", "password", "permanent_token"))
    if secrets is None:
        return None

    async def renewed() -> Credentials:
        return credentials_from(**await secrets.renewed())

    return renewed


def _account(aws: AwsSettings) -> Account:
    """The account that reads secrets. References name secrets of AWS: the keys of another store are of no use there."""
    if aws.endpoint and not is_aws(aws.endpoint):
        return Account()
    ca_file = str(aws.ca_file) if aws.ca_file else None
    if any(_is_referenced(each) for each in (aws.secret_access_key, aws.session_token)):
        return Account(ca_file=ca_file)
    account = stores.account_of(aws)
    # An address of AWS serves one service.
    return Account(
        access_key_id=account.access_key_id,
        secret_access_key=account.secret_access_key,
        session_token=account.session_token,
        ca_file=ca_file,
    )


def _is_referenced(secret: object) -> bool:
    if isinstance(secret, ReferencedSecret):
        return True
    text = secret.get_secret_value() if hasattr(secret, "get_secret_value") else ""
    return secret_reference(text) is not None


def _are_in_aws(found: Iterable[SecretReference]) -> bool:
    return any(not isinstance(each.kept, SecretFile) for each in found)


def _name(path: SettingPath) -> str:
    return ".".join(str(part) for part in path)
