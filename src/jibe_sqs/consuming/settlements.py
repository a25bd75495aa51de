"""Apply verdicts to messages: delete, make visible later, dead-letter, give back."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from jibe_sqs.concurrency.backoff import Backoff
from jibe_sqs.concurrency.batches import Batches
from jibe_sqs.consuming.holds import MAX_HOLD, Held
from jibe_sqs.core.errors import QueueError, ReceiptLost
from jibe_sqs.core.model import Done, Message, Reject, Retry, Verdict
from jibe_sqs.core.verdicts import RetryPolicy
from jibe_sqs.ports import Clock, Queue
from jibe_sqs.telemetry import logs
from jibe_sqs.telemetry.audit import Audit
from jibe_sqs.telemetry.counters import Counters

log = structlog.get_logger()

DELETE_TRIES: Final = 4
MAX_REJECTED: Final = 10_000
"""Rejected messages that are remembered. One that comes back is deleted without a second dead letter."""
DELETE_LINGER: Final = 0.25
"""Seconds for which a delete waits for those of other messages in hand. If there are none, it does not wait."""
DELETE_BACKOFF: Final = Backoff(first=0.4, longest=10.0)


class Settlements:
    """Settles the messages of one queue, up to ten in a call. A failure here costs at most one more delivery."""

    def __init__(
        self,
        *,
        queue: Queue,
        policy: RetryPolicy,
        clock: Clock,
        counters: Counters,
        in_hand: Callable[[], int] | None = None,
        audit: Audit | None = None,
    ) -> None:
        """`in_hand`: the number of messages that are held, with those that are being settled. `audit` learns of dead letters."""
        self._queue = queue
        self._policy = policy
        self._clock = clock
        self._counters = counters
        self._audit = audit
        self._rejected: dict[str, None] = {}
        self._deletes = Batches[str](self._delete_batch, linger=DELETE_LINGER, expected=in_hand)
        self._showings = Batches[tuple[str, float]](self._show_batch)

    async def settle(self, held: Held, verdict: Verdict) -> None:
        """Apply a verdict. Raises nothing: failures are logged, and the message becomes visible again."""
        message = held.message
        try:
            match verdict:
                case Done():
                    await self._delete(held)
                    self._counters.done += 1
                    if logs.are_verbose():
                        log.debug("message_done", queue=self._queue.name, message=message.id)
                case Retry(delay, reason):
                    self._counters.retried += 1
                    log.warning(
                        "message_retried",
                        queue=self._queue.name,
                        message=message.id,
                        receive_count=message.receive_count,
                        retry_in=delay,
                        reason=reason,
                    )
                    await self._show(held, delay)
                case Reject():
                    await self._reject(held, verdict)
        except ReceiptLost as error:
            log.info("receipt_lost", queue=self._queue.name, message=message.id, reason=str(error))
        except QueueError as error:
            # The message becomes visible when its timeout ends, and is handled again, which is harmless.
            log.warning("settling_failed", queue=self._queue.name, message=message.id, reason=str(error))
        except Exception as error:
            # A defect of ours. The message must not stay held, or it would never be handled again.
            log.exception("settling_crashed", queue=self._queue.name, message=message.id)
            self._counters.errors[type(error).__name__] += 1

    async def show_now(self, receipts: Sequence[str]) -> None:
        """Give messages back: make them visible at once."""
        answers = await asyncio.gather(
            *(self._showings.add((receipt, 0.0)) for receipt in receipts), return_exceptions=True
        )
        for answer in answers:
            if isinstance(answer, Exception):
                log.warning("giving_back_failed", queue=self._queue.name, reason=str(answer))

    async def finished(self) -> None:
        """Wait for all calls in flight, also for those whose callers were cancelled."""
        await asyncio.gather(self._deletes.finished(), self._showings.finished())

    async def _reject(self, held: Held, why: Reject) -> None:
        message = held.message
        if message.id in self._rejected:
            # It came back: its delete failed, or SQS delivered it once more.
            await self._delete(held)
            return
        kept = await self._queue.reject(message, why)
        log.error(
            "message_rejected",
            queue=self._queue.name,
            message=message.id,
            error=why.error,
            reason=why.reason,
            source=why.source,
            dead_lettered=kept,
        )
        self._counters.rejected += 1
        self._counters.dead_letters[self._queue.name, why.error] += 1
        if kept:
            if self._audit is not None:
                self._audit.dead_lettered(self._queue.name, message, why)
            self._remember_rejected(message)
            await self._delete(held)
        else:
            # Only the log has the reason. The queue's own redrive policy decides in the end.
            await self._show(held, self._policy.delay(message.receive_count))

    def _remember_rejected(self, message: Message) -> None:
        # A sweep finds a rejected file again after some hours, under the same id, and then it is rejected again.
        if message.ours:
            return
        self._rejected[message.id] = None
        if len(self._rejected) > MAX_REJECTED:
            del self._rejected[next(iter(self._rejected))]

    async def _show(self, held: Held, delay: float) -> None:
        # After a short delay, the message may be received again before the answer to this call arrives. That receive
        # counts as one of a held message. Without one more call, it would stay hidden until its timeout ends. But after the
        # last receive, the queue would make it a dead letter without a reason.
        receipt = ""
        while held.receipt != receipt and not (receipt and self._policy.is_last(held.message.receive_count)):
            receipt = held.receipt
            # SQS refuses to hide a message for more than twelve hours in all.
            longest = max(0.0, held.since + MAX_HOLD - self._clock.monotonic())
            await self._showings.add((receipt, min(delay, longest)))

    async def _delete(self, held: Held) -> None:
        for tries in range(1, DELETE_TRIES + 1):
            receipt = held.receipt
            try:
                await self._deletes.add(receipt)
                if held.receipt == receipt:
                    return
                # It was received again meanwhile. SQS may accept the old receipt and delete nothing.
            except QueueError as error:
                if tries == DELETE_TRIES or (isinstance(error, ReceiptLost) and held.receipt == receipt):
                    raise
                await self._clock.sleep(DELETE_BACKOFF.delay(tries))

    async def _delete_batch(self, receipts: Sequence[str]) -> Sequence[Exception | None]:
        failed = await self._queue.delete(receipts)
        return [failed.get(receipt) for receipt in receipts]

    async def _show_batch(self, delays: Sequence[tuple[str, float]]) -> Sequence[Exception | None]:
        # A message that is given back while its retry waits for a full batch is in it twice: the last delay counts.
        failed = await self._queue.show_after(list(dict(delays).items()))
        return [failed.get(receipt) for receipt, _ in delays]
