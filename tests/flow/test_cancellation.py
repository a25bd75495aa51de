"""However messages are cancelled, all room comes back: a leak would stop the service slowly."""

import asyncio
import random

import pytest

from jibe_sqs.core.errors import LogStoreUnavailable


def _lose(consumer, chance):
    """Another consumer gets some of the held messages."""
    helds = [held for held in consumer._holds if held.task is not None]
    for held in chance.sample(helds, min(len(helds), chance.choice([1, 1, 3, 30]))):
        held.lost = True
        held.task.cancel()


@pytest.mark.parametrize("seed", range(8))
async def test_messages_that_are_cancelled_at_any_moment_give_all_their_room_back(flow, seed):
    """Many messages announce the same few files, so they wait for each other, for reading, for buckets, for refreshes."""
    chance = random.Random(seed)
    world = flow.World(
        reading=chance.choice([1, 2, 8]), held=chance.choice([5, 30]), read_timeout=chance.choice([1.5, 3600.0])
    )
    world.logs.delay = chance.choice([0.0, 0.0, 0.3, 2.0])
    world.target.takes = chance.choice([0.0, 0.5, 5.0])
    keys = [world.put(str(number)) for number in range(6)]
    keys.append(world.put("bad", b"no log"))
    for _ in range(60):
        announced = flow.announcing(*chance.choices(keys, k=chance.choice([1, 1, 1, 2, 20])))
        world.queue.send(chance.choice([announced, announced, flow.s3_event("a/b")]))
    async with world.running():
        for _ in range(200):
            for _ in range(chance.randrange(12)):
                await asyncio.sleep(0)
            if chance.random() < 0.3:
                await asyncio.sleep(chance.random() * chance.choice([1, 1, 40]))
            if chance.random() < 0.5:
                _lose(world.consumer, chance)
            errors = chance.choice([world.logs.errors, world.logs.read_errors])
            key = chance.choice(keys)
            if chance.random() < 0.1:
                errors[key] = LogStoreUnavailable("503")
            elif chance.random() < 0.3:
                errors.pop(key, None)
        world.logs.errors.clear()
        world.logs.read_errors.clear()
    assert not world.handler._in_hand
