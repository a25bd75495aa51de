"""SQS with every behaviour that its documentation allows."""

import asyncio
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Protocol

from jibe_sqs.core.errors import DelayRefused, QueueError, QueueRefused, QueueUnavailable, ReceiptLost
from jibe_sqs.core.model import Message, Reject
from jibe_sqs.core.verdicts import OUTAGE_DELAY
from jibe_sqs.ports import QueueDepth, QueueFacts
from proof.simulation.judge import Judge
from proof.simulation.kinds import DAY
from proof.simulation.loop import PROCESS, WORLD, Process, SeededLoop
from proof.simulation.network import Network, later
from proof.simulation.storage import EPOCH, Announcement

RECEIVE_LIMIT = 10
RETENTION = 4 * DAY
"""SQS's default. No world lasts for so long, if it has no other retention."""
LONGEST_HOLD = 11.5 * 3600.0 - 60.0
MAX_HIDDEN = 12 * 3600.0
"""Seconds from the receive."""


@dataclass(eq=False)
class Stored:
    id: str
    announcement: Announcement
    sent_at: float
    visible_at: float
    received_at: float = 0.0
    first_visible_at: float = 0.0
    """When it was sent, or delivered again."""
    receive_count: int = 0
    receipt: str = ""
    is_exempt: bool = True
    """It may become visible although it is held, because a call of its holder failed, or SQS delivers it twice."""
    holder: Process | None = None
    """The process that received it last."""

    @property
    def is_cut_short(self) -> bool:
        """Whether a fault may have ended its last receive."""
        return self.is_exempt or self.holder is None or not self.holder.is_undisturbed


@dataclass(eq=False)
class _Poll:
    limit: int
    visibility: float
    until: float
    process: Process | None
    found: "asyncio.Future[list[Message]]"
    has_trouble: Callable[[], bool]
    """Whether its answer does not arrive, or arrives late."""


