"""S3 notifications as AWS, MinIO, Ceph and EventBridge write them: one case per line."""

import json
import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.wire import ABSENT, changed

from jibe_sqs.core.announcements import NO_SOURCES, announcements
from jibe_sqs.core.errors import (
    AnnouncementError,
    AnnouncementMalformed,
    AnnouncementTooLarge,
    AnnouncementUnknown,
    AnnouncementUnsupported,
)
from jibe_sqs.core.formats.format import Format
from jibe_sqs.core.key_encodings import KEY_ENCODINGS
from jibe_sqs.core.model import UNKNOWN_TIME, Actor, Kind, LogFile, Nothing, ObjectEvent, SkipReason, Unchanged
from jibe_sqs.core.sources import LogSource, Sources

LOGS = "the-logs"
LOG_KEY = "AWSLogs/111122223333/CloudTrail/eu-west-1/2026/01/31/x.json.gz"
DIGEST = LOG_KEY.replace("/CloudTrail/", "/CloudTrail-Digest/")
LYVE_LOG = "S3-photos-2026-01-31-12-00-00.gz"
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp()
WRITTEN, DELETED, UNCHANGED = "written", "deleted", "not-object-change"
OF_LOGS = Sources([LogSource(LOGS), LogSource("lyve", "audit/", Format.AUDIT_LOG)])


def aws(name: str = "ObjectCreated:Put", key: Any = "a/b.txt", **changes: Any) -> dict[str, Any]:
    made = {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "eu-west-1",
        "eventTime": "2026-01-31T12:00:00.000Z",
        "eventName": name,
        "userIdentity": {"principalId": "AWS:AIDA1"},
        "requestParameters": {"sourceIPAddress": "192.0.2.7"},
        "s3": {"bucket": {"name": "photos"}, "object": {"key": key, "size": 3, "eTag": "e", "sequencer": "00AB"}},
    }
    return changed(made, changes)


def minio(name: str = "s3:ObjectCreated:Put", key: Any = "a%2Fb.txt", **changes: Any) -> dict[str, Any]:
    """A record as MinIO sends it: `s3:` before the event's name, and encoded slashes in the key."""
    made = {
        "eventVersion": "2.0",
        "eventSource": "minio:s3",
        "awsRegion": "",
        "eventTime": "2026-01-31T12:00:00.000Z",
        "eventName": name,
        "userIdentity": {"principalId": "ana"},
        "requestParameters": {"principalId": "ana", "region": "", "sourceIPAddress": "192.0.2.7"},
        "responseElements": {"x-minio-origin-endpoint": "http://192.0.2.1:9000"},
        "s3": {
            "s3SchemaVersion": "1.0",
            "bucket": {"name": "photos", "ownerIdentity": {"principalId": "ana"}, "arn": "arn:aws:s3:::photos"},
            "object": {"key": key, "size": 3, "eTag": "e", "contentType": "text/plain", "sequencer": "16A1"},
        },
        "source": {"host": "192.0.2.7", "port": "", "userAgent": "MinIO (linux; amd64)"},
    }
    return changed(made, changes)


def ceph(name: str = "ObjectCreated:Put", key: Any = "a/b.txt", **changes: Any) -> dict[str, Any]:
    """A record as Ceph's RGW sends it: a raw key, a size that is a string, an empty version, microseconds."""
    made = {
        "eventVersion": "2.2",
        "eventSource": "ceph:s3",
        "awsRegion": "default",
        "eventTime": "2026-01-31T12:00:00.250000Z",
        "eventName": name,
        "userIdentity": {"principalId": "ana"},
        "requestParameters": {"sourceIPAddress": ""},
        "responseElements": {"x-amz-request-id": "r", "x-amz-id-2": "h"},
        "s3": {
            "bucket": {
                "name": "photos",
                "ownerIdentity": {"principalId": "ana"},
                "arn": "arn:aws:s3:g::photos",
                "id": "i",
            },
            "object": {
                "key": key,
                "size": "1024",
                "eTag": "e",
                "versionId": "",
                "sequencer": "F7E6",
                "metadata": [],
                "tags": [],
            },
        },
        "eventId": "1575221657.102001.80dad",
        "opaqueData": "me@example.com",
    }
    return changed(made, changes)


def s3(*records: Any) -> str:
    return json.dumps({"Records": records})


