"""One SQS queue, over aiobotocore."""

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

import orjson
import structlog
from botocore.exceptions import ClientError

from jibe_sqs.adapters.aws import Account, Aws
from jibe_sqs.adapters.aws_errors import NO_ANSWER_ERRORS, code_and_message, described, failure
from jibe_sqs.core.errors import DelayRefused, QueueError, QueueRefused, QueueUnavailable, ReceiptLost
from jibe_sqs.core.model import Message, Reject
from jibe_sqs.ports import QueueDepth, QueueFacts

log = structlog.get_logger()

MAX_VISIBILITY: Final = 43_200
"""Seconds. SQS hides a message for at most twelve hours after its receive."""

MAX_ATTRIBUTE_LENGTH: Final = 1024
"""Characters of each attribute of a dead letter. Eight attributes and the body must fit into one message."""

DEFAULT_RETENTION: Final = 345_600.0
"""Seconds."""
_RETENTION: Final = "MessageRetentionPeriod"
_VISIBLE: Final = "ApproximateNumberOfMessages"
_HIDDEN: Final = "ApproximateNumberOfMessagesNotVisible"

_KMS: Final = ("AccessDenied", "Disabled", "InvalidKeyUsage", "InvalidState", "NotFound", "OptInRequired")
"""Errors about the key of an encrypted queue. SQS's two protocols use different names for each."""
_REFUSED: Final = frozenset(
    {
        "AWS.SimpleQueueService.NonExistentQueue",
        "QueueDoesNotExist",
        "AccessDenied",
        "AccessDeniedException",
        "InvalidAddress",
        "InvalidMessageContents",
        "InvalidParameterValue",
        "InvalidClientTokenId",
        "UnrecognizedClientException",
        "SignatureDoesNotMatch",
        "InvalidSecurity",
        *(f"Kms{what}" for what in _KMS),
        *(f"KMS.{what}" for what in _KMS),
        *(f"KMS.{what}Exception" for what in _KMS),
    }
)
_REMEDIES: Final = {
    **dict.fromkeys(
        ("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"), "are the queue's URL and its region right?"
    ),
    **dict.fromkeys(
        ("AccessDenied", "AccessDeniedException"), "allow it in the policy of our role, or in the policy of the queue"
    ),
}
_UNSENDABLE: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that SQS does not accept in a message."""
_LOST: Final = frozenset({"AWS.SimpleQueueService.MessageNotInflight", "MessageNotInflight", "ReceiptHandleIsInvalid"})
_INVALID: Final = "InvalidParameterValue"
"""SQS has one code for an expired receipt, for a delay that is too long, and for a message that is too long."""
_LOST_TEXT: Final = re.compile("receipt ?handle|not available for visibility", re.IGNORECASE)
"""Of `Value AQEB… for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired.`, or at the end `Reason:
Message does not exist or is not available for visibility timeout change.`"""
_DELAY_TEXT: Final = re.compile("visibility ?timeout", re.IGNORECASE)
"""Of `Value 900 for parameter VisibilityTimeout is invalid. Reason: Total VisibilityTimeout for the message is beyond the
limit [43200 seconds]`. The limit is counted from the receive."""


class SqsQueue:
    """The `Queue` port. Raises `QueueError`s only."""

    def __init__(
        self, url: str, *, region: str | None, account: Account, aws: Aws, wait: float = 20.0, name: str = ""
    ) -> None:
        """`wait`: seconds of the longest long poll. `name`: for logs; the default is the last part of the URL."""
        self.url = url
        self.name = name or url.rstrip("/").rpartition("/")[2]
        self._region = region
        self._account = account
        self._aws = aws
        # An empty long poll is answered only after its wait.
        self._read_timeout = wait + 15
        self._dead_letters: str | None = None

    async def facts(self) -> QueueFacts:
        """Ask the queue for its own settings, and find its dead-letter queue."""
        with translated(f"attributes of {self.name}"):
            answer = await (await self._client()).get_queue_attributes(
                QueueUrl=self.url, AttributeNames=["VisibilityTimeout", "RedrivePolicy", _RETENTION]
            )
        attributes = answer.get("Attributes", {})
        redrive = _redrive_policy(attributes.get("RedrivePolicy"))
        target = redrive.get("deadLetterTargetArn")
        if isinstance(target, str) and self._dead_letters is None:
            self._dead_letters = await self._dead_letter_url(target)
        receives = redrive.get("maxReceiveCount")
        return QueueFacts(
            visibility_timeout=float(attributes.get("VisibilityTimeout", 30)),
            max_receives=int(receives) if receives is not None else None,
            dead_letters=self._dead_letters,
            retention=_retention(attributes),
        )

    async def depth(self) -> QueueDepth:
        """Ask the queue for the number of its messages."""
        with translated(f"attributes of {self.name}"):
            answer = await (await self._client()).get_queue_attributes(
                QueueUrl=self.url, AttributeNames=[_VISIBLE, _HIDDEN, _RETENTION]
            )
        attributes = answer.get("Attributes", {})
        return QueueDepth(int(attributes.get(_VISIBLE, 0)), int(attributes.get(_HIDDEN, 0)), _retention(attributes))

    async def may_reject(self) -> bool:
        """Whether there is a dead-letter queue and SQS does not refuse our write. Unknown (SQS is down) counts as true."""
        if self._dead_letters is None:
            return False
        try:
            with translated(f"permission to write to the dead letters of {self.name}"):
                # SQS checks permissions first, and then refuses the empty batch.
                await (await self._client()).send_message_batch(QueueUrl=self._dead_letters, Entries=[])
        except QueueRefused:
            return False
        except QueueError:
            pass
        return True

    async def receive(self, limit: int, *, wait: float, visibility: float) -> Sequence[Message]:
        """Long-poll for up to `limit` messages. They are hidden for `visibility` seconds, rounded up."""
        with translated(f"receive from {self.name}"):
            answer = await (await self._client()).receive_message(
                QueueUrl=self.url,
                MaxNumberOfMessages=limit,
                WaitTimeSeconds=int(wait),
                VisibilityTimeout=min(MAX_VISIBILITY, math.ceil(visibility)),
                MessageSystemAttributeNames=["ApproximateReceiveCount", "SentTimestamp"],
            )
        return [_message(found) for found in answer.get("Messages", ())]

    async def delete(self, receipts: Sequence[str]) -> dict[str, Exception]:
        """Delete up to ten messages. Returns the failures, by receipt."""
        with translated(f"deletion in {self.name}"):
            answer = await (await self._client()).delete_message_batch(
                QueueUrl=self.url,
                Entries=[{"Id": str(i), "ReceiptHandle": receipt} for i, receipt in enumerate(receipts)],
            )
        return _failed(answer, receipts)

    async def show_after(self, delays: Sequence[tuple[str, float]]) -> dict[str, Exception]:
        """Set the visibility of up to ten messages, in seconds from now. Returns the failures, by receipt."""
        with translated(f"visibility of messages of {self.name}"):
            answer = await (await self._client()).change_message_visibility_batch(
                QueueUrl=self.url,
                Entries=[
                    {
                        "Id": str(i),
                        "ReceiptHandle": receipt,
                        "VisibilityTimeout": min(MAX_VISIBILITY, max(0, round(delay))),
                    }
                    for i, (receipt, delay) in enumerate(delays)
                ],
            )
        return _failed(answer, [receipt for receipt, _ in delays])

    async def reject(self, message: Message, why: Reject) -> bool:
        """Send a copy to the dead-letter queue, with its reason. The caller deletes the original."""
        if self._dead_letters is None:
            return False
        attributes = {
            "JibeError": why.error,
            "JibeReason": why.reason,
            "JibeSource": why.source,
            "JibeFirstError": why.first_error,
            "JibeTime": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "JibeQueue": self.name,
            "JibeMessageId": message.id,
            "JibeReceiveCount": str(message.receive_count),
        }
        try:
            with translated(f"send to the dead letters of {self.name}"):
                await (await self._client()).send_message(
                    QueueUrl=self._dead_letters,
                    MessageBody=message.body.decode(errors="replace"),
                    **_fifo_arguments(self._dead_letters, message.id),
                    # SQS accepts ten attributes, and no empty ones.
                    MessageAttributes={
                        name: {
                            "DataType": "String",
                            "StringValue": _UNSENDABLE.sub("\ufffd", value[:MAX_ATTRIBUTE_LENGTH]),
                        }
                        for name, value in attributes.items()
                        if value
                    },
                )
        except QueueRefused as error:
            # No permission, for example, or body and attributes are too long together.
            log.warning("dead_letter_refused", queue=self.name, message=message.id, reason=str(error))
            return False
        return True

    async def send(self, body: str, *, once: str) -> None:
        """Send a new message with this body. `once`: an id; a FIFO queue accepts only one message per id."""
        with translated(f"send to {self.name}"):
            await (await self._client()).send_message(
                QueueUrl=self.url, MessageBody=body, **_fifo_arguments(self.url, once)
            )

    async def _client(self) -> Any:
        return await self._aws.client("sqs", self._region, self._account, read_timeout=self._read_timeout)

    async def _dead_letter_url(self, arn: str) -> str | None:
        """The queue's URL. None if we may not look it up: then rejected messages wait for the queue's own redrive."""
        account, name = arn.split(":")[-2:]
        try:
            with translated(f"dead-letter queue {name}"):
                answer = await (await self._client()).get_queue_url(QueueName=name, QueueOwnerAWSAccountId=account)
        except QueueRefused:
            return None
        url: str = answer["QueueUrl"]
        return url


def _fifo_arguments(url: str, once: str) -> dict[str, str]:
    """Further arguments for a FIFO queue. Each message is its own group, so messages do not wait for each other."""
    return {"MessageGroupId": once, "MessageDeduplicationId": once} if url.endswith(".fifo") else {}


def _message(found: dict[str, Any]) -> Message:
    attributes = found.get("Attributes", {})
    return Message(
        id=found["MessageId"],
        receipt=found["ReceiptHandle"],
        body=found.get("Body", "").encode("utf-8", "surrogatepass"),
        receive_count=int(attributes.get("ApproximateReceiveCount", 1)),
        sent_at=int(attributes.get("SentTimestamp", 0)) / 1000,
    )


def _retention(attributes: dict[str, Any]) -> float:
    """Seconds. SQS's default, if a compatible queue does not answer with it."""
    return float(attributes.get(_RETENTION, DEFAULT_RETENTION))


