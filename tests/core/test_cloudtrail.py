"""CloudTrail's log files: what each record means, then whole files that are cut anywhere."""

import gzip
import itertools
import json
import sys
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.core.cloudtrail_logs import (
    ABSENT,
    ACCESS_POINT,
    BUCKET,
    DELETED,
    EXPRESS,
    FAILED,
    KEY,
    LOG,
    NO_CHANGE,
    NOON,
    NOTHING,
    OF_OUTPOST,
    READ_ONLY,
    RENAMED,
    USER,
    WRITTEN,
    ZONAL,
    a_bucket,
    an_object,
    below,
    bulk,
    child,
    document,
    meaning,
    of_bucket,
    read,
    read_all,
    record,
    rename,
    stale,
    zonal,
)

from jibe_sqs.core.errors import LogCorrupt, LogError, LogLimitExceeded, LogMalformed, LogTruncated
from jibe_sqs.core.formats.limits import Limits
from jibe_sqs.core.formats.reader import LogReader
from jibe_sqs.core.model import Actor, Kind, ObjectEvent, SkipReason, Unchanged

COPY = {"bucketName": BUCKET, "key": KEY, "x-amz-copy-source": "photos/source.jpg"}
COPIED = [an_object(), a_bucket(), an_object(key="source.jpg"), an_object("elsewhere", "source.jpg")]
LAKE = {
    "eventCategory": "ActivityAuditLog",
    "eventData": {
        "version": "1.0",
        "userIdentity": {"type": "CustomUser", "principalId": "x"},
        "eventSource": "s3.example.com",
        "eventName": "PutObject",
        "eventTime": "2026-01-31T12:00:00Z",
        "UID": "1",
        "requestParameters": {"key": "value"},
    },
}

