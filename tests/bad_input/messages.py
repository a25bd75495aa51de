"""Messages: whatever can stand in a queue. A body never changes, so what is wrong with it is final."""

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
"""What stands beside a trail's log files in a shared bucket."""

FORBIDDEN: Final = "a character that SQS forbids"
HOSTILE: Final = "http://169.254.169.254/latest/meta-data/"
MALFORMED: Final = "AnnouncementMalformed"
UNKNOWN: Final = "AnnouncementUnknown"


def s3_event(*records: Any, **others: Any) -> dict[str, Any]:
    return {"Records": list(records), **others}


def s3_record(key: Any = "bad+input/a.jpg", bucket: Any = DATA, thing: Any = None, **others: Any) -> dict[str, Any]:
    """One record; `others` in place of its own fields, `...` for none. `thing`: more of the object."""
    record = {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": REGION,
        "eventTime": "2026-01-31T12:00:00.123Z",
        "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": bucket}, "object": {"key": key, "size": 5, **(thing or {})}},
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
    """A good announcement in so many of SNS's envelopes."""
    body = announcing(TRAIL.format("nested").replace("CloudTrail/", "CloudTrail-Digest/"))
    for _ in range(times):
        body = json.dumps(envelope(body))
    return body


DEEP: Final = "1,000 lists, one in the other"


def deep(body: Any) -> str:
    """The body, with what `DEEP` says in its place."""
    return json.dumps(body).replace(json.dumps(DEEP), "[" * 1_000 + "]" * 1_000)


text = partial(message, "Messages: no JSON")

NOT_JSON: Final = [
    text("empty", "", reject(MALFORMED, "the body is empty"), unsendable="an empty body"),
    text("white space alone", " \t\r\n ", reject(MALFORMED, "the body is empty")),
    text("prose", "Dear service, please sync.", reject(MALFORMED, "not JSON: .*Dear service")),
    text("half of a JSON document", announcing("a")[:25], reject(MALFORMED, "not JSON: ")),
    text("JSON, and something after it", announcing("a") + "x", reject(MALFORMED, "not JSON: ")),
    text("a byte order mark before the JSON", "\ufeff" + announcing(DIGEST), done("nothing to do: CloudTrail digest")),
    text("a number", "42", reject(UNKNOWN, "no JSON object: it is 42")),
    text("null", "null", reject(UNKNOWN, "no JSON object: it is null")),
    text("a text", '"CloudTrail"', reject(UNKNOWN, "no JSON object: ")),
    text("a list of announcements", f"[{announcing('a')}]", reject(UNKNOWN, "no JSON object: ")),
    text(
        "NaN and Infinity",
        '{"s3Bucket": NaN, "s3ObjectKey": [Infinity]}',
        reject(MALFORMED, "s3Bucket is no bucket's name"),
    ),
    text(
        "100,000 brackets, one in the other",
        lambda: "[" * 100_000 + "]" * 100_000,
        reject(UNKNOWN, "no JSON object: it is a list"),
    ),
    text(
        "1,000 brackets, one in the other",
        "[" * 1_000 + "]" * 1_000,
        reject(UNKNOWN, "no JSON object: it is a list"),
    ),
    text("100,000 brackets that nobody closes", lambda: '{"a":' * 100_000, reject(MALFORMED, "not JSON: ")),
    text("a MiB of text", lambda: "lorem " * 174_000, reject(MALFORMED, "not JSON: .*lorem")),
    text("a MiB of digits", lambda: "9" * 1_000_000, reject(UNKNOWN, "no JSON object: it is a large number")),
    text(
        "more than SQS takes",
        lambda: announcing("a" * 2**21),
        reject("AnnouncementTooLarge", "s3ObjectKey.0 has 2,097,152 characters; 2,000 is the limit"),
        unsendable="2 MiB",
    ),
    text("a NUL byte", '{"s3Bucket": "\0"}', reject(MALFORMED, "no list of keys"), unsendable=FORBIDDEN),
    text("control characters", "\x01\x02\x1b[31m", reject(MALFORMED, "not JSON: "), unsendable=FORBIDDEN),
    text(
        "half of a surrogate pair",
        '{"s3Bucket": "\ud800"}',
        reject(MALFORMED, "s3Bucket is no bucket's name"),
        unsendable=FORBIDDEN,
    ),
    text(
        "half of a surrogate pair, escaped",
        '{"s3Bucket": "\\ud800"}',
        reject(MALFORMED, "s3Bucket is no bucket's name"),
    ),
    text("gzip in base64", "H4sIAAAAAAAAA6tWKk5NLkpVslJQKkpNzClVqgUAAAD//w==", reject(MALFORMED, "not JSON: ")),
    text(
        "XML",
        '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
        reject(MALFORMED, "not JSON: "),
    ),
]

