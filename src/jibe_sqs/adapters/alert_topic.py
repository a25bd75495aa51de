"""Publishes alerts to a topic of SNS. Limits: SNS API reference, Publish; subject under 100 characters, message up to 256 KiB."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, Literal

import msgspec
from botocore.exceptions import ClientError

from jibe_sqs.adapters.aws import Account, Aws
from jibe_sqs.adapters.aws_errors import described, failure, no_answer_errors
from jibe_sqs.telemetry.alert_messages import AlertMessage
from jibe_sqs.telemetry.alert_outlet import AlertFailed

MAX_BYTES: Final = 256 * 1024
"""Bytes of a message; SNS's limit. `AlertMessage` stays below it."""
CONNECT_TIMEOUT, READ_TIMEOUT, PUBLISH_TIMEOUT = 5.0, 10.0, 30.0
"""Seconds to connect; seconds to wait for an answer; seconds for all of a message."""
FIFO: Final = ".fifo"
"""The end of the name of a FIFO topic."""

_PERMISSION: Final = (
    "allow sns:Publish on the topic; if a KMS key encrypts it, also kms:GenerateDataKey and kms:Decrypt with that key"
)
_REMEDIES: Final = {
    "NotFound": "there is no such topic: correct alerts.topic",
    "InvalidParameter": "correct alerts.topic",
    **dict.fromkeys(("AuthorizationError", "AccessDenied", "AccessDeniedException", "KMSAccessDenied"), _PERMISSION),
}


class AlertTopic:
    """A topic of SNS, in the region of its ARN."""

    name = "topic"

    def __init__(self, arn: str, account: Account, aws: Aws, form: Literal["slack", "json"]) -> None:
        """`form`: `slack` for a text that people read, such as in a mail; `json` for the message's own object."""
        self._arn = arn
        self._account = account
        self._aws = aws
        self._form = form

    async def send(self, message: AlertMessage) -> None:
        """Publish one message. Raises `AlertFailed`."""
        text = message.text() if self._form == "slack" else msgspec.json.encode(message.document()).decode()
        arguments: dict[str, Any] = {
            "TopicArn": self._arn,
            "Subject": message.title,
            "Message": text.encode()[:MAX_BYTES].decode(errors="ignore"),
            # For filter policies of subscriptions.
            "MessageAttributes": {"level": {"DataType": "String", "StringValue": message.level}},
        }
        if self._arn.endswith(FIFO):
            # A FIFO topic drops a second message with the same id within five minutes.
            arguments |= {"MessageGroupId": "jibe-sqs", "MessageDeduplicationId": message.id}
        what = f"topic {self._arn}"
        try:
            async with asyncio.timeout(PUBLISH_TIMEOUT):
                await (await self._client()).publish(**arguments)
        except ClientError as error:
            raise AlertFailed(described(what, error, _REMEDIES)) from error
        except no_answer_errors() as error:
            raise AlertFailed(failure(what, error)) from error

    async def _client(self) -> Any:
        return await self._aws.client(
            "sns",
            self._arn.split(":")[3],
            self._account,
            connect_timeout=CONNECT_TIMEOUT,
            read_timeout=READ_TIMEOUT,
            attempts=2,
        )


@asynccontextmanager
async def alert_topic(
    arn: str, account: Account, form: Literal["slack", "json"] = "slack"
) -> AsyncIterator[AlertTopic]:
    """A topic with clients of its own, which are closed at the end. So alerts do not depend on the clients of the service."""
    async with Aws() as aws:
        yield AlertTopic(arn, account, aws, form)
