"""Each call of Access Anywhere is counted once a try, by function and outcome, with its duration."""

import asyncio

import pytest
from tests.adapters.test_access_anywhere_faults import ROOT, a_world
from tests.clocks import in_virtual_time

from jibe_sqs.adapters.access_anywhere.wire.tries import MAX_FUNCTIONS, Tries
from jibe_sqs.core.errors import AccessAnywhereUnavailable, CallFailed
from jibe_sqs.sandbox.access_anywhere import Down, Faults


def assert_each_try_counts_once(client):
    """The outcomes of each function add up to its calls, and so do its durations."""
    assert client.tries.outcomes.keys() == client.calls.keys()
    for function, outcomes in client.tries.outcomes.items():
        assert outcomes.total() == client.calls[function] == client.tries.seconds[function].count, function


@in_virtual_time
async def test_answers_are_ok_and_errors_of_the_server_are_refused():
    """A refresh, and a call for a folder that does not exist."""
    async with a_world() as world:
        assert await world.asked(world.change(1)) == []
        with pytest.raises(CallFailed):
            await world.client.call("getFolderContents", {"fi_pid": "no such folder"})
        outcomes = world.client.tries.outcomes
        assert outcomes["getFolderContents"]["ok"] >= 2
        assert outcomes["getFolderContents"]["refused"] == 1
        assert outcomes["getTokenByAuthToken"] == {"ok": 1}
        assert world.client.logins == {"ok": 1}
        await asyncio.sleep(60)
        assert world.client.token_age == pytest.approx(60, abs=30)
        assert_each_try_counts_once(world.client)


@in_virtual_time
async def test_calls_without_an_answer_are_retried_until_the_last_one_fails():
    """A short outage costs retries only. Of a call that gives up, the last try is failed."""
    async with a_world() as world:
        await world.set_faults(Faults(down=Down(seconds=20)))
        assert await world.asked(world.change(3)) == []
        outcomes = world.client.tries.outcomes
        assert sum(each["retried"] for each in outcomes.values()) > 0
        # The circuit's probes are not repeated by themselves.
        others = [each for function, each in outcomes.items() if function != "getApplianceInfo"]
        assert sum(each["failed"] for each in others) == 0
        assert_each_try_counts_once(world.client)

        await world.set_faults(Faults(down=Down()))
        with pytest.raises(AccessAnywhereUnavailable):
            await world.client.version(once=True)
        assert outcomes["getApplianceInfo"]["failed"] > 0
        await world.clear()
        await world.client.circuit.passable()
        assert await world.client.check_path(f"{ROOT}/f00") is not None
        assert_each_try_counts_once(world.client)


def test_functions_beyond_the_limit_count_together():
    """Only the operator's configuration names other functions than ours, so this is a belt and braces."""
    tries = Tries()
    for number in range(2 * MAX_FUNCTIONS):
        tries.ended(f"function {number}", "ok", 0.1)
    assert len(tries.seconds) == MAX_FUNCTIONS + 1
    assert tries.outcomes["other"]["ok"] == MAX_FUNCTIONS
