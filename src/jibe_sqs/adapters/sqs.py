"""One SQS queue."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import orjson
import structlog

from jibe_sqs.adapters import sqs_wire
from jibe_sqs.adapters.aws import Account, Aws
from jibe_sqs.adapters.aws_errors import aws_errors
from jibe_sqs.adapters.sqs_calls import Calls
from jibe_sqs.adapters.sqs_errors import of_entry, translated
from jibe_sqs.core.errors import QueueError, QueueRefused, QueueUnavailable
from jibe_sqs.core.model import Message, Reject
from jibe_sqs.ports import QueueDepth, QueueFacts

log = structlog.get_logger()

T = TypeVar("T")

MAX_VISIBILITY: Final = 43_200
"""Seconds. SQS hides a message for at most twelve hours after its receive."""

MAX_ATTRIBUTE_LENGTH: Final = 1024
"""Characters of each attribute of a dead letter. Eight attributes and the body must fit into one message."""

DEFAULT_RETENTION: Final = 345_600.0
"""Seconds."""
_ATTRIBUTES: Final = ("ApproximateReceiveCount", "SentTimestamp")
"""Of messages: those that each receive asks for."""
_VISIBILITY: Final = "VisibilityTimeout"
_RETENTION: Final = "MessageRetentionPeriod"
_VISIBLE: Final = "ApproximateNumberOfMessages"
_HIDDEN: Final = "ApproximateNumberOfMessagesNotVisible"

_UNSENDABLE: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that SQS does not accept in a message."""


