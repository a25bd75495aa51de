"""AWS clients and sessions: their credentials, regions and endpoints."""

import asyncio
import os
from contextlib import AsyncExitStack
from functools import cache, cached_property, partial
from typing import TYPE_CHECKING, Any, Self

import msgspec
from botocore.session import Session

from jibe_sqs.adapters.authorities import aws_bundle, aws_trusted
from jibe_sqs.adapters.botocore_sessions import configured_region, offline_session
from jibe_sqs.adapters.credentials import RenewableCredentials, configured, found, renew_when_refused
from jibe_sqs.adapters.http1 import HttpClient
from jibe_sqs.adapters.partitions import home_region, is_aws, partition_of

if TYPE_CHECKING:
    from aiobotocore.credentials import AioDeferredRefreshableCredentials
    from aiobotocore.session import AioSession


class Account(msgspec.Struct, frozen=True, cache_hash=True):
    """How to call AWS or another store. Without an access key, botocore looks for credentials.

    The role, if there is one, is assumed with those credentials.
    """

    endpoint: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = msgspec.field(default=None)
    session_token: str | None = None
    role_arn: str | None = None
    external_id: str | None = None
    region: str | None = None
    """The region for requests that do not name one, such as assuming the role."""
    ca_file: str | None = None

    def __repr__(self) -> str:
        return f"Account(endpoint={self.endpoint!r}, role_arn={self.role_arn!r})"


CONNECTIONS = 256
"""Connections of each client. botocore's default of 10 would allow a queue only ten calls at a time."""


class Aws:
    """Makes clients, and keeps them until it is closed. An async context manager."""

    def __init__(self, region: str | None = None) -> None:
        """`region`: the default if neither the account nor the environment has one."""
        self._region = region
        self._clients = AsyncExitStack()
        self._http: dict[str | None, HttpClient] = {}
        self._sessions: dict[Account, AioSession] = {}
        self._credentials: dict[Account, RenewableCredentials] = {}
        self._offline: dict[tuple[str, str, str | None], Any] = {}
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
        """A client of the service. The same arguments return the same client. Timeouts in seconds."""
        from aiobotocore.config import AioConfig

        wanted = (service, region, account, connect_timeout, read_timeout, attempts)
        async with self._making:
            if wanted not in self._made:
                self._made[wanted] = await self._clients.enter_async_context(
                    self.session(account).create_client(
                        service,
                        region_name=region or self.region(account),
                        endpoint_url=account.endpoint,
                        config=AioConfig(
                            connect_timeout=connect_timeout,
                            read_timeout=read_timeout,
                            max_pool_connections=CONNECTIONS,
                            retries={"mode": "standard", "total_max_attempts": attempts},
                        ),
                    )
                )
            return self._made[wanted]

    def offline_client(self, service: str, region: str | None, account: Account) -> Any:
        """Botocore's own client of the service, to ask for addresses. Requests of it would not be signed rightly."""
        wanted = (service, region or self.region(account), account.endpoint)
        if wanted not in self._offline:
            self._offline[wanted] = self._offline_session.create_client(
                service,
                region_name=wanted[1],
                endpoint_url=account.endpoint,
                # Without keys, botocore would look for credentials.
                aws_access_key_id="-",
                aws_secret_access_key="-",  # noqa: S106
                # It opens no connection. An empty AWS_CA_BUNDLE is an error for botocore, but not for us.
                verify=False,
            )
        return self._offline[wanted]

    @cached_property
    def _offline_session(self) -> Session:
        return offline_session()

    def region(self, account: Account) -> str:
        """The account's region, or else the environment's, or else the default.

        The last two count only if they are in the partition of the account's role.
        """
        if account.region:
            return account.region
        partition = _partition(account.role_arn)
        for region in (configured_region(self._offline_session), self._region):
            if region and partition in (None, partition_of(region)):
                return str(region)
        return home_region(partition)

    def http(self, account: Account) -> HttpClient:
        """A client for requests that botocore does not send. It trusts the same certificates as the account's clients."""
        if account.ca_file not in self._http:
            self._http[account.ca_file] = HttpClient(partial(aws_trusted, aws_bundle(account.ca_file)))
            self._clients.push_async_callback(self._http[account.ca_file].close)
        return self._http[account.ca_file]

    def credentials(self, account: Account) -> RenewableCredentials:
        """The account's credentials. They renew themselves."""
        if account not in self._credentials:
            own = _own(account)
            self._credentials[account] = _assumed(own, account, self.region(account)) if account.role_arn else own
        return self._credentials[account]

    @property
    def expiry(self) -> float | None:
        """When the first of the credentials in use expires (seconds since the epoch). None if none of them does."""
        found = [each.expiry for each in self._credentials.values()]
        return min((expiry for expiry in found if expiry is not None), default=None)

    def session(self, account: Account) -> "AioSession":
        """The session of the account's clients, with its credentials."""
        if account not in self._sessions:
            self._sessions[account] = _session(account, self.credentials(account))
        return self._sessions[account]


def _session(account: Account, credentials: RenewableCredentials) -> "AioSession":
    from jibe_sqs.adapters.aws_sessions import new_session

    session = new_session(account.ca_file)
    renew_when_refused(session, credentials)
    return session


def _own(account: Account) -> RenewableCredentials:
    """The account's credentials, before any role of the configuration is assumed."""
    if account.access_key_id:
        return configured(account.access_key_id, account.secret_access_key, account.session_token)

    def session_with_region() -> "AioSession":
        from jibe_sqs.adapters.aws_sessions import new_session

        session = new_session(account.ca_file)
        if not session.get_config_variable("region"):
            # A web identity token is sent to STS, which has no global endpoint in most partitions.
            region = account.region or home_region(_partition(os.environ.get("AWS_ROLE_ARN")))
            session.set_config_variable("region", region)
        return session

    return found(session_with_region)


def _assumed(own: RenewableCredentials, account: Account, region: str) -> RenewableCredentials:
    """The role's credentials. The role is assumed at the first request, before they expire, and after a refusal."""
    arguments = {"RoleArn": account.role_arn, "RoleSessionName": "jibe-sqs"}
    if account.external_id:
        arguments["ExternalId"] = account.external_id
    # AWS's own endpoint (a VPC endpoint) serves one service. Another store has one address for all services.
    endpoint = None if is_aws(account.endpoint) else account.endpoint

    source = cache(partial(_session, account, own))

    async def refresh() -> dict[str, Any]:
        # A client of the source session: if STS refuses its credentials, they are renewed.
        async with source().create_client("sts", region_name=region, endpoint_url=endpoint) as sts:
            answer = (await sts.assume_role(**arguments))["Credentials"]
        return {
            "access_key": answer["AccessKeyId"],
            "secret_key": answer["SecretAccessKey"],
            "token": answer["SessionToken"],
            "expiry_time": answer["Expiration"].isoformat(),
            "account_id": next(iter((account.role_arn or "").split(":")[4:5]), None),
        }

    async def resolve() -> "AioDeferredRefreshableCredentials":
        from aiobotocore.credentials import AioDeferredRefreshableCredentials

        return AioDeferredRefreshableCredentials(method=f"assume-role {account.role_arn}", refresh_using=refresh)

    return RenewableCredentials(resolve, places=lambda: str(account.role_arn))


def _partition(arn: str | None) -> str | None:
    """The partition that an ARN names."""
    return arn.split(":")[1] if arn and ":" in arn else None
