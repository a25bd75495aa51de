"""S3 notifications of AWS, MinIO and Ceph: one case per line."""

import re
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.notification_bodies import (
    DELETED,
    DIGEST,
    LOG_KEY,
    LOGS,
    LYVE_LOG,
    NOON,
    OF_LOGS,
    UNCHANGED,
    WRITTEN,
    aws,
    ceph,
    effect,
    eventbridge,
    minio,
    one,
    s3,
)

from jibe_sqs.core.announcements import NO_SOURCES, announcements
from jibe_sqs.core.errors import AnnouncementMalformed
from jibe_sqs.core.key_encodings import KEY_ENCODINGS
from jibe_sqs.core.model import Actor, Kind, LogFile, Nothing, ObjectEvent, SkipReason, Unchanged
from jibe_sqs.core.sources import Sources

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
        Kind.WRITTEN,
        "photos",
        "a+b%2Fc/é",
        NOON + 0.25,
        "F7E6",
        "default",
        Actor("ana"),
        None,
        "ObjectCreated:Put",
        "r",
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
