"""S3's events as EventBridge brings them: one a message, straight to the queue, keys as they are.

Source: S3 User Guide, "EventBridge event message structure".
"""

from datetime import UTC, datetime
from random import Random
from typing import Final
from uuid import UUID

from jibe_sqs.sandbox.aws.notifications import Notifications, compact
from jibe_sqs.sandbox.aws.records import Record
from jibe_sqs.sandbox.aws.s3_calls import DELETES, CallKind, S3Call

CREATED: Final = {
    CallKind.PUT: "PutObject",
    CallKind.POST: "POST Object",
    CallKind.COPY: "CopyObject",
    CallKind.MULTIPART: "CompleteMultipartUpload",
}
"""The `reason`."""


class EventBridge(Notifications):
    """A rule that has the queue as its target. A rule may match in any region, and has its queue in its own."""

    def events(self, act: S3Call) -> list[Record]:
        """One for each key."""
        return [] if act.failed else [told for key in act.keys for told in eventbridge_events(act, key, self._random)]

    def message(self, events: list[Record]) -> Record:
        """An event is a message."""
        return events[0]

    def send(self, region: str, message: Record) -> None:
        """In no envelope."""
        self._deployment.send(region, compact(message))


def eventbridge_events(act: S3Call, key: str, random: Random) -> list[Record]:
    """The event of one key; none for what S3 doesn't tell EventBridge of."""
    call: Record = {
        "request-id": f"{random.getrandbits(64):016X}",
        "requester": act.account,
        "source-ip-address": act.caller.address,
    }
    thing: Record = {"key": key, "etag": act.etag}
    sequencer = {"sequencer": f"{int(act.at * 1_000_000):018X}"}
    if act.kind in CREATED:
        of, more = {"key": key, "size": act.size, "etag": act.etag, **sequencer}, {"reason": CREATED[act.kind]}
        return [_event("Object Created", act, of, call | more, random)]
    if act.kind in DELETES:
        more = {"reason": "DeleteObject", "deletion-type": "Permanently Deleted"}
        return [_event("Object Deleted", act, {"key": key, **sequencer}, call | more, random)]
    if act.kind is CallKind.TAG:
        return [_event("Object Tags Added", act, thing, call, random)]
    if act.kind is CallKind.ACL:
        return [_event("Object ACL Updated", act, thing, call, random)]
    return []


def _event(name: str, act: S3Call, thing: Record, more: Record, random: Random) -> Record:
    return {
        "version": "0",
        "id": str(UUID(int=random.getrandbits(128), version=4)),
        "detail-type": name,
        "source": "aws.s3",
        "account": act.account,
        # In whole seconds, cut off.
        "time": datetime.fromtimestamp(int(act.at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": act.region,
        "resources": [f"arn:aws:s3:::{act.bucket}"],
        "detail": {"version": "0", "bucket": {"name": act.bucket}, "object": thing, **more},
    }