class Sqs:
    """The server of one queue. `max_receives` is set in its redrive policy. `dead_letters`: id -> reason."""

    def __init__(self, name: str, chance: Random, judge: Judge, network: Network, loop: SeededLoop) -> None:
        self.name = name
        self._chance = chance
        self._judge = judge
        self._network = network
        self._loop = loop
        self.visibility_timeout = chance.choice([20.0, 30.0, 120.0])
        self.max_receives = chance.choice([None, None, 4, 10])
        self.takes_dead_letters = self.max_receives is None or chance.random() < 0.8
        self.messages: dict[str, Stored] = {}
        self.announcements: dict[str, Announcement] = {}
        self.dead_letters: dict[str, Reject | None] = {}
        self.redeliveries_due = 0
        """Messages that SQS is going to deliver once more."""
        self.duplicates = chance.choice([0.0, 0.0, 0.05, 0.2])
        self.entry_failures = chance.choice([0.0, 0.0, 0.1])
        self.retention = RETENTION
        """Seconds after which a message is deleted, also if it is hidden."""
        self.expired: set[str] = set()
        self.refusals: list[tuple[float, float]] = []
        """When it refuses every call: as a queue that does not exist, or that we may not use."""
        self.is_held: Callable[[Stored], bool] = lambda _: False
        self.check_again: Callable[[Stored, bool], None] = lambda *_: None
        """Checks that a message may be received again now, or be a dead letter (True)."""
        self.room_asked: list[int] = []
        """The limit of each receive that found more than a batch."""
        self._ids = itertools.count(1)
        self._receipts = itertools.count(1)
        self._polls: list[_Poll] = []
        for call in ("receive", "delete", "show", "reject"):
            network.add(f"{name} {call}")

    def stop_faults(self) -> None:
        """Deliver no duplicates and fail no entries from now on."""
        self.duplicates = self.entry_failures = 0.0

    def send(self, announcement: Announcement) -> None:
        id_ = f"{self.name}-{next(self._ids)}"
        now = self._loop.time()
        self.announcements[id_] = announcement
        if self.retention != RETENTION:
            later(self.retention, self._expire, id_)
        self._judge.record("sent", id_, *(file.key[-9:-5] for file in announcement.files))
        self._add(Stored(id_, announcement, EPOCH + now, now))
        if self._chance.random() < self.duplicates:
            # A topic, too, may deliver a message more than once.
            self.redeliveries_due += 1
            later(self._chance.random() * 60, self._send_again, announcement)

    def _expire(self, id_: str) -> None:
        self.expired.add(id_)
        if self.messages.pop(id_, None) is not None:
            self._judge.record("expired", id_)

    def _send_again(self, announcement: Announcement) -> None:
        self.redeliveries_due -= 1
        self.send(announcement)

    def facts(self) -> QueueFacts:
        return QueueFacts(
            visibility_timeout=self.visibility_timeout,
            max_receives=self.max_receives,
            dead_letters="dlq" if self.takes_dead_letters else None,
            retention=self.retention,
        )

    def check_access(self) -> None:
        """Raise `QueueRefused` if it refuses calls now."""
        if self.is_refusing_since(self._loop.time()):
            raise QueueRefused("no such queue")

    def is_refusing_since(self, time: float) -> bool:
        """Whether it has refused calls since this time, at least for a while."""
        return any(begin <= self._loop.time() and time < end for begin, end in self.refusals)

    def poll(
        self, limit: int, wait: float, visibility: float, process: Process | None, *, has_trouble: Callable[[], bool]
    ) -> "asyncio.Future[list[Message]]":
        self.check_access()
        poll = _Poll(limit, visibility, self._loop.time() + wait, process, self._loop.create_future(), has_trouble)
        if not wait and len(self.visible()) >= RECEIVE_LIMIT:
            self.room_asked.append(limit)
        self._polls.append(poll)
        self._answer(poll)
        return poll.found

    def _add(self, stored: Stored) -> None:
        stored.first_visible_at = self._loop.time()
        self.messages[stored.id] = stored
        self._wake()

    def _wake(self) -> None:
        for poll in list(self._polls):
            self._answer(poll)

    def _answer(self, poll: _Poll) -> None:
        if poll.found.done():
            return
        now = self._loop.time()
        found = self._take_visible(poll)
        if found or now >= poll.until:
            self._polls.remove(poll)
            poll.found.set_result(found)
            return
        is_refusing = self.is_refusing_since(now)
        shows = min(
            (poll.until if is_refusing else each.visible_at for each in self.messages.values()), default=poll.until
        )
        self._loop.call_at(min(poll.until, max(shows, now)), self._answer, poll, context=WORLD)

    def visible(self) -> list[Stored]:
        """The messages that can be received now."""
        now = self._loop.time()
        return [stored for stored in self.messages.values() if stored.visible_at <= now]

    def _take_visible(self, poll: _Poll) -> list[Message]:
        visible = [] if self.is_refusing_since(self._loop.time()) else self.visible()
        self._chance.shuffle(visible)
        found: list[Message] = []
        for stored in visible:
            if len(found) >= poll.limit:
                break
            if self.max_receives is not None and stored.receive_count >= self.max_receives:
                del self.messages[stored.id]
                self.dead_letters.setdefault(stored.id, None)
                self._judge.record("redriven", stored.id)
                self.check_again(stored, True)
                continue
            found.append(self._deliver(stored, poll))
            if len(found) < poll.limit and self._chance.random() < self.duplicates:
                stored.is_exempt = True
                found.append(self._deliver(stored, poll))
        return found

    def _deliver(self, stored: Stored, poll: _Poll) -> Message:
        is_exempt = stored.is_exempt or self._loop.time() - stored.received_at > LONGEST_HOLD
        held = not is_exempt and self.is_held(stored)
        self._judge.require(not held, "a held message is not delivered to others", stored.id)
        if stored.receive_count:
            self.check_again(stored, False)
        stored.receive_count += 1
        stored.receipt = f"{stored.id}#{next(self._receipts)}"
        stored.received_at = self._loop.time()
        stored.visible_at = stored.received_at + poll.visibility
        stored.is_exempt, stored.holder = poll.has_trouble(), poll.process
        self._judge.record("received", stored.receipt, stored.receive_count)
        if stored.receive_count > 1:
            self._judge.totals["received again"] += 1
        if self._chance.random() < self.duplicates:
            self.redeliveries_due += 1
            stored.is_exempt = True
            later(self._chance.random() * self.visibility_timeout, self._deliver_again, stored)
        body = stored.announcement.body.encode()
        return Message(stored.id, stored.receipt, body, stored.receive_count, stored.sent_at)

    def _deliver_again(self, stored: Stored) -> None:
        """Deliver it again: one server of SQS did not know that the message was received or deleted."""
        self.redeliveries_due -= 1
        if stored.id not in self.dead_letters and stored.id not in self.expired:
            self._judge.record("visible again", stored.id)
            stored.visible_at = self._loop.time()
            stored.is_exempt = True
            self._add(stored)

    def stored(self, receipt: str) -> Stored | None:
        return self.messages.get(receipt.partition("#")[0])

    def exempt(self, receipts: Sequence[str]) -> None:
        for receipt in receipts:
            if stored := self.stored(receipt):
                stored.is_exempt = True

    def delete(self, receipts: Sequence[str]) -> dict[str, Exception]:
        return self._each(receipts, self._delete)

    def _delete(self, receipt: str, stored: Stored) -> None:
        self._judge.record("deleted", receipt)
        del self.messages[stored.id]
        if self._chance.random() < self.duplicates / 2:
            self.redeliveries_due += 1
            later(self._chance.random() * 60, self._deliver_again, stored)

    def show_after(self, delays: Sequence[tuple[str, float]]) -> dict[str, Exception]:
        requested = dict(delays)
        return self._each(
            list(requested), lambda receipt, stored: self._show_after(receipt, stored, requested[receipt])
        )

    def _show_after(self, receipt: str, stored: Stored, delay: float) -> None:
        self._judge.record("visibility set", receipt, delay)
        if stored.visible_at <= self._loop.time():
            raise ReceiptLost("not in flight")
        if self._loop.time() + delay > stored.received_at + MAX_HIDDEN:
            self._judge.require(False, "no message is hidden for more than twelve hours", receipt, delay)
            raise DelayRefused("beyond the limit")
        stored.visible_at = self._loop.time() + delay
        if delay >= OUTAGE_DELAY:
            # It waits for its bucket in the queue.
            stored.first_visible_at = stored.visible_at
        self._wake()

    def _each(self, receipts: Sequence[str], apply: Callable[[str, Stored], None]) -> dict[str, Exception]:
        """The errors by receipt. For an old receipt, SQS may report success although it does nothing."""
        failed: dict[str, Exception] = {}
        if self.is_refusing_since(self._loop.time()):
            self.exempt(receipts)
            self.check_access()
        for receipt in receipts:
            stored = self.stored(receipt)
            if stored is not None and self._chance.random() < self.entry_failures:
                stored.is_exempt = True
                failed[receipt] = QueueUnavailable("InternalError")
            elif stored is not None and stored.receipt == receipt:
                try:
                    apply(receipt, stored)
                except QueueError as error:
                    failed[receipt] = error
            elif stored is not None and self._chance.random() < 0.5:
                failed[receipt] = ReceiptLost("stale")
        return failed

    def reject(self, message: Message, why: Reject) -> bool:
        if self.is_refusing_since(self._loop.time()):
            self.exempt([message.receipt])
        self.check_access()
        if not self.takes_dead_letters:
            return False
        self.dead_letters[message.id] = why
        self._judge.record("dead-lettered", message.id, why.error)
        return True