def eventbridge(name: Any = "Object Created", key: Any = "a/b.txt", **changes: Any) -> str:
    made = {
        "version": "0",
        "id": "17793124-05d4-b198-2fde-7ededc63b103",
        "detail-type": name,
        "source": "aws.s3",
        "account": "111122223333",
        "time": "2026-01-31T12:00:00Z",
        "region": "eu-west-1",
        "resources": ["arn:aws:s3:::photos"],
        "detail": {
            "version": "0",
            "bucket": {"name": "photos"},
            "object": {"key": key, "size": 3, "etag": "e", "version-id": "v1", "sequencer": "00AB"},
            "request-id": "N4N7GDK58NMKJ12R",
            "requester": "111122223333",
            "source-ip-address": "192.0.2.7",
            "reason": "PutObject",
        },
    }
    return json.dumps(changed(made, changes))


def sns(body: str) -> str:
    return json.dumps({"Type": "Notification", "TopicArn": "arn:aws:sns:eu-west-1:1:t", "Message": body})


def one(body: str, sources: Sources = NO_SOURCES) -> Any:
    (found,) = announcements(body, sources)
    return found


def effect(found: Any) -> str:
    return found.kind.value if isinstance(found, ObjectEvent) else found.reason.value


# Names of events

NAMES = {
    **dict.fromkeys(
        [
            *(f"ObjectCreated:{how}" for how in ("Put", "Post", "Copy", "CompleteMultipartUpload", "PutObject")),
            # Ceph: an object that came from another zone
            "ObjectSynced:Create",
            "Replication:Create",
            # Unknown names
            "ObjectFrozen:Hard",
            "SomethingNew:Put",
            "",
        ],
        WRITTEN,
    ),
    **dict.fromkeys(
        [
            *(f"ObjectRemoved:{how}" for how in ("Delete", "DeleteMarkerCreated", "NoOP", "DeleteAllVersions")),
            *(f"LifecycleExpiration:{how}" for how in ("Delete", "DeleteMarkerCreated")),
            # Ceph
            *(f"ObjectLifecycle:Expiration:{how}" for how in ("Current", "NonCurrent", "Noncurrent", "DeleteMarker")),
            *(
                f"{what}:{how}"
                for what in ("ObjectSynced", "Replication")
                for how in ("Delete", "DeletionMarkerCreated")
            ),
        ],
        DELETED,
    ),
    **dict.fromkeys(
        [
            *(f"ObjectRestore:{how}" for how in ("Post", "Completed", "Delete")),
            *(f"ObjectTagging:{how}" for how in ("Put", "Delete")),
            *(f"ObjectAnnotation:{how}" for how in ("Put", "Delete")),
            *(
                f"ObjectCreated:{how}"
                for how in ("PutTagging", "DeleteTagging", "PutRetention", "PutLegalHold", "PutAcl", "PutAnnotation")
            ),
            *(f"{what}{how}" for what in ("BucketCreated", "BucketRemoved") for how in ("", ":*")),
            *(f"Scanner:{how}" for how in ("LargeVersions", "BigPrefix")),
            *(f"ObjectLifecycle:Transition:{how}" for how in ("Current", "NonCurrent")),
            *(f"Replication:Operation{how}" for how in ("FailedReplication", "NotTracked", "MissedThreshold")),
            "ObjectAcl:Put",
            "LifecycleTransition",
            "LifecycleDelMarkerExpiration:Delete",
            "IntelligentTiering",
            "ReducedRedundancyLostObject",
            "ObjectTransition:Complete",
            "ObjectTransition:Failed",
            "Scanner:ManyVersions",
        ],
        UNCHANGED,
    ),
    **dict.fromkeys((f"ObjectAccessed:{how}" for how in ("Get", "Head", "GetRetention", "Attributes")), "read-only"),
}
"""The names of Ceph and MinIO are from their lists of events. While Ceph's names were unknown here, expired objects stayed
in the index."""


@pytest.mark.parametrize("record", [aws, minio, ceph])
@pytest.mark.parametrize("prefix", ["", "s3:"])
@pytest.mark.parametrize(("name", "expected"), NAMES.items(), ids=NAMES.keys())
def test_the_name_of_an_event_decides_its_effect(record, prefix, name, expected):
    found = one(s3(record(prefix + name)))
    assert (effect(found), found.bucket, found.key, found.name) == (expected, "photos", "a/b.txt", name)


