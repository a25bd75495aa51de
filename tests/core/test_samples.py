"""Real messages and records from other projects, and what each of them means. Skipped if the samples are missing."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jibe_sqs.core.announcements import announcements
from jibe_sqs.core.errors import AnnouncementError, LogError
from jibe_sqs.core.formats.limits import Limits
from jibe_sqs.core.formats.reader import LogReader
from jibe_sqs.core.model import LogFile, Nothing, ObjectEvent

SAMPLES = Path(__file__).parents[2].parent / "shared" / "samples"

pytestmark = pytest.mark.skipif(not SAMPLES.is_dir(), reason=f"no samples at {SAMPLES}")

POWERTOOLS = "powertools-lambda-python__tests__events__"
S3_GUIDE = "awsdocs__amazon-s3-userguide__doc_source__"
TRAIL_GUIDE = "awsdocs__aws-cloudtrail-user-guide__doc_source__"
LOCALSTACK = "localstack__tests__aws__services__s3__test_s3_notifications_"

TRAIL_LOG = "AWSLogs/111122223333/CloudTrail/us-east-1/2024/01/01/111122223333_CloudTrail_us-east-1_20240101T0000Z_"
OLD_LOGS = "AWSLogs/123456789012/CloudTrail/us-east-2/2016/08/11/123456789012_CloudTrail_us-east-2_20160811T22"
OLDER_DAY = "AWSLogs/123456789012/CloudTrail/us-east-2/2013/12/13"
HASH = "b21b84d653bb07b05b1e6b33684dc11b"
PICTURE = "IMG_m7fzo3.jpg"
UNKNOWN = ["AnnouncementUnknown"]


def sample(name: str) -> str:
    return (SAMPLES / name).read_text(encoding="utf-8")


LOG = (
    "AWSLogs/111122223333/CloudTrail/us-east-1/2026/11/21/"
    "111122223333_CloudTrail_us-east-1_20261121T1005Z_AbCdEfGhIjKlMnOp.json.gz"
)


def summary(each: Any) -> tuple[str, ...]:
    if isinstance(each, LogFile):
        return ("log", each.bucket, each.key)
    if isinstance(each, Nothing):
        return ("nothing", each.about)
    return (each.kind.value if isinstance(each, ObjectEvent) else each.reason.value, each.bucket, each.key)


def announced(body: str) -> list[Any]:
    """The announcements of a body in short form, or the name of the error."""
    try:
        return [summary(each) for each in announcements(body)]
    except AnnouncementError as error:
        return [type(error).__name__]


def records_of_file(document: bytes, key: str = LOG) -> list[Any]:
    """The records of a log file in short form, or the name of the error. The same in one piece and in single bytes."""

    def read(size: int) -> list[Any]:
        log = LogReader(key, Limits())
        try:
            batches = [b for at in range(0, len(document), size) for b in log.feed(document[at : at + size])]
            return [summary(each) for batch in (*batches, *log.finish()) for each in batch]
        except LogError as error:
            return [type(error).__name__]

    found = read(len(document))
    assert read(1) == found
    return found


# Bodies of messages

BODIES: dict[str, list[Any]] = {
    "SYNTHETIC__sns_cloudtrail_log_delivery.json": [("log", "my-trail-bucket", f"{TRAIL_LOG}AbCdEfGh12345678.json.gz")],
    "SYNTHETIC__sns_cloudtrail_validation_message.json": [("nothing", "CloudTrail validation message")],
    "SHAPE-ONLY__ceph__docs__s3-event-record.json": [("written", "mybucket1", "myimage1.jpg")],
    "SHAPE-ONLY__minio__minio__issue7665_notification.json": [("written", "mybucket", "users/ABC")],
    f"{TRAIL_GUIDE}configure-sns-notifications-for-cloudtrail__message_1key.json": [
        (
            "log",
            "your-bucket-name",
            f"{OLDER_DAY}/123456789012_CloudTrail_us-west-2_20131213T1920Z_LnPgDQnpkSKEsppV.json.gz",
        )
    ],
    f"{TRAIL_GUIDE}configure-sns-notifications-for-cloudtrail__message_3keys.json": [
        ("log", "your-bucket-name", f"{OLD_LOGS}{rest}.json.gz")
        for rest in ("15Z_kpaMYavMQA9Ahp7L", "10Z_zqDkyQv3TK8ZdLr0", "05Z_jaMVRa6JfdLCJYHP")
    ],
    f"{S3_GUIDE}notification-content-structure__object_created_put.json": [("written", "mybucket", "HappyFace.jpg")],
    f"{S3_GUIDE}notification-content-structure__test_event.json": [("nothing", "s3:TestEvent")],
    f"{POWERTOOLS}s3Event.json": [("written", "lambda-artifacts-deafc19498e3f2df", HASH)],
    f"{POWERTOOLS}s3EventDecodedKey.json": [("written", "sourcebucket", "Happy Face.jpg")],
    f"{POWERTOOLS}s3EventDeleteObject.json": [("deleted", "lambda-artifacts-deafc19498e3f2df", HASH)],
    f"{POWERTOOLS}s3EventGlacier.json": [("written", "lambda-artifacts-deafc19498e3f2df", HASH)],
    # The event that Lambda makes of a queue or a topic is not a body. The bodies in it are tested below.
    f"{POWERTOOLS}s3SqsEvent.json": UNKNOWN,
    f"{POWERTOOLS}snsEvent.json": UNKNOWN,
    f"{POWERTOOLS}snsSqsEvent.json": UNKNOWN,
    f"{POWERTOOLS}snsSqsFifoEvent.json": UNKNOWN,
    f"{POWERTOOLS}sqsEvent.json": UNKNOWN,
    f"{POWERTOOLS}sqsDlqTriggerEvent.json": UNKNOWN,
    # EventBridge. An event of another service is a dead letter with a reason.
    "SHAPE-ONLY__eventbridge_object_deleted_event_version_1.2.json": [("deleted", "example-bucket", "example-key")],
    f"{POWERTOOLS}eventBridgeEvent.json": UNKNOWN,
    f"{POWERTOOLS}s3EventBridgeNotificationObjectCreatedEvent.json": [("written", "example-bucket", PICTURE)],
    f"{POWERTOOLS}s3EventBridgeNotificationObjectDeletedEvent.json": [("deleted", "example-bucket", PICTURE)],
    f"{POWERTOOLS}s3EventBridgeNotificationObjectExpiredEvent.json": [("deleted", "example-bucket", PICTURE)],
    f"{POWERTOOLS}s3EventBridgeNotificationObjectRestoreCompletedEvent.json": [
        ("not-object-change", "example-bucket", PICTURE)
    ],
    f"{S3_GUIDE}ev-events__object_created.json": [("written", "DOC-EXAMPLE-BUCKET1", "example-key")],
    f"{S3_GUIDE}ev-events__object_deleted_delete_marker_created.json": [
        ("deleted", "DOC-EXAMPLE-BUCKET1", "example-key")
    ],
    f"{S3_GUIDE}ev-events__object_deleted_delete_marker_created_lifecycle.json": [
        ("deleted", "DOC-EXAMPLE-BUCKET1", "example-key")
    ],
    f"{S3_GUIDE}ev-events__object_restore_completed.json": [
        ("not-object-change", "DOC-EXAMPLE-BUCKET1", "example-key")
    ],
}


@pytest.mark.parametrize(("name", "expected"), BODIES.items(), ids=BODIES.keys())
def test_a_sample_body_announces(name, expected):
    assert announced(sample(name)) == expected


# Bodies inside the event that Lambda makes of a queue

INNER: dict[str, list[list[Any]]] = {
    f"{POWERTOOLS}s3SqsEvent.json": [[("written", "xxx", "test.pdf")]],
    f"{POWERTOOLS}snsSqsEvent.json": [UNKNOWN],
    f"{POWERTOOLS}snsSqsFifoEvent.json": [UNKNOWN],
    f"{POWERTOOLS}sqsEvent.json": [["AnnouncementMalformed"], UNKNOWN],
    f"{POWERTOOLS}sqsDlqTriggerEvent.json": [["AnnouncementMalformed"]],
}


@pytest.mark.parametrize(("name", "expected"), INNER.items(), ids=INNER.keys())
def test_a_sample_body_inside_a_lambda_event_announces(name, expected):
    assert [announced(each["body"]) for each in json.loads(sample(name))["Records"]] == expected


# Records of log files

RECORDS: dict[str, list[Any]] = {
    "SHAPE-ONLY__aws-docs__s3-express-log-files__lifecycle_delete_objects.json": [
        ("deleted-unlisted", "amzn-s3-demo-bucket--use2-az2--x-s3", "")
    ],
    "SHAPE-ONLY__cloudtrail_own_log_delivery_put_object.json": [
        ("written", "my-trail-bucket", f"{TRAIL_LOG}AbCdEfGh12345678.json.gz")
    ],
    "SHAPE-ONLY__elastic__integrations__test-copy-object-json.json": [
        ("written", "example-bucket", "dir/README-copy.md")
    ],
    f"{S3_GUIDE}cloudtrail-logging-understanding-s3-entries__outposts_put_object.json": [
        ("written", "DOC-EXAMPLE-BUCKET1", "path/upload.sh")
    ],
}


@pytest.mark.parametrize("indent", [None, 2], ids=["fast", "slow"])
@pytest.mark.parametrize(("name", "expected"), RECORDS.items(), ids=RECORDS.keys())
def test_a_sample_record_means(name, expected, indent):
    separators = (",", ":") if indent is None else None
    records = {"Records": [json.loads(sample(name))]}
    assert records_of_file(json.dumps(records, indent=indent, separators=separators).encode()) == expected


# Whole files

FILES: dict[str, list[Any]] = {
    f"{S3_GUIDE}cloudtrail-logging-understanding-s3-entries__records_management.json": [
        ("read-only", "", ""),
        ("not-object-change", "", ""),
        ("read-only", "DOC-EXAMPLE-BUCKET1", ""),
    ],
    f"{TRAIL_GUIDE}cloudtrail-log-file-validation-digest-file-structure__digest.json": ["LogMalformed"],
    f"{TRAIL_GUIDE}cloudtrail-log-file-validation-digest-file-structure__digest_empty.json": ["LogMalformed"],
    f"{TRAIL_GUIDE}query-event-data-store-integration__custom-events.json": ["LogMalformed"],
    # Other formats than CloudTrail
    "SHAPE-ONLY__elastic__integrations__lyve_cloud__test-auditlogs.ndjson": ["LogMalformed"],
    "SHAPE-ONLY__minio__minio__docs_logging_and_pr16954__audit.ndjson": ["LogMalformed"],
    f"{S3_GUIDE}LogFormat__five_records.log": ["LogMalformed"],
    # Messages that are read as logs by mistake
    f"{S3_GUIDE}notification-content-structure__object_created_put.json": [("not-object-change", "", "")],
    "SYNTHETIC__sns_cloudtrail_log_delivery.json": ["LogMalformed"],
}


@pytest.mark.parametrize(("name", "expected"), FILES.items(), ids=FILES.keys())
def test_a_sample_that_is_read_as_a_log_file_means(name, expected):
    assert records_of_file((SAMPLES / name).read_bytes()) == expected


def test_the_resources_of_a_write_through_an_access_point_name_the_bucket():
    resources = json.loads(sample(f"{S3_GUIDE}access-points-monitoring-logging__resources.json"))["resources"]
    record = {
        "eventVersion": "1.08",
        "eventTime": "2024-01-01T00:00:00Z",
        "eventSource": "s3.amazonaws.com",
        "eventName": "PutObject",
        "requestParameters": {"bucketName": resources[-1]["ARN"], "key": "my-image.jpg"},
        "resources": resources,
    }
    assert records_of_file(json.dumps({"Records": [record]}).encode()) == [
        ("written", "DOC-EXAMPLE-BUCKET1", "my-image.jpg")
    ]


# Snapshots of LocalStack: messages of AWS with tokens in place of ids and times

BY_NAME = {
    "ObjectCreated": "written",
    "ObjectRemoved": "deleted",
    "ObjectTagging": "not-object-change",
    "ObjectAcl": "not-object-change",
    "ObjectRestore": "not-object-change",
}


def below(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from below(each)


@pytest.mark.parametrize("queue", ["sqs", "sns"])
def test_every_s3_record_of_aws_is_read(queue):
    everything = below(json.loads(sample(f"{LOCALSTACK}{queue}.snapshot.json")))
    found = [each for each in everything if each.get("eventSource") == "aws:s3" and "object" in each.get("s3", {})]
    assert found
    for record in found:
        body = json.dumps({"Records": [{**record, "eventTime": "2026-01-31T12:00:00.000Z"}]})
        [(what, bucket, key)] = announced(body)
        assert what == BY_NAME[record["eventName"].partition(":")[0]]
        assert bucket == record["s3"]["bucket"]["name"]
        assert key
    versions = {record["eventVersion"] for record in found}
    assert all(version.startswith("2.") for version in versions)


def test_every_sns_envelope_of_aws_is_unwrapped():
    everything = list(below(json.loads(sample(f"{LOCALSTACK}sns.snapshot.json"))))
    envelopes = [each for each in everything if each.get("Type") == "Notification"]
    assert envelopes
    for envelope in envelopes:
        inner = envelope["Message"]
        text = (inner if isinstance(inner, str) else json.dumps(inner)).replace('"date"', '"2026-01-31T12:00:00Z"')
        assert announced(json.dumps({**envelope, "Message": text})) == announced(text)
        assert announced(text)[0][0] in {"written", "deleted", "nothing"}


BY_DETAIL_TYPE = {
    "Object Created": "written",
    "Object Deleted": "deleted",
    "Object ACL Updated": "not-object-change",
    "Object Restore Initiated": "not-object-change",
    "Object Restore Completed": "not-object-change",
}


def test_every_eventbridge_event_of_aws_is_read():
    everything = below(json.loads(sample(f"{LOCALSTACK}eventbridge.snapshot.json")))
    found = [each for each in everything if "detail-type" in each]
    for each in found:
        [(what, bucket, key)] = announced(json.dumps({**each, "time": "2026-01-31T12:00:00Z"}))
        assert what == BY_DETAIL_TYPE[each["detail-type"]]
        assert (bucket, key) == (each["detail"]["bucket"]["name"], each["detail"]["object"]["key"])
    assert {each["detail-type"] for each in found} == set(BY_DETAIL_TYPE)


def test_an_event_for_lambda_is_refused_with_a_reason():
    everything = below(json.loads(sample(f"{LOCALSTACK}lambda.snapshot.json")))
    found = [each for each in everything if "table_content" in each]
    assert found
    assert all(announced(json.dumps(each)) == UNKNOWN for each in found)


# Samples of other formats, with the keys of such files

OTHER_FORMATS: dict[str, tuple[str, list[Any]]] = {
    "SHAPE-ONLY__elastic__integrations__lyve_cloud__test-auditlogs.ndjson": (
        "S3-test-bucket-2022-03-22-07-20-00.gz",
        [("read-only", "test-bucket", "")],
    ),
    "SHAPE-ONLY__minio__minio__docs_logging_and_pr16954__audit.ndjson": (
        "minio-audit",
        [("written", "testbucket", "hosts"), ("deleted", "testbucket", "issue")],
    ),
    f"{S3_GUIDE}LogFormat__five_records.log": (
        "logs/2019-02-06-00-00-38-0123456789ABCDEF",
        [
            ("read-only", "DOC-EXAMPLE-BUCKET1", ""),
            ("read-only", "DOC-EXAMPLE-BUCKET1", ""),
            ("read-only", "DOC-EXAMPLE-BUCKET1", ""),
            ("read-only", "DOC-EXAMPLE-BUCKET1", ""),
            ("written", "DOC-EXAMPLE-BUCKET1", "s3-dg.pdf"),
        ],
    ),
}


@pytest.mark.parametrize("named", [True, False], ids=["by its name", "by its first bytes"])
@pytest.mark.parametrize(("name", "expected"), OTHER_FORMATS.items(), ids=OTHER_FORMATS.keys())
def test_a_sample_of_another_format_means(name, expected, named):
    key, meanings = expected
    assert records_of_file((SAMPLES / name).read_bytes(), key if named else "some-log") == meanings


def test_every_sample_has_its_expected_outcome():
    known = {*BODIES, *INNER, *RECORDS, *FILES, f"{S3_GUIDE}access-points-monitoring-logging__resources.json"}
    known |= {f"{LOCALSTACK}{where}.snapshot.json" for where in ("sqs", "sns", "eventbridge", "lambda")}
    assert {each.name for each in SAMPLES.iterdir()} - {"README.md"} == known