class MayAbandon(Protocol):
    """Whether a receive in flight may be cancelled now. `is_long`: a long poll. `max_receives`: see `Sqs`."""

    def __call__(self, *, is_long: bool, max_receives: int | None) -> bool: ...


class SimulatedQueue:
    """The `Queue` port, for one process.

    `check_delete` and `check_reject` check each call. `may_abandon_receive` says whether a receive in flight may be
    cancelled now.
    """

    def __init__(
        self,
        sqs: Sqs,
        network: Network,
        judge: Judge,
        *,
        check_delete: Callable[[str], None],
        check_reject: Callable[[Message, Reject], None],
        may_abandon_receive: MayAbandon,
    ) -> None:
        self.name = sqs.name
        self.sqs = sqs
        self._network = network
        self._judge = judge
        self._check_delete = check_delete
        self._check_reject = check_reject
        self._may_abandon_receive = may_abandon_receive
        self.batches_in_flight = 0

    async def facts(self) -> QueueFacts:
        def facts() -> QueueFacts:
            self.sqs.check_access()
            return self.sqs.facts()

        return await self._network.call(f"{self.name} receive", facts, QueueUnavailable)

    async def depth(self) -> QueueDepth:
        def depth() -> QueueDepth:
            self.sqs.check_access()
            return QueueDepth(0, 0, self.sqs.facts().retention)

        return await self._network.call(f"{self.name} receive", depth, QueueUnavailable)

    async def receive(self, limit: int, *, wait: float, visibility: float) -> Sequence[Message]:
        self._judge.require(1 <= limit <= 10, "a receive asks for 1 to 10 messages", limit)
        trouble: list[bool] = []
        polls: list[asyncio.Future[list[Message]]] = []
        process = PROCESS.get()
        self.batches_in_flight += not wait

        def poll() -> "asyncio.Future[list[Message]]":
            found = self.sqs.poll(limit, wait, visibility, process, has_trouble=lambda: bool(trouble))
            polls.append(found)
            return found

        call: asyncio.Future[list[Message]] = self._network.call(
            f"{self.name} receive",
            poll,
            QueueUnavailable,
            on_trouble=lambda: trouble.append(True),
        )
        try:
            return await call
        except asyncio.CancelledError:
            may = self._may_abandon_receive(is_long=wait > 0, max_receives=self.sqs.max_receives)
            self._judge.require(may, "no receive is cancelled in flight", self.name)
            self._judge.totals["abandoned polls"] += wait > 0
            # The server does not notice it. What it delivers to this poll is visible again after the visibility timeout.
            trouble.append(True)
            for found in polls:
                self.sqs.exempt([message.receipt for message in found.result()] if found.done() else [])
            raise
        finally:
            self.batches_in_flight -= not wait

    async def delete(self, receipts: Sequence[str]) -> dict[str, Exception]:
        self._judge.require(1 <= len(set(receipts)) == len(receipts) <= 10, "a batch has 1 to 10 receipts", receipts)
        for receipt in receipts:
            self._check_delete(receipt.partition("#")[0])
        return await self._network.call(
            f"{self.name} delete",
            partial(self.sqs.delete, list(receipts)),
            QueueUnavailable,
            on_trouble=partial(self.sqs.exempt, receipts),
        )

    async def show_after(self, delays: Sequence[tuple[str, float]]) -> dict[str, Exception]:
        self._judge.require(1 <= len(dict(delays)) == len(delays) <= 10, "a batch has 1 to 10 receipts", delays)
        return await self._network.call(
            f"{self.name} show",
            partial(self.sqs.show_after, list(delays)),
            QueueUnavailable,
            on_trouble=partial(self.sqs.exempt, [receipt for receipt, _ in delays]),
        )

    async def reject(self, message: Message, why: Reject) -> bool:
        self._check_reject(message, why)
        return await self._network.call(
            f"{self.name} reject",
            partial(self.sqs.reject, message, why),
            QueueUnavailable,
            on_trouble=partial(self.sqs.exempt, [message.receipt]),
        )
