"""Bad S3 events of AWS and other stores, and bad EventBridge events."""

import json
from functools import partial
from typing import Any, Final

from .cases import (
    DATA,
    DEEP,
    LOGS,
    TRAIL,
    Case,
    deep,
    done,
    message,
    put,
    reject,
    retry,
    s3_event,
    s3_record,
)

MALFORMED: Final = "AnnouncementMalformed"
UNKNOWN: Final = "AnnouncementUnknown"


def eventbridge(key: Any = "bad input/a.jpg", **others: Any) -> dict[str, Any]:
    event = {
        "version": "0",
        "detail-type": "Object Created",
        "source": "aws.s3",
        "time": "2026-01-31T12:00:00Z",
        "detail": {"version": "0", "bucket": {"name": DATA}, "object": {"key": key}},
    }
    return {name: value for name, value in (event | others).items() if value is not ...}


event = partial(message, "Messages: S3 events of AWS and other stores")

S3_EVENTS: Final = [
    event(
        "a good event, and an event of a bucket that is not mapped",
        s3_event(s3_record(), s3_record("a", bucket="elsewhere")),
        done("skipped: not-mapped 1; refreshed: "),
    ),
    event("Records that are not a list", {"Records": {"0": s3_record()}}, reject(MALFORMED, "Records is not a list")),
    event("no records", s3_event(), done("nothing in it")),
    event(
        "1,001 records",
        lambda: json.dumps(s3_event(*[s3_record()] * 1001)),
        done("refreshed: "),
    ),
    event(
        "a key of 1,000 nested lists, beside a good record",
        deep(s3_event(s3_record(DEEP), s3_record())),
        reject(MALFORMED, "record 0 of the S3 event: s3.object.key is not a string: a list"),
    ),
    event(
        "a bucket name of 1,000 nested lists, beside a good record",
        deep(s3_event(s3_record(bucket=DEEP), s3_record())),
        reject(MALFORMED, "record 0 of the S3 event: s3.bucket.name is not a string: a list"),
    ),
    event("a version of 1,000 nested lists", deep(s3_event(s3_record(eventVersion=DEEP))), done("refreshed: ")),
    event(
        "a number of 5,000 digits in a record, beside a good record",
        json.dumps(s3_event(s3_record(), s3_record())).replace('"size": 5', f'"size": {"9" * 5_000}', 1),
        done("refreshed: "),
    ),
    event(
        "a field of 2,000 nested lists",
        json.dumps(s3_event(s3_record(more={"size": 0}))).replace('"size": 0', f'"size": {"[" * 2_000 + "]" * 2_000}'),
        done("refreshed: "),
    ),
    event(
        "a raw tab and a raw line break in a string",
        json.dumps(s3_event(s3_record(eventTime="a-b"))).replace("a-b", "a\tb\nc"),
        done("refreshed: "),
    ),
    event(
        "a bucket that is named only by its ARN",
        s3_event(s3_record(s3={"bucket": {"arn": f"arn:aws:s3:::{DATA}"}, "object": {"key": "bad+input/a.jpg"}})),
        done("refreshed: "),
    ),
    event("S3's test event, as a record", s3_event({"eventName": "s3:TestEvent"}), done("nothing to do: s3:TestEvent")),
    event("a record that is null", s3_event(None), reject(UNKNOWN, "record 0 of the S3 event has no field s3")),
    event(
        "a record without s3, after a good record",
        s3_event(s3_record(), s3_record(s3=...)),
        reject(UNKNOWN, "record 1 of the S3 event has no field s3"),
    ),
    event(
        "a key that cannot be decoded, beside a good record",
        s3_event(s3_record("caf%E9/a.jpg"), s3_record("good/b.jpg")),
        reject(MALFORMED, "record 0 of the S3 event: s3.object.key 'caf%E9/a.jpg' is not percent-encoded UTF-8"),
    ),
    event(
        "three bad records among good ones",
        s3_event(s3_record(7), s3_record(), s3_record(more={"key": None}), s3_record("%FF"), s3_record("b")),
        reject(
            MALFORMED, "record 0 of .* is not a string: 7; record 2 of .* has no s3.object.key; record 3 of .*'%FF'"
        ),
    ),
    event(
        "an event of major version 3, beside a good event",
        s3_event(s3_record(), s3_record(eventVersion="3.0")),
        reject("AnnouncementUnsupported", "record 1 of the S3 event has the unknown version '3.0'"),
    ),
    event("an event without a version", s3_event(s3_record(eventVersion=...)), done("refreshed: ")),
    event("an event whose version is a list", s3_event(s3_record(eventVersion=["3"])), done("refreshed: ")),
    event(
        "an event of an unknown store",
        s3_event(s3_record(eventSource="unheard:s3")),
        done("refreshed: .*, .*"),
    ),
    event("an event without a source", s3_event(s3_record("a/b", eventSource=...)), done("refreshed: ")),
    event(
        "an event without s3", s3_event(s3_record(s3=...)), reject(UNKNOWN, "record 0 of the S3 event has no field s3")
    ),
    event(
        "an event whose s3 is a list",
        s3_event(s3_record(s3=[])),
        reject(UNKNOWN, "record 0 of the S3 event has no field s3"),
    ),
    event(
        "a key that is a number",
        s3_event(s3_record(7)),
        reject(MALFORMED, "record 0 of the S3 event: s3.object.key is not a string: 7"),
    ),
    event("a key that is null", s3_event(s3_record(None)), reject(MALFORMED, "has no s3.object.key")),
    event(
        "a key with an escaped lone surrogate, beside a good record",
        s3_event(s3_record("a\ud800"), s3_record()),
        reject(MALFORMED, "record 0 of the S3 event: s3.object.key .* has a lone surrogate"),
    ),
    event("NaN in a record", s3_event(s3_record(more={"size": float("nan")})), done("refreshed: ")),
    event(
        "a bucket that is a list",
        s3_event(s3_record(bucket=[DATA])),
        reject(MALFORMED, "s3.bucket.name is not a string"),
    ),
    event(
        "the creation of a bucket (MinIO)",
        s3_event(s3_record("", eventName="s3:BucketCreated:*")),
        done("not-object-change 1"),
    ),
    event("a time that is a word", s3_event(s3_record(eventTime="yesterday")), done("refreshed: ")),
    event("a time in the year 10000", s3_event(s3_record(eventTime="10000-01-01T00:00:00Z")), done("refreshed: ")),
    event("a time that is a number", s3_event(s3_record(eventTime=1769860800)), done("refreshed: ")),
    event("a time that is a list", s3_event(s3_record(eventTime=[])), done("refreshed: ")),
    event("an event name that is null", s3_event(s3_record(eventName=None)), done("refreshed: ")),
    event("a negative size", s3_event(s3_record(more={"size": -5})), done("refreshed: ")),
    event("a size of a thousand digits", s3_event(s3_record(more={"size": "9" * 1000})), done("refreshed: ")),
    event(
        "an unknown event name",
        s3_event(s3_record(eventName="ObjectFrozen:Hard")),
        done("refreshed: "),
    ),
    event("a key with ../ at its start", s3_event(s3_record("../../../etc/passwd")), done("refreshed: ")),
    event("a key of only slashes", s3_event(s3_record("///")), done("refreshed: ")),
    event(
        "a key of 1 MiB",
        lambda: json.dumps(s3_event(s3_record("a/" * 500_000))),
        reject("AnnouncementTooLarge", "s3.object.key has 1,000,000 characters; the limit is 2,000"),
    ),
    event(
        "MinIO: a key with a slash that is encoded twice",
        s3_event(s3_record("bad+input%252Fa.jpg", eventSource="minio:s3", eventName="s3:ObjectCreated:Put")),
        done("refreshed: "),
    ),
    event(
        "MinIO: no object",
        s3_event(s3_record(eventSource="minio:s3", s3={"bucket": {"name": DATA}})),
        reject(MALFORMED, "has no s3.object.key"),
    ),
    event(
        "Ceph: a key that only looks encoded",
        s3_event(s3_record("caf%E9.jpg", eventSource="ceph:s3")),
        done("refreshed: "),
    ),
    event(
        "Ceph: a size that is an object",
        s3_event(s3_record(eventSource="ceph:s3", more={"size": {}})),
        done("refreshed: "),
    ),
    event(
        "a log file that does not exist",
        s3_event(s3_record(TRAIL.format("s3-event"), LOGS)),
        retry("LogMissing", "s3-event"),
    ),
    event(
        "the deletion of a log file",
        s3_event(s3_record(TRAIL.format("a"), LOGS, eventName="ObjectRemoved:Delete")),
        done("skipped: not-object-change"),
    ),
]

