"""MinIO's dialect of S3's events: names with `s3:`, keys with every slash encoded, the first event's name and path on top.

MinIO knows no SNS: a forwarder brings them to the queue as they are.

Source: MinIO, `internal/event`.
"""

from typing import Final
from urllib.parse import quote_plus

from jibe_sqs.sandbox.aws.notifications import Notifications, compact
from jibe_sqs.sandbox.aws.records import Record
from jibe_sqs.sandbox.aws.s3_calls import CallKind, S3Call
from jibe_sqs.sandbox.aws.s3_events import NAMES, event, object_fields

MINIO_NAMES: Final = {
    **NAMES,
    # It counts among what creates objects, which it does not.
    CallKind.TAG: "ObjectCreated:PutTagging",
}
del MINIO_NAMES[CallKind.ACL]


class MinioEvents(Notifications):
    """Straight to the queue, an event at a time."""

    def events(self, call: S3Call) -> list[Record]:
        """One for each key."""
        if call.failed or call.kind not in MINIO_NAMES:
            return []
        ids = {"x-amz-request-id": f"{self._random.getrandbits(64):016X}", "x-minio-deployment-id": "the-sandbox"}
        return [
            event(
                call,
                f"s3:{MINIO_NAMES[call.kind]}",
                object_fields(call, quote_plus(key)),
                version="2.0",
                source="minio:s3",
                ids=ids,
            )
            # As it knows no users of AWS, but access keys.
            | {
                "userIdentity": {"principalId": call.caller.access_key},
                "source": {"host": call.caller.address, "port": "", "userAgent": call.caller.user_agent},
            }
            for key in call.keys
        ]

    def message(self, events: list[Record]) -> Record:
        """The first event's name and path stand outside, for who looks no further."""
        first = events[0]
        path = f"{first['s3']['bucket']['name']}/{first['s3']['object']['key']}"
        return {"EventName": first["eventName"], "Key": path, "Records": events}

    def send(self, region: str, message: Record) -> None:
        """In no envelope."""
        self._deployment.send(region, compact(message))