def _redrive_policy(text: str | None) -> dict[str, Any]:
    try:
        policy = orjson.loads(text) if text else {}
    except orjson.JSONDecodeError:
        return {}
    return policy if isinstance(policy, dict) else {}


def _failed(answer: dict[str, Any], receipts: Sequence[str]) -> dict[str, Exception]:
    """The failed entries of a batch. SQS reports them in a successful answer."""
    return {
        receipts[int(entry["Id"])]: _error(
            entry.get("Code", ""),
            entry.get("Message", ""),
            ": ".join(filter(None, (entry.get("Code"), entry.get("Message")))),
        )
        for entry in answer.get("Failed", ())
    }


def _error(code: str, message: str, text: str) -> QueueError:
    """Our error for an error of SQS with this code and message. `text`: the text of our error."""
    if code in _LOST or (code == _INVALID and _LOST_TEXT.search(message)):
        return ReceiptLost(text)
    if code == _INVALID and _DELAY_TEXT.search(message):
        return DelayRefused(text)
    if code in _REFUSED:
        return QueueRefused(text)
    return QueueUnavailable(text)


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Raise the errors of the client as `QueueError`s. `what`: what was tried, for the text."""
    try:
        yield
    except ClientError as error:
        # A receipt has hundreds of characters. A shortened message would lose the reason behind it.
        message = str(error.response.get("Error", {}).get("Message", ""))
        raise _error(code_and_message(error)[0], message, described(what, error, _REMEDIES)) from error
    except NO_ANSWER_ERRORS as error:
        raise QueueUnavailable(failure(what, error)) from error
