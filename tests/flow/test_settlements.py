"""Messages are settled by their verdicts."""

import asyncio
from collections import Counter

import msgspec
import pytest
from structlog.testing import capture_logs

from jibe_sqs.consuming import settlements
from jibe_sqs.consuming.holds import MAX_HOLD, Held, Holds
from jibe_sqs.consuming.settlements import DELETE_TRIES, Settlements
from jibe_sqs.core.errors import DelayRefused, QueueUnavailable
from jibe_sqs.core.model import Done, Message, Reject, Retry
from jibe_sqs.core.verdicts import RetryPolicy
from jibe_sqs.telemetry.counters import Counters


class HastyQueue:
    """An SQS that delivers a message again before it answers the call that made the message visible."""

    name = "hasty"

    def __init__(self, held: Held, times: int) -> None:
        self.shown: Counter[str] = Counter()
        self._held = held
        self._times = times

    async def show_after(self, delays):
        for receipt, _ in delays:
            self.shown[receipt] += 1
            if len(self.shown) <= self._times:
                self._held.receipt = f"receipt {len(self.shown)}"
        return {}

    async def reject(self, message, why):
        return False


@pytest.mark.parametrize("verdict", [Retry(0.0, "half a file"), Reject("LogMissing", "gone")], ids=["retry", "reject"])
@pytest.mark.parametrize("times", [0, 1, 3])
async def test_a_message_that_is_received_again_while_it_is_made_visible_is_made_visible_with_its_new_receipt(
    flow, verdict, times
):
    held = Held(Message("id", "receipt 0", b"body"), "receipt 0", 0.0, 30.0, 15.0)
    queue = HastyQueue(held, times)
    settlements = Settlements(queue=queue, policy=RetryPolicy(first=0), clock=flow.VirtualClock(), counters=Counters())
    await settlements.settle(held, verdict)
    assert queue.shown == Counter(f"receipt {number}" for number in range(times + 1))


@pytest.mark.parametrize(
    ("held_for", "delay", "hidden_for"),
    [(0, 900.0, 900.0), (0, 43_200.0, MAX_HOLD), (11, 900.0, 900.0), (11, 3600.0, 1800.0), (11.75, 900.0, 0.0)],
)
async def test_a_retry_hides_a_message_no_longer_than_twelve_hours_after_its_receive(flow, held_for, delay, hidden_for):
    """SQS refuses a longer delay. `held_for` in hours."""
    queue, clock = flow.InMemoryQueue(), flow.VirtualClock()
    id_ = queue.send("body")
    (message,) = await queue.receive(1, wait=0, visibility=43_200.0)
    held = Holds(queue=queue, clock=clock, visibility_timeout=43_200.0).hold(message, clock.monotonic())
    await asyncio.sleep(held_for * 3600)
    settlements = Settlements(queue=queue, policy=RetryPolicy(), clock=clock, counters=Counters())
    await settlements.settle(held, Retry(delay, "why"))
    assert queue.visible_in(id_) == pytest.approx(hidden_for)


async def test_a_delay_that_sqs_refuses_is_logged_and_costs_nothing(flow):
    queue, clock = flow.InMemoryQueue(), flow.VirtualClock()
    id_ = queue.send("body")
    (message,) = await queue.receive(1, wait=0, visibility=30)
    held = Holds(queue=queue, clock=clock, visibility_timeout=30).hold(message, clock.monotonic())
    queue.entry_errors["show_after"][id_] = [DelayRefused("beyond the limit")]
    settlements = Settlements(queue=queue, policy=RetryPolicy(), clock=clock, counters=Counters())
    with capture_logs() as lines:
        await settlements.settle(held, Retry(900.0, "why"))
    assert [(line["event"], line["reason"]) for line in lines[1:]] == [("settling_failed", "beyond the limit")]
    assert [each.id for each in await queue.receive(1, wait=31, visibility=30)] == [id_]


class Settling:
    """Receives and settles the messages of an in-memory queue, one at a time."""

    def __init__(self, flow) -> None:
        self.queue, self.clock, self.counters = flow.InMemoryQueue(), flow.VirtualClock(), Counters()
        self.settlements = Settlements(queue=self.queue, policy=RetryPolicy(), clock=self.clock, counters=self.counters)

    async def settle(self, verdict, *, ours=False) -> str:
        """Settle the next message. Returns its id."""
        (message,) = await self.queue.receive(1, wait=60, visibility=30)
        message = msgspec.structs.replace(message, ours=ours)
        held = Held(message, message.receipt, self.clock.monotonic(), 30.0, 15.0)
        await self.settlements.settle(held, verdict)
        return message.id


@pytest.mark.parametrize("delete_fails", [True, False], ids=["its delete failed", "SQS delivered it once more"])
async def test_a_rejected_message_that_comes_back_is_deleted_without_a_second_dead_letter(flow, delete_fails):
    settling = Settling(flow)
    queue, why = settling.queue, Reject("LogMissing", "gone")
    id_ = queue.send("body")
    if delete_fails:
        queue.entry_errors["delete"][id_] = [QueueUnavailable("InternalError")] * DELETE_TRIES
    stored = queue.messages[id_]
    assert await settling.settle(why) == id_
    queue.messages[id_] = stored
    assert await settling.settle(Reject("LogTruncated", "another reason")) == id_
    assert queue.dead_letters == [(id_, why)]
    assert not queue.messages
    assert settling.counters.rejected == 1
    queue.send("another")
    await settling.settle(why)
    assert len(queue.dead_letters) == 2


async def test_a_file_that_a_sweep_finds_again_is_rejected_again(flow):
    """Its message has the same id. The queue of sweeps must know of the rejection, or it would offer the file at once."""
    settling = Settling(flow)
    why = Reject("LogMissing", "gone")
    id_ = settling.queue.send("body")
    stored = settling.queue.messages[id_]
    await settling.settle(why, ours=True)
    settling.queue.messages[id_] = stored
    await settling.settle(why, ours=True)
    assert settling.queue.dead_letters == [(id_, why), (id_, why)]


async def test_only_so_many_rejected_messages_are_remembered(flow, monkeypatch):
    monkeypatch.setattr(settlements, "MAX_REJECTED", 2)
    settling = Settling(flow)
    for _ in range(5):
        settling.queue.send("body")
    ids = [await settling.settle(Reject("LogMissing", "gone")) for _ in range(5)]
    assert list(settling.settlements._rejected) == ids[-2:]


class ForgivingQueue:
    """An SQS that reports success for a delete with an old receipt, although the message stays in the queue."""

    name = "forgiving"

    def __init__(self, held: Held, redeliveries: int) -> None:
        self.receipts: list[str] = []
        self.is_deleted = False
        self._held = held
        self._redeliveries = redeliveries

    async def delete(self, receipts):
        self.receipts += receipts
        if len(self.receipts) <= self._redeliveries:
            self._held.receipt = f"receipt {len(self.receipts)}"
        self.is_deleted = self._held.receipt in receipts
        return {}


@pytest.mark.parametrize("redeliveries", [0, 1, 3])
async def test_a_delete_with_an_old_receipt_is_repeated_with_the_newest_although_sqs_reports_success(
    flow, redeliveries
):
    held = Held(Message("id", "receipt 0", b"body"), "receipt 0", 0.0, 30.0, 15.0)
    queue = ForgivingQueue(held, redeliveries)
    settlements = Settlements(queue=queue, policy=RetryPolicy(), clock=flow.VirtualClock(), counters=Counters())
    await settlements.settle(held, Done())
    assert queue.is_deleted
    assert queue.receipts == [f"receipt {number}" for number in range(redeliveries + 1)]
