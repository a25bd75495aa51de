"""A dead-letter queue of SQS, and the queues that it belongs to."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from jibe_sqs.adapters.aws import Account, Aws
from jibe_sqs.adapters.sqs import SqsQueue, translated
from jibe_sqs.commands.dead_letters import DeadLetter
from jibe_sqs.core.errors import QueueRefused

NO_REASON = "not-told"
"""In the place of an error's class, where a message was moved by SQS itself."""


class Origin(msgspec.Struct, frozen=True):
    """A queue whose dead letters these are. `receives`: after so many SQS itself moves a message."""

    queue: SqsQueue
    receives: int | None


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
        """`origins` by the queues' names: SQS has all of one dead-letter queue in its own region and account."""
        super().__init__(url, region=region, account=account, aws=aws, name=name)
        self._origins = origins

    async def letters(self, limit: int, *, wait: float, hidden: float) -> Sequence[DeadLetter]:
        """Receive up to `limit`, and hide them for so long."""
        with translated(f"receive from {self.name}"):
            answer = await (await self._client()).receive_message(
                QueueUrl=self.url,
                MaxNumberOfMessages=limit,
                WaitTimeSeconds=int(wait),
                VisibilityTimeout=int(hidden),
                MessageAttributeNames=["All"],
                MessageSystemAttributeNames=["SentTimestamp", "DeadLetterQueueSourceArn"],
            )
        return [self._letter(found) for found in answer.get("Messages", ())]

    async def send_back(self, letter: DeadLetter) -> None:
        """A new message in its queue, with none of our attributes."""
        origin = self._origins.get(letter.queue)
        if origin is None:
            known = ", ".join(sorted(self._origins))
            raise QueueRefused(
                f"{letter.id} came from the queue {letter.queue or '(not told)'}, which is none of `queues` that have "
                f"their dead letters here ({known}): run this with the configuration that names it"
            )
        await origin.queue.send(letter.body, once=letter.id)

    def _letter(self, found: dict[str, Any]) -> DeadLetter:
        told = {
            name.removeprefix("Jibe"): str(value.get("StringValue", ""))
            for name, value in found.get("MessageAttributes", {}).items()
            if name.startswith("Jibe")
        }
        system = found.get("Attributes", {})
        queue = told.get("Queue") or str(system.get("DeadLetterQueueSourceArn", "")).rpartition(":")[2]
        queue = self._origin_name(queue)
        receives = told.get("ReceiveCount", "")
        return DeadLetter(
            id=found["MessageId"],
            receipt=found["ReceiptHandle"],
            body=found.get("Body", ""),
            dead_letters=self.name,
            queue=queue,
            error=told.get("Error") or NO_REASON,
            reason=told.get("Reason") or self._moved(queue),
            source=told.get("Source", ""),
            time=told.get("Time", ""),
            first_error=told.get("FirstError", ""),
            message_id=told.get("MessageId", ""),
            receives=int(receives) if re.fullmatch(r"[0-9]{1,6}", receives) else 0,
            sent_at=int(system.get("SentTimestamp", 0)) / 1000,
        )

    def _origin_name(self, queue: str) -> str:
        """The name of the queue in this configuration. SQS, and a message of another configuration, may have a shorter one."""
        if queue in self._origins:
            return queue
        alike = [name for name in self._origins if not queue or _without_region(name) == _without_region(queue)]
        return alike[0] if len(alike) == 1 else queue

    def _moved(self, queue: str) -> str:
        origin = self._origins.get(queue)
        after = f" after {origin.receives} receives" if origin and origin.receives else ""
        return f"not told (moved by the queue{after})"


def _without_region(name: str) -> str:
    """`jibe` of `jibe (eu-west-1)`. SQS allows no spaces in names."""
    return name.partition(" ")[0]
