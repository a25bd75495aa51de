"""The consumer receives, holds, handles and settles the messages of one queue. No failure loses a message."""

import asyncio
import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jibe_sqs.consuming.consumer import SHORT_POLL
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


# Delete


async def test_a_message_is_deleted_only_after_its_refresh_has_ended(flow, world, queue):
    """elastic/beats awss3, redpanda connect #4468: held until acknowledged, not until parsed."""
    world.target.takes = 500.0
    id_ = world.send_log("a")
    async with world.running():
        await flow.until(lambda: queue.deleted)
        assert queue.deleted[0][0] == id_
        assert queue.deleted[0][1] >= world.target.runs[0].ended == pytest.approx(500)
        assert queue.deliveries == [(id_, 0.0)]  # it did not become visible again
    assert world.counters.done == 1


async def test_ten_messages_are_deleted_in_one_call(flow, world, queue):
    ids = [world.send_log(f"{i}") for i in range(40)]
    async with world.running():
        await flow.until(lambda: len(queue.deleted) == 40)
    assert {id_ for id_, _ in queue.deleted} == set(ids)
    assert len(queue.calls["delete"]) <= 8


async def test_failed_entries_of_a_delete_are_retried(flow, world, queue):
    """airflow #73423, aiobotocore #1380: a batch delete that succeeds can hold failures."""
    ids = [world.send_log(f"{i}") for i in range(5)]
    queue.entry_errors["delete"] = {ids[1]: [QueueUnavailable("InternalError")] * 3}
    async with world.running():
        await flow.until(lambda: len(queue.deleted) == 5)
    assert len(queue.deliveries) == 5
    assert world.counters.done == 5


async def test_a_message_whose_delete_never_succeeds_is_received_again_and_not_refreshed_again(flow, world, queue):
    id_ = world.send_log("a")
    queue.entry_errors["delete"] = {id_: [QueueUnavailable("InternalError")] * 4}
    async with world.running():
        await flow.until(lambda: queue.deleted)
    assert [each[0] for each in queue.deliveries] == [id_, id_]
    assert len(world.target.runs) == 1
    assert world.counters.files_known == 1


# Limits


async def test_no_more_messages_are_read_than_the_limit(flow):
    """vector #20172, beats sqs_input.go: never take more messages than can be started."""
    world = flow.World(reading=7, held=1000, receivers=4)
    world.logs.delay = 5.0
    world.target.held = {f"/data/{i}" for i in range(200)}
    for i in range(200):
        world.send_log(f"{i}")
    async with world.running():
        await flow.until(lambda: len(world.target.runs) == 200)
        assert world.logs.max_open == 7
        assert flow.time() < 5.0 * (200 / 7 + 2)  # seven readers were busy all the time
        world.target.release()
        await flow.until(lambda: len(world.queue.deleted) == 200)


async def test_no_more_messages_are_held_than_the_limit(flow):
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


async def test_a_receive_asks_for_no_more_messages_than_can_be_started(flow):
    world = flow.World(reading=3, held=1000, receivers=2)
    world.logs.delay = 1.0
    for i in range(20):
        world.send_log(f"{i}")
    async with world.running():
        await flow.until(lambda: len(world.queue.deleted) == 20)
    assert all(1 <= call.limit <= 3 for call in world.queue.calls["receive"])


async def test_messages_that_wait_for_a_refresh_do_not_block_the_reading_of_others(flow):
    """elastic/beats #39414: readers must not wait for acknowledgements."""
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


async def test_a_message_that_one_receive_returns_twice_is_handled_once(flow):
    """redpanda connect #182: a redelivered message can be in one response twice; its last receipt counts."""
    world = flow.World(receivers=1)
    queue = world.queue
    world.send_log("first")  # after this message, the receiver asks for ten
    id_ = world.send_log("a")
    queue.duplicates = 1
    async with world.running():
        await flow.until(lambda: len(queue.deleted) == 2)
    assert [each[0] for each in queue.deliveries].count(id_) == 2
    assert world.counters.messages == 2
    assert f"{id_}#3" in [receipt for call in queue.calls["delete"] for receipt in call.receipts]


