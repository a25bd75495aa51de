"""The first inputs of the fuzzer: small ones with the shapes of real inputs, generated here."""

import gzip
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from random import Random
from typing import Any, Final

from backports import zstd

from jibe_sqs.sandbox.aws import records
from jibe_sqs.sandbox.aws.digests import SigningKey, write_digest

ACCOUNT: Final = "111122223333"
REGION: Final = "eu-west-1"
BUCKET: Final = "photos"
TRAIL_KEY: Final = (
    f"AWSLogs/{ACCOUNT}/CloudTrail/{REGION}/2026/01/31/{ACCOUNT}_CloudTrail_{REGION}_20260131T1205Z_a.json.gz"
)


def announcements() -> Iterator[bytes]:
    """Bodies of every shape, with and without an SNS envelope."""
    for body in _bodies():
        yield body.encode()
        envelope = {"Type": "Notification", "MessageId": "m", "TopicArn": f"arn:aws:sns:{REGION}:{ACCOUNT}:trail"}
        yield _json({**envelope, "Message": body})
    yield _json(
        {"Type": "SubscriptionConfirmation", "TopicArn": "arn:x", "Message": "You…", "SubscribeURL": "https://x"}
    )


def _bodies() -> Iterator[str]:
    yield "CloudTrail validation message."
    yield json.dumps(
        {"s3Bucket": "logs", "s3ObjectKey": [TRAIL_KEY, TRAIL_KEY.replace("CloudTrail/", "CloudTrail-Digest/")]}
    )
    for source, name, key in (
        ("aws:s3", "ObjectCreated:Put", "a+b/%C3%A9.jpg"),
        ("aws:s3", "ObjectRemoved:DeleteMarkerCreated", "a/b"),
        ("aws:s3", "ObjectTagging:Put", "a/b"),
        ("aws:s3", "ObjectCreated:Put", TRAIL_KEY),
        ("minio:s3", "s3:ObjectCreated:CompleteMultipartUpload", "a%2Fb.jpg"),
        ("ceph:s3", "ObjectCreated:Put", "a b/é%.jpg"),
        ("sgws:s3", "ObjectRemoved:Delete", "a+b/%C3%A9.jpg"),
        ("noobaa:s3", "s3:BucketCreated:*", ""),
        ("aws:s3", "ObjectCreated:PutTagging", "%FF"),
    ):
        object_ = {
            "key": key,
            "size": 12,
            "eTag": "9b2cf535f27731c974343645a3985328",
            "sequencer": "0A1B2C",
            "versionId": "v",
        }
        record = {
            "eventVersion": "2.1",
            "eventSource": source,
            "awsRegion": REGION,
            "eventTime": "2026-01-31T12:00:00.123Z",
            "eventName": name,
            "userIdentity": {"principalId": "AWS:AIDA"},
            "requestParameters": {"sourceIPAddress": "192.0.2.1"},
            "s3": {"s3SchemaVersion": "1.0", "bucket": {"name": "photos"}, "object": object_},
        }
        yield json.dumps({"Records": [record]})
        yield json.dumps({"Records": [{**record, "eventVersion": "3.0"}, {"eventSource": "aws:ses"}, record, None]})
    yield json.dumps(
        {"Service": "Amazon S3", "Event": "s3:TestEvent", "Time": "2026-01-31T12:00:00.000Z", "Bucket": "photos"}
    )
    call = next(_cloudtrail_records())
    for detail in (call, {**call, "eventName": "RenameObject"}, {**call, "requestParameters": None}):
        yield json.dumps(
            {"version": "0", "detail-type": "AWS API Call via CloudTrail", "source": "aws.s3", "detail": detail}
        )
    yield json.dumps(
        {
            "events": [
                {"bucketName": "photos", "objectName": "a+b", "eventType": "b2:x", "eventTimestamp": 1769860800123}
            ]
        }
    )
    for name in ("Object Created", "Object Deleted", "Object Restore Completed", "Storage Lens"):
        yield json.dumps(
            {
                "version": "0",
                "id": "17793124-05d4-b198-2fde-7ededc63b103",
                "detail-type": name,
                "source": "aws.s3",
                "time": "2026-01-31T12:00:00Z",
                "region": REGION,
                "detail": {
                    "version": "0",
                    "bucket": {"name": "photos"},
                    "object": {"key": "a b.jpg", "size": 5, "etag": "b1946ac9", "version-id": "v", "sequencer": "0"},
                    "requester": ACCOUNT,
                    "source-ip-address": "192.0.2.1",
                    "reason": "PutObject",
                },
            }
        )


