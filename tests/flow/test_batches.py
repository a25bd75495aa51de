"""Up to ten items are sent in one call, and each gets its own answer."""

import asyncio

import pytest

from jibe_sqs.concurrency.batches import Batches
from jibe_sqs.core.errors import QueueUnavailable


class Sender:
    """Records the batches and their times. Fails the items in `bad`, or whole calls."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.times: list[float] = []
        self.bad: dict[int, Exception] = {}
        self.error: Exception | None = None
        self.gate: asyncio.Event | None = None

    async def __call__(self, items):
        self.batches.append(list(items))
        self.times.append(asyncio.get_running_loop().time())
        if self.gate:
            await self.gate.wait()
        if self.error:
            raise self.error
        return [self.bad.get(item) for item in items]


async def test_ten_items_are_sent_at_once_and_the_rest_after_the_linger_time():
    send = Sender()
    batches = Batches(send, linger=0.05)
    await asyncio.gather(*(batches.add(i) for i in range(23)))
    assert [len(batch) for batch in send.batches] == [10, 10, 3]
    assert [item for batch in send.batches for item in batch] == list(range(23))
    assert send.times == [0, 0, pytest.approx(0.05)]


async def test_a_batch_of_all_items_that_can_come_does_not_wait():
    """On a quiet queue, a message would wait for others that are not there."""
    send = Sender()
    batches = Batches(send, linger=5.0, expected=lambda: 3)
    await asyncio.gather(*(batches.add(i) for i in range(3)))
    assert send.times == [0]


async def test_items_that_are_being_sent_are_not_waited_for(flow):
    send = Sender()
    send.gate = asyncio.Event()
    expected = 2
    batches = Batches(send, linger=5.0, expected=lambda: expected)
    adding = [asyncio.create_task(batches.add(i)) for i in range(2)]
    await flow.settled()
    expected = 3
    adding.append(asyncio.create_task(batches.add(2)))
    await flow.settled()
    assert send.batches == [[0, 1], [2]]
    send.gate.set()
    await asyncio.gather(*adding)


async def test_a_batch_waits_for_items_that_may_still_come_but_not_for_long():
    send = Sender()
    batches = Batches(send, linger=0.25, expected=lambda: 7)
    await asyncio.gather(*(batches.add(i) for i in range(3)))
    assert send.times == [pytest.approx(0.25)]


async def test_each_item_gets_its_own_answer():
    """airflow #73423, redpanda connect #182: a batch can fail entry by entry."""
    send = Sender()
    send.bad = {3: QueueUnavailable("3"), 7: QueueUnavailable("7")}
    batches = Batches(send)
    answers = await asyncio.gather(*(batches.add(i) for i in range(10)), return_exceptions=True)
    assert [str(answer) if answer else None for answer in answers] == [
        None, None, None, "3", None, None, None, "7", None, None,
    ]  # fmt: skip


async def test_a_send_that_raises_fails_all_its_items_and_the_next_batch_is_sent():
    send = Sender()
    send.error = QueueUnavailable("503")
    batches = Batches(send)
    answers = await asyncio.gather(*(batches.add(i) for i in range(3)), return_exceptions=True)
    assert [str(answer) for answer in answers] == ["503"] * 3
    send.error = None
    await batches.add(4)


async def test_a_cancelled_caller_does_not_affect_the_others(flow):
    send = Sender()
    send.gate = asyncio.Event()
    batches = Batches(send)
    tasks = [asyncio.create_task(batches.add(i)) for i in range(10)]
    await flow.settled()
    tasks[4].cancel()
    await flow.settled()
    send.gate.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(answer, asyncio.CancelledError) for answer in answers] == [i == 4 for i in range(10)]


async def test_items_that_are_added_while_a_batch_is_sent_go_into_the_next_batch():
    send = Sender()
    send.gate = asyncio.Event()
    batches = Batches(send, size=2)
    first = [asyncio.create_task(batches.add(i)) for i in (1, 2)]
    await asyncio.sleep(0.1)
    second = [asyncio.create_task(batches.add(i)) for i in (3, 4)]
    await asyncio.sleep(0.1)
    assert send.batches == [[1, 2], [3, 4]]
    send.gate.set()
    await asyncio.gather(*first, *second)


async def test_too_few_answers_fail_the_items_without_an_answer():
    """A defect of the sender. Its callers get an error instead of waiting for ever."""

    async def send(items):
        return [None]

    batches = Batches(send)
    answers = await asyncio.gather(*(batches.add(i) for i in range(3)), return_exceptions=True)
    assert all(isinstance(answer, ValueError) for answer in answers)


async def test_a_batch_is_sent_completely_also_if_its_callers_are_gone():
    send = Sender()
    send.gate = asyncio.Event()
    batches = Batches(send, linger=3600)
    waiters = [asyncio.ensure_future(batches.add(i)) for i in range(11)]
    await asyncio.sleep(0)
    for waiter in waiters:
        waiter.cancel()
    finished = asyncio.ensure_future(batches.finished())
    await asyncio.sleep(1)
    assert send.batches == [list(range(10)), [10]]  # at the end, an item does not wait for a full batch
    assert not finished.done()
    send.gate.set()
    await finished
