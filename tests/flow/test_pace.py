"""A folder is refreshed less often if its refreshes take long."""

import asyncio

from jibe_sqs.core.model import Folder
from jibe_sqs.syncing.pace import Costs, Pace

A, B, TREE = Folder("/data/a"), Folder("/data/b"), Folder("/data/a", tree=True)


def pace_of(flow, costs=None, **options):
    return Pace(flow.VirtualClock(), costs or Costs(), **{"folders": 5.0, "trees": 30.0} | options)


def test_a_folder_that_was_never_refreshed_costs_nothing():
    assert Costs().expected(A) == 0


def test_the_cost_of_a_folder_is_a_moving_average_and_one_slow_refresh_counts_half():
    costs = Costs()
    costs.learn(A, 10)
    assert costs.expected(A) == 5
    for _ in range(20):
        costs.learn(A, 10)
    assert 9.9 < costs.expected(A) <= 10
    assert costs.expected(B) == 0


def test_a_folder_that_is_fast_again_is_removed():
    """Nearly all folders are fast. The memory must not grow with their number."""
    costs = Costs()
    costs.learn(A, 10)
    for _ in range(10):
        costs.learn(A, 0.1)
    for i in range(1000):
        costs.learn(Folder(f"/data/{i}"), 0.2)
    assert costs.expected(A) == 0
    assert not costs._costs


def test_the_number_of_stored_costs_is_limited():
    costs = Costs(max_folders=10)
    for i in range(100):
        costs.learn(Folder(f"/data/{i}"), 60)
        costs.learn(A, 60)
    assert len(costs._costs) == 10
    assert costs.expected(A) > 0
    assert costs.expected(Folder("/data/0")) == 0


async def test_the_first_turn_is_now_and_the_next_is_one_interval_after_the_last_beginning(flow):
    pace = pace_of(flow)
    assert pace.turn_in(A) == 0
    await asyncio.sleep(2)
    pace.ended(A, began=1)
    assert pace.turn_in(A) == 4
    assert pace.turn_in(B) == pace.turn_in(TREE) == 0
    await asyncio.sleep(4)
    assert pace.turn_in(A) == 0


async def test_a_slow_folder_waits_as_long_as_its_refresh_takes(flow):
    costs = Costs()
    pace = pace_of(flow, costs)
    for _ in range(30):
        costs.learn(A, 60)
    await asyncio.sleep(60)
    pace.ended(A, began=0)
    assert 59 < pace.turn_in(A) <= 60


async def test_trees_have_an_interval_of_their_own(flow):
    pace = pace_of(flow)
    pace.ended(TREE, began=0)
    pace.ended(A, began=0)
    assert (pace.turn_in(TREE), pace.turn_in(A)) == (30, 5)


async def test_with_an_interval_of_zero_slow_folders_do_not_wait_either(flow):
    costs = Costs()
    costs.learn(A, 1000)
    pace = pace_of(flow, costs, folders=0)
    pace.ended(A, began=0)
    assert pace.turn_in(A) == 0


async def test_turns_that_are_over_are_removed(flow):
    """Also if the later turn of one folder is stored before earlier turns of other folders."""
    costs = Costs()
    costs.learn(A, 1000)
    pace = pace_of(flow, costs)
    pace.ended(A, began=0)
    for i in range(500):
        pace.ended(Folder(f"/data/{i}"), began=flow.time())
        await asyncio.sleep(1)
    assert len(pace._turns) <= 7
    assert len(pace._by_turn) <= 7
    assert pace.turn_in(A) == 500


async def test_the_number_of_stored_turns_is_limited(flow):
    pace = pace_of(flow, folders=3600, max_folders=10)
    for i in range(100):
        pace.ended(Folder(f"/data/{i}"), began=flow.time() + i)
    assert len(pace._turns) == len(pace._by_turn) == 10
    assert pace.turn_in(Folder("/data/99")) > 0