@pytest.mark.parametrize("record", [aws, minio, ceph])
@pytest.mark.parametrize("version", ["2.0", "2.1", "2.2", "2.3", "2.4", "2.5", "2.6", "2.7", "2.99"])
def test_any_minor_version_of_2_is_read(record, version):
    """loki #23328: a minor version only adds fields."""
    assert effect(one(s3(record(eventVersion=version, novel={"a": [1]})))) == WRITTEN


def test_all_fields_of_an_event_of_minio_are_read():
    assert one(s3(minio())) == ObjectEvent(
        Kind.WRITTEN,
        "photos",
        "a/b.txt",
        NOON,
        "16A1",
        "",
        Actor("ana", "", "", "192.0.2.7"),
        None,
        "ObjectCreated:Put",
    )


def test_all_fields_of_an_event_of_ceph_are_read():
    assert one(s3(ceph(key="a+b%2Fc/é"))) == ObjectEvent(
        Kind.WRITTEN, "photos", "a+b%2Fc/é", NOON + 0.25, "F7E6", "default", Actor("ana"), None, "ObjectCreated:Put"
    )


def test_an_event_that_changes_no_object_keeps_its_id():
    found = Unchanged(SkipReason.NOT_OBJECT_CHANGE, "photos", "a/b.txt", NOON, "00AB", "ObjectAcl:Put")
    assert one(s3(aws("ObjectAcl:Put"))) == found


@pytest.mark.parametrize("version", ["", None, 7])
def test_an_empty_or_malformed_version_is_none(version):
    assert one(s3(ceph(s3__object__versionId=version))).version is None


def test_the_deletion_of_a_delete_marker_is_a_delete_with_a_version():
    """The object may exist again. A refresh finds out."""
    found = one(s3(aws("ObjectRemoved:Delete", s3__object__versionId="v1")))
    assert (found.kind, found.version) == (Kind.DELETED, "v1")


# Keys

ODD_KEYS = ["a b/c", "a+b", "a%2Fb", "a%20b", "été/🌊", "100%", "%", "a//b/", "\x01\n", "'\"&=?#", "%FF"]


@pytest.mark.parametrize("encode", [quote, quote_plus, lambda key: quote(key, safe="")], ids=["%20", "plus", "%2F"])
@pytest.mark.parametrize("record", [aws, minio])
@pytest.mark.parametrize("key", ODD_KEYS)
def test_an_encoded_key_is_decoded(record, key, encode):
    assert one(s3(record(key=encode(key)))).key == key


@pytest.mark.parametrize("key", ODD_KEYS)
def test_a_raw_key_is_unchanged(key):
    assert one(s3(ceph(key=key))).key == key
    assert one(eventbridge(key=key)).key == key


@given(st.text(min_size=1))
def test_any_key_is_read_by_the_configured_encoding(key):
    for set_to, written in (("url", quote_plus(key)), ("raw", key)):
        sources = Sources(key_encodings=dict.fromkeys(KEY_ENCODINGS, set_to))
        for body in (s3(aws(key=written)), s3(minio(key=written)), s3(ceph(key=written)), eventbridge(key=written)):
            assert one(body, sources).key == key


BODIES = {
    "aws:s3": lambda key: s3(aws(key=key)),
    "minio:s3": lambda key: s3(minio(key=key)),
    "ceph:s3": lambda key: s3(ceph(key=key)),
    "eventbridge": lambda key: eventbridge(key=key),
}


@pytest.mark.parametrize("source", KEY_ENCODINGS)
def test_the_key_encoding_of_a_source_applies_to_that_source_only(source):
    other = "raw" if KEY_ENCODINGS[source] == "url" else "url"
    sources = Sources(key_encodings={source: other})
    for each, body in BODIES.items():
        encoding = other if each == source else KEY_ENCODINGS[each]
        assert one(body("a+b%2Fc"), sources).key == ("a b/c" if encoding == "url" else "a+b%2Fc")


def test_there_is_a_body_for_every_key_encoding():
    assert set(BODIES) == set(KEY_ENCODINGS)


@pytest.mark.parametrize("key", ["%FF", "a%C3", "%80/x"])
def test_a_key_that_is_not_utf8_makes_the_bucket_stale(key):
    """With replacement characters it would be the key of another object, or of no object."""
    stale, unreadable = announcements(s3(aws(key=key)))
    assert (effect(stale), stale.bucket, stale.key) == ("written-unlisted", "photos", "")
    assert type(unreadable.error) is AnnouncementMalformed
    reason = f"{re.escape(repr(key))} is not percent-encoded UTF-8; if .* set key_encodings: aws:s3: raw"
    assert re.search(reason, str(unreadable.error))


