"""Calls SQS over HTTP.

botocore decides the address of a queue's service, the signing name and region, and the proxy. It decides once for each
queue: to do so for each call costs ten times as much as the call itself (docs/explanation/adr/0037).
"""

import asyncio
import time
from types import SimpleNamespace
from typing import Any, Final

import aiohttp
import msgspec
from botocore.exceptions import ClientError
from botocore.httpsession import ProxyConfiguration
from botocore.retries.quota import RetryQuota
from botocore.utils import get_environ_proxies
from yarl import URL

from jibe_sqs.adapters.aws import Account, Aws
from jibe_sqs.adapters.aws_sessions import PARTS
from jibe_sqs.adapters.credentials import RenewableCredentials
from jibe_sqs.adapters.sigv4 import Signer
from jibe_sqs.adapters.sqs_wire import refusal
from jibe_sqs.concurrency.backoff import Backoff

CONNECT_TIMEOUT: Final = 10.0
"""Seconds."""
TRIES: Final = 4
"""Tries of one call."""
BACKOFF: Final = Backoff(first=1.0, longest=20.0, jitter=1.0)
"""Between tries. It is that of botocore's standard mode."""
PASSING_STATUS: Final = frozenset({500, 502, 503, 504})
PASSING_CODES: Final = frozenset(
    {
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "LimitExceededException",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "RequestTimeout",
        "RequestTimeoutException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionInProgressException",
    }
)
"""The codes after which botocore's standard mode tries again."""
_RETRY_COST: Final = 5
_TIMEOUT_COST: Final = 10
"""Of the quota of retries. During an outage, a queue's calls soon fail at their first try."""

FAILURES: Final = (ClientError, aiohttp.ClientError, OSError, TimeoutError)
_PLACEHOLDER: Final = "jibe-sqs-name-of-a-queue"
"""The queue with which botocore is asked for the address. The request is not sent."""
_TARGET: Final = "X-Amz-Target"


class Address(msgspec.Struct, frozen=True):
    """The address of a queue's service. `headers` are sent with each call. `target`: a prefix of operations' names."""

    url: str
    signing_name: str
    region: str
    headers: dict[str, str]
    target: str
    proxy: str | None


async def address(client: Any) -> Address:
    """The address of a service. `client`: aiobotocore's client of SQS. Raises botocore's errors."""
    client.meta.events.register_last("before-call.sqs.GetQueueUrl", _instead_of_sending, unique_id=_PLACEHOLDER)
    found: Address = (await client.get_queue_url(QueueName=_PLACEHOLDER))["address"]
    return found


def _instead_of_sending(
    params: dict[str, Any], context: dict[str, Any], request_signer: Any, **_: Any
) -> tuple[SimpleNamespace, dict[str, Any]] | None:
    """Answer botocore's request for the placeholder with its address. Other requests are sent."""
    if _PLACEHOLDER.encode() not in params["body"]:
        return None
    url, signing, headers = params["url"], context.get("signing", {}), dict(params["headers"])
    found = Address(
        url=url,
        signing_name=signing.get("signing_name") or request_signer.signing_name,
        region=signing.get("region") or request_signer.region_name,
        target=headers.pop(_TARGET).removesuffix("GetQueueUrl"),
        headers=headers,
        proxy=ProxyConfiguration(proxies=get_environ_proxies(url)).proxy_url_for(url),
    )
    return SimpleNamespace(status_code=200), {"address": found}


class Calls:
    """The calls of one queue. Raises botocore's errors and aiohttp's."""

    def __init__(self, region: str | None, account: Account, aws: Aws, *, read_timeout: float) -> None:
        """`read_timeout`: seconds without a byte of an answer after which a call is repeated."""
        self._region = region
        self._account = account
        self._aws = aws
        self._timeout = aiohttp.ClientTimeout(
            connect=PARTS * CONNECT_TIMEOUT, sock_connect=CONNECT_TIMEOUT, sock_read=read_timeout
        )
        self._service: _Service | None = None
        self._quota = RetryQuota()

    async def call(self, operation: str, body: bytes) -> bytes:
        """The body of the answer to an operation. Repeats the request after transient failures."""
        service = self._service
        if service is None:
            service = self._service = await self._resolved()
        signer = service.signer(operation)
        renewed = False
        tries = spent = 0
        while True:
            # Kept for this request: if SQS refuses it, `renew` must know which credentials were refused.
            frozen = await service.credentials.get_frozen_credentials()
            headers = signer.headers(service.path, "", frozen, time.time(), body)
            # Not signed: a proxy may change it.
            headers["Accept-Encoding"] = "identity"
            try:
                answer = await self._sent(service, operation, headers, body)
            except FAILURES as error:
                failure = error
            else:
                self._quota.release(spent or 1)
                return answer
            if not renewed and await service.credentials.renew(frozen, _code(failure)):
                renewed = True
                continue
            tries += 1
            spent = _TIMEOUT_COST if isinstance(failure, TimeoutError) else _RETRY_COST
            if tries == TRIES or not may_pass(failure) or not self._quota.acquire(spent):
                raise failure
            await asyncio.sleep(BACKOFF.delay(tries))

    async def _resolved(self) -> "_Service":
        client = await self._aws.client("sqs", self._region, self._account)
        credentials = await self._aws.session(self._account).get_credentials()
        return _Service(await address(client), credentials)

    async def _sent(self, service: "_Service", operation: str, headers: dict[str, str], body: bytes) -> bytes:
        """The body of an answer. Raises `ClientError` for an answer that is a refusal."""
        async with self._aws.http(self._account).post(
            service.url,
            data=body,
            headers=headers,
            proxy=service.address.proxy,
            # A redirected request would need another signature.
            allow_redirects=False,
            timeout=self._timeout,
        ) as response:
            answer = await response.read()
        if response.status < 300:
            return answer
        found = {name.lower(): value for name, value in response.headers.items()}
        raise refusal(operation, response.status, found, answer)


class _Service:
    """The service of a queue: its address, and what signs calls to it."""

    def __init__(self, address: Address, credentials: RenewableCredentials) -> None:
        self.address = address
        self.credentials = credentials
        # Without `encoded`, yarl would normalise the path, which is signed as it is.
        self.url = URL(address.url, encoded=True)
        self.path = self.url.raw_path
        self._signers: dict[str, Signer] = {}

    def signer(self, operation: str) -> Signer:
        """What signs calls of an operation."""
        signer = self._signers.get(operation)
        if signer is None:
            address = self.address
            headers = {**address.headers, _TARGET: f"{address.target}{operation}"}
            host = self.url.host_port_subcomponent or ""
            signer = Signer(address.signing_name, address.region, "POST", host, headers)
            self._signers[operation] = signer
        return signer


def may_pass(failure: Exception) -> bool:
    """Whether another try may succeed."""
    if not isinstance(failure, ClientError):
        return True
    status = failure.response["ResponseMetadata"]["HTTPStatusCode"]
    return status in PASSING_STATUS or _code(failure) in PASSING_CODES


def _code(failure: Exception) -> str:
    """The service's error code; empty if it did not send one."""
    code = str(failure.response["Error"].get("Code", "")) if isinstance(failure, ClientError) else ""
    # botocore puts the HTTP status in place of a missing code.
    return "" if code.isdigit() else code
