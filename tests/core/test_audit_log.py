"""Audit logs of MinIO and Lyve Cloud: what each line says."""

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
"""A busy machine is no failure."""
SAMPLES = Path(__file__).parents[3] / "shared" / "samples"
WRITTEN, DELETED, UNLISTED = Kind.WRITTEN, Kind.DELETED, Kind.DELETED_UNLISTED
BUCKET_WRITTEN = Kind.WRITTEN_UNLISTED
READ_ONLY, FAILED, NOT_CHANGE = SkipReason.READ_ONLY, SkipReason.FAILED, SkipReason.NOT_OBJECT_CHANGE
START = 1_772_330_400.0  # 2026-03-01T02:00:00Z


def call(name, key="a/b.txt", *, api=None, **entry):
    """One of MinIO's own lines. `None` takes a field out."""
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
    """The records; raises the first bad one, unless these are to be skipped."""
    bad = BadRecords(policy)
    log = AuditLog(limits or Limits(), bad)
    records = log.feed(data) + log.finish()
    if policy == "reject" and bad.first:
        raise bad.first[0]
    return records


def said(records):
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
    "a form whose key is not told makes the bucket stale": (call("PostPolicyBucket", None), [(BUCKET_WRITTEN, "")]),
    "an archive that is unpacked makes the bucket stale": (call("PutObjectExtract", "x.tar"), [(BUCKET_WRITTEN, "")]),
    "a delete deletes": (call("DeleteObject", api={"statusCode": 204}), [(DELETED, "a/b.txt")]),
    "a bulk delete deletes each": (
        call("DeleteMultipleObjects", None, api={"objects": OBJECTS}),
        [(DELETED, "x"), (DELETED, "y/z")],
    ),
    "a bulk delete without its keys makes the bucket stale": (call("DeleteMultipleObjects", None), [(UNLISTED, "")]),
    "a bulk delete of an empty list too": (call("DeleteMultipleObjects", None, api={"objects": []}), [(UNLISTED, "")]),
    "whatever else it names": (call("DeleteMultipleObjects", "x"), [(UNLISTED, "")]),
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
    "nulls are as good as nothing": (call("PutObject") | {"userAgent": None, "event": None}, [(WRITTEN, "a/b.txt")]),
    "an odd field of a read is no matter": (call("GetObject", userAgent=5), [(READ_ONLY, "a/b.txt")]),
    "nor of a failed call": (call("PutObject", api={"statusCode": 403}, remotehost=[]), [(FAILED, "a/b.txt")]),
    "nor of a wrapped one": (wrapped(call("PutObjectPart", accessKey=1)), [(NOT_CHANGE, "a/b.txt")]),
    "nor of a bucket-level call": (call("PutBucketPolicy", None, requestID=1), [(NOT_CHANGE, "")]),
    "nor the time of a read": (call("GetObject", time="yesterday"), [(READ_ONLY, "a/b.txt")]),
}

# Fields that do not identify the object, of any type: the record is processed all the same

ODD = [None, "", "?", "HIDDEN", 7, -1.5, True, [], ["x"], {}, {"x": [1]}, "\ud800", float("nan"), float("inf"), 10**400]
ENTRY_FIELDS = ["event", "requestID", "remotehost", "userAgent", "accessKey", "parentUser", "responseHeader", "version",
                "deploymentid", "requestHeader", "tags", "trigger", "time"]  # fmt: skip
API_FIELDS = ["status", "timeToResponse", "timeToResponseInNS", "timeToFirstByte", "rx"]


@pytest.mark.parametrize("odd", ODD, ids=repr)
@pytest.mark.parametrize("field", ENTRY_FIELDS)
def test_a_field_of_the_entry_that_is_odd_does_not_matter(field, odd):
    line = call("PutObject") | {field: odd}
    assert said(read(text(call("PutObject", "1"), line, wrapped(line | {"requestID": "R2"})))) == [
        (WRITTEN, "1"),
        (WRITTEN, "a/b.txt"),
        (WRITTEN, "a/b.txt"),
    ]


@pytest.mark.parametrize("odd", ODD, ids=repr)
@pytest.mark.parametrize("field", API_FIELDS)
def test_a_field_of_the_call_that_is_odd_does_not_matter(field, odd):
    line = call("DeleteObject")
    line["api"] |= {field: odd}
    assert said(read(text(line))) == [(DELETED, "a/b.txt")]