async def test_a_message_that_is_redelivered_while_held_is_deleted_with_its_newest_receipt(flow, world, queue):
    world.target.held = {"/data/a"}
    id_ = world.send_log("a")
    async with world.running():
        await flow.until(lambda: world.target.runs)
        queue.make_visible(id_)
        await flow.until(lambda: len(queue.deliveries) == 2)
        await asyncio.sleep(100)  # the new receipt is extended now
        assert len(queue.deliveries) == 2
        world.target.release()
        await flow.until(lambda: queue.deleted)
    assert world.counters.messages == 1
    assert len(world.target.runs) == 1
    assert queue.calls["delete"][0].receipts == [f"{id_}#2"]


async def test_a_message_whose_last_receive_comes_while_it_is_held_is_rejected_with_its_reason(flow):
    """Its verdict was that of an earlier receive: it returned to its queue, which made it a dead letter without a reason."""
    queue = flow.InMemoryQueue(max_receives=2)
    world = flow.World(queue=queue)
    world.target.errors["/data/a"] = [AccessAnywhereUnavailable("503")] * 5
    world.target.takes = 20.0
    id_ = world.send_log("a")
    async with world.running():
        await flow.until(lambda: world.target.runs)
        queue.make_visible(id_)
        await flow.until(lambda: queue.dead_letters)
    assert [(dead, why and why.error) for dead, why in queue.dead_letters] == [(id_, "AccessAnywhereUnavailable")]


async def test_a_message_that_is_redelivered_during_its_delete_is_deleted_with_its_newest_receipt(flow, world, queue):
    """The delete was sent with a receipt that a redelivery has just replaced."""
    id_ = world.send_log("a")
    queue.latency["delete"] = 5
    async with world.running():
        await flow.until(lambda: queue.calls["delete"])
        queue.make_visible(id_)
        await flow.until(lambda: len(queue.deliveries) == 2)
        await flow.until(lambda: queue.deleted)
    assert len(queue.deliveries) == 2
    assert not queue.messages


@pytest.mark.parametrize("errors", [1, 2], ids=["the last try succeeds", "the last try fails"])
async def test_a_message_that_is_redelivered_for_the_last_time_during_its_retry_is_tried_once_more(flow, errors):
    """Otherwise the queue itself would make it a dead letter, without a reason."""
    world = flow.World(queue=flow.InMemoryQueue(max_receives=2))
    queue = world.queue
    id_ = world.send_log("a")
    world.target.errors["/data/a"] = [AccessAnywhereUnavailable("503")] * errors
    queue.latency["show_after"] = 5
    async with world.running():
        await flow.until(lambda: queue.calls["show_after"])
        queue.make_visible(id_)
        await flow.until(lambda: not queue.messages)
    assert [each[0] for each in queue.deliveries] == [id_, id_]
    reasons = [(dead, why and why.error) for dead, why in queue.dead_letters]
    assert reasons == ([] if errors == 1 else [(id_, "AccessAnywhereUnavailable")])


async def test_a_redelivery_after_the_stop_counts_as_a_receive(flow):
    """It may be the last one: then the verdict must say why the message is a dead letter."""
    world = flow.World(queue=flow.InMemoryQueue(max_receives=2))
    queue = world.queue
    world.target.takes = 60.0
    id_ = world.send_log("a")
    world.target.errors["/data/a"] = [AccessAnywhereUnavailable("503")]
    async with world.running() as running:
        await flow.until(lambda: world.target.runs and queue.receiving)
        world.consumer.stop()
        queue.make_visible(id_)
        await running
    assert [(dead, why and why.error) for dead, why in queue.dead_letters] == [(id_, "AccessAnywhereUnavailable")]


# Hold


async def test_held_messages_are_extended_after_half_of_the_visibility_timeout_of_their_queue(flow):
    """data-prepper #2484: use the timeout of the queue instead of 30 seconds, and extend until the message is settled."""
    world = flow.World(queue=flow.InMemoryQueue(visibility_timeout=100.0), receivers=1)
    world.target.takes = 1000.0
    world.send_log("first")  # after this message, the receiver asks for ten
    id_ = world.send_log("a")
    async with world.running():
        await flow.until(lambda: len(world.queue.deleted) == 2)
    calls = [call for call in world.queue.calls["show_after"] if call.receipts[-1].startswith(f"{id_}#")]
    assert calls[0].at == pytest.approx(50, abs=3)
    assert calls[0].delays[-1] == 100.0
    assert len(world.queue.deliveries) == 2
    assert all(later.at - earlier.at <= earlier.delays[0] / 2 + 3 for earlier, later in pairwise(calls))


