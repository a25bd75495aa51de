"""Write docs/reference/formats.md: its text is docs/reference/formats.in.md, its facts and examples are the program's. `make docs`."""

import contextlib
import gzip
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple

from typer.testing import CliRunner

from jibe_sqs.cli import app
from jibe_sqs.core.announcements import MAX_ANNOUNCEMENTS, MAX_ENVELOPES
from jibe_sqs.core.formats.access_log_keys import ENCODED_ONCE
from jibe_sqs.core.formats.registry import FORMATS, FormatSpec
from jibe_sqs.core.key_encodings import KEY_ENCODINGS
from jibe_sqs.core.model import SkipReason
from jibe_sqs.sandbox.aws import records
from jibe_sqs.settings import LimitSettings

HERE: Final = Path(__file__).parent
SOURCE: Final = HERE / "reference" / "formats.in.md"
OUTPUT: Final = HERE / "reference" / "formats.md"

ACCOUNT: Final = "111122223333"
REGION: Final = "eu-west-1"
TRAIL: Final = f"AWSLogs/{ACCOUNT}/CloudTrail/{REGION}/2026/01/31/{ACCOUNT}_CloudTrail_{REGION}_20260131T1205Z_Mu0KsOhtH1ar15ZZ.json.gz"
EXPRESS: Final = "media--euw1-az1--x-s3"
CONFIG: Final = {
    "buckets": {"photos": "/Amazon S3/photos", EXPRESS: "/Amazon S3/media"},
    "own_writes": {"principals": "arn:aws:iam::*:user/access-anywhere"},
    "notifications": [
        {
            "when": "events[0].bucketName",
            "items": "events",
            "bucket": "bucketName",
            "key": "objectName",
            "event": "eventType",
            "time": "eventTimestamp",
            "key_encoding": "raw",
        }
    ],
}
CONFIGURED: Final = {
    "aws:s3": "S3 event notifications of AWS",
    "minio:s3": "of MinIO",
    "ceph:s3": "of Ceph",
    "eventbridge": "EventBridge's events",
}
REASONS: Final = {
    SkipReason.READ_ONLY: "it only reads",
    SkipReason.FAILED: "it was refused or failed, so nothing changed",
    SkipReason.OWN_WRITE: "Access Anywhere did it, which knows it already: one of `own_writes` matches",
    SkipReason.NOT_OBJECT_CHANGE: (
        "it changes no object that is shown: another service's call, tags, ACLs, a part of an upload, a restore, a bucket"
    ),
    SkipReason.NOT_MAPPED: "no folder of `buckets` shows the object",
    SkipReason.BEFORE_SYNC: "it was before the folder's last synchronisation",
    SkipReason.ALREADY_REFRESHED: "the folder was refreshed since (told by the running service only, not by `explain`)",
    SkipReason.DUPLICATE: "the same file told of it before",
}


class Example(NamedTuple):
    """`text` is what stands in the file or the body; `note` says what is remarkable."""

    title: str
    note: str
    text: str
    key: str = ""
    """Of a log file."""
    compressed: bool = True
    arguments: tuple[str, ...] = ()


def generated() -> str:
    """The whole document."""
    text = SOURCE.read_text(encoding="utf-8")
    facts = {
        "config": json.dumps(CONFIG, indent=2),
        "nesting": str(MAX_ENVELOPES),
        "most": f"{MAX_ANNOUNCEMENTS:,}",
        "encodings": "\n".join(
            f"| {CONFIGURED[source]} (`{source}`) | `{told}` |" for source, told in KEY_ENCODINGS.items()
        ),
        "once": ", ".join(f"`{name}`" for name in sorted(ENCODED_ONCE)),
        "limits": "\n".join(_limits()),
        "formats": "\n".join(f"| `{name}` | {_keys(spec)} | {_beginnings(spec)} |" for name, spec in FORMATS.items()),
        "bad": "\n".join(
            f"| `{name}` | `{spec.on_bad_record}` | {spec.on_bad_record_reason} |" for name, spec in FORMATS.items()
        ),
        "reasons": "\n".join(f"| `{reason}` | {REASONS[reason]} |" for reason in SkipReason),
        "messages": _examples(list(_messages())),
        "logs": _examples(list(_logs())),
    }
    for name, fact in facts.items():
        text = text.replace("{{" + name + "}}", fact)
    if "{{" in text:
        raise ValueError(f"formats.in.md asks for what is not there: {text[text.index('{{') :][:40]}")
    return text


def _keys(spec: FormatSpec) -> str:
    return "; ".join(each.shown for each in spec.keys)


