"""One queue worked off: received, held, handled, settled; and nothing lost, whatever happens in between."""

import asyncio
import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jibe_sqs.consuming.holds import Held
from jibe_sqs.consuming.settlements import Settlements
from jibe_sqs.core.errors import (
    AccessAnywhereUnavailable,
    BucketNotAllowed,
    QueueRefused,
    QueueUnavailable,
    ReceiptLost,
)
from jibe_sqs.core.model import Retry
from jibe_sqs.testing import ManualGate


@pytest.fixture
def world(flow):
    return flow.World()


@pytest.fixture
def queue(world):
    return world.queue


# Done


async def test_deletes_only_after_the_refresh_has_ended(flow, world, queue):
    """elastic/beats awss3, redpanda connect #4468: held until acknowledged, not until parsed."""
    world.target.takes = 500.0
    id_ = world.send_log("a")
    async with world.running():
        await flow.until(lambda: queue.deleted)
        assert queue.deleted[0][0] == id_
        assert queue.deleted[0][1] >= world.target.runs[0].ended == pytest.approx(500)
        assert queue.deliveries == [(id_, 0.0)]  # never shown again in the meantime
    assert world.counters.done == 1


async def test_deletes_are_batched_ten_a_call(flow, world, queue):
    ids = [world.send_log(f"{i}") for i in range(40)]
    async with world.running():
        await flow.until(lambda: len(queue.deleted) == 40)
    assert {id_ for id_, _ in queue.deleted} == set(ids)
    assert len(queue.calls["delete"]) <= 8


async def test_failed_entries_of_a_delete_are_tried_again(flow, world, queue):
    """airflow #73423, aiobotocore #1380: a batch delete that succeeds can hold failures."""
    ids = [world.send_log(f"{i}") for i in range(5)]
    queue.entry_errors["delete"] = {ids[1]: [QueueUnavailable("InternalError")] * 3}
    async with world.running():
        await flow.until(lambda: len(queue.deleted) == 5)
    assert len(queue.deliveries) == 5
    assert world.counters.done == 5


async def test_a_delete_that_never_succeeds_leaves_the_message_to_be_handled_again_harmlessly(flow, world, queue):
    id_ = world.send_log("a")
    queue.entry_errors["delete"] = {id_: [QueueUnavailable("InternalError")] * 4}
    async with world.running():
        await flow.until(lambda: queue.deleted)
    assert [each[0] for each in queue.deliveries] == [id_, id_]
    assert len(world.target.runs) == 1
    assert world.counters.files_known == 1


# Limits


async def test_never_reads_more_messages_than_the_limit(flow):
    """vector #20172, beats sqs_input.go: never take more messages than can be started."""
    world = flow.World(reading=7, held=1000, receivers=4)
    world.logs.delay = 5.0
    world.target.held = {f"/data/{i}" for i in range(200)}
    for i in range(200):
        world.send_log(f"{i}")
    async with world.running():
        await flow.until(lambda: len(world.target.runs) == 200)
        assert world.logs.max_open == 7
        assert flow.time() < 5.0 * (200 / 7 + 2)  # and all seven were busy
        world.target.release()
        await flow.until(lambda: len(world.queue.deleted) == 200)


async def test_never_holds_more_messages_than_the_limit(flow):
    world = flow.World(reading=16, held=25, receivers=4)
    world.target.held = {f"/data/{i}" for i in range(100)}
    for i in range(100):
        world.send_log(f"{i}")
    async with world.running():
        await asyncio.sleep(300)
        assert len({id_ for id_, _ in world.queue.deliveries}) == 25
        assert len(world.queue.deliveries) == 25
        assert len(world.target.runs) == 25
        world.target.release()
        world.target.held = set()
        await flow.until(lambda: len(world.queue.deleted) == 100)


