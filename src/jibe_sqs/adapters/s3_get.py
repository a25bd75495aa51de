"""GETs objects from S3 with `http1` and `sigv4`.

botocore decides the address of a bucket, the signing name and region, and the proxy. It decides once for each bucket:
to do so for each request costs many times as much as the request itself (docs/explanation/adr/0016 and 0036).
"""

import asyncio
import time
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import msgspec
from botocore.exceptions import ClientError, IncompleteReadError
from botocore.parsers import create_parser
from botocore.utils import percent_encode

from jibe_sqs.adapters.addresses import address
from jibe_sqs.adapters.aws import Account, Aws
from jibe_sqs.adapters.http1_connection import CHUNK, Answer
from jibe_sqs.adapters.http1_errors import HttpError, Malformed
from jibe_sqs.adapters.http_answers import retry_after
from jibe_sqs.adapters.sigv4 import Signer
from jibe_sqs.concurrency.backoff import Backoff

READ_TIMEOUT: Final = 60.0
"""Seconds without a byte after which a request is repeated: the network may have lost the answer."""
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
_SENT: Final = ("User-Agent", "x-amz-expected-bucket-owner")
"""The headers that are sent."""


class Target(NamedTuple):
    """The path and the query of a request."""

    path: str
    query: str

    def __str__(self) -> str:
        return f"{self.path}?{self.query}" if self.query else self.path


class Place(msgspec.Struct, frozen=True):
    """The address of a bucket's objects: an object's URL is `base` and its key. `headers` are sent with each request."""

    base: str
    signing_name: str
    region: str
    headers: dict[str, str]
    proxy: str | None

    def target(self, key: str, version: str | None) -> "Target":
        """Where an object is, encoded as botocore encodes it."""
        query = f"versionId={percent_encode(version)}" if version else ""
        return Target(f"{urlsplit(self.base).path}{percent_encode(key, safe='/~')}", query)


def place(client: Any, bucket: str, owner: dict[str, str]) -> Place:
    """The address of a bucket. `client`: `Aws.offline_client` of S3 in the bucket's region. Raises botocore's errors."""
    found = address(client, "get_object", Bucket=bucket, Key=_PLACEHOLDER, **owner)
    return Place(
        base=found.url.removesuffix(_PLACEHOLDER),
        signing_name=found.signing_name,
        region=found.region,
        headers={name: found.headers[name] for name in _SENT if name in found.headers},
        proxy=found.proxy,
    )


class Objects:
    """The objects of one bucket. Raises botocore's errors and `HttpError`."""

    def __init__(self, aws: Aws, account: Account, place: Place) -> None:
        self._credentials = aws.credentials(account)
        self._place = place
        self._origin = aws.http(account).origin(place.base, place.proxy)
        self._signer = Signer(place.signing_name, place.region, "GET", self._origin.host, place.headers)

    async def open(self, key: str, version: str | None) -> "Object":
        """Open one object. The caller closes it."""
        target = self._place.target(key, version)
        return Object(self, target, await self.get(target))

    async def get(self, target: Target, *, start: int = 0, etag: str = "") -> Answer:
        """Returns the answer; its body is here if it is small. Repeats the request after transient failures.

        `start`: the first byte to get. If it is not 0, the object must still have this `etag`: the header's value.
        """
        # Not signed: a proxy may change what encodings are accepted.
        headers = {"Accept-Encoding": "identity"}
        if start:
            headers |= {"Range": f"bytes={start}-", "If-Match": etag}
        credentials = self._credentials
        renewed = False
        tries = 0
        while True:
            answer = None
            # Kept for this request: if the store refuses it, `renew` must know which credentials were refused.
            frozen = await credentials.get_frozen_credentials()
            try:
                answer = await self._origin.request(
                    "GET",
                    str(target),
                    self._signer.headers(*target, frozen, time.time()) | headers,
                    read_timeout=READ_TIMEOUT,
                )
                if answer.status == (206 if start else 200):
                    return answer
                failure: Exception = await _refusal(answer)
            except HttpError as error:
                failure = error
            if not renewed and await credentials.renew(frozen, _code(failure)):
                renewed = True
                continue
            tries += 1
            if tries == TRIES or not _may_pass(failure):
                raise failure
            await asyncio.sleep(_pause(tries, answer))