def _beginnings(spec: FormatSpec) -> str:
    return "; or ".join(each.shown for each in spec.beginnings)


def _limits() -> Iterator[str]:
    sizes = ", ".join(f"{spec.decompressed_size // 2**30} GiB for `{name}`" for name, spec in FORMATS.items())
    for name, field in LimitSettings.model_fields.items():
        if name in ("messages_reading", "messages_held", "bytes_in_flight"):  # of the service, not of a file
            continue
        default = sizes if field.default is None else _amount(field.default, field.description or "")
        yield f"| `limits.{name}` | {default} | {field.description} |"


def _amount(number: int, description: str) -> str:
    if "bytes of one" not in description:
        return f"{number:,}"
    return f"{number // 2**30} GiB" if number >= 2**30 else f"{number // 2**20} MiB"


def _examples(examples: list[Example]) -> str:
    return "\n".join(_shown(example) for example in examples)


def _shown(example: Example) -> str:
    where = f"In `{example.key}`:\n\n" if example.key else ""
    note = f"{example.note}\n\n" if example.note else ""
    language = "json" if example.text.startswith("{") else "text"
    return (
        f"\n### {example.title}\n{note}{where}```{language}\n{example.text}\n```\n\n"
        f"gives\n\n```json\n{_explained(example)}```"
    )