class SqsQueue:
    """The `Queue` port. Raises `QueueError`s only."""

    def __init__(
        self,
        url: str,
        *,
        region: str | None,
        account: Account,
        aws: Aws,
        wait: float = 20.0,
        name: str = "",
        traced: bool = False,
    ) -> None:
        """`wait`: seconds of the longest long poll. `name`: for logs; the default is the last part of the URL.

        `traced`: whether messages are received with the trace of their sender.
        """
        self.url = url
        self._asked_attributes = (*_ATTRIBUTES, "AWSTraceHeader") if traced else _ATTRIBUTES
        self.name = name or url.rstrip("/").rpartition("/")[2]
        # An empty long poll is answered only after its wait.
        self._calls = Calls(region, account, aws, read_timeout=wait + 15)
        self._dead_letters: str | None = None

    async def facts(self) -> QueueFacts:
        """Ask the queue for its own settings, and find its dead-letter queue."""
        attributes = await self._attributes(_VISIBILITY, "RedrivePolicy", _RETENTION)
        redrive = _redrive_policy(attributes.get("RedrivePolicy"))
        target = redrive.get("deadLetterTargetArn")
        if isinstance(target, str) and self._dead_letters is None:
            self._dead_letters = await self._dead_letter_url(target)
        return QueueFacts(
            visibility_timeout=_number(attributes, _VISIBILITY, 30.0),
            max_receives=_max_receives(redrive),
            dead_letters=self._dead_letters,
            retention=_number(attributes, _RETENTION, DEFAULT_RETENTION),
        )

    async def depth(self) -> QueueDepth:
        """Ask the queue for the number of its messages."""
        attributes = await self._attributes(_VISIBLE, _HIDDEN, _RETENTION)
        return QueueDepth(
            int(_number(attributes, _VISIBLE, 0.0)),
            int(_number(attributes, _HIDDEN, 0.0)),
            _number(attributes, _RETENTION, DEFAULT_RETENTION),
        )

    async def may_reject(self) -> bool:
        """Whether there is a dead-letter queue and SQS does not refuse our write. Unknown (SQS is down) counts as true."""
        if self._dead_letters is None:
            return False
        what = f"permission to write to the dead letters of {self.name}"
        try:
            # SQS checks permissions first, and then refuses the empty batch.
            await self._ask(what, "SendMessageBatch", {"QueueUrl": self._dead_letters, "Entries": []})
        except QueueRefused:
            return False
        except QueueError:
            pass
        return True

    async def receive(self, limit: int, *, wait: float, visibility: float) -> Sequence[Message]:
        """Long-poll for up to `limit` messages. They are hidden for `visibility` seconds, rounded up."""
        asked = {
            "QueueUrl": self.url,
            "MaxNumberOfMessages": limit,
            "WaitTimeSeconds": int(wait),
            "VisibilityTimeout": min(MAX_VISIBILITY, math.ceil(visibility)),
            "MessageSystemAttributeNames": self._asked_attributes,
        }
        return await self._call(f"receive from {self.name}", "ReceiveMessage", asked, sqs_wire.messages)

    async def delete(self, receipts: Sequence[str]) -> dict[str, Exception]:
        """Delete up to ten messages. Returns the failures, by receipt."""
        entries = [{"Id": str(i), "ReceiptHandle": receipt} for i, receipt in enumerate(receipts)]
        return await self._batch(f"deletion in {self.name}", "DeleteMessageBatch", entries)

    async def show_after(self, delays: Sequence[tuple[str, float]]) -> dict[str, Exception]:
        """Set the visibility of up to ten messages, in seconds from now. Returns the failures, by receipt."""
        entries = [
            {
                "Id": str(i),
                "ReceiptHandle": receipt,
                "VisibilityTimeout": min(MAX_VISIBILITY, max(0, round(delay))),
            }
            for i, (receipt, delay) in enumerate(delays)
        ]
        return await self._batch(f"visibility of messages of {self.name}", "ChangeMessageVisibilityBatch", entries)

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
        sent = {
            "QueueUrl": self._dead_letters,
            "MessageBody": message.body.decode(errors="replace"),
            **_fifo_arguments(self._dead_letters, message.id),
            # SQS accepts ten attributes, and no empty ones.
            "MessageAttributes": {
                name: {"DataType": "String", "StringValue": _UNSENDABLE.sub("\ufffd", value[:MAX_ATTRIBUTE_LENGTH])}
                for name, value in attributes.items()
                if value
            },
        }
        try:
            await self._ask(f"send to the dead letters of {self.name}", "SendMessage", sent)
        except QueueRefused as error:
            # No permission, for example, or body and attributes are too long together.
            log.warning("dead_letter_refused", queue=self.name, message=message.id, reason=str(error))
            return False
        return True

    async def send(self, body: str, *, once: str) -> None:
        """Send a new message with this body. `once`: an id; a FIFO queue accepts only one message per id."""
        sent = {"QueueUrl": self.url, "MessageBody": body, **_fifo_arguments(self.url, once)}
        await self._ask(f"send to {self.name}", "SendMessage", sent)

    async def _dead_letter_url(self, arn: str) -> str | None:
        """The queue's URL. None if we may not look it up: then rejected messages wait for the queue's own redrive."""
        account, _, name = arn.rpartition(":")
        account = account.rpartition(":")[2]
        asked = {"QueueName": name, "QueueOwnerAWSAccountId": account}
        try:
            answer = await self._ask(f"dead-letter queue {name}", "GetQueueUrl", asked)
        except QueueRefused:
            return None
        url = answer.get("QueueUrl")
        if not isinstance(url, str) or not url:
            raise QueueUnavailable(f"dead-letter queue {name}: the answer has no URL of a queue")
        return url

    async def _attributes(self, *names: str) -> dict[str, Any]:
        asked = {"QueueUrl": self.url, "AttributeNames": names}
        answer = await self._ask(f"attributes of {self.name}", "GetQueueAttributes", asked)
        attributes = answer.get("Attributes") or {}
        if not isinstance(attributes, dict):
            raise QueueUnavailable(f"attributes of {self.name}: the answer has none that can be read")
        return attributes

    async def _batch(self, what: str, operation: str, entries: list[dict[str, Any]]) -> dict[str, Exception]:
        """The failures, by receipt. SQS reports them in a successful answer."""
        failures = await self._call(what, operation, {"QueueUrl": self.url, "Entries": entries}, sqs_wire.failures)
        if any(each.id >= len(entries) for each in failures):
            raise QueueUnavailable(f"{what}: the answer names an entry that was not sent")
        return {entries[each.id]["ReceiptHandle"]: of_entry(each.code or "", each.message or "") for each in failures}

    async def _ask(self, what: str, operation: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The answer with all its fields."""
        return await self._call(what, operation, arguments, sqs_wire.fields)

    async def _call(self, what: str, operation: str, arguments: Mapping[str, Any], read: Callable[[bytes], T]) -> T:
        """The answer, as `read` reads it. `what`: what is tried, for the text of an error."""
        try:
            return read(await self._calls.call(operation, sqs_wire.request(arguments)))
        except aws_errors() as error:
            raise translated(what, error) from error


def _fifo_arguments(url: str, once: str) -> dict[str, str]:
    """Further arguments for a FIFO queue. Each message is its own group, so messages do not wait for each other."""
    return {"MessageGroupId": once, "MessageDeduplicationId": once} if url.endswith(".fifo") else {}


def _number(attributes: Mapping[str, Any], name: str, default: float) -> float:
    """An attribute, which SQS writes as a string. `default`: if a compatible queue does not answer with it."""
    value = attributes.get(name)
    if value is None:
        return default
    try:
        number = float(value)
    except (OverflowError, TypeError, ValueError):
        number = math.nan
    if not 0 <= number < math.inf:
        raise QueueUnavailable(f"the queue's attribute {name} is no number: {value!r:.40}")
    return number


def _max_receives(redrive: Mapping[str, Any]) -> int | None:
    try:
        return int(redrive["maxReceiveCount"])
    except (KeyError, OverflowError, TypeError, ValueError):
        return None


def _redrive_policy(text: Any) -> dict[str, Any]:
    try:
        policy = orjson.loads(text) if text else {}
    except orjson.JSONDecodeError:
        return {}
    return policy if isinstance(policy, dict) else {}
