"""AWS sessions: whose credentials, which region, which endpoint."""

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any, Self
from urllib.parse import urlsplit

import msgspec
from aiobotocore.config import AioConfig
from aiobotocore.credentials import AioAssumeRoleCredentialFetcher, AioDeferredRefreshableCredentials
from aiobotocore.session import AioSession, get_session
from botocore.exceptions import CredentialRetrievalError, NoCredentialsError

from jibe_sqs.adapters.aws_connections import TimedSession


class Account(msgspec.Struct, frozen=True):
    """Where to sign on: the role, if any, is assumed with the credentials given here or found where boto finds them."""

    endpoint: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = msgspec.field(default=None)
    session_token: str | None = None
    role_arn: str | None = None
    external_id: str | None = None
    region: str | None = None
    """Where the role is assumed."""

    def __repr__(self) -> str:
        return f"Account(endpoint={self.endpoint!r}, role_arn={self.role_arn!r})"


CONNECTIONS = 256
"""botocore's default of 10 caps a queue's throughput at ten calls' worth."""


class Aws:
    """Makes clients, and keeps them until it is closed."""

    def __init__(self) -> None:
        self._clients = AsyncExitStack()
        self._sessions: dict[Account, AioSession] = {}
        self._made: dict[tuple[str, str | None, Account, float, float, int], Any] = {}
        self._making = asyncio.Lock()

    async def __aenter__(self) -> Self:
        await self._clients.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._clients.aclose()

    async def client(
        self,
        service: str,
        region: str | None,
        account: Account,
        *,
        connect_timeout: float = 10,
        read_timeout: float = 60,
        attempts: int = 4,
    ) -> Any:
        """A client of that service, one for all who ask with the same words. Timeouts in seconds."""
        wanted = (service, region, account, connect_timeout, read_timeout, attempts)
        async with self._making:
            if wanted not in self._made:
                self._made[wanted] = await self._clients.enter_async_context(
                    self.session(account).create_client(
                        service,
                        region_name=region or self.session(account).get_config_variable("region") or "us-east-1",
                        endpoint_url=account.endpoint,
                        config=AioConfig(
                            connect_timeout=connect_timeout,
                            read_timeout=read_timeout,
                            max_pool_connections=CONNECTIONS,
                            http_session_cls=TimedSession,
                            retries={"mode": "standard", "total_max_attempts": attempts},
                            s3={"addressing_style": "path"} if account.endpoint else None,
                        ),
                    )
                )
            return self._made[wanted]

    def session(self, account: Account) -> AioSession:
        """The session whose credentials that account's clients sign with. They renew themselves."""
        if account not in self._sessions:
            session = get_session()
            if account.access_key_id:
                session.set_credentials(account.access_key_id, account.secret_access_key, account.session_token)
            if account.role_arn:
                session = _assuming(session, account)
            self._sessions[account] = session
        return self._sessions[account]


def _assuming(session: AioSession, account: Account) -> AioSession:
    """A session of the role. The role is assumed when it is first needed, and again before its credentials expire."""
    arguments = {"RoleSessionName": "jibe-sqs"}
    if account.external_id:
        arguments["ExternalId"] = account.external_id

    async def refresh() -> dict[str, Any]:
        source = await session.get_credentials()
        if source is None:
            raise NoCredentialsError
        fetcher = AioAssumeRoleCredentialFetcher(
            client_creator=_client_creator(session, account),
            source_credentials=source,
            role_arn=account.role_arn,
            extra_args=arguments,
        )
        credentials: dict[str, Any] = await fetcher.fetch_credentials()
        if datetime.fromisoformat(credentials["expiry_time"]) <= datetime.now(UTC):
            # botocore would raise an error that is none of its own.
            raise CredentialRetrievalError(
                provider="assume-role",
                error_msg=f"{account.role_arn}: expired at {credentials['expiry_time']} already: is our clock right?",
            )
        return credentials

    assumed = get_session()
    assumed._credentials = AioDeferredRefreshableCredentials(  # noqa: SLF001 - botocore has no other door for them
        method="assume-role", refresh_using=refresh
    )
    return assumed


def _client_creator(session: AioSession, account: Account) -> Any:
    region = account.region or session.get_config_variable("region") or _home(account)

    def create(service: str, **arguments: Any) -> Any:
        return session.create_client(service, region_name=region, endpoint_url=_sts(account.endpoint), **arguments)

    return create


def _sts(endpoint: str | None) -> str | None:
    """Where roles are assumed: a store that is not AWS's has one door for all; one of AWS's (a VPC's) is of one service."""
    host = urlsplit(endpoint or "").hostname or ""
    return None if host.endswith((".amazonaws.com", ".amazonaws.com.cn", ".api.aws")) else endpoint


def _home(account: Account) -> str:
    """A region that every account in the role's partition has."""
    partition = (account.role_arn or "").split(":")[1:2]
    return {"aws-cn": "cn-north-1", "aws-us-gov": "us-gov-west-1"}.get("".join(partition), "us-east-1")