async def test_a_receive_never_asks_for_more_than_can_be_started(flow):
    world = flow.World(reading=3, held=1000, receivers=2)
    world.logs.delay = 1.0
    for i in range(20):
        world.send_log(f"{i}")
    async with world.running():
        await flow.until(lambda: len(world.queue.deleted) == 20)
    assert all(1 <= call.limit <= 3 for call in world.queue.calls["receive"])


async def test_messages_that_wait_for_a_refresh_do_not_keep_others_from_being_read(flow):
    """elastic/beats #39414: workers must not stand idle waiting for acknowledgements."""
    world = flow.World(reading=2, held=10_000)
    world.target.held = {"/data/slow"}
    for _ in range(300):
        world.queue.send(flow.s3_event("slow/file"))
    async with world.running():
        await flow.until(lambda: len(world.queue.deliveries) == 300)
        other = world.send_log("other")
        await flow.until(lambda: world.queue.deleted)
        assert [id_ for id_, _ in world.queue.deleted] == [other]
        world.target.release()
        await flow.until(lambda: len(world.queue.deleted) == 301)
        assert len(world.target.runs_of("/data/slow")) <= 2


# Delivered more than once


async def test_the_same_message_twice_in_one_answer_is_one_message(flow):
    """redpanda connect #182: a redelivered message can be in one response twice; its last receipt counts."""
    world = flow.World(receivers=1)
    queue = world.queue
    world.send_log("first")  # after it, the receiver asks for ten
    async with world.running():
        await flow.until(lambda: queue.deleted)
        queue.duplicates = 1
        id_ = world.send_log("a")
        await flow.until(lambda: len(queue.deleted) == 2)
    assert [each[0] for each in queue.deliveries].count(id_) == 2
    assert world.counters.messages == 2
    assert queue.calls["delete"][1].receipts == [f"{id_}#3"]


async def test_redelivered_while_held_is_deleted_by_its_newest_receipt(flow, world, queue):
    world.target.held = {"/data/a"}
    id_ = world.send_log("a")
    async with world.running():
        await flow.until(lambda: world.target.runs)
        queue.make_visible(id_)
        await flow.until(lambda: len(queue.deliveries) == 2)
        await asyncio.sleep(100)  # it is the new receipt that is extended now
        assert len(queue.deliveries) == 2
        world.target.release()
        await flow.until(lambda: queue.deleted)
    assert world.counters.messages == 1
    assert len(world.target.runs) == 1
    assert queue.calls["delete"][0].receipts == [f"{id_}#2"]


async def test_redelivered_while_it_is_being_deleted_is_deleted_by_its_newest_receipt(flow, world, queue):
    """The delete was sent with the receipt that has just gone stale."""
    id_ = world.send_log("a")
    queue.latency["delete"] = 5
    async with world.running():
        await flow.until(lambda: queue.calls["delete"])
        queue.make_visible(id_)
        await flow.until(lambda: len(queue.deliveries) == 2)
        await flow.until(lambda: queue.deleted)
    assert len(queue.deliveries) == 2
    assert not queue.messages


# Hold


async def test_held_messages_are_extended_at_half_of_the_queues_own_timeout(flow):
    """data-prepper #2484: read the queue's timeout, don't assume 30 seconds. Until settled, not until parsed."""
    world = flow.World(queue=flow.InMemoryQueue(visibility_timeout=100.0))
    world.target.takes = 1000.0
    world.send_log("a")
    async with world.running():
        await flow.until(lambda: world.queue.deleted)
    calls = world.queue.calls["show_after"]
    assert calls[0].at == pytest.approx(50, abs=3)
    assert calls[0].delays == [100.0]
    assert len(world.queue.deliveries) == 1
    assert all(later.at - earlier.at <= earlier.delays[0] / 2 + 3 for earlier, later in pairwise(calls))


async def test_extensions_are_batched_ten_a_call(flow):
    world = flow.World(reading=100, held=1000)
    world.target.held = {f"/data/{i}" for i in range(95)}
    for i in range(95):
        world.send_log(f"{i}")
    async with world.running():
        await asyncio.sleep(20)
        sizes = [len(call.receipts) for call in world.queue.calls["show_after"]]
        assert sum(sizes) == 95
        assert len(sizes) == 10
        world.target.release()


