"""Calls SQS over HTTP.

botocore decides the address of a queue's service, the signing name and region, and the proxy. It decides once for each
queue: to do so for each call costs ten times as much as the call itself (docs/explanation/adr/0037).
"""

import asyncio
import time
from typing import Final
from urllib.parse import urlsplit

from botocore.exceptions import ClientError, HTTPClientError
from botocore.parsers import ResponseParserError
from botocore.retries.quota import RetryQuota

from jibe_sqs.adapters.addresses import Address, address
from jibe_sqs.adapters.aws import Account, Aws
from jibe_sqs.adapters.credentials import RenewableCredentials
from jibe_sqs.adapters.http1 import Origin
from jibe_sqs.adapters.http1_errors import HttpError, ReadTimedOut
from jibe_sqs.adapters.sigv4 import Signer
from jibe_sqs.adapters.sqs_wire import refusal
from jibe_sqs.concurrency.backoff import Backoff

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

MAX_ANSWER: Final = 64 * 1024 * 1024
"""Bytes. Ten messages have at most 10 MiB, and six times as much if all of their characters are escaped."""

FAILURES: Final = (ClientError, HttpError)
_TARGET: Final = "X-Amz-Target"


class Calls:
    """The calls of one queue. Raises botocore's errors and `HttpError`."""

    def __init__(self, region: str | None, account: Account, aws: Aws, *, read_timeout: float) -> None:
        """`read_timeout`: seconds without a byte of an answer after which a call is repeated."""
        self._region = region
        self._account = account
        self._aws = aws
        self._read_timeout = read_timeout
        self._service: _Service | None = None
        self._quota = RetryQuota()

    async def call(self, operation: str, body: bytes) -> bytes:
        """The body of the answer to an operation. Repeats the request after transient failures."""
        service = self._service
        if service is None:
            service = self._service = self._resolved()
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
            spent = _TIMEOUT_COST if isinstance(failure, ReadTimedOut) else _RETRY_COST
            if tries == TRIES or not may_pass(failure) or not self._quota.acquire(spent):
                raise failure
            await asyncio.sleep(BACKOFF.delay(tries))

    def _resolved(self) -> "_Service":
        http = self._aws.http(self._account)
        client = self._aws.offline_client("sqs", self._region, self._account)
        found = address(client, "get_queue_url", QueueName="any")
        return _Service(found, http.origin(found.url, found.proxy), self._aws.credentials(self._account))

    async def _sent(self, service: "_Service", operation: str, headers: dict[str, str], body: bytes) -> bytes:
        """The body of an answer. Raises `ClientError` for an answer that is a refusal."""
        try:
            answer = await service.origin.request("POST", service.path, headers, body, read_timeout=self._read_timeout)
        except ValueError as error:
            # A session token with a line break, for example.
            raise HTTPClientError(error=error) from error
        content = await answer.read(MAX_ANSWER) if answer.body is None else answer.body
        if len(content) > MAX_ANSWER:
            raise ResponseParserError(f"the answer has more than {MAX_ANSWER:,} bytes")
        if answer.status < 300:
            return content
        raise refusal(operation, answer.status, answer.headers, content)


class _Service:
    """The service of a queue: its address, the connections to it, and what signs calls to it."""

    def __init__(self, address: Address, origin: Origin, credentials: RenewableCredentials) -> None:
        self.origin = origin
        self.credentials = credentials
        self.path = urlsplit(address.url).path
        self._address = address
        self._target = address.headers[_TARGET].removesuffix("GetQueueUrl")
        self._signers: dict[str, Signer] = {}

    def signer(self, operation: str) -> Signer:
        """What signs calls of an operation."""
        signer = self._signers.get(operation)
        if signer is None:
            address = self._address
            headers = {**address.headers, _TARGET: f"{self._target}{operation}"}
            signer = Signer(address.signing_name, address.region, "POST", self.origin.host, headers)
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
