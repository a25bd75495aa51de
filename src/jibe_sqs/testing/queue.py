"""An SQS queue."""

import asyncio
import itertools
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from jibe_sqs.core.errors import DelayRefused, ReceiptLost
from jibe_sqs.core.model import Message, Reject
from jibe_sqs.ports import QueueDepth, QueueFacts
from jibe_sqs.testing.loop_time import has_come, loop_time

MAX_BATCH: Final = 10
"""Messages in one call. Limit of SQS."""
MAX_DELAY: Final = 43_200
"""Seconds for which a message can be hidden in all, from its receive. Limit of SQS."""


@dataclass
class QueueCall:
    """One call: its time, its receipts, the delay of each receipt (for `show_after`), and the limit (for `receive`)."""

    at: float
    receipts: list[str] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)
    limit: int = 0


@dataclass
class _Stored:
    id: str
    body: bytes
    sent_at: float
    visible_at: float
    expires_at: float
    trace: str = ""
    received_at: float = 0.0
    receive_count: int = 0
    receipt: str = ""

    @property
    def is_visible(self) -> bool:
        return has_come(self.visible_at)


@dataclass
class _Poll:
    """A long poll that its caller has abandoned."""

    limit: int
    visibility: float
    until: float


class InMemoryQueue:
    """The `Queue` port, with the behaviour of an SQS standard queue.

    A received message is hidden for as long as the receive asks, and then visible again under the same id; the next
    receive gives it a new receipt. A message that was received `max_receives` times becomes a dead letter instead of being
    received once more. A call with an old receipt fails with `ReceiptLost`; a delay that ends later than twelve hours after
    the receive, with `DelayRefused`. A message that is `retention` seconds old is deleted.

    Slow: `latency[call]`, seconds that pass before the call takes effect. Failing: `errors[call]` lists errors, one for
    each of the next calls; `entry_errors[call][id]` does the same for one message of a batch. The calls are `facts`, `depth`,
    `receive`, `delete`, `show_after` and `reject`. `duplicates`: the number of messages that the next receives return twice.

    A long poll that is cancelled goes on at the server: until its time is over, it takes messages that nobody gets.

    What happened: `calls[call]`; `deliveries` and `deleted`, each with the id of the message and the time; `expired`, the ids;
    `dead_letters`, each with the id and the reason (None if the queue itself moved it); `receiving`, the number of receives
    in progress; `cancelled_receives` and `abandoned_polls`, the numbers of short receives and of long polls that were cancelled.
    """

    def __init__(
        self,
        name: str = "queue",
        *,
        visibility_timeout: float = 30.0,
        max_receives: int | None = None,
        dead_letters: bool = True,
        retention: float = 345_600.0,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """`visibility_timeout` in seconds. `dead_letters`: whether there is a dead-letter queue that can be written to.

        `wall_clock` gives the times at which messages were sent, in seconds since the epoch.
        """
        self.name = name
        self.visibility_timeout = visibility_timeout
        self.max_receives = max_receives
        self.has_dead_letters = dead_letters
        self.retention = retention
        self.expired: list[str] = []
        self.messages: dict[str, _Stored] = {}
        self.deleted: list[tuple[str, float]] = []
        self.dead_letters: list[tuple[str, Reject | None]] = []
        self.calls: defaultdict[str, list[QueueCall]] = defaultdict(list)
        self.latency: Counter[str] = Counter()
        self.errors: defaultdict[str, list[Exception]] = defaultdict(list)
        self.entry_errors: defaultdict[str, dict[str, list[Exception]]] = defaultdict(dict)
        self.duplicates = 0
        self.receiving = 0
        self.cancelled_receives = self.abandoned_polls = 0
        self.deliveries: list[tuple[str, float]] = []
        self._wall_clock = wall_clock
        self._ids = itertools.count(1)
        self._receipts = itertools.count(1)
        self._sent = asyncio.Event()
        self._abandoned: list[_Poll] = []

    # For your test

    def facts_now(self) -> QueueFacts:
        """The answer of `facts`, without waiting."""
        return QueueFacts(
            self.visibility_timeout, self.max_receives, "dlq" if self.has_dead_letters else None, self.retention
        )

    def send(self, body: str, *, trace: str = "") -> str:
        """Add a message that is visible at once. Returns its id. `trace`: the sender's, as an X-Ray header."""
        id_ = f"m{next(self._ids)}"
        now = loop_time()
        self.messages[id_] = _Stored(
            id_, body.encode("utf-8", "surrogatepass"), self._wall_clock(), now, now + self.retention, trace
        )
        self._shown()
        return id_

    def make_visible(self, id_: str) -> None:
        """Make the message visible at once, as if its visibility timeout had ended."""
        self.messages[id_].visible_at = loop_time()
        self._shown()

    def visible_in(self, id_: str) -> float:
        """Seconds until the message becomes visible; not positive if it is visible now."""
        return self.messages[id_].visible_at - loop_time()

    @property
    def waiting(self) -> list[str]:
        """The ids of the visible messages, in the order in which they were sent."""
        return [each.id for each in self.messages.values() if each.is_visible]

    # The port

    async def facts(self) -> QueueFacts:
        await self._reached("facts")
        return self.facts_now()

    async def depth(self) -> QueueDepth:
        await self._reached("depth")
        self._expire()
        visible = len(self.waiting)
        return QueueDepth(visible, len(self.messages) - visible, self.retention)

    async def receive(self, limit: int, *, wait: float, visibility: float) -> Sequence[Message]:
        _check_size(limit)
        self.calls["receive"].append(QueueCall(loop_time(), limit=limit))
        self.receiving += 1
        until = loop_time() + wait
        try:
            await self._reached("receive")
            return await self._long_poll(limit, visibility, until)
        except asyncio.CancelledError:
            if wait:
                self.abandoned_polls += 1
                self._abandoned.append(_Poll(limit, visibility, until))
            else:
                self.cancelled_receives += 1
            raise
        finally:
            self.receiving -= 1

    async def delete(self, receipts: Sequence[str]) -> dict[str, Exception]:
        _check_size(len(receipts))
        self.calls["delete"].append(QueueCall(loop_time(), list(receipts)))
        await self._reached("delete")
        failed: dict[str, Exception] = {}
        for receipt in receipts:
            id_ = receipt.partition("#")[0]
            stored = self.messages.get(id_)
            if (error := self._entry_error("delete", id_)) is not None:
                failed[receipt] = error
            elif stored is not None and stored.receipt != receipt:
                failed[receipt] = ReceiptLost("stale receipt")
            elif stored is not None:
                del self.messages[id_]
                self.deleted.append((id_, loop_time()))
        return failed

    async def show_after(self, delays: Sequence[tuple[str, float]]) -> dict[str, Exception]:
        _check_size(len(delays))
        self.calls["show_after"].append(
            QueueCall(loop_time(), [each[0] for each in delays], [each[1] for each in delays])
        )
        await self._reached("show_after")
        failed: dict[str, Exception] = {}
        for receipt, delay in delays:
            if not 0 <= delay <= MAX_DELAY:
                raise AssertionError(f"SQS takes a delay of 0 to {MAX_DELAY} seconds, not {delay}")
            id_ = receipt.partition("#")[0]
            stored = self.messages.get(id_)
            if (error := self._entry_error("show_after", id_)) is not None:
                failed[receipt] = error
            elif stored is None or stored.receipt != receipt or stored.is_visible:
                failed[receipt] = ReceiptLost("not in flight")
            elif loop_time() + delay > stored.received_at + MAX_DELAY:
                failed[receipt] = DelayRefused("beyond the limit")
            else:
                stored.visible_at = loop_time() + delay
                self._shown()
        return failed

    async def reject(self, message: Message, why: Reject) -> bool:
        await self._reached("reject")
        if self.has_dead_letters:
            self.dead_letters.append((message.id, why))
        return self.has_dead_letters

    async def _reached(self, call: str) -> None:
        if self.latency[call]:
            await asyncio.sleep(self.latency[call])
        if self.errors[call]:
            raise self.errors[call].pop(0)

    def _entry_error(self, call: str, id_: str) -> Exception | None:
        errors = self.entry_errors[call].get(id_)
        return errors.pop(0) if errors else None

    def _shown(self) -> None:
        """A message may be visible now."""
        polls, self._abandoned = self._abandoned, []
        for poll in polls:
            if not has_come(poll.until) and not self._take_visible(poll.limit, poll.visibility):
                self._abandoned.append(poll)
        self._sent.set()

    async def _long_poll(self, limit: int, visibility: float, deadline: float) -> list[Message]:
        while True:
            if found := self._take_visible(limit, visibility):
                return found
            if has_come(deadline):
                return []
            self._sent.clear()
            next_visible = min((each.visible_at for each in self.messages.values()), default=deadline)
            try:
                async with asyncio.timeout_at(min(deadline, next_visible)):
                    await self._sent.wait()
            except TimeoutError:
                pass

    def _take_visible(self, limit: int, visibility: float) -> list[Message]:
        found: list[Message] = []
        self._expire()
        for stored in list(self.messages.values()):
            if not stored.is_visible:
                continue
            if self.max_receives is not None and stored.receive_count >= self.max_receives:
                del self.messages[stored.id]
                self.dead_letters.append((stored.id, None))
                continue
            found.append(self._deliver(stored, visibility))
            if self.duplicates and len(found) < limit:
                self.duplicates -= 1
                found.append(self._deliver(stored, visibility))
            if len(found) >= limit:
                break
        return found

    def _expire(self) -> None:
        for stored in list(self.messages.values()):
            if has_come(stored.expires_at):
                del self.messages[stored.id]
                self.expired.append(stored.id)

    def _deliver(self, stored: _Stored, visibility: float) -> Message:
        stored.receive_count += 1
        stored.receipt = f"{stored.id}#{next(self._receipts)}"
        stored.received_at = loop_time()
        stored.visible_at = stored.received_at + visibility
        self.deliveries.append((stored.id, loop_time()))
        return Message(stored.id, stored.receipt, stored.body, stored.receive_count, stored.sent_at, trace=stored.trace)


def _check_size(size: int) -> None:
    if not 1 <= size <= MAX_BATCH:
        raise AssertionError(f"a call of SQS has 1 to {MAX_BATCH} messages, not {size}")