@pytest.mark.parametrize("key", [None, 7, ["a"], {"a": 1}])
@pytest.mark.parametrize("source", BODIES)
def test_a_key_that_is_not_a_string_makes_the_bucket_stale(source, key):
    stale, unreadable = announcements(BODIES[source](key))
    assert (effect(stale), stale.bucket, stale.key) == ("written-unlisted", "photos", "")
    assert type(unreadable.error) is AnnouncementMalformed


def keys(body: str, sources: Sources = NO_SOURCES) -> list[str]:
    return [each.key for each in announcements(body, sources)]


UNKNOWN_SOURCES = ["sgws:s3", "scality:s3", "rustfs:s3", "noobaa-endpoint-1:s3", "ntnx:s3", "ctyun:s3", "x", None, 7]


@pytest.mark.parametrize("source", UNKNOWN_SOURCES)
def test_with_an_unknown_encoding_both_readings_of_a_key_count(source):
    read = {
        "plain/b.txt": ["plain/b.txt"],
        "a+b/c": ["a b/c", "a+b/c"],
        "input%2Fimage.jpg": ["input/image.jpg", "input%2Fimage.jpg"],
        "été/🌊": ["été/🌊"],
        # These have only one possible reading.
        "caf%E9/a b": ["caf%E9/a b"],
        "a+100%": ["a+100%"],
        "a+b%zz": ["a+b%zz"],
    }
    assert {key: keys(s3(aws(key=key, eventSource=source))) for key in read} == read


@pytest.mark.parametrize("source", UNKNOWN_SOURCES)
def test_the_operator_can_configure_the_key_encoding_of_any_source(source):
    body = s3(aws(key="a+b", eventSource=source))
    if isinstance(source, str):
        assert keys(body, Sources(key_encodings={source: "url"})) == ["a b"]
        assert keys(body, Sources(key_encodings={source: "raw", "*": "url"})) == ["a+b"]
    assert keys(body, Sources(key_encodings={"*": "url"})) == ["a b"]
    assert keys(body, Sources(key_encodings={"*": "raw"})) == ["a+b"]


@pytest.mark.parametrize("source", BODIES)
def test_a_configured_encoding_for_all_sources_has_priority_over_the_known_ones(source):
    """An entry for one source has priority over both."""
    body = BODIES[source]("a+b")
    assert keys(body, Sources(key_encodings={"*": "raw"})) == ["a+b"]
    assert keys(body, Sources(key_encodings={"*": "url"})) == ["a b"]
    assert keys(body, Sources(key_encodings={"*": "url", source: "raw"})) == ["a+b"]


@given(st.text(min_size=1))
def test_one_of_the_readings_is_the_key_for_every_encoding(key):
    for written in (key, quote(key), quote_plus(key), quote(key, safe="")):
        assert key in keys(s3(aws(key=written, eventSource="sgws:s3")))


def test_a_log_file_with_two_readings_is_read_once():
    """The other file does not exist, so its message would become a dead letter."""
    body = s3(aws(key=LOG_KEY.replace("/", "%2F"), s3__bucket__name=LOGS, eventSource="rustfs:s3"))
    assert announcements(body, OF_LOGS) == [LogFile(LOGS, LOG_KEY, None, "e", 3)]
    body = s3(aws(key=f"audit/a+b/{LYVE_LOG}", s3__bucket__name="lyve", eventSource="rustfs:s3"))
    assert [type(each) for each in announcements(body, OF_LOGS)] == [LogFile]


# Log files


@pytest.mark.parametrize(
    ("size", "read"),
    [(7, 7), ("1024", 1024), ("", None), ("-1", None), ("1e3", None), ("²", None), (None, None), ("9" * 5000, None)],
    ids=str,
)
def test_a_size_may_be_a_string(size, read):
    assert one(s3(ceph(key=LOG_KEY, s3__object__size=size))).size == read