odd = partial(message, "Messages: of no shape, or of an odd one")

OF_NO_SHAPE: Final = [
    odd("an empty object", {}, reject(UNKNOWN, "announces nothing that we know")),
    odd("somebody else's event", {"source": "orders", "id": 7}, reject(UNKNOWN, r"its fields are .*'id', 'source'")),
    odd(
        "50,000 fields",
        lambda: json.dumps(dict.fromkeys(map(str, range(50_000)), 0)),
        reject(UNKNOWN, "its fields are"),
    ),
    odd(
        "the same field twice, the last one empty",
        f'{{"s3Bucket": "{LOGS}", "s3Bucket": "", "s3ObjectKey": ["a"]}}',
        reject(MALFORMED, "s3Bucket is no bucket's name"),
    ),
    odd(
        "CloudTrail's record, in place of its file",
        {"Records": [put()]},
        reject(UNKNOWN, "record 0 of the S3 event has no s3 object"),
    ),
    odd(
        "an S3 event in Lambda's SQS event",
        {"Records": [{"eventSource": "aws:sqs", "body": json.dumps(s3_event(s3_record()))}]},
        reject(UNKNOWN, "record 0 of the S3 event has no s3 object"),
    ),
    odd("a finding of a sweep that says nothing", {"swept": {}}, reject(UNKNOWN, "its fields are 'swept'")),
    odd("half of a surrogate pair in a finding", {"swept": "\udfff"}, reject(UNKNOWN, "its fields are 'swept'")),
    odd(
        "a finding of a sweep, from a queue",
        {"swept": {"bucket": LOGS, "key": TRAIL.format("swept")}},
        reject(UNKNOWN, "its fields are 'swept'"),
    ),
    odd(
        "CloudTrail's validation message",
        "CloudTrail validation message.",
        done("nothing to do: CloudTrail validation message"),
    ),
    odd("almost CloudTrail's validation message", "CloudTrail validation message", reject(MALFORMED, "not JSON")),
    odd("S3's test", {"Event": "s3:TestEvent", "Bucket": DATA}, done("nothing to do: s3:TestEvent")),
    odd("S3's test, without a bucket", {"Event": "s3:TestEvent", "Bucket": 7}, done("nothing to do: s3:TestEvent")),
    odd("S3's test, by the name of its event", {"eventName": "s3:TestEvent"}, done("nothing to do: s3:TestEvent")),
    odd("a test that is 1,000 lists", deep({"Event": DEEP}), reject(UNKNOWN, "event of the unknown kind a list")),
    odd("another test", {"Event": "s3:OtherEvent"}, reject(UNKNOWN, "event of the unknown kind 's3:OtherEvent'")),
    odd("a test of a type that none has", {"Event": ["s3:TestEvent"]}, reject(UNKNOWN, "event of the unknown kind")),
]

sns = partial(message, "Messages: in SNS's envelopes")

SNS: Final = [
    sns("four envelopes, one in the other", nested(4), done("nothing to do: CloudTrail digest")),
    sns("five envelopes, one in the other", nested(5), reject("AnnouncementTooDeep", "more than 4 deep")),
    sns("an envelope with nothing in it", envelope(""), reject(MALFORMED, "the body is empty")),
    sns("an envelope of an unknown type", envelope("{}", Type="Surprise"), reject(UNKNOWN, "unknown type 'Surprise'")),
    sns(
        "an envelope whose message is no text",
        envelope("", Message={"s3Bucket": LOGS}),
        reject(UNKNOWN, "announces nothing that we know"),
    ),
    sns(
        "a subscription to confirm at an address inside our own network",
        envelope("confirm", Type="SubscriptionConfirmation", SubscribeURL=HOSTILE),
        done("nothing to do: SNS SubscriptionConfirmation"),
    ),
    sns(
        "a subscription's end",
        envelope("gone", Type="UnsubscribeConfirmation", SubscribeURL=HOSTILE),
        done("nothing to do: SNS UnsubscribeConfirmation"),
    ),
]

delivery = partial(message, "Messages: CloudTrail's deliveries")

