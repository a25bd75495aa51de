"""A dry run that does not acknowledge: its queue keeps every message, and no message goes round quickly."""

import asyncio
from itertools import pairwise

import pytest

from jibe_sqs.adapters.dry_run import DryRunTarget, UnacknowledgedQueue
from jibe_sqs.core.errors import DelayRefused, QueueUnavailable, ReceiptLost
from jibe_sqs.testing import InMemoryQueue
from jibe_sqs.testing.queue import MAX_DELAY

DELAY = 900.0
HOURS = 3600.0


class Pilot:
    """A service that does not acknowledge, on a queue in memory."""

    def __init__(self, flow, **options):
        self.queue = InMemoryQueue(**options)
        self.world = flow.World(queues=[UnacknowledgedQueue(self.queue, delay=DELAY)], opened=False)

    async def run(self, seconds):
        async with self.world.running():
            await asyncio.sleep(seconds)  # virtual

    def receives(self, message):
        return [at for id_, at in self.queue.deliveries if id_ == message]


def warnings(events):
    return [event for event in events if event["log_level"] == "warning"]


async def test_a_message_that_is_done_stays_and_is_received_again_after_the_delay(flow):
    pilot = Pilot(flow)
    key = pilot.world.put("a")
    message = pilot.queue.send(flow.announcing(key))
    await pilot.run(5 * HOURS)
    assert list(pilot.queue.messages) == [message]
    assert not pilot.queue.deleted
    receives = pilot.receives(message)
    assert len(receives) > 2
    assert all(later - earlier >= DELAY for earlier, later in pairwise(receives))
    # Its log file was read once.
    assert pilot.world.logs.opens == {key: 1}


@pytest.mark.parametrize("body", ["no JSON", '{"s3Bucket": "trail-logs", "s3ObjectKey": ["missing.json.gz"]}'])
async def test_a_message_that_would_be_rejected_or_retried_stays_too_and_comes_back_ever_later(flow, body):
    pilot = Pilot(flow)
    message = pilot.queue.send(body)
    await pilot.run(5 * HOURS)
    assert list(pilot.queue.messages) == [message]
    assert not pilot.queue.dead_letters
    receives = pilot.receives(message)
    assert len(receives) < 5 * HOURS / DELAY + 10


async def test_the_receive_count_makes_no_dead_letter(flow, events):
    """The messages come back although they are done, so their counts grow."""
    pilot = Pilot(flow, max_receives=3)
    pilot.queue.send('{"s3Bucket": "trail-logs", "s3ObjectKey": ["missing.json.gz"]}')
    await pilot.run(60)
    assert not [event for event in events if event["event"] == "message_rejected"]
    [warning] = [event for event in warnings(events) if event["event"] == "dry_run_uses_up_receives"]
    assert warning["max_receives"] == 3


async def test_a_queue_without_a_redrive_policy_needs_no_warning(flow, events):
    await Pilot(flow).run(10)
    assert not warnings(events)


async def test_a_message_that_cannot_be_hidden_for_so_long_counts_as_settled(flow):
    """SQS hides no message for more than twelve hours: it becomes visible by itself."""
    queue = InMemoryQueue()
    message = queue.send("body")
    [received] = await queue.receive(1, wait=0, visibility=60)
    assert not await UnacknowledgedQueue(queue, delay=MAX_DELAY).delete([received.receipt])
    queue.entry_errors["show_after"][message] = [DelayRefused("beyond the limit")]
    assert not await UnacknowledgedQueue(queue, delay=DELAY).delete([received.receipt])


async def test_the_depth_of_the_queue_is_seen(flow):
    queue = InMemoryQueue()
    queue.send("body")
    assert await UnacknowledgedQueue(queue, delay=DELAY).depth() == await queue.depth()


async def test_other_failures_are_reported(flow):
    queue = InMemoryQueue()
    message = queue.send("body")
    [received] = await queue.receive(1, wait=0, visibility=60)
    for error in (ReceiptLost("lost"), QueueUnavailable("503")):
        queue.entry_errors["show_after"][message] = [error]
        assert await UnacknowledgedQueue(queue, delay=DELAY).delete([received.receipt]) == {received.receipt: error}


@pytest.mark.parametrize(("acknowledges", "consequence"), [(True, "messages are deleted"), (False, "visible again")])
async def test_the_warning_at_the_start_says_what_becomes_of_the_messages(events, acknowledges, consequence):
    DryRunTarget(acknowledges=acknowledges)
    [event] = warnings(events)
    assert consequence in event["consequence"]