async def test_a_newcomer_is_extended_in_time_though_the_others_are_extended_for_long(flow, world, queue):
    """Extensions grow with the time a message is held; the next one's turn must not wait for them."""
    world.target.held = {"/data/old", "/data/new"}
    world.send_log("old")
    async with world.running():
        await asyncio.sleep(1300)  # `old` is extended by ten minutes at a time now
        new = world.send_log("new")
        await asyncio.sleep(700)
        assert [id_ for id_, _ in queue.deliveries].count(new) == 1
        world.target.release()
        await flow.until(lambda: len(queue.deleted) == 2)


async def test_ten_thousand_held_messages_are_all_extended_in_time(flow):
    """A thousand calls of 30 ms are 30 s, one after the other: a whole timeout."""
    world = flow.World(reading=1000, held=10_000, receivers=8)
    world.queue.latency["show_after"] = 0.03
    world.target.held = {"/data/slow"}
    for _ in range(10_000):
        world.queue.send(flow.s3_event("slow/file"))
    async with world.running():
        await asyncio.sleep(60)
        assert len(world.queue.deliveries) == 10_000
        world.target.release()
        await flow.until(lambda: len(world.queue.deleted) == 10_000)


@pytest.mark.parametrize("error", [QueueUnavailable("503"), ZeroDivisionError("a bug")])
async def test_a_failed_extension_is_logged_and_tried_again(flow, world, queue, events, error):
    queue.errors["show_after"] = [error]
    world.target.takes = 100.0
    world.send_log("a")
    async with world.running():
        await flow.until(lambda: queue.deleted)
    assert len(queue.deliveries) == 1
    assert "extension_failed" in {event["event"] for event in events}


async def test_a_failed_entry_of_an_extension_does_not_hurt_the_others(flow, world, queue):
    world.target.takes = 100.0
    ids = [world.send_log(f"{i}") for i in range(3)]
    queue.entry_errors["show_after"] = {ids[0]: [QueueUnavailable("InternalError")] * 2}
    async with world.running():
        await flow.until(lambda: len(queue.deleted) == 3)
    assert len(queue.deliveries) == 3


async def test_a_lost_receipt_stops_the_work_and_deletes_nothing(flow, world, queue):
    """The message is somebody else's now: let the other owner finish."""
    world.logs.delay = 1000.0
    id_ = world.send_log("a")
    queue.entry_errors["show_after"] = {id_: [ReceiptLost("not in flight")]}
    async with world.running():
        await flow.until(lambda: queue.calls["show_after"])
        await flow.settled()
        assert world.logs.open_now == 0  # cancelled
        world.assert_given_back_except_for_receives()
        assert not queue.deleted
        world.logs.delay = 0.0
        await flow.until(lambda: queue.deleted)  # it is shown again, and handled anew
    assert len(queue.deliveries) == 2


async def test_nothing_is_extended_after_it_is_settled(flow, world, queue):
    """An extension that is on its way when the verdict falls must not win over the verdict's delay."""
    queue.latency["show_after"] = 3
    world.target.takes = 16.5  # the extension leaves at 15 and arrives at 18
    world.target.errors["/data/a"] = [AccessAnywhereUnavailable("503")]
    id_ = world.send_log("a")
    async with world.running():
        await flow.until(lambda: len(queue.calls["show_after"]) == 2)
        extension, retry = queue.calls["show_after"]
        assert extension.at < 16.5 < extension.at + 3 <= retry.at
        assert retry.delays == [10.0]
        await asyncio.sleep(3.1)
        assert queue.visible_in(id_) <= 10.0
        await flow.until(lambda: queue.deleted)


# Retry and reject


