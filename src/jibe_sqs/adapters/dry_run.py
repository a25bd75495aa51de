"""The ports of a dry run: a sync target that calls nothing, and a queue that keeps its messages."""

from collections.abc import Callable, Sequence

import structlog
from msgspec.structs import replace

from jibe_sqs.core.errors import DelayRefused
from jibe_sqs.core.model import Folder, Message, Reject
from jibe_sqs.ports import OtherRefreshes, Queue, QueueDepth, QueueFacts, SyncTarget

log = structlog.get_logger()


class DryRunTarget(SyncTarget):
    """Treats every folder as refreshed. Logs a warning at the start: nothing is refreshed."""

    def __init__(self, *, acknowledges: bool = True) -> None:
        """`acknowledges`: whether messages are deleted all the same."""
        if acknowledges:
            log.warning(
                "dry_run",
                consequence="messages are deleted, and nothing is refreshed",
                remedy="use separate queues for a dry run, or refresh everything afterwards; or set sync.acknowledge to false",
            )
        else:
            log.warning(
                "dry_run",
                consequence="nothing is refreshed, and messages that are done become visible again",
                remedy="when the trial is over, set sync.strategy to refresh, and remove sync.acknowledge",
            )

    async def refresh(self, folder: Folder, began: Callable[[], None], others: OtherRefreshes) -> None:  # noqa: ARG002
        """Log the folder that would be refreshed."""
        began()
        log.debug("would_refresh", folder=str(folder))


class UnacknowledgedQueue:
    """The `Queue` port, on another queue: messages are never deleted and never rejected, but become visible again."""

    def __init__(self, queue: Queue, *, delay: float) -> None:
        """`delay`: seconds until a message that is done becomes visible again. If it is short, the messages go round."""
        self.name = queue.name
        self._queue = queue
        self._delay = delay

    async def facts(self) -> QueueFacts:
        """The queue's settings, without its redrive policy: how often a message was received says nothing of errors."""
        facts = await self._queue.facts()
        if facts.max_receives is not None:
            log.warning(
                "dry_run_uses_up_receives",
                queue=self.name,
                max_receives=facts.max_receives,
                consequence="SQS moves each message to the dead-letter queue after so many receives, although it is done",
                remedy="remove the redrive policy of this queue, or raise its maxReceiveCount, and give the dry run a "
                "queue of its own",
            )
        return replace(facts, max_receives=None, dead_letters=None)

    async def depth(self) -> QueueDepth:
        """The number of messages."""
        return await self._queue.depth()

    async def receive(self, limit: int, *, wait: float, visibility: float) -> Sequence[Message]:
        """Receive messages."""
        return await self._queue.receive(limit, wait=wait, visibility=visibility)

    async def delete(self, receipts: Sequence[str]) -> dict[str, Exception]:
        """Make the messages visible again after the delay."""
        failed = await self._queue.show_after([(receipt, self._delay) for receipt in receipts])
        # SQS hides no message for more than twelve hours in all. This one becomes visible when its timeout ends.
        return {receipt: error for receipt, error in failed.items() if not isinstance(error, DelayRefused)}

    async def show_after(self, delays: Sequence[tuple[str, float]]) -> dict[str, Exception]:
        """Make messages visible again after a delay."""
        return await self._queue.show_after(delays)

    async def reject(self, message: Message, why: Reject) -> bool:  # noqa: ARG002
        """Keep the message. The caller logs the reason, and makes the message visible again later."""
        return False