@pytest.mark.parametrize(
    "odd", ["OK", "ok 200", True, [], {}, 200.5, "\ud800", float("nan"), "200", 200.0, None], ids=repr
)
def test_a_status_that_is_not_known_to_be_a_failure_is_none(odd):
    line = call("PutObject")
    line["api"] |= {"statusCode": odd}
    assert said(read(text(line))) == [(WRITTEN, "a/b.txt")]


@pytest.mark.parametrize("status", ["404", 404.0, 404, "503"], ids=repr)
def test_a_status_may_be_a_text(status):
    line = call("PutObject")
    line["api"] |= {"statusCode": status}
    assert said(read(text(line))) == [(FAILED, "a/b.txt")]


UNKNOWN_TIMES = {
    "none": {"time": None},
    "a word": {"time": "yesterday"},
    "of no zone": {"time": "2026-03-01T02:00:00"},
    "of no calendar": {"time": "2026-02-30T02:00:00Z"},
    "before all time": {"time": "0001-01-01T00:00:00+23:59"},
    "Go's zero": {"time": "0001-01-01T00:00:00Z"},
    "Unix's zero": {"time": "1970-01-01T00:00:00Z"},
    "just before S3 existed": {"time": "2005-12-31T23:59:59Z"},
    "a day": {"time": "2026-03-01"},
    "an hour": {"time": "2026-03-01T02Z"},
    "a minute": {"time": "2026-03-01T02:00Z"},
    "a number": {"time": 1_772_330_400_000_000_000},
    "a duration in seconds": {"api": {"timeToResponse": "1.5s"}},
    "a negative duration": {"api": {"timeToResponse": None, "timeToResponseInNS": -1}},
    "a duration beyond all time": {"api": {"timeToResponse": None, "timeToResponseInNS": 10**18}},
    "a duration of another type": {"api": {"timeToResponse": [5]}},
    "an end after the year 9999": {"time": "9999-12-31T23:59:59Z", "api": {"timeToResponse": "999999999999999999ns"}},
}


@pytest.mark.parametrize("changes", UNKNOWN_TIMES.values(), ids=UNKNOWN_TIMES.keys())
def test_an_event_whose_time_cannot_be_read_is_new(changes):
    changes = dict(changes)
    line = call("PutObject", api=changes.pop("api", None), **changes)
    assert one(line).time == UNKNOWN_TIME


def test_of_two_durations_one_that_can_be_read_is_enough():
    assert one(call("PutObject", api={"timeToResponseInNS": []})).time == START + 0.5
    assert one(call("PutObject", api={"timeToResponse": [], "timeToResponseInNS": 250_000_000.0})).time == START + 0.25


# Keys that cannot be read, of a bucket that can

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
    "an expiry of nothing": (expiry(name="ILMExpiry"), [(UNLISTED, "")]),
    "an odd one of the objects": (
        call("DeleteMultipleObjects", None, api={"objects": [{"objectName": "x"}, {}, 7, {"objectName": "y"}]}),
        [(DELETED, "x"), (DELETED, "y"), (UNLISTED, "")],
    ),
    "the only one of the objects is odd": (
        call("DeleteMultipleObjects", None, api={"objects": [{"objectName": HALF}]}),
        [(UNLISTED, "")],
    ),
    "one of two objects is odd": (
        call("DeleteMultipleObjects", None, api={"objects": [{"objectName": "x"}, None]}),
        [(DELETED, "x"), (UNLISTED, "")],
    ),
    "objects of another type": (
        call("PutObject", api={"objects": 7}),
        [(WRITTEN, "a/b.txt"), (BUCKET_WRITTEN, "")],
    ),
    "an odd version of an object": (
        call("DeleteMultipleObjects", None, api={"objects": [{"objectName": "x", "versionId": 7}]}),
        [(DELETED, "x")],
    ),
}


@pytest.mark.parametrize(("line", "expected"), STALE.values(), ids=STALE.keys())
def test_a_key_that_cannot_be_read_makes_the_bucket_stale(line, expected):
    assert said(read(text(line))) == expected


def test_a_key_that_is_not_utf8_makes_the_bucket_stale():
    data = text(call("PutObject", "KEY"), call("PutObject", "b")).replace(b"KEY", b"caf\xe9")
    assert said(read(data)) == [(BUCKET_WRITTEN, ""), (WRITTEN, "b")]


