"""Keeping messages hidden for as long as they are ours.

SQS shows a message to others when its visibility timeout has passed, whether or not its work is done. So each held
message's visibility is extended at half its time, again and again, until it is settled, not until it is parsed.
"""

import asyncio
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import structlog

from jibe_sqs.core.errors import ReceiptLost
from jibe_sqs.core.model import Message
from jibe_sqs.ports import Clock, Queue

log = structlog.get_logger()

LONGEST_EXTENSION: Final = 600.0
"""Seconds. Extensions grow with the time a message has been held; a crash makes it wait for the rest of the last one."""
LONGEST_HOLD: Final = 11.5 * 3600
"""Seconds. SQS takes a message back twelve hours after its receive, whatever we ask."""
RETRY: Final = 5.0
"""Seconds until a failed extension is tried again, at most."""
BATCH: Final = 10
CALLS: Final = 8
"""Extensions at a time. Ten thousand messages are a thousand calls: one after the other they may outlast the timeout."""


@dataclass(slots=True, eq=False)
class Held:
    """One message in our hands. Times are of the monotonic clock."""

    message: Message
    receipt: str
    since: float
    hidden_until: float
    extend_at: float
    task: "asyncio.Task[None] | None" = field(default=None)
    settling: bool = False
    """Its verdict is known: it is extended no more."""
    lost: bool = False
    """It is somebody else's now."""
    extension: "asyncio.Future[None] | None" = field(default=None)
    """An extension of it that is on its way."""


class Holds:
    """The messages of one queue that are in our hands."""

    def __init__(self, *, queue: Queue, clock: Clock, visibility_timeout: float) -> None:
        """`visibility_timeout`: the queue's own, in seconds."""
        self._queue = queue
        self._clock = clock
        self._timeout = max(1.0, visibility_timeout)
        self._held: dict[str, Held] = {}
        self._new = asyncio.Event()
        self._calls = asyncio.Semaphore(CALLS)

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[Held]:
        return iter(list(self._held.values()))

    def hold(self, message: Message, received_at: float) -> Held | None:
        """Take a message into our hands. None if it already is: then only its newest receipt is taken over.

        `received_at`: by the monotonic clock.
        """
        if self.renew(message, received_at):
            return None
        held = Held(message, message.receipt, received_at, received_at + self._timeout, received_at + self._timeout / 2)
        self._held[message.id] = held
        self._new.set()
        return held

    def renew(self, message: Message, received_at: float) -> bool:
        """Take over the receipt of a message that is in our hands, and was received once more. False if it is not."""
        known = self._held.get(message.id)
        if known is None:
            return False
        known.receipt, known.since = message.receipt, received_at
        known.hidden_until, known.extend_at = received_at + self._timeout, received_at + self._timeout / 2
        return True

    async def settle(self, held: Held) -> None:
        """Extend it no more. When this returns, no extension of it is on its way: the later of two answers would win."""
        held.settling = True
        if held.extension is not None:
            await asyncio.wait([held.extension])

    def let_go(self, held: Held) -> None:
        """It is out of our hands."""
        self._held.pop(held.message.id, None)

    async def extend_forever(self) -> None:
        """Extend whatever is due, until cancelled."""
        # In tasks: a call that hangs must not keep the others waiting.
        async with asyncio.TaskGroup() as group:
            while True:
                if not any(not held.settling for held in self._held.values()):
                    self._new.clear()
                    await self._new.wait()
                # Not until the next is due: newcomers, and those whose extension fails, fall due before. And so often
                # only that several fall due together and share a call.
                await self._clock.sleep(self._timeout / 50)
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
            except Exception as error:  # noqa: BLE001 - logged below, and tried again: without it all would be redelivered
                failed = dict.fromkeys(wishes, error)
            finally:
                for held in ours:
                    held.extension = None
                answered.set_result(None)
        for held in ours:
            if held.receipt not in wishes:
                continue  # received once more meanwhile: what was answered is about the old receipt
            problem = failed.get(held.receipt)
            if problem is None:
                held.hidden_until = now + wishes[held.receipt]
                held.extend_at = now + wishes[held.receipt] / 2
            elif isinstance(problem, ReceiptLost):
                self._lose(held, str(problem))
            else:
                held.extend_at = now + min(RETRY, max(1.0, (held.hidden_until - now) / 2))
                log.warning("extension_failed", queue=self._queue.name, message=held.message.id, reason=str(problem))

    def _is_extensible(self, held: Held, now: float) -> bool:
        """One near the limit is left to show again; if it comes to us, its new receipt is taken over."""
        is_ours = self._held.get(held.message.id) is held and not held.settling
        return is_ours and now - held.since + self._timeout <= LONGEST_HOLD

    def _extension(self, held: Held, now: float) -> float:
        """Seconds. Whole ones, as SQS counts."""
        grown = max(self._timeout, min(now - held.since, LONGEST_EXTENSION))
        return float(max(1, int(min(grown, held.since + LONGEST_HOLD - now))))

    def _lose(self, held: Held, reason: str) -> None:
        """The message is somebody else's now: stop, and let the other owner finish."""
        log.warning("receipt_lost", queue=self._queue.name, message=held.message.id, reason=reason)
        held.lost = True
        if held.task is not None:
            held.task.cancel()