CASES: dict[str, tuple[list[Any], list[Any]]] = {
    # Writes and deletes
    **{
        f"{name} writes": ([record(name)], WRITTEN)
        for name in ("PutObject", "PostObject", "CopyObject", "CompleteMultipartUpload")
    },
    "DeleteObject deletes": ([record("DeleteObject")], DELETED),
    "an unknown call on an object writes": ([record("TransmogrifyObject")], WRITTEN),
    "keys are not encoded": (
        [record(requestParameters={"bucketName": "b", "key": "a+b%2F"})],
        [(Kind.WRITTEN, "b", "a+b%2F")],
    ),
    # Not changes
    **{
        f"{name} is no change": ([record(name)], NO_CHANGE)
        for name in (
            "CreateMultipartUpload",
            "UploadPart",
            "UploadPartCopy",
            "AbortMultipartUpload",
            "PutObjectTagging",
            "DeleteObjectTagging",
            "PutObjectAcl",
            "PutObjectACL",
            "PutObjectRetention",
            "PutObjectLegalHold",
            "PutObjectLockLegalHold",
            "PutObjectLockRetention",
            "PutObjectAnnotation",
            "DeleteObjectAnnotation",
            "DeleteObjectAnnotations",
            "UpdateObjectEncryption",
            "RestoreObject",
        )
    },
    **{
        f"{name} is of the bucket": ([of_bucket(name)], [(SkipReason.NOT_OBJECT_CHANGE, BUCKET, "")])
        for name in ("CreateBucket", "DeleteBucket", "PutBucketPolicy", "PutObjectLockConfiguration", "CreateSession")
    },
    # Reads and failures
    **{
        f"{name} only reads": ([record(name, readOnly=ABSENT)], READ_ONLY)
        for name in ("GetObject", "HeadObject", "ListObjects", "GetObjectTagging", "SelectObjectContent")
    },
    "a call with readOnly true is a read": ([record("PutObject", readOnly=True)], READ_ONLY),
    "a management read is skipped": (
        [record("DescribeKey", eventSource="kms.amazonaws.com", readOnly=True, requestParameters=None)],
        [(SkipReason.READ_ONLY, "", "")],
    ),
    "a write without readOnly writes": ([record(readOnly=ABSENT)], WRITTEN),
    "a write with readOnly null writes": ([record(readOnly=None)], WRITTEN),
    "a failed write changes nothing": ([record(errorCode="AccessDenied", errorMessage="no")], FAILED),
    "a failed delete changes nothing": ([record("DeleteObject", errorCode="NoSuchKey")], FAILED),
    "a failed DeleteObjects changes nothing": (
        [bulk(errorCode="AccessDenied")],
        [(SkipReason.FAILED, BUCKET, "")],
    ),
    "an errorCode of null is not a failure": ([record(errorCode=None)], WRITTEN),
    "an empty errorCode is not a failure": ([record(errorCode="")], WRITTEN),
    "a failed read is a read": ([record("GetObject", readOnly=True, errorCode="NoSuchKey")], READ_ONLY),
    "a failed part is a failure": ([record("UploadPart", errorCode="NoSuchUpload")], FAILED),
    # The target
    **{
        f"a copy's target, its resources in order {number}": (
            [record("CopyObject", requestParameters=COPY, resources=list(order))],
            WRITTEN,
        )
        for number, order in enumerate(itertools.permutations(COPIED))
    },
    "a target without resources": ([record(resources=ABSENT)], WRITTEN),
    "a target with resources null": ([record(resources=None)], WRITTEN),
    "a target by its ARN alone": ([record(requestParameters=None)], WRITTEN),
    "a target by its ARN, parameters cut out": ([record(requestParameters={"omitted": True})], WRITTEN),
    "a target by its ARN, with colons in its key": (
        [record(requestParameters={}, resources=[an_object(key="a:b::c/d")])],
        [(Kind.WRITTEN, BUCKET, "a:b::c/d")],
    ),
    "the ARN of an access point means its bucket": (
        [record(requestParameters={"bucketName": ACCESS_POINT, "key": KEY})],
        WRITTEN,
    ),
    "the alias of an access point means its bucket": (
        [record(requestParameters={"bucketName": "my-ap-a1b2c3-s3alias", "key": KEY})],
        WRITTEN,
    ),
    "an access point among the resources is not a target": (
        [
            record(
                requestParameters={"bucketName": ACCESS_POINT, "key": KEY},
                resources=[{"type": "AWS::S3::AccessPoint", "ARN": ACCESS_POINT}, an_object(), a_bucket()],
            )
        ],
        WRITTEN,
    ),
    "an access point without its bucket: the object's ARN": (
        [record(requestParameters={"bucketName": ACCESS_POINT, "key": KEY}, resources=[an_object()])],
        WRITTEN,
    ),
    "a delete through an access point": (
        [record("DeleteObject", requestParameters={"bucketName": ACCESS_POINT, "key": KEY})],
        DELETED,
    ),
    "an outpost's Key": (
        [
            record(
                eventSource="s3-outposts.amazonaws.com",
                requestParameters={"bucketName": BUCKET, "Key": KEY},
                resources=[OF_OUTPOST],
            )
        ],
        WRITTEN,
    ),
    # AWS documents that there are such records, but no names.
    "what a lifecycle rule deletes": (
        [record("Expiration", eventSource="s3lifecycle.amazonaws.com", userIdentity={"type": "AWSService"})],
        WRITTEN,
    ),
    "what a lifecycle rule moves to another storage class": (
        [record("TransitionObject", eventSource="s3lifecycle.amazonaws.com", userIdentity={"type": "AWSService"})],
        [(SkipReason.NOT_OBJECT_CHANGE, BUCKET, KEY)],
    ),
    # S3 Express One Zone
    "a directory bucket's write": (
        [record(eventSource=EXPRESS, requestParameters={"bucketName": ZONAL, "key": "a/b"}, resources=[])],
        [(Kind.WRITTEN, ZONAL, "a/b")],
    ),
    "a directory bucket's write by its ARN": (
        [record(eventSource=EXPRESS, requestParameters={}, resources=[zonal(kind="DirectoryBucket"), zonal("/a/b")])],
        [(Kind.WRITTEN, ZONAL, "a/b")],
    ),
    "a directory bucket's delete by its ARN": (
        [record("DeleteObject", eventSource=EXPRESS, requestParameters=None, resources=[zonal("/a/b")])],
        [(Kind.DELETED, ZONAL, "a/b")],
    ),
    "a write through an access point of a directory bucket": (
        [
            record(
                eventSource=EXPRESS,
                requestParameters={"bucketName": "ap--use2-az2--xa-s3", "key": "a"},
                resources=[zonal("/a"), zonal(kind="DirectoryBucket")],
            )
        ],
        [(Kind.WRITTEN, ZONAL, "a")],
    ),
    "DeleteObjects by a lifecycle rule": (
        [
            bulk(
                eventSource=EXPRESS,
                userIdentity={"type": "AWSService", "invokedBy": "lifecycle.s3.amazonaws.com"},
                requestParameters={"bucketName": ZONAL, "delete": ""},
                resources=[zonal("/", field="ARNPrefix"), zonal(kind="DirectoryBucket")],
            )
        ],
        stale(bucket=ZONAL),
    ),
    "a rename deletes one key and writes another": ([rename("old/a%20b")], RENAMED),
    "a rename's source may start with a slash": ([rename("/old/a%20b")], RENAMED),
    "a rename's source may name its bucket": ([rename(f"/{ZONAL}/old/a%20b")], RENAMED),
    "the source of a rename is among the resources": ([rename(None, zonal("/old/a b"), zonal("/new/b"))], RENAMED),
    "the source of a rename is the second resource": ([rename(None, zonal("/new/b"), zonal("/old/a b"))], RENAMED),
    "a failed rename changes nothing": (
        [rename("old", errorCode="PreconditionFailed")],
        [(SkipReason.FAILED, ZONAL, "new/b")],
    ),
    # DeleteObjects
    "DeleteObjects without keys": ([bulk()], stale()),
    "DeleteObjects below a prefix": ([bulk(resources=[below(prefix="a/b"), a_bucket()])], stale("a/b")),
    "DeleteObjects without a prefix": ([bulk(resources=[a_bucket()])], stale()),
    "DeleteObjects without resources": ([bulk(resources=ABSENT)], stale()),
    "DeleteObjects by its prefix alone": ([bulk(requestParameters=None, resources=[below(prefix="a/")])], stale("a/")),
    "DeleteObjects by its bucket's ARN alone": ([bulk(requestParameters={}, resources=[a_bucket()])], stale()),
    "DeleteObjects below two prefixes": ([bulk(resources=[below(prefix="a/"), below(prefix="b/")])], stale()),
    "DeleteObjects through an access point": ([bulk(requestParameters={"bucketName": ACCESS_POINT})], stale()),
    "DeleteObjects without its request's id": ([bulk(requestID=None), bulk(requestID=None)], stale() * 2),
    "DeleteObjects with a record for each key": (
        [bulk(requestID="r"), child("a", "r"), child("b", "r")],
        [(Kind.DELETED, BUCKET, "a"), (Kind.DELETED, BUCKET, "b"), (SkipReason.NOT_OBJECT_CHANGE, BUCKET, "")],
    ),
    "the records of the keys may come before DeleteObjects": (
        [child("a", "r"), child("b", "r"), bulk(requestID="r")],
        [(Kind.DELETED, BUCKET, "a"), (Kind.DELETED, BUCKET, "b"), (SkipReason.NOT_OBJECT_CHANGE, BUCKET, "")],
    ),
    "records of keys of another call do not count": (
        [bulk(requestID="r"), child("a", "other")],
        [(Kind.DELETED, BUCKET, "a"), *stale()],
    ),
    "a DeleteObject by a caller is not part of DeleteObjects": (
        [bulk(requestID="r"), child("a", "r", eventType="AwsApiCall")],
        [(Kind.DELETED, BUCKET, "a"), *stale()],
    ),
    "a failed record of a key does not replace the call": (
        [bulk(requestID="r"), child("a", "r", errorCode="AccessDenied")],
        [(SkipReason.FAILED, BUCKET, "a"), *stale()],
    ),
    # Other services
    "other services are skipped": ([record("PutItem", eventSource="dynamodb.amazonaws.com")], NOTHING),
    "another service's PutObject is skipped": ([record(eventSource="mediastore.amazonaws.com")], NOTHING),
    **{
        f"another service with another type of {field}": (
            [record(eventSource="odd.amazonaws.com", **{field: value})],
            NOTHING,
        )
        for field, value in {
            "requestParameters": [1, {"bucketName": 7}],
            "resources": {"type": 1},
            "userIdentity": "somebody",
            "eventName": ["PutObject"],
            "eventVersion": 1.11,
            "eventTime": 1769860800,
            "sourceIPAddress": ["192.0.2.7"],
            "userAgent": {"a": 1},
            "requestID": 7,
            "eventID": None,
        }.items()
    },
    "another service's errorCode may be a number": (
        [record(eventSource="odd.amazonaws.com", errorCode=404)],
        NOTHING,
    ),
    "another service's unknown version does not matter": (
        [record(eventSource="odd.amazonaws.com", eventVersion="2.0")],
        NOTHING,
    ),
    "a record of CloudTrail Lake": ([LAKE], [(SkipReason.NOT_OBJECT_CHANGE, "", "value")]),
    "an Insight event": ([{"eventVersion": "1.07", "eventCategory": "Insight", "insightDetails": {}}], NOTHING),
    "an empty record": ([{}], NOTHING),
    "an S3 read with other types is still a read": (
        [record("GetObject", requestParameters={"bucketName": ["b"], "key": 7})],
        [(SkipReason.READ_ONLY, "", "")],
    ),
    "an S3 read of an unknown version is still a read": ([record("GetObject", eventVersion="9.0")], READ_ONLY),
    "a failed call without a time is still a failure": ([record(errorCode="X", eventTime="")], FAILED),
    # Versions
    **{f"version {v}": ([record(eventVersion=v)], WRITTEN) for v in ("1.0", "1.03", "1.08", "1.11", "1.99")},
    # Duplicates
    "the same event twice": (
        [record(eventID="same"), record(eventID="same")],
        [*WRITTEN, (SkipReason.DUPLICATE, BUCKET, KEY)],
    ),
    "events without ids are not duplicates": ([record(eventID=""), record(eventID=ABSENT)], WRITTEN * 2),
    "a read that is repeated is two reads": ([record("GetObject", eventID="same")] * 2, READ_ONLY * 2),
    "the same DeleteObjects twice": (
        [bulk(eventID="same"), bulk(eventID="same")],
        [(SkipReason.DUPLICATE, BUCKET, ""), *stale()],
    ),
    "a change that is logged for two accounts is two events": (
        [record(sharedEventID="s"), record(sharedEventID="s")],
        WRITTEN * 2,
    ),
    "the records keep their order": ([record(), record("DeleteObject"), record()], WRITTEN + DELETED + WRITTEN),
    "an empty file": ([], []),
}


