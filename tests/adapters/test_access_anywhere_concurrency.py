"""The slots for refreshes: their number, their order, and that no slot is lost. In virtual time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.clocks import VirtualClock, in_virtual_time, virtually
from tests.over_httpx import over_httpx

from jibe_sqs.adapters.access_anywhere import connect
from jibe_sqs.adapters.access_anywhere.flow.concurrency import AdaptiveConcurrency


def slots_of(most: int) -> AdaptiveConcurrency:
    return AdaptiveConcurrency(most, clock=VirtualClock())


def succeeded(slots: AdaptiveConcurrency, function: str, latency: float) -> None:
    """A call has just ended that took this long."""
    slots.succeeded(function, asyncio.get_running_loop().time() - latency, latency)


@asynccontextmanager
async def all_taken(slots: AdaptiveConcurrency) -> AsyncIterator[None]:
    """Hold all slots, so that all requests have to wait."""
    held = [slots.slot() for _ in range(slots.limit)]
    for slot in held:
        await slot.__aenter__()
    try:
        yield
    finally:
        for slot in held:
            await slot.__aexit__(None, None, None)


async def order_of(slots: AdaptiveConcurrency, costs: dict[str, float]) -> list[str]:
    """The order in which requests are served that arrive one after the other while no slot is free."""
    served: list[str] = []

    async def ask(name: str, cost: float) -> None:
        async with slots.slot(cost):
            served.append(name)
            await asyncio.sleep(0.001)

    async with all_taken(slots):
        asking = [asyncio.create_task(ask(name, cost)) for name, cost in costs.items()]
        await asyncio.sleep(1)
        assert slots.waiting == len(costs)
    await asyncio.gather(*asking)
    return served


# Order


@in_virtual_time
async def test_requests_of_equal_cost_are_served_in_their_order():
    assert await order_of(slots_of(1), dict.fromkeys("abcdef", 1.0)) == list("abcdef")


@in_virtual_time
async def test_requests_without_a_cost_are_served_in_their_order():
    assert await order_of(slots_of(2), dict.fromkeys("abcdef", 0.0)) == list("abcdef")


@in_virtual_time
async def test_a_cheap_request_overtakes_costly_ones():
    assert await order_of(slots_of(1), {"dear": 60, "dearer": 90, "cheap": 0.1}) == ["cheap", "dear", "dearer"]


@in_virtual_time
async def test_a_costly_request_is_served_while_cheap_ones_keep_coming():
    slots = slots_of(1)
    overtaken = 0

    async def cheap() -> None:
        nonlocal overtaken
        while True:
            async with slots.slot(0.0):
                overtaken += 1
                await asyncio.sleep(0.01)

    async with all_taken(slots):
        stream = [asyncio.create_task(cheap()) for _ in range(5)]
        await asyncio.sleep(1)
        slot = slots.slot(5.0)
        costly = asyncio.create_task(slot.__aenter__())
        await asyncio.sleep(1)
    await asyncio.wait_for(costly, 60)
    assert 50 <= overtaken <= 600
    for task in stream:
        task.cancel()
    await asyncio.gather(*stream, return_exceptions=True)


@in_virtual_time
async def test_a_costly_request_is_served_before_a_large_crowd_of_cheap_ones():
    """Cheap requests keep arriving. They may overtake the costly one for as long as its own cost, but no longer."""
    slots = slots_of(4)

    async def cheap() -> None:
        while True:
            async with slots.slot(0.0):
                await asyncio.sleep(0.1)

    crowd = [asyncio.create_task(cheap()) for _ in range(400)]
    await asyncio.sleep(20)
    began = asyncio.get_running_loop().time()
    async with slots.slot(10.0):
        waited = asyncio.get_running_loop().time() - began
    # Ten seconds for the cost, and ten seconds that every request waits for its turn.
    assert waited < 25
    for task in crowd:
        task.cancel()
    await asyncio.gather(*crowd, return_exceptions=True)


@settings(max_examples=150, deadline=None)
@given(
    most=st.integers(1, 6),
    arrivals=st.lists(
        st.tuples(
            st.floats(0, 2),  # seconds after the previous arrival
            st.sampled_from([0.0, 0.01, 0.5, 3.0, 60.0]),  # expected duration
            st.floats(0.001, 3),  # duration
            st.none() | st.floats(0, 5),  # seconds from arrival to cancellation
        ),
        max_size=40,
    ),
    strains=st.lists(st.floats(0.01, 20), max_size=5),
)
def test_every_request_is_served_no_slot_is_lost_and_the_limit_holds(most, arrivals, strains):
    """For any cancellations, while a request waits or holds its slot, and any overload of the server."""

    async def scenario() -> None:
        slots = slots_of(most)
        served: set[int] = set()

        async def refresh(number: int, cost: float, takes: float) -> None:
            async with slots.slot(cost):
                served.add(number)
                assert slots.running <= most
                began = asyncio.get_running_loop().time()
                await asyncio.sleep(takes)
                slots.succeeded("", began, asyncio.get_running_loop().time() - began)

        async def overload() -> None:
            for pause in strains:
                await asyncio.sleep(pause)
                running = slots.running
                slots.overloaded("HTTP 503")
                assert 1 <= slots.limit <= most
                assert slots.running == running

        troubles = asyncio.create_task(overload())
        tasks, cancelled = [], set()
        for number, (pause, cost, takes, patience) in enumerate(arrivals):
            await asyncio.sleep(pause)
            task = asyncio.create_task(refresh(number, cost, takes))
            tasks.append(task)
            if patience is not None:
                cancelled.add(number)
                asyncio.get_running_loop().call_later(patience, task.cancel)
            assert slots.running <= most
        for number, result in enumerate(await asyncio.gather(*tasks, return_exceptions=True)):
            assert result is None or (number in cancelled and isinstance(result, asyncio.CancelledError))
        await troubles
        assert set(range(len(arrivals))) - cancelled <= served
        assert (slots.running, slots.waiting) == (0, 0)
        async with all_taken(slots):
            assert slots.running == slots.limit

    virtually(scenario())


@settings(max_examples=100, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=12), st.integers(1, 3))
def test_a_slot_that_is_given_to_a_cancelled_request_goes_to_the_next_one(cancels, most):
    async def scenario() -> None:
        slots = slots_of(most)
        served = []

        async def take(number: int) -> None:
            async with slots.slot():
                served.append(number)

        held = [slots.slot() for _ in range(most)]
        for slot in held:
            await slot.__aenter__()
        tasks = [asyncio.create_task(take(number)) for number in range(len(cancels))]
        await asyncio.sleep(0)
        # In one turn of the event loop, all slots are handed on, and then some of their new holders are cancelled.
        for slot in held:
            await slot.__aexit__(None, None, None)
        for task, is_cancelled in zip(tasks, cancels, strict=True):
            if is_cancelled:
                task.cancel()
        await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)
        assert {number for number, is_cancelled in enumerate(cancels) if not is_cancelled} <= set(served)
        assert (slots.running, slots.waiting) == (0, 0)

    virtually(scenario())


# Limit


@in_virtual_time
async def test_overload_halves_the_limit_down_to_one():
    slots = slots_of(8)
    limits = []
    with structlog.testing.capture_logs() as logged:
        for _ in range(5):
            await asyncio.sleep(1)
            slots.overloaded("HTTP 503")
            limits.append(slots.limit)
    assert limits == [4, 2, 1, 1, 1]
    reduced = [entry for entry in logged if entry["event"] == "concurrency_reduced"]
    assert [(entry["limit"], entry["why"]) for entry in reduced] == [(4, "HTTP 503"), (2, "HTTP 503"), (1, "HTTP 503")]


@in_virtual_time
async def test_calls_that_were_sent_before_a_halving_do_not_halve_again():
    slots = slots_of(8)
    await asyncio.sleep(10)
    for _ in range(8):
        slots.overloaded("HTTP 503", began=9.0)
    assert slots.limit == 4
    await asyncio.sleep(1)
    slots.overloaded("HTTP 503", began=9.9)
    assert slots.limit == 4
    slots.overloaded("HTTP 503", began=10.5)
    assert slots.limit == 2


@in_virtual_time
async def test_after_a_halving_no_slot_is_given_until_fewer_than_the_limit_are_taken():
    slots = slots_of(4)
    held = [slots.slot() for _ in range(4)]
    for slot in held:
        await slot.__aenter__()
    slots.overloaded("HTTP 429", began=1.0)
    fifth = slots.slot()
    waiting = asyncio.create_task(fifth.__aenter__())
    for slot in held[:2]:
        await slot.__aexit__(None, None, None)
        await asyncio.sleep(1)
        assert not waiting.done()
    await held[2].__aexit__(None, None, None)
    await waiting
    assert slots.running == 2


@in_virtual_time
async def test_the_limit_grows_by_one_after_as_many_good_calls_up_to_its_maximum():
    slots = slots_of(4)
    for _ in range(2):
        await asyncio.sleep(1)
        slots.overloaded("HTTP 503")
    limits = []
    for _ in range(12):
        await asyncio.sleep(1)
        succeeded(slots, "checkPathExists", 0.01)
        limits.append(slots.limit)
    assert limits == [2, 2, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4]


@in_virtual_time
async def test_a_waiting_request_gets_a_slot_when_the_limit_grows():
    slots = slots_of(2)
    slots.overloaded("HTTP 503", began=1.0)
    second = slots.slot()
    async with slots.slot():
        waiting = asyncio.create_task(second.__aenter__())
        await asyncio.sleep(1)
        assert not waiting.done()
        succeeded(slots, "", 0.1)
        await asyncio.wait_for(waiting, 1)
        assert slots.running == 2


async def calls(slots: AdaptiveConcurrency, count: int, latency: float, function: str = "checkPathExists") -> None:
    for _ in range(count):
        await asyncio.sleep(latency)
        succeeded(slots, function, latency)


@in_virtual_time
async def test_a_server_that_takes_twice_as_long_as_usual_is_overloaded():
    slots = slots_of(8)
    await calls(slots, 200, 0.1)
    assert slots.limit == 8
    await calls(slots, 9, 0.35)
    assert slots.limit == 4


@in_virtual_time
async def test_a_few_slow_calls_among_many_are_not_an_overload():
    slots = slots_of(8)
    for _ in range(40):
        await calls(slots, 7, 0.1)
        await calls(slots, 2, 5.0)
    assert slots.limit == 8


@in_virtual_time
async def test_noise_around_a_millisecond_is_not_an_overload():
    slots = slots_of(8)
    await calls(slots, 200, 0.001)
    await calls(slots, 200, 0.02)
    assert slots.limit == 8


@in_virtual_time
async def test_a_slower_latency_becomes_the_usual_one_in_time():
    slots = slots_of(8)
    await calls(slots, 200, 0.1)
    await calls(slots, 100, 0.4)
    assert slots.limit < 8
    await calls(slots, 2000, 0.4)
    assert slots.limit == 8


@in_virtual_time
async def test_latencies_are_compared_within_one_function_and_only_if_comparable():
    slots = slots_of(8)
    await calls(slots, 200, 0.05, "getApplianceInfo")
    await calls(slots, 200, 1.0, "checkPathExists")
    await calls(slots, 200, 0.01, "")
    await calls(slots, 200, 30.0, "")
    assert slots.limit == 8


class TimedServer:
    """Answers after `seconds`. Meanwhile, work of the client's process holds up the event loop for `stall` seconds."""

    def __init__(self) -> None:
        self.seconds = 0.04
        self.stall = 0.0

    async def handle(self, _: httpx.Request) -> httpx.Response:
        asyncio.get_running_loop().call_later(self.seconds / 2, self._hold_up_the_loop)
        await asyncio.sleep(self.seconds)
        return httpx.Response(200, json={"status": "ok"})

    def _hold_up_the_loop(self) -> None:
        asyncio.get_running_loop().advance(self.stall)

    async def limits(self, *changes: dict[str, float]) -> list[int]:
        """The limit after many calls, and after the calls that follow each change."""
        limits = []
        origin_of = over_httpx(httpx.MockTransport(self.handle))
        connected = connect(
            endpoint="http://aa", permanent_token="p", concurrency=8, clock=VirtualClock(), origin_of=origin_of
        )
        async with connected as client:
            for change in ({}, *changes):
                for name, value in change.items():
                    setattr(self, name, value)
                for _ in range(40):
                    await client.version()
                limits.append(client.concurrency.limit)
        return limits


@in_virtual_time
async def test_a_held_up_event_loop_does_not_count_as_a_slow_server():
    assert await TimedServer().limits({"stall": 0.3}) == [8, 8]


@in_virtual_time
async def test_a_slow_server_reduces_the_limit_also_while_the_event_loop_is_held_up():
    before, after = await TimedServer().limits({"seconds": 0.4})
    assert (before, after < 8) == (8, True)
    before, after = await TimedServer().limits({"seconds": 0.4, "stall": 0.1})
    assert (before, after < 8) == (8, True)
