"""AWS sessions: whose credentials, which region, which endpoint."""

import asyncio
import os
from contextlib import AsyncExitStack
from typing import Any, Self
from urllib.parse import urlsplit

import msgspec
from aiobotocore.config import AioConfig
from aiobotocore.credentials import AioDeferredRefreshableCredentials
from aiobotocore.session import AioSession, get_session

from jibe_sqs.adapters.aws_connections import TimedSession
from jibe_sqs.adapters.credentials import RenewableCredentials, configured, found, renew_when_refused


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
            renew_when_refused(session, _own(account))
            if account.role_arn:
                source, session = session, get_session()
                renew_when_refused(session, _assumed(source, account))
            self._sessions[account] = session
        return self._sessions[account]


def _own(account: Account) -> RenewableCredentials:
    """The account's credentials, before any role of the configuration is assumed."""
    if account.access_key_id:
        return configured(account.access_key_id, account.secret_access_key, account.session_token)

    def new_session() -> AioSession:
        session = get_session()
        if not session.get_config_variable("region"):
            # STS, which a web identity token is sent to, has no global endpoint in most partitions.
            region = account.region or _home(session, os.environ.get("AWS_ROLE_ARN"))
            session.set_config_variable("region", region)
        return session

    return found(new_session)


def _assumed(source: AioSession, account: Account) -> RenewableCredentials:
    """The credentials of the role. It is assumed when they are first needed, before they expire, and when they are refused."""
    arguments = {"RoleArn": account.role_arn, "RoleSessionName": "jibe-sqs"}
    if account.external_id:
        arguments["ExternalId"] = account.external_id

    async def refresh() -> dict[str, Any]:
        # The source session's own client: if a service refuses its credentials, they are renewed.
        async with _sts_client(source, account) as sts:
            answer = (await sts.assume_role(**arguments))["Credentials"]
        return {
            "access_key": answer["AccessKeyId"],
            "secret_key": answer["SecretAccessKey"],
            "token": answer["SessionToken"],
            "expiry_time": answer["Expiration"].isoformat(),
            "account_id": next(iter((account.role_arn or "").split(":")[4:5]), None),
        }

    async def resolve() -> AioDeferredRefreshableCredentials:
        return AioDeferredRefreshableCredentials(method=f"assume-role {account.role_arn}", refresh_using=refresh)

    return RenewableCredentials(resolve, places=lambda: str(account.role_arn))


def _sts_client(session: AioSession, account: Account) -> Any:
    region = account.region or session.get_config_variable("region") or _home(session, account.role_arn)
    return session.create_client("sts", region_name=region, endpoint_url=_sts(account.endpoint))


def _sts(endpoint: str | None) -> str | None:
    """Where roles are assumed: a store that is not AWS's has one door for all; one of AWS's (a VPC's) is of one service."""
    host = urlsplit(endpoint or "").hostname or ""
    return None if host.endswith((".amazonaws.com", ".amazonaws.com.cn", ".api.aws")) else endpoint


def _home(session: AioSession, role_arn: str | None) -> str:
    """A region that every account in the role's partition has, by botocore's data."""
    name = (role_arn or "").partition(":")[2].partition(":")[0]
    partitions = session.get_component("data_loader").load_data("partitions")["partitions"]
    regions = {each["id"]: str(each["outputs"]["implicitGlobalRegion"]) for each in partitions}
    return regions.get(name, "us-east-1")