def test_actors_are_known_as_far_as_they_can_be_read():
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
    "of no call": (b"{}", "no api"),
    "of another format": (b'{"Records": []}', "no api"),
    "wrapping nothing": (b'{"auditEntry": null}', "no api"),
    "with a call of another type": (b'{"api": "PutObject"}', "its api is not a JSON object"),
    "without a bucket": (text(call("PutObject", api={"bucket": None})), "without api.bucket"),
    "with an empty bucket": (text(call("DeleteMultipleObjects", None, api={"bucket": ""})), "without api.bucket"),
    "with a hidden bucket": (text(call("PutObject", api={"bucket": HIDDEN})), "without api.bucket"),
    "with a bucket of another type": (text(call("PutObject", api={"bucket": 7})), "without api.bucket"),
    "an unknown call on an odd bucket": (text(call("Frob", api={"bucket": HALF})), "without api.bucket"),
}


@pytest.mark.parametrize(("line", "expected"), CASES.values(), ids=CASES.keys())
def test_what_a_line_says(line, expected):
    assert said(read(text(line))) == expected


@pytest.mark.parametrize(("line", "reason"), BAD.values(), ids=BAD.keys())
def test_a_bad_line_says_which_field(line, reason):
    good = text(call("GetObject"))
    with pytest.raises(RecordMalformed, match=reason) as raised:
        read(good + line)
    assert str(raised.value).startswith("line 2: ")
    assert (raised.value.index, raised.value.offset) == (2, len(good))


@pytest.mark.parametrize("line", [line for line, _ in BAD.values()], ids=BAD.keys())
def test_a_bad_line_of_many_can_be_skipped(line):
    bad = BadRecords("skip")
    log = AuditLog(Limits(), bad)
    before, after = text(call("PutObject", "1")), text(call("PutObject", "2"))
    assert said(log.feed(before + line.rstrip() + b"\n" + after) + log.finish()) == [(WRITTEN, "1"), (WRITTEN, "2")]
    assert bad.count == 1


def test_an_error_never_shows_a_whole_value():
    secret = "s" * 5000
    for line in (
        call(secret, api={"bucket": 7}),
        call("PutObject", userAgent=secret, api={"bucket": 7}),
        {"requestHeader": {"Authorization": secret}},
    ):
        with pytest.raises(RecordMalformed) as raised:
            read(text(call("GetObject"), line))
        assert "s" * 41 not in str(raised.value)


def test_a_file_of_another_kind_is_not_done_because_bad_lines_are_skipped():
    with pytest.raises(LogMalformed):
        read(b'{"Records": [\n{"a": 1}]}\n', "skip")


def test_both_forms_may_stand_in_one_file():
    assert said(read(text(call("PutObject", "1"), wrapped(call("PutObject", "2"))))) == [(WRITTEN, "1"), (WRITTEN, "2")]


TIMES = {
    "the end of the request": (call("PutObject"), START + 0.5),
    "nanoseconds as text": (call("PutObject", api={"timeToResponseInNS": "250000000"}), START + 0.25),
    "nanoseconds as a number": (call("PutObject", api={"timeToResponseInNS": 250_000_000}), START + 0.25),
    "the other field where that is empty": (call("PutObject", api={"timeToResponseInNS": ""}), START + 0.5),
    "the start, where no duration is told": (call("PutObject", api={"timeToResponse": None}), START),
    "an hour's upload": (call("PutObject", api={"timeToResponse": "3600000000000ns"}), START + 3600),
    "a zone's time": (call("PutObject", time="2026-03-01T07:30:00+05:30"), START + 0.5),
    "a zone's time, behind": (call("PutObject", time="2026-02-28T18:00:00.5-08:00"), START + 1),
    "half a second": (call("PutObject", time="2026-03-01T02:00:00.500000000Z"), START + 1),
    "small letters": (call("PutObject", time="2026-03-01t02:00:00z"), START + 0.5),
    "of an expiry, its time": (expiry(object="x"), START),
}


@pytest.mark.parametrize(("line", "expected"), TIMES.values(), ids=TIMES.keys())
def test_the_time_is_when_the_change_became_visible(line, expected):
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


def test_who_did_it_and_how_it_is_named():
    line = call(
        "PutObject", accessKey="AK", parentUser="boss", remotehost="192.0.2.1:999", userAgent="mc", requestID="R7"
    )
    event = one(line)
    assert event.actor == Actor(principal="boss", access_key="AK", source_address="192.0.2.1", user_agent="mc")
    assert (event.bucket, event.event_id, event.name, event.version) == ("data", "R7", "PutObject", None)