@pytest.mark.parametrize(("records", "expected"), CASES.values(), ids=CASES.keys())
def test_the_records_of_a_file_mean(records, expected):
    assert meaning(*records) == expected


@pytest.mark.parametrize("size", [1, 1000])
def test_every_case_means_the_same_in_an_indented_and_compressed_file(size):
    everything = [each for records, _ in CASES.values() for each in records]
    plain = read(document(*everything))
    assert len(plain) >= len(everything)
    assert read(gzip.compress(document(*everything, indent=1)), size) == plain


# The fields of an event


def test_an_event_has_caller_object_region_and_time():
    [found] = read(document(record(eventID="e", userAgent="[aws-cli/2.15 [x]]")))
    assert found == ObjectEvent(
        kind=Kind.WRITTEN,
        bucket=BUCKET,
        key=KEY,
        time=NOON,
        event_id="e",
        region="eu-west-1",
        actor=Actor(USER, "AKIA1", "", "192.0.2.7", "aws-cli/2.15 [x]"),
        name="PutObject",
        request_id=found.request_id,
    )
    assert found.request_id


def test_an_unchanged_record_keeps_its_fields():
    [found] = read(document(record("GetObject", eventID="e")))
    assert found == Unchanged(SkipReason.READ_ONLY, BUCKET, KEY, NOON, "e", "GetObject")


