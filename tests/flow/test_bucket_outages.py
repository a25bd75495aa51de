"""While a log bucket is in an outage, its messages wait and use up no receives, and other buckets go on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from jibe_sqs.consuming import bucket_outages
from jibe_sqs.core.errors import LogAccessDenied, LogBucketMissing, LogMissing, LogStoreUnavailable
from jibe_sqs.core.model import LogFile
from jibe_sqs.testing import InMemoryLogStore

DAY = 86_400.0
ERRORS = [LogStoreUnavailable("SlowDown: 503"), LogAccessDenied("AccessDenied: 403"), LogBucketMissing("NoSuchBucket")]


class Bucket:
    """A log bucket of a world. `down(error)` makes every read fail until `up`."""

    def __init__(self, flow: Any, world: Any, name: str) -> None:
        self._flow, self._world, self.name = flow, world, name
        self.keys: list[str] = []
        self._error: Exception | None = None

    def send(self, *names: str) -> str:
        """Store log files in the bucket, and announce them in one message. Returns the id of the message."""
        keys = [self._flow.log_key(f"{self.name}-{name}") for name in names]
        for name, key in zip(names, keys, strict=True):
            self._world.logs.objects[self.name, key] = self._flow.log_of(f"{self.name}-{name}/file")
            if self._error:
                self._world.logs.errors[key] = self._error
        self.keys += keys
        return self._world.queue.send(self._flow.announcing(*keys, bucket=self.name))

    def down(self, error: Exception) -> None:
        self._error = error
        for key in self.keys:
            self._world.logs.errors[key] = error

    def up(self) -> None:
        self._error = None
        for key in self.keys:
            self._world.logs.errors.pop(key, None)


def world_of(flow: Any, **options: Any) -> Any:
    return flow.World(queue=flow.InMemoryQueue(max_receives=10, visibility_timeout=600.0), **options)


@pytest.mark.parametrize("error", ERRORS, ids=str)
@pytest.mark.parametrize("seconds", [3600.0, DAY])
async def test_an_outage_uses_up_no_receives_and_other_buckets_go_on(flow, error, seconds):
    """Ten receives were used up in 51 minutes."""
    world = world_of(flow)
    ill, well = Bucket(flow, world, "ill"), Bucket(flow, world, "well")
    ill.down(error)
    first = [ill.send(f"{i}") for i in range(5)]
    async with world.running():
        for hour in range(int(seconds / 3600)):
            id_ = well.send(f"{hour}")
            await flow.until(lambda id_=id_: id_ in [each for each, _ in world.queue.deleted])
            await asyncio.sleep(3600)
        assert not set(first) & {each for each, _ in world.queue.deleted}
        assert not world.queue.dead_letters
        assert max(world.queue.messages[id_].receive_count for id_ in first) <= 4
        ill.up()
        await flow.until(lambda: len(world.queue.deleted) == len(first) + seconds / 3600)
    assert not world.queue.dead_letters


async def test_the_messages_go_on_soon_after_the_outage(flow):
    world = world_of(flow)
    bucket = Bucket(flow, world, "ill")
    bucket.down(ERRORS[0])
    for i in range(40):
        bucket.send(f"{i}")
    async with world.running():
        await asyncio.sleep(4 * 3600)
        opens = sum(world.logs.opens.values())
        assert opens < 4 * 3600 / 40 + 40  # about once a minute, not once a minute for each file
        bucket.up()
        ended = flow.time()
        await flow.until(lambda: len(world.queue.deleted) == 40)
        assert flow.time() - ended < 120
    assert {each.receive_count for each in world.queue.messages.values()} <= {1}


async def test_a_refused_file_in_a_bucket_that_answers_becomes_a_dead_letter(flow):
    """S3 answers 403 for a missing object if we may not list the bucket. Only this message is retried and rejected."""
    world = world_of(flow)
    bucket = Bucket(flow, world, "trail")
    bucket.down(ERRORS[1])
    gone = bucket.send("gone")
    bucket._error = None
    async with world.running():
        for i in range(100):
            bucket.send(f"{i}")
            await asyncio.sleep(60)
        await flow.until(lambda: world.queue.dead_letters)
    assert [(id_, why.error) for id_, why in world.queue.dead_letters] == [(gone, "LogAccessDenied")]
    assert len(world.queue.deleted) == 101


async def test_one_refused_file_is_an_outage_after_five_minutes(flow):
    world = world_of(flow)
    bucket = Bucket(flow, world, "ill")
    bucket.down(ERRORS[1])
    bucket.send("only")
    async with world.running():
        await asyncio.sleep(300)
        assert not world.engine.outages.reasons
        refuses = ["Log bucket ill refuses files: 1 so far, and it has answered none since"]
        assert world.engine.outages.refusals == refuses
        await flow.until(lambda: world.engine.outages.reasons)
        assert not world.engine.outages.refusals
        await asyncio.sleep(2 * 3600)  # longer than ten receives with the delays of other errors
        bucket.up()
        await flow.until(lambda: world.queue.deleted)
    assert not world.queue.dead_letters


async def test_beyond_the_number_of_followed_buckets_messages_are_retried_as_after_other_errors(flow, monkeypatch):
    monkeypatch.setattr(bucket_outages, "MAX_BUCKETS", 1)
    world = world_of(flow)
    followed, other = Bucket(flow, world, "followed"), Bucket(flow, world, "other")
    for bucket in (followed, other):
        bucket.down(ERRORS[0])
    followed.send("a")
    async with world.running():
        await flow.until(lambda: world.engine.outages.reasons)
        id_ = other.send("b")
        await flow.until(lambda: world.queue.dead_letters)
        assert [(each, why.error) for each, why in world.queue.dead_letters] == [(id_, "LogStoreUnavailable")]
        assert len(world.engine.outages.reasons) == 1
        followed.up()
        await flow.until(lambda: len(world.queue.deleted) == 2)


async def test_missing_files_are_not_an_outage(flow):
    world = world_of(flow)
    bucket = Bucket(flow, world, "trail")
    bucket.down(LogMissing("404"))
    for i in range(5):
        bucket.send(f"{i}")
    async with world.running():
        await flow.until(lambda: len(world.queue.dead_letters) == 5)
        assert not world.engine.outages.reasons


async def test_if_too_many_messages_wait_the_others_return_to_the_queue_for_a_long_time(flow):
    """Half of the messages held may wait. The other half is for the other buckets."""
    world = world_of(flow, held=8, reading=8)
    ill, well = Bucket(flow, world, "ill"), Bucket(flow, world, "well")
    ill.down(ERRORS[0])
    ids = [ill.send(f"{i}") for i in range(30)]
    async with world.running():
        await flow.until(lambda: sum(world.queue.visible_in(id_) > 600 for id_ in ids) == 26)
        other = well.send("x")
        await flow.until(lambda: [id_ for id_, _ in world.queue.deleted] == [other])
        await asyncio.sleep(DAY)
        assert not world.queue.dead_letters
        ill.up()
        await asyncio.sleep(12 * 3600)  # the longest delay
        await flow.until(lambda: len(world.queue.deleted) == 31)
    assert not world.queue.dead_letters


async def test_a_short_outage_hides_no_message_for_hours(flow):
    """A message that had been received six times was hidden for eight hours after a failure of a second."""
    world = world_of(flow, held=4, reading=4)
    bucket = Bucket(flow, world, "trail")
    bucket.send("before")
    async with world.running():
        await flow.until(lambda: len(world.queue.deleted) == 1)
        bucket.down(ERRORS[0])
        ids = [bucket.send(f"{i}") for i in range(8)]
        for id_ in ids:
            world.queue.messages[id_].receive_count = 5
        await flow.until(lambda: sum(world.queue.visible_in(id_) > 600 for id_ in ids) == 6)
        bucket.up()
        assert max(world.queue.visible_in(id_) for id_ in ids) <= 900
        await flow.until(lambda: len(world.queue.deleted) == 9)


async def test_an_outage_ends_also_if_no_message_may_wait(flow):
    """Without a message that waits, the bucket was never tried again."""
    world = world_of(flow, held=1, reading=1)
    bucket = Bucket(flow, world, "trail")
    bucket.down(ERRORS[0])
    id_ = bucket.send("x")
    async with world.running():
        await flow.until(lambda: world.queue.visible_in(id_) > 600)
        bucket.up()
        await asyncio.sleep(1000)
        assert [each for each, _ in world.queue.deleted] == [id_]


async def test_a_bucket_is_tried_again_while_the_messages_of_another_one_take_all_the_room(flow):
    """A failure of a second lasted as long as the outage of the other bucket."""
    world = world_of(flow, held=4, reading=4)
    ill, well = Bucket(flow, world, "ill"), Bucket(flow, world, "well")
    ill.down(ERRORS[0])
    for i in range(4):
        ill.send(f"{i}")
    async with world.running():
        await asyncio.sleep(100)
        well.down(ERRORS[0])
        id_ = well.send("x")
        await flow.until(lambda: world.queue.visible_in(id_) > 600)
        well.up()
        await asyncio.sleep(1000)
        assert [each for each, _ in world.queue.deleted] == [id_]
        ill.up()


async def test_a_message_in_its_last_receive_waits_also_if_too_many_wait(flow):
    """If it returned to its queue, the queue would make it a dead letter."""
    world = flow.World(queue=flow.InMemoryQueue(max_receives=1), held=8, reading=8)
    bucket = Bucket(flow, world, "ill")
    bucket.down(ERRORS[0])
    ids = [bucket.send(f"{i}") for i in range(8)]
    async with world.running():
        await asyncio.sleep(3600)
        bucket.up()
        await flow.until(lambda: len(world.queue.deleted) == len(ids))
    assert not world.queue.dead_letters


@pytest.mark.parametrize("files", [40, 150])
@pytest.mark.parametrize("receives", [0, 9])
async def test_messages_with_many_files_wait_without_a_place_for_reading(flow, files, receives):
    """While all of its bytes were used up by files that waited, a message kept its place. A few of them stopped all reading."""
    world = world_of(flow, reading=4, bytes_held=2 * 1024 * 1024)
    ill, well = Bucket(flow, world, "ill"), Bucket(flow, world, "well")
    ill.down(ERRORS[0])
    for message in range(4):
        id_ = ill.send(*(f"{message}-{i}" for i in range(files)))
        world.queue.messages[id_].receive_count = receives
    async with world.running():
        await flow.until(lambda: world.engine.outages.reasons)
        await asyncio.sleep(600)
        other = well.send("x")
        await flow.until(lambda: [id_ for id_, _ in world.queue.deleted] == [other])
        assert world.reading.free >= 3  # at most one file tries the bucket
        ill.up()
        await flow.until(lambda: len(world.queue.deleted) == 5)
        assert world.reading.free == 4
    assert not world.queue.dead_letters


async def test_a_message_with_many_files_waits_as_one_message(flow):
    world = world_of(flow, held=8)
    bucket = Bucket(flow, world, "ill")
    bucket.down(ERRORS[0])
    bucket.send(*(f"{i}" for i in range(40)))
    async with world.running():
        await asyncio.sleep(600)
        bucket.up()
        await flow.until(lambda: world.queue.deleted)
    assert world.counters.receives == {1: 1}


async def test_a_message_in_its_last_receive_waits_by_itself_if_the_one_with_its_file_returns(flow):
    """It got the outcome of the other message, returned to its queue, and became a dead letter."""
    world = world_of(flow, held=3)
    bucket = Bucket(flow, world, "ill")
    bucket.down(ERRORS[0])
    world.logs.delay = 10.0
    # Only one message may wait for the bucket.
    bucket.send("a")
    first = bucket.send("b")
    last = world.queue.send(world.queue.messages[first].body.decode())
    world.queue.messages[last].receive_count = 9
    async with world.running():
        await flow.until(lambda: world.queue.visible_in(first) > 600)
        bucket.up()
        await flow.until(lambda: last in [id_ for id_, _ in world.queue.deleted])
    assert not world.queue.dead_letters


async def test_the_outage_is_named_in_health_and_in_the_log(flow, events):
    world = world_of(flow)
    bucket = Bucket(flow, world, "trail")
    bucket.down(ERRORS[1])
    for i in range(5):
        bucket.send(f"{i}")
    running = asyncio.create_task(world.service.run())
    await flow.until(lambda: world.engine.outages.reasons)
    (reason,) = world.health.readiness_failures
    assert reason.startswith("Log bucket trail cannot be read since 20")
    assert reason.endswith("(UTC): AccessDenied: 403")
    bucket.up()
    await flow.until(lambda: len(world.queue.deleted) == 5)
    assert not world.health.readiness_failures
    world.service.stop()
    await running
    names = [event["event"] for event in events]
    assert [names.count(name) for name in ("log_bucket_unreadable", "log_bucket_readable")] == [1, 1]


async def test_the_messages_of_one_file_count_as_waiting_and_leave_room_for_other_buckets(flow):
    """Copies of one announcement waited for the first of them without a limit, until all the room was used up."""
    world = world_of(flow, held=20, reading=10)
    ill, well = Bucket(flow, world, "ill"), Bucket(flow, world, "well")
    ill.down(ERRORS[0])
    ill.send("x")
    for _ in range(60):
        world.queue.send(flow.announcing(ill.keys[0], bucket="ill"))
    async with world.running():
        await asyncio.sleep(60)
        other = well.send("x")
        await flow.until(lambda: other in [id_ for id_, _ in world.queue.deleted])
        assert len(world.consumer._holds) <= 11  # one of them may be settled
        ill.up()
        await asyncio.sleep(1800)
        assert len(world.queue.deleted) == 62
    assert not world.queue.dead_letters


async def test_a_file_that_can_be_read_does_not_wait_behind_refused_files(flow):
    """A hundred files whose key we may not use held up a good one for more than an hour."""
    world = world_of(flow)
    bucket = Bucket(flow, world, "trail")
    bucket.down(ERRORS[1])
    for i in range(100):
        bucket.send(f"{i}")
    async with world.running():
        await asyncio.sleep(600)
        bucket._error = None
        good = bucket.send("good")
        await flow.until(lambda: good in [id_ for id_, _ in world.queue.deleted])
        assert flow.time() < 660
        bucket.up()  # the others still wait


class FirstIsSlow(InMemoryLogStore):
    """The first file that can be opened arrives in 3000 seconds."""

    def __init__(self) -> None:
        super().__init__()
        self._has_opened = False

    @asynccontextmanager
    async def open(self, file: LogFile) -> AsyncIterator[Any]:
        async with super().open(file) as stored:
            if self._has_opened:
                yield stored
            else:
                self._has_opened = True
                yield SlowLog(stored)


class SlowLog:
    def __init__(self, stored: Any) -> None:
        self.etag, self.size = stored.etag, stored.size
        self._stored = stored

    async def __aiter__(self) -> AsyncIterator[bytes]:
        await asyncio.sleep(3000)
        async for chunk in self._stored:
            yield chunk


async def test_the_messages_go_on_while_the_file_that_ended_the_outage_is_still_being_read(flow):
    """They waited until it was read to its end, an hour later."""
    world = world_of(flow, logs=FirstIsSlow())
    bucket = Bucket(flow, world, "trail")
    bucket.down(ERRORS[0])
    for i in range(10):
        bucket.send(f"{i}")
    async with world.running():
        await asyncio.sleep(600)
        bucket.up()
        await asyncio.sleep(120)
        assert len(world.queue.deleted) == 9
        await asyncio.sleep(3000)
        assert len(world.queue.deleted) == 10


@pytest.mark.parametrize("lost", ["the receipt of the reader", "the room of the reader"])
async def test_a_message_in_its_last_receive_reads_the_file_that_another_message_gave_up(flow, lost):
    """It would have returned to its queue with the other message's error, where it becomes a dead letter."""
    first, last = flow.InMemoryQueue("first"), flow.InMemoryQueue("last", max_receives=1)
    world = flow.World(queues=[first, last], held=2 if lost == "the room of the reader" else 100)
    bucket = Bucket(flow, world, "ill")
    bucket.down(ERRORS[0])
    bucket.send("x")
    running = [asyncio.create_task(consumer.run()) for consumer in world.engine.consumers]
    await flow.until(lambda: len(first.deliveries) == 1)
    last.send(flow.announcing(bucket.keys[0], bucket="ill"))
    await flow.until(lambda: len(last.deliveries) == 1)
    await asyncio.sleep(60)
    for held in list(world.engine.consumers[0]._holds):
        world.engine.consumers[0]._holds._lose(held, "lost")
    await asyncio.sleep(60)
    bucket.up()
    await flow.until(lambda: last.deleted)
    for consumer in world.engine.consumers:
        consumer.stop()
    await asyncio.gather(*running)
    await world.refreshes.stop()
    assert not last.dead_letters