@pytest.mark.parametrize("timeout", [100.0, 300.0, 43_200.0])
async def test_the_message_that_ends_an_idle_poll_is_extended_in_time_whatever_the_timeout_of_its_queue(flow, timeout):
    """An idle poll hides its message for half a minute only, so that it comes back soon if the poll is abandoned."""
    world = flow.World(queue=flow.InMemoryQueue(visibility_timeout=timeout))
    world.target.takes = 5000.0
    world.send_log("a")
    async with world.running():
        await flow.until(lambda: world.queue.deleted)
    calls = world.queue.calls["show_after"]
    assert calls[0].at == pytest.approx(15, abs=1)
    assert calls[0].delays == [pytest.approx(timeout, abs=2000)]
    assert len(world.queue.deliveries) == 1


async def test_ten_messages_are_extended_in_one_call(flow):
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


async def test_a_new_message_is_extended_in_time_although_old_messages_have_long_extensions(flow, world, queue):
    """Extensions grow with the time that a message is held. A new message needs its first extension earlier."""
    world.target.held = {"/data/old", "/data/new"}
    world.send_log("old")
    async with world.running():
        await asyncio.sleep(1300)  # `old` is extended by ten minutes at a time now
        new = world.send_log("new")
        await asyncio.sleep(700)
        assert [id_ for id_, _ in queue.deliveries].count(new) == 1
        world.target.release()
        await flow.until(lambda: len(queue.deleted) == 2)


async def test_thousands_of_held_messages_are_all_extended_in_time(flow):
    """Three hundred calls of 0.1 s, one after the other, would take 30 s, which is the whole visibility timeout."""
    world = flow.World(reading=1000, held=10_000, receivers=8)
    world.queue.latency["show_after"] = 0.1
    world.target.held = {"/data/slow"}
    for _ in range(3000):
        world.queue.send(flow.s3_event("slow/file"))
    async with world.running():
        await asyncio.sleep(60)
        assert len(world.queue.deliveries) == 3000
        world.target.release()
        await flow.until(lambda: len(world.queue.deleted) == 3000)


@pytest.mark.parametrize("error", [QueueUnavailable("503"), ZeroDivisionError("a bug")])
async def test_a_failed_extension_is_logged_and_retried(flow, world, queue, events, error):
    queue.errors["show_after"] = [error]
    world.target.takes = 100.0
    world.send_log("a")
    async with world.running():
        await flow.until(lambda: queue.deleted)
    assert len(queue.deliveries) == 1
    assert "extension_failed" in {event["event"] for event in events}


async def test_a_failed_entry_of_an_extension_does_not_affect_the_other_entries(flow, world, queue):
    world.target.takes = 100.0
    ids = [world.send_log(f"{i}") for i in range(3)]
    queue.entry_errors["show_after"] = {ids[0]: [QueueUnavailable("InternalError")] * 2}
    async with world.running():
        await flow.until(lambda: len(queue.deleted) == 3)
    assert len(queue.deliveries) == 3


async def test_a_lost_receipt_cancels_the_work_and_deletes_nothing(flow, world, queue):
    """Another consumer has the message now, and finishes it."""
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
        await flow.until(lambda: queue.deleted)  # it became visible again, and is handled again
    assert len(queue.deliveries) == 2


async def test_a_message_is_not_extended_after_it_is_settled(flow, world, queue):
    """An extension that is in flight when the verdict comes must not replace the delay of the verdict."""
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


async def test_without_a_dead_letter_queue_a_rejected_message_is_hidden_for_growing_times(flow):
    world = flow.World(queue=flow.InMemoryQueue(dead_letters=False))
    world.queue.send("no JSON")
    async with world.running():
        await flow.until(lambda: len(world.queue.deliveries) == 4)
    gaps = [later[1] - earlier[1] for earlier, later in pairwise(world.queue.deliveries)]
    assert gaps == [pytest.approx(delay, abs=1) for delay in (10, 20, 40)]
    assert not world.queue.deleted


