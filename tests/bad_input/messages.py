"""Bad messages in a queue. A body never changes, so its errors are permanent."""

import json
from functools import partial
from typing import Any, Final

from .cases import (
    ACCOUNT,
    DATA,
    LOGS,
    REGION,
    TRAIL,
    Case,
    announcing,
    done,
    envelope,
    message,
    put,
    reject,
    retry,
)

DIGEST: Final = TRAIL.format("digest").replace("CloudTrail/", "CloudTrail-Digest/")
OTHERS: Final = (
    f"AWSLogs/{ACCOUNT}/Config/{REGION}/2026/1/31/ConfigHistory/x.json.gz",
    f"AWSLogs/{ACCOUNT}/elasticloadbalancing/{REGION}/2026/01/31/x.log.gz",
    f"AWSLogs/{ACCOUNT}/vpcflowlogs/{REGION}/2026/01/31/x.log.gz",
    f"AWSLogs/{ACCOUNT}/ELBAccessLogTestFile",
    "photos/",
)
"""Other files beside a trail's log files in a shared bucket."""

FORBIDDEN: Final = "a character that SQS forbids"
HOSTILE: Final = "http://169.254.169.254/latest/meta-data/"
MALFORMED: Final = "AnnouncementMalformed"
UNKNOWN: Final = "AnnouncementUnknown"


def s3_event(*records: Any, **others: Any) -> dict[str, Any]:
    return {"Records": list(records), **others}


def s3_record(key: Any = "bad+input/a.jpg", bucket: Any = DATA, more: Any = None, **others: Any) -> dict[str, Any]:
    """One record. `others` replace its fields, and `...` removes one. `more`: fields to add to the object."""
    record = {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": REGION,
        "eventTime": "2026-01-31T12:00:00.123Z",
        "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": bucket}, "object": {"key": key, "size": 5, **(more or {})}},
    }
    return {name: value for name, value in (record | others).items() if value is not ...}


def eventbridge(key: Any = "bad input/a.jpg", **others: Any) -> dict[str, Any]:
    event = {
        "version": "0",
        "detail-type": "Object Created",
        "source": "aws.s3",
        "time": "2026-01-31T12:00:00Z",
        "detail": {"version": "0", "bucket": {"name": DATA}, "object": {"key": key}},
    }
    return {name: value for name, value in (event | others).items() if value is not ...}


def nested(times: int) -> str:
    """A good announcement in this many SNS envelopes."""
    body = announcing(TRAIL.format("nested").replace("CloudTrail/", "CloudTrail-Digest/"))
    for _ in range(times):
        body = json.dumps(envelope(body))
    return body


DEEP: Final = "1,000 nested lists"


def deep(body: Any) -> str:
    """The body, with 1,000 nested lists in place of `DEEP`."""
    return json.dumps(body).replace(json.dumps(DEEP), "[" * 1_000 + "]" * 1_000)


text = partial(message, "Messages: not JSON")

NOT_JSON: Final = [
    text("empty", "", reject(MALFORMED, "the body is empty"), unsendable="an empty body"),
    text("only white space", " \t\r\n ", reject(MALFORMED, "the body is empty")),
    text("prose", "Dear service, please sync.", reject(MALFORMED, "not JSON: .*Dear service")),
    text("a truncated JSON document", announcing("a")[:25], reject(MALFORMED, "not JSON: ")),
    text("JSON with data after it", announcing("a") + "x", reject(MALFORMED, "not JSON: ")),
    text("a byte order mark before the JSON", "\ufeff" + announcing(DIGEST), done("nothing to do: CloudTrail digest")),
    text("a number", "42", reject(UNKNOWN, "not a JSON object: it is 42")),
    text("null", "null", reject(UNKNOWN, "not a JSON object: it is null")),
    text("a string", '"CloudTrail"', reject(UNKNOWN, "not a JSON object: ")),
    text("a list of announcements", f"[{announcing('a')}]", reject(UNKNOWN, "not a JSON object: ")),
    text(
        "NaN and Infinity",
        '{"s3Bucket": NaN, "s3ObjectKey": [Infinity]}',
        reject(MALFORMED, "s3Bucket is not the name of a bucket"),
    ),
    text(
        "100,000 nested brackets",
        lambda: "[" * 100_000 + "]" * 100_000,
        reject(UNKNOWN, "not a JSON object: it is a list"),
    ),
    text(
        "1,000 nested brackets",
        "[" * 1_000 + "]" * 1_000,
        reject(UNKNOWN, "not a JSON object: it is a list"),
    ),
    text("100,000 brackets that are not closed", lambda: '{"a":' * 100_000, reject(MALFORMED, "not JSON: ")),
    text("1 MiB of text", lambda: "lorem " * 174_000, reject(MALFORMED, "not JSON: .*lorem")),
    text("1 MiB of digits", lambda: "9" * 1_000_000, reject(UNKNOWN, "not a JSON object: it is a large number")),
    text(
        "a body larger than SQS accepts",
        lambda: announcing("a" * 2**21),
        reject("AnnouncementTooLarge", "s3ObjectKey.0 has 2,097,152 characters; the limit is 2,000"),
        unsendable="2 MiB",
    ),
    text("a NUL byte", '{"s3Bucket": "\0"}', reject(MALFORMED, "not a list of keys"), unsendable=FORBIDDEN),
    text("control characters", "\x01\x02\x1b[31m", reject(MALFORMED, "not JSON: "), unsendable=FORBIDDEN),
    text(
        "a lone surrogate",
        '{"s3Bucket": "\ud800"}',
        reject(MALFORMED, "s3Bucket is not the name of a bucket"),
        unsendable=FORBIDDEN,
    ),
    text(
        "an escaped lone surrogate",
        '{"s3Bucket": "\\ud800"}',
        reject(MALFORMED, "s3Bucket is not the name of a bucket"),
    ),
    text("gzip in base64", "H4sIAAAAAAAAA6tWKk5NLkpVslJQKkpNzClVqgUAAAD//w==", reject(MALFORMED, "not JSON: ")),
    text(
        "XML",
        '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
        reject(MALFORMED, "not JSON: "),
    ),
]

