"""A race against a limit."""

import asyncio

import pytest

from jibe_sqs.concurrency.first_of import first_of


async def _after(seconds, result=None, error=None):
    await asyncio.sleep(seconds)
    if error is not None:
        raise error
    return result


async def test_the_result_of_what_was_wanted_is_returned(flow):
    assert await first_of(_after(1, "wanted"), asyncio.sleep(5)) == "wanted"
    assert flow.time() == 1


async def test_none_is_returned_when_the_limit_ends_first_and_the_other_is_cancelled(flow):
    wanted = asyncio.ensure_future(_after(60, "wanted"))
    assert await first_of(wanted, asyncio.sleep(5)) is None
    assert wanted.cancelled()
    assert flow.time() == 5


async def test_an_error_of_what_was_wanted_is_raised():
    with pytest.raises(ZeroDivisionError):
        await first_of(_after(1, error=ZeroDivisionError()), asyncio.sleep(5))


async def test_if_both_have_ended_what_was_wanted_counts():
    wanted, limit = asyncio.ensure_future(_after(0, "wanted")), asyncio.ensure_future(_after(0))
    await asyncio.gather(wanted, limit)
    assert await first_of(wanted, limit) == "wanted"


async def test_both_are_cancelled_with_their_caller():
    wanted, limit = asyncio.ensure_future(asyncio.sleep(60)), asyncio.ensure_future(asyncio.sleep(60))
    race = asyncio.create_task(first_of(wanted, limit))
    await asyncio.sleep(1)
    race.cancel()
    with pytest.raises(asyncio.CancelledError):
        await race
    assert wanted.cancelled()
    assert limit.cancelled()
