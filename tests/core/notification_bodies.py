"""S3 notifications for tests, as AWS, MinIO, Ceph and EventBridge write them."""

import json
from datetime import UTC, datetime
from typing import Any

from tests.wire import changed

from jibe_sqs.core.announcements import NO_SOURCES, announcements
from jibe_sqs.core.formats.format import Format
from jibe_sqs.core.model import ObjectEvent
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