odd = partial(message, "Messages: unknown or unusual shapes")

OF_NO_SHAPE: Final = [
    odd("an empty object", {}, reject(UNKNOWN, "unknown shape")),
    odd(
        "an event of another application",
        {"source": "orders", "id": 7},
        reject(UNKNOWN, r"its fields are .*'id', 'source'"),
    ),
    odd(
        "50,000 fields",
        lambda: json.dumps(dict.fromkeys(map(str, range(50_000)), 0)),
        reject(UNKNOWN, "its fields are"),
    ),
    odd(
        "the same field twice, the last one empty",
        f'{{"s3Bucket": "{LOGS}", "s3Bucket": "", "s3ObjectKey": ["a"]}}',
        reject(MALFORMED, "s3Bucket is not the name of a bucket"),
    ),
    odd(
        "a CloudTrail record instead of a CloudTrail file",
        {"Records": [put()]},
        reject(UNKNOWN, "record 0 of the S3 event has no field s3"),
    ),
    odd(
        "an S3 event in an SQS event of Lambda",
        {"Records": [{"eventSource": "aws:sqs", "body": json.dumps(s3_event(s3_record()))}]},
        reject(UNKNOWN, "record 0 of the S3 event has no field s3"),
    ),
    odd("an empty message of a sweep", {"swept": {}}, reject(UNKNOWN, "its fields are 'swept'")),
    odd("a lone surrogate in the message of a sweep", {"swept": "\udfff"}, reject(UNKNOWN, "its fields are 'swept'")),
    odd(
        "the message of a sweep, from a queue",
        {"swept": {"bucket": LOGS, "key": TRAIL.format("swept")}},
        reject(UNKNOWN, "its fields are 'swept'"),
    ),
    odd(
        "CloudTrail's validation message",
        "CloudTrail validation message.",
        done("nothing to do: CloudTrail validation message"),
    ),
    odd(
        "CloudTrail's validation message without its full stop",
        "CloudTrail validation message",
        reject(MALFORMED, "not JSON"),
    ),
    odd("S3's test event", {"Event": "s3:TestEvent", "Bucket": DATA}, done("nothing to do: s3:TestEvent")),
    odd(
        "S3's test event, without a bucket", {"Event": "s3:TestEvent", "Bucket": 7}, done("nothing to do: s3:TestEvent")
    ),
    odd("S3's test event, in the field eventName", {"eventName": "s3:TestEvent"}, done("nothing to do: s3:TestEvent")),
    odd(
        "an event name of 1,000 nested lists",
        deep({"Event": DEEP}),
        reject(UNKNOWN, "event of the unknown kind a list"),
    ),
    odd("another event name", {"Event": "s3:OtherEvent"}, reject(UNKNOWN, "event of the unknown kind 's3:OtherEvent'")),
    odd("an event name that is a list", {"Event": ["s3:TestEvent"]}, reject(UNKNOWN, "event of the unknown kind")),
]

sns = partial(message, "Messages: SNS envelopes")

SNS: Final = [
    sns("four nested envelopes", nested(4), done("nothing to do: CloudTrail digest")),
    sns("five nested envelopes", nested(5), reject("AnnouncementTooDeep", "more than 4 nested SNS envelopes")),
    sns("an envelope with an empty message", envelope(""), reject(MALFORMED, "the body is empty")),
    sns("an envelope of an unknown type", envelope("{}", Type="Surprise"), reject(UNKNOWN, "unknown type 'Surprise'")),
    sns(
        "an envelope whose message is not a string",
        envelope("", Message={"s3Bucket": LOGS}),
        reject(UNKNOWN, "unknown shape"),
    ),
    sns(
        "a subscription confirmation with a URL in our own network",
        envelope("confirm", Type="SubscriptionConfirmation", SubscribeURL=HOSTILE),
        done("nothing to do: SNS SubscriptionConfirmation"),
    ),
    sns(
        "the end of a subscription",
        envelope("gone", Type="UnsubscribeConfirmation", SubscribeURL=HOSTILE),
        done("nothing to do: SNS UnsubscribeConfirmation"),
    ),
]

