"""Helpers for the tests of CloudTrail logs: records as CloudTrail writes them, and functions that read them."""

import itertools
import json
from datetime import UTC, datetime
from typing import Any

from tests.wire import ABSENT

from jibe_sqs.core.errors import RecordMalformed
from jibe_sqs.core.formats.bad_records import MAX_SHOWN
from jibe_sqs.core.formats.limits import Limits
from jibe_sqs.core.formats.reader import LogReader
from jibe_sqs.core.model import Kind, ObjectEvent, SkipReason

LOG = (
    "AWSLogs/111122223333/CloudTrail/us-east-1/2026/11/21/"
    "111122223333_CloudTrail_us-east-1_20261121T1005Z_AbCdEfGhIjKlMnOp.json.gz"
)

BUCKET, KEY = "photos", "2026/january/a b+c%2Fd é.jpg"
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp()
USER = "arn:aws:iam::111122223333:user/ann"
IDS = itertools.count()

EXPRESS = "s3express.amazonaws.com"
ZONAL = "fast--use2-az2--x-s3"
OUTPOST = "arn:aws:s3-outposts:us-east-1:111122223333:outpost/op-01/bucket/photos/object/a"
HIDDEN = "HIDDEN_DUE_TO_SECURITY_REASONS"
OMITTED = {"omitted": True, "originalSize": 120_000, "reasonCode": "FIELD_SIZE_EXCEEDED"}
PARAMETERS = "requestParameters"
ACCESS_POINT = "arn:aws:s3:us-west-2:111122223333:accesspoint/my-ap"


def an_object(bucket: str = BUCKET, key: str = KEY) -> dict[str, Any]:
    return {"type": "AWS::S3::Object", "ARN": f"arn:aws:s3:::{bucket}/{key}"}


def a_bucket(bucket: str = BUCKET) -> dict[str, Any]:
    return {"accountId": "111122223333", "type": "AWS::S3::Bucket", "ARN": f"arn:aws:s3:::{bucket}"}


def below(bucket: str = BUCKET, prefix: str = "") -> dict[str, Any]:
    return {"type": "AWS::S3::Object", "ARNPrefix": f"arn:aws:s3:::{bucket}/{prefix}"}


def zonal(path: str = "", kind: str = "Object", field: str = "ARN") -> dict[str, Any]:
    arn = f"arn:aws:s3express:us-east-2:111122223333:bucket/{ZONAL}{path}"
    return {"type": f"AWS::S3Express::{kind}", field: arn}


def record(name: Any = "PutObject", **changes: Any) -> dict[str, Any]:
    """A record as CloudTrail writes it. ABSENT removes a field."""
    made: dict[str, Any] = {
        "eventVersion": "1.11",
        "userIdentity": {"type": "IAMUser", "arn": USER, "accountId": "111122223333", "accessKeyId": "AKIA1"},
        "eventTime": "2026-01-31T12:00:00Z",
        "eventSource": "s3.amazonaws.com",
        "eventName": name,
        "awsRegion": "eu-west-1",
        "sourceIPAddress": "192.0.2.7",
        "userAgent": "[aws-cli/2.15]",
        "requestParameters": {"bucketName": BUCKET, "Host": "s3.eu-west-1.amazonaws.com", "key": KEY},
        "responseElements": {"x-amz-server-side-encryption": "AES256"},
        "additionalEventData": {"SignatureVersion": "SigV4", "bytesTransferredIn": 10},
        "requestID": f"request-{next(IDS)}",
        "eventID": f"event-{next(IDS)}",
        "readOnly": False,
        "resources": [an_object(), a_bucket()],
        "eventType": "AwsApiCall",
        "managementEvent": False,
        "recipientAccountId": "111122223333",
        "eventCategory": "Data",
    }
    made.update(changes)
    return {field: value for field, value in made.items() if value is not ABSENT}


def document(*records: Any, **how: Any) -> bytes:
    return json.dumps({"Records": records}, **{"separators": (",", ":"), **how}).encode()


def read_all(data: bytes, *sizes: int, limits: Limits | None = None) -> tuple[list[Any], list[RecordMalformed]]:
    """The records of a file, and the first bad ones. The file is fed in chunks of `sizes`. The last size is repeated."""
    log = LogReader(LOG, limits or Limits())
    found, at, rest = [], 0, list(sizes or (len(data) or 1,))
    while at < len(data):
        size = rest.pop(0) if len(rest) > 1 else rest[0]
        found += [each for batch in log.feed(data[at : at + size]) for each in batch]
        at += size
    found += [each for batch in log.finish() for each in batch]
    assert min(log.bad.count, MAX_SHOWN) == len(log.bad.first)
    return found, log.bad.first


def read(data: bytes, *sizes: int, limits: Limits | None = None) -> list[Any]:
    """The records of a file. Raises the first bad one."""
    found, bad = read_all(data, *sizes, limits=limits)
    if bad:
        raise bad[0]
    return found


def meaning(*records: Any) -> list[Any]:
    """(kind or reason, bucket, key) of each record of a file."""
    return [
        (each.kind if isinstance(each, ObjectEvent) else each.reason, each.bucket, each.key)
        for each in read(document(*records))
    ]


WRITTEN = [(Kind.WRITTEN, BUCKET, KEY)]
DELETED = [(Kind.DELETED, BUCKET, KEY)]
NO_CHANGE = [(SkipReason.NOT_OBJECT_CHANGE, BUCKET, KEY)]
READ_ONLY = [(SkipReason.READ_ONLY, BUCKET, KEY)]
FAILED = [(SkipReason.FAILED, BUCKET, KEY)]
NOTHING = [(SkipReason.NOT_OBJECT_CHANGE, "", "")]


def stale(prefix: str = "", bucket: str = BUCKET) -> list[Any]:
    return [(Kind.DELETED_UNLISTED, bucket, prefix)]


def bulk(**changes: Any) -> dict[str, Any]:
    made = {"requestParameters": {"bucketName": BUCKET, "delete": ""}, "resources": [below(), a_bucket()], **changes}
    return record("DeleteObjects", **made)


def child(key: str, request: str, **changes: Any) -> dict[str, Any]:
    made = {"requestParameters": {"bucketName": BUCKET, "key": key}, "eventType": "AwsServiceEvent", **changes}
    return record("DeleteObject", requestID=request, **made)


def of_bucket(name: str, **changes: Any) -> dict[str, Any]:
    return record(name, **{"requestParameters": {"bucketName": BUCKET}, "resources": [a_bucket()], **changes})


def rename(source: str | None, *resources: Any, **changes: Any) -> dict[str, Any]:
    parameters = {"bucketName": ZONAL, "key": "new/b"}
    if source is not None:
        parameters["x-amz-rename-source"] = source
    return record(
        "RenameObject",
        **{"eventSource": EXPRESS, "requestParameters": parameters, "resources": list(resources), **changes},
    )


RENAMED = [(Kind.DELETED, ZONAL, "old/a b"), (Kind.WRITTEN, ZONAL, "new/b")]
OF_OUTPOST = {"type": "AWS::S3Outposts::Object", "ARN": OUTPOST}
