"""The examples of log files in docs/reference/formats.md."""

from collections.abc import Iterator
from random import Random
from typing import Any

from jibe_sqs.sandbox.aws import records

from .format_example import ACCOUNT, EXPRESS, REGION, TRAIL, Example, as_json, deciding_fields, fields


def logs() -> Iterator[Example]:
    user = records.iam_user("alice", account=ACCOUNT, access_key="AKIAIOSFODNN7EXAMPLE")
    own = records.iam_user("access-anywhere", account=ACCOUNT, access_key="AKIAI44QH8DHBEXAMPLE")
    call = records.Call(user, 1769860800.0, REGION, ACCOUNT, Random(1))
    yield _cloudtrail(
        "CloudTrail: a write",
        "`requestParameters` names the object, because `resources` has no fixed order. Keys are not encoded.",
        [records.put_object(call, "photos", "2026/new year.jpg", 1024)],
    )
    yield _cloudtrail(
        "CloudTrail: what is skipped",
        "A read, a refused call, a write of Access Anywhere itself, another service, a bucket that is not shown. Shortened here to"
        " the fields that decide.",
        [
            deciding_fields(each)
            for each in (
                records.get_object(call, "photos", "2026/a.jpg"),
                records.failed(records.put_object(call, "photos", "2026/b.jpg")),
                records.put_object(records.Call(own, 1769860801.0, REGION, ACCOUNT, Random(2)), "photos", "2026/c.jpg"),
                records.assume_role(call, "app", "session"),
                records.delete_object(call, "elsewhere", "d.jpg"),
            )
        ],
    )
    express = records.put_object(call, EXPRESS, "clips/a.mp4", 2048)
    express["eventSource"] = "s3express.amazonaws.com"
    bucket_arn = f"arn:aws:s3express:{REGION}:{ACCOUNT}:bucket/{EXPRESS}"
    express["resources"] = [
        {"type": "AWS::S3Express::Object", "ARN": f"{bucket_arn}/clips/a.mp4"},
        {"accountId": ACCOUNT, "type": "AWS::S3Express::DirectoryBucket", "ARN": bucket_arn},
    ]
    yield _cloudtrail(
        "CloudTrail: S3 Express One Zone",
        "`requestParameters` names the object. If it is missing there, the only object in `resources` counts.",
        [express],
    )
    many = records.delete_objects(call, "photos")
    yield _cloudtrail(
        "CloudTrail: DeleteObjects that names no keys",
        "The record does not name the keys: everything in the bucket, or below the resource's `ARNPrefix`, is stale.",
        [many],
    )
    yield _cloudtrail(
        "CloudTrail: DeleteObjects with a record for each key",
        "If the trail's selectors allow it, records of type `AwsServiceEvent` with the same `requestID` name the keys. If they are in"
        " the same file, the first record has no effect. Shortened here.",
        [deciding_fields(each) for each in (many, *records.deleted_by(call, many, ["2025/a.jpg", "2025/b.jpg"]))],
    )
    lyve = {"serviceAccountName": "ingest", "serviceAccountCreatorId": "0b0f3b1c-1111-2222-3333-444455556666"}
    yield Example(
        "Seagate Lyve Cloud's audit log",
        "One JSON object in each line, with MinIO's record as `auditEntry`. The event's time is the end of the request. The last line is"
        " bad: it is skipped, and counted.",
        "\n".join(
            [
                as_json({"auditEntry": _audit("PutObject", object="2026/new year.jpg"), **lyve}),
                as_json({"auditEntry": _audit("GetObject", object="2026/a.jpg", statusCode=206), **lyve}),
                '{"auditEntry": {"api"',
            ]
        ),
        "S3-photos-2026-01-31-12-00-00.gz",
    )
    yield Example(
        "Lyve Cloud's other streams",
        "Logs of users and of the console. They hold no object changes, and are not read.",
        as_json({"auditEntry": {}}),
        "IAM-2026-01-31-12-00-00.gz",
    )
    objects = [{"objectName": "2025/a.jpg"}, {"objectName": "2025/b.jpg", "versionId": "null"}]
    yield Example(
        "MinIO's audit log",
        "The same record without the wrapper; `objects` lists the objects of a call on several. MinIO gives files no fixed names. The format is recognised by"
        " the first bytes, or by `format`.",
        "\n".join(
            [
                as_json(_audit("DeleteMultipleObjects", objects=objects, statusCode=200) | {"accessKey": "ingest"}),
                as_json(_audit("PutObjectTagging", object="2026/a.jpg")),
            ]
        ),
        "audit/minio-1.ndjson",
        compressed=False,
    )
    owner = "79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be"
    start = f"{owner} photos [31/Jan/2026:12:00:00 +0000]"
    caller = f"192.0.2.3 arn:aws:iam::{ACCOUNT}:user/alice"
    tls = "aGhJ= SigV4 TLS_AES_128_GCM_SHA256 AuthHeader photos.s3.amazonaws.com TLSv1.3 - -"
    put = (
        f"{start} {caller} 3E57427F3EXAMPLE REST.PUT.OBJECT 2026/new%2520year.jpg"
        f' "PUT /photos/2026/new%20year.jpg HTTP/1.1" 200 - - 1024 62 41 "-" "aws-cli/2.31.0" - {tls}'
    )
    delete = f"{start} {caller} 7B4A0FABBEXAMPLE BATCH.DELETE.OBJECT 2025/old+year.jpg - 204 - - 1024 - - - - - {tls}"
    get = (
        f"{start} {caller} 4442587FBEXAMPLE REST.GET.OBJECT 2026/a.jpg"
        f' "GET /photos/2026/a.jpg HTTP/1.1" 200 - 1024 1024 12 11 "-" "aws-cli/2.31.0" - {tls}'
    )
    yield Example(
        "S3 server access log",
        "One request in each line. Keys are form-encoded: a space is `+` in a line of BATCH.DELETE.OBJECT, and `%2520` or `%2B`"
        " (encoded twice) in others. The event's time is the end of the request.",
        f"{put}\n{delete}\n{get}",
        f"{ACCOUNT}/{REGION}/photos/2026/01/31/2026-01-31-12-10-00-0123456789ABCDEF",
        compressed=False,
    )
    yield Example(
        "S3 server access log, as JSON",
        "As delivered by CloudWatch Logs, with the fields that the operator chose.",
        "\n".join(as_json(each) for each in _access_log_objects()),
        f"AWSLogs/{ACCOUNT}/S3_SERVER_ACCESS_LOGS/2026/01/31/1.json.gz",
    )
    yield Example(
        "A file that ends early",
        "No record of it has an effect. Its message is retried, and `explain` ends with exit code 1.",
        '{"Records":[{"eventVersion":"1.11","eventSource":"s3.amazonaws.com"',
        TRAIL,
    )


