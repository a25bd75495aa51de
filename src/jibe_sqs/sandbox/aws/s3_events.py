"""S3 event notifications as AWS sends them through a topic. MinIO and Ceph have dialects of them.

Keys are form-encoded: `+` is a space. Events of deletions have neither size nor ETag.

Source: S3 User Guide, "Event message structure".
"""

from datetime import UTC, datetime
from random import Random
from typing import Final
from urllib.parse import quote_plus

from jibe_sqs.sandbox.aws.notifications import MessagePublisher, compact
from jibe_sqs.sandbox.aws.records import Record
from jibe_sqs.sandbox.aws.s3_calls import DELETES, CallKind, S3Call

VERSIONS: Final = ("2.1", "2.2", "2.3", "2.4", "2.5", "2.6")

NAMES: Final = {
    CallKind.PUT: "ObjectCreated:Put",
    CallKind.POST: "ObjectCreated:Post",
    CallKind.COPY: "ObjectCreated:Copy",
    CallKind.MULTIPART: "ObjectCreated:CompleteMultipartUpload",
    CallKind.DELETE: "ObjectRemoved:Delete",
    CallKind.DELETE_MANY: "ObjectRemoved:Delete",
    CallKind.TAG: "ObjectTagging:Put",
    CallKind.ACL: "ObjectAcl:Put",
}
"""S3 sends no events for other calls."""


class S3Events(MessagePublisher):
    """Sends events through the region's topic. At the start, S3 sends a test event for each bucket."""

    together = 4

    def start(self, buckets: list[str]) -> None:
        """Publish the test event that S3 sends when a bucket gets a topic for its events."""
        for bucket in buckets:
            self.send(self._deployment.buckets[bucket], test_event(bucket, self._random))

    def events(self, call: S3Call) -> list[Record]:
        """One event for each key."""
        return [] if call.failed else s3_events(call, self._random)

    def message(self, events: list[Record]) -> Record:
        """S3 puts one event into each message, but documents that there may be more."""
        return {"Records": events}

    def send(self, region: str, message: Record) -> None:
        """Through the topic, in an SNS envelope."""
        self._deployment.publish(region, compact(message))


def s3_events(call: S3Call, random: Random) -> list[Record]:
    """One event for each key. Empty for calls that cause no events."""
    version = random.choice(VERSIONS)
    ids = {"x-amz-request-id": f"{random.getrandbits(64):016X}", "x-amz-id-2": f"{random.getrandbits(256):064x}"}
    return [
        event(call, NAMES[call.kind], object_fields(call, encoded(key)), version=version, source="aws:s3", ids=ids)
        for key in (call.keys if call.kind in NAMES else ())
    ]


def event(call: S3Call, name: str, object_: Record, *, version: str, source: str, ids: Record) -> Record:
    """The fields that all dialects have. `object_`: as `object_fields` returns it."""
    return {
        "eventVersion": version,
        "eventSource": source,
        "awsRegion": call.region,
        "eventTime": datetime.fromtimestamp(call.at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "eventName": name,
        "userIdentity": {"principalId": f"AWS:{call.caller.principal_id}"},
        "requestParameters": {"sourceIPAddress": call.caller.address},
        "responseElements": ids,
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "jibe",
            "bucket": {
                "name": call.bucket,
                "ownerIdentity": {"principalId": "A3NL1KOZZKEXAMPLE"},
                "arn": f"arn:aws:s3:::{call.bucket}",
            },
            "object": object_,
        },
    }


def object_fields(call: S3Call, key: str) -> Record:
    """The event's `object`. `key`: encoded as the dialect encodes it."""
    fields: Record = {"key": key}
    if call.kind not in DELETES:
        fields |= {"size": call.size, "eTag": call.etag}
    return fields | {"sequencer": f"{int(call.at * 1_000_000):018X}"}


def encoded(key: str) -> str:
    """Encoded as AWS does: `/` and `*` stay, `~` is encoded."""
    return quote_plus(key, safe="/*").replace("~", "%7E")


def test_event(bucket: str, random: Random) -> Record:
    """The test event that S3 sends first."""
    return {
        "Service": "Amazon S3",
        "Event": "s3:TestEvent",
        "Time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "Bucket": bucket,
        "RequestId": f"{random.getrandbits(64):016X}",
        "HostId": f"{random.getrandbits(256):064x}",
    }