async def test_the_delay_of_a_retry_grows_with_the_receive_count(flow, world, queue):
    world.target.always["/data/a"] = AccessAnywhereUnavailable("503")
    world.send_log("a")
    async with world.running():
        await flow.until(lambda: len(queue.deliveries) == 9)
        gaps = [later[1] - earlier[1] for earlier, later in pairwise(queue.deliveries)]
        assert gaps == [pytest.approx(min(900, 10 * 2**i), abs=1) for i in range(8)]
        assert world.counters.retried >= 8


async def test_a_rejected_message_goes_to_the_dead_letters_with_its_reason(flow, world, queue):
    id_ = queue.send('{"hello": 1}')
    async with world.running():
        await flow.until(lambda: queue.deleted)
    ((dead, why),) = queue.dead_letters
    assert (dead, why.error) == (id_, "AnnouncementUnknown")
    assert "hello" in why.reason
    assert world.counters.rejected == 1


async def test_without_dead_letters_a_rejected_message_is_left_with_growing_visibility(flow):
    world = flow.World(queue=flow.InMemoryQueue(dead_letters=False))
    world.queue.send("no JSON")
    async with world.running():
        await flow.until(lambda: len(world.queue.deliveries) == 4)
    gaps = [later[1] - earlier[1] for earlier, later in pairwise(world.queue.deliveries)]
    assert gaps == [pytest.approx(delay, abs=1) for delay in (10, 20, 40)]
    assert not world.queue.deleted


async def test_dead_letters_that_cannot_be_reached_lose_nothing(flow, world, queue):
    id_ = queue.send("no JSON")
    queue.errors["reject"] = [QueueUnavailable("503")]
    async with world.running():
        await flow.until(lambda: queue.deleted)
    assert [each[0] for each in queue.dead_letters] == [id_]
    assert len(queue.deliveries) == 2


async def test_the_queues_own_maximum_of_receives_is_the_policys(flow):
    """After the last try the message is a dead letter with a reason, before SQS moves it without one."""
    world = flow.World(queue=flow.InMemoryQueue(max_receives=3))
    world.queue.send(flow.announcing(flow.log_key("gone")))
    async with world.running():
        await flow.until(lambda: world.queue.dead_letters)
    ((_, why),) = world.queue.dead_letters
    assert why is not None
    assert why.error == "LogMissing"
    assert len(world.queue.deliveries) == 3


async def test_a_permanent_error_does_not_wait_for_the_maximum(flow, world, queue):
    id_ = world.send_log("a")
    world.logs.errors[flow.log_key("a")] = BucketNotAllowed("no")
    async with world.running():
        await flow.until(lambda: queue.deleted)
    assert [each[0] for each in queue.dead_letters] == [id_]
    assert len(queue.deliveries) == 1


async def test_a_crash_of_the_handler_retries_the_message_and_the_service_lives(flow, world, queue):
    bad = world.send_log("bad")
    world.logs.errors[flow.log_key("bad")] = ZeroDivisionError("a bug")
    good = world.send_log("good")
    async with world.running():
        await flow.until(lambda: queue.deleted)
        assert [id_ for id_, _ in queue.deleted] == [good]
        del world.logs.errors[flow.log_key("bad")]
        await flow.until(lambda: len(queue.deleted) == 2)
    assert [id_ for id_, _ in queue.deliveries].count(bad) == 2
    assert world.counters.errors["ZeroDivisionError"] == 1


@pytest.mark.parametrize("call", ["delete", "reject"])
async def test_a_crash_while_settling_does_not_keep_the_message_from_being_handled_again(flow, world, queue, call):
    """What we think we hold is not handled when it is delivered again: so nothing may stay held by mistake."""
    queue.errors[call] = [ZeroDivisionError("a bug")]
    queue.send("no JSON" if call == "reject" else flow.s3_event("a/file"))
    async with world.running():
        await flow.until(lambda: queue.deleted)
    assert len(queue.deliveries) == 2


async def test_a_refresh_that_is_cancelled_from_below_retries_the_message(flow, world, queue):
    """Only our own cancellation means the drain deadline; the message must not be held for ever by another's."""
    world.target.errors["/data/a"] = [asyncio.CancelledError()]
    world.send_log("a")
    async with world.running():
        await flow.until(lambda: queue.deleted)
    assert len(queue.deliveries) == 2


