"""Ceph's dialect of S3 events: keys are not encoded, sizes are texts, and the caller's address is missing.

Source: Ceph, "S3 bucket notifications compatibility".
"""

from typing import Final

from jibe_sqs.sandbox.aws.notifications import MessagePublisher, compact
from jibe_sqs.sandbox.aws.records import Record
from jibe_sqs.sandbox.aws.s3_calls import DELETES, CallKind, S3Call
from jibe_sqs.sandbox.aws.s3_events import NAMES, event, object_fields

_NOT_SENT: Final = (CallKind.TAG, CallKind.ACL)


class CephEvents(MessagePublisher):
    """A forwarder sends the events directly to the queue, up to three in one message."""

    together = 3

    def events(self, call: S3Call) -> list[Record]:
        """One event for each key."""
        if call.failed or call.kind not in NAMES or call.kind in _NOT_SENT:
            return []
        ids = {"x-amz-request-id": f"{self._random.getrandbits(128):032x}.5330.903595", "x-amz-id-2": "14d2-zone1-zg1"}
        events = []
        for key in call.keys:
            object_ = object_fields(call, key) | {
                "size": "0" if call.kind in DELETES else str(call.size),
                "versionId": "",
            }
            record = event(call, NAMES[call.kind], object_, version="2.2", source="ceph:s3", ids=ids)
            record |= {
                "userIdentity": {"principalId": call.caller.name},
                "requestParameters": {"sourceIPAddress": ""},
                "eventId": "",
                "opaqueData": "the sandbox",
            }
            events.append(record)
        return events

    def message(self, events: list[Record]) -> Record:
        """The same shape as AWS's."""
        return {"Records": events}

    def send(self, region: str, message: Record) -> None:
        """Directly to the queue, without an SNS envelope."""
        self._deployment.send(region, compact(message))