def cloudtrail() -> Iterator[bytes]:
    """Small log files, in the usual form and in others."""
    found = list(_cloudtrail_records())
    yield _json({"Records": found[:2]})
    for record in found:
        yield _json({"Records": [record]})
    yield _json({"Records": found[-3:]})
    yield json.dumps({"Records": [_reduced(each) for each in found]}, indent=1).encode()
    yield _json({"Records": [_reduced(each) for each in found]})
    yield b"\xef\xbb\xbf" + _json(
        {"version": {"Records": [1]}, "Records": [dict(sorted(_reduced(found[0]).items()))], "x": 1}
    )
    yield gzip.compress(_json({"Records": found[:3]}))
    yield _json({"Records": []})
    odd = {"userIdentity": "HIDDEN_DUE_TO_SECURITY_REASONS", "eventID": None, "eventTime": float("nan"), "x": "\udfff"}
    yield json.dumps({"Records": [_reduced(found[0]) | odd, _reduced(found[1])]}).encode()


def _cloudtrail_records() -> Iterator[records.Record]:
    chance = Random(1)
    user = records.Call(
        records.iam_user("alice", account=ACCOUNT, access_key="AKIA"), 1769860800.0, REGION, ACCOUNT, chance
    )
    role = records.Call(
        records.assumed_role("app", "s1", account=ACCOUNT, access_key="ASIA"), 1769860801.0, REGION, ACCOUNT, chance
    )
    yield records.put_object(user, BUCKET, "a/b.jpg", 12)
    yield records.copy_object(role, BUCKET, "a/c.jpg", "other", "x.jpg")
    yield records.complete_multipart_upload(role, BUCKET, "big.bin", "upload")
    yield records.delete_object(user, BUCKET, "a/é.jpg")
    yield records.get_object(user, BUCKET, "a/b.jpg")
    yield records.failed(records.put_object(user, BUCKET, "no"))
    yield records.assume_role(user, "app", "s1")
    yield records.create_bucket(user, BUCKET)
    rename = records.put_object(user, BUCKET, "new.jpg")
    rename["requestParameters"]["x-amz-rename-source"] = "/old.jpg"
    yield rename | {"eventName": "RenameObject", "eventSource": "s3express.amazonaws.com"}
    parent = records.delete_objects(user, BUCKET)
    yield parent
    yield from records.deleted_by(user, parent, ["a/1", "a/2"])


def _reduced(record: records.Record) -> records.Record:
    """A record with only the fields that the parser reads, so that many records fit into one small input."""
    names = (
        "eventVersion",
        "eventTime",
        "eventSource",
        "eventName",
        "eventID",
        "requestID",
        "requestParameters",
        "eventType",
    )
    return {name: record[name] for name in names}


def audit_log() -> Iterator[bytes]:
    """Lines of MinIO and of Lyve Cloud, alone and together."""
    lines = [*_minio_lines()]
    lines += [_json({"auditEntry": json.loads(line), "serviceAccountName": "app"}) for line in lines[:4]]
    yield from lines
    yield b"\n".join(lines)
    yield b"\r\n".join([*lines[:3], b"{", b"", lines[0], b'{"auditEntry": 1}'])
    yield gzip.compress(b"\n".join(lines[:3]))
    yield json.dumps([json.loads(line) for line in lines[:3]], indent=2).encode()
    yield b"".join(lines[:2]) + b"\n" + lines[0].replace(b",", b" ") + b"\n" + lines[1]


