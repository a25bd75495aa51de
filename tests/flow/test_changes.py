"""Changes are reported in order for each object, in batches for many objects, and each is reported or fails."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jibe_sqs.core.errors import AccessAnywhereUnavailable, CallFailed, JibeError
from jibe_sqs.core.model import Change, Folder, Kind, ObjectEvent
from jibe_sqs.syncing.changes import CHUNK, Changes
from jibe_sqs.testing import InMemoryEventTarget


def change(key="k", time=0.0, *, bucket="data", id_=""):
    return Change(ObjectEvent(Kind.WRITTEN, bucket, key, time, event_id=id_), (Folder(f"/{bucket}"),))


def object_of(each):
    return each.event.bucket, each.event.key


@pytest.fixture
def target():
    return InMemoryEventTarget()


@pytest.fixture
def changes(target):
    return Changes(target=target, most=4)


def is_forgotten(changes):
    return not changes._lines and not changes._ready and not changes._calls


async def test_without_changes_there_is_no_call(changes, target):
    assert await changes.done([]) == []
    assert not target.calls


async def test_done_waits_until_all_changes_are_reported(flow, changes, target):
    target.takes = 7.0
    assert await changes.done([change("a"), change("b")]) == []
    assert flow.time() == 7.0
    assert len(target.accepted) == 2


async def test_changes_of_one_object_are_reported_one_by_one_in_the_order_of_their_times(flow, changes, target):
    target.takes = 1.0
    await changes.done([change("a", 3.0), change("a", 1.0), change("a", 2.0)])
    assert [each.event.time for each in target.reported] == [1.0, 2.0, 3.0]
    assert flow.time() == 3.0


async def test_two_changes_of_the_same_time_keep_their_order(changes, target):
    """The times in CloudTrail's records are whole seconds."""
    await changes.done([change("a", 1.0, id_="1"), change("a", 1.0, id_="2")])
    assert [each.event.event_id for each in target.reported] == ["1", "2"]


async def test_one_key_in_two_buckets_is_two_objects(flow, changes, target):
    target.takes = 1.0
    await changes.done([change("a", bucket="one"), change("a", bucket="two")])
    assert flow.time() == 1.0


async def test_a_change_waits_for_the_changes_of_its_object_that_earlier_callers_gave(flow, changes, target):
    target.held = {"a"}
    first = asyncio.create_task(changes.done([change("a", 5.0)]))
    await flow.settled()
    second = asyncio.create_task(changes.done([change("a", 1.0), change("b", 1.0)]))
    await asyncio.sleep(3600)
    assert [object_of(each)[1] for each in target.reported] == ["a", "b"]
    target.release()
    assert await asyncio.gather(first, second) == [[], []]
    assert [each.event.time for each in target.reported if each.event.key == "a"] == [5.0, 1.0]


async def test_a_slow_object_does_not_delay_other_objects(flow, changes, target):
    target.held = {"slow"}
    slow = asyncio.create_task(changes.done([change("slow", float(n)) for n in range(50)]))
    await flow.settled()
    assert await changes.done([change(f"k{n}") for n in range(100)]) == []
    assert not slow.done()
    target.release()
    assert await slow == []


async def test_the_number_of_calls_at_the_same_time_is_limited(flow, changes, target):
    target.takes = 1.0
    await changes.done([change(f"k{n}") for n in range(40)])
    assert target.max_in_flight == 4
    assert flow.time() == 10.0


async def test_a_failure_also_fails_the_later_changes_of_its_object_and_no_others(flow, changes, target):
    """If they were reported, they would overtake it."""
    target.held = {"a"}
    target.errors["a"] = [CallFailed("a is refused", code="no")]
    first = asyncio.create_task(changes.done([change("a", 1.0), change("a", 2.0), change("b", 1.0)]))
    await flow.settled()
    other = asyncio.create_task(changes.done([change("a", 3.0), change("c", 3.0)]))
    await flow.settled()
    target.release()
    assert [str(error) for error in await first] == ["a is refused"]
    assert [str(error) for error in await other] == ["a is refused"]
    assert sorted(each.event.key for each in target.accepted) == ["b", "c"]
    assert len([each for each in target.reported if each.event.key == "a"]) == 1
    # Later changes of the object are reported.
    assert await changes.done([change("a", 1.0)]) == []


async def test_equal_errors_of_many_changes_are_returned_once(changes, target):
    for key in "abc":
        target.errors[key] = [AccessAnywhereUnavailable("503")]
    target.errors["d"] = [CallFailed("d is refused", code="no")]
    errors = await changes.done([change(key) for key in "abcd"])
    assert sorted(str(error) for error in errors) == ["503", "d is refused"]


