"""The dialects of S3's notifications: AWS's, MinIO's, Ceph's and EventBridge's; a case a line."""

import json
import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.wire import ABSENT, changed

from jibe_sqs.core.announcements import ANY, announcements
from jibe_sqs.core.errors import (
    AnnouncementError,
    AnnouncementMalformed,
    AnnouncementUnknown,
    AnnouncementUnsupported,
)
from jibe_sqs.core.log_names import Format
from jibe_sqs.core.model import Actor, Kind, LogFile, Nothing, ObjectEvent, SkipReason, Unchanged
from jibe_sqs.core.sources import KEY_ENCODINGS, LogSource, Sources

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
    """As MinIO sends it: the event's name with `s3:`, the key with its slashes encoded."""
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
    """As Ceph's RGW sends it: the key as it is, sizes as text, an empty version, microseconds."""
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


def one(body: str, sources: Sources = ANY) -> Any:
    (found,) = announcements(body, sources)
    return found


def what(found: Any) -> str:
    return found.kind.value if isinstance(found, ObjectEvent) else found.reason.value


# Names of events

NAMES = {
    **dict.fromkeys(
        [
            *(f"ObjectCreated:{how}" for how in ("Put", "Post", "Copy", "CompleteMultipartUpload")),
            # Ceph's: an object that came from another zone
            "ObjectSynced:Create",
            "Replication:Create",
        ],
        WRITTEN,
    ),
    **dict.fromkeys(
        [
            *(f"ObjectRemoved:{how}" for how in ("Delete", "DeleteMarkerCreated", "NoOP", "DeleteAllVersions")),
            *(f"LifecycleExpiration:{how}" for how in ("Delete", "DeleteMarkerCreated")),
            # Ceph's
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
            *(f"ObjectAccessed:{how}" for how in ("Get", "Head")),
            *(f"ObjectLifecycle:Transition:{how}" for how in ("Current", "NonCurrent")),
            *(f"Replication:Operation{how}" for how in ("FailedReplication", "NotTracked", "MissedThreshold")),
            "ObjectAcl:Put",
            "LifecycleTransition",
            "LifecycleDelMarkerExpiration:Delete",
            "IntelligentTiering",
            "ReducedRedundancyLostObject",
            "ObjectTransition:Complete",
            "Scanner:ManyVersions",
            "SomethingNew:Put",
            "",
        ],
        UNCHANGED,
    ),
}
"""Ceph's and MinIO's are in their lists of events. Before Ceph's own were known, an expired object stayed in the index."""


@pytest.mark.parametrize("record", [aws, minio, ceph])
@pytest.mark.parametrize("prefix", ["", "s3:"])
@pytest.mark.parametrize(("name", "expected"), NAMES.items(), ids=NAMES.keys())
def test_the_name_of_an_event_tells_what_became_of_the_object(record, prefix, name, expected):
    found = one(s3(record(prefix + name)))
    assert (what(found), found.bucket, found.key, found.name) == (expected, "photos", "a/b.txt", name)


@pytest.mark.parametrize("record", [aws, minio, ceph])
@pytest.mark.parametrize("version", ["2.0", "2.1", "2.2", "2.3", "2.4", "2.5", "2.6", "2.7", "2.99"])
def test_any_version_2_is_read(record, version):
    """loki #23328: a minor version adds fields, and stops nobody."""
    assert what(one(s3(record(eventVersion=version, novel={"a": [1]})))) == WRITTEN


@pytest.mark.parametrize("version", ["1.0", "3.0", "2", "20.0", "", "v2.1", None, 2.1, ["2.1"]])
def test_any_other_version_is_refused_by_name(version):
    with pytest.raises(AnnouncementUnsupported, match=r"we know 2\.x"):
        announcements(s3(aws(eventVersion=version)))


def test_an_event_of_minio_is_read_whole():
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


def test_an_event_of_ceph_is_read_whole():
    assert one(s3(ceph(key="a+b%2Fc/é"))) == ObjectEvent(
        Kind.WRITTEN, "photos", "a+b%2Fc/é", NOON + 0.25, "F7E6", "default", Actor("ana"), None, "ObjectCreated:Put"
    )


def test_what_changes_no_object_keeps_its_id():
    found = Unchanged(SkipReason.NOT_OBJECT_CHANGE, "photos", "a/b.txt", NOON, "00AB", "ObjectAcl:Put")
    assert one(s3(aws("ObjectAcl:Put"))) == found


