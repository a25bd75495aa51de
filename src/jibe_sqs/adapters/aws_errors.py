"""Describes errors of AWS services in one line, and translates errors of S3 into ours.

A line has the service's code first, then the object, the service's message, and what an operator can do:

    RequestTimeTooSkewed: s3://bucket/key: The difference between …: this machine's clock is wrong: synchronise it

Codes: Amazon S3 API Reference, "Error responses"; "Common errors" of each service. A code that is not listed here has no
remedy, and its HTTP status decides which of our errors it becomes.
"""

import asyncio
import re
import ssl
import sys
from collections.abc import Mapping
from typing import Final

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ProxyConnectionError,
    SSLError,
)
from botocore.parsers import ResponseParserError

from jibe_sqs.adapters.http1_errors import HttpError, ProxyFailed, TlsFailed, Unreachable
from jibe_sqs.core.errors import LogAccessDenied, LogBucketMissing, LogMissing, LogStoreError, LogStoreUnavailable


def no_answer_errors(*more: type[Exception]) -> tuple[type[Exception], ...]:
    """What a call of an AWS client raises if the service was not reached, or did not send a readable answer."""
    return (*_NO_ANSWER, *_of_aiohttp("ClientError"), *more)


def aws_errors(*more: type[Exception]) -> tuple[type[Exception], ...]:
    """Everything that a call of an AWS client raises. `ClientError`: the service answered with an error."""
    return (ClientError, *no_answer_errors(*more))


def _of_aiohttp(*names: str) -> tuple[type[Exception], ...]:
    """Aiohttp's errors of these names. None of them can be raised before aiohttp is imported, which takes long."""
    aiohttp = sys.modules.get("aiohttp")
    return tuple(getattr(aiohttp, name) for name in names) if aiohttp else ()


_NO_ANSWER: Final = (
    BotoCoreError,
    ResponseParserError,
    HttpError,
    asyncio.IncompleteReadError,
    OSError,
    TimeoutError,
)

MAX_MESSAGE_LENGTH: Final = 300
"""Characters of a service's message. For a wrong signature, AWS's message is long and contains the session token."""

_RENEW: Final = (
    "renew the credentials. Credentials from a file, a process or a role are looked up again when they are refused; "
    "restart after you change credentials in the configuration or the environment"
)
_CLOCK: Final = "this machine's clock is wrong: synchronise it"
_SIGNATURE: Final = "does the secret key belong to the access key, and is this machine's clock right?"
_KEY_UNUSABLE: Final = "enable the KMS key that encrypts it, or cancel its deletion"
_ALLOW_KEY: Final = "allow kms:Decrypt with the key that encrypts it"
_REGION: Final = "is the region right?"
_CERTIFICATE: Final = (
    "set `aws.ca_file`, the `ca_file` of the entry (such as `queues.ca_file`), or AWS_CA_BUNDLE to the certificate of its "
    "authority"
)
_UNREACHABLE: Final = (
    "is the address right (`endpoint` of the entry, such as `queues.endpoint`; `aws.endpoint`; AWS_ENDPOINT_URL_…), and "
    "is a proxy needed to reach it (HTTPS_PROXY, NO_PROXY)?"
)
_PROXY: Final = "are the proxies right (HTTPS_PROXY, HTTP_PROXY, NO_PROXY)?"

