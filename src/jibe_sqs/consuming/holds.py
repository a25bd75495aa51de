"""Keep messages hidden from other consumers while they are held.

SQS makes a message visible when its visibility timeout ends, whether or not its work is done. So the visibility of each
held message is extended at half its time, until the message is settled.
"""

import asyncio
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import msgspec
import structlog

from jibe_sqs.consuming.room import InHand
from jibe_sqs.core.errors import DelayRefused, ReceiptLost
from jibe_sqs.core.model import Message
from jibe_sqs.ports import Clock, Queue

log = structlog.get_logger()

MIN_VISIBILITY: Final = 30.0
"""Seconds for which a receive hides its messages, at least. A shorter time would end before the first extension."""
MAX_EXTENSION: Final = 600.0
"""Seconds. Extensions grow with the time that a message has been held. After a crash, it waits for the last one's end."""
MAX_HOLD: Final = 11.5 * 3600
"""Seconds. SQS makes every message visible twelve hours after its receive."""
MAX_RETRY_DELAY: Final = 5.0
"""Seconds until a failed extension is tried again."""
BATCH: Final = 10
MAX_CALLS: Final = 8
"""Calls in flight. Ten thousand messages need a thousand calls, which may outlast the timeout one after the other."""


@dataclass(slots=True, eq=False)
class Held:
    """One held message. Times are of the monotonic clock."""

    message: Message
    receipt: str
    since: float
    hidden_until: float
    extend_at: float
    task: "asyncio.Task[None] | None" = field(default=None)
    in_hand: InHand | None = None
    settling: bool = False
    """The verdict is known: it is not extended any more."""
    lost: bool = False
    """Its receipt is lost: another consumer has the message."""
    extension: "asyncio.Future[None] | None" = field(default=None)
    """The extension in flight, if there is one."""


class Holds:
    """The held messages of one queue."""

    def __init__(self, *, queue: Queue, clock: Clock, visibility_timeout: float) -> None:
        """`visibility_timeout`: the queue's own, in seconds."""
        self._queue = queue
        self._clock = clock
        self._timeout = max(1.0, visibility_timeout)
        self._held: dict[str, Held] = {}
        self._new = asyncio.Event()
        self._calls = asyncio.Semaphore(MAX_CALLS)

    def __len__(self) -> int:
        return len(self._held)

    def __getitem__(self, id_: str) -> Held:
        return self._held[id_]

    def __iter__(self) -> Iterator[Held]:
        return iter(list(self._held.values()))

    def hold(self, message: Message, received_at: float, hidden_for: float | None = None) -> Held | None:
        """Hold a message. Returns None if it is held already; then only its newest receipt is kept.

        `received_at`: by the monotonic clock. `hidden_for`: seconds for which its receive has hidden it;
        by default the visibility timeout.
        """
        hidden_for = hidden_for or self._timeout
        if self.renew(message, received_at, hidden_for):
            return None
        held = Held(message, message.receipt, received_at, received_at + hidden_for, received_at + hidden_for / 2)
        self._held[message.id] = held
        self._new.set()
        return held

    def renew(self, message: Message, received_at: float, hidden_for: float) -> bool:
        """Keep the receipt of a held message that was received again. False if the message is not held."""
        known = self._held.get(message.id)
        if known is None:
            return False
        known.receipt, known.since = message.receipt, received_at
        known.message = msgspec.structs.replace(known.message, receive_count=message.receive_count)
        known.hidden_until, known.extend_at = received_at + hidden_for, received_at + hidden_for / 2
        return True

    async def settle(self, held: Held) -> None:
        """Stop extending it. When this returns, no extension is in flight, which could undo the settlement."""
        held.settling = True
        if held.extension is not None:
            await asyncio.wait([held.extension])

    def resume(self, held: Held) -> None:
        """Extend it again: its verdict did not settle it."""
        held.settling = False
        self._new.set()

    def let_go(self, held: Held) -> None:
        """The message is not held any more."""
        self._held.pop(held.message.id, None)

    async def extend_forever(self) -> None:
        """Extend the messages that are due, until cancelled."""
        # In tasks: a call that hangs must not delay the others.
        async with asyncio.TaskGroup() as group:
            while True:
                if not any(not held.settling for held in self._held.values()):
                    self._new.clear()
                    await self._new.wait()
                # Do not sleep until the next one is due: new messages and failed extensions may be due earlier. Wake up
                # rarely enough that several are due together and share a call.
                await self._clock.sleep(min(self._timeout, MIN_VISIBILITY) / 50)
                now = self._clock.monotonic()
                due = [held for held in self._held.values() if held.extend_at <= now and not held.settling]
                for first in range(0, len(due), BATCH):
                    batch = due[first : first + BATCH]
                    for held in batch:
                        held.extend_at = math.inf
                    group.create_task(self._extend(batch))

    async def _extend(self, batch: list[Held]) -> None:
        async with self._calls:
            now = self._clock.monotonic()
            ours = [held for held in batch if self._is_extensible(held, now)]
            wishes = {held.receipt: self._extension(held, now) for held in ours}
            if not wishes:
                return
            answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            for held in ours:
                held.extension = answered
            failed: dict[str, Exception]
            try:
                failed = await self._queue.show_after(list(wishes.items()))
            except Exception as error:  # noqa: BLE001 - logged below and retried; otherwise all messages would be redelivered
                failed = dict.fromkeys(wishes, error)
            finally:
                for held in ours:
                    held.extension = None
                answered.set_result(None)
        for held in ours:
            if held.receipt not in wishes:
                continue  # it was received again meanwhile: this answer is about the old receipt
            problem = failed.get(held.receipt)
            if problem is None:
                held.hidden_until = now + wishes[held.receipt]
                held.extend_at = now + wishes[held.receipt] / 2
            elif isinstance(problem, ReceiptLost):
                self._lose(held, str(problem))
            else:
                retry_in = min(MAX_RETRY_DELAY, max(1.0, (held.hidden_until - now) / 2))
                # After a refusal for its length, there is nothing to try. The message becomes visible and is received again.
                held.extend_at = math.inf if isinstance(problem, DelayRefused) else now + retry_in
                log.warning("extension_failed", queue=self._queue.name, message=held.message.id, reason=str(problem))

    def _is_extensible(self, held: Held, now: float) -> bool:
        """A message near the limit becomes visible. If it is received here, its new receipt is kept."""
        is_ours = self._held.get(held.message.id) is held and not held.settling
        # A timeout of twelve hours fits only once. But the receive of an idle queue hides its message for a shorter time.
        return is_ours and now - held.since + min(self._timeout, MAX_HOLD / 2) <= MAX_HOLD

    def _extension(self, held: Held, now: float) -> float:
        """Seconds, in whole numbers as SQS counts."""
        grown = max(self._timeout, min(now - held.since, MAX_EXTENSION))
        return float(max(1, int(min(grown, held.since + MAX_HOLD - now))))

    def _lose(self, held: Held, reason: str) -> None:
        """Another consumer has the message: stop, and let it finish."""
        log.warning("receipt_lost", queue=self._queue.name, message=held.message.id, reason=reason)
        held.lost = True
        if held.task is not None:
            held.task.cancel()