async def test_a_message_is_not_lost_if_the_dead_letter_queue_cannot_be_reached(flow, world, queue):
    id_ = queue.send("no JSON")
    queue.errors["reject"] = [QueueUnavailable("503")]
    async with world.running():
        await flow.until(lambda: queue.deleted)
    assert [each[0] for each in queue.dead_letters] == [id_]
    assert len(queue.deliveries) == 2


async def test_the_maximum_of_receives_is_that_of_the_queue(flow):
    """The service makes it a dead letter with a reason, before SQS moves it without a reason."""
    world = flow.World(queue=flow.InMemoryQueue(max_receives=3))
    world.queue.send(flow.announcing(flow.log_key("gone")))
    async with world.running():
        await flow.until(lambda: world.queue.dead_letters)
    ((_, why),) = world.queue.dead_letters
    assert why is not None
    assert why.error == "LogMissing"
    assert len(world.queue.deliveries) == 3


async def test_a_permanent_error_rejects_the_message_at_the_first_receive(flow, world, queue):
    id_ = world.send_log("a")
    world.logs.errors[flow.log_key("a")] = BucketNotAllowed("no")
    async with world.running():
        await flow.until(lambda: queue.deleted)
    assert [each[0] for each in queue.dead_letters] == [id_]
    assert len(queue.deliveries) == 1


async def test_an_exception_in_the_handler_retries_the_message_and_the_service_goes_on(flow, world, queue):
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
async def test_after_an_exception_while_settling_the_message_is_handled_again(flow, world, queue, call):
    """A held message that is delivered again is not handled again, so a message must not stay held by mistake."""
    queue.errors[call] = [ZeroDivisionError("a bug")]
    queue.send("no JSON" if call == "reject" else flow.s3_event("a/file"))
    async with world.running():
        await flow.until(lambda: queue.deleted)
    assert len(queue.deliveries) == 2


async def test_a_refresh_that_its_target_cancels_retries_the_message(flow, world, queue):
    """Only a cancellation by the consumer itself means the drain deadline. After any other, the message must not stay held."""
    world.target.errors["/data/a"] = [asyncio.CancelledError()]
    world.send_log("a")
    async with world.running():
        await flow.until(lambda: queue.deleted)
    assert len(queue.deliveries) == 2


# Receive


@pytest.mark.parametrize("error", [QueueUnavailable("503"), QueueRefused("gone"), ZeroDivisionError("a bug")])
async def test_failed_receives_are_retried_with_growing_delays(flow, error, events):
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


async def test_while_one_queue_waits_after_an_error_the_other_queues_use_its_room(flow):
    """The budgets are shared. A consumer that waits after an error must not hold units of them."""
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


async def test_idle_queues_do_not_use_up_the_budgets_of_a_busy_queue(flow):
    """Each receive keeps room for its messages. The long polls of many idle queues must not take all of it."""
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


async def test_a_long_poll_of_an_idle_queue_holds_nothing(flow, world, queue):
    async with world.running():
        await flow.until(lambda: queue.receiving)
        world.assert_all_given_back()


async def test_each_idle_queue_has_one_poll_for_one_message(flow):
    world = flow.World(receivers=8)
    async with world.running():
        await asyncio.sleep(100)
        assert world.queue.receiving == 1
    assert {call.limit for call in world.queue.calls["receive"]} == {1}
    assert len(world.queue.calls["receive"]) == 5


async def test_a_backlog_is_received_in_full_batches(flow):
    """Back-pressure made it receive 1.2 messages a call instead of 10."""
    world = flow.World(reading=16, held=10_000)
    world.logs.delay = 0.1
    for i in range(500):
        world.send_log(f"{i}")
    async with world.running():
        await flow.until(lambda: len(world.queue.deleted) == 500)
    calls = [call for call in world.queue.calls["receive"] if call.limit > 1]
    assert len(calls) <= 500 / 8