class Object:
    """An open object: its bytes as stored."""

    def __init__(self, objects: Objects, target: Target, answer: Answer) -> None:
        if answer.length is None:
            answer.close()
            raise Malformed("the answer does not say how long the object is")
        self.size = answer.length
        self._tag = answer.header("etag")
        self.etag = self._tag.strip('"')
        self._objects = objects
        self._target = target
        self._answer = answer
        self._got = 0
        self._breaks = 0

    def close(self) -> None:
        """Close the connection, if the body was not read to its end."""
        self._answer.close()

    async def chunk(self) -> bytes:
        """The next bytes: at least `CHUNK`, or all that is left; empty at the end.

        If the answer is interrupted, requests the rest.
        """
        gathered: list[bytes] = []
        waiting = 0
        while waiting < CHUNK:
            try:
                data = await self._answer.chunk()
            except HttpError as error:
                await self._continue(error)
                continue
            if not data:
                # A store may answer a request for the rest with less than the rest.
                if self._got != self.size:
                    raise self._incomplete()
                break
            gathered.append(data)
            waiting += len(data)
            self._got += len(data)
        return b"".join(gathered)

    async def _continue(self, error: HttpError) -> None:
        self._breaks += 1
        if self._breaks == TRIES or not self._got or not self.etag:
            raise self._incomplete() from error
        self._answer.close()
        self._answer = await self._objects.get(self._target, start=self._got, etag=self._tag)
        # Not every store knows If-Match.
        if self._answer.header("etag", self._tag) != self._tag:
            raise Malformed("the object was replaced while it was read")
        if not self._answer.header("content-range").startswith(f"bytes {self._got}-"):
            raise Malformed(f"the answer does not continue at byte {self._got:,}")

    def _incomplete(self) -> IncompleteReadError:
        return IncompleteReadError(actual_bytes=self._got, expected_bytes=self.size)


def other_region(error: ClientError) -> tuple[bool, str | None]:
    """Whether the store refuses a request because the bucket is in another region; and that region, if it is named."""
    answer = error.response
    status = answer["ResponseMetadata"]["HTTPStatusCode"]
    refused = _code(error) in _ELSEWHERE or status in (301, 302, 307)
    named = answer["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region") or answer["Error"].get("Region")
    # botocore makes a dict or a list of an element that has elements or is repeated.
    return refused, named if isinstance(named, str) else None


async def _refusal(answer: Answer) -> ClientError:
    """The error that botocore makes of this answer."""
    body = await answer.read(MAX_ERROR_BYTES)
    received = {"status_code": max(answer.status, 301), "headers": answer.headers, "body": body}
    parsed = create_parser("rest-xml").parse(received, None)
    if answer.status < 300:
        parsed["Error"] = {"Code": str(answer.status), "Message": "this status was not expected"}
    parsed["ResponseMetadata"]["HTTPStatusCode"] = answer.status
    return ClientError(parsed, "GetObject")


def _code(failure: Exception) -> str:
    """The store's error code; empty if it did not answer."""
    return str(failure.response["Error"].get("Code", "")) if isinstance(failure, ClientError) else ""


def _may_pass(failure: Exception) -> bool:
    if not isinstance(failure, ClientError):
        return True
    status = failure.response["ResponseMetadata"]["HTTPStatusCode"]
    return status in _PASSING_STATUS or _code(failure) in _PASSING_CODES


def _pause(tries: int, answer: Answer | None) -> float:
    """Seconds before the next try."""
    wish = retry_after(answer.header("retry-after"), time.time()) if answer is not None else None
    return BACKOFF.delay(tries) if wish is None else min(wish, BACKOFF.longest)