async def test_a_failure_fails_all_later_changes_of_its_object_in_a_large_message(changes, target):
    target.errors["a"] = [CallFailed("a is refused", code="no")]
    many = [change(f"k{n}", 1.0) for n in range(2 * CHUNK)]
    errors = await changes.done([change("a", 0.0), *many, change("a", 2.0)])
    assert [str(error) for error in errors] == ["a is refused"]
    assert len([each for each in target.reported if each.event.key == "a"]) == 1
    assert len(target.accepted) == 2 * CHUNK


async def test_a_failure_is_logged_with_its_reason(changes, target, events):
    target.errors["a"] = [CallFailed("a is refused", code="no")]
    await changes.done([change("a")])
    assert [event for event in events if event["event"] == "changes_not_reported"] == [
        {
            "event": "changes_not_reported",
            "log_level": "warning",
            "changes": 1,
            "error": "CallFailed",
            "reason": "a is refused",
        }
    ]


async def test_an_unexpected_exception_reaches_the_caller_and_the_object_stays_usable(flow, changes, target):
    target.errors["a"] = [ZeroDivisionError("a bug")]
    with pytest.raises(ZeroDivisionError):
        await changes.done([change("a"), change("a", 1.0)])
    assert await changes.done([change("a")]) == []
    await flow.settled()
    assert is_forgotten(changes)


async def test_a_cancelled_caller_affects_neither_other_callers_nor_the_order(flow, changes, target):
    """A call in flight goes on without its caller, and the next change of its object waits for it."""
    target.held = {"a"}
    given_up = asyncio.create_task(changes.done([change("a", 1.0), change("a", 2.0)]))
    await flow.settled()
    other = asyncio.create_task(changes.done([change("a", 3.0)]))
    await flow.settled()
    given_up.cancel()
    await asyncio.gather(given_up, return_exceptions=True)
    await asyncio.sleep(60)
    assert len(target.reported) == 1
    target.release()
    assert await other == []
    assert [each.event.time for each in target.accepted] == [1.0, 2.0, 3.0]


async def test_a_large_message_does_not_delay_small_ones(flow, changes, target):
    target.takes = 1.0
    large = asyncio.create_task(changes.done([change(f"k{n}") for n in range(20 * CHUNK)]))
    await flow.settled()
    await changes.done([change("small")])
    assert flow.time() <= CHUNK / 4 + 2
    assert len(changes._lines) <= CHUNK
    large.cancel()
    await asyncio.gather(large, return_exceptions=True)
    await changes.stop()


async def test_thousands_of_changes_at_once_are_all_reported_and_leave_no_state(flow, changes, target):
    target.takes = 0.01
    asked = [changes.done([change(f"k{n % 700}", float(n)), change(f"own{n}")]) for n in range(3000)]
    assert await asyncio.gather(*asked) == [[]] * 3000
    await flow.settled()
    assert len(target.accepted) == 6000
    assert is_forgotten(changes)


# Batches


async def test_a_full_batch_is_sent_at_once_and_the_rest_after_the_linger_time(flow):
    target = InMemoryEventTarget(batch=3)
    changes = Changes(target=target, linger=0.5)
    await changes.done([change(f"k{n}") for n in range(3)])
    assert flow.time() == 0
    await changes.done([change(f"k{n}") for n in range(5)])
    assert flow.time() == 0.5
    assert [len(batch) for batch in target.calls] == [3, 3, 2]
    await changes.done([change("a")])
    assert flow.time() == 1.0


async def test_changes_of_many_messages_share_a_batch(flow):
    target = InMemoryEventTarget(batch=100)
    changes = Changes(target=target, linger=0.5)
    await asyncio.gather(*(changes.done([change(f"k{n}")]) for n in range(60)))
    assert len(target.calls) == 1


async def test_a_batch_never_has_two_changes_of_one_object(flow):
    target = InMemoryEventTarget(batch=10)
    changes = Changes(target=target)
    await changes.done([change(key, float(n)) for n in range(4) for key in "abc"])
    assert [sorted(each.event.key for each in batch) for batch in target.calls] == [["a", "b", "c"]] * 4
    assert [{each.event.time for each in batch} for batch in target.calls] == [{0.0}, {1.0}, {2.0}, {3.0}]


async def test_batches_grow_while_all_calls_are_in_use(flow):
    target = InMemoryEventTarget(batch=10)
    target.takes = 60.0
    changes = Changes(target=target, most=1, linger=0.5)
    asked = []
    for n in range(11):
        asked.append(asyncio.create_task(changes.done([change(f"k{n}")])))
        await asyncio.sleep(1.0)
    await asyncio.gather(*asked)
    assert [len(batch) for batch in target.calls] == [1, 10]
    # No change waits for the linger time twice.
    assert flow.time() == 120.5