async def test_a_receiver_does_not_wait_for_a_full_batch_while_slow_files_have_most_places(flow):
    world = flow.World(reading=16, held=100)
    world.logs.delay = 3600.0
    for i in range(12):
        world.send_log(f"slow-{i}")
    async with world.running():
        await flow.until(lambda: len(world.queue.deliveries) == 12)
        began = flow.time()
        for i in range(8):
            world.queue.send(flow.s3_event(f"quick-{i}/file"))
        await flow.until(lambda: len(world.queue.deleted) == 8)
        assert flow.time() - began < 10


async def test_the_bytes_of_held_messages_stop_the_receives(flow):
    """A hundred large bodies that wait for a refresh would kill the process."""
    world = flow.World(reading=16, held=1000, bytes_held=5 * 2**20)
    world.target.held = {"/data/slow"}
    for _ in range(60):
        world.queue.send(flow.s3_event("slow/file") + " " * 2**20)
    async with world.running():
        await asyncio.sleep(600)
        held = len(world.queue.deliveries)
        assert 5 <= held <= 5 + 10 + 1  # what is held, and what the last receive brought
        world.target.release()
        await flow.until(lambda: len(world.queue.deleted) == 60)


async def test_empty_receives_that_do_not_wait_pause_for_growing_times(flow):
    """dramatiq_sqs #5, moto #871: with a short poll, the receiver sent 31 calls in each second."""
    world = flow.World(wait=0.0)
    async with world.running():
        await asyncio.sleep(600)
        calls = len(world.queue.calls["receive"])
        id_ = world.send_log("a")
        sent = flow.time()
        await flow.until(lambda: world.queue.deleted)
        assert flow.time() - sent <= 11
    assert calls < 100
    assert [each[0] for each in world.queue.deleted] == [id_]


@pytest.mark.parametrize("own", [0.0, 1.0, 29.0, 30.0, 300.0])
async def test_each_receive_asks_for_at_least_the_time_that_a_hold_needs(flow, own):
    """aws-sdk-java #705: with a visibility timeout of 0, each message was received again at once."""
    world = flow.World(queue=flow.InMemoryQueue(visibility_timeout=own, max_receives=3))
    world.logs.delay = 100.0
    ids = [world.send_log(f"{i}") for i in range(5)]
    async with world.running():
        await flow.until(lambda: len(world.queue.deleted) == 5)
    assert sorted(id_ for id_, _ in world.queue.deliveries) == ids
    assert not world.queue.dead_letters


# A queue that does not work at the start


async def test_a_queue_that_is_missing_at_the_start_is_used_as_soon_as_it_exists(flow, events):
    queue = flow.InMemoryQueue(max_receives=2)
    queue.errors["facts"] = [QueueRefused("NonExistentQueue")] * 5
    world = flow.World(queue=queue, opened=False)
    async with world.running():
        world.send_log("a")
        await flow.until(lambda: queue.deleted)
    assert world.consumer._policy.max_receives == 2
    names = [event["event"] for event in events]
    assert names.count("queue_unusable") == 5
    assert names.count("queue_usable") == 1


async def test_a_consumer_stops_while_its_queue_is_missing(flow):
    world = flow.World(opened=False)
    world.queue.errors["facts"] = [QueueRefused("NonExistentQueue")] * 5
    async with world.running():
        await asyncio.sleep(2)
    assert not world.queue.calls["receive"]


async def test_trouble_names_the_queue_and_the_reason_until_a_receive_works(flow, world, queue):
    queue.errors["receive"] = [QueueRefused("QueueDoesNotExist")] * 3
    async with world.running():
        await flow.until(lambda: world.consumer.trouble)
        assert world.consumer.trouble.startswith("Queue queue cannot be received from since 20")
        assert world.consumer.trouble.endswith("(UTC): QueueDoesNotExist")
        await flow.until(lambda: not world.consumer.trouble)


# Stop


async def test_nothing_is_received_while_a_gate_is_closed(flow):
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


async def test_messages_use_up_no_receives_while_a_gate_is_closed_again(flow):
    gate = ManualGate()
    world = flow.World(gates=[gate], receivers=1)
    async with world.running():
        await flow.until(lambda: world.queue.receiving)
        gate.reason = "down"
        first = world.send_log("a")  # the running long poll returns it
        await flow.until(lambda: world.queue.deleted)
        later = [world.send_log(f"{i}") for i in range(30)]
        await asyncio.sleep(3600)
        assert [id_ for id_, _ in world.queue.deliveries] == [first]
        gate.open()
        await flow.until(lambda: len(world.queue.deleted) == 31)
    assert [id_ for id_, _ in world.queue.deliveries] == [first, *later]


