"""A dead-letter queue of SQS, and the queues that send to it."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from jibe_sqs.adapters.aws import Account, Aws
from jibe_sqs.adapters.sqs import SqsQueue
from jibe_sqs.commands.dead_letters import UNKNOWN_ERROR, DeadLetter
from jibe_sqs.core.errors import QueueRefused


class Origin(msgspec.Struct, frozen=True):
    """A queue that sends its dead letters here. `max_receives`: after this many, SQS itself moves a message."""

    queue: SqsQueue
    max_receives: int | None


class SqsDeadLetters(SqsQueue):
    """The `DeadLetterQueue` port."""

    def __init__(
        self,
        url: str,
        *,
        origins: Mapping[str, Origin],
        region: str | None,
        account: Account,
        aws: Aws,
        name: str = "",
    ) -> None:
        """`origins`: by queue name. SQS requires them in the region and account of the dead-letter queue."""
        super().__init__(url, region=region, account=account, aws=aws, name=name)
        self._origins = origins

    async def letters(self, limit: int, *, wait: float, hidden: float) -> Sequence[DeadLetter]:
        """Receive up to `limit` dead letters, and hide them for `hidden` seconds."""
        asked = {
            "QueueUrl": self.url,
            "MaxNumberOfMessages": limit,
            "WaitTimeSeconds": int(wait),
            "VisibilityTimeout": int(hidden),
            "MessageAttributeNames": ("All",),
            "MessageSystemAttributeNames": ("SentTimestamp", "DeadLetterQueueSourceArn"),
        }
        answer = await self._ask(f"receive from {self.name}", "ReceiveMessage", asked)
        return [self._letter(found) for found in answer.get("Messages") or ()]

    async def send_back(self, letter: DeadLetter) -> None:
        """Send the letter's body to its queue as a new message, without our attributes."""
        origin = self._origins.get(letter.queue)
        if origin is None:
            name = f"the queue {letter.queue}" if letter.queue else "an unknown queue"
            raise QueueRefused(
                f"{letter.id} came from {name}, which this configuration does not name. Run the command with the "
                f"configuration of {letter.queue or 'that queue'}."
            )
        await origin.queue.send(letter.body, once=letter.id)

    def _letter(self, found: dict[str, Any]) -> DeadLetter:
        attributes = {
            name.removeprefix("Jibe"): str(value.get("StringValue", ""))
            for name, value in found.get("MessageAttributes", {}).items()
            if name.startswith("Jibe")
        }
        system = found.get("Attributes", {})
        queue = attributes.get("Queue") or str(system.get("DeadLetterQueueSourceArn", "")).rpartition(":")[2]
        queue = self._origin_name(queue)
        receives = attributes.get("ReceiveCount", "")
        return DeadLetter(
            id=found["MessageId"],
            receipt=found["ReceiptHandle"],
            body=found.get("Body", ""),
            dead_letters=self.name,
            queue=queue,
            error=attributes.get("Error") or UNKNOWN_ERROR,
            reason=attributes.get("Reason") or self._reason_if_sqs_moved_it(queue),
            source=attributes.get("Source", ""),
            time=attributes.get("Time", ""),
            first_error=attributes.get("FirstError", ""),
            message_id=attributes.get("MessageId", ""),
            receives=int(receives) if re.fullmatch(r"[0-9]{1,6}", receives) else 0,
            sent_at=int(system.get("SentTimestamp", 0)) / 1000,
        )

    def _origin_name(self, queue: str) -> str:
        """The queue's name in this configuration. SQS and other configurations may use the name without the region."""
        if queue in self._origins:
            return queue
        alike = [name for name in self._origins if not queue or _without_region(name) == _without_region(queue)]
        return alike[0] if len(alike) == 1 else queue

    def _reason_if_sqs_moved_it(self, queue: str) -> str:
        origin = self._origins.get(queue)
        after = f" after {origin.max_receives} receives" if origin and origin.max_receives else ""
        return f"no reason given (moved by the queue{after})"


def _without_region(name: str) -> str:
    """`jibe` of `jibe (eu-west-1)`. SQS allows no spaces in names."""
    return name.partition(" ")[0]
