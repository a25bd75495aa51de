"""A budget grants its units in the order of the requests, and never more than it has."""

import asyncio
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jibe_sqs.concurrency.budget import Budget, Place


async def test_take_returns_all_requested_units_or_at_least_the_minimum():
    budget = Budget(10)
    assert await budget.take(4) == 4
    assert await budget.take(10, least=1) == 6
    assert budget.free == 0


async def test_a_large_request_is_not_starved_by_small_ones(flow):
    """redpanda and vector #20172: the first request is granted first, also if later ones are smaller."""
    budget = Budget(10)
    await budget.take(1)
    large = asyncio.create_task(budget.take(10))
    await flow.settled()
    small = [asyncio.create_task(budget.take(1)) for _ in range(20)]
    await flow.settled()
    assert not any(task.done() for task in small)  # although 9 are free
    budget.give(1)
    assert await large == 10
    assert not any(task.done() for task in small)
    budget.give(10)
    await flow.settled()
    assert [task.done() for task in small] == [True] * 10 + [False] * 10
    budget.give(10)
    await asyncio.gather(*small)
    assert budget.free == 0


async def test_a_request_larger_than_the_budget_is_granted_when_all_units_are_free(flow):
    budget = Budget(5)
    await budget.take(1)
    huge = asyncio.create_task(budget.take(500))
    await flow.settled()
    assert not huge.done()
    budget.give(1)
    assert await huge == 5
    budget.give(5)
    assert budget.free == 5


async def test_a_share_is_given_back_at_the_end_of_its_block():
    budget = Budget(10)
    with suppress(ZeroDivisionError):
        async with budget.share(4) as share:
            assert (share.amount, budget.free) == (4, 6)
            raise ZeroDivisionError
    assert budget.free == 10


async def test_a_share_can_be_reduced_but_not_grow():
    budget = Budget(10)
    async with budget.share(100) as share:
        assert budget.free == 0
        share.reduce_to(3)
        assert (share.amount, budget.free) == (3, 7)
        share.reduce_to(5)
        assert (share.amount, budget.free) == (3, 7)
    assert budget.free == 10


async def test_a_request_with_patience_waits_for_all_units_while_units_are_given_back(flow):
    """Under a backlog, units become free one by one. A receive for each of them would cost eight times as much."""
    budget = Budget(20)
    await budget.take(20)
    request = asyncio.create_task(budget.take(10, least=1, patience=0.5))
    for _ in range(9):
        await asyncio.sleep(0.4)
        budget.give()
    assert not request.done()
    budget.give()
    assert await request == 10
    assert budget.free == 0


async def test_a_request_with_patience_takes_what_there_is_when_no_more_is_given_back(flow):
    budget = Budget(20)
    await budget.take(17)
    began = flow.time()
    assert await budget.take(10, least=1, patience=0.5) == 3
    assert flow.time() - began == pytest.approx(0.5)


async def test_each_request_of_a_line_is_as_patient_as_the_first(flow):
    """Its patience begins when it is the first: otherwise the requests at the end of a long line take single units."""
    budget = Budget(20)
    await budget.take(20)
    requests = [asyncio.create_task(budget.take(10, least=1, patience=0.5)) for _ in range(5)]
    for _ in range(50):
        await asyncio.sleep(0.1)
        budget.give()
    assert await asyncio.gather(*requests) == [10] * 5


async def test_a_request_with_patience_that_is_cancelled_leaves_its_patience_to_the_next(flow):
    budget = Budget(20)
    await budget.take(18)
    first, second = (asyncio.create_task(budget.take(10, least=1, patience=0.5)) for _ in range(2))
    await asyncio.sleep(0.4)
    first.cancel()
    await asyncio.sleep(0.4)
    assert not second.done()
    assert await second == 2
    assert flow.time() == pytest.approx(0.9)


async def test_units_are_taken_at_once_only_if_nobody_waits_for_them(flow):
    budget = Budget(3)
    assert budget.take_now(2)
    assert not budget.take_now(2)
    waiting = asyncio.create_task(budget.take(3))
    await flow.settled()
    assert budget.free == 1
    assert not budget.take_now(1)
    budget.give(2)
    assert await waiting == 3


@pytest.fixture
def taken():
    """A budget of three units whose only taken unit is a place."""
    budget = Budget(3)
    budget.free = 2
    return budget, Place(budget)


