"""The announcements in message bodies: one case per line, then arbitrary text."""

import json
import math
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.wire import ABSENT, changed

from jibe_sqs.core.announcements import MAX_ANNOUNCEMENTS, MAX_ENVELOPES, MAX_NAMED, NO_SOURCES, announcements, combined
from jibe_sqs.core.errors import (
    AnnouncementError,
    AnnouncementMalformed,
    AnnouncementTooDeep,
    AnnouncementTooLarge,
    AnnouncementUnknown,
    AnnouncementUnsupported,
)
from jibe_sqs.core.formats.format import Format
from jibe_sqs.core.model import (
    UNKNOWN_TIME,
    Actor,
    Kind,
    LogFile,
    Nothing,
    ObjectEvent,
    SkipReason,
    Unchanged,
    Unreadable,
)
from jibe_sqs.core.notification_rules import Expression, NotificationRule
from jibe_sqs.core.sources import LogSource, Sources

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
    "the mark of a trail's start is not read": (
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


@pytest.mark.parametrize(("body", "expected"), CASES.values(), ids=CASES.keys())
def test_a_body_gives_its_announcements(body, expected):
    assert announcements(body) == expected


def test_with_configured_log_sources_the_names_of_keys_do_not_matter():
    body = s3(record("odd-name.gz", s3__bucket__name=LOGS), record(KEY))
    assert announcements(body, Sources([LogSource(LOGS)])) == [file("odd-name.gz"), event(KEY)]


def test_other_files_of_a_configured_source_are_not_read():
    digest = f"{ROOT}/CloudTrail-Digest/eu-west-1/x.json.gz"
    body = s3(record(digest, s3__bucket__name=LOGS))
    assert announcements(body, Sources([LogSource(LOGS)])) == [Nothing("CloudTrail digest", LOGS, digest)]


OTHERS = {
    "AWS Config": f"{ROOT}/Config/eu-west-1/2026/1/31/ConfigHistory/x.json.gz",
    "AWS Config's test file": f"{ROOT}/Config/ConfigWritabilityCheckFile",
    "a load balancer": f"{ROOT}/elasticloadbalancing/eu-west-1/2026/01/31/x.log.gz",
    "a load balancer's test file": f"{ROOT}/ELBAccessLogTestFile",
    "VPC flow logs": f"p/{ROOT}/vpcflowlogs/eu-west-1/2026/01/31/x.log.gz",
    "VPC flow logs in Hive's layout": "AWSLogs/aws-account-id=111122223333/aws-service=vpcflowlogs/x.log.gz",
    "Route 53 Resolver": f"{ROOT}/vpcdnsquerylogs/vpc-1/2026/01/31/x.log.gz",
    "WAF": f"{ROOT}/WAFLogs/cloudfront/acl/2026/01/31/12/00/x.log.gz",
    "GuardDuty": f"{ROOT}/GuardDuty/eu-west-1/2026/01/31/x.jsonl.gz",
    "CloudFront": "cdn/E2EXAMPLE1234.2026-01-31-12.a1b2c3d4.gz",
    "a folder's marker": f"{DAY}/",
    "another folder's marker": "holiday/",
}


@pytest.mark.parametrize("key", OTHERS.values(), ids=OTHERS.keys())
@pytest.mark.parametrize("sources", [Sources(), Sources([LogSource(LOGS)]), Sources([LogSource("*")])], ids=str)
@pytest.mark.parametrize("depth", [0, 1])
def test_other_files_in_a_shared_log_bucket_give_nothing_to_do(key, sources, depth):
    body = delivery(KEY, key)
    assert [type(each) for each in announcements(sns(body) if depth else body, sources)] == [LogFile, Nothing]


@pytest.mark.parametrize("key", OTHERS.values(), ids=OTHERS.keys())
def test_s3_events_of_other_files_in_a_shared_log_bucket_give_nothing_to_do(key):
    (found,) = announcements(s3(record(quote_plus(key), s3__bucket__name=LOGS)), Sources([LogSource(LOGS)]))
    assert isinstance(found, Nothing)
    assert (found.bucket, found.key) == (LOGS, key)


@pytest.mark.parametrize("format_", [Format.AUDIT_LOG, Format.ACCESS_LOG])
def test_a_configured_format_allows_files_in_the_folders_of_other_services(format_):
    key = f"{ROOT}/minio/2026/01/31/audit.json"
    assert announcements(delivery(key, f"{ROOT}/"), Sources([LogSource(LOGS, "", format_)])) == [
        file(key),
        Nothing("a folder's marker", LOGS, f"{ROOT}/"),
    ]
    assert announcements(delivery(key), Sources([LogSource(LOGS, f"{ROOT}/minio/")])) == [file(key)]


@pytest.mark.parametrize("key", [KEY, "elsewhere/x.json.gz"])
@pytest.mark.parametrize(
    "sources", [Sources([LogSource(LOGS, "trail/")]), Sources([LogSource("*", "trail/")])], ids=str
)
def test_a_file_outside_the_configured_prefixes_gives_nothing_to_do(key, sources):
    assert announcements(delivery(key), sources) == [Nothing("a file outside the configured logs", LOGS, key)]


def test_a_delivery_from_a_bucket_that_is_not_configured_still_gives_its_files():
    """The handler refuses them, with a reason for the dead letter."""
    assert announcements(delivery(KEY), Sources([LogSource("other")])) == [file()]


@pytest.mark.parametrize(
    "made", [lambda n: delivery(*(f"{DAY}/{i}.json.gz" for i in range(n))), lambda n: s3(*[record()] * n)]
)
def test_a_body_may_have_thousands_of_announcements(made):
    assert len(announcements(made(2_500))) == 2_500


def test_the_largest_body_of_sqs_has_fewer_keys_than_the_limit():
    body = '{"s3Bucket":"b","s3ObjectKey":[' + ",".join(['"a"'] * (MAX_ANNOUNCEMENTS - 10)) + "]}"
    assert len(body) <= 2**20 < len(body) + 40
    assert announcements(body) == [LogFile("b", "a")]


@pytest.mark.parametrize("body", ['{"Records": [%s]}', '{"s3Bucket": "b", "s3ObjectKey": [%s]}'])
def test_a_body_with_more_items_than_the_limit_is_refused(body):
    with pytest.raises(AnnouncementTooLarge, match="262,145 items"):
        announcements(body % ",".join(["0"] * (MAX_ANNOUNCEMENTS + 1)))


@pytest.mark.parametrize("made", [delivery, lambda key: s3(record(key))])
def test_a_key_longer_than_the_limit_is_refused(made):
    """Without it, one key could make Access Anywhere search half a million folders, and each log line would have 1 MiB."""
    assert len(announcements(made("a/" * 50), key_length=100)) == 1
    for key in ("a/" * 51, "a/" * 500_000):
        *_, last = announcements(made(key), key_length=100)
        assert isinstance(last, Unreadable)
        assert isinstance(last.error, AnnouncementTooLarge)
        assert f"has {len(key):,} characters; the limit is 100 (limits.key_length)" in str(last.error)


def test_a_bucket_longer_than_the_limit_is_refused():
    with pytest.raises(AnnouncementTooLarge, match=r"s3Bucket has 101 characters; the limit is 100"):
        announcements(delivery("a", bucket="b" * 101), key_length=100)


SES = {"eventSource": "aws:ses", "eventVersion": "1.0", "ses": {"mail": {}, "receipt": {}}}
"""The record that SES passes to a Lambda function."""

REFUSED: dict[str, tuple[str, type[AnnouncementError], str]] = {
    "an empty body": ("", AnnouncementMalformed, "the body is empty"),
    "a blank body": (" \n", AnnouncementMalformed, "the body is empty"),
    "text": ("hello world", AnnouncementMalformed, "hello world"),
    "half a body": (delivery(KEY)[:-1], AnnouncementMalformed, "not JSON"),
    "lone surrogates": ("\ud800", AnnouncementMalformed, "not JSON"),
    "brackets that are not closed": ("[" * 100_000, AnnouncementMalformed, "not JSON"),
    "text in SNS": (sns("hello"), AnnouncementMalformed, "hello"),
    "a JSON list": ("[1]", AnnouncementUnknown, "not a JSON object"),
    "a JSON number": ("5", AnnouncementUnknown, "not a JSON object"),
    "a JSON string": ('"x"', AnnouncementUnknown, "not a JSON object"),
    "null": ("null", AnnouncementUnknown, "not a JSON object"),
    "an empty object": ("{}", AnnouncementUnknown, "unknown shape: it is an empty object"),
    "an object with unknown fields": ('{"b": 1, "a": 2}', AnnouncementUnknown, "'a', 'b'"),
    "SNS deeper than the limit": (sns(delivery(KEY), MAX_ENVELOPES + 1), AnnouncementTooDeep, str(MAX_ENVELOPES)),
    "an SNS message of an unknown type": (sns("x", Type="Surprise"), AnnouncementUnknown, "Surprise"),
    "an envelope without its topic": ('{"Type": "Notification", "Message": "{}"}', AnnouncementUnknown, "Message"),
    "an envelope whose message is not a string": (
        '{"Type": "Notification", "TopicArn": "x", "Message": {}}',
        AnnouncementUnknown,
        "Message",
    ),
    "another event": ('{"Event": "s3:Other"}', AnnouncementUnknown, "s3:Other"),
    "an event whose name is a list": (
        '{"Event": ["s3:TestEvent"]}',
        AnnouncementUnknown,
        "name of the event is unknown: a list",
    ),
    "the message of a sweep": ('{"swept": {"bucket": "b", "key": "k"}}', AnnouncementUnknown, "'swept'"),
    "a malformed message of a sweep": ('{"swept": "\\udfff"}', AnnouncementUnknown, "'swept'"),
    "a delivery without keys": ('{"s3Bucket": "b"}', AnnouncementMalformed, "s3ObjectKey"),
    "a delivery of an empty list": ('{"s3Bucket": "b", "s3ObjectKey": []}', AnnouncementMalformed, "s3ObjectKey"),
    "a delivery whose keys are an object": (
        '{"s3Bucket": "b", "s3ObjectKey": {"a": 1}}',
        AnnouncementMalformed,
        "s3ObjectKey",
    ),
    "a delivery whose bucket is a number": ('{"s3Bucket": 7, "s3ObjectKey": ["k"]}', AnnouncementMalformed, "s3Bucket"),
    "a delivery whose bucket is empty": ('{"s3Bucket": "", "s3ObjectKey": ["k"]}', AnnouncementMalformed, "s3Bucket"),
    "Records that are not a list": ('{"Records": {}}', AnnouncementMalformed, "Records"),
    "a record that is not an object": (s3("x"), AnnouncementUnknown, "record 0 of the S3 event has no field s3"),
    "a record of SES": (s3(SES), AnnouncementUnknown, "record 0"),
    "records of SES": (s3(SES, SES), AnnouncementUnknown, "record 1"),
    "an S3 event without s3": (s3(record(s3=ABSENT)), AnnouncementUnknown, "record 0"),
    **{
        f"an S3 event whose s3 is {shown}": (s3(record(s3=value)), AnnouncementUnknown, "record 0")
        for shown, value in {"null": None, "a number": 7, "a list": ["x"]}.items()
    },
}


@pytest.mark.parametrize(("body", "error", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_a_body_is_refused_with_its_reason(body, error, reason):
    with pytest.raises(AnnouncementError) as raised:
        announcements(body)
    assert type(raised.value) is error
    assert reason in str(raised.value)


STALE = event("", Kind.WRITTEN_UNLISTED)
"""The event of a write whose key cannot be read: the whole bucket is stale."""

UNREADABLE: dict[str, tuple[str, list[Any], type[AnnouncementError], str]] = {
    "version 3": (
        s3(record(eventVersion="3.0")),
        [],
        AnnouncementUnsupported,
        "record 0 of the S3 event has the unknown version '3.0'",
    ),
    "version 20": (s3(record(eventVersion="20.1")), [], AnnouncementUnsupported, "20.1"),
    "version 3, as a number": (s3(record(eventVersion=3)), [], AnnouncementUnsupported, "3"),
    **{
        f"{path} of {shown}": (
            s3(record(**{path: value})),
            stale,
            AnnouncementMalformed,
            f"record 0 of the S3 event{reason}",
        )
        for path, stale, field in (
            ("s3__bucket", [], "s3.bucket.name"),
            ("s3__bucket__name", [], "s3.bucket.name"),
            ("s3__object", [replace(STALE, event_id="")], "s3.object.key"),
            ("s3__object__key", [STALE], "s3.object.key"),
        )
        for shown, value in {"nothing": ABSENT, "null": None, "a number": 7, "a list": ["x"], "a map": {}}.items()
        for reason in [
            f": {field} is not a string"
            if path.endswith(("name", "key")) and shown.startswith("a ")
            else f" has no {field}"
        ]
    },
    "an empty key": (s3(record("")), [STALE], AnnouncementMalformed, "has no s3.object.key"),
    "an empty bucket": (s3(record(s3__bucket__name="")), [], AnnouncementMalformed, "has no s3.bucket.name"),
    "a key that is not UTF-8": (s3(record("%FF")), [STALE], AnnouncementMalformed, "not percent-encoded UTF-8"),
    "a key with a lone surrogate": (
        s3(record("a\ud800")),
        [STALE],
        AnnouncementMalformed,
        "a lone surrogate",
    ),
    "a delete without a key": (
        s3(record(None, "ObjectRemoved:Delete")),
        [event("", Kind.DELETED_UNLISTED, "ObjectRemoved:Delete")],
        AnnouncementMalformed,
        "has no s3.object.key",
    ),
    "a delivery of an empty key": (delivery(""), [], AnnouncementMalformed, "s3ObjectKey.0 is not a key"),
    "a delivery of a number": (
        json.dumps({"s3Bucket": LOGS, "s3ObjectKey": [7, KEY]}),
        [file()],
        AnnouncementMalformed,
        "s3ObjectKey.0 is not a key: 7",
    ),
}


@pytest.mark.parametrize(("body", "others", "error", "reason"), UNREADABLE.values(), ids=UNREADABLE.keys())
def test_an_unreadable_record_gives_its_error_and_its_readable_part(body, others, error, reason):
    found = announcements(body)
    (unreadable,) = [each for each in found if isinstance(each, Unreadable)]
    assert [each for each in found if each is not unreadable] == others
    assert type(unreadable.error) is error
    assert reason in str(unreadable.error)
    assert unreadable.index == 0


def test_an_unreadable_record_does_not_stop_the_others():
    """One key cannot be decoded, one record has no key, and one is of another service."""
    body = s3(record("caf%E9/a.jpg"), record("good/b.jpg"), SES, record(s3__object=ABSENT), record("good/c.jpg"))
    found = announcements(body)
    assert [each.key for each in found if isinstance(each, ObjectEvent)] == ["", "good/b.jpg", "", "good/c.jpg"]
    assert [each.index for each in found if isinstance(each, Unreadable)] == [0, 2, 3]


def test_json_that_only_lenient_parsers_accept_is_read():
    """orjson rejects NaN and lone surrogates. One such record must not stop the others."""
    body = s3(record("a"), record("b", s3__object__size=float("nan")), record("c\udfff"), record("d"))
    found = announcements(body)
    assert [each.key for each in found if isinstance(each, ObjectEvent)] == ["a", "b", "", "d"]
    assert [each.index for each in found if isinstance(each, Unreadable)] == [2]


@pytest.mark.parametrize("value", [ABSENT, None, 7, ["x"], {}, "soon", "", "0001-01-01T00:00:00Z", float("nan"), True])
def test_an_event_without_a_readable_time_is_new(value):
    """Go writes the zero time for a field that was not set."""
    assert announcements(s3(record(eventTime=value))) == [event(time=UNKNOWN_TIME)]


@pytest.mark.parametrize("value", [ABSENT, None, 7, ["x"], {}, ""])
def test_an_event_without_a_readable_name_is_a_write(value):
    assert announcements(s3(record(eventName=value))) == [event(name="")]


@pytest.mark.parametrize("value", [ABSENT, None, "", "0.1", "1.0", "2", 2, 2.1, 1, ["2.1"], {}, "v2.1", True])
def test_only_a_newer_major_version_rejects_a_record(value):
    """Scality sends 0.1 and 1.0; some stores send no version."""
    assert announcements(s3(record(eventVersion=value))) == [event()]


@pytest.mark.parametrize("value", [ABSENT, None, 7, ["aws:s3"], "", "unheard-of"])
def test_the_source_never_rejects_a_record(value):
    assert announcements(s3(record(eventSource=value))) == [event()]


def test_the_combined_error_names_the_first_unreadable_records():
    found = announcements(s3(*[record(""), record("a")] * 4))
    error = combined([each for each in found if isinstance(each, Unreadable)])
    assert type(error) is AnnouncementMalformed
    assert [f"record {number} of" in str(error) for number in range(0, 8, 2)] == [True] * 4
    found = announcements(s3(*[record("")] * (MAX_NAMED + 3)))
    error = combined([each for each in found if isinstance(each, Unreadable)])
    assert str(error).endswith("record 4 of the S3 event has no s3.object.key; and 3 more")


@pytest.mark.parametrize(
    "record_",
    [
        record(name="s3:BucketCreated:*", s3__object=ABSENT, eventSource="minio:s3"),
        record("", "s3:BucketRemoved:*", eventSource="minio:s3"),
        record(None, "BucketCreated"),
        record(name="s3:Scanner:BigPrefix", s3__object=ABSENT),
        record("%FF", "ObjectTagging:Put"),
    ],
)
def test_an_event_that_changes_no_object_needs_no_key(record_):
    (found,) = announcements(s3(record_))
    assert isinstance(found, Unchanged)
    assert (found.reason, found.bucket, found.key) == (SkipReason.NOT_OBJECT_CHANGE, "photos", "")


def test_a_reason_never_contains_a_long_source():
    *_, unreadable = announcements(s3(record("%FF", eventSource="x" * 9_999)), Sources((), {"*": "url"}))
    assert isinstance(unreadable, Unreadable)
    assert len(str(unreadable.error)) < 400


def test_a_reason_never_contains_a_long_body():
    with pytest.raises(AnnouncementMalformed) as raised:
        announcements("x" * 200_000)
    assert len(str(raised.value)) < 300


# Arbitrary bodies

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
BODIES = [body for body, _ in CASES.values()]
OBJECTS = [json.loads(body) for body in BODIES if body.lstrip().startswith("{")]


def rule(**expressions: str) -> NotificationRule:
    return NotificationRule(**{name: Expression(text) for name, text in expressions.items()})


def gives_announcements_or_a_reason(body: str, sources: Sources = NO_SOURCES) -> bool:
    try:
        found = announcements(body, sources)
    except AnnouncementError as error:
        return bool(str(error))
    return all(isinstance(each, LogFile | ObjectEvent | Unchanged | Nothing | Unreadable) for each in found)


def paths_in(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] + [deeper for step, below in inside for deeper in paths_in(below, (*path, step))]


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(copy[path[0]], path[1:], new)
    return copy


@given(st.text())
def test_any_text_gives_announcements_or_a_reason(text):
    assert gives_announcements_or_a_reason(text)


@given(JSON_VALUES)
def test_any_json_gives_announcements_or_a_reason(value):
    assert gives_announcements_or_a_reason(json.dumps(value))


@given(st.sampled_from(OBJECTS), st.data())
@settings(max_examples=300)
def test_a_real_body_with_any_value_at_any_path_gives_announcements_or_a_reason(body, data):
    path = data.draw(st.sampled_from(paths_in(body)))
    assert gives_announcements_or_a_reason(json.dumps(replaced(body, path, data.draw(JSON_VALUES))))


def call(**others: Any) -> dict[str, Any]:
    """An EventBridge event with a CloudTrail record."""
    detail = {
        "eventVersion": "1.11",
        "eventTime": "2026-01-31T12:00:00Z",
        "eventSource": "s3.amazonaws.com",
        "eventName": "PutObject",
        "requestParameters": {"bucketName": "photos", "key": "a/b.txt"},
    }
    event = {"version": "0", "detail-type": "AWS API Call via CloudTrail", "source": "aws.s3", "detail": detail}
    return {**event, **others}


CREATED = call(**{"detail-type": "Object Created", "detail": {"bucket": {"name": "photos"}, "object": {"key": "k"}}})
EXTREME: dict[str, str] = {
    **{
        f"{opening} nested {depth:,} deep": opening * depth + "7" + closing * depth
        for depth in (300, 900, 980, 1_000, 1_015, 5_000)
        for opening, closing in (("[", "]"), ('{"a":', "}"))
    },
    "5,000 digits": "9" * 5_000,
    "5,000 digits and a minus": "-" + "9" * 5_000,
    "NaN": "NaN",
    "Infinity": "-Infinity",
    "a lone surrogate": '"\\udfff"',
    "a raw tab": '"a\tb"',
    "a raw line break": '"a\r\nb"',
    "a raw NUL": '"a\0b"',
    "a list of 10,000": "[" + "0," * 10_000 + "0]",
    "a text of 100,000": '"' + "a" * 100_000 + '"',
    "a field of a text of 100,000": '{"' + "a" * 100_000 + '": 1}',
}
HOLDERS = [*OBJECTS, CREATED, call(), {"b": "photos", "k": "a", "a": [{"b": "photos", "k": "a"}]}]
MARK = "the value goes here"


@pytest.mark.parametrize("value", EXTREME.values(), ids=EXTREME.keys())
@settings(max_examples=60, deadline=None)
@given(st.sampled_from(HOLDERS), st.data())
def test_an_extreme_value_at_any_path_gives_announcements_or_a_reason(value, body, data):
    path = data.draw(st.sampled_from(paths_in(body)))
    text = json.dumps(replaced(body, path, MARK)).replace(json.dumps(MARK), value)
    rules = [rule(when=when, items="a", bucket="to_string(b)", key="join('', [k, k])") for when in ("a", "b")]
    for envelopes in (0, 1):
        for sources in (Sources(), Sources(notifications=rules)):
            assert gives_announcements_or_a_reason(sns(text, envelopes), sources)


@pytest.mark.parametrize("value", EXTREME.values(), ids=EXTREME.keys())
@pytest.mark.parametrize("place", ["s3__object__key", "s3__bucket__name", "eventVersion", "extra", "s3__object__size"])
def test_an_extreme_value_in_one_record_does_not_stop_the_others(place, value):
    body = s3(record("a/1"), record("a/2", **{place: MARK}), record("a/3")).replace(json.dumps(MARK), value)
    found = [each.key for each in announcements(body) if isinstance(each, ObjectEvent)]
    assert found[0] == "a/1"
    assert found[-1] == "a/3"
    if place in ("extra", "s3__object__size", "eventVersion"):
        assert found[1:-1] == ["a/2"] or (place, value) == ("eventVersion", "9" * 5_000)


@pytest.mark.parametrize("field", ["source", "version", "detail"])
@pytest.mark.parametrize("value", EXTREME.values(), ids=EXTREME.keys())
@pytest.mark.parametrize("body", [CREATED, call()])
def test_an_extreme_value_in_an_event_of_eventbridge_gives_announcements_or_a_reason(body, value, field):
    assert gives_announcements_or_a_reason(json.dumps({**body, field: MARK}).replace(json.dumps(MARK), value))


@pytest.mark.parametrize("value", EXTREME.values(), ids=EXTREME.keys())
def test_a_body_that_is_an_extreme_value_has_a_short_reason(value):
    with pytest.raises(AnnouncementError) as raised:
        announcements(value)
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize("value", EXTREME.values(), ids=EXTREME.keys())
def test_an_extreme_value_in_a_record_of_cloudtrail_does_not_hide_the_object(value):
    body = json.dumps(call()).replace('"eventVersion": "1.11"', f'"userIdentity": {value}, "other": {value}')
    assert [each.key for each in announcements(body)] == ["a/b.txt"]


@pytest.mark.parametrize("mark", ["\ufeff", " \ufeff\n", "\ufeff\ufeff"])
def test_a_byte_order_mark_before_a_body_is_ignored(mark):
    assert announcements(mark + delivery(KEY)) == [file()]
    assert announcements(sns(mark + delivery(KEY))) == [file()]
    assert announcements(mark + VALIDATION) == [Nothing("CloudTrail validation message")]


def test_a_size_is_read_if_another_value_is_not_valid_json():
    object_ = {"key": KEY, "size": 7, "other": math.nan}
    assert announcements(s3(record(s3__bucket__name=LOGS, s3__object=object_))) == [file(size=7)]


@given(st.sampled_from(BODIES), st.data())
@settings(max_examples=300)
def test_a_real_body_with_any_part_replaced_gives_announcements_or_a_reason(body, data):
    at, to = sorted((data.draw(st.integers(0, len(body))), data.draw(st.integers(0, len(body)))))
    assert gives_announcements_or_a_reason(body[:at] + data.draw(st.text(max_size=3)) + body[to:])


@given(st.text(min_size=1), st.integers(0, MAX_ENVELOPES))
def test_any_key_of_a_delivery_is_unchanged(key, depth):
    found = announcements(sns(delivery(f"p/{key}"), depth) if depth else delivery(f"p/{key}"))
    assert [each.key for each in found] == [f"p/{key}"]


GOOD = st.builds(lambda key: record(quote_plus(key)), st.text(min_size=1))
BAD = st.sampled_from(
    [None, 7, "x", SES, {}, record("%FF"), record(""), record(s3__object=ABSENT), record(s3__bucket=7)]
)


@given(st.lists(st.booleans(), max_size=8), st.data())
def test_every_good_record_of_any_mixture_gives_its_event(mixture, data):
    records = [data.draw(GOOD if is_good else BAD) for is_good in mixture]
    good = [each for is_good, each in zip(mixture, records, strict=True) if is_good]
    try:
        found = announcements(s3(*records))
    except AnnouncementError:
        assert not good
        return
    events = [each for each in found if isinstance(each, ObjectEvent) and not each.kind.is_unlisted]
    assert [quote_plus(each.key) for each in events] == [each["s3"]["object"]["key"] for each in good]
    unreadable = {each.index for each in found if isinstance(each, Unreadable)}
    assert unreadable == {index for index, is_good in enumerate(mixture) if not is_good}
