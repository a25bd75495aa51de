"""The calls that programs made under AWS's real host names: who called, which operation, and the permissions that it needs.

An operation and a permission are not the same: one call may need several permissions (a log file that a customer managed
key encrypts needs `s3:GetObject` and `kms:Decrypt`), or none (`GetCallerIdentity`).
"""

import json
import re
from collections import deque
from collections.abc import Mapping
from threading import Lock
from typing import Any, Final
from urllib.parse import parse_qs, unquote

import msgspec

from jibe_sqs.sandbox.aws.regions import s3_address

CALLS: Final = "/moto-api/sandbox/calls"
"""At this path the sandbox's AWS returns the calls that came through its tunnels. `?since=N`: only newer ones."""
MAX_CALLS: Final = 200_000
"""Number of calls that a server keeps. Older ones are dropped."""
_CREDENTIAL: Final = re.compile(r"Credential=([^/,]+)/\d+/([^/,]*)/([^/,]+)/aws4_request")
_RPC: Final = re.compile(r"/service/[^/]+/operation/(\w+)")
"""The path of a call in Smithy's RPC protocol."""


class Need(msgspec.Struct, frozen=True):
    """A permission that a call needs. `context`: what the conditions of a policy may ask about the request."""

    action: str
    """Such as `s3:GetObject`."""
    resource: str
    """An ARN, or `*` for an action that knows no resources."""
    context: dict[str, str] = {}


class AwsCall(msgspec.Struct, frozen=True, kw_only=True):
    """One call. `n` counts from 1. `status`: of the answer, such as 200."""

    n: int = 0
    access_key: str
    """The id of the access key that signed it."""
    service: str
    """The name of the service in the signature, such as `monitoring` for CloudWatch."""
    operation: str
    """Such as `ReceiveMessage`. For S3: the method, what it concerns, and the query's sub-resource: `GET object versionId`."""
    region: str
    status: int = 0
    needs: tuple[Need, ...] = ()


class SignedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request to AWS, as its permissions follow from it."""

    access_key: str
    service: str
    operation: str
    region: str
    parameters: Mapping[str, Any]
    """The parameters of the operation. S3's are those of the query."""
    host: str
    bucket: str = ""
    key: str = ""
    method: str = ""


class RecordedCalls:
    """Keeps the newest calls. Safe for threads."""

    def __init__(self) -> None:
        self._done = 0
        self._calls: deque[AwsCall] = deque(maxlen=MAX_CALLS)
        self._lock = Lock()

    def add(self, call: AwsCall) -> None:
        """Record a call, which gets its number."""
        with self._lock:
            self._done += 1
            self._calls.append(msgspec.structs.replace(call, n=self._done))

    def since(self, n: int) -> list[AwsCall]:
        """The calls with a greater `n`."""
        with self._lock:
            return [call for call in self._calls if call.n > n]


def signed_request(environ: Mapping[str, Any], body: bytes) -> SignedRequest | None:
    """The call in this request. None if it is not signed, such as a GET of SNS's certificate: it needs no permission."""
    path, _, query_string = str(environ["REQUEST_URI"]).partition("?")
    query = {name: values[0] for name, values in parse_qs(query_string, keep_blank_values=True).items()}
    signature = environ.get("HTTP_AUTHORIZATION") or f"Credential={query.get('X-Amz-Credential', '')}"
    signed = _CREDENTIAL.search(str(signature))
    if signed is None:
        return None
    access_key, region, service = signed.groups()
    host, method = str(environ["HTTP_HOST"]), str(environ["REQUEST_METHOD"])
    common = {"access_key": access_key, "service": service, "region": region, "host": host, "method": method}
    if service == "s3":
        bucket, key = s3_address(host, unquote(path)) or ("", "")
        return SignedRequest(operation="", parameters=query, bucket=bucket, key=key, **common)
    if target := environ.get("HTTP_X_AMZ_TARGET"):
        return SignedRequest(operation=target.rpartition(".")[2], parameters=_json(body), **common)
    if rpc := _RPC.fullmatch(path):
        return SignedRequest(operation=rpc[1], parameters={}, **common)
    form = {name: values[0] for name, values in parse_qs(body.decode("latin-1"), keep_blank_values=True).items()}
    # REST: the path is the operation's name, as in `POST /PutAuditEvents?channelArn=...`.
    operation = form.get("Action") or query.get("Action") or path.strip("/")
    return SignedRequest(operation=operation, parameters=query | form, **common)


def _json(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
