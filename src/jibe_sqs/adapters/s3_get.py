"""GETs objects from S3 with aiohttp.

botocore decides the address of a bucket, the signing name and region, and the proxy. It decides once for each bucket:
to do so for each request costs several times as much as the request itself (docs/explanation/adr/0016).
"""

import asyncio
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, Final

import aiohttp
import msgspec
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import ClientError, IncompleteReadError
from botocore.httpsession import ProxyConfiguration
from botocore.parsers import create_parser
from botocore.utils import get_environ_proxies, percent_encode
from yarl import URL

from jibe_sqs.adapters.aws import Account, Aws
from jibe_sqs.adapters.http_answers import read_body, retry_after
from jibe_sqs.concurrency.backoff import Backoff

CHUNK: Final = 1024 * 1024
"""Minimal bytes of each chunk, except for the last one."""
READ_TIMEOUT: Final = 60.0
"""Seconds without a byte after which a request is repeated: the network may have lost the answer."""
CONNECT_TIMEOUT: Final = 10.0
TRIES: Final = 5
"""Tries of one request. Also the number of interruptions after which an object is given up."""
BACKOFF: Final = Backoff(first=0.4, longest=10.0, jitter=1.0)
"""Between tries. `longest` also limits the pause that a store asks for."""
MAX_ERROR_BYTES: Final = 64 * 1024

