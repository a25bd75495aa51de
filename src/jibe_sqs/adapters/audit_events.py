"""A channel of CloudTrail Lake, which takes our audit events.

Format: AWS CloudTrail Data Service API Reference, PutAuditEvents. One call has 1 to 100 events and at most 1 MB. A successful
answer may name events that were not taken.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from botocore.exceptions import ClientError, NoCredentialsError

from jibe_sqs.adapters.aws import Account, Aws
from jibe_sqs.adapters.aws_errors import aws_errors, described, failure
from jibe_sqs.telemetry.audit import AuditEvent, AuditFailed, Refused

SERVICE: Final = "cloudtrail-data"
PASSING_CODES: Final = frozenset({"InternalFailure", "Throttling"})
"""Codes of events that may be taken later. With all others, the same event is refused again."""
_SETUP: Final = (
    "is the channel of `audit.channel` set up as in infra/cloudformation/audit.yaml, and open for our account?"
)
_REMEDIES: Final = {
    "AccessDeniedException": "allow cloudtrail-data:PutAuditEvents on the channel; does its policy ask for an external id "
    "(`audit.channel_external_id`)?",
    "ChannelInsufficientPermission": _SETUP,
    "ChannelNotFound": "is the ARN in `audit.channel` right?",
    "ChannelUnsupportedSchema": _SETUP,
    "InvalidChannelARN": "is the ARN in `audit.channel` right?",
    "UnsupportedOperationException": "CloudTrail Lake is not open to this account or region: remove `audit.channel`",
}


class Channel(msgspec.Struct, frozen=True):
    """The parts of a channel's ARN: `arn:PARTITION:cloudtrail:REGION:ACCOUNT:channel/ID`."""

    arn: str
    region: str
    account: str

    @classmethod
    def of(cls, arn: str) -> "Channel":
        """The channel with this ARN, whose form was checked."""
        _, _, _, region, account, _ = arn.split(":", 5)
        return cls(arn, region, account)


class AuditChannel:
    """Sends events to a channel."""

    def __init__(self, channel: Channel, *, aws: Aws, account: Account, external_id: str = "") -> None:
        """`external_id`: what the channel's resource policy asks for, if it does."""
        self._channel = channel
        self._aws = aws
        self._account = account
        self._arguments = {"channelArn": channel.arn} | ({"externalId": external_id} if external_id else {})

    async def send(self, events: Sequence[AuditEvent]) -> list[Refused]:
        """Send up to 100 events. Returns those that were not taken. Raises `AuditFailed` if none was."""
        entries = [{"id": each.id, "eventData": each.data} for each in events]
        try:
            # It is made with the first events, because to import aiobotocore takes long.
            client = await self._aws.client(
                SERVICE, self._channel.region, self._account, connect_timeout=5, read_timeout=20, attempts=2
            )
            answer = await client.put_audit_events(auditEvents=entries, **self._arguments)
        except ClientError as error:
            raise AuditFailed(described(self._channel.arn, error, _REMEDIES)) from error
        except (NoCredentialsError, *aws_errors(ValueError)) as error:
            raise AuditFailed(failure(self._channel.arn, error)) from error
        return [_refused(each) for each in answer.get("failed") or ()]


def _refused(entry: dict[str, Any]) -> Refused:
    code = str(entry.get("errorCode", ""))
    reason = str(entry.get("errorMessage", ""))[:300]
    return Refused(str(entry.get("id", "")), code, reason, passes=code in PASSING_CODES)