delivery = partial(message, "Messages: CloudTrail deliveries")

CLOUDTRAIL: Final = [
    delivery(
        "a bucket that is a number",
        announcing("a", bucket=7),
        reject(MALFORMED, "s3Bucket is not the name of a bucket"),
    ),
    delivery(
        "an empty bucket name", announcing("a", bucket=""), reject(MALFORMED, "s3Bucket is not the name of a bucket")
    ),
    delivery("no keys", {"s3Bucket": LOGS}, reject(MALFORMED, "s3ObjectKey is not a list of keys")),
    delivery("an empty list of keys", announcing(), reject(MALFORMED, "s3ObjectKey is not a list of keys")),
    delivery(
        "keys in an object",
        {"s3Bucket": LOGS, "s3ObjectKey": {"0": "a"}},
        reject(MALFORMED, "s3ObjectKey is not a list of keys"),
    ),
    delivery(
        "a key that is a number, beside the key of a digest",
        announcing(DIGEST, 7),
        reject(MALFORMED, "s3ObjectKey.1 is not a key: 7"),
    ),
    delivery(
        "a key of 1,000 nested lists, beside the key of a digest",
        deep(json.loads(announcing(DIGEST, DEEP))),
        reject(MALFORMED, "s3ObjectKey.1 is not a key: a list"),
    ),
    delivery(
        "an empty key, beside the key of a digest",
        announcing("", DIGEST),
        reject(MALFORMED, "s3ObjectKey.0 is not a key: ''"),
    ),
    delivery(
        "files of other AWS services, test files and folder markers",
        announcing(*OTHERS),
        done("nothing to do: a file of another AWS service, a test file of an AWS service, a folder's marker"),
    ),
    delivery(
        "1,001 keys",
        lambda: announcing(*(f"{DIGEST}{number}" for number in range(1001))),
        done("nothing to do: CloudTrail digest"),
    ),
    delivery(
        "a bucket that is not configured",
        announcing(TRAIL.format("a"), bucket="not-configured"),
        reject("BucketNotAllowed", "s3://not-configured/.* is not in the configured logs"),
    ),
    delivery(
        "a bucket whose name is a URL",
        announcing("a", bucket=HOSTILE),
        reject("BucketNotAllowed", "not in the configured logs"),
    ),
    delivery(
        "an object of a data bucket",
        announcing("holiday.jpg", bucket=DATA),
        reject("BucketNotAllowed", "holiday.jpg is not in the configured logs"),
    ),
    delivery(
        "a key of 2,001 characters",
        announcing("a" * 2_001),
        reject("AnnouncementTooLarge", "s3ObjectKey.0 has 2,001 characters; the limit is 2,000"),
    ),
    delivery(
        "a key of 1,025 characters, more than S3 allows",
        announcing("é" * 1_025),
        retry("LogMissing|LogStoreUnavailable", f"s3://{LOGS}/ééé"),
    ),
    delivery(
        "a bucket name of 1,000 characters",
        announcing("a", bucket="b" * 1_000),
        reject("BucketNotAllowed", "not in the configured logs"),
    ),
    delivery(
        "a log file that does not exist",
        announcing(TRAIL.format("gone")),
        retry("LogMissing", f"s3://{LOGS}/AWSLogs/.*gone"),
    ),
    delivery("a key with ../ at its start", announcing("../../etc/passwd"), retry("LogMissing", "etc/passwd")),
    delivery("a key of slashes and dots", announcing("//./../a//x"), retry("LogMissing", r"//\./\.\./a//x")),
    delivery(
        "a key with control characters", announcing("a\r\nX-Injected: 1\0\x1b[31m"), retry("LogMissing", "X-Injected")
    ),
    delivery(
        "a good event, and an event of a bucket that is not mapped",
        s3_event(s3_record(), s3_record("a", bucket="elsewhere")),
        done("skipped: not-mapped 1; refreshed: "),
    ),
    delivery(
        "a digest, and an Insights file",
        announcing(
            *(TRAIL.format("a").replace("CloudTrail/", f"CloudTrail-{each}/") for each in ("Digest", "Insight"))
        ),
        done("nothing to do: CloudTrail digest, CloudTrail Insights events"),
    ),
    delivery(
        "the marker of a trail's start",
        announcing(f"AWSLogs/{ACCOUNT}/CloudTrail/"),
        done("nothing to do: the marker of a trail's start"),
    ),
]

event = partial(message, "Messages: S3 events of AWS and other stores")

S3_EVENTS: Final = [
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
        reject(UNKNOWN, "EventBridge event with the source 'aws.ec2'"),
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
        reject(UNKNOWN, "EventBridge event with the source a list"),
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

CASES: Final[list[Case]] = [*NOT_JSON, *OF_NO_SHAPE, *SNS, *CLOUDTRAIL, *S3_EVENTS, *EVENTBRIDGE]
