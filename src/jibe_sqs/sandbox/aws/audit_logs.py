"""Audit logs: a JSON object a call, MinIO's bare, and Seagate Lyve Cloud's, which wraps it in an `auditEntry`.

Names are as they are. A bulk delete lists its keys; a form doesn't tell its key. The time is when the call began.

Source: MinIO, docs/logging; Lyve Cloud, "S3 API audit log".
"""

import gzip
import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Final
from uuid import UUID

from backports import zstd

from jibe_sqs.sandbox.aws.log_files import LogFiles
from jibe_sqs.sandbox.aws.minio_events import MINIO_NAMES
from jibe_sqs.sandbox.aws.notifications import compact
from jibe_sqs.sandbox.aws.records import Record
from jibe_sqs.sandbox.aws.s3_calls import CallKind, S3Call
from jibe_sqs.sandbox.aws.s3_events import encoded, event, object_fields, s3_events

LYVE_PREFIX: Final = "lyve-audit/"
MINIO_PREFIX: Final = "minio-audit/"

_CALLS: Final = {
    CallKind.PUT: ("PutObject",),
    CallKind.POST: ("PostPolicyBucket",),
    CallKind.COPY: ("CopyObject",),
    CallKind.MULTIPART: ("NewMultipartUpload", "PutObjectPart", "CompleteMultipartUpload"),
    CallKind.DELETE: ("DeleteObject",),
    CallKind.DELETE_MANY: ("DeleteMultipleObjects",),
    CallKind.GET: ("GetObject",),
    CallKind.HEAD: ("HeadObject",),
    CallKind.LIST: ("ListObjectsV2",),
    CallKind.TAG: ("PutObjectTagging",),
    CallKind.ACL: ("PutObjectACL",),
    CallKind.CREATE_BUCKET: ("PutBucket",),
}
_WITHOUT_OBJECT: Final = frozenset({CallKind.POST, CallKind.DELETE_MANY, CallKind.LIST, CallKind.CREATE_BUCKET})


class LyveAudits(LogFiles):
    """Lyve has no topics: a forwarder sends S3-shaped events to the queue. Other streams write beside ours."""

    def __init__(self, *arguments: object, **named: object) -> None:
        super().__init__(*arguments, **named)  # type: ignore[arg-type]
        self._used: set[str] = set()

    def lines(self, call: S3Call) -> list[bytes]:
        """An entry for each call, wrapped."""
        return [
            _line(
                {
                    "auditEntry": entry,
                    "serviceAccountName": call.caller.name,
                    "serviceAccountCreatorId": "admin@example.com",
                }
            )
            for entry in _without(audit_entries(call, self._random), ("accessKey", "parentUser"))
        ]

    def written(self, bucket: str, text: bytes, at: datetime) -> tuple[str, bytes]:
        """Always gzipped."""
        return self._new(f"S3-{bucket}", at), gzip.compress(text)

    def beside(self, at: datetime) -> tuple[str, bytes] | None:
        """The streams of IAM and of the console."""
        if self._random.random() > 0.3:
            return None
        stream, what = self._random.choice((("IAM", "create-service-account"), ("console", "create-bucket")))
        return self._new(stream, at), gzip.compress(_line({"event": what, "time": _time(at.timestamp())}))

    def announce(self, file: S3Call) -> None:
        """As S3 would."""
        self._deployment.send(file.region, compact({"Records": s3_events(file, self._random)}))

    def _new(self, stream: str, at: datetime) -> str:
        """Named by the second: two files of one stream in one second would be one."""
        while (key := f"{LYVE_PREFIX}{stream}-{at:%Y-%m-%d-%H-%M-%S}.gz") in self._used:
            at += timedelta(seconds=1)
        self._used.add(key)
        return key


class MinioAudits(LogFiles):
    """A collector writes them to a bucket, under names that tell nothing, and MinIO announces these as any object."""

    def lines(self, call: S3Call) -> list[bytes]:
        """An entry for each call, bare."""
        return [_line(entry) for entry in audit_entries(call, self._random)]

    def written(self, bucket: str, text: bytes, at: datetime) -> tuple[str, bytes]:
        """Compressed in one way, in another, or not at all."""
        key = f"{MINIO_PREFIX}{at:%Y/%m/%d}/{bucket}-{self._random.getrandbits(64):016x}.ndjson"
        match self._random.randrange(3):
            case 0:
                return f"{key}.zst", zstd.compress(text)
            case 1:
                return f"{key}.gz", gzip.compress(text)
            case _:
                return key, text

    def announce(self, file: S3Call) -> None:
        """In MinIO's dialect."""
        name, key = f"s3:{MINIO_NAMES[file.kind]}", encoded(file.key).replace("/", "%2F")
        record = event(file, name, object_fields(file, key), version="2.0", source="minio:s3", ids={})
        message = {"EventName": name, "Key": f"{file.bucket}/{file.key}", "Records": [record]}
        self._deployment.send(file.region, compact(message))


def audit_entries(call: S3Call, random: Random) -> list[Record]:
    """MinIO's entries of an act, a call each, of which the last ended when the act did."""
    return [_entry(call, name, random) for name in _CALLS[call.kind]]


def _entry(call: S3Call, name: str, random: Random) -> Record:
    nanoseconds = int((call.at - call.began) * 1_000_000_000)
    status = ("Forbidden", 403) if call.failed else ("OK", 200)
    api: Record = {"name": name, "bucket": call.bucket}
    if call.kind is CallKind.DELETE_MANY:
        api["objects"] = [{"objectName": key} for key in call.keys]
    elif call.kind not in _WITHOUT_OBJECT:
        api["object"] = call.key
    api |= {
        "status": status[0],
        "statusCode": status[1],
        "rx": call.size,
        "tx": 0,
        "timeToFirstByte": f"{nanoseconds // 2}ns",
        "timeToResponse": f"{nanoseconds}ns",
    }
    return {
        "version": "1",
        "deploymentid": str(UUID(int=0)),
        "time": _time(call.began),
        "event": "",
        "trigger": "incoming",
        "api": api,
        "remotehost": call.caller.address,
        "requestID": f"{random.getrandbits(64):016X}",
        "userAgent": call.caller.user_agent,
        "requestQuery": {},
        "requestHeader": {"X-Real-Ip": call.caller.address},
        "responseHeader": {"ETag": call.etag} if call.etag else {},
        "accessKey": call.caller.access_key,
        "parentUser": call.caller.name,
    }


def _without(entries: Iterable[Record], fields: tuple[str, ...]) -> list[Record]:
    return [{name: value for name, value in entry.items() if name not in fields} for entry in entries]


def _line(entry: Record) -> bytes:
    return json.dumps(entry, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def _time(at: float) -> str:
    nanoseconds = int(at * 1_000_000_000)
    moment = datetime.fromtimestamp(nanoseconds // 1_000_000_000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{nanoseconds % 1_000_000_000:09}Z"