async def test_a_failed_batch_fails_all_its_changes_and_other_batches_are_reported(flow):
    target = InMemoryEventTarget(batch=2)
    target.errors["b"] = [CallFailed("b is refused", code="no")]
    changes = Changes(target=target)
    outcomes = await asyncio.gather(*(changes.done([change(key)]) for key in "abcd"))
    assert [[str(error) for error in errors] for errors in outcomes] == [["b is refused"]] * 2 + [[]] * 2


# Stop


async def test_stop_cancels_calls_and_fails_the_waiting_changes(flow, changes, target):
    target.held = {"a"}
    asked = [asyncio.create_task(changes.done([change("a", float(n))])) for n in range(3)]
    await flow.settled()
    await changes.stop()
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert [str(outcome) for outcome in outcomes] == ["the report of changes was abandoned"] * 3
    assert target.in_flight == 0
    assert is_forgotten(changes)


@pytest.mark.parametrize("batch", [1, 2])
async def test_stop_cancels_also_the_calls_that_start_because_a_cancelled_call_succeeds(flow, events, batch):
    class Stubborn(InMemoryEventTarget):
        async def report(self, changes):
            self.calls.append(changes)
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if len(self.calls) > 1:
                    raise

    target = Stubborn(batch)
    changes = Changes(target=target)
    asked = asyncio.create_task(changes.done([change("a", 1.0), change("a", 2.0)]))
    await flow.until(lambda: target.calls)
    await changes.stop()
    with pytest.raises(RuntimeError, match="abandoned"):
        await asked
    assert is_forgotten(changes)
    await asyncio.sleep(10)
    assert len(target.calls) <= 2
    assert not events


async def test_stop_during_the_linger_time_starts_no_call(flow):
    target = InMemoryEventTarget(batch=5)
    changes = Changes(target=target, linger=1.0)
    asked = asyncio.create_task(changes.done([change("a")]))
    await flow.settled()
    await changes.stop()
    with pytest.raises(RuntimeError, match="abandoned"):
        await asked
    await asyncio.sleep(10)
    assert not target.calls


# Random steps

LATENCIES = st.lists(st.sampled_from([0.0, 0.01, 0.5, 3.0]), max_size=30)
ASKED = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.0, 0.02, 1.0]),
        st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 5)), max_size=12),
        st.sampled_from([None, None, None, 0.0, 0.3]),
    ),
    max_size=8,
)


@settings(max_examples=150, deadline=None)
@given(
    asked=ASKED,
    latencies=LATENCIES,
    failing=st.lists(st.sampled_from("abcdef"), max_size=4),
    batch=st.integers(1, 4),
    most=st.integers(1, 3),
)
def test_each_change_is_reported_in_its_order_or_its_error_is_returned(flow, asked, latencies, failing, batch, most):
    """With any latencies, failures, cancelled callers and batch sizes."""

    async def main():
        target = InMemoryEventTarget(batch)
        target.latencies = iter(latencies)
        for key in failing:
            target.errors[key].append(AccessAnywhereUnavailable(f"{key} fails"))
        changes = Changes(target=target, most=most)
        callers = []
        for caller, (pause, keys, patience) in enumerate(asked):
            wanted = [change(key, float(time), id_=f"{caller}.{n}") for n, (key, time) in enumerate(keys)]
            task = asyncio.create_task(asyncio.wait_for(changes.done(wanted), patience))
            callers.append((task, wanted))
            await flow.settled()
            await asyncio.sleep(pause)
        outcomes = await asyncio.gather(*(task for task, _ in callers), return_exceptions=True)
        await flow.until(lambda: is_forgotten(changes))

        reported = [each.event for each in target.reported]
        assert len({event.event_id for event in reported}) == len(reported)
        assert target.max_in_flight <= most
        answered = {each.event.event_id for each in target.accepted}
        for (_, wanted), outcome in zip(callers, outcomes, strict=True):
            if isinstance(outcome, TimeoutError):
                continue
            assert all(isinstance(error, JibeError) for error in outcome)
            missing = [each for each in wanted if each.event.event_id not in answered]
            assert bool(missing) == bool(outcome)
        for key in "abcdef":
            ids = [event.event_id for event in reported if event.key == key]
            order = [
                each.event.event_id
                for _, wanted in callers
                for each in sorted(wanted, key=lambda each: each.event.time)
                if each.event.key == key
            ]
            # They are reported in the order of the calls of `done`, and within one call in the order of their times.
            assert ids == [id_ for id_ in order if id_ in set(ids)]

    flow.virtually(main())