def _access_log_objects() -> Iterator[dict[str, Any]]:
    for request, operation, key, status in (
        ("3E57427F3EXAMPLE", "REST.PUT.OBJECT", "2026/a.jpg", 200),
        ("7B4A0FABBEXAMPLE", "S3.EXPIRE.OBJECT", "2025/a.jpg", None),
        ("4442587FBEXAMPLE", "REST.PUT.OBJECT", "2026/b.jpg", 403),
    ):
        yield {
            "bucket_name": "photos",
            "request_time": "2026-01-31T12:00:00.250Z",
            "requester": f"arn:aws:iam::{ACCOUNT}:user/alice" if status else "AmazonS3",
            "request_id": request,
            "operation": operation,
            "key_name": key,
            "http_status": status,
            "total_duration": 62 if status else None,
        }


def _cloudtrail(title: str, note: str, found: list[records.Record]) -> Example:
    text = ",\n".join(fields(record) for record in found)
    return Example(title, note, f'{{"Records": [\n{text}\n]}}', TRAIL)


def _audit(name: str, *, statusCode: int = 200, **api: Any) -> dict[str, Any]:  # noqa: N803 - as on the wire
    return {
        "version": "1",
        "time": "2026-01-31T12:00:00.123456789Z",
        "api": {
            "name": name,
            "bucket": "photos",
            **api,
            "status": "OK",
            "statusCode": statusCode,
            "timeToResponse": "62000000ns",
        },
        "remotehost": "192.0.2.3",
        "requestID": f"17E2AF1B22E6C4F{len(name) % 10}",
        "userAgent": "example-client/1.0",
    }
