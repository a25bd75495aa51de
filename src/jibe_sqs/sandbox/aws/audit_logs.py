"""Audit logs: one JSON object for each call. MinIO writes it bare. Seagate Lyve Cloud wraps it in an `auditEntry`.

Keys are not encoded. A bulk delete lists its keys. A form upload does not contain its key. The time is the start of
the call.

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

from jibe_sqs.sandbox.aws.log_files import LogFilePublisher
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


class LyveAudits(LogFilePublisher):
    """Lyve has no topics: a forwarder sends S3-like events to the queue. Other audit streams write to
    the same folder.
    """

    def __init__(self, *arguments: object, **named: object) -> None:
        super().__init__(*arguments, **named)  # type: ignore[arg-type]
        self._used: set[str] = set()

    def lines(self, call: S3Call) -> list[bytes]:
        """One wrapped entry for each call."""
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

    def new_log_file(self, bucket: str, text: bytes, at: datetime) -> tuple[str, bytes]:
        """Lyve's files are always gzipped."""
        return self._new(f"S3-{bucket}", at), gzip.compress(text)

    def other_file(self, at: datetime) -> tuple[str, bytes] | None:
        """Sometimes a file of the IAM or the console stream."""
        if self._random.random() > 0.3:
            return None
        stream, what = self._random.choice((("IAM", "create-service-account"), ("console", "create-bucket")))
        return self._new(stream, at), gzip.compress(_line({"event": what, "time": _time(at.timestamp())}))

    def announce(self, file: S3Call) -> None:
        """Send an S3 event to the queue."""
        self._deployment.send(file.region, compact({"Records": s3_events(file, self._random)}))

    def _new(self, stream: str, at: datetime) -> str:
        """A new key.

        Names contain the time in seconds, so two files of one stream in the same second need different times.
        """
        while (key := f"{LYVE_PREFIX}{stream}-{at:%Y-%m-%d-%H-%M-%S}.gz") in self._used:
            at += timedelta(seconds=1)
        self._used.add(key)
        return key


class MinioAudits(LogFilePublisher):
    """A collector writes the files to a bucket. Their names do not show the format.

    MinIO announces them as any new object.
    """

    def lines(self, call: S3Call) -> list[bytes]:
        """One bare entry for each call."""
        return [_line(entry) for entry in audit_entries(call, self._random)]

    def new_log_file(self, bucket: str, text: bytes, at: datetime) -> tuple[str, bytes]:
        """Compressed with zstd or gzip, or not compressed."""
        key = f"{MINIO_PREFIX}{at:%Y/%m/%d}/{bucket}-{self._random.getrandbits(64):016x}.ndjson"
        match self._random.randrange(3):
            case 0:
                return f"{key}.zst", zstd.compress(text)
            case 1:
                return f"{key}.gz", gzip.compress(text)
            case _:
                return key, text

    def announce(self, file: S3Call) -> None:
        """Send an event in MinIO's dialect to the queue."""
        name, key = f"s3:{MINIO_NAMES[file.kind]}", encoded(file.key).replace("/", "%2F")
        record = event(file, name, object_fields(file, key), version="2.0", source="minio:s3", ids={})
        message = {"EventName": name, "Key": f"{file.bucket}/{file.key}", "Records": [record]}
        self._deployment.send(file.region, compact(message))


def audit_entries(call: S3Call, random: Random) -> list[Record]:
    """MinIO's entries for a call. A multipart upload has three entries; the last of them ended when the call ended."""
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