# Receive


@pytest.mark.parametrize("error", [QueueUnavailable("503"), QueueRefused("gone"), ZeroDivisionError("a bug")])
async def test_receive_errors_back_off_and_go_on(flow, error, events):
    world = flow.World(receivers=1)
    world.queue.errors["receive"] = [error] * 12
    world.send_log("a")
    async with world.running():
        await flow.until(lambda: world.queue.deleted)
    times = [call.at for call in world.queue.calls["receive"]]
    gaps = [later - earlier for earlier, later in pairwise(times[:13])]
    assert all(0.4 <= gap <= 60.1 for gap in gaps)
    assert gaps[-1] >= 30
    assert sum(event["event"] == "receive_failed" for event in events) == 12


async def test_while_a_queue_is_backed_off_from_others_have_its_room(flow):
    """The limits are shared: a queue that fails holds nothing of them."""
    ill = flow.World(reading=10, held=10, receivers=1)
    ill.queue.errors["receive"] = [QueueUnavailable("503")] * 1000
    well = flow.World(share=ill, receivers=1)
    for i in range(50):
        well.send_log(f"{i}")
    async with asyncio.TaskGroup() as group:
        running = [group.create_task(each.consumer.run()) for each in (ill, well)]
        await flow.until(lambda: len(well.queue.deleted) == 50)
        assert flow.time() < 60
        for each in (ill, well):
            each.consumer.stop()
        await asyncio.wait(running)
    ill.assert_all_given_back()


async def test_idle_queues_do_not_keep_the_limits_from_a_busy_one(flow):
    """Room is kept for what a receive may bring: the long polls of many idle queues must not add up to all of it."""
    busy = flow.World(reading=64, held=10_000)
    idle = [flow.World(share=busy) for _ in range(11)]
    busy.logs.delay = 0.1
    worlds = [*idle, busy]
    running = [asyncio.create_task(each.consumer.run()) for each in worlds]
    await asyncio.sleep(1)
    for i in range(1000):
        busy.send_log(f"{i}")
    await flow.until(lambda: len(busy.queue.deleted) == 1000)
    assert flow.time() < 20
    for each in worlds:
        each.consumer.stop()
    await asyncio.gather(*running)
    busy.assert_all_given_back()


# Stop


async def test_nothing_is_received_while_a_gate_is_shut(flow):
    gates = [ManualGate("down"), ManualGate("unknown")]
    world = flow.World(gates=gates)
    world.send_log("a")
    async with world.running():
        await asyncio.sleep(1000)
        gates[0].open()
        await asyncio.sleep(1000)
        assert not world.queue.calls["receive"]
        gates[1].open()
        await flow.until(lambda: world.queue.deleted)
    assert [call.at >= 2000 for call in world.queue.calls["receive"]]


async def test_messages_do_not_age_while_a_gate_is_shut_again(flow):
    gate = ManualGate()
    world = flow.World(gates=[gate], receivers=1)
    async with world.running():
        await flow.until(lambda: world.queue.receiving)
        gate.reason = "down"
        first = world.send_log("a")  # the long poll under way brings it
        await flow.until(lambda: world.queue.deleted)
        later = [world.send_log(f"{i}") for i in range(30)]
        await asyncio.sleep(3600)
        assert [id_ for id_, _ in world.queue.deliveries] == [first]
        gate.open()
        await flow.until(lambda: len(world.queue.deleted) == 31)
    assert [id_ for id_, _ in world.queue.deliveries] == [first, *later]


async def test_a_shut_gate_does_not_keep_it_from_stopping(flow):
    world = flow.World(gates=[ManualGate("down")])
    async with world.running():
        await flow.settled()
    assert not world.queue.calls["receive"]


