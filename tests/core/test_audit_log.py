"""Audit logs of MinIO and Lyve Cloud: what each line means."""

import json
import tracemalloc
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.wire import cut

from jibe_sqs.core.errors import LogError, LogLimitExceeded, LogMalformed, RecordMalformed
from jibe_sqs.core.formats.audit_log import AuditLog
from jibe_sqs.core.formats.bad_records import BadRecords
from jibe_sqs.core.formats.limits import Limits
from jibe_sqs.core.formats.loose_json import HIDDEN
from jibe_sqs.core.model import UNKNOWN_TIME, Actor, Kind, ObjectEvent, SkipReason

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A slow test on a busy machine is not a failure."""
SAMPLES = Path(__file__).parents[3] / "shared" / "samples"
WRITTEN, DELETED, UNLISTED = Kind.WRITTEN, Kind.DELETED, Kind.DELETED_UNLISTED
BUCKET_WRITTEN = Kind.WRITTEN_UNLISTED
READ_ONLY, FAILED, NOT_CHANGE = SkipReason.READ_ONLY, SkipReason.FAILED, SkipReason.NOT_OBJECT_CHANGE
START = 1_772_330_400.0  # 2026-03-01T02:00:00Z


def call(name, key="a/b.txt", *, api=None, **entry):
    """A line as MinIO writes it. `None` removes a field."""
    inside = {"name": name, "bucket": "data", "object": key, "statusCode": 200, "timeToResponse": "500000000ns"}
    line = {"time": "2026-03-01T02:00:00Z", "api": _without(inside | (api or {})), "requestID": "R1"} | entry
    return _without(line)


def _without(fields):
    return {name: value for name, value in fields.items() if value is not None}


def wrapped(line, **outside):
    return {"auditEntry": line, "serviceAccountName": "svc", "serviceAccountCreatorId": "me@example.com"} | outside


def expiry(**api):
    return {
        "event": "ilm:expiry",
        "trigger": "ilm:expiry",
        "time": "2026-03-01T02:00:00Z",
        "api": {"bucket": "data"} | api,
    }


def text(*lines):
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def read(data, policy="reject", limits=None):
    """The records. With `reject`, raises the first bad one."""
    bad = BadRecords(policy)
    log = AuditLog(limits or Limits(), bad)
    records = log.feed(data) + log.finish()
    if policy == "reject" and bad.first:
        raise bad.first[0]
    return records


def summaries(records):
    return [(r.kind if isinstance(r, ObjectEvent) else r.reason, r.key) for r in records]


def one(line):
    (record,) = read(text(line))
    return record


OBJECTS = [{"objectName": "x", "versionId": "v1"}, {"objectName": "y/z"}]

CASES = {
    "a put writes": (call("PutObject"), [(WRITTEN, "a/b.txt")]),
    "a copy writes": (call("CopyObject"), [(WRITTEN, "a/b.txt")]),
    "completing a multipart upload writes": (call("CompleteMultipartUpload"), [(WRITTEN, "a/b.txt")]),
    "a form writes": (call("PostPolicyBucket"), [(WRITTEN, "a/b.txt")]),
    "a form without its key makes the bucket stale": (call("PostPolicyBucket", None), [(BUCKET_WRITTEN, "")]),
    "an archive that is unpacked makes the bucket stale": (call("PutObjectExtract", "x.tar"), [(BUCKET_WRITTEN, "")]),
    "a delete deletes": (call("DeleteObject", api={"statusCode": 204}), [(DELETED, "a/b.txt")]),
    "a bulk delete deletes each": (
        call("DeleteMultipleObjects", None, api={"objects": OBJECTS}),
        [(DELETED, "x"), (DELETED, "y/z")],
    ),
    "a bulk delete without its keys makes the bucket stale": (call("DeleteMultipleObjects", None), [(UNLISTED, "")]),
    "a bulk delete of an empty list makes the bucket stale": (
        call("DeleteMultipleObjects", None, api={"objects": []}),
        [(UNLISTED, "")],
    ),
    "a bulk delete without its keys that names another object": (call("DeleteMultipleObjects", "x"), [(UNLISTED, "")]),
    "an expiry deletes its objects": (expiry(name="ILMExpiry", objects=OBJECTS), [(DELETED, "x"), (DELETED, "y/z")]),
    "an expiry deletes its object": (expiry(name="ILMExpiry", object="x"), [(DELETED, "x")]),
    "an expiry is known by its event": (expiry(object="x"), [(DELETED, "x")]),
    "a transition is not a change": (
        expiry(name="ILMTransition", object="x") | {"event": "ilm:transition"},
        [(NOT_CHANGE, "x")],
    ),
    "any 2xx is a success": (call("PutObject", api={"statusCode": 206}), [(WRITTEN, "a/b.txt")]),
    "no status is a success": (call("PutObject", api={"statusCode": None}), [(WRITTEN, "a/b.txt")]),
    "a status of zero is unknown": (call("PutObject", api={"statusCode": 0}), [(WRITTEN, "a/b.txt")]),
    "3xx fails": (call("PutObject", api={"statusCode": 304}), [(FAILED, "a/b.txt")]),
    "4xx fails": (call("DeleteObject", api={"statusCode": 404}), [(FAILED, "a/b.txt")]),
    "5xx fails": (call("DeleteMultipleObjects", None, api={"statusCode": 503}), [(FAILED, "")]),
    "a negative status is unknown": (call("PutObject", api={"statusCode": -1}), [(WRITTEN, "a/b.txt")]),
    "a status below 100 is unknown": (call("PutObject", api={"statusCode": 99}), [(WRITTEN, "a/b.txt")]),
    "a status from 600 on is unknown": (call("PutObject", api={"statusCode": 600}), [(WRITTEN, "a/b.txt")]),
    "a huge status is unknown": (call("PutObject", api={"statusCode": 2**63}), [(WRITTEN, "a/b.txt")]),
    "a text of four digits is unknown": (call("PutObject", api={"statusCode": "4040"}), [(WRITTEN, "a/b.txt")]),
    "the object and the listed ones are written": (
        call("PutObject", api={"objects": OBJECTS}),
        [(WRITTEN, "x"), (WRITTEN, "y/z"), (WRITTEN, "a/b.txt")],
    ),
    "the object and the only listed one are deleted": (
        call("DeleteObject", api={"objects": OBJECTS[:1]}),
        [(DELETED, "x"), (DELETED, "a/b.txt")],
    ),
    "an object that is listed counts once": (call("PutObject", "x", api={"objects": OBJECTS[:1]}), [(WRITTEN, "x")]),
    "1xx fails": (call("PutObject", api={"statusCode": 100}), [(FAILED, "a/b.txt")]),
    "a get reads": (call("GetObject"), [(READ_ONLY, "a/b.txt")]),
    "a head reads": (call("HeadObject"), [(READ_ONLY, "a/b.txt")]),
    "a listing reads": (call("ListObjectsV2", None), [(READ_ONLY, "")]),
    "a failed read is a read": (call("GetObject", api={"statusCode": 404}), [(READ_ONLY, "a/b.txt")]),
    "a part is not a change": (call("PutObjectPart"), [(NOT_CHANGE, "a/b.txt")]),
    "a part by copy is not a change": (call("CopyObjectPart"), [(NOT_CHANGE, "a/b.txt")]),
    "starting a multipart upload is not a change": (call("NewMultipartUpload"), [(NOT_CHANGE, "a/b.txt")]),
    "aborting it is not a change": (call("AbortMultipartUpload"), [(NOT_CHANGE, "a/b.txt")]),
    "tagging is not a change": (call("PutObjectTagging"), [(NOT_CHANGE, "a/b.txt")]),
    "untagging is not a change": (call("DeleteObjectTagging"), [(NOT_CHANGE, "a/b.txt")]),
    "retention is not a change": (call("PutObjectRetention"), [(NOT_CHANGE, "a/b.txt")]),
    "a legal hold is not a change": (call("PutObjectLegalHold"), [(NOT_CHANGE, "a/b.txt")]),
    "an ACL is not a change": (call("PutObjectACL"), [(NOT_CHANGE, "a/b.txt")]),
    "encryption is not a change": (call("UpdateObjectEncryption"), [(NOT_CHANGE, "a/b.txt")]),
    "an annotation is not a change": (call("PutObjectAnnotation"), [(NOT_CHANGE, "a/b.txt")]),
    "a restore is not a change": (call("PostRestoreObject"), [(NOT_CHANGE, "a/b.txt")]),
    "a bucket-level call is not a change": (call("PutBucketPolicy", None), [(NOT_CHANGE, "")]),
    "a bucket-level call with an empty object is not a change": (call("DeleteBucket", ""), [(NOT_CHANGE, "")]),
    "an admin's call is not a change": (call("AddUser", None, api={"bucket": None}), [(NOT_CHANGE, "")]),
    "healing is not a change": (call(None, event="HealObject"), [(NOT_CHANGE, "a/b.txt")]),
    "rebalancing is not a change": (call("RebalanceCopyData", event="rebalance"), [(NOT_CHANGE, "a/b.txt")]),
    "an unknown call on an object counts as a write": (call("RenameObject"), [(WRITTEN, "a/b.txt")]),
    "an unknown call on listed objects counts as a write": (
        call("Frob", None, api={"objects": OBJECTS}),
        [(WRITTEN, "x"), (WRITTEN, "y/z")],
    ),
    "names have their exact case": (call("getObject"), [(WRITTEN, "a/b.txt")]),
    "keys are not encoded": (call("PutObject", "a%20b+c/ü \"'\n"), [(WRITTEN, "a%20b+c/ü \"'\n")]),
    "a line may be wrapped": (wrapped(call("PutObject")), [(WRITTEN, "a/b.txt")]),
    "a wrapped line may be a read": (wrapped(call("GetObject")), [(READ_ONLY, "a/b.txt")]),
    "unknown fields are ignored": (call("PutObject", tags={"a": [1]}, version=2), [(WRITTEN, "a/b.txt")]),
    "a null field counts as missing": (call("PutObject") | {"userAgent": None, "event": None}, [(WRITTEN, "a/b.txt")]),
    "a read may have a field of another type": (call("GetObject", userAgent=5), [(READ_ONLY, "a/b.txt")]),
    "a failed call may have a field of another type": (
        call("PutObject", api={"statusCode": 403}, remotehost=[]),
        [(FAILED, "a/b.txt")],
    ),
    "a wrapped call may have a field of another type": (
        wrapped(call("PutObjectPart", accessKey=1)),
        [(NOT_CHANGE, "a/b.txt")],
    ),
    "a bucket-level call may have a field of another type": (
        call("PutBucketPolicy", None, requestID=1),
        [(NOT_CHANGE, "")],
    ),
    "the time of a read may be unreadable": (call("GetObject", time="yesterday"), [(READ_ONLY, "a/b.txt")]),
}

# A field that does not identify the object may have any type: the record is processed

ODD = [None, "", "?", "HIDDEN", 7, -1.5, True, [], ["x"], {}, {"x": [1]}, "\ud800", float("nan"), float("inf"), 10**400]
ENTRY_FIELDS = ["event", "requestID", "remotehost", "userAgent", "accessKey", "parentUser", "responseHeader", "version",
                "deploymentid", "requestHeader", "tags", "trigger", "time"]  # fmt: skip
API_FIELDS = ["status", "timeToResponse", "timeToResponseInNS", "timeToFirstByte", "rx"]


@pytest.mark.parametrize("odd", ODD, ids=repr)
@pytest.mark.parametrize("field", ENTRY_FIELDS)
def test_a_field_of_the_entry_may_have_another_type(field, odd):
    line = call("PutObject") | {field: odd}
    assert summaries(read(text(call("PutObject", "1"), line, wrapped(line | {"requestID": "R2"})))) == [
        (WRITTEN, "1"),
        (WRITTEN, "a/b.txt"),
        (WRITTEN, "a/b.txt"),
    ]


@pytest.mark.parametrize("odd", ODD, ids=repr)
@pytest.mark.parametrize("field", API_FIELDS)
def test_a_field_of_the_call_may_have_another_type(field, odd):
    line = call("DeleteObject")
    line["api"] |= {field: odd}
    assert summaries(read(text(line))) == [(DELETED, "a/b.txt")]


@pytest.mark.parametrize(
    "odd", ["OK", "ok 200", True, [], {}, 200.5, "\ud800", float("nan"), "200", 200.0, None], ids=repr
)
def test_an_unknown_status_does_not_count_as_a_failure(odd):
    line = call("PutObject")
    line["api"] |= {"statusCode": odd}
    assert summaries(read(text(line))) == [(WRITTEN, "a/b.txt")]


@pytest.mark.parametrize("status", ["404", 404.0, 404, "503"], ids=repr)
def test_a_status_may_be_a_text(status):
    line = call("PutObject")
    line["api"] |= {"statusCode": status}
    assert summaries(read(text(line))) == [(FAILED, "a/b.txt")]


UNKNOWN_TIMES = {
    "missing": {"time": None},
    "a word": {"time": "yesterday"},
    "without a zone": {"time": "2026-03-01T02:00:00"},
    "a day that does not exist": {"time": "2026-02-30T02:00:00Z"},
    "before the year 1": {"time": "0001-01-01T00:00:00+23:59"},
    "Go's zero": {"time": "0001-01-01T00:00:00Z"},
    "Unix's zero": {"time": "1970-01-01T00:00:00Z"},
    "just before S3 existed": {"time": "2005-12-31T23:59:59Z"},
    "a day": {"time": "2026-03-01"},
    "an hour": {"time": "2026-03-01T02Z"},
    "a minute": {"time": "2026-03-01T02:00Z"},
    "a number": {"time": 1_772_330_400_000_000_000},
    "a duration in seconds": {"api": {"timeToResponse": "1.5s"}},
    "a negative duration": {"api": {"timeToResponse": None, "timeToResponseInNS": -1}},
    "a duration that is too long": {"api": {"timeToResponse": None, "timeToResponseInNS": 10**18}},
    "a duration of another type": {"api": {"timeToResponse": [5]}},
    "an end after the year 9999": {"time": "9999-12-31T23:59:59Z", "api": {"timeToResponse": "999999999999999999ns"}},
}


@pytest.mark.parametrize("changes", UNKNOWN_TIMES.values(), ids=UNKNOWN_TIMES.keys())
def test_an_event_without_a_readable_time_is_new(changes):
    changes = dict(changes)
    line = call("PutObject", api=changes.pop("api", None), **changes)
    assert one(line).time == UNKNOWN_TIME


def test_one_readable_duration_of_two_is_enough():
    assert one(call("PutObject", api={"timeToResponseInNS": []})).time == START + 0.5
    assert one(call("PutObject", api={"timeToResponse": [], "timeToResponseInNS": 250_000_000.0})).time == START + 0.25


# Unreadable keys in a readable bucket

HALF = "\ud800"
STALE = {
    "a write without a key": (call("PutObject", None), [(BUCKET_WRITTEN, "")]),
    "a delete without a key": (call("DeleteObject", None), [(UNLISTED, "")]),
    "a key of another type": (call("PutObject", 7), [(BUCKET_WRITTEN, "")]),
    "a deleted key of another type": (call("DeleteObject", ["a"]), [(UNLISTED, "")]),
    "half a character in a key": (call("PutObject", f"a/{HALF}"), [(BUCKET_WRITTEN, "")]),
    "a hidden key": (call("PutObject", HIDDEN), [(BUCKET_WRITTEN, "")]),
    "a hidden key beside a listed one": (
        call("PutObject", HIDDEN, api={"objects": OBJECTS[:1]}),
        [(WRITTEN, "x"), (BUCKET_WRITTEN, "")],
    ),
    "one hidden object of several": (
        call("DeleteMultipleObjects", None, api={"objects": [{"objectName": "x"}, {"objectName": HIDDEN}]}),
        [(DELETED, "x"), (UNLISTED, "")],
    ),
    "a wrapped one": (wrapped(call("PutObject", {"a": 1})), [(BUCKET_WRITTEN, "")]),
    "an unknown call with a key of another type": (call("Frob", 7), [(BUCKET_WRITTEN, "")]),
    "an unknown call without a key": (call("Frob", None), [(NOT_CHANGE, "")]),
    "a call without a name": (call(["PutObject"]), [(WRITTEN, "a/b.txt")]),
    "an expiry without objects": (expiry(name="ILMExpiry"), [(UNLISTED, "")]),
    "one object of another type": (
        call("DeleteMultipleObjects", None, api={"objects": [{"objectName": "x"}, {}, 7, {"objectName": "y"}]}),
        [(DELETED, "x"), (DELETED, "y"), (UNLISTED, "")],
    ),
    "the only object is of another type": (
        call("DeleteMultipleObjects", None, api={"objects": [{"objectName": HALF}]}),
        [(UNLISTED, "")],
    ),
    "one of two objects is of another type": (
        call("DeleteMultipleObjects", None, api={"objects": [{"objectName": "x"}, None]}),
        [(DELETED, "x"), (UNLISTED, "")],
    ),
    "objects of another type": (
        call("PutObject", api={"objects": 7}),
        [(WRITTEN, "a/b.txt"), (BUCKET_WRITTEN, "")],
    ),
    "a version of another type": (
        call("DeleteMultipleObjects", None, api={"objects": [{"objectName": "x", "versionId": 7}]}),
        [(DELETED, "x")],
    ),
}


@pytest.mark.parametrize(("line", "expected"), STALE.values(), ids=STALE.keys())
def test_a_key_that_cannot_be_read_makes_the_bucket_stale(line, expected):
    assert summaries(read(text(line))) == expected


def test_a_key_that_is_not_utf8_makes_the_bucket_stale():
    data = text(call("PutObject", "KEY"), call("PutObject", "b")).replace(b"KEY", b"caf\xe9")
    assert summaries(read(data)) == [(BUCKET_WRITTEN, ""), (WRITTEN, "b")]


def test_unreadable_fields_of_the_caller_are_empty():
    line = call("PutObject", accessKey=["AK"], parentUser="boss", remotehost=HALF, userAgent={})
    assert one(line).actor == Actor(principal="boss")
    assert one(wrapped(call("PutObject", parentUser=7))).actor.principal == "svc"
    assert one(wrapped(call("PutObject"), serviceAccountName=[])).actor == Actor()


BAD = {
    "not JSON": (b"{'a'}", "not JSON"),
    "cut short": (b'{"api":{"name":"PutObj', "not JSON"),
    "without commas": (b'{"api": {"name": "PutObject" "bucket": "b" "object": "a"}}', "not JSON"),
    "nested without an end": (b'{"x":' + b"[" * 100_000, "not JSON"),
    "a number": (b"1", "not a JSON object"),
    "a word": (b"hello", "not JSON"),
    "without a call": (b"{}", "no field `api`"),
    "of another format": (b'{"Records": []}', "no field `api`"),
    "a wrapper without a record": (b'{"auditEntry": null}', "no field `api`"),
    "with a call of another type": (b'{"api": "PutObject"}', "the field `api` is not a JSON object"),
    "without a bucket": (text(call("PutObject", api={"bucket": None})), "without api.bucket"),
    "with an empty bucket": (text(call("DeleteMultipleObjects", None, api={"bucket": ""})), "without api.bucket"),
    "with a hidden bucket": (text(call("PutObject", api={"bucket": HIDDEN})), "without api.bucket"),
    "with a bucket of another type": (text(call("PutObject", api={"bucket": 7})), "without api.bucket"),
    "an unknown call on an unreadable bucket": (text(call("Frob", api={"bucket": HALF})), "without api.bucket"),
}


@pytest.mark.parametrize(("line", "expected"), CASES.values(), ids=CASES.keys())
def test_a_line_gives_the_expected_records(line, expected):
    assert summaries(read(text(line))) == expected


@pytest.mark.parametrize(("line", "reason"), BAD.values(), ids=BAD.keys())
def test_the_error_of_a_bad_line_names_the_field(line, reason):
    good = text(call("GetObject"))
    with pytest.raises(RecordMalformed, match=reason) as raised:
        read(good + line)
    assert str(raised.value).startswith("line 2: ")
    assert (raised.value.index, raised.value.offset) == (2, len(good))


@pytest.mark.parametrize("line", [line for line, _ in BAD.values()], ids=BAD.keys())
def test_a_bad_line_can_be_skipped(line):
    bad = BadRecords("skip")
    log = AuditLog(Limits(), bad)
    before, after = text(call("PutObject", "1")), text(call("PutObject", "2"))
    assert summaries(log.feed(before + line.rstrip() + b"\n" + after) + log.finish()) == [
        (WRITTEN, "1"),
        (WRITTEN, "2"),
    ]
    assert bad.count == 1


def test_an_error_shows_only_the_beginning_of_a_value():
    secret = "s" * 5000
    for line in (
        call(secret, api={"bucket": 7}),
        call("PutObject", userAgent=secret, api={"bucket": 7}),
        {"requestHeader": {"Authorization": secret}},
    ):
        with pytest.raises(RecordMalformed) as raised:
            read(text(call("GetObject"), line))
        assert "s" * 41 not in str(raised.value)


def test_a_file_of_another_format_is_refused_even_if_bad_lines_are_skipped():
    with pytest.raises(LogMalformed):
        read(b'{"Records": [\n{"a": 1}]}\n', "skip")


def test_one_file_may_have_both_forms():
    assert summaries(read(text(call("PutObject", "1"), wrapped(call("PutObject", "2"))))) == [
        (WRITTEN, "1"),
        (WRITTEN, "2"),
    ]


TIMES = {
    "the end of the request": (call("PutObject"), START + 0.5),
    "nanoseconds as text": (call("PutObject", api={"timeToResponseInNS": "250000000"}), START + 0.25),
    "nanoseconds as a number": (call("PutObject", api={"timeToResponseInNS": 250_000_000}), START + 0.25),
    "the other field, if that is empty": (call("PutObject", api={"timeToResponseInNS": ""}), START + 0.5),
    "the start, without a duration": (call("PutObject", api={"timeToResponse": None}), START),
    "an hour's upload": (call("PutObject", api={"timeToResponse": "3600000000000ns"}), START + 3600),
    "a zone's time": (call("PutObject", time="2026-03-01T07:30:00+05:30"), START + 0.5),
    "a zone's time, behind": (call("PutObject", time="2026-02-28T18:00:00.5-08:00"), START + 1),
    "half a second": (call("PutObject", time="2026-03-01T02:00:00.500000000Z"), START + 1),
    "small letters": (call("PutObject", time="2026-03-01t02:00:00z"), START + 0.5),
    "of an expiry, its time": (expiry(object="x"), START),
}


@pytest.mark.parametrize(("line", "expected"), TIMES.values(), ids=TIMES.keys())
def test_the_time_is_the_end_of_the_request(line, expected):
    assert one(line).time == expected


@UNHURRIED
@given(st.integers(1_136_073_600 * 10**9, 4 * 10**18), st.integers(0, 10**14))
def test_times_are_rounded_up_and_by_less_than_a_microsecond(start, duration):
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=start // 10**9)
    line = call(
        "PutObject", time=f"{moment:%Y-%m-%dT%H:%M:%S}.{start % 10**9:09}Z", api={"timeToResponse": f"{duration}ns"}
    )
    late = Fraction(one(line).time) - Fraction(start + duration, 10**9)
    assert 0 <= late < Fraction(1, 10**6)


def test_the_event_has_the_caller_and_the_ids():
    line = call(
        "PutObject", accessKey="AK", parentUser="boss", remotehost="192.0.2.1:999", userAgent="mc", requestID="R7"
    )
    event = one(line)
    assert event.actor == Actor(principal="boss", access_key="AK", source_address="192.0.2.1", user_agent="mc")
    assert (event.bucket, event.event_id, event.name, event.version) == ("data", "R7", "PutObject", None)


def test_a_service_account_is_the_principal_if_there_is_no_user():
    assert one(wrapped(call("PutObject"))).actor.principal == "svc"
    assert one(wrapped(call("PutObject", parentUser="boss"))).actor.principal == "boss"
    assert one(wrapped(call("PutObject"), serviceAccountName=None)).actor.principal == ""


ADDRESSES = {
    "192.0.2.1": "192.0.2.1",
    "192.0.2.1:9000": "192.0.2.1",
    "2001:db8::1": "2001:db8::1",
    "[2001:db8::1]:9000": "2001:db8::1",
    "[::1]": "::1",
    "localhost:1": "localhost",
    "": "",
}


@pytest.mark.parametrize(("host", "address"), ADDRESSES.items())
def test_an_address_has_no_port(host, address):
    assert one(call("PutObject", remotehost=host)).actor.source_address == address


VERSIONS = {
    "from the response": (call("PutObject", responseHeader={"x-amz-version-id": "v1"}), ["v1"]),
    "from the response, in Go's spelling": (call("PutObject", responseHeader={"X-Amz-Version-Id": "v1"}), ["v1"]),
    "missing, if empty": (call("PutObject", responseHeader={"x-amz-version-id": ""}), [None]),
    "missing, if null": (call("PutObject", responseHeader={"x-amz-version-id": None}), [None]),
    "of each object": (call("DeleteMultipleObjects", None, api={"objects": OBJECTS}), ["v1", None]),
    "of the object rather than the response": (
        expiry(objects=OBJECTS[:1]) | {"responseHeader": {"x-amz-version-id": "v2"}},
        ["v1"],
    ),
    "missing, if the object's version is empty": (expiry(objects=[{"objectName": "x", "versionId": ""}]), [None]),
}


@pytest.mark.parametrize(("line", "versions"), VERSIONS.values(), ids=VERSIONS.keys())
def test_the_version_of_each_object_is_found(line, versions):
    assert [record.version for record in read(text(line))] == versions


def test_a_request_that_is_logged_twice_counts_once():
    line = call("PutObject")
    assert summaries(read(text(line, wrapped(line)))) == [(WRITTEN, "a/b.txt"), (SkipReason.DUPLICATE, "a/b.txt")]


def test_a_key_that_is_too_long_is_a_bad_record_and_makes_the_bucket_stale():
    bad = BadRecords("skip")
    log = AuditLog(Limits(), bad)
    objects = [{"objectName": "x"}, {"objectName": "k" * 4097}, {"objectName": "l" * 4097}]
    data = text(call("DeleteMultipleObjects", None, api={"objects": objects}), call("GetObject", "k" * 4097))
    records = log.feed(data) + log.finish()
    assert summaries(records) == [(DELETED, "x"), (UNLISTED, ""), (READ_ONLY, "k" * 4097)]
    assert [(each.index, each.field) for each in bad.first] == [(1, "key")]


def test_two_different_calls_are_not_duplicates():
    lines = [call("PutObject"), call("DeleteObject"), call("PutObject", "c"), call("PutObject", requestID="R2")]
    assert all(isinstance(record, ObjectEvent) for record in read(text(*lines)))


def test_lines_without_a_request_id_are_not_duplicates():
    assert all(isinstance(record, ObjectEvent) for record in read(text(expiry(object="x"), expiry(object="x"))))


def test_a_record_without_its_bucket_still_has_this_format():
    bad = BadRecords("skip")
    log = AuditLog(Limits(), bad)
    assert log.feed(text(call("PutObject", api={"bucket": None}))) + log.finish() == []
    assert bad.count == 1


def test_a_good_record_after_many_bad_ones_is_read():
    assert summaries(read(b"{bad}\n" * 100 + text(call("PutObject")), "skip")) == [(WRITTEN, "a/b.txt")]


def test_a_file_with_one_line_that_is_too_large_is_refused():
    with pytest.raises(LogLimitExceeded):
        read(text(call("PutObject", "k" * 2000)), "skip", Limits(record_size=1000))


def outcome(blocks, policy):
    bad = BadRecords(policy)
    log = AuditLog(Limits(record_size=5000), bad)
    try:
        records = [record for block in blocks for record in log.feed(block)] + log.finish()
    except LogError as error:
        return type(error), bad.count
    return records, bad.count


POLICIES = st.sampled_from(["skip", "reject"])
ANY_LINES = st.lists(st.sampled_from([text(line) for line, _ in CASES.values()] + [line + b"\n" for line, _ in BAD.values() if len(line) < 5000]), max_size=8)  # fmt: skip


@UNHURRIED
@given(ANY_LINES.map(b"".join), st.lists(st.integers(0, 10_000), max_size=8), POLICIES)
def test_the_records_do_not_depend_on_how_the_text_is_cut(data, places, policy):
    assert outcome(cut(data, places), policy) == outcome([data], policy)


def test_a_cut_at_any_byte_changes_nothing():
    data = text(call("PutObject", "ü"), wrapped(call("DeleteObject")))
    whole = outcome([data], "reject")
    assert all(outcome([data[:at], data[at:]], "reject") == whole for at in range(len(data)))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(["PutObject", "DeleteMultipleObjects", "ILMExpiry", "GetObject", "PutObjectPart", "Frob", ""])
ODD_API = st.fixed_dictionaries(
    {"name": NAMES | JSON},
    optional={
        "bucket": st.just("b") | JSON,
        "object": st.just("k") | JSON,
        "objects": st.just(OBJECTS)
        | st.lists(st.fixed_dictionaries({}, optional={"objectName": JSON, "versionId": JSON}))
        | JSON,
        "statusCode": st.just(200) | JSON,
        "timeToResponse": st.just("5ns") | JSON,
        "timeToResponseInNS": st.just("5") | JSON,
    },
)
ODD_ENTRY = st.fixed_dictionaries(
    {"api": ODD_API | JSON},
    optional={
        "time": st.just("2026-03-01T02:00:00Z") | st.text("0123456789-+:.TZ", max_size=30) | JSON,
        "event": st.just("ilm:expiry") | JSON,
        "requestID": st.just("R") | JSON,
        "responseHeader": st.fixed_dictionaries({"x-amz-version-id": JSON}) | JSON,
        "remotehost": JSON,
    },
)
ODD_LINE = ODD_ENTRY | st.fixed_dictionaries({"auditEntry": ODD_ENTRY | JSON}, optional={"serviceAccountName": JSON})


@UNHURRIED
@given(st.lists(ODD_LINE.map(lambda line: json.dumps(line).encode()) | st.binary(max_size=50), max_size=5), POLICIES)
def test_any_lines_give_records_or_log_errors(lines, policy):
    records, _ = outcome([b"\n".join(lines)], policy)
    for record in records if isinstance(records, list) else []:
        record.key.encode()
        assert not isinstance(record, ObjectEvent) or (record.bucket and (record.key or record.kind.is_unlisted))


KEYS = st.text(
    st.characters(exclude_categories=["Cs"]) | st.sampled_from("/ %+\"'\\\n\r\u2028"), min_size=1, max_size=30
)


@UNHURRIED
@given(st.lists(KEYS, min_size=1, max_size=5), st.booleans(), st.booleans())
def test_keys_are_read_exactly(keys, is_wrapped, is_ascii):
    lines = [call("PutObject", key, requestID=f"R{n}") for n, key in enumerate(keys)]
    lines = [wrapped(line) for line in lines] if is_wrapped else lines
    data = b"\n".join(json.dumps(line, ensure_ascii=is_ascii).encode() for line in lines)
    assert summaries(read(data)) == [(WRITTEN, key) for key in keys]


def test_a_large_file_is_read_in_bounded_memory():
    log = AuditLog(Limits(), BadRecords("reject"))
    # Each line has its own id and a long key. There are more ids than the parser remembers.
    blocks = [text(*(call("PutObject", f"{i:0500}", requestID=f"R{n}-{i}") for i in range(1000))) for n in range(26)]
    tracemalloc.start()
    try:
        for block in blocks[:18]:
            log.feed(block)
        before, _ = tracemalloc.get_traced_memory()
        for block in blocks[18:]:
            log.feed(block)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after < before + 2_000_000


def test_very_long_ids_are_not_remembered():
    log = AuditLog(Limits(), BadRecords("reject"))
    tracemalloc.start()
    try:
        for n in range(200):
            log.feed(text(call("PutObject", "k" * 100_000, requestID=f"R{n}")))
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after < 2_000_000


def sample(pattern):
    found = next(SAMPLES.glob(pattern), None)
    if found is None:
        pytest.skip("the shared samples are not here")
    return found.read_bytes()


def test_lines_of_lyve_cloud_are_read():
    records = read(sample("*lyve_cloud*.ndjson"))
    assert records
    assert {record.reason for record in records} == {READ_ONLY}
    assert all(record.bucket and record.time and record.event_id for record in records)


def test_lines_of_minio_are_read():
    records = read(sample("*minio*audit.ndjson"))
    assert [record.kind for record in records] == [WRITTEN, DELETED]
    assert all(record.bucket and record.key and record.time for record in records)
