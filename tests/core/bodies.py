"""Message bodies for tests, and their announcements: one case per line."""

import json
from datetime import UTC, datetime
from typing import Any

from tests.wire import ABSENT, changed

from jibe_sqs.core.announcements import MAX_ENVELOPES
from jibe_sqs.core.model import Actor, Kind, LogFile, Nothing, ObjectEvent, SkipReason, Unchanged

LOGS = "the-logs"
DAY = "AWSLogs/111122223333/CloudTrail/eu-west-1/2026/01/31"
KEY = f"{DAY}/111122223333_CloudTrail_eu-west-1_20260131T2355Z_aBcDeFgHiJkLmNoP.json.gz"
OTHER = KEY.replace("2355Z", "2350Z")
ROOT = "AWSLogs/111122223333"
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp()
VALIDATION = "CloudTrail validation message."
TEST_EVENT = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Time": "2026-01-31T12:00:00Z", "Bucket": "photos"}


def delivery(*keys: str, bucket: str = LOGS) -> str:
    return json.dumps({"s3Bucket": bucket, "s3ObjectKey": list(keys)})


def sns(message: str, depth: int = 1, **fields: str) -> str:
    for _ in range(depth):
        envelope = {"Type": "Notification", "MessageId": "1", "TopicArn": "arn:aws:sns:eu-west-1:1:trail"}
        message = json.dumps({**envelope, "Message": message, **fields})
    return message


def record(key: Any = "a/b.txt", name: Any = "ObjectCreated:Put", **changes: Any) -> dict[str, Any]:
    """A record of an S3 event. `changes`: paths of fields with `__` for dots; ABSENT removes a field."""
    made: dict[str, Any] = {
        "eventVersion": "2.3",
        "eventSource": "aws:s3",
        "awsRegion": "eu-west-1",
        "eventTime": "2026-01-31T12:00:00.000Z",
        "eventName": name,
        "userIdentity": {"principalId": "AWS:AIDA1"},
        "requestParameters": {"sourceIPAddress": "192.0.2.7"},
        "s3": {"bucket": {"name": "photos"}, "object": {"key": key, "sequencer": "00AB"}},
    }
    return changed(made, changes)


def s3(*records: Any, **fields: Any) -> str:
    return json.dumps({"Records": list(records), **fields})


def event(key: str = "a/b.txt", kind: Kind = Kind.WRITTEN, name: str = "ObjectCreated:Put", **changes: Any) -> Any:
    actor = Actor(principal="AWS:AIDA1", source_address="192.0.2.7")
    common = {"bucket": "photos", "time": NOON, "event_id": "00AB", "region": "eu-west-1", "actor": actor}
    return ObjectEvent(**{"kind": kind, "key": key, "name": name, **common, **changes})


def unchanged(name: str, key: str = "a/b.txt", bucket: str = "photos", event_id: str = "00AB") -> Unchanged:
    return Unchanged(SkipReason.NOT_OBJECT_CHANGE, bucket, key, NOON, event_id, name)


def file(key: str = KEY, **fields: Any) -> LogFile:
    return LogFile(LOGS, key, **fields)


SES = {"eventSource": "aws:ses", "eventVersion": "1.0", "ses": {"mail": {}, "receipt": {}}}
"""The record that SES passes to a Lambda function."""
LOG_RECORD = record(KEY, s3__bucket__name=LOGS)
NO_SEQUENCER = record(s3__object__sequencer=ABSENT)
DELETE_MARKER = "ObjectRemoved:DeleteMarkerCreated"
EXPIRY_MARKER = "LifecycleExpiration:DeleteMarkerCreated"