def _explained(example: Example) -> str:
    """What `explain --json` prints."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path("config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
        options = ["explain", "--json", "--config", "config.json", *example.arguments]
        if example.key:
            name = "log"
            data = example.text.encode()
            Path(name).write_bytes(gzip.compress(data) if example.compressed else data)
            options += ["--key", example.key, name]
        else:
            name = "body"
            Path(name).write_text(example.text, encoding="utf-8")
            options += ["--body", name]
        unset = {variable: None for variable in os.environ if variable.startswith("JIBE_")}
        ran = CliRunner().invoke(app, options, env=unset)
    if not ran.output.startswith("{"):
        raise RuntimeError(f"{example.title}: {ran.output} {ran.exception!r}")
    return ran.output


def _messages() -> Iterator[Example]:
    delivery = {"s3Bucket": "example-trail", "s3ObjectKey": [TRAIL]}
    yield Example(
        "CloudTrail's delivery, through SNS",
        "`Message` is JSON in a text. With raw delivery, it comes alone. Several files may be announced at once.",
        _fields(_envelope(json.dumps(delivery))),
    )
    yield Example("The same, raw", "", _fields(delivery))
    beside = TRAIL.replace("CloudTrail/", "CloudTrail-Digest/")
    yield Example(
        "What stands beside the log files",
        "Digests, Insights events and network activity events hold no object changes: nothing to do.",
        _fields({"s3Bucket": "example-trail", "s3ObjectKey": [beside, beside.replace("Digest", "Insight")]}),
    )
    yield Example(
        "CloudTrail's validation",
        "Sent when a trail is given a topic; it is no JSON.",
        "CloudTrail validation message.",
    )
    yield Example(
        "S3 event of AWS: a change",
        "The bucket is no log source, so the event is the change. The key is decoded: `+` is a space.",
        _s3_event("aws:s3", "ObjectCreated:Put", "photos", "2026/new+year.jpg"),
    )
    yield Example(
        "S3 event of AWS: a log file",
        "A log bucket may announce its files itself, in place of the trail's topic.",
        _s3_event("aws:s3", "ObjectCreated:Put", "example-trail", TRAIL),
    )
    yield Example(
        "S3 event of MinIO",
        "`eventName` begins with `s3:`, and the key's slashes are encoded as well.",
        _s3_event("minio:s3", "s3:ObjectRemoved:Delete", "photos", "2026%2Fnew+year.jpg"),
    )
    yield Example(
        "S3 event of Ceph",
        "Keys are not encoded, and the size may be a text.",
        _s3_event("ceph:s3", "ObjectCreated:CompleteMultipartUpload", "photos", "2026/new year+1.jpg", size="1024"),
    )
    yield Example(
        "S3 event of StorageGRID",
        "Any `eventSource` will do. How this store encodes keys is not known: here both readings count.",
        _s3_event("sgws:s3", "ObjectCreated:Put", "photos", "new+year/1.jpg"),
    )
    yield Example(
        "S3 event with a record that cannot be read",
        "The other record counts. The bad one makes its bucket stale, and the message becomes a dead letter after both are done;"
        " `explain` ends with exit code 1.",
        _s3_event("aws:s3", "ObjectCreated:Put", "photos", "caf%E9/a.jpg", "good/b.jpg"),
    )
    yield Example(
        "S3 event that changes no object",
        "",
        _s3_event("aws:s3", "ObjectTagging:Put", "photos", "2026/a.jpg"),
    )
    yield Example("EventBridge", "Keys are taken as they are, unless `key_encodings` says otherwise.", _eventbridge())
    alice = records.iam_user("alice", account=ACCOUNT, access_key="AKIAIOSFODNN7EXAMPLE")
    call = records.Call(alice, 1769860800.0, REGION, ACCOUNT, Random(1))
    yield Example(
        "EventBridge: a call that CloudTrail reports",
        "`detail` is a record of CloudTrail's, and is read as one of a log file. Cut short here.",
        _via_cloudtrail(_least(records.put_object(call, "photos", "2026/a.jpg", 1024))),
    )
    b2 = {"bucketName": "photos", "eventTimestamp": 1769860800123, "eventType": "b2:ObjectDeleted:Delete"}
    yield Example(
        "A shape that `notifications` describes",
        "Backblaze B2's events, by the configuration above.",
        _fields({"events": [{**b2, "objectName": "2026/a+b.jpg", "eventVersion": 1}]}),
    )
    test = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Time": "2026-01-31T12:00:00.000Z", "Bucket": "photos"}
    yield Example("S3's test", "Sent when a notification is set up: nothing to do.", _fields(test))
    subscription = {"Type": "SubscriptionConfirmation", "TopicArn": f"arn:aws:sns:{REGION}:{ACCOUNT}:trail"}
    yield Example(
        "SNS asks for a confirmation",
        "Its address is never fetched: whoever writes to a queue could name any. Confirm it in the console.",
        _fields({**subscription, "Message": "You have chosen to subscribe…", "SubscribeURL": "https://sns.example/…"}),
    )
    yield Example(
        "Something else",
        "A dead letter, and `explain` ends with exit code 1.",
        _fields({"hello": "world"}),
    )


def _logs() -> Iterator[Example]:
    user = records.iam_user("alice", account=ACCOUNT, access_key="AKIAIOSFODNN7EXAMPLE")
    own = records.iam_user("access-anywhere", account=ACCOUNT, access_key="AKIAI44QH8DHBEXAMPLE")
    call = records.Call(user, 1769860800.0, REGION, ACCOUNT, Random(1))
    yield _cloudtrail(
        "CloudTrail: a write",
        "The object is that of `requestParameters`; `resources` has no order. Keys are not encoded.",
        [records.put_object(call, "photos", "2026/new year.jpg", 1024)],
    )
    yield _cloudtrail(
        "CloudTrail: what is skipped",
        "A read, a refused call, a write of Access Anywhere's own, another service, a bucket that is not shown; cut short here to"
        " the fields that decide.",
        [
            _least(each)
            for each in (
                records.get_object(call, "photos", "2026/a.jpg"),
                records.failed(records.put_object(call, "photos", "2026/b.jpg")),
                records.put_object(records.Call(own, 1769860801.0, REGION, ACCOUNT, Random(2)), "photos", "2026/c.jpg"),
                records.assume_role(call, "app", "session"),
                records.delete_object(call, "elsewhere", "d.jpg"),
            )
        ],
    )
    express = records.put_object(call, EXPRESS, "clips/a.mp4", 2048)
    express["eventSource"] = "s3express.amazonaws.com"
    bucket_arn = f"arn:aws:s3express:{REGION}:{ACCOUNT}:bucket/{EXPRESS}"
    express["resources"] = [
        {"type": "AWS::S3Express::Object", "ARN": f"{bucket_arn}/clips/a.mp4"},
        {"accountId": ACCOUNT, "type": "AWS::S3Express::DirectoryBucket", "ARN": bucket_arn},
    ]
    yield _cloudtrail(
        "CloudTrail: S3 Express One Zone",
        "The object is that of `requestParameters`; where they lack it, of the only object among `resources`.",
        [express],
    )
    many = records.delete_objects(call, "photos")
    yield _cloudtrail(
        "CloudTrail: DeleteObjects that names no keys",
        "The record doesn't say which: all below the bucket, or below the resource's `ARNPrefix`, is stale.",
        [many],
    )
    yield _cloudtrail(
        "CloudTrail: DeleteObjects with a record for each key",
        "Where a trail's selectors allow, records of type `AwsServiceEvent` with the same `requestID` name the keys. In one file"
        " with them, the other asks for nothing. Cut short here.",
        [_least(each) for each in (many, *records.deleted_by(call, many, ["2025/a.jpg", "2025/b.jpg"]))],
    )
    lyve = {"serviceAccountName": "ingest", "serviceAccountCreatorId": "0b0f3b1c-1111-2222-3333-444455556666"}
    yield Example(
        "Seagate Lyve Cloud's audit log",
        "One JSON object a line: what MinIO logs, as `auditEntry`. The event's time is when the request ended. The last line is"
        " bad: it is skipped, and counted.",
        "\n".join(
            [
                _json({"auditEntry": _audit("PutObject", object="2026/new year.jpg"), **lyve}),
                _json({"auditEntry": _audit("GetObject", object="2026/a.jpg", statusCode=206), **lyve}),
                '{"auditEntry": {"api"',
            ]
        ),
        "S3-photos-2026-01-31-12-00-00.gz",
    )
    yield Example(
        "Lyve Cloud's other streams",
        "Of users and of the console. They hold no object changes, and are not read.",
        _json({"auditEntry": {}}),
        "IAM-2026-01-31-12-00-00.gz",
    )
    objects = [{"objectName": "2025/a.jpg"}, {"objectName": "2025/b.jpg", "versionId": "null"}]
    yield Example(
        "MinIO's audit log",
        "The same without the wrapping, and with `objects` for a call on several. MinIO names no files; its format is told by"
        " the first bytes, or by `format`.",
        "\n".join(
            [
                _json(_audit("DeleteMultipleObjects", objects=objects, statusCode=200) | {"accessKey": "ingest"}),
                _json(_audit("PutObjectTagging", object="2026/a.jpg")),
            ]
        ),
        "audit/minio-1.ndjson",
        compressed=False,
    )
    owner = "79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be"
    start = f"{owner} photos [31/Jan/2026:12:00:00 +0000]"
    caller = f"192.0.2.3 arn:aws:iam::{ACCOUNT}:user/alice"
    tls = "aGhJ= SigV4 TLS_AES_128_GCM_SHA256 AuthHeader photos.s3.amazonaws.com TLSv1.3 - -"
    put = (
        f"{start} {caller} 3E57427F3EXAMPLE REST.PUT.OBJECT 2026/new%2520year.jpg"
        f' "PUT /photos/2026/new%20year.jpg HTTP/1.1" 200 - - 1024 62 41 "-" "aws-cli/2.31.0" - {tls}'
    )
    delete = f"{start} {caller} 7B4A0FABBEXAMPLE BATCH.DELETE.OBJECT 2025/old+year.jpg - 204 - - 1024 - - - - - {tls}"
    get = (
        f"{start} {caller} 4442587FBEXAMPLE REST.GET.OBJECT 2026/a.jpg"
        f' "GET /photos/2026/a.jpg HTTP/1.1" 200 - 1024 1024 12 11 "-" "aws-cli/2.31.0" - {tls}'
    )
    yield Example(
        "S3 server access log",
        "One request per line. Keys are form-encoded: a space is `+` in a line of BATCH.DELETE.OBJECT, and `%2520` or `%2B`"
        " (encoded twice) in others. The event's time is when the request ended.",
        f"{put}\n{delete}\n{get}",
        f"{ACCOUNT}/{REGION}/photos/2026/01/31/2026-01-31-12-10-00-0123456789ABCDEF",
        compressed=False,
    )
    yield Example(
        "S3 server access log, as JSON",
        "As CloudWatch Logs delivers it, with the fields that the operator chose.",
        "\n".join(_json(each) for each in _access_log_objects()),
        f"AWSLogs/{ACCOUNT}/S3_SERVER_ACCESS_LOGS/2026/01/31/1.json.gz",
    )
    yield Example(
        "A file that ends early",
        "Nothing of it is acted upon, and `explain` ends with exit code 1: its message is tried again.",
        '{"Records":[{"eventVersion":"1.11","eventSource":"s3.amazonaws.com"',
        TRAIL,
    )


def _access_log_objects() -> Iterator[dict[str, Any]]:
    for request, operation, key, status in (
        ("3E57427F3EXAMPLE", "REST.PUT.OBJECT", "2026/a.jpg", 200),
        ("7B4A0FABBEXAMPLE", "S3.EXPIRE.OBJECT", "2025/a.jpg", None),
        ("4442587FBEXAMPLE", "REST.PUT.OBJECT", "2026/b.jpg", 403),
    ):
        yield {
            "bucket_name": "photos",
            "request_time": "2026-01-31T12:00:00.250Z",
            "requester": f"arn:aws:iam::{ACCOUNT}:user/alice" if status else "AmazonS3",
            "request_id": request,
            "operation": operation,
            "key_name": key,
            "http_status": status,
            "total_duration": 62 if status else None,
        }


def _cloudtrail(title: str, note: str, found: list[records.Record]) -> Example:
    text = ",\n".join(_fields(record) for record in found)
    return Example(title, note, f'{{"Records": [\n{text}\n]}}', TRAIL)


def _least(record: records.Record) -> records.Record:
    names = ["eventVersion", "userIdentity", "eventTime", "eventSource", "eventName", "errorCode", "requestParameters"]
    names += ["requestID", "eventID", "readOnly", "eventType"]
    return {name: record[name] for name in names if name in record}


def _audit(name: str, *, statusCode: int = 200, **api: Any) -> dict[str, Any]:  # noqa: N803 - as on the wire
    return {
        "version": "1",
        "time": "2026-01-31T12:00:00.123456789Z",
        "api": {
            "name": name,
            "bucket": "photos",
            **api,
            "status": "OK",
            "statusCode": statusCode,
            "timeToResponse": "62000000ns",
        },
        "remotehost": "192.0.2.3",
        "requestID": f"17E2AF1B22E6C4F{len(name) % 10}",
        "userAgent": "example-client/1.0",
    }


def _s3_event(source: str, name: str, bucket: str, *keys: str, size: int | str = 1024) -> str:
    found = []
    for key in keys:
        thing: dict[str, Any] = {"key": key, "sequencer": "0055AED6DCD90281E5"}
        if "Removed" not in name:
            thing |= {"size": size, "eTag": "d41d8cd98f00b204e9800998ecf8427e"}
        arn = f"arn:aws:s3:::{bucket}"
        record = {
            "eventVersion": "2.1",
            "eventSource": source,
            "awsRegion": REGION,
            "eventTime": "2026-01-31T12:00:00.123Z",
            "eventName": name,
            "userIdentity": {"principalId": "AWS:AIDAEXAMPLE"},
            "requestParameters": {"sourceIPAddress": "192.0.2.3"},
            "s3": {"s3SchemaVersion": "1.0", "bucket": {"name": bucket, "arn": arn}, "object": thing},
        }
        found.append(_fields(record))
    text = ",\n".join(found)
    return f'{{"Records": [\n{text}\n]}}'


def _via_cloudtrail(record: records.Record) -> str:
    return _fields(
        {
            "version": "0",
            "id": "17793124-05d4-b198-2fde-7ededc63b103",
            "detail-type": "AWS API Call via CloudTrail",
            "source": "aws.s3",
            "account": ACCOUNT,
            "time": "2026-01-31T12:00:05Z",
            "region": REGION,
            "detail": record,
        }
    )


def _eventbridge() -> str:
    return _fields(
        {
            "version": "0",
            "id": "17793124-05d4-b198-2fde-7ededc63b103",
            "detail-type": "Object Deleted",
            "source": "aws.s3",
            "account": ACCOUNT,
            "time": "2026-01-31T12:00:00Z",
            "region": REGION,
            "resources": ["arn:aws:s3:::photos"],
            "detail": {
                "version": "0",
                "bucket": {"name": "photos"},
                "object": {"key": "2026/new year.jpg", "version-id": "1QW9g1Z99LUNbvaaYVpW9xDlOLU.qxgF"},
                "requester": ACCOUNT,
                "source-ip-address": "192.0.2.3",
                "reason": "DeleteObject",
                "deletion-type": "Delete Marker Created",
            },
        }
    )


def _envelope(message: str) -> dict[str, Any]:
    return {
        "Type": "Notification",
        "MessageId": "0c4a2b8e-5d1f-5a7b-9c3d-1e2f3a4b5c6d",
        "TopicArn": f"arn:aws:sns:{REGION}:{ACCOUNT}:trail",
        "Message": message,
        "Timestamp": "2026-01-31T12:05:10.000Z",
    }


def _fields(value: dict[str, Any]) -> str:
    """A field a line: to be read, and not longer than it must be."""
    lines = ",\n".join(f"  {_json(name)}: {_json(inner)}" for name, inner in value.items())
    return f"{{\n{lines}\n}}"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


if __name__ == "__main__":
    OUTPUT.write_text(generated(), encoding="utf-8")
    sys.stdout.write(f"wrote {OUTPUT.relative_to(Path.cwd()) if OUTPUT.is_relative_to(Path.cwd()) else OUTPUT}\n")