async def test_a_consumer_stops_while_a_gate_is_closed(flow):
    world = flow.World(gates=[ManualGate("down")])
    async with world.running():
        await flow.settled()
    assert not world.queue.calls["receive"]


async def test_an_idle_long_poll_does_not_delay_the_stop(flow, world, queue):
    async with world.running() as running:
        await flow.until(lambda: queue.receiving)
        stopped = flow.time()
        world.consumer.stop()
        await running
        assert flow.time() - stopped < 0.5
    assert queue.abandoned_polls == 1


async def test_a_message_that_an_abandoned_poll_takes_is_visible_again_after_half_a_minute(flow):
    """SQS does not notice that nobody waits for the answer (aws-sdk-js #2350). The queue's own timeout may be hours."""
    queue = flow.InMemoryQueue(visibility_timeout=7200.0, max_receives=3)
    world = flow.World(queue=queue)
    async with world.running() as running:
        await flow.until(lambda: queue.receiving)
        world.consumer.stop()
        await running
        sent = flow.time()
        id_ = world.send_log("a")
        assert queue.visible_in(id_) == pytest.approx(30)
    other = flow.World(queue=queue, logs=world.logs)
    async with other.running():
        await flow.until(lambda: queue.deleted)
        assert flow.time() - sent == pytest.approx(30, abs=1)
    assert queue.deleted[0][0] == id_


async def test_an_answer_that_arrives_right_after_the_stop_is_not_abandoned(flow, world, queue):
    async with world.running() as running:
        await flow.until(lambda: queue.receiving)
        world.consumer.stop()
        await asyncio.sleep(0.1)
        id_ = world.send_log("a")
        await running
        assert id_ in queue.waiting
    assert queue.abandoned_polls == 0


async def test_a_long_poll_is_not_abandoned_while_messages_are_finished(flow, world, queue):
    """It costs no time then, and what it brings goes back at once."""
    world.target.takes = 10.0
    async with world.running() as running:
        first = world.send_log("a")
        await flow.until(lambda: world.target.runs)
        await asyncio.sleep(5)
        assert queue.receiving
        world.consumer.stop()
        await asyncio.sleep(2)
        second = world.send_log("b")
        assert await running is None
        assert [id_ for id_, _ in queue.deleted] == [first]
        assert second in queue.waiting
    assert queue.abandoned_polls == 0


async def test_the_long_poll_of_a_queue_that_has_just_brought_a_message_is_not_abandoned(flow, world, queue):
    """Another message is likely to come, and would be delivered to nobody."""
    async with world.running() as running:
        first = world.send_log("a")
        await flow.until(lambda: queue.deleted and queue.receiving)
        world.consumer.stop()
        await asyncio.sleep(3)
        assert not running.done()
        second = world.send_log("b")
        await running
        assert [id_ for id_, _ in queue.deleted] == [first]
        assert second in queue.waiting
    assert queue.abandoned_polls == 0


async def test_a_short_long_poll_is_not_abandoned(flow, queue):
    world = flow.World(queue=queue, wait=SHORT_POLL)
    async with world.running() as running:
        await flow.until(lambda: queue.receiving)
        world.consumer.stop()
        await running
    assert queue.abandoned_polls == 0
    assert flow.time() <= SHORT_POLL + 1


@pytest.mark.parametrize("most", [1, 2])
async def test_a_receive_in_flight_is_not_cancelled_and_its_messages_are_made_visible_again(flow, most):
    """celery/kombu #1819, shoryuken #677, misk #3895: SQS would count its messages as delivered, and hide them.

    Where a message has few receives, it would become a dead letter.
    """
    queue = flow.InMemoryQueue(max_receives=most)
    world = flow.World(queue=queue)
    async with world.running() as running:
        await flow.until(lambda: queue.receiving)
        world.consumer.stop()
        await asyncio.sleep(3)
        assert not running.done()
        id_ = world.send_log("a")
        await running
        assert queue.abandoned_polls == 0
        assert not queue.deleted
        assert id_ in queue.waiting
        assert world.counters.messages == 0
    assert flow.time() <= 21