def test_an_assumed_role_has_the_issuer_of_its_session():
    arn, issuer = "arn:aws:sts::111122223333:assumed-role/role/s", "arn:aws:iam::111122223333:role/role"
    identity = {
        "type": "AssumedRole",
        "arn": arn,
        "accessKeyId": "ASIA1",
        "sessionContext": {"sessionIssuer": {"type": "Role", "arn": issuer}, "attributes": {}},
    }
    [found] = read(document(record(userIdentity=identity)))
    assert found.actor == Actor(arn, "ASIA1", issuer, "192.0.2.7", "aws-cli/2.15")


IDENTITIES: dict[str, tuple[Any, Actor]] = {
    "no identity": (None, Actor()),
    "anonymous": ({"type": "AWSAccount", "principalId": "", "accountId": "ANONYMOUS_PRINCIPAL"}, Actor()),
    "cloudtrail itself": (
        {"type": "AWSService", "invokedBy": "cloudtrail.amazonaws.com"},
        Actor("cloudtrail.amazonaws.com"),
    ),
    "a session without issuer": ({"arn": USER, "sessionContext": {"attributes": {}}}, Actor(USER)),
    "a session of null": ({"arn": USER, "sessionContext": None}, Actor(USER)),
    "an issuer of null": ({"arn": USER, "sessionContext": {"sessionIssuer": None}}, Actor(USER)),
}


