"""Asks AWS's services one question, and translates their refusals for `jibe-sqs check`."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import msgspec
from botocore.exceptions import ClientError, NoCredentialsError, PartialCredentialsError, TokenRetrievalError

from jibe_sqs.adapters.aws import Account, Aws
from jibe_sqs.adapters.aws_errors import (
    CREDENTIAL_CODES,
    aws_errors,
    code_and_message,
    described,
    failure,
    role_refused,
    status,
)
from jibe_sqs.adapters.partitions import is_aws
from jibe_sqs.commands.check.facts import NoAnswer, NoCredentials, NotAllowed, NotFound, Refusal

_NOT_FOUND: Final = frozenset(
    {
        "AWS.SimpleQueueService.NonExistentQueue",
        "QueueDoesNotExist",
        "NoSuchBucket",
        "NotFound",
        "NotFoundException",
        "TrailNotFoundException",
    }
)
_DENIED: Final = frozenset(
    {"AccessDenied", "AccessDeniedException", "AuthorizationError", "AuthorizationErrorException", "403"}
)
"""SNS says AuthorizationError. A refusal of HEAD has no body, so only its status."""
_NO_CREDENTIALS: Final = (NoCredentialsError, PartialCredentialsError, TokenRetrievalError)


class Asked(msgspec.Struct, frozen=True):
    """A question. `action`: the permission that it needs. `resource`: what it is about."""

    service: str
    operation: str
    action: str
    resource: str
    arguments: Mapping[str, Any]
    region: str | None = None


class Questions:
    """Asks with one account's credentials, each service at its own address."""

    def __init__(self, aws: Aws, account: Account, *, own: str = "s3") -> None:
        """`own`: the service that the account's endpoint belongs to, if it is an address of AWS."""
        self._aws = aws
        self._account = account
        self._own = own

    async def ask(self, asked: Asked, *, absent: Callable[[str], bool] = lambda _: False) -> Mapping[str, Any]:
        """The answer, or an empty one for an error code that is `absent`. Raises `Refusal`."""
        with translated(asked):
            client = await self.client(asked.service, asked.region)
            try:
                answer: Mapping[str, Any] = await getattr(client, asked.operation)(**asked.arguments)
            except ClientError as error:
                if absent(code_and_message(error)[0]):
                    return {}
                raise
        return answer

    async def client(self, service: str, region: str | None) -> Any:
        """A client of the service. It gives up sooner than the service's own clients do."""
        account = self._account
        # An address of AWS, such as that of a VPC endpoint, serves one service. Another store has one for all services.
        if service != self._own and is_aws(account.endpoint):
            account = msgspec.structs.replace(account, endpoint=None)
        return await self._aws.client(service, region, account, connect_timeout=5, read_timeout=20, attempts=2)


@contextmanager
def translated(asked: Asked) -> Iterator[None]:
    """Raise the errors of AWS's clients as `Refusal`s."""
    try:
        yield
    except ClientError as error:
        raise _refused(asked, error) from error
    except _NO_CREDENTIALS as error:
        raise NoCredentials(failure("", error)) from error
    except aws_errors(ValueError) as error:
        raise NoAnswer(failure(asked.resource, error)) from error


def _refused(asked: Asked, error: ClientError) -> Refusal:
    code, _ = code_and_message(error)
    if role_refused(error) or code in CREDENTIAL_CODES:
        # Without the subject, so that the same reason for many subjects is the same text.
        return NoCredentials(described(asked.action if role_refused(error) else "", error))
    if code in _NOT_FOUND or status(error) == 404:
        return NotFound(described(asked.resource, error))
    if code in _DENIED:
        return NotAllowed(asked.action, asked.resource, described(asked.resource, error))
    return NoAnswer(described(asked.resource, error))