def test_log_files_and_events_keep_the_order_of_their_message():
    """The records are independent of each other, and may be of different stores."""
    body = s3(
        aws(key="a.txt"),
        aws(key="any-name", s3__bucket__name=LOGS),
        ceph("ObjectRemoved:Delete", "b.txt"),
        minio(key=f"audit%2F{LYVE_LOG}", s3__bucket__name="lyve"),
        aws("ObjectTagging:Put", "c.txt"),
        aws(key=LOG_KEY),
        minio(key=LYVE_LOG, s3__bucket__name="lyve"),
    )
    found = announcements(body, OF_LOGS)
    assert [each.key for each in found if isinstance(each, LogFile)] == ["any-name", f"audit/{LYVE_LOG}"]
    assert [each.key for each in found if not isinstance(each, LogFile)] == [
        "a.txt",
        "b.txt",
        "c.txt",
        # With configured logs, the name of a log file means nothing in another bucket.
        LOG_KEY,
        LYVE_LOG,
    ]
    assert [type(each) for each in found[:2]] == [ObjectEvent, LogFile]


@pytest.mark.parametrize("body", [s3(aws(key=LOG_KEY)), s3(ceph(key=LYVE_LOG)), eventbridge(key=LOG_KEY)])
def test_without_configured_logs_a_log_file_is_recognised_by_its_name(body):
    assert isinstance(one(body), LogFile)


@pytest.mark.parametrize("name", ["ObjectRemoved:Delete", "LifecycleExpiration:Delete", "ObjectRestore:Completed"])
def test_other_events_of_a_log_file_are_not_changes(name):
    assert effect(one(s3(aws(name, LOG_KEY, s3__bucket__name=LOGS)), OF_LOGS)) == UNCHANGED


@pytest.mark.parametrize(
    "body", [s3(aws(key=DIGEST, s3__bucket__name=LOGS)), eventbridge(key=DIGEST, detail__bucket__name=LOGS)]
)
def test_other_files_in_a_log_bucket_give_nothing_to_do(body):
    assert one(body, OF_LOGS) == Nothing("CloudTrail digest", LOGS, DIGEST)


# EventBridge


def test_all_fields_of_an_event_of_eventbridge_are_read():
    assert one(eventbridge()) == ObjectEvent(
        Kind.WRITTEN,
        "photos",
        "a/b.txt",
        NOON,
        "17793124-05d4-b198-2fde-7ededc63b103",
        "eu-west-1",
        Actor("111122223333", "", "", "192.0.2.7"),
        "v1",
        "Object Created",
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    {
        "Object Created": WRITTEN,
        "Object Deleted": DELETED,
        "Object Restore Initiated": UNCHANGED,
        "Object Restore Completed": UNCHANGED,
        "Object Restore Expired": UNCHANGED,
        "Object Storage Class Changed": UNCHANGED,
        "Object Access Tier Changed": UNCHANGED,
        "Object Tags Added": UNCHANGED,
        "Object Tags Deleted": UNCHANGED,
        "Object ACL Updated": UNCHANGED,
        "Object Something New": WRITTEN,
        "Object Something Deleted": DELETED,
        "Async Copy Completion": WRITTEN,
        "": WRITTEN,
    }.items(),
)
def test_the_detail_type_decides_the_effect(name, expected):
    found = one(eventbridge(name))
    assert (effect(found), found.bucket, found.key, found.time, found.name) == (
        expected,
        "photos",
        "a/b.txt",
        NOON,
        name,
    )
    assert found.event_id


def test_an_event_of_eventbridge_may_come_through_sns():
    assert one(sns(eventbridge())) == one(eventbridge())


def test_an_event_of_eventbridge_with_only_the_required_fields_is_read():
    smallest = {
        "source": "aws.s3",
        "detail-type": "Object Deleted",
        "time": "2026-01-31T12:00:00Z",
        "detail": {"bucket": {"name": "photos"}, "object": {"key": "a"}},
    }
    assert one(json.dumps(smallest)) == ObjectEvent(Kind.DELETED, "photos", "a", NOON, name="Object Deleted")


def test_an_object_of_a_log_source_is_a_log_file():
    body = eventbridge(key="odd name+.gz", detail__bucket__name=LOGS)
    assert one(body, OF_LOGS) == LogFile(LOGS, "odd name+.gz", "v1", "e", 3)


def test_the_deletion_of_a_log_file_is_not_a_change():
    body = eventbridge("Object Deleted", LOG_KEY, detail__bucket__name=LOGS)
    assert effect(one(body, OF_LOGS)) == UNCHANGED


def test_unknown_fields_and_a_new_minor_version_of_an_event_are_ignored():
    """A sample of 2026 has `event-version` 1.2 beside `version`, which decides."""
    assert effect(one(eventbridge(**{"detail__event-version": "1.2", "detail__novel": 1, "novel": 1}))) == WRITTEN