@pytest.mark.parametrize(("identity", "actor"), IDENTITIES.values(), ids=IDENTITIES.keys())
def test_an_actor_has_the_fields_that_the_record_names(identity, actor):
    [found] = read(document(record(userIdentity=identity, sourceIPAddress=None, userAgent=None)))
    assert found.actor == actor


def test_a_long_user_agent_was_cut_before_its_bracket():
    [found] = read(document(record(userAgent="[" + "x" * 1023)))
    assert found.actor.user_agent == "x" * 1023


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-01-31T12:00:00Z", NOON),
        ("2026-01-31T12:00:00.250Z", NOON + 0.25),
        ("2026-01-31T12:00:00.250000Z", NOON + 0.25),
        ("2026-01-31T14:00:00+02:00", NOON),
        ("2026-01-31T12:00:00", NOON),
    ],
)
def test_the_time_of_an_event_is_read(text, time):
    [found] = read(document(record(eventTime=text)))
    assert found.time == time


def test_both_events_of_a_rename_have_the_same_id():
    left, made = read(document(rename("old")))
    assert left.event_id == made.event_id
    assert left.actor == made.actor == Actor(USER, "AKIA1", "", "192.0.2.7", "aws-cli/2.15")


def test_a_write_by_cloudtrail_is_an_event_of_the_log_bucket():
    """aws-lambda-developer-guide #305: a log bucket that logs itself loops for ever. The bucket shows such a write."""
    itself = {"type": "AWSService", "invokedBy": "cloudtrail.amazonaws.com"}
    [found] = read(document(record(userIdentity=itself, requestParameters={"bucketName": "logs", "key": "AWSLogs/x"})))
    assert (found.kind, found.bucket, found.actor.principal) == (Kind.WRITTEN, "logs", "cloudtrail.amazonaws.com")


# Whole files


def test_a_file_of_another_format_is_malformed():
    with pytest.raises(LogMalformed):
        read(gzip.compress(b'{"awsAccountId":"1","digestEndTime":"x","logFiles":[]}'))


def test_a_file_that_ends_early_at_any_byte_is_truncated():
    data = gzip.compress(document(record(), record("DeleteObject")))
    for end in range(len(data)):
        with pytest.raises(LogTruncated):
            read(data[:end], 97)


def test_a_truncated_document_in_a_complete_gzip_file_is_truncated():
    text = document(record(), record())
    for end in range(1, len(text), 7):
        with pytest.raises(LogTruncated):
            read(gzip.compress(text[:end]))


def test_a_damaged_file_is_corrupt():
    data = bytearray(gzip.compress(document(record())))
    data[-6] ^= 1
    with pytest.raises(LogCorrupt):
        read(bytes(data))


@pytest.mark.parametrize("limits", [Limits(decompressed_size=5000), Limits(record_size=1000)], ids=["file", "record"])
def test_a_file_beyond_its_limits_is_refused(limits):
    large = record(additionalEventData={"x": "y" * 10_000})
    with pytest.raises(LogLimitExceeded):
        read(gzip.compress(document(record(), large)), limits=limits)


def test_records_of_deleted_keys_are_found_in_the_whole_file():
    many = [record("GetObject") for _ in range(500)]
    found = read(gzip.compress(document(child("a", "r"), *many, bulk(requestID="r"), bulk(requestID="s"))), 1000)
    assert [each.event_id for each in found if getattr(each, "kind", None) is Kind.DELETED_UNLISTED] == [
        found[-1].event_id
    ]


def test_if_too_many_bulk_deletes_are_held_the_first_become_events(monkeypatch):
    monkeypatch.setattr("jibe_sqs.core.formats.cloudtrail._size", lambda *_: 1)
    monkeypatch.setattr("jibe_sqs.core.formats.cloudtrail._BulkDeletes.LIMIT", 3)
    found = meaning(*(bulk(resources=[below(prefix=f"{n}/")]) for n in range(10)), record())
    assert sorted(key for kind, _, key in found if kind is Kind.DELETED_UNLISTED) == [f"{n}/" for n in range(10)]
    assert found.index(*WRITTEN) == 7