async def test_a_receive_in_flight_is_not_cancelled_and_what_it_brings_is_handed_back(flow, world, queue):
    """celery/kombu #1819, shoryuken #677, misk #3895: SQS would count its messages as delivered, and hide them."""
    async with world.running() as running:
        await flow.until(lambda: queue.receiving == 2)
        world.consumer.stop()
        await asyncio.sleep(3)
        assert not running.done()
        id_ = world.send_log("a")
        await running
        assert queue.cancelled_receives == 0
        assert not queue.deleted
        assert id_ in queue.waiting
        assert world.counters.messages == 0
    assert flow.time() <= 21


async def test_what_is_held_is_finished_after_the_stop(flow, world, queue):
    world.target.takes = 300.0
    world.send_log("a")
    async with world.running() as running:
        await flow.until(lambda: world.target.runs)
        world.consumer.stop()
        await running
    assert len(queue.deleted) == 1
    assert len(queue.deliveries) == 1


async def test_redelivered_after_the_stop_while_held_is_still_ours(flow, world, queue):
    world.target.takes = 300.0
    id_ = world.send_log("a")
    async with world.running() as running:
        await flow.until(lambda: world.target.runs)
        world.consumer.stop()
        await flow.until(lambda: queue.receiving == 2)
        queue.make_visible(id_)
        await running
    assert [each[0] for each in queue.deleted] == [id_]
    assert len(queue.deliveries) == 2
    assert len(world.target.runs) == 1


async def test_at_the_deadline_the_rest_is_given_back_at_once(flow, world, queue):
    world.target.held = {"/data/1", "/data/2"}
    ids = [world.send_log(f"{i}") for i in range(3)]
    async with world.running() as running:
        await flow.until(lambda: queue.deleted and len(world.target.runs) == 3)
        world.consumer.stop()
        await asyncio.sleep(60)
        assert not running.done()
        running.cancel()
        await asyncio.wait([running])
        assert queue.waiting == ids[1:]
        assert queue.cancelled_receives == 0


async def test_what_is_being_handed_back_at_the_deadline_arrives(flow):
    """Were the call abandoned, the messages would stay hidden for their visibility timeout."""
    world = flow.World(receivers=1)
    queue = world.queue
    async with world.running() as running:
        await flow.until(lambda: queue.receiving)
        world.consumer.stop()
        queue.latency["show_after"] = 3
        id_ = queue.send("brought by the receive under way")
        await flow.until(lambda: queue.calls["show_after"])
        running.cancel()
        await asyncio.wait([running])
        assert id_ in queue.waiting


async def test_a_message_given_back_while_its_retry_waits_for_a_batch_is_shown_at_once(flow, world, queue):
    """One batch must not have two wishes for one receipt: which of them would win, SQS does not say."""
    id_ = queue.send("x")
    (message,) = await queue.receive(1, wait=0)
    settlements = Settlements(queue=queue, policy=world.policy, clock=world.clock, counters=world.counters)
    held = Held(message, message.receipt, since=0.0, hidden_until=30.0, extend_at=15.0)
    retry = asyncio.ensure_future(settlements.settle(held, Retry(20.0, "why")))
    await asyncio.sleep(0)
    retry.cancel()
    await settlements.show_now([message.receipt])
    assert [call.delays for call in queue.calls["show_after"]] == [[0.0]]
    assert id_ in queue.waiting


async def test_nothing_that_was_given_back_is_extended_again(flow, world, queue):
    """Giving back takes time; a message that falls due meanwhile must stay visible to others."""
    world.target.held = {"/data/a"}
    id_ = world.send_log("a")
    async with world.running() as running:
        await flow.until(lambda: world.target.runs)
        world.consumer.stop()
        await asyncio.sleep(14.5)
        queue.latency["show_after"] = 3  # an extension leaves at 15
        await asyncio.sleep(1)
        running.cancel()
        await asyncio.wait([running])
        assert [call.delays for call in queue.calls["show_after"]] == [[30.0], [0.0]]
        assert id_ in queue.waiting


