"""Keeping messages hidden for as long as they are ours.

SQS shows a message to others when its visibility timeout has passed, whether or not its work is done. So each held
message's visibility is extended at half its time, again and again, until it is settled, not until it is parsed.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

import structlog

from jibe_sqs.core.errors import QueueError, ReceiptLost
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


class Holds:
    """The messages of one queue that are in our hands."""

    def __init__(self, *, queue: Queue, clock: Clock, visibility_timeout: float) -> None:
        """`visibility_timeout`: the queue's own, in seconds."""
        self._queue = queue
        self._clock = clock
        self._timeout = visibility_timeout
        self._held: dict[str, Held] = {}
        self._new = asyncio.Event()
        # One extension at a time, and none while a message is settled: the later of two answers would win.
        self._extending = asyncio.Lock()

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[Held]:
        return iter(list(self._held.values()))

    def hold(self, message: Message, received_at: float) -> Held | None:
        """Take a message into our hands. None if it already is: then only its newest receipt is taken over.

        `received_at`: by the monotonic clock.
        """
        hidden_until = received_at + self._timeout
        extend_at = received_at + self._timeout / 2
        known = self._held.get(message.id)
        if known is not None:
            known.receipt, known.hidden_until, known.extend_at = message.receipt, hidden_until, extend_at
            return None
        held = Held(message, message.receipt, received_at, hidden_until, extend_at)
        self._held[message.id] = held
        self._new.set()
        return held

    async def settle(self, held: Held) -> None:
        """Extend it no more. When this returns, no extension of it is on its way."""
        async with self._extending:
            held.settling = True

    def let_go(self, held: Held) -> None:
        """It is out of our hands."""
        self._held.pop(held.message.id, None)

    async def extend_forever(self) -> None:
        """Extend whatever is due, until cancelled."""
        while True:
            ours = [held for held in self._held.values() if not held.settling]
            if not ours:
                self._new.clear()
                await self._new.wait()
                continue
            next_due = min(held.extend_at for held in ours)
            # Waiting a little more than needed, several fall due together and share a call.
            await self._clock.sleep(max(next_due - self._clock.monotonic(), self._timeout / 50))
            due = iter([held for held in self if held.extend_at <= self._clock.monotonic()])
            while batch := list(islice(due, BATCH)):
                await self._extend(batch)

    async def _extend(self, batch: list[Held]) -> None:
        async with self._extending:
            now = self._clock.monotonic()
            ours = [held for held in batch if held.message.id in self._held and not held.settling]
            wishes = {held.receipt: self._extension(held, now) for held in ours}
            if not wishes:
                return
            try:
                failed = await self._queue.show_after(list(wishes.items()))
            except QueueError as error:
                failed = dict.fromkeys(wishes, error)
        for held in ours:
            problem = failed.get(held.receipt)
            if problem is None and held.receipt in wishes:
                held.hidden_until = now + wishes[held.receipt]
                held.extend_at = now + wishes[held.receipt] / 2
            elif isinstance(problem, ReceiptLost):
                self._lose(held, str(problem))
            else:
                held.extend_at = now + min(RETRY, max(1.0, (held.hidden_until - now) / 2))
                log.warning("extension_failed", queue=self._queue.name, message=held.message.id, reason=str(problem))

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