@pytest.mark.parametrize("version", ["", None, 7])
def test_a_version_that_is_none_is_none(version):
    assert one(s3(ceph(s3__object__versionId=version))).version is None


def test_a_delete_marker_that_is_deleted_is_a_delete_with_a_version():
    """The object may show again: a refresh finds out."""
    found = one(s3(aws("ObjectRemoved:Delete", s3__object__versionId="v1")))
    assert (found.kind, found.version) == (Kind.DELETED, "v1")


# Keys

ODD_KEYS = ["a b/c", "a+b", "a%2Fb", "a%20b", "été/🌊", "100%", "%", "a//b/", "\x01\n", "'\"&=?#", "%FF"]


@pytest.mark.parametrize("encode", [quote, quote_plus, lambda key: quote(key, safe="")], ids=["%20", "plus", "%2F"])
@pytest.mark.parametrize("record", [aws, minio])
@pytest.mark.parametrize("key", ODD_KEYS)
def test_an_encoded_key_comes_out_as_it_was(record, key, encode):
    assert one(s3(record(key=encode(key)))).key == key


@pytest.mark.parametrize("key", ODD_KEYS)
def test_a_raw_key_comes_out_as_it_is(key):
    assert one(s3(ceph(key=key))).key == key
    assert one(eventbridge(key=key)).key == key


@given(st.text(min_size=1))
def test_any_key_comes_out_by_the_encoding_that_is_set(key):
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
def test_a_sources_key_encoding_is_of_that_source_only(source):
    other = "raw" if KEY_ENCODINGS[source] == "url" else "url"
    sources = Sources(key_encodings={source: other})
    for each, body in BODIES.items():
        encoding = other if each == source else KEY_ENCODINGS[each]
        assert one(body("a+b%2Fc"), sources).key == ("a b/c" if encoding == "url" else "a+b%2Fc")


def test_there_is_a_body_for_every_key_encoding():
    assert set(BODIES) == set(KEY_ENCODINGS)


@pytest.mark.parametrize("key", ["%FF", "a%C3", "%80/x"])
def test_a_key_whose_bytes_are_no_text_is_refused(key):
    """Read with a replacement it would be another object's, or nobody's."""
    with pytest.raises(
        AnnouncementMalformed, match=f"{re.escape(key)}.*no percent-encoding of UTF-8.*key_encodings: aws:s3: raw"
    ):
        announcements(s3(aws(key=key)))


@pytest.mark.parametrize("key", [None, 7, ["a"], {"a": 1}])
@pytest.mark.parametrize("source", BODIES)
def test_a_key_that_is_no_text_is_refused(source, key):
    with pytest.raises(AnnouncementMalformed):
        announcements(BODIES[source](key))


# Log files


@pytest.mark.parametrize(
    ("size", "read"),
    [(7, 7), ("1024", 1024), ("", None), ("-1", None), ("1e3", None), ("²", None), (None, None), ("9" * 5000, None)],
    ids=str,
)
def test_a_size_may_be_text(size, read):
    assert one(s3(ceph(key=LOG_KEY, s3__object__size=size))).size == read


def test_log_files_and_events_of_one_message_come_in_its_order():
    """Each record for itself, whoever sent it."""
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
        # Log files' names elsewhere are names, where it is configured what is a log.
        LOG_KEY,
        LYVE_LOG,
    ]
    assert [type(each) for each in found[:2]] == [ObjectEvent, LogFile]


@pytest.mark.parametrize("body", [s3(aws(key=LOG_KEY)), s3(ceph(key=LYVE_LOG)), eventbridge(key=LOG_KEY)])
def test_where_nothing_is_configured_a_log_file_is_known_by_its_name(body):
    assert isinstance(one(body), LogFile)


@pytest.mark.parametrize("name", ["ObjectRemoved:Delete", "LifecycleExpiration:Delete", "ObjectRestore:Completed"])
def test_what_else_befalls_a_log_file_is_no_change(name):
    assert what(one(s3(aws(name, LOG_KEY, s3__bucket__name=LOGS)), OF_LOGS)) == UNCHANGED


@pytest.mark.parametrize(
    "body", [s3(aws(key=DIGEST, s3__bucket__name=LOGS)), eventbridge(key=DIGEST, detail__bucket__name=LOGS)]
)
def test_what_lies_beside_the_logs_asks_for_nothing(body):
    assert one(body, OF_LOGS) == Nothing("CloudTrail digest", LOGS, DIGEST)