CASES: dict[str, tuple[str, list[Any]]] = {
    # CloudTrail
    "raw delivery of one file": (delivery(KEY), [file()]),
    "raw delivery of several files, in order": (delivery(KEY, OTHER), [file(), file(OTHER)]),
    "a key announced twice is one file": (delivery(KEY, OTHER, KEY), [file(), file(OTHER)]),
    "a single key does not need a list": (json.dumps({"s3Bucket": LOGS, "s3ObjectKey": KEY}), [file()]),
    "CloudTrail's keys are not encoded (otel #42027)": (delivery(f"a+b%2F/{KEY}"), [file(f"a+b%2F/{KEY}")]),
    "unknown fields are ignored": (json.dumps({"new": 1, **json.loads(delivery(KEY))}), [file()]),
    "SNS is unwrapped (vector #8185)": (sns(delivery(KEY)), [file()]),
    "SNS in SNS is unwrapped (logstash-input-s3-sns-sqs #51)": (sns(delivery(KEY), 2), [file()]),
    "SNS as deep as the limit is unwrapped": (sns(delivery(KEY), MAX_ENVELOPES), [file()]),
    "SNS of a FIFO topic is unwrapped": (sns(delivery(KEY), SequenceNumber="10000000000000004000"), [file()]),
    "a key with an unusual name is a file": (delivery("moved/x.json.gz"), [file("moved/x.json.gz")]),
    # Nothing to do
    "validation text (otel #47045)": (VALIDATION, [Nothing("CloudTrail validation message")]),
    "validation text in SNS": (sns(VALIDATION), [Nothing("CloudTrail validation message")]),
    "validation text with space around it": (f"\n {VALIDATION}\n", [Nothing("CloudTrail validation message")]),
    "s3:TestEvent (quilt PR 5162)": (json.dumps(TEST_EVENT), [Nothing("s3:TestEvent", "photos")]),
    "s3:TestEvent in SNS (data-prepper #1924)": (sns(json.dumps(TEST_EVENT)), [Nothing("s3:TestEvent", "photos")]),
    "s3:TestEvent of another store": (
        json.dumps({**TEST_EVENT, "Service": "NooBaa", "extra": {"a": 1}}),
        [Nothing("s3:TestEvent", "photos")],
    ),
    "s3:TestEvent as a record (NooBaa)": (
        s3({**TEST_EVENT, "Service": "NooBaa", "HostId": "noobaa-endpoint-1"}),
        [Nothing("s3:TestEvent", "photos")],
    ),
    "s3:TestEvent as the name of an event": ('{"eventName": "s3:TestEvent"}', [Nothing("s3:TestEvent")]),
    "s3:TestEvent as the name of a record": (s3(record(name="s3:TestEvent")), [Nothing("s3:TestEvent")]),
    "a test event without a service, as a record": (
        s3({"eventName": "TestEvent", "Bucket": "photos"}),
        [Nothing("s3:TestEvent", "photos")],
    ),
    **{
        f"only the ARN names the bucket: {arn}": (s3(record(s3__bucket={"arn": arn, **name})), [event()])
        for arn in ("arn:aws:s3:::photos", "arn:aws-cn:s3:::photos", "urn:sgws:s3:::photos")
        for name in ({}, {"name": None}, {"name": ""})
    },
    "the name of a bucket has priority over its ARN": (
        s3(record(s3__bucket={"name": "photos", "arn": "arn:aws:s3:::other"})),
        [event()],
    ),
    "s3:TestEvent without a bucket": ('{"Event": "s3:TestEvent"}', [Nothing("s3:TestEvent")]),
    "subscription": (sns("You…", Type="SubscriptionConfirmation"), [Nothing("SNS SubscriptionConfirmation")]),
    "unsubscription": (sns("You…", Type="UnsubscribeConfirmation"), [Nothing("SNS UnsubscribeConfirmation")]),
    "an S3 event without records": (s3(), []),
    **{
        f"{about} are not read": (delivery(key := f"{ROOT}/{folder}/eu-west-1/x.json.gz"), [Nothing(about, LOGS, key)])
        for folder, about in (
            ("CloudTrail-Digest", "CloudTrail digest"),
            ("CloudTrail-Insight", "CloudTrail Insights events"),
            ("CloudTrail-NetworkActivity", "CloudTrail network activity events"),
            ("CloudTrail-Aggregated", "CloudTrail aggregated events"),
        )
    },
    "the marker of a trail's start is not read": (
        delivery(f"{ROOT}/CloudTrail/", KEY),
        [Nothing("the marker of a trail's start", LOGS, f"{ROOT}/CloudTrail/"), file()],
    ),
    # S3 events of log files
    "an S3 event of a log file": (s3(LOG_RECORD), [file()]),
    "an S3 event of a log file has its size, eTag and version": (
        s3(record(KEY, s3__bucket__name=LOGS, s3__object={"key": KEY, "size": 7, "eTag": "e", "versionId": "v"})),
        [file(version="v", etag="e", size=7)],
    ),
    "a size may be a string (Ceph)": (
        s3(record(s3__bucket__name=LOGS, s3__object={"key": KEY, "size": "1024"})),
        [file(size=1024)],
    ),
    "a size that is not a number is ignored": (
        s3(record(s3__bucket__name=LOGS, s3__object={"key": KEY, "size": "²"})),
        [file()],
    ),
    "a size of five thousand digits is ignored": (
        s3(record(s3__bucket__name=LOGS, s3__object={"key": KEY, "size": "9" * 5000})),
        [file()],
    ),
    "the deletion of a log file is not a change": (
        s3(record(KEY, "ObjectRemoved:Delete", s3__bucket__name=LOGS)),
        [unchanged("ObjectRemoved:Delete", KEY, LOGS)],
    ),
    "a log file in MinIO's encoding": (
        s3(record(KEY.replace("/", "%2F"), s3__bucket__name=LOGS, eventSource="minio:s3")),
        [file()],
    ),
    # S3 events of objects
    "an object written": (s3(record()), [event()]),
    "an object event in SNS": (sns(s3(record())), [event()]),
    "records in their order": (s3(LOG_RECORD, record(), record("c")), [file(), event(), event("c")]),
    **{
        f"ObjectCreated:{how} is a write": (
            s3(record(name=f"ObjectCreated:{how}")),
            [event(name=f"ObjectCreated:{how}")],
        )
        for how in ("Post", "Copy", "CompleteMultipartUpload", "SomethingNew")
    },
    **{
        f"{name} is a delete": (s3(record(name=name)), [event(kind=Kind.DELETED, name=name)])
        for name in ("ObjectRemoved:Delete", DELETE_MARKER, "LifecycleExpiration:Delete", EXPIRY_MARKER)
    },
    "a delete has no size and no eTag (powertools #4156)": (
        s3(record(name="ObjectRemoved:Delete", s3__object={"key": "a"})),
        [event("a", Kind.DELETED, "ObjectRemoved:Delete", event_id="")],
    ),
    **{
        f"{name} changes no object": (s3(record(name=name)), [unchanged(name)])
        for name in (
            "ObjectRestore:Post",
            "ObjectRestore:Completed",
            "ObjectTagging:Put",
            "ObjectTagging:Delete",
            "ObjectAcl:Put",
            "ObjectAnnotation:Put",
            "LifecycleTransition",
            "IntelligentTiering",
            "Replication:OperationFailedReplication",
            "ReducedRedundancyLostObject",
        )
    },
    "+ is a space (vector PR 7470)": (s3(record("a+b/c+d.txt")), [event("a b/c d.txt")]),
    "%2B is a plus (aws-sdk-net #640)": (s3(record("a%2Bb")), [event("a+b")]),
    "%2F is a slash (MinIO)": (s3(record("a%2Fb")), [event("a/b")]),
    "%252F is an encoded %2F": (s3(record("a%252Fb")), [event("a%2Fb")]),
    "UTF-8 is decoded": (s3(record("%C3%A9t%C3%A9/%F0%9F%8C%8A")), [event("été/🌊")]),
    "a key that is not encoded": (s3(record("été/🌊")), [event("été/🌊")]),
    "s3: before the name (MinIO)": (s3(record(name="s3:ObjectCreated:Put", eventSource="minio:s3")), [event()]),
    "MinIO's EventName and Key beside the records": (s3(record(), EventName="s3:x", Key="photos/a"), [event()]),
    "Ceph's source": (s3(record(eventSource="ceph:s3")), [event()]),
    "an empty version is None (Ceph)": (s3(record(s3__object__versionId="")), [event()]),
    "a version is kept": (s3(record(s3__object__versionId="v1")), [event(version="v1")]),
    "an event without a sequencer": (s3(NO_SEQUENCER), [event(event_id="")]),
    "an event without identity, address and region": (
        s3(record(userIdentity=ABSENT, requestParameters=ABSENT, awsRegion=ABSENT)),
        [event(region="", actor=Actor())],
    ),
    "an event with an identity of another type": (
        s3(record(userIdentity=[], requestParameters="x")),
        [event(actor=Actor())],
    ),
    "a time in microseconds (Ceph)": (
        s3(record(eventTime="2026-01-31T12:00:00.250000Z")),
        [event(time=NOON + 0.25)],
    ),
    "a time of another time zone": (s3(record(eventTime="2026-01-31T14:00:00+02:00")), [event()]),
    "a time without a time zone is UTC": (s3(record(eventTime="2026-01-31T12:00:00")), [event()]),
    **{f"version {v}": (s3(record(eventVersion=v)), [event()]) for v in ("2.0", "2.1", "2.2", "2.6", "2.17")},
    "unknown fields in a record (loki #23328)": (s3(record(s3__object__novel={"a": 1}, novel=[1])), [event()]),
}
