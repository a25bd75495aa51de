"""MinIO's dialect of S3 events: names begin with `s3:`, slashes in keys are encoded, and the first event's name and
path are repeated outside.

MinIO does not know SNS: a forwarder sends the events to the queue unchanged.

Source: MinIO, `internal/event`.
"""

from typing import Final
from urllib.parse import quote_plus

from jibe_sqs.sandbox.aws.notifications import MessagePublisher, compact
from jibe_sqs.sandbox.aws.records import Record
from jibe_sqs.sandbox.aws.s3_calls import CallKind, S3Call
from jibe_sqs.sandbox.aws.s3_events import NAMES, event, object_fields

MINIO_NAMES: Final = {
    **NAMES,
    # MinIO reports tagging as a kind of `ObjectCreated`, though it creates no object.
    CallKind.TAG: "ObjectCreated:PutTagging",
}
del MINIO_NAMES[CallKind.ACL]


class MinioEvents(MessagePublisher):
    """A forwarder sends the events directly to the queue, one in each message."""

    def events(self, call: S3Call) -> list[Record]:
        """One event for each key."""
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
            # MinIO knows access keys, not AWS users.
            | {
                "userIdentity": {"principalId": call.caller.access_key},
                "source": {"host": call.caller.address, "port": "", "userAgent": call.caller.user_agent},
            }
            for key in call.keys
        ]

    def message(self, events: list[Record]) -> Record:
        """The first event's name and path are repeated at the top level, for programs that read no further."""
        first = events[0]
        path = f"{first['s3']['bucket']['name']}/{first['s3']['object']['key']}"
        return {"EventName": first["eventName"], "Key": path, "Records": events}

    def send(self, region: str, message: Record) -> None:
        """Directly to the queue, without an SNS envelope."""
        self._deployment.send(region, compact(message))