def test_a_large_file_is_read_in_bounded_memory():
    """30 MB of text with nearly equal records. No buffer may grow with it."""
    piece = b",".join(json.dumps(record(pad="p" * 500), separators=(",", ":")).encode() for _ in range(50))
    text = b'{"Records":[' + b",".join([piece] * 500) + b"]}"
    assert len(text) > 30_000_000
    data = gzip.compress(text, 1)
    log = LogReader(LOG, Limits())
    count, batches, held = 0, 0, 0
    for at in range(0, len(data), 64 * 1024):
        for batch in log.feed(data[at : at + 64 * 1024]):
            count += len(batch)
            batches = max(batches, len(batch))
            held = max(held, len(log._parser._records._buffer) + len(log._text._start) + len(log._text._unused))
    count += sum(len(batch) for batch in log.finish())
    assert count == 25_000
    assert batches < 200
    assert held <= 128 * 1024
    assert len(log._parser._seen._new) + len(log._parser._seen._old) == 50


def test_the_number_of_remembered_ids_is_bounded():
    seen = LogReader(LOG, Limits())._parser._seen
    for n in range(30_000):
        assert seen.add(f"event-{n}")
    assert len(seen._new) + len(seen._old) <= 2 * 8192
    assert not seen.add("event-29999")
    assert not seen.add(f"event-{30_000 - 8192}")


def test_a_long_id_is_remembered_in_few_bytes():
    seen = LogReader(LOG, Limits())._parser._seen
    ids = [f"{n}{'i' * 2000}😀" for n in range(100)]
    assert all(map(seen.add, ids))
    assert not any(map(seen.add, ids))
    assert max(map(sys.getsizeof, seen._new)) < 100


def test_held_bulk_deletes_take_bounded_memory():
    """Ten thousand of them, each with a user agent of a hundred kilobytes, would take a gigabyte."""
    log = LogReader(LOG, Limits())
    calls = [bulk(userAgent=f"[{n}{'a' * 100_000}]") for n in range(100)]
    found = [each for batch in log.feed(document(*calls)) for each in batch]
    assert len(found) > 60
    found += [each for batch in log.finish() for each in batch]
    assert len(found) == 100


# Any file, cut anywhere

SOME = st.lists(st.sampled_from([each for records, _ in CASES.values() for each in records]), max_size=8)
SIZES = st.lists(st.integers(1, 2000), min_size=1, max_size=6)


@given(SOME, SIZES, st.booleans(), st.sampled_from([None, 1]))
@settings(max_examples=150, deadline=None)
def test_the_records_do_not_depend_on_how_the_file_is_cut(records, sizes, zipped, indent):
    data = document(*records, indent=indent)
    expected = read(data)
    assert len(expected) >= len(records)
    assert read(gzip.compress(data) if zipped else data, *sizes) == expected


@given(st.binary(max_size=200), st.sampled_from([b"", b"\x1f\x8b", b'{"Records":[', document(record())[:-2]]), SIZES)
@settings(max_examples=200)
def test_any_bytes_give_records_or_a_log_error(data, before, sizes):
    for each in (before + data, gzip.compress(before + data)):
        try:
            found = read(each, *sizes)
        except LogError as error:
            found = [error]
        assert all(isinstance(one, ObjectEvent | Unchanged | LogError) for one in found)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=8)
    | st.sampled_from([BUCKET, "arn:aws:s3:::b/k", "1.1"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["bucketName", "key", "arn", "type", "ARN", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)
FIELDS = st.sampled_from(sorted(record())) | st.just("errorCode")
NAMES = st.sampled_from(["PutObject", "DeleteObject", "DeleteObjects", "CopyObject", "RenameObject", "GetObject"])


@given(NAMES, st.dictionaries(FIELDS, JSON, max_size=3), st.integers(1, 900))
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_value_in_any_field_does_not_lose_another_record(name, changes, size):
    data = document(record(eventID="a"), {**record(name), **changes}, record(eventID="b"))
    found, bad = read_all(data, size)
    assert [one.event_id for one in found if one.event_id in ("a", "b")] == ["a", "b"]
    assert all(each.index == 1 for each in bad)
    assert all(isinstance(one, ObjectEvent | Unchanged) for one in found)
    assert all(one.bucket and one.time is not None for one in found if isinstance(one, ObjectEvent))