def test_a_place_goes_back_when_its_last_part_ends(taken):
    budget, place = taken
    first, second = place.part(), place.part()
    with first:
        assert budget.free == 2
    assert budget.free == 2
    with second:
        assert budget.free == 2
    assert budget.free == 3


def test_a_place_is_kept_for_a_part_that_was_created_and_not_entered_yet(taken):
    """A part is created before the task that enters it runs. The place must not go back in between."""
    budget, place = taken
    with place.part():
        later = place.part()
    assert budget.free == 2
    with later:
        assert budget.free == 2
    assert budget.free == 3


def test_a_place_goes_back_at_leave_although_a_part_was_never_entered(taken):
    """A task that is cancelled before its first step does not enter its part."""
    budget, place = taken
    place.part()
    with place.part():
        pass
    assert budget.free == 2
    place.leave()
    assert budget.free == 3


def test_a_place_goes_back_only_once(taken):
    budget, place = taken
    part = place.part()
    place.leave()
    place.leave()
    assert budget.free == 3
    with part:
        assert budget.free == 3
    place.leave()
    assert budget.free == 3


def test_a_place_goes_back_when_its_last_part_fails(taken):
    budget, place = taken
    with suppress(ZeroDivisionError), place.part():
        raise ZeroDivisionError
    assert budget.free == 3


async def test_a_cancelled_request_loses_no_units_and_wakes_the_next_request(flow):
    budget = Budget(2)
    await budget.take(2)
    first, second = (asyncio.create_task(budget.take(2)) for _ in range(2))
    await flow.settled()
    # The first request is woken and cancelled at the same moment. The next one must be woken.
    budget.give(2)
    first.cancel()
    assert await second == 2
    with suppress(asyncio.CancelledError):
        await first
    budget.give(2)
    assert budget.free == 2


_steps = st.lists(
    st.one_of(
        st.tuples(st.just("take"), st.integers(1, 12), st.one_of(st.none(), st.integers(1, 12))),
        st.tuples(st.just("give"), st.integers(0, 20), st.none()),
        st.tuples(st.just("cancel"), st.integers(0, 20), st.none()),
        st.tuples(st.just("turn"), st.integers(1, 5), st.none()),
    ),
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(size=st.integers(1, 8), steps=_steps)
def test_in_any_order_of_steps_no_unit_is_granted_twice_or_lost(flow, size, steps):
    async def main() -> None:
        budget, requests, taken = Budget(size), [], []

        async def request(most, least):
            amount = await budget.take(most, least=least)
            taken.append(amount)
            assert min(most, size, least or most) <= amount <= min(most, size)

        for what, number, least in steps:
            if what == "take":
                requests.append(asyncio.create_task(request(number, least)))
            elif what == "give" and taken:
                budget.give(taken.pop(number % len(taken)))
            elif what == "cancel" and requests:
                requests[number % len(requests)].cancel()
            elif what == "turn":
                for _ in range(number):
                    await asyncio.sleep(0)
            assert 0 <= budget.free <= size
            assert budget.free + sum(taken) <= size  # some may be granted to a task that has not run since
            if what == "turn":
                await flow.settled()
                assert budget.free + sum(taken) == size
        # All requests are granted if the taken units are given back.
        while not all(task.done() for task in requests):
            await flow.settled()
            while taken:
                budget.give(taken.pop())
        while taken:
            budget.give(taken.pop())
        assert budget.free == size
        for task in requests:
            if not task.cancelled():
                task.result()

    flow.virtually(main())


async def test_a_larger_budget_serves_requests_that_wait(flow):
    budget = Budget(2)
    await budget.take(2)
    waiting = asyncio.create_task(budget.take(3))
    await flow.settled()
    budget.resize(5)
    assert await waiting == 2  # the request was for all of the budget at that time
    assert budget.free == 1


async def test_a_smaller_budget_is_overdrawn_until_units_are_given_back(flow):
    budget = Budget(10)
    await budget.take(8)
    budget.resize(4)
    assert budget.free == -4
    waiting = asyncio.create_task(budget.take(10))
    budget.give(7)
    await flow.settled()
    assert not waiting.done()
    budget.give(1)
    assert await waiting == 4


async def test_a_request_for_more_than_the_smaller_budget_does_not_wait_for_ever(flow):
    budget = Budget(10)
    await budget.take(1)
    waiting = asyncio.create_task(budget.take(10))
    await flow.settled()
    budget.resize(3)
    budget.give(1)
    assert await waiting == 3
    assert budget.free == 0