REFUSED: dict[str, tuple[str, type[AnnouncementError], str]] = {
    "of another service": (eventbridge("EC2 Instance", source="aws.ec2"), AnnouncementUnknown, "aws.ec2"),
    "without a source": (eventbridge(source=ABSENT), AnnouncementUnknown, "not one of aws.s3"),
    "of an application with a similar name": (eventbridge(source="my.s3"), AnnouncementUnknown, "my.s3"),
}


@pytest.mark.parametrize(("body", "error", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_an_event_of_eventbridge_is_refused_with_its_reason(body, error, reason):
    with pytest.raises(AnnouncementError) as raised:
        announcements(body)
    assert type(raised.value) is error
    assert reason in str(raised.value)


WITHOUT_A_KEY: dict[str, tuple[str, list[str], type[AnnouncementError], str]] = {
    "of an unknown version": (
        eventbridge(version="1"),
        [],
        AnnouncementUnsupported,
        "unknown version; only 0 is known",
    ),
    "whose detail is of an unknown version": (eventbridge(detail__version="1"), [], AnnouncementUnsupported, "version"),
    "without a detail": (eventbridge(detail=ABSENT), [], AnnouncementMalformed, "has no detail.bucket.name"),
    "without a bucket": (eventbridge(detail__bucket=ABSENT), [], AnnouncementMalformed, "has no detail.bucket.name"),
    "without a bucket's name": (eventbridge(detail__bucket__name=ABSENT), [], AnnouncementMalformed, "bucket.name"),
    "without an object": (
        eventbridge(detail__object=ABSENT),
        ["written-unlisted"],
        AnnouncementMalformed,
        "object.key",
    ),
    "without a key": (
        eventbridge(detail__object__key=ABSENT),
        ["written-unlisted"],
        AnnouncementMalformed,
        "no detail",
    ),
    "whose detail is null": (eventbridge(detail=None), [], AnnouncementMalformed, "has no detail.bucket.name"),
    "whose detail is a string": (eventbridge(detail="x"), [], AnnouncementMalformed, "has no detail.bucket.name"),
    "whose object is a list": (
        eventbridge(detail__object=[]),
        ["written-unlisted"],
        AnnouncementMalformed,
        "object.key",
    ),
    "of an empty key": (eventbridge("Object Deleted", ""), ["deleted-unlisted"], AnnouncementMalformed, "object.key"),
    "of an empty bucket": (eventbridge(detail__bucket__name=""), [], AnnouncementMalformed, "bucket.name"),
}


@pytest.mark.parametrize(("body", "kinds", "error", "reason"), WITHOUT_A_KEY.values(), ids=WITHOUT_A_KEY.keys())
def test_an_event_of_eventbridge_without_an_object_gives_its_error_and_its_readable_part(body, kinds, error, reason):
    *found, unreadable = announcements(body)
    assert [effect(each) for each in found] == kinds
    assert type(unreadable.error) is error
    assert reason in str(unreadable.error)
    assert unreadable.index == 0


@pytest.mark.parametrize("time", [ABSENT, None, "soon", 7, ["x"]])
def test_an_event_of_eventbridge_without_a_readable_time_is_new(time):
    assert one(eventbridge(time=time)).time == UNKNOWN_TIME


@pytest.mark.parametrize("name", [7, ["Object Created"], None, {}])
def test_a_detail_type_that_is_not_a_string_is_a_write(name):
    assert effect(one(eventbridge(name))) == WRITTEN


@pytest.mark.parametrize(
    "name",
    [
        "AWS Insight via CloudTrail",
        "Bucket Lifecycle Configuration Changed",
        "S3 Storage Lens Metrics Export",
        "Access Analyzer Finding",
        "Scheduled Event",
        "Async Copy Completion",
    ],
)
@pytest.mark.parametrize("detail", [{}, {"bucket": {"name": "photos"}}, {"version": "2"}, None, "x"])
def test_an_event_that_is_not_about_an_object_is_not_a_change(name, detail):
    """The documented pattern of a rule, `{"source": ["aws.s3"]}`, delivers every detail-type."""
    found = one(eventbridge(name, detail=detail))
    assert (effect(found), found.key, found.name) == (UNCHANGED, "", name)


# CloudTrail records from EventBridge


def call(name: str = "PutObject", key: Any = "2026/a.jpg", **changes: Any) -> dict[str, Any]:
    made = {
        "eventVersion": "1.11",
        "userIdentity": {"type": "IAMUser", "arn": "arn:aws:iam::111122223333:user/alice", "accessKeyId": "AKIA1"},
        "eventTime": "2026-01-31T12:00:00Z",
        "eventSource": "s3.amazonaws.com",
        "eventName": name,
        "awsRegion": "eu-west-1",
        "sourceIPAddress": "192.0.2.7",
        "requestParameters": {"bucketName": "photos", "key": key},
        "requestID": "R1",
        "eventID": "e1",
        "readOnly": False,
        "eventType": "AwsApiCall",
        "eventCategory": "Data",
    }
    return changed(made, changes)


def via_cloudtrail(detail: Any, source: str = "aws.s3", name: str = "AWS API Call via CloudTrail") -> str:
    return json.dumps(
        {
            "version": "0",
            "id": "i",
            "detail-type": name,
            "source": source,
            "time": "2026-01-31T12:00:05Z",
            "detail": detail,
        }
    )


@pytest.mark.parametrize("source", ["aws.s3", "aws.s3express", "aws.s3-outposts"])
@pytest.mark.parametrize("name", ["AWS API Call via CloudTrail", "AWS Service Event via CloudTrail"])
@pytest.mark.parametrize(
    ("calls", "expected"), [("PutObject", WRITTEN), ("CopyObject", WRITTEN), ("DeleteObject", DELETED)]
)
def test_a_cloudtrail_record_from_eventbridge_is_read_like_one_from_a_log_file(source, name, calls, expected):
    found = one(sns(via_cloudtrail(call(calls), source, name)))
    assert (effect(found), found.bucket, found.key, found.time) == (expected, "photos", "2026/a.jpg", NOON)
    assert (found.name, found.event_id, found.actor.access_key) == (calls, "e1", "AKIA1")


def test_a_cloudtrail_record_of_s3_express_is_read():
    bucket = "clips--use1-az4--x-s3"
    detail = call(eventSource="s3express.amazonaws.com", requestParameters__bucketName=bucket)
    found = one(via_cloudtrail(detail, "aws.s3express"))
    assert (effect(found), found.bucket, found.key) == (WRITTEN, bucket, "2026/a.jpg")


@pytest.mark.parametrize(
    ("detail", "reason"),
    [
        (call("GetObject", readOnly=True), "read-only"),
        (call(errorCode="AccessDenied"), "failed"),
        (call("PutObjectTagging"), UNCHANGED),
        (call("PutBucketPolicy", requestParameters={"bucketName": "photos"}), UNCHANGED),
        (call("CreateBucket", requestParameters={"bucketName": "photos"}), UNCHANGED),
        (call(eventSource="s3tables.amazonaws.com"), UNCHANGED),
    ],
)
def test_cloudtrail_records_of_other_calls_are_not_changes(detail, reason):
    assert effect(one(via_cloudtrail(detail))) == reason


def test_a_renamed_object_is_two_changes():
    detail = call("RenameObject", requestParameters={"bucketName": "p", "key": "b", "x-amz-rename-source": "/p/a"})
    assert [(effect(each), each.key) for each in announcements(via_cloudtrail(detail))] == [
        (DELETED, "a"),
        (WRITTEN, "b"),
    ]


def test_deletes_without_keys_make_the_bucket_stale():
    detail = call("DeleteObjects", requestParameters={"bucketName": "photos", "delete": ""})
    found = one(via_cloudtrail(detail))
    assert (effect(found), found.bucket, found.key) == ("deleted-unlisted", "photos", "")


@pytest.mark.parametrize("detail", [None, "x", 7, [], call(eventVersion="2.0"), call(requestParameters=None)])
def test_an_unreadable_cloudtrail_record_gives_an_error(detail):
    *_, unreadable = announcements(via_cloudtrail(detail))
    assert type(unreadable.error) is AnnouncementMalformed
    assert "the CloudTrail record in the EventBridge event: " in str(unreadable.error)


def test_a_cloudtrail_record_with_a_key_longer_than_the_limit_makes_the_bucket_stale():
    stale, unreadable = announcements(via_cloudtrail(call("DeleteObject", "a" * 101)), key_length=100)
    assert (effect(stale), stale.bucket, stale.key) == ("deleted-unlisted", "photos", "")
    assert type(unreadable.error) is AnnouncementTooLarge