CLOUDTRAIL: Final = [
    delivery("a bucket that is a number", announcing("a", bucket=7), reject(MALFORMED, "s3Bucket is no bucket's name")),
    delivery("a bucket without a name", announcing("a", bucket=""), reject(MALFORMED, "s3Bucket is no bucket's name")),
    delivery("no keys at all", {"s3Bucket": LOGS}, reject(MALFORMED, "s3ObjectKey is no list of keys")),
    delivery("an empty list of keys", announcing(), reject(MALFORMED, "s3ObjectKey is no list of keys")),
    delivery(
        "keys in an object",
        {"s3Bucket": LOGS, "s3ObjectKey": {"0": "a"}},
        reject(MALFORMED, "s3ObjectKey is no list of keys"),
    ),
    delivery(
        "a key that is a number, beside a digest's",
        announcing(DIGEST, 7),
        reject(MALFORMED, "s3ObjectKey.1 is no key: 7"),
    ),
    delivery(
        "a key of 1,000 lists, beside a digest's",
        deep(json.loads(announcing(DIGEST, DEEP))),
        reject(MALFORMED, "s3ObjectKey.1 is no key: a list"),
    ),
    delivery(
        "an empty key, beside a digest's", announcing("", DIGEST), reject(MALFORMED, "s3ObjectKey.0 is no key: ''")
    ),
    delivery(
        "files of other AWS services, test files and folders' markers",
        announcing(*OTHERS),
        done("nothing to do: a file of another AWS service, a test file of an AWS service, a folder's marker"),
    ),
    delivery(
        "1,001 keys",
        lambda: announcing(*(f"{DIGEST}{number}" for number in range(1001))),
        done("nothing to do: CloudTrail digest"),
    ),
    delivery(
        "a bucket that is not on the list",
        announcing(TRAIL.format("a"), bucket="somebody-elses"),
        reject("BucketNotAllowed", "s3://somebody-elses/.* is not in the configured logs"),
    ),
    delivery(
        "a bucket whose name is an address",
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
        reject("AnnouncementTooLarge", "s3ObjectKey.0 has 2,001 characters; 2,000 is the limit"),
    ),
    delivery(
        "a key of 1,025 characters, more than S3 has",
        announcing("é" * 1_025),
        retry("LogMissing|LogStoreUnavailable", f"s3://{LOGS}/ééé"),
    ),
    delivery(
        "a bucket of a thousand characters",
        announcing("a", bucket="b" * 1_000),
        reject("BucketNotAllowed", "not in the configured logs"),
    ),
    delivery(
        "a log that is not there", announcing(TRAIL.format("gone")), retry("LogMissing", f"s3://{LOGS}/AWSLogs/.*gone")
    ),
    delivery("a key that climbs out of its folder", announcing("../../etc/passwd"), retry("LogMissing", "etc/passwd")),
    delivery("a key of slashes and dots", announcing("//./../a//x"), retry("LogMissing", r"//\./\.\./a//x")),
    delivery(
        "a key with control characters", announcing("a\r\nX-Injected: 1\0\x1b[31m"), retry("LogMissing", "X-Injected")
    ),
    delivery(
        "a good event, and one of a bucket that is shown nowhere",
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

event = partial(message, "Messages: S3's events, and other stores'")

S3_EVENTS: Final = [
    event("Records that are no list", {"Records": {"0": s3_record()}}, reject(MALFORMED, "Records is no list")),
    event("no records", s3_event(), done("nothing in it")),
    event(
        "1,001 records",
        lambda: json.dumps(s3_event(*[s3_record()] * 1001)),
        done("refreshed: "),
    ),
    event(
        "a key of 1,000 lists, one in the other, beside a good one",
        deep(s3_event(s3_record(DEEP), s3_record())),
        reject(MALFORMED, "record 0 of the S3 event: s3.object.key is not a text: a list"),
    ),
    event(
        "a bucket of 1,000 lists, one in the other, beside a good one",
        deep(s3_event(s3_record(bucket=DEEP), s3_record())),
        reject(MALFORMED, "record 0 of the S3 event: s3.bucket.name is not a text: a list"),
    ),
    event(
        "a version of 1,000 lists, one in the other", deep(s3_event(s3_record(eventVersion=DEEP))), done("refreshed: ")
    ),
    event(
        "a number of 5,000 digits in a record, beside a good one",
        json.dumps(s3_event(s3_record(), s3_record())).replace('"size": 5', f'"size": {"9" * 5_000}', 1),
        done("refreshed: "),
    ),
    event(
        "a field that is 2,000 lists, one in the other",
        json.dumps(s3_event(s3_record(thing={"size": 0}))).replace('"size": 0', f'"size": {"[" * 2_000 + "]" * 2_000}'),
        done("refreshed: "),
    ),
    event(
        "a raw tab and a raw line break in a text",
        json.dumps(s3_event(s3_record(eventTime="a-b"))).replace("a-b", "a\tb\nc"),
        done("refreshed: "),
    ),
    event(
        "a bucket that only its ARN names",
        s3_event(s3_record(s3={"bucket": {"arn": f"arn:aws:s3:::{DATA}"}, "object": {"key": "bad+input/a.jpg"}})),
        done("refreshed: "),
    ),
    event("S3's test, as a record", s3_event({"eventName": "s3:TestEvent"}), done("nothing to do: s3:TestEvent")),
    event("a record that is null", s3_event(None), reject(UNKNOWN, "record 0 of the S3 event has no s3 object")),
    event(
        "a record without s3, after a good one",
        s3_event(s3_record(), s3_record(s3=...)),
        reject(UNKNOWN, "record 1 of the S3 event has no s3 object"),
    ),
    event(
        "one undecodable key of two",
        s3_event(s3_record("caf%E9/a.jpg"), s3_record("good/b.jpg")),
        reject(MALFORMED, "record 0 of the S3 event: s3.object.key 'caf%E9/a.jpg' is no percent-encoding of UTF-8"),
    ),
    event(
        "three bad records among good ones",
        s3_event(s3_record(7), s3_record(), s3_record(thing={"key": None}), s3_record("%FF"), s3_record("b")),
        reject(MALFORMED, "record 0 of .* is not a text: 7; record 2 of .* has no s3.object.key; record 3 of .*'%FF'"),
    ),
    event(
        "an event of major version 3, beside a good one",
        s3_event(s3_record(), s3_record(eventVersion="3.0")),
        reject("AnnouncementUnsupported", "record 1 of the S3 event is of version '3.0'"),
    ),
    event("an event without a version", s3_event(s3_record(eventVersion=...)), done("refreshed: ")),
    event("an event with a version that is a list", s3_event(s3_record(eventVersion=["3"])), done("refreshed: ")),
    event(
        "an event of a store that we don't know",
        s3_event(s3_record(eventSource="unheard:s3")),
        done("refreshed: .*, .*"),
    ),
    event("an event without a source", s3_event(s3_record("a/b", eventSource=...)), done("refreshed: ")),
    event(
        "an event without s3", s3_event(s3_record(s3=...)), reject(UNKNOWN, "record 0 of the S3 event has no s3 object")
    ),
    event(
        "s3 that is a list", s3_event(s3_record(s3=[])), reject(UNKNOWN, "record 0 of the S3 event has no s3 object")
    ),
    event(
        "a key that is a number",
        s3_event(s3_record(7)),
        reject(MALFORMED, "record 0 of the S3 event: s3.object.key is not a text: 7"),
    ),
    event("a key that is null", s3_event(s3_record(None)), reject(MALFORMED, "has no s3.object.key")),
    event(
        "a key with half of a surrogate pair, escaped, beside a good one",
        s3_event(s3_record("a\ud800"), s3_record()),
        reject(MALFORMED, "record 0 of the S3 event: s3.object.key .* has half of a surrogate pair"),
    ),
    event("NaN in a record", s3_event(s3_record(thing={"size": float("nan")})), done("refreshed: ")),
    event(
        "a bucket that is a list", s3_event(s3_record(bucket=[DATA])), reject(MALFORMED, "s3.bucket.name is not a text")
    ),
    event(
        "a bucket's creation (MinIO's)",
        s3_event(s3_record("", eventName="s3:BucketCreated:*")),
        done("not-object-change 1"),
    ),
    event("a time that is a word", s3_event(s3_record(eventTime="yesterday")), done("refreshed: ")),
    event("a time in the year 10000", s3_event(s3_record(eventTime="10000-01-01T00:00:00Z")), done("refreshed: ")),
    event("a time that is a number", s3_event(s3_record(eventTime=1769860800)), done("refreshed: ")),
    event("a time that is a list", s3_event(s3_record(eventTime=[])), done("refreshed: ")),
    event("a name that is null", s3_event(s3_record(eventName=None)), done("refreshed: ")),
    event("a negative size", s3_event(s3_record(thing={"size": -5})), done("refreshed: ")),
    event("a size of a thousand digits", s3_event(s3_record(thing={"size": "9" * 1000})), done("refreshed: ")),
    event(
        "an event of a kind that we don't know",
        s3_event(s3_record(eventName="ObjectFrozen:Hard")),
        done("refreshed: "),
    ),
    event("a key that climbs out of its bucket", s3_event(s3_record("../../../etc/passwd")), done("refreshed: ")),
    event("a key of nothing but slashes", s3_event(s3_record("///")), done("refreshed: ")),
    event(
        "a key of a MiB",
        lambda: json.dumps(s3_event(s3_record("a/" * 500_000))),
        reject("AnnouncementTooLarge", "s3.object.key has 1,000,000 characters; 2,000 is the limit"),
    ),
    event(
        "MinIO's, with a slash for each level of its key encoded twice",
        s3_event(s3_record("bad+input%252Fa.jpg", eventSource="minio:s3", eventName="s3:ObjectCreated:Put")),
        done("refreshed: "),
    ),
    event(
        "MinIO's, without an object",
        s3_event(s3_record(eventSource="minio:s3", s3={"bucket": {"name": DATA}})),
        reject(MALFORMED, "has no s3.object.key"),
    ),
    event(
        "Ceph's, with a key that only looks encoded",
        s3_event(s3_record("caf%E9.jpg", eventSource="ceph:s3")),
        done("refreshed: "),
    ),
    event(
        "Ceph's, with a size that is an object",
        s3_event(s3_record(eventSource="ceph:s3", thing={"size": {}})),
        done("refreshed: "),
    ),
    event(
        "a log file that is not there",
        s3_event(s3_record(TRAIL.format("s3-event"), LOGS)),
        retry("LogMissing", "s3-event"),
    ),
    event(
        "a log file's deletion",
        s3_event(s3_record(TRAIL.format("a"), LOGS, eventName="ObjectRemoved:Delete")),
        done("skipped: not-object-change"),
    ),
]

CALL: Final = {"detail-type": "AWS API Call via CloudTrail"}
bridged = partial(message, "Messages: EventBridge's")

EVENTBRIDGE: Final = [
    bridged("of another service", eventbridge(source="aws.ec2"), reject(UNKNOWN, "EventBridge event of 'aws.ec2'")),
    bridged("of an unknown detail-type", eventbridge(**{"detail-type": "Object Frozen"}), done("refreshed: ")),
    bridged(
        "of a detail-type that is not about an object",
        eventbridge(detail={}, **{"detail-type": "Storage Lens Export"}),
        done("skipped: not-object-change 1"),
    ),
    bridged("of a detail-type that is a list", eventbridge(**{"detail-type": ["Object Created"]}), done("refreshed: ")),
    bridged(
        "with a detail that is a text", eventbridge(detail="{}"), reject(MALFORMED, "event has no detail.bucket.name")
    ),
    bridged("without a detail", eventbridge(detail=...), reject(MALFORMED, "event has no detail.bucket.name")),
    bridged("without a key", eventbridge(None), reject(MALFORMED, "event has no detail.object.key")),
    bridged("without a time", eventbridge(time=...), done("refreshed: ")),
    bridged("of version 1", eventbridge(version="1"), reject("AnnouncementUnsupported", "unknown version; known is 0")),
    bridged(
        "of a source of 1,000 lists", deep(eventbridge(source=DEEP)), reject(UNKNOWN, "EventBridge event of a list")
    ),
    bridged("of a version of 1,000 lists", deep(eventbridge(version=DEEP)), done("refreshed: ")),
    bridged(
        "with 1,000 lists in a record of CloudTrail's",
        deep(eventbridge(detail=put(userIdentity=DEEP), **CALL)),
        done("refreshed: "),
    ),
    bridged("with a record of CloudTrail's", eventbridge(detail=put(), **CALL), done("refreshed: ")),
    bridged(
        "with a text in place of CloudTrail's record",
        eventbridge(detail="PutObject", **CALL),
        reject(MALFORMED, "the CloudTrail record in the EventBridge event: record 0"),
    ),
    bridged(
        "with a record of CloudTrail's on a bucket",
        eventbridge(detail=put(eventName="PutBucketPolicy"), **CALL),
        done("skipped: not-object-change 1"),
    ),
]

CASES: Final[list[Case]] = [*NOT_JSON, *OF_NO_SHAPE, *SNS, *CLOUDTRAIL, *S3_EVENTS, *EVENTBRIDGE]
