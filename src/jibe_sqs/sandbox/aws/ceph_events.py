"""Ceph's dialect of S3's events: keys as they are, sizes as text, no address of the caller's.

Source: Ceph, "S3 bucket notifications compatibility".
"""

from typing import Final

from jibe_sqs.sandbox.aws.notifications import Notifications, compact
from jibe_sqs.sandbox.aws.records import Record
from jibe_sqs.sandbox.aws.s3_calls import DELETES, CallKind, S3Call
from jibe_sqs.sandbox.aws.s3_events import NAMES, event, thing

_NOT_TOLD: Final = (CallKind.TAG, CallKind.ACL)


class CephEvents(Notifications):
    """Straight to the queue, by a forwarder, several at a time."""

    together = 3

    def events(self, act: S3Call) -> list[Record]:
        """One for each key."""
        if act.failed or act.kind not in NAMES or act.kind in _NOT_TOLD:
            return []
        ids = {"x-amz-request-id": f"{self._random.getrandbits(128):032x}.5330.903595", "x-amz-id-2": "14d2-zone1-zg1"}
        events = []
        for key in act.keys:
            of = thing(act, key) | {"size": "0" if act.kind in DELETES else str(act.size), "versionId": ""}
            told = event(act, NAMES[act.kind], of, version="2.2", source="ceph:s3", ids=ids)
            told |= {
                "userIdentity": {"principalId": act.caller.name},
                "requestParameters": {"sourceIPAddress": ""},
                "eventId": "",
                "opaqueData": "the sandbox",
            }
            events.append(told)
        return events

    def message(self, events: list[Record]) -> Record:
        """As AWS's."""
        return {"Records": events}

    def send(self, region: str, message: Record) -> None:
        """In no envelope."""
        self._deployment.send(region, compact(message))
