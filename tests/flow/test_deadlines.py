"""Many blocks share one timer, and each ends at its own time."""

import asyncio

import pytest

from jibe_sqs.concurrency.deadlines import Deadlines


async def test_a_block_that_takes_too_long_raises_a_timeout(flow):
    deadlines = Deadlines(5.0)
    block = deadlines.block()
    with pytest.raises(TimeoutError), block:
        await asyncio.sleep(60)
    assert flow.time() == pytest.approx(5)
    assert block.is_expired


async def test_each_block_has_all_of_its_time(flow):
    deadlines = Deadlines(5.0)
    ended = {}

    async def begin_at(moment: float, takes: float) -> None:
        await asyncio.sleep(moment)
        try:
            with deadlines.block():
                await asyncio.sleep(takes)
        except TimeoutError:
            ended[moment] = flow.time()

    await asyncio.gather(begin_at(0, 60), begin_at(1, 2), begin_at(2, 60), begin_at(4, 4), begin_at(30, 60))
    assert ended == {0: pytest.approx(5), 2: pytest.approx(7), 30: pytest.approx(35)}


async def test_a_block_that_ends_in_time_leaves_no_timer(flow):
    deadlines = Deadlines(5.0)
    with deadlines.block():
        await asyncio.sleep(1)
    await asyncio.sleep(60)
    assert deadlines._timer is None


async def test_a_cancelled_task_stays_cancelled_also_if_its_block_expires_at_the_same_moment(flow):
    deadlines = Deadlines(5.0)

    async def block() -> None:
        with deadlines.block():
            await asyncio.sleep(60)

    for moment in (3.0, 5.0):
        task = asyncio.create_task(block())
        asyncio.get_running_loop().call_later(moment, task.cancel)
        await asyncio.wait([task])
        assert task.cancelled()


async def test_an_error_of_the_block_is_raised_as_it_is():
    block = Deadlines(5.0).block()
    with pytest.raises(TimeoutError, match="of another"), block:
        raise TimeoutError("of another")
    assert not block.is_expired