REMEDIES: Final = {
    **dict.fromkeys(
        (
            "AuthFailure",
            "ExpiredToken",
            "ExpiredTokenException",
            "InvalidAccessKeyId",
            "InvalidClientTokenId",
            "InvalidToken",
            "InvalidTokenId",
            "TokenRefreshRequired",
            "UnrecognizedClientException",
        ),
        _RENEW,
    ),
    **dict.fromkeys(("RequestExpired", "RequestTimeTooSkewed"), _CLOCK),
    **dict.fromkeys(
        (
            "IncompleteSignature",
            "IncompleteSignatureException",
            "InvalidSignatureException",
            "MissingAuthenticationToken",
            "MissingAuthenticationTokenException",
            "SignatureDoesNotMatch",
        ),
        _SIGNATURE,
    ),
    **dict.fromkeys(
        (
            "KMS.DisabledException",
            "KMS.KMSInvalidStateException",
            "KMS.NotFoundException",
            "KMS.InvalidKeyUsageException",
            "KmsDisabled",
            "KmsInvalidKeyUsage",
            "KmsInvalidState",
            "KmsNotFound",
            "KMS.Disabled",
            "KMS.InvalidKeyUsage",
            "KMS.InvalidState",
            "KMS.NotFound",
        ),
        _KEY_UNUSABLE,
    ),
    **dict.fromkeys(
        ("KMS.AccessDenied", "KMS.AccessDeniedException", "KmsAccessDenied", "KMSAccessDeniedException"), _ALLOW_KEY
    ),
    **dict.fromkeys(
        ("AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "PermanentRedirect"), _REGION
    ),
}
"""Remedies by code, for every service. Remedies for one service are in its adapter."""

CREDENTIAL_CODES: Final = frozenset(code for code, text in REMEDIES.items() if text in (_RENEW, _CLOCK, _SIGNATURE))
"""Codes about the signature of a request: every request with these credentials is refused."""

_NO_BUCKET: Final = "NoSuchBucket"

_S3_REMEDIES: Final = {
    "AccessDenied": "allow s3:GetObject and s3:ListBucket on the bucket, and kms:Decrypt if a KMS key encrypts it",
    "InvalidObjectState": "it is archived: restore it, and exclude log files from lifecycle rules that archive",
    _NO_BUCKET: "is the bucket's name right, and is the bucket in this store?",
}
_ROLE_REMEDIES: Final = {
    "AccessDenied": "does the role's trust policy name our principal, and does our policy allow this call?",
    "ExpiredTokenException": "the web identity token has expired: its file must be replaced before it expires",
    "InvalidIdentityToken": "is the token's issuer an identity provider of the role's account?",
    "RegionDisabledException": "activate STS in this region, or set another one",
}

_NO_REMEDIES: Final[Mapping[str, str]] = {}

_DENIED: Final = frozenset(
    code for code, remedy in REMEDIES.items() if remedy in (_RENEW, _SIGNATURE, _KEY_UNUSABLE, _ALLOW_KEY)
)
_UNAVAILABLE: Final = frozenset({"InvalidObjectState", "RequestExpired", "RequestTimeTooSkewed"})
"""Codes with the HTTP status of a missing permission, but with another cause."""

_URL: Final = re.compile(r"(https?://[^/\s\"'?]+)[^\s\"']*")


def code_and_message(error: ClientError) -> tuple[str, str]:
    """Code and message of an answer. The message is one line of limited length, without addresses of objects."""
    details = error.response.get("Error", {})
    code = str(details.get("Code") or status(error) or "")
    return " ".join(code.split())[:100], _line(str(details.get("Message", ""))) or "no reason given"


def status(error: ClientError) -> int:
    """The HTTP status; 0 if it is unknown."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def described(what: str, error: ClientError, remedies: Mapping[str, str] = _NO_REMEDIES) -> str:
    """One line for an operator about an error that a service sent. `remedies`: those of the service, by code."""
    code, message = code_and_message(error)
    if role_refused(error):
        what = f"{what}: {error.operation_name}"
    return _text(code, what, message, remedy(error, remedies))


def remedy(error: ClientError, remedies: Mapping[str, str] = _NO_REMEDIES) -> str | None:
    """What an operator can do. Returns None if the code is not listed."""
    code, _ = code_and_message(error)
    return (_ROLE_REMEDIES if role_refused(error) else remedies).get(code) or REMEDIES.get(code)


def role_refused(error: ClientError) -> bool:
    """Whether STS refused to give us the role that signs the call."""
    return str(getattr(error, "operation_name", "")).startswith("AssumeRole")


def failure(what: str, error: BaseException) -> str:
    """One line for an operator about any other error: the service was not reached, or its answer was not readable."""
    return _text("", what, _line(str(error)) or type(error).__name__, _unanswered_remedy(error))


def _unanswered_remedy(error: BaseException) -> str | None:
    if isinstance(
        error, (ProxyConnectionError, ProxyFailed, *_of_aiohttp("ClientProxyConnectionError", "ClientHttpProxyError"))
    ):
        return _PROXY
    if isinstance(error, (SSLError, ssl.SSLError, TlsFailed, *_of_aiohttp("ClientSSLError"))):
        return _CERTIFICATE if "certificate" in str(error).lower() else None
    if isinstance(
        error, (EndpointConnectionError, ConnectTimeoutError, Unreachable, *_of_aiohttp("ClientConnectorError"))
    ):
        return _UNREACHABLE
    return None


def log_store_error(what: str, error: BaseException, owner: str | None = None) -> LogStoreError:
    """Translate an error of S3, or of the connection to it. `owner`: the account that must own the bucket."""
    if isinstance(error, NoCredentialsError):
        return LogAccessDenied(failure(what, error))
    if not isinstance(error, ClientError):
        return LogStoreUnavailable(failure(what, error))
    code, message = code_and_message(error)
    if getattr(error, "operation_name", "") == "HeadBucket" and code == "404":
        # An answer to HEAD has no body, so only the operation shows that the bucket is missing, not the object.
        return LogBucketMissing(_text(_NO_BUCKET, what, "there is no such bucket", _S3_REMEDIES[_NO_BUCKET]))
    kind = _kind(code, status(error))
    if role_refused(error):
        return (LogAccessDenied if kind in (LogMissing, LogBucketMissing) else kind)(described(what, error))
    advice = remedy(error, _S3_REMEDIES)
    if "kms:Decrypt" in message:
        advice = _ALLOW_KEY
    elif owner and code in ("403", "AccessDenied"):
        # S3 answers the same for a bucket of another account and for a bucket that we may not read.
        advice = f"may we read it, and does account {owner} own its bucket, as `logs.bucket_owner` requires?"
    return kind(_text(code, what, _without(what, message), advice))


def _kind(code: str, status: int) -> type[LogStoreError]:
    if code in _UNAVAILABLE:
        return LogStoreUnavailable
    if code == _NO_BUCKET:
        return LogBucketMissing
    if code in _DENIED or status in (401, 403):
        return LogAccessDenied
    return LogMissing if status == 404 else LogStoreUnavailable


def _text(code: str, what: str, message: str, remedy: str | None = None) -> str:
    sentence = message.rstrip(" .") if remedy else message
    return ": ".join(part for part in (code, what, sentence, remedy) if part)


def _without(what: str, message: str) -> str:
    """Remove the object's ARN from the message: the line names the object already."""
    name = what.removeprefix("s3://")
    names = "|".join(re.escape(each) for each in {name, name.rpartition(" version ")[0] or name})
    return re.sub(rf'( on resource:)?\s*"?arn:[a-z-]+:s3:::({names})(?=["\s]|$)"?', "", message)


def _line(message: str) -> str:
    """The first line. Addresses are cut to their host: their path would repeat the object's name."""
    first = next(iter(message.strip().splitlines()), "")
    return _URL.sub(r"\1", first)[:MAX_MESSAGE_LENGTH]
