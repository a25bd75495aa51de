"""S3 server access logs: one line for each call, and one more line for each key of a bulk delete.

Nothing is escaped: a quote in a request is a quote in the log. Keys are form-encoded (`+` is a space) twice; in the
key lines of a bulk delete they are form-encoded once. The time is the start of the call, truncated to whole seconds.

Source: S3 User Guide, "Server access log format".
"""

from datetime import UTC, datetime
from random import Random
from typing import Final
from urllib.parse import quote, quote_plus

from jibe_sqs.sandbox.aws.log_files import LogFilePublisher
from jibe_sqs.sandbox.aws.notifications import compact
from jibe_sqs.sandbox.aws.s3_calls import CallKind, S3Call
from jibe_sqs.sandbox.aws.s3_events import s3_events

PREFIX: Final = "access-logs/"

_OWNER: Final = "79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be"

_ON_OBJECT: Final = {
    CallKind.PUT: ("REST.PUT.OBJECT", "PUT", ""),
    CallKind.POST: ("REST.POST.OBJECT", "POST", ""),
    CallKind.COPY: ("REST.COPY.OBJECT", "PUT", ""),
    CallKind.DELETE: ("REST.DELETE.OBJECT", "DELETE", ""),
    CallKind.GET: ("REST.GET.OBJECT", "GET", ""),
    CallKind.HEAD: ("REST.HEAD.OBJECT", "HEAD", ""),
    CallKind.TAG: ("REST.PUT.TAGGING", "PUT", "?tagging"),
    CallKind.ACL: ("REST.PUT.ACL", "PUT", "?acl"),
}
"""Operation, HTTP method and query."""

_STATUS: Final = {"REST.DELETE.OBJECT": "204", "BATCH.DELETE.OBJECT": "204", "REST.POST.OBJECT": "204"}

_ON_BUCKET: Final = {
    CallKind.LIST: ("REST.GET.BUCKET", "GET", "?list-type=2"),
    CallKind.CREATE_BUCKET: ("REST.PUT.BUCKET", "PUT", ""),
}


class AccessLogs(LogFilePublisher):
    """The log bucket's own S3 events announce the log files through the topic."""

    def lines(self, call: S3Call) -> list[bytes]:
        """One line for the call. A bulk delete has one more line for each key."""
        return access_log_lines(call, self._random)

    def new_log_file(self, bucket: str, text: bytes, at: datetime) -> tuple[str, bytes]:
        """The key contains account, region, bucket and day."""
        deployment = self._deployment
        folder = f"{PREFIX}{deployment.account}/{deployment.buckets[bucket]}/{bucket}/{at:%Y/%m/%d}"
        return f"{folder}/{at:%Y-%m-%d-%H-%M-%S}-{self._random.getrandbits(64):016X}", text

    def announce(self, file: S3Call) -> None:
        """Publish an S3 event, as for any new object."""
        self._deployment.publish(file.region, compact({"Records": s3_events(file, self._random)}))


def access_log_lines(call: S3Call, random: Random) -> list[bytes]:
    """All lines of a call, each with its line end."""
    request = _Lines(call, random)
    if call.kind in _ON_BUCKET:
        operation, method, query = _ON_BUCKET[call.kind]
        return [request.line(operation, "", f"{method} /{query} HTTP/1.1")]
    if call.kind is CallKind.DELETE_MANY:
        envelope = request.line("REST.POST.MULTI_OBJECT_DELETE", "", "POST /?delete HTTP/1.1")
        return [envelope, *(request.line("BATCH.DELETE.OBJECT", _form_encoded(key), None) for key in call.keys)]
    requests = _multipart(call.upload) if call.kind is CallKind.MULTIPART else [_ON_OBJECT[call.kind]]
    # Each request has an id of its own. The lines of a bulk delete share one id.
    lines = [
        _Lines(call, random).on_object(operation, method, call.key, query) for operation, method, query in requests
    ]
    if call.source and call.source[0] == call.bucket:
        # A copy within the bucket also logs the read of its source.
        lines.append(_Lines(call, random).on_object("REST.COPY.OBJECT_GET", "PUT", call.source[1], ""))
    return lines


def _form_encoded(key: str) -> str:
    return quote_plus(key, safe="/")


def _multipart(upload: str) -> list[tuple[str, str, str]]:
    return [
        ("REST.POST.UPLOADS", "POST", "?uploads"),
        ("REST.PUT.PART", "PUT", f"?partNumber=1&uploadId={upload}"),
        ("REST.POST.UPLOAD", "POST", f"?uploadId={upload}"),
    ]


class _Lines:
    """Formats the lines of one request."""

    def __init__(self, call: S3Call, random: Random) -> None:
        self._call = call
        self._random = random
        self._request = f"{random.getrandbits(64):016X}"

    def on_object(self, operation: str, method: str, key: str, query: str) -> bytes:
        path = quote(key)
        if self._random.random() < 0.1:
            # Some clients do not encode quotes.
            path = path.replace("%22", '"')
        return self.line(operation, _form_encoded(_form_encoded(key)), f"{method} /{path}{query} HTTP/1.1")

    def line(self, operation: str, key: str, request: str | None) -> bytes:
        """`key`: as it is written in the line; empty for a line without a key.

        `request`: None for a line without a request.
        """
        call, random = self._call, self._random
        status, error = ("403", "AccessDenied") if call.failed else (_STATUS.get(operation, "200"), "-")
        agent: bytes = call.caller.user_agent.encode()
        if random.random() < 0.1:
            agent += random.choice((b' "beta"', b' "', b" \xe9t\xe9"))
        fields = [
            _OWNER,
            call.bucket,
            datetime.fromtimestamp(int(call.began), UTC).strftime("[%d/%b/%Y:%H:%M:%S +0000]"),
            call.caller.address,
            call.caller.arn or "-",
            self._request,
            operation,
            key or "-",
            "-" if request is None else f'"{request}"',
            status,
            error,
            "-" if call.kind is not CallKind.GET else str(call.size),
            str(call.size) if key and "DELETE" not in operation else "-",
            # Rounded up: the logged end of a call must not be before its real end.
            str(int((call.at - call.began) * 1000) + 1),
            str(random.randint(1, 30)),
            random.choice(('"-"', '"-"', "-", '"https://files.example.com/?q="a b""')),
        ]
        tail = [
            "-",
            f"{random.getrandbits(256):064x}",
            "SigV4",
            "TLS_AES_128_GCM_SHA256",
            "AuthHeader",
            f"{call.bucket}.s3.{call.region}.amazonaws.com",
            "TLSv1.3",
            "-",
            "-",
        ]
        if random.random() < 0.1:
            # AWS appends new fields over the years.
            tail += [call.region, "a-field-of-tomorrow"]
        return " ".join(fields).encode() + b' "' + agent + b'" ' + " ".join(tail).encode() + b"\n"