def _minio_lines() -> Iterator[bytes]:
    for name, api in (
        ("PutObject", {"object": "a/b.jpg", "statusCode": 200, "timeToResponse": "1234567ns"}),
        ("PutObject", {"object": "a/é b.jpg", "statusCode": 200, "timeToResponseInNS": "1234567"}),
        ("DeleteMultipleObjects", {"objects": [{"objectName": "a/1"}, {"objectName": "a/2", "versionId": "v"}]}),
        ("GetObject", {"object": "a/b.jpg", "statusCode": 404}),
        ("DeleteObject", {"object": "a/b.jpg", "statusCode": 204, "timeToResponse": "9ns"}),
        ("PutObject", {"object": 5, "statusCode": "200"}),
        ("PutObjectExtract", {"object": "x.tar", "statusCode": 200}),
    ):
        yield _json(
            {
                "version": "1",
                "time": "2026-01-31T12:00:00.123456789Z",
                "event": "",
                "trigger": "incoming",
                "api": {"name": name, "bucket": BUCKET, "status": "OK", **api},
                "remotehost": "192.0.2.1:9000",
                "requestID": "17E2AF1B22E6C4F5",
                "userAgent": "MinIO (linux; amd64)",
                "accessKey": "app",
                "responseHeader": {"x-amz-version-id": "v1"},
            }
        )


def access_log() -> Iterator[bytes]:
    """Lines of many operations, alone and together."""
    owner = "79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be"
    lines = [
        f"{owner} {BUCKET} [31/Jan/2026:12:00:00 +0000] 192.0.2.3 arn:aws:iam::{ACCOUNT}:user/a {request} {operation} {key} "
        f'"{verb} /{key} HTTP/1.1" {status} - 113 - 7 6 "-" "S3Console/0.4" - host SigV4 TLS AuthHeader h TLSv1.2 - -'
        for request, operation, key, verb, status in (
            ("3E57427F3EXAMPLE", "REST.PUT.OBJECT", "a/b%2520c.jpg", "PUT", "200"),
            ("3E57427F3EXAMPL2", "REST.COPY.OBJECT", "a/%25C3%25A9", "PUT", "200"),
            ("3E57427F3EXAMPL3", "REST.GET.OBJECT", "a", "GET", "206"),
            ("3E57427F3EXAMPL4", "REST.POST.MULTI_OBJECT_DELETE", "-", "POST", "200"),
            ("3E57427F3EXAMPL5", "REST.PUT.OBJECT", "a", "PUT", "403"),
        )
    ]
    lines += [
        f"{owner} {BUCKET} [31/Jan/2026:12:00:00 +0000] - AmazonS3 A {operation} a%20b/c - - - - - 7 - - - v1 - - - - - - -"
        for operation in ("S3.EXPIRE.OBJECT", "BATCH.DELETE.OBJECT", "S3.CREATE.DELETEMARKER", "S3.TRANSITION.OBJECT")
    ]
    lines.append(
        f'{owner} {BUCKET} [31/Jan/2026:12:00:00 +0530] 1 - R REST.PUT.OBJECT "k "P "x" /k" 200 - - - 5 - "r" "u"a" v'
    )
    lines += [
        f"{owner} {BUCKET} [31/Jan/2026:12:00:00 +0000] 1 - R BATCH.DELETE.OBJECT My+Folder/a%2Bb - 204 - - 7 - - - - -",
        f'{owner} {BUCKET} - not an address - R REST.PUT.OBJECT a%2Bb+c "PUT /a HTTP/1.1" - - - 7 5 - - - -',
    ]
    for line in lines:
        yield line.encode()
    yield "\n".join(lines).encode()
    yield gzip.compress("\n".join(lines[:4]).encode())
    yield from _access_log_json()


