"""The examples of messages in docs/reference/formats.md."""

import json
from collections.abc import Iterator
from random import Random
from typing import Any

from jibe_sqs.sandbox.aws import records

from .format_example import ACCOUNT, REGION, TRAIL, Example, deciding_fields, fields


def messages() -> Iterator[Example]:
    delivery = {"s3Bucket": "example-trail", "s3ObjectKey": [TRAIL]}
    yield Example(
        "CloudTrail's delivery, through SNS",
        "`Message` is JSON as text. With raw delivery, the body is that JSON. One message may announce several files.",
        fields(_envelope(json.dumps(delivery))),
    )
    yield Example("The same, raw", "", fields(delivery))
    beside = TRAIL.replace("CloudTrail/", "CloudTrail-Digest/")
    yield Example(
        "Files beside the log files",
        "Digests, Insights events and network activity events hold no object changes: nothing to do.",
        fields({"s3Bucket": "example-trail", "s3ObjectKey": [beside, beside.replace("Digest", "Insight")]}),
    )
    yield Example(
        "CloudTrail's validation",
        "Sent when a topic is added to a trail. It is not JSON.",
        "CloudTrail validation message.",
    )
    yield Example(
        "S3 event of AWS: a change",
        "The bucket is not in `logs`, so the event is the change. The key is decoded: `+` is a space.",
        _s3_event("aws:s3", "ObjectCreated:Put", "photos", "2026/new+year.jpg"),
    )
    yield Example(
        "S3 event of AWS: a log file",
        "The log bucket may announce its files itself, in place of the trail's topic.",
        _s3_event("aws:s3", "ObjectCreated:Put", "example-trail", TRAIL),
    )
    yield Example(
        "S3 event of MinIO",
        "`eventName` begins with `s3:`, and the key's slashes are encoded as well.",
        _s3_event("minio:s3", "s3:ObjectRemoved:Delete", "photos", "2026%2Fnew+year.jpg"),
    )
    yield Example(
        "S3 event of Ceph",
        "Keys are not encoded, and the size may be text.",
        _s3_event("ceph:s3", "ObjectCreated:CompleteMultipartUpload", "photos", "2026/new year+1.jpg", size="1024"),
    )
    yield Example(
        "S3 event of StorageGRID",
        "Any `eventSource` is accepted. The key encoding of this store is not known, so both readings count.",
        _s3_event("sgws:s3", "ObjectCreated:Put", "photos", "new+year/1.jpg"),
    )
    yield Example(
        "S3 event with a record that cannot be read",
        "The other record counts. The bad one makes its bucket stale. After both are done, the message becomes a dead letter, and"
        " `explain` ends with exit code 1.",
        _s3_event("aws:s3", "ObjectCreated:Put", "photos", "caf%E9/a.jpg", "good/b.jpg"),
    )
    yield Example(
        "S3 event that changes no object",
        "",
        _s3_event("aws:s3", "ObjectTagging:Put", "photos", "2026/a.jpg"),
    )
    yield Example("EventBridge", "Keys are not decoded, unless `key_encodings` says otherwise.", _eventbridge())
    alice = records.iam_user("alice", account=ACCOUNT, access_key="AKIAIOSFODNN7EXAMPLE")
    call = records.Call(alice, 1769860800.0, REGION, ACCOUNT, Random(1))
    yield Example(
        "EventBridge: a call that CloudTrail reports",
        "`detail` is a CloudTrail record, and is read like a record in a log file. Shortened here.",
        _via_cloudtrail(deciding_fields(records.put_object(call, "photos", "2026/a.jpg", 1024))),
    )
    b2 = {"bucketName": "photos", "eventTimestamp": 1769860800123, "eventType": "b2:ObjectDeleted:Delete"}
    yield Example(
        "A shape that `notifications` describes",
        "Events of Backblaze B2, described by the configuration above.",
        fields({"events": [{**b2, "objectName": "2026/a+b.jpg", "eventVersion": 1}]}),
    )
    test = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Time": "2026-01-31T12:00:00.000Z", "Bucket": "photos"}
    yield Example("S3's test", "Sent when a notification is configured: nothing to do.", fields(test))
    subscription = {"Type": "SubscriptionConfirmation", "TopicArn": f"arn:aws:sns:{REGION}:{ACCOUNT}:trail"}
    yield Example(
        "SNS asks for a confirmation",
        "jibe-sqs never fetches the address, because anyone who can write to the queue could choose it. Confirm the subscription in the console.",
        fields({**subscription, "Message": "You have chosen to subscribe…", "SubscribeURL": "https://sns.example/…"}),
    )
    yield Example(
        "Something else",
        "A dead letter, and `explain` ends with exit code 1.",
        fields({"hello": "world"}),
    )


def _s3_event(source: str, name: str, bucket: str, *keys: str, size: int | str = 1024) -> str:
    found = []
    for key in keys:
        thing: dict[str, Any] = {"key": key, "sequencer": "0055AED6DCD90281E5"}
        if "Removed" not in name:
            thing |= {"size": size, "eTag": "d41d8cd98f00b204e9800998ecf8427e"}
        arn = f"arn:aws:s3:::{bucket}"
        record = {
            "eventVersion": "2.1",
            "eventSource": source,
            "awsRegion": REGION,
            "eventTime": "2026-01-31T12:00:00.123Z",
            "eventName": name,
            "userIdentity": {"principalId": "AWS:AIDAEXAMPLE"},
            "requestParameters": {"sourceIPAddress": "192.0.2.3"},
            "s3": {"s3SchemaVersion": "1.0", "bucket": {"name": bucket, "arn": arn}, "object": thing},
        }
        found.append(fields(record))
    text = ",\n".join(found)
    return f'{{"Records": [\n{text}\n]}}'


def _via_cloudtrail(record: records.Record) -> str:
    return fields(
        {
            "version": "0",
            "id": "17793124-05d4-b198-2fde-7ededc63b103",
            "detail-type": "AWS API Call via CloudTrail",
            "source": "aws.s3",
            "account": ACCOUNT,
            "time": "2026-01-31T12:00:05Z",
            "region": REGION,
            "detail": record,
        }
    )


def _eventbridge() -> str:
    return fields(
        {
            "version": "0",
            "id": "17793124-05d4-b198-2fde-7ededc63b103",
            "detail-type": "Object Deleted",
            "source": "aws.s3",
            "account": ACCOUNT,
            "time": "2026-01-31T12:00:00Z",
            "region": REGION,
            "resources": ["arn:aws:s3:::photos"],
            "detail": {
                "version": "0",
                "bucket": {"name": "photos"},
                "object": {"key": "2026/new year.jpg", "version-id": "1QW9g1Z99LUNbvaaYVpW9xDlOLU.qxgF"},
                "requester": ACCOUNT,
                "source-ip-address": "192.0.2.3",
                "reason": "DeleteObject",
                "deletion-type": "Delete Marker Created",
            },
        }
    )


def _envelope(message: str) -> dict[str, Any]:
    return {
        "Type": "Notification",
        "MessageId": "0c4a2b8e-5d1f-5a7b-9c3d-1e2f3a4b5c6d",
        "TopicArn": f"arn:aws:sns:{REGION}:{ACCOUNT}:trail",
        "Message": message,
        "Timestamp": "2026-01-31T12:05:10.000Z",
    }