# EventBridge


def test_an_event_of_eventbridge_is_read_whole():
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
        "Object Something New": UNCHANGED,
        "": UNCHANGED,
    }.items(),
)
def test_the_detail_type_tells_what_became_of_the_object(name, expected):
    found = one(eventbridge(name))
    assert (what(found), found.bucket, found.key, found.time, found.name) == (expected, "photos", "a/b.txt", NOON, name)
    assert found.event_id


def test_an_event_of_eventbridge_may_come_through_sns():
    assert one(sns(eventbridge())) == one(eventbridge())


def test_an_event_of_eventbridge_that_says_the_least_is_read():
    least = {
        "source": "aws.s3",
        "detail-type": "Object Deleted",
        "time": "2026-01-31T12:00:00Z",
        "detail": {"bucket": {"name": "photos"}, "object": {"key": "a"}},
    }
    assert one(json.dumps(least)) == ObjectEvent(Kind.DELETED, "photos", "a", NOON, name="Object Deleted")


def test_an_object_of_a_log_source_is_a_log_file():
    body = eventbridge(key="odd name+.gz", detail__bucket__name=LOGS)
    assert one(body, OF_LOGS) == LogFile(LOGS, "odd name+.gz", "v1", "e", 3)


def test_a_log_file_that_is_deleted_is_no_news():
    body = eventbridge("Object Deleted", LOG_KEY, detail__bucket__name=LOGS)
    assert what(one(body, OF_LOGS)) == UNCHANGED


def test_a_new_field_and_a_new_minor_version_of_the_event_stop_nobody():
    """A sample of 2026 has `event-version` 1.2 beside the version that counts."""
    assert what(one(eventbridge(**{"detail__event-version": "1.2", "detail__novel": 1, "novel": 1}))) == WRITTEN


REFUSED: dict[str, tuple[str, type[AnnouncementError], str]] = {
    "of another service": (eventbridge("EC2 Instance", source="aws.ec2"), AnnouncementUnknown, "aws.ec2"),
    "of nobody": (eventbridge(source=ABSENT), AnnouncementUnknown, "not of aws.s3"),
    "of an application that looks like it": (eventbridge(source="my.s3"), AnnouncementUnknown, "my.s3"),
    "of an unknown version": (eventbridge(version="1"), AnnouncementUnsupported, "unknown version"),
    "whose detail is of an unknown version": (eventbridge(detail__version="1"), AnnouncementUnsupported, "version"),
    "whose detail-type is no text": (eventbridge(7), AnnouncementMalformed, "detail-type"),
    "whose detail-type is a list": (eventbridge(["Object Created"]), AnnouncementMalformed, "detail-type"),
    "without a detail": (eventbridge(detail=ABSENT), AnnouncementMalformed, "detail"),
    "without a bucket": (eventbridge(detail__bucket=ABSENT), AnnouncementMalformed, "bucket"),
    "without a bucket's name": (eventbridge(detail__bucket__name=ABSENT), AnnouncementMalformed, "name"),
    "without an object": (eventbridge(detail__object=ABSENT), AnnouncementMalformed, "object"),
    "without a key": (eventbridge(detail__object__key=ABSENT), AnnouncementMalformed, "key"),
    "without a time": (eventbridge(time=ABSENT), AnnouncementMalformed, "time"),
    "whose detail is null": (eventbridge(detail=None), AnnouncementMalformed, "of another type than S3's"),
    "whose detail is text": (eventbridge(detail="x"), AnnouncementMalformed, "of another type than S3's"),
    "whose object is a list": (eventbridge(detail__object=[]), AnnouncementMalformed, "of another type than S3's"),
    "whose time is none": (eventbridge(time="soon"), AnnouncementMalformed, "soon"),
    "whose time is a number": (eventbridge(time=7), AnnouncementMalformed, "of another type than S3's"),
    "of an empty key": (eventbridge(key=""), AnnouncementMalformed, "no bucket and key"),
    "of an empty bucket": (eventbridge(detail__bucket__name=""), AnnouncementMalformed, "no bucket and key"),
}


@pytest.mark.parametrize(("body", "error", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_an_event_of_eventbridge_is_refused_with_its_reason(body, error, reason):
    with pytest.raises(AnnouncementError) as raised:
        announcements(body)
    assert type(raised.value) is error
    assert reason in str(raised.value)