def _access_log_json() -> Iterator[bytes]:
    fields: dict[str, Any] = {
        "bucket_name": BUCKET,
        "request_time": "2026-01-31T12:00:00.250Z",
        "request_id": "3E57427F3EXAMPLE",
        "operation": "REST.PUT.OBJECT",
        "key_name": "a%2Bb c}{.jpg",
        "http_status": 200,
        "total_duration": 7,
        "version_id": None,
    }
    objects = [
        _json(fields | others)
        for others in (
            {},
            {"operation": "REST.DELETE.OBJECT", "request_time": 1769860800000, "http_status": "204"},
            {"operation": "REST.GET.OBJECT", "request_time": "[31/Jan/2026:12:00:00 +0000]"},
            {"key_name": 7, "http_status": None, "request_time": "soon"},
        )
    ]
    yield from objects
    yield b"".join(objects)
    yield b"\xef\xbb\xbf" + b"\n".join(objects)
    events = [{"id": "1", "timestamp": 1, "message": each.decode()} for each in objects]
    yield _json({"messageType": "DATA_MESSAGE", "logEvents": events})
    yield b"PAR1" + bytes(9)


def decompressed() -> Iterator[bytes]:
    """Plain text, gzip and zstd: with one or several members, padding, long headers, and truncated."""
    for text in (b"", b"hello, hello, hello", bytes(range(256)) * 4, b"\0" * 70_000):
        gzipped, zstd_data = gzip.compress(text, mtime=0), zstd.compress(text)
        yield from (text, gzipped, gzipped * 2, gzipped + b"\0\0" + gzipped, gzipped[:-3], gzipped + b"x")
        yield from (zstd_data, zstd_data * 2, zstd_data[:-1])
    name = b"\x1f\x8b\x08\x1f\0\0\0\0\0\xff\x03\x00abcname\0comment\0\0\0"
    yield name + gzip.compress(b"text", mtime=0)[10:]
    parameter = zstd.CompressionParameter
    yield zstd.compress(b"checked " * 9, options={parameter.checksum_flag: 1, parameter.content_size_flag: 0})


def recompressed() -> Iterator[bytes]:
    """Texts to compress: empty, short, repetitive, random, all zeros, and every byte once."""
    chance = Random(2)
    yield from (b"", b"a", b"hello " * 100, chance.randbytes(500), b"\0" * 5000, bytes(range(256)))


def digests() -> Iterator[bytes]:
    """Digests of one chain with their keys and signatures, and two inputs whose first line is not the key of a digest."""
    key = SigningKey(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC))
    log = _json({"Records": [_reduced(each) for each in _cloudtrail_records()]})
    before = None
    for hour in (11, 12, 13):
        before = write_digest(
            key,
            bucket="logs",
            account=ACCOUNT,
            region=REGION,
            trail="t",
            home="us-east-1",
            start=datetime(2026, 1, 31, hour, tzinfo=UTC),
            end=datetime(2026, 1, 31, hour + 1, tzinfo=UTC),
            logs=[("logs", TRAIL_KEY, log)] if hour != 11 else [],
            previous=before,
            backfill=hour == 13,
        )
        for body in (before.text, before.body):
            yield b"\n".join((before.key.encode(), before.metadata["signature"].encode(), body))
    yield TRAIL_KEY.encode() + b"\n\n" + key.der
    yield b"2026-01-31T12:00:00Z\n\n{}"


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


SEEDS: Final[dict[str, Callable[[], Iterator[bytes]]]] = {
    "announcements": announcements,
    "cloudtrail": cloudtrail,
    "audit-log": audit_log,
    "access-log": access_log,
    "decompressed": decompressed,
    "recompressed": recompressed,
    "digests": digests,
}
