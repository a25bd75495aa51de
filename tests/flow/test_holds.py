"""Held messages stay hidden until they are settled, and no longer than SQS allows."""

import asyncio
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest

from jibe_sqs.consuming.holds import MAX_EXTENSION, MAX_HOLD, Holds
from jibe_sqs.core.errors import DelayRefused, QueueUnavailable, ReceiptLost

HOUR = 3600.0


class Hands:
    """The holds of an in-memory queue."""

    def __init__(self, flow, visibility_timeout: float = 30.0) -> None:
        self.queue = flow.InMemoryQueue(visibility_timeout=visibility_timeout)
        self.clock = flow.VirtualClock()
        self.holds = Holds(queue=self.queue, clock=self.clock, visibility_timeout=visibility_timeout)

    async def take(self):
        (message,) = await self.queue.receive(1, wait=0, visibility=self.queue.visibility_timeout)
        return self.holds.hold(message, self.clock.monotonic())

    @property
    def extensions(self):
        return self.queue.calls["show_after"]

    @asynccontextmanager
    async def extending(self):
        task = asyncio.create_task(self.holds.extend_forever())
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def hands(flow):
    return Hands(flow)


async def test_extensions_grow_with_the_time_that_a_message_is_held_up_to_a_limit(hands):
    hands.queue.send("body")
    held = await hands.take()
    async with hands.extending():
        await asyncio.sleep(3 * HOUR)
    delays = [call.delays[0] for call in hands.extensions]
    assert delays[0] == 30
    assert delays == sorted(delays)
    assert delays[-1] == MAX_EXTENSION
    assert len(delays) < 60  # a day needs few calls
    for earlier, later in pairwise(hands.extensions):
        assert later.at < earlier.at + earlier.delays[0]
    assert hands.queue.visible_in(held.message.id) > 0


@pytest.mark.parametrize("visibility_timeout", [30.0, 900.0, 43_200.0])
async def test_no_extension_exceeds_twelve_hours_after_the_receive(flow, visibility_timeout):
    """SQS makes a message visible at most twelve hours after its receive, and refuses a longer extension."""
    hands = Hands(flow, visibility_timeout)
    hands.queue.send("body")
    await hands.take()
    async with hands.extending():
        await asyncio.sleep(13 * HOUR)
    assert max((call.at + call.delays[0] for call in hands.extensions), default=0.0) <= MAX_HOLD
    # At the limit, there are no more extensions. Otherwise there would be two calls a second for half an hour.
    assert not [call for call in hands.extensions if call.at > MAX_HOLD]
    assert bool(hands.extensions) == (visibility_timeout < 43_200)
    assert len(hands.extensions) < 200


async def test_a_message_that_is_received_again_after_the_longest_hold_is_held_again(hands):
    id_ = hands.queue.send("body")
    held = await hands.take()
    async with hands.extending():
        await asyncio.sleep(MAX_HOLD + HOUR)
        assert id_ in hands.queue.waiting
        assert await hands.take() is None  # it is held already
        await asyncio.sleep(HOUR)
        assert id_ not in hands.queue.waiting
    assert held.receipt == f"{id_}#2"
    assert not held.lost


async def test_a_lost_receipt_cancels_the_work(hands):
    id_ = hands.queue.send("body")
    held = await hands.take()
    held.task = asyncio.create_task(asyncio.sleep(HOUR))
    hands.queue.entry_errors["show_after"] = {id_: [ReceiptLost("not in flight")]}
    async with hands.extending():
        await asyncio.wait([held.task])
    assert held.task.cancelled()
    assert held.lost
    assert asyncio.get_running_loop().time() < 20


async def test_a_message_that_is_received_again_during_its_extension_is_not_lost(hands):
    """The answer to that extension is about the old receipt."""
    id_ = hands.queue.send("body")
    held = await hands.take()
    hands.queue.latency["show_after"] = 5
    async with hands.extending():
        await asyncio.sleep(17)
        hands.queue.make_visible(id_)
        await hands.take()
        await asyncio.sleep(60)
    assert not held.lost
    assert held.receipt == f"{id_}#2"
    assert id_ not in hands.queue.waiting


async def test_an_extension_that_is_refused_for_its_length_is_not_tried_again(hands):
    """The message becomes visible, and its work goes on under the receipt of its next receive."""
    id_ = hands.queue.send("body")
    hands.queue.entry_errors["show_after"][id_] = [DelayRefused("beyond the limit")]
    held = await hands.take()
    async with hands.extending():
        await asyncio.sleep(31)
        assert len(hands.extensions) == 1
        assert hands.queue.waiting == [id_]
        assert not held.lost
        assert await hands.take() is None
        await asyncio.sleep(60)
    assert held.receipt in hands.extensions[-1].receipts
    assert hands.queue.visible_in(id_) > 0


async def test_failed_extensions_are_retried_before_the_message_becomes_visible(hands):
    id_ = hands.queue.send("body")
    await hands.take()
    hands.queue.errors["show_after"] = [QueueUnavailable("503")] * 4
    async with hands.extending():
        await asyncio.sleep(60)
    assert len(hands.queue.deliveries) == 1
    assert id_ not in hands.queue.waiting


async def test_one_hanging_call_does_not_block_the_extension_of_other_messages(hands):
    first = hands.queue.send("hangs")
    await hands.take()
    show_after = hands.queue.show_after

    async def hanging(delays):
        if delays[0][0].startswith(first + "#"):
            await asyncio.sleep(300)
        return await show_after(delays)

    hands.queue.show_after = hanging
    async with hands.extending():
        await asyncio.sleep(5)
        second = hands.queue.send("well")
        await hands.take()
        await asyncio.sleep(100)
        assert second not in hands.queue.waiting


async def test_a_message_that_is_settled_or_let_go_is_not_extended(hands):
    hands.queue.send("settled")
    settled = await hands.take()
    hands.queue.send("let go")
    gone = await hands.take()
    async with hands.extending():
        await hands.holds.settle(settled)
        hands.holds.let_go(gone)
        await asyncio.sleep(300)
    assert not hands.extensions
    assert [held.message.body for held in hands.holds] == [b"settled"]


async def test_settle_waits_for_the_extension_in_flight_of_its_own_message_only(flow, hands):
    hands.queue.send("early")
    early = await hands.take()
    await asyncio.sleep(8)
    hands.queue.send("late")
    late = await hands.take()
    hands.queue.latency["show_after"] = 5
    async with hands.extending():
        await flow.until(lambda: hands.extensions)
        left_at = hands.extensions[0].at
        await hands.holds.settle(late)
        assert flow.time() < left_at + 1
        await hands.holds.settle(early)
        assert flow.time() == pytest.approx(left_at + 5)


async def test_without_held_messages_there_are_no_calls(hands):
    async with hands.extending() as task:
        await asyncio.sleep(HOUR)
        assert not task.done()
    assert not hands.extensions


async def test_a_visibility_timeout_of_zero_causes_no_endless_loop(flow):
    hands = Hands(flow, 0.0)
    hands.queue.send("body")
    await hands.take()
    async with hands.extending():
        await asyncio.sleep(60)
    assert len(hands.extensions) <= 120
