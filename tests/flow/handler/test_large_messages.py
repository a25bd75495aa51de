"""A message that announces a great deal: it is worked off in parts, and keeps little while it waits."""

import asyncio
import json
import tracemalloc

from jibe_sqs.consuming.handler import FILES_AT_ONCE
from jibe_sqs.core.errors import LogMissing
from jibe_sqs.core.model import Reject, Retry


async def test_a_message_that_waits_for_a_refresh_keeps_nothing_of_its_other_records(flow, world):
    """Each unreadable record is an error with a traceback, and takes much more memory than its text."""
    world.target.held.add("/data/a")
    unreadable = [{"s3": {"bucket": {}}}] * 5000
    body = json.dumps({"Records": [*json.loads(flow.s3_event("a/file"))["Records"], *unreadable]})
    tracemalloc.start()
    try:
        handling = asyncio.create_task(world.handle(body))
        await flow.until(lambda: world.target.runs_of("/data/a"))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    world.target.release()
    assert isinstance(await handling, Reject)
    assert kept < len(body) + 300_000


async def test_a_message_that_waits_for_a_refresh_keeps_no_traceback_of_a_file_that_failed(flow, world):
    world.target.held.add("/data/a")
    world.put("a")
    error = world.logs.errors[flow.log_key("b")] = LogMissing("404")
    handling = asyncio.create_task(world.handle(flow.announcing(flow.log_key("a"), flow.log_key("b"))))
    await flow.until(lambda: world.target.runs_of("/data/a"))
    assert error.__traceback__ is None
    world.target.release()
    assert isinstance(await handling, Retry)


async def test_the_files_of_one_message_are_read_a_few_at_a_time(flow):
    world = flow.World(reading=64)
    world.logs.delay = 1.0
    world.queue.send(flow.announcing(*(world.put(f"{i}") for i in range(100))))
    async with world.running():
        await flow.until(lambda: world.queue.deleted)
    assert world.logs.max_open == FILES_AT_ONCE


async def test_all_messages_together_read_a_limited_number_of_files(flow):
    world = flow.World(reading=20)
    world.logs.delay = 1.0
    for message in range(5):
        world.queue.send(flow.announcing(*(world.put(f"{message}-{i}") for i in range(30))))
    async with world.running():
        await flow.until(lambda: len(world.queue.deleted) == 5)
    assert world.logs.max_open == 20


async def test_a_message_begins_no_further_files_while_those_that_wait_use_up_its_bytes(flow):
    """And one after the other they are all done in the end, although the message never has all of its bytes."""
    world = flow.World(bytes_held=2 * 1024 * 1024)
    keys = [world.put(f"{i}") for i in range(300)]
    world.target.held.update(f"/data/{i}" for i in range(300))
    world.queue.send(flow.announcing(*keys))
    async with world.running():
        await flow.until(lambda: world.logs.opens.total() > 10)
        await asyncio.sleep(60)
        begun = world.logs.opens.total()
        assert 10 < begun < 100
        other = world.send_log("other")
        await flow.until(lambda: [id_ for id_, _ in world.queue.deleted] == [other])
        world.target.release()
        await flow.until(lambda: len(world.queue.deleted) == 2)
    assert world.logs.opens.total() == 301


async def test_a_message_with_many_errors_counts_all_and_keeps_the_decisive_one(flow, world):
    keys = [flow.log_key(f"{i}") for i in range(100)]
    verdict = await world.handle(flow.announcing(*keys))
    assert isinstance(verdict, Retry)
    assert verdict.reason.endswith("(and 99 more)")
    assert keys[0] in verdict.reason
    assert world.counters.errors == {"LogMissing": 100}
