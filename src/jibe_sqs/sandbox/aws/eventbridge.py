"""S3 events from EventBridge: one event in each message, directly to the queue. Keys are not encoded.

Source: S3 User Guide, "EventBridge event message structure".
"""

from datetime import UTC, datetime
from random import Random
from typing import Final
from uuid import UUID

from jibe_sqs.sandbox.aws.notifications import MessagePublisher, compact
from jibe_sqs.sandbox.aws.records import Record
from jibe_sqs.sandbox.aws.s3_calls import DELETES, CallKind, S3Call

CREATED: Final = {
    CallKind.PUT: "PutObject",
    CallKind.POST: "POST Object",
    CallKind.COPY: "CopyObject",
    CallKind.MULTIPART: "CompleteMultipartUpload",
}
"""The `reason` of an event `Object Created`."""


class EventBridge(MessagePublisher):
    """A rule with the queue as its target. A rule matches events in any region, and its queue is in its own region."""

    def events(self, call: S3Call) -> list[Record]:
        """One event for each key."""
        if call.failed:
            return []
        return [event for key in call.keys for event in eventbridge_events(call, key, self._random)]

    def message(self, events: list[Record]) -> Record:
        """The event is the message."""
        return events[0]

    def send(self, region: str, message: Record) -> None:
        """Directly to the queue, without an SNS envelope."""
        self._deployment.send(region, compact(message))


def eventbridge_events(call: S3Call, key: str, random: Random) -> list[Record]:
    """The event for one key. Empty for calls that cause no EventBridge event."""
    request: Record = {
        "request-id": f"{random.getrandbits(64):016X}",
        "requester": call.account,
        "source-ip-address": call.caller.address,
    }
    unchanged: Record = {"key": key, "etag": call.etag}
    sequencer = {"sequencer": f"{int(call.at * 1_000_000):018X}"}
    if call.kind in CREATED:
        created = {"key": key, "size": call.size, "etag": call.etag, **sequencer}
        return [_event("Object Created", call, created, request | {"reason": CREATED[call.kind]}, random)]
    if call.kind in DELETES:
        reason = {"reason": "DeleteObject", "deletion-type": "Permanently Deleted"}
        return [_event("Object Deleted", call, {"key": key, **sequencer}, request | reason, random)]
    if call.kind is CallKind.TAG:
        return [_event("Object Tags Added", call, unchanged, request, random)]
    if call.kind is CallKind.ACL:
        return [_event("Object ACL Updated", call, unchanged, request, random)]
    return []


def _event(name: str, call: S3Call, object_: Record, details: Record, random: Random) -> Record:
    return {
        "version": "0",
        "id": str(UUID(int=random.getrandbits(128), version=4)),
        "detail-type": name,
        "source": "aws.s3",
        "account": call.account,
        # Truncated to whole seconds.
        "time": datetime.fromtimestamp(int(call.at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": call.region,
        "resources": [f"arn:aws:s3:::{call.bucket}"],
        "detail": {"version": "0", "bucket": {"name": call.bucket}, "object": object_, **details},
    }
