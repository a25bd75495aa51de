"""Keeping messages hidden for as long as they are ours, and no longer than SQS lets us."""

import asyncio
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest

from jibe_sqs.consuming.holds import MAX_EXTENSION, MAX_HOLD, Holds
from jibe_sqs.core.errors import QueueUnavailable, ReceiptLost

HOUR = 3600.0


class Hands:
    """Holds of a simulated queue, and a message in them."""

    def __init__(self, flow, visibility_timeout: float = 30.0) -> None:
        self.queue = flow.InMemoryQueue(visibility_timeout=visibility_timeout)
        self.clock = flow.VirtualClock()
        self.holds = Holds(queue=self.queue, clock=self.clock, visibility_timeout=visibility_timeout)

    async def take(self):
        (message,) = await self.queue.receive(1, wait=0)
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


async def test_extensions_grow_with_the_time_held_up_to_a_cap(hands):
    hands.queue.send("body")
    held = await hands.take()
    async with hands.extending():
        await asyncio.sleep(3 * HOUR)
    delays = [call.delays[0] for call in hands.extensions]
    assert delays[0] == 30
    assert delays == sorted(delays)
    assert delays[-1] == MAX_EXTENSION
    assert len(delays) < 60  # a day's holding costs little
    for earlier, later in pairwise(hands.extensions):
        assert later.at < earlier.at + earlier.delays[0]
    assert hands.queue.visible_in(held.message.id) > 0


@pytest.mark.parametrize("visibility_timeout", [30.0, 900.0, 43_200.0])
async def test_never_asks_for_more_than_sqs_allows_from_the_receive(flow, visibility_timeout):
    """SQS takes a message back twelve hours after its receive, and refuses what goes beyond."""
    hands = Hands(flow, visibility_timeout)
    hands.queue.send("body")
    await hands.take()
    async with hands.extending():
        await asyncio.sleep(13 * HOUR)
    assert max((call.at + call.delays[0] for call in hands.extensions), default=0.0) <= MAX_HOLD
    # The limit reached, it is left alone: not extended by a second, twice a second, for half an hour.
    assert not [call for call in hands.extensions if call.at > MAX_HOLD]
    assert bool(hands.extensions) == (visibility_timeout < 43_200)
    assert len(hands.extensions) < 200


async def test_received_once_more_after_the_longest_hold_it_is_held_anew(hands):
    id_ = hands.queue.send("body")
    held = await hands.take()
    async with hands.extending():
        await asyncio.sleep(MAX_HOLD + HOUR)
        assert id_ in hands.queue.waiting
        assert await hands.take() is None  # it is in our hands already
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


async def test_received_once_more_while_its_extension_is_on_its_way_nothing_is_lost(hands):
    """What SQS answers then is about the old receipt."""
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


async def test_extensions_that_fail_for_a_while_are_made_up_for_before_it_is_too_late(hands):
    id_ = hands.queue.send("body")
    await hands.take()
    hands.queue.errors["show_after"] = [QueueUnavailable("503")] * 4
    async with hands.extending():
        await asyncio.sleep(60)
    assert len(hands.queue.deliveries) == 1
    assert id_ not in hands.queue.waiting


async def test_one_call_that_hangs_does_not_keep_the_others_from_being_extended(hands):
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


async def test_what_is_settled_or_let_go_is_extended_no_more(hands):
    hands.queue.send("settled")
    settled = await hands.take()
    hands.queue.send("let go")
    gone = await hands.take()
    async with hands.extending():
        await hands.holds.settle(settled)
        hands.holds.let_go(gone)
        await asyncio.sleep(300)
    assert not hands.extensions
    assert [held.message.body for held in hands.holds] == ["settled"]


async def test_settling_waits_for_an_extension_that_is_on_its_way_and_for_no_other(flow, hands):
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


async def test_with_nothing_in_our_hands_nothing_is_done(hands):
    async with hands.extending() as task:
        await asyncio.sleep(HOUR)
        assert not task.done()
    assert not hands.extensions


async def test_a_queue_without_a_visibility_timeout_does_not_keep_us_spinning(flow):
    hands = Hands(flow, 0.0)
    hands.queue.send("body")
    await hands.take()
    async with hands.extending():
        await asyncio.sleep(60)
    assert len(hands.extensions) <= 120
