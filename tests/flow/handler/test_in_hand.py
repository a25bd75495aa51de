"""If several messages announce one log file at the same time, it is read once."""

import asyncio
import json

import pytest
from tests.flow.handler.log_files import (
    announcing_version,
    read_in_progress,
)

from jibe_sqs.core.errors import (
    AccessAnywhereUnavailable,
    LogMissing,
    LogTampered,
)
from jibe_sqs.core.model import Done, Message, Reject, Retry


async def test_a_file_that_two_messages_announce_at_the_same_time_is_opened_once_and_both_are_done(flow, world):
    """A file may be swept and announced, or announced by CloudTrail and by S3."""
    world.logs.delay = 10.0
    world.target.takes = 60.0
    key = world.put("a")
    first = await read_in_progress(flow, world, flow.announcing(key))
    second = asyncio.create_task(world.handle(flow.s3_event(key, bucket=flow.LOG_BUCKET)))
    await asyncio.sleep(30)
    assert not second.done()  # read, but not refreshed
    assert await asyncio.gather(first, second) == [Done(), Done()]
    assert world.logs.opens[key] == 1
    assert len(world.target.runs) == 1
    assert (world.counters.files, world.counters.files_known, world.counters.events) == (1, 1, 1)
    assert not world.handler._in_hand


async def test_a_file_that_one_message_announces_twice_is_read_once(flow, world):
    key = world.put("a")
    assert await world.handle(flow.announcing(key, key)) == Done()
    assert world.logs.opens[key] == 1


async def test_a_file_that_was_replaced_between_its_two_announcements_in_one_message_is_done(flow, world):
    """Neither announcement has a version, and the ETags that they name differ from the stored one."""
    key = world.put("a")
    records = [json.loads(flow.s3_event(key, bucket=flow.LOG_BUCKET))["Records"][0] for _ in range(2)]
    for record, etag in zip(records, ("first", "second"), strict=True):
        record["s3"]["object"]["eTag"] = etag
    assert await world.handle(json.dumps({"Records": records})) == Done()
    assert world.logs.opens[key] == 1


async def test_two_messages_that_announce_the_same_two_files_in_opposite_order_are_both_done(flow, world):
    world.logs.delay = 10.0
    one, two = world.put("one"), world.put("two")
    first = await read_in_progress(flow, world, flow.announcing(one, two))
    assert await world.handle(flow.announcing(two, one)) == Done()
    assert await first == Done()
    assert world.logs.opens == {one: 1, two: 1}


@pytest.mark.parametrize("when", ["while it is read", "while it is refreshed"])
async def test_if_the_first_message_is_cancelled_the_second_reads_the_file(flow, world, when):
    world.logs.delay = 10.0
    world.target.held = {"/data/a"}
    body = flow.announcing(world.put("a"))
    first = await read_in_progress(flow, world, body)
    if when == "while it is refreshed":
        await flow.until(lambda: world.target.runs)
    second = asyncio.create_task(world.handle(body))
    await flow.settled()
    first.cancel()
    await asyncio.wait([first])
    assert first.cancelled()
    assert not world.ledger.finished
    world.target.release()
    assert await second == Done()
    assert world.logs.opens.total() == 2
    assert not world.handler._in_hand


async def test_after_an_unexpected_exception_in_the_first_message_the_second_reads_the_file(flow, world):
    world.logs.delay = 10.0
    key = world.put("a")
    world.logs.errors[key] = ZeroDivisionError("a bug")
    first = await read_in_progress(flow, world, flow.announcing(key))
    second = asyncio.create_task(world.handle(flow.announcing(key)))
    with pytest.raises(ZeroDivisionError):
        await first
    world.logs.errors.clear()
    assert await second == Done()


@pytest.mark.parametrize("where", ["in the file", "in its refresh"])
async def test_an_error_reaches_both_messages(flow, world, where):
    world.logs.delay = 10.0
    key = world.put("a")
    if where == "in the file":
        world.logs.errors[key] = LogMissing("404")
    else:
        world.target.errors["/data/a"] = [AccessAnywhereUnavailable("404")]
    first = await read_in_progress(flow, world, flow.announcing(key))
    verdicts = await asyncio.gather(first, world.handle(flow.announcing(key)))
    assert [(type(verdict), verdict.reason[-3:]) for verdict in verdicts] == [(Retry, "404")] * 2
    assert world.logs.opens[key] == 1


async def test_a_message_with_another_version_of_the_file_reads_it_afterwards(flow, world):
    world.logs.delay = 10.0
    key = world.put("a")
    first = await read_in_progress(flow, world, announcing_version(flow, key, "v1"))
    same = asyncio.create_task(world.handle(announcing_version(flow, key, "v1")))
    assert await world.handle(announcing_version(flow, key, "v2")) == Done()
    assert await asyncio.gather(first, same) == [Done(), Done()]
    assert world.logs.opens[key] == 2


async def test_two_versions_of_one_key_in_one_message_are_both_read(flow, world):
    """They begin together each time, so the second one would never be read."""
    key = world.put("a")
    bodies = [json.loads(announcing_version(flow, key, version)) for version in ("v1", "v2")]
    body = json.dumps({"Records": [record for each in bodies for record in each["Records"]]})
    assert await world.handle(body) == Done()
    assert world.logs.opens[key] == 2


async def test_a_permanent_error_of_one_version_does_not_reject_another_version(flow, verified):
    """A broken file may be replaced by a new version while the old one is being read."""
    verified.logs.delay = 10.0
    key = verified.put("a")
    verified.verifier.errors[key] = [LogTampered("changed")]
    first = await read_in_progress(flow, verified, announcing_version(flow, key, "v1"))
    mended = await verified.handle(announcing_version(flow, key, "v2"))
    assert isinstance(await first, Reject)
    assert mended == Done()


async def test_the_place_is_left_when_each_file_is_read_or_is_read_by_another_message(flow, world):
    world.logs.delay = 10.0
    world.target.held = {"/data/a", "/data/b"}
    a, b = world.put("a"), world.put("b")
    first = await read_in_progress(flow, world, flow.announcing(a))
    await asyncio.sleep(5)
    reading, waiting = flow.WatchedInHand(), flow.WatchedInHand()
    message = Message("id", "receipt", flow.announcing(a, b).encode())
    second = asyncio.create_task(world.handler.handle(message, world.policy, reading))
    message = Message("id", "receipt", flow.announcing(a).encode())
    third = asyncio.create_task(world.handler.handle(message, world.policy, waiting))
    await asyncio.sleep(100)
    # The third message reads nothing; the second reads only the file that no other message has in hand.
    assert (waiting.left, reading.left) == ([5.0], [15.0])
    world.target.release()
    assert await asyncio.gather(first, second, third) == [Done()] * 3