def test_a_service_account_is_the_principal_where_no_user_is_named():
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
    "of the answer": (call("PutObject", responseHeader={"x-amz-version-id": "v1"}), ["v1"]),
    "of the answer, in Go's spelling": (call("PutObject", responseHeader={"X-Amz-Version-Id": "v1"}), ["v1"]),
    "none, if empty": (call("PutObject", responseHeader={"x-amz-version-id": ""}), [None]),
    "none, if null": (call("PutObject", responseHeader={"x-amz-version-id": None}), [None]),
    "of each object": (call("DeleteMultipleObjects", None, api={"objects": OBJECTS}), ["v1", None]),
    "of the object before the answer's": (
        expiry(objects=OBJECTS[:1]) | {"responseHeader": {"x-amz-version-id": "v2"}},
        ["v1"],
    ),
    "none, if the object's is empty": (expiry(objects=[{"objectName": "x", "versionId": ""}]), [None]),
}


@pytest.mark.parametrize(("line", "versions"), VERSIONS.values(), ids=VERSIONS.keys())
def test_versions(line, versions):
    assert [record.version for record in read(text(line))] == versions


def test_a_request_that_is_logged_twice_counts_once():
    line = call("PutObject")
    assert said(read(text(line, wrapped(line)))) == [(WRITTEN, "a/b.txt"), (SkipReason.DUPLICATE, "a/b.txt")]


def test_a_key_that_is_too_long_is_bad_and_makes_its_bucket_stale():
    bad = BadRecords("skip")
    log = AuditLog(Limits(), bad)
    objects = [{"objectName": "x"}, {"objectName": "k" * 4097}, {"objectName": "l" * 4097}]
    data = text(call("DeleteMultipleObjects", None, api={"objects": objects}), call("GetObject", "k" * 4097))
    records = log.feed(data) + log.finish()
    assert said(records) == [(DELETED, "x"), (UNLISTED, ""), (READ_ONLY, "k" * 4097)]
    assert [(each.index, each.field) for each in bad.first] == [(1, "key")]


def test_two_calls_are_no_duplicates():
    lines = [call("PutObject"), call("DeleteObject"), call("PutObject", "c"), call("PutObject", requestID="R2")]
    assert all(isinstance(record, ObjectEvent) for record in read(text(*lines)))


def test_lines_without_a_request_are_no_duplicates():
    assert all(isinstance(record, ObjectEvent) for record in read(text(expiry(object="x"), expiry(object="x"))))


def test_a_record_without_its_bucket_is_still_of_this_format():
    bad = BadRecords("skip")
    log = AuditLog(Limits(), bad)
    assert log.feed(text(call("PutObject", api={"bucket": None}))) + log.finish() == []
    assert bad.count == 1


def test_a_good_record_after_many_bad_ones_is_read():
    assert said(read(b"{bad}\n" * 100 + text(call("PutObject")), "skip")) == [(WRITTEN, "a/b.txt")]


def test_a_file_of_one_line_that_is_too_large_is_refused():
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
def test_cutting_the_text_anywhere_changes_nothing(data, places, policy):
    assert outcome(cut(data, places), policy) == outcome([data], policy)


def test_cutting_the_text_at_every_byte_changes_nothing():
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
def test_whatever_comes_there_are_records_or_log_errors_and_nothing_else(lines, policy):
    records, _ = outcome([b"\n".join(lines)], policy)
    for record in records if isinstance(records, list) else []:
        record.key.encode()
        assert not isinstance(record, ObjectEvent) or (record.bucket and (record.key or record.kind.is_unlisted))


KEYS = st.text(
    st.characters(exclude_categories=["Cs"]) | st.sampled_from("/ %+\"'\\\n\r\u2028"), min_size=1, max_size=30
)


@UNHURRIED
@given(st.lists(KEYS, min_size=1, max_size=5), st.booleans(), st.booleans())
def test_keys_come_back_as_they_were(keys, is_wrapped, is_ascii):
    lines = [call("PutObject", key, requestID=f"R{n}") for n, key in enumerate(keys)]
    lines = [wrapped(line) for line in lines] if is_wrapped else lines
    data = b"\n".join(json.dumps(line, ensure_ascii=is_ascii).encode() for line in lines)
    assert said(read(data)) == [(WRITTEN, key) for key in keys]


def test_a_large_file_is_read_in_bounded_memory():
    log = AuditLog(Limits(), BadRecords("reject"))
    # Each with its own id, on long keys: more than are remembered.
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


def test_ids_too_long_for_a_store_are_not_remembered():
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


def test_lyves_lines_are_read():
    records = read(sample("*lyve_cloud*.ndjson"))
    assert records
    assert {record.reason for record in records} == {READ_ONLY}
    assert all(record.bucket and record.time and record.event_id for record in records)


def test_minios_lines_are_read():
    records = read(sample("*minio*audit.ndjson"))
    assert [record.kind for record in records] == [WRITTEN, DELETED]
    assert all(record.bucket and record.key and record.time for record in records)