CALL: Final = {"detail-type": "AWS API Call via CloudTrail"}
bridged = partial(message, "Messages: EventBridge events")

EVENTBRIDGE: Final = [
    bridged(
        "an event of another service",
        eventbridge(source="aws.ec2"),
        reject(UNKNOWN, "source of the EventBridge event is 'aws.ec2'"),
    ),
    bridged("an unknown detail-type", eventbridge(**{"detail-type": "Object Frozen"}), done("refreshed: ")),
    bridged(
        "a detail-type that is not about an object",
        eventbridge(detail={}, **{"detail-type": "Storage Lens Export"}),
        done("skipped: not-object-change 1"),
    ),
    bridged("a detail-type that is a list", eventbridge(**{"detail-type": ["Object Created"]}), done("refreshed: ")),
    bridged(
        "a detail that is a string", eventbridge(detail="{}"), reject(MALFORMED, "event has no detail.bucket.name")
    ),
    bridged("no detail", eventbridge(detail=...), reject(MALFORMED, "event has no detail.bucket.name")),
    bridged("no key", eventbridge(None), reject(MALFORMED, "event has no detail.object.key")),
    bridged("no time", eventbridge(time=...), done("refreshed: ")),
    bridged(
        "version 1", eventbridge(version="1"), reject("AnnouncementUnsupported", "unknown version; only 0 is known")
    ),
    bridged(
        "a source of 1,000 nested lists",
        deep(eventbridge(source=DEEP)),
        reject(UNKNOWN, "source of the EventBridge event is a list"),
    ),
    bridged("a version of 1,000 nested lists", deep(eventbridge(version=DEEP)), done("refreshed: ")),
    bridged(
        "1,000 nested lists in a CloudTrail record",
        deep(eventbridge(detail=put(userIdentity=DEEP), **CALL)),
        done("refreshed: "),
    ),
    bridged("a CloudTrail record", eventbridge(detail=put(), **CALL), done("refreshed: ")),
    bridged(
        "a string in place of a CloudTrail record",
        eventbridge(detail="PutObject", **CALL),
        reject(MALFORMED, "the CloudTrail record in the EventBridge event: record 0"),
    ),
    bridged(
        "a CloudTrail record about a bucket",
        eventbridge(detail=put(eventName="PutBucketPolicy"), **CALL),
        done("skipped: not-object-change 1"),
    ),
]

CASES: Final[list[Case]] = [*S3_EVENTS, *EVENTBRIDGE]
