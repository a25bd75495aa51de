"""AWS's answers to requests that were signed for the wrong region or sent to the wrong region. moto accepts such
requests.

This concerns only requests under AWS's host names. At an endpoint on loopback, only the signature contains a region.
"""

import json
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec
from moto.s3.models import FakeBucket, s3_backends
from moto.utilities.utils import get_partition

from jibe_sqs.sandbox.aws.deployment import ACCOUNT

_REGION: Final = re.compile(r"[a-z]{2,}(-[a-z]+)+-\d")
_S3: Final = re.compile(r"((?P<bucket>.+)\.)?s3(-fips)?(\.dualstack)?\.(?P<rest>.+)")
_SCOPE: Final = re.compile(r"Credential=[^/,]+/\d+/([^/]+)/([^/]+)/aws4_request")
_OLDEST: Final = "us-east-1"


class Refusal(msgspec.Struct, frozen=True):
    """An answer that replaces moto's."""

    status: HTTPStatus
    headers: dict[str, str]
    body: bytes


def refusal(environ: Mapping[str, Any]) -> Refusal | None:
    """The refusal of a request under an AWS host name with a wrong region. None if the region is right."""
    host, path = str(environ["HTTP_HOST"]), str(environ["PATH_INFO"])
    scope = _SCOPE.search(environ.get("HTTP_AUTHORIZATION", ""))
    signed_for = scope[1] if scope else None
    if s3 := _S3.fullmatch(host):
        bucket = s3["bucket"] or path.lstrip("/").partition("/")[0]
        found = stored_bucket(host, bucket)
        if found is None:
            return None
        return _of_s3(found.region_name, _region(host), signed_for, is_virtual=bool(s3["bucket"]))
    named = _region(host)
    if named is None or signed_for in (None, named):
        return None
    return _badly_signed(f"Credential should be scoped to a valid region, not '{signed_for}'.", environ)


def s3_address(host: str, path: str) -> tuple[str, str] | None:
    """Bucket and key of a request to S3, from its host name and its decoded path. None if it is not an S3 host."""
    s3 = _S3.fullmatch(host)
    if s3 is None:
        return None
    path = path.removeprefix("/")
    if s3["bucket"]:
        return s3["bucket"], path
    bucket, _, key = path.partition("/")
    return bucket, key


def stored_bucket(host: str, bucket: str) -> FakeBucket | None:
    """The bucket, looked up in the partition of the host name's region. None if there is no such bucket."""
    return s3_backends[ACCOUNT][get_partition(_region(host) or _OLDEST)].buckets.get(bucket)


def _of_s3(home: str, named: str | None, signed_for: str | None, *, is_virtual: bool) -> Refusal | None:
    # DNS resolves a virtual host without a region to the bucket's own region.
    sent_to = named or (home if is_virtual else _OLDEST)
    if sent_to != home:
        message = "The bucket you are attempting to access must be addressed using the specified endpoint."
        return _s3_error(HTTPStatus.MOVED_PERMANENTLY, "PermanentRedirect", message, home)
    if signed_for not in (None, home):
        message = f"The authorization header is malformed; the region '{signed_for}' is wrong; expecting '{home}'"
        return _s3_error(HTTPStatus.BAD_REQUEST, "AuthorizationHeaderMalformed", message, home)
    return None


def _region(host: str) -> str | None:
    """The last label that looks like a region: in S3's host names, a bucket that looks like a region may come before
    it.
    """
    return next((label for label in reversed(host.split(".")) if _REGION.fullmatch(label)), None)


def _s3_error(status: HTTPStatus, code: str, message: str, home: str) -> Refusal:
    headers = {"Content-Type": "application/xml", "x-amz-bucket-region": home}
    body = f"<Error><Code>{code}</Code><Message>{message}</Message><Region>{home}</Region></Error>"
    return Refusal(status, headers, body.encode())


def _badly_signed(message: str, environ: Mapping[str, Any]) -> Refusal:
    if "HTTP_X_AMZ_TARGET" in environ:
        headers = {"Content-Type": "application/x-amz-json-1.0"}
        body = json.dumps({"__type": "com.amazon.coral.service#InvalidSignatureException", "message": message})
        return Refusal(HTTPStatus.FORBIDDEN, headers, body.encode())
    error = f"<Error><Type>Sender</Type><Code>SignatureDoesNotMatch</Code><Message>{message}</Message></Error>"
    headers = {"Content-Type": "text/xml"}
    return Refusal(HTTPStatus.FORBIDDEN, headers, f"<ErrorResponse>{error}</ErrorResponse>".encode())