_PASSING_STATUS: Final = frozenset({429, 500, 502, 503, 504})
_PASSING_CODES: Final = frozenset({"InternalError", "RequestTimeout", "SlowDown", "Throttling", "ThrottlingException"})
_ELSEWHERE: Final = frozenset(
    {"AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "PermanentRedirect", "TemporaryRedirect"}
)
_PLACEHOLDER: Final = "jibe-sqs-key-of-an-object"
"""The key with which botocore is asked for the address of a bucket. The request is not sent."""
_BROKEN: Final = (aiohttp.ClientError, OSError, TimeoutError)


class Address(msgspec.Struct, frozen=True):
    """The address of a bucket's objects: an object's URL is `base` and its key. `headers` are sent with each request."""

    base: str
    signing_name: str
    region: str
    headers: dict[str, str]
    proxy: str | None

    def url(self, key: str, version: str | None) -> str:
        """The URL of an object, encoded as botocore encodes it."""
        query = f"?versionId={percent_encode(version)}" if version else ""
        return f"{self.base}{percent_encode(key, safe='/~')}{query}"


async def address(client: Any, bucket: str, owner: dict[str, str]) -> Address:
    """The address of a bucket. `client`: aiobotocore's client of S3 in the bucket's region. Raises botocore's errors."""
    client.meta.events.register_last("before-call.s3.GetObject", _instead_of_sending, unique_id=_PLACEHOLDER)
    found: Address = (await client.get_object(Bucket=bucket, Key=_PLACEHOLDER, **owner))["address"]
    return found


def _instead_of_sending(
    params: dict[str, Any], context: dict[str, Any], request_signer: Any, **_: Any
) -> tuple[SimpleNamespace, dict[str, Any]] | None:
    """Answer botocore's request for the placeholder with its address. Other requests are sent."""
    if not params["url"].endswith(_PLACEHOLDER):
        return None
    base, signing, headers = params["url"].removesuffix(_PLACEHOLDER), context.get("signing", {}), params["headers"]
    found = Address(
        base=base,
        signing_name=signing.get("signing_name") or request_signer.signing_name,
        region=signing.get("region") or request_signer.region_name,
        headers={name: headers[name] for name in ("User-Agent", "x-amz-expected-bucket-owner") if name in headers},
        proxy=ProxyConfiguration(proxies=get_environ_proxies(base)).proxy_url_for(base),
    )
    return SimpleNamespace(status_code=200), {"address": found}


class Objects:
    """The objects of one bucket. Raises botocore's errors and aiohttp's."""

    def __init__(self, aws: Aws, account: Account, address: Address) -> None:
        self._aws = aws
        self._account = account
        self._address = address

    async def open(self, key: str, version: str | None) -> "Object":
        """Open one object. The caller closes it."""
        url = self._address.url(key, version)
        return Object(self, url, await self.get(url))

    async def get(self, url: str, *, start: int = 0, etag: str = "") -> aiohttp.ClientResponse:
        """Returns the answer before its body is read. Repeats the request after transient failures.

        `start`: the first byte to get. If it is not 0, the object must still have this `etag`.
        """
        headers = {"Range": f"bytes={start}-", "If-Match": f'"{etag}"'} if start else {}
        credentials = await self._aws.session(self._account).get_credentials()
        renewed = False
        tries = 0
        while True:
            response = None
            # Kept for this request: if the store refuses it, `renew` must know which credentials were refused.
            frozen = await credentials.get_frozen_credentials()
            try:
                response = await self._sent(url, {**self._signed(url, frozen), **headers})
                if response.status == (206 if start else 200):
                    return response
                failure: Exception = await _refusal(response)
            except _BROKEN as error:
                failure = error
            if not renewed and await credentials.renew(frozen, _code(failure)):
                renewed = True
                continue
            tries += 1
            if tries == TRIES or not _may_pass(failure):
                raise failure
            await asyncio.sleep(_pause(tries, response))

    async def _sent(self, url: str, headers: dict[str, str]) -> aiohttp.ClientResponse:
        return await self._aws.http(self._account).get(
            # Without `encoded`, yarl would normalise the path, but `a//b`, `.` and `..` are valid keys.
            URL(url, encoded=True),
            headers={**headers, "Accept-Encoding": "identity"},
            proxy=self._address.proxy,
            # A redirect names another region, and would need another signature.
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(connect=READ_TIMEOUT, sock_connect=CONNECT_TIMEOUT, sock_read=READ_TIMEOUT),
        )

    def _signed(self, url: str, credentials: ReadOnlyCredentials) -> dict[str, str]:
        """Headers with a signature for the current time."""
        request = AWSRequest(method="GET", url=url, headers=self._address.headers)
        S3SigV4Auth(credentials, self._address.signing_name, self._address.region).add_auth(request)
        return dict(request.headers.items())


class Object:
    """An open object: its bytes as stored."""

    def __init__(self, objects: Objects, url: str, response: aiohttp.ClientResponse) -> None:
        self._objects = objects
        self._url = url
        self._response = response
        if response.content_length is None:
            response.close()
            raise aiohttp.ClientPayloadError("the answer does not say how long the object is")
        self.size = response.content_length
        self.etag = response.headers.get("ETag", "").strip('"')

    def close(self) -> None:
        """Return the connection to the pool, or close it if the body was not read to its end."""
        self._response.close()

    async def chunks(self) -> AsyncIterator[bytes]:
        """All bytes. If the answer is interrupted, requests the rest."""
        gathered: list[bytes] = []
        waiting = got = breaks = 0
        while True:
            try:
                async for data in self._response.content.iter_any():
                    gathered.append(data)
                    waiting += len(data)
                    got += len(data)
                    if waiting >= CHUNK:
                        yield b"".join(gathered)
                        gathered, waiting = [], 0
            except _BROKEN as error:
                breaks += 1
                if breaks == TRIES or not got or not self.etag:
                    raise IncompleteReadError(actual_bytes=got, expected_bytes=self.size) from error
                await self._resume(got)
            else:
                break
        if got != self.size:
            # A store may answer a request for the rest with less than the rest.
            raise IncompleteReadError(actual_bytes=got, expected_bytes=self.size)
        if gathered:
            yield b"".join(gathered)

    async def _resume(self, start: int) -> None:
        self._response.close()
        self._response = await self._objects.get(self._url, start=start, etag=self.etag)
        if not self._response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            raise aiohttp.ClientPayloadError(f"the answer does not continue at byte {start:,}")


def other_region(error: ClientError) -> tuple[bool, str | None]:
    """Whether the store refuses a request because the bucket is in another region; and that region, if it is named."""
    answer = error.response
    status = answer["ResponseMetadata"]["HTTPStatusCode"]
    refused = answer["Error"].get("Code") in _ELSEWHERE or status in (301, 302, 307)
    named = answer["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region") or answer["Error"].get("Region")
    return refused, named


async def _refusal(response: aiohttp.ClientResponse) -> ClientError:
    """The error that botocore makes of this answer."""
    body = await read_body(response.content.iter_any(), MAX_ERROR_BYTES)
    response.close()
    answer = {
        "status_code": max(response.status, 301),
        "headers": {name.lower(): value for name, value in response.headers.items()},
        "body": body,
    }
    parsed = create_parser("rest-xml").parse(answer, None)
    parsed["ResponseMetadata"]["HTTPStatusCode"] = response.status
    return ClientError(parsed, "GetObject")


def _code(failure: Exception) -> str:
    """The store's error code; empty if it did not answer."""
    return str(failure.response["Error"].get("Code", "")) if isinstance(failure, ClientError) else ""


def _may_pass(failure: Exception) -> bool:
    if not isinstance(failure, ClientError):
        return True
    status = failure.response["ResponseMetadata"]["HTTPStatusCode"]
    return status in _PASSING_STATUS or _code(failure) in _PASSING_CODES


def _pause(tries: int, response: aiohttp.ClientResponse | None) -> float:
    """Seconds before the next try."""
    wish = retry_after(response.headers.get("Retry-After"), time.time()) if response is not None else None
    return BACKOFF.delay(tries) if wish is None else min(wish, BACKOFF.longest)
