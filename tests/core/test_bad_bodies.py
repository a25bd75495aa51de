"""Bodies and records that cannot be read: their errors, and what is announced beside them."""

import json
from typing import Any

import pytest
from msgspec.structs import replace
from tests.core.bodies import KEY, LOGS, SES, delivery, event, file, record, s3, sns
from tests.wire import ABSENT

from jibe_sqs.core.announcements import MAX_ENVELOPES, MAX_NAMED, announcements, combined
from jibe_sqs.core.errors import (
    AnnouncementError,
    AnnouncementMalformed,
    AnnouncementTooDeep,
    AnnouncementUnknown,
    AnnouncementUnsupported,
)
from jibe_sqs.core.model import UNKNOWN_TIME, Kind, ObjectEvent, SkipReason, Unchanged, Unreadable
from jibe_sqs.core.sources import Sources

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


@pytest.mark.parametrize("body", [b"\xff", b'{"Records": ["\xe9"]}'])
def test_bytes_that_are_not_utf8_are_malformed(body):
    with pytest.raises(AnnouncementMalformed, match="the body is not UTF-8"):
        announcements(body)


def test_json_that_only_lenient_parsers_accept_is_read():
    """orjson rejects NaN and lone surrogates. One such record must not stop the others."""
    body = s3(record("a"), record("b", s3__object__size=float("nan")), record("c\udfff"), record("d"))
    body = body.replace("\\udfff", "\udfff").encode("utf-8", "surrogatepass")
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
