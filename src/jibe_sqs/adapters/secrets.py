"""Reads secrets from where they are kept: AWS Secrets Manager, AWS Systems Manager, or a file.

Errors name the reference and what an operator can do. They never contain a part of a secret.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final, Self

import structlog
from botocore.exceptions import ClientError, NoCredentialsError, PartialCredentialsError

from jibe_sqs.adapters.aws import Account, Aws
from jibe_sqs.adapters.aws_errors import REMEDIES, aws_errors, code_and_message, described, failure
from jibe_sqs.concurrency.backoff import Backoff
from jibe_sqs.core.errors import SecretUnavailable, SettingsError
from jibe_sqs.core.secret_references import Kept, Parameter, SecretFile, SecretReference, SecretsManagerSecret
from jibe_sqs.settings.sources import content_of

MAX_BYTES: Final = 64 * 1024
"""Bytes of a secret: the limit of Secrets Manager."""
TIMEOUT: Final = 30.0
"""Seconds for reading one secret, with all tries."""
CONNECT_TIMEOUT: Final = 5.0
READ_TIMEOUT: Final = 10.0
"""Seconds of one try."""
ATTEMPTS: Final = 3
RENEWALS: Final = Backoff(first=5.0, longest=60.0, jitter=0.0)
"""The pauses between two reads of a secret that is refused, while it does not change."""

_CREDENTIALS: Final = "no AWS credentials: give the process a role, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
_DENIED: Final = ("AccessDeniedException", "AccessDenied")
_KEY_DENIED: Final = "allow kms:Decrypt with the KMS key that encrypts it"
_MISSING: Final = "correct the name and the region in the reference, or create it"
_VERSION_MISSING: Final = "correct the version in the reference, or remove it"

log = structlog.get_logger()


class SecretReader:
    """Reads the contents of places where secrets are kept. Each place is read once, also if it has several secrets.

    An async context manager. `account`: the credentials for AWS.
    """

    def __init__(self, account: Account) -> None:
        self._account = account
        self._stack = AsyncExitStack()
        self._aws: Aws | None = None
        self._contents: dict[Kept, str] = {}

    async def __aenter__(self) -> Self:
        await self._stack.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    async def value(self, reference: SecretReference) -> str:
        """The secret. Raises `SecretUnavailable`."""
        content = await self.content(reference.kept)
        try:
            return reference.value(content)
        except ValueError as error:
            raise SecretUnavailable(f"{reference.kept}: {error}") from None

    async def content(self, kept: Kept) -> str:
        """The whole text that is kept there. Raises `SecretUnavailable`."""
        if kept not in self._contents:
            try:
                async with asyncio.timeout(TIMEOUT):
                    self._contents[kept] = await self._content(kept)
            except TimeoutError:
                raise SecretUnavailable(f"{kept}: no answer within {TIMEOUT:g} s: is the network right?") from None
        return self._contents[kept]

    async def _content(self, kept: Kept) -> str:
        if isinstance(kept, SecretFile):
            found = await asyncio.to_thread(_of_file, kept)
        else:
            try:
                found = await (
                    self._of_parameter(kept) if isinstance(kept, Parameter) else self._of_secrets_manager(kept)
                )
            except ClientError as error:
                raise SecretUnavailable(described(str(kept), error, _remedies(kept, error))) from None
            except (NoCredentialsError, PartialCredentialsError):
                raise SecretUnavailable(f"{kept}: {_CREDENTIALS}") from None
            except aws_errors(ValueError) as error:
                raise SecretUnavailable(failure(str(kept), error)) from None
        # Editors, and `--secret-string file://…` of the AWS CLI, leave one that is not part of the secret.
        found = found.removesuffix("\n").removesuffix("\r")
        if len(found) > MAX_BYTES:
            raise SecretUnavailable(f"{kept}: larger than {MAX_BYTES} bytes, so it is not a secret")
        return found

    async def _of_secrets_manager(self, kept: SecretsManagerSecret) -> str:
        client = await self._client("secretsmanager", kept.region)
        wanted = {"VersionStage": kept.stage, "VersionId": kept.version}
        answer = await client.get_secret_value(
            SecretId=kept.arn, **{name: value for name, value in wanted.items() if value}
        )
        text = answer.get("SecretString")
        if not isinstance(text, str):
            raise SecretUnavailable(f"{kept}: it is binary: store it as text")
        return text

    async def _of_parameter(self, kept: Parameter) -> str:
        client = await self._client("ssm", kept.region)
        answer = await client.get_parameter(Name=kept.arn, WithDecryption=True)
        return str(answer["Parameter"]["Value"])

    async def _client(self, service: str, region: str) -> Any:
        if self._aws is None:
            self._aws = await self._stack.enter_async_context(Aws(region=region))
        return await self._aws.client(
            service,
            region,
            self._account,
            connect_timeout=CONNECT_TIMEOUT,
            read_timeout=READ_TIMEOUT,
            attempts=ATTEMPTS,
        )


class RenewedSecrets:
    """Secrets that are read again after they were refused, at most once in some seconds.

    `references`: by the names of their settings. `values`: the secrets as they are now.
    """

    def __init__(
        self,
        references: Mapping[str, SecretReference],
        values: Mapping[str, str],
        account: Account,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._references = references
        self._values = dict(values)
        self._account = account
        self._clock = clock
        self._reading = asyncio.Lock()
        self._not_before = float("-inf")
        self._unchanged = 0

    async def renewed(self) -> Mapping[str, str]:
        """The values, by setting. Those that cannot be read stay as they are, which is logged. Raises nothing."""
        async with self._reading:
            if self._references and self._clock() >= self._not_before:
                await self._read()
                self._not_before = self._clock() + RENEWALS.delay(max(self._unchanged, 1))
            return dict(self._values)

    async def _read(self) -> None:
        # A refusal long after the last read is not another one of the same refusals.
        is_again = self._clock() - self._not_before < RENEWALS.longest
        before = dict(self._values)
        async with SecretReader(self._account) as reader:
            for setting, reference in self._references.items():
                try:
                    self._values[setting] = await reader.value(reference)
                except SecretUnavailable as error:
                    # One secret must not be of another version than the others, such as a login and its password.
                    self._values = before
                    log.warning("secret_not_renewed", setting=setting, reason=str(error))
                    break
        changed = sorted(name for name, value in self._values.items() if before[name] != value)
        self._unchanged = 0 if changed else self._unchanged + 1 if is_again else 1
        if changed:
            log.info("secret_renewed", settings=changed)


def _of_file(kept: SecretFile) -> str:
    """The text of a file."""
    try:
        text = content_of(Path(kept.path)).decode("utf-8-sig")
    except SettingsError as error:
        raise SecretUnavailable(f"file:{error}") from None
    except UnicodeDecodeError:
        raise SecretUnavailable(f"{kept}: cannot be read: not UTF-8") from None
    return text.strip() if kept.is_stripped else text


def _remedies(kept: SecretsManagerSecret | Parameter, error: ClientError) -> Mapping[str, str]:
    code, message = code_and_message(error)
    missing = dict.fromkeys(("ResourceNotFoundException", "ParameterNotFound"), _MISSING)
    if "staging label" in message or "VersionId" in message:
        missing["ResourceNotFoundException"] = _VERSION_MISSING
    denied = (
        _KEY_DENIED
        if "kms" in message.lower()
        else f"allow {kept.permission}, and kms:Decrypt if a KMS key of yours encrypts it"
    )
    return {
        **dict.fromkeys(_DENIED, denied),
        "DecryptionFailure": _KEY_DENIED,
        "InvalidKeyId": _KEY_DENIED,
        "ParameterVersionNotFound": _VERSION_MISSING,
        "InvalidRequestException": "it may be marked for deletion: restore it, or correct the reference",
        **missing,
        **({code: REMEDIES[code]} if code in REMEDIES else {}),
    }