async def test_held_messages_are_finished_after_the_stop(flow, world, queue):
    world.target.takes = 300.0
    world.send_log("a")
    async with world.running() as running:
        await flow.until(lambda: world.target.runs)
        world.consumer.stop()
        await running
    assert len(queue.deleted) == 1
    assert len(queue.deliveries) == 1


async def test_a_held_message_that_is_redelivered_after_the_stop_is_still_held(flow, world, queue):
    world.target.takes = 300.0
    id_ = world.send_log("a")
    async with world.running() as running:
        await flow.until(lambda: world.target.runs and queue.receiving)
        world.consumer.stop()
        queue.make_visible(id_)
        await running
    assert [each[0] for each in queue.deleted] == [id_]
    assert len(queue.deliveries) == 2
    assert len(world.target.runs) == 1


async def test_at_the_deadline_all_held_messages_are_made_visible_at_once(flow, world, queue):
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


async def test_a_call_that_makes_messages_visible_at_the_deadline_is_completed(flow):
    """Without this call, the messages would stay hidden for their visibility timeout."""
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


async def test_a_message_that_is_given_back_while_its_retry_waits_for_a_batch_is_visible_at_once(flow, world, queue):
    """A batch must not have two delays for one receipt: SQS does not say which one counts."""
    id_ = queue.send("x")
    (message,) = await queue.receive(1, wait=0, visibility=30)
    settlements = Settlements(queue=queue, policy=world.policy, clock=world.clock, counters=world.counters)
    held = Held(message, message.receipt, since=0.0, hidden_until=30.0, extend_at=15.0)
    retry = asyncio.ensure_future(settlements.settle(held, Retry(20.0, "why")))
    await asyncio.sleep(0)
    retry.cancel()
    await settlements.show_now([message.receipt])
    assert [call.delays for call in queue.calls["show_after"]] == [[0.0]]
    assert id_ in queue.waiting


async def test_a_message_that_was_given_back_is_not_extended_again(flow, world, queue):
    """Giving back takes time. A message that would need an extension meanwhile must stay visible."""
    world.target.held = {"/data/a"}
    id_ = world.send_log("a")
    async with world.running() as running:
        await flow.until(lambda: world.target.runs)
        world.consumer.stop()
        await asyncio.sleep(14.5)
        queue.latency["show_after"] = 3  # an extension leaves at 15
        await asyncio.sleep(1.5)
        running.cancel()
        await asyncio.wait([running])
        assert [call.delays for call in queue.calls["show_after"]] == [[30.0], [0.0]]
        assert id_ in queue.waiting


async def test_a_message_whose_task_is_cancelled_before_its_first_step_gives_back_its_place(flow, world, queue):
    """Such a task runs none of its code, so only the callback at its end can give the place back."""
    id_ = world.send_log("a")
    start, started = world.consumer._start, []

    def start_and_cancel(message, visibility):
        is_started = start(message, visibility)
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
async def test_a_cancelled_consumer_gives_everything_back_at_any_moment(flow, moment, receivers):
    """Every message is then deleted or visible, and all units of the budgets are free."""
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
def test_with_random_failures_every_message_is_handled_in_the_end_and_not_deleted_before(flow, seed):
    """The queue, the store, the target and the ledger fail at random, and the consumer is restarted once."""
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


async def test_a_consumer_that_is_cancelled_while_it_waits_for_its_last_calls_leaves_no_task(flow):
    world = flow.World(wait=0.5)
    world.queue.latency["delete"] = 60.0
    world.send_log("a")
    run = asyncio.create_task(world.consumer.run())
    await flow.until(lambda: world.queue.calls["delete"])
    # The message is lost to another consumer, so nothing is held. Only the call in flight is waited for.
    for held in world.consumer._holds:
        world.consumer._holds._lose(held, "the receipt is lost")
    world.consumer.stop()
    await asyncio.sleep(5)
    assert not run.done()
    run.cancel()
    await asyncio.wait([run])
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("hold ")]
    await world.refreshes.stop()
