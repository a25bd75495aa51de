"""Events from EventBridge, and CloudTrail records from EventBridge."""

import json
from typing import Any

import pytest
from tests.core.notification_bodies import (
    DELETED,
    LOG_KEY,
    LOGS,
    NOON,
    OF_LOGS,
    UNCHANGED,
    WRITTEN,
    effect,
    eventbridge,
    one,
    sns,
)
from tests.wire import ABSENT, changed

from jibe_sqs.core.announcements import announcements
from jibe_sqs.core.errors import (
    AnnouncementError,
    AnnouncementMalformed,
    AnnouncementTooLarge,
    AnnouncementUnknown,
    AnnouncementUnsupported,
)
from jibe_sqs.core.model import UNKNOWN_TIME, Actor, Kind, LogFile, ObjectEvent


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
        "N4N7GDK58NMKJ12R",
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