async def test_a_message_whose_task_is_cancelled_before_its_first_step_gives_back_its_place(flow, world, queue):
    """Such a task runs none of its code, so only the callback at its end can give the place back."""
    id_ = world.send_log("a")
    start, started = world.consumer._start, []

    def start_and_cancel(message):
        is_started = start(message)
        for task in world.consumer._tasks:
            task.cancel()
        started.append(is_started)
        return is_started

    world.consumer._start = start_and_cancel
    async with world.running() as running:
        await flow.until(lambda: started)
        await flow.settled()
        world.assert_given_back_except_for_receives(held=1)
        running.cancel()
        await asyncio.wait([running])
    assert started == [True]
    assert not world.logs.opens
    assert id_ in queue.waiting


@pytest.mark.parametrize("moment", [0.0, 0.01, 0.5, 1.0, 1.02, 1.5, 2.0, 3.5, 12.0, 40.0])
@pytest.mark.parametrize("receivers", [1, 3])
async def test_whenever_it_is_cancelled_all_is_given_back(flow, moment, receivers):
    """Every message is deleted or visible, and every slot is free."""
    world = flow.World(reading=3, held=8, receivers=receivers)
    world.logs.delay, world.target.takes = 1.0, 2.0
    world.queue.latency.update({"receive": 0.5, "delete": 0.5, "show_after": 0.5})
    for i in range(30):
        world.send_log(f"{i}")
    async with world.running() as running:
        await asyncio.sleep(moment)
        running.cancel()
        await asyncio.wait([running])
        await asyncio.sleep(1)
        assert len(world.queue.waiting) + len(world.queue.deleted) == 30
        assert world.queue.cancelled_receives == 0


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_whatever_fails_every_message_is_handled_in_the_end_and_none_deleted_before(flow, seed):
    """At-least-once, against a queue, a store, a target and a ledger that fail at random, and a restart in between."""
    chance = random.Random(seed)

    async def main() -> None:
        queue = flow.InMemoryQueue(visibility_timeout=chance.choice([10.0, 30.0, 120.0]))
        logs, ledger = flow.InMemoryLogStore(), flow.InMemoryLedger()
        worlds = [flow.World(queue=queue, logs=logs, ledger=ledger, reading=5, held=20) for _ in range(2)]
        first = worlds[0]
        for world in worlds:
            world.target.takes = chance.choice([0.0, 3.0, 100.0])
        first.logs.delay = chance.choice([0.0, 2.0])
        ids = [first.send_log(f"{i % 7}-{i}") for i in range(30)]
        names = dict(zip(ids, (f"/data/{i % 7}-{i}" for i in range(30)), strict=True))
        for call in ("receive", "delete", "show_after"):
            queue.latency[call] = chance.choice([0, 1])
            queue.errors[call] = [QueueUnavailable("503") for _ in range(chance.randrange(8))]
            if call != "receive":
                queue.entry_errors[call] = {
                    id_: [chance.choice([QueueUnavailable, ReceiptLost])("entry")] for id_ in chance.sample(ids, 10)
                }
        queue.duplicates = chance.randrange(3)
        for id_ in chance.sample(ids, 10):
            for world in worlds:
                world.target.errors[names[id_]] = [AccessAnywhereUnavailable("503")]
        delete = queue.delete

        async def checked(receipts):
            for receipt in receipts:
                path = names[receipt.partition("#")[0]]
                runs = [run for world in worlds for run in world.target.runs_of(path)]
                assert any(run.ended is not None and run.error is None for run in runs), "deleted before refreshed"
            return await delete(receipts)

        queue.delete = checked
        async with first.running() as running:
            await asyncio.sleep(chance.uniform(0, 60))
            if chance.random() < 0.5:
                running.cancel()
                await asyncio.wait([running])
        async with worlds[1].running():
            await flow.until(lambda: not queue.messages)
        assert sorted(id_ for id_, _ in queue.deleted) == sorted(ids)
        assert queue.cancelled_receives == 0

    flow.virtually(main())
