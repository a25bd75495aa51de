"""Requests for a folder share refreshes. Each is served by a refresh that began after it."""

import asyncio
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jibe_sqs.core.errors import AccessAnywhereUnavailable
from jibe_sqs.core.model import Folder, RefreshReason
from jibe_sqs.ports import RefreshOutcome
from jibe_sqs.syncing.pace import Costs
from jibe_sqs.syncing.refreshes import MAX_STARTED, Refreshes

A, B, TREE = Folder("/data/a"), Folder("/data/b"), Folder("/data", tree=True)


@pytest.fixture
def world(flow):
    return flow.World()


@pytest.fixture
def target(world):
    return world.target


@pytest.fixture
def refreshes(world):
    return world.refreshes


async def test_done_waits_until_the_refresh_has_ended(flow, refreshes, target):
    target.takes = 7.0
    assert await refreshes.done([A, B]) == []
    assert flow.time() == 7.0
    assert len(target.runs) == 2


async def test_a_running_refresh_does_not_serve_later_requests(flow, refreshes, target):
    """It may have read the folder before the change of a later request, so the folder is refreshed once more."""
    target.held = {A.path}
    first = refreshes.ask(A)
    await flow.until(lambda: target.runs and target.runs[0].began)
    second, third = refreshes.ask(A), refreshes.ask(A)
    target.release()
    await first
    assert not second.done()
    await second
    await third
    assert len(target.runs) == 2
    assert target.max_running[A] == 1


async def test_a_queued_refresh_serves_requests_that_come_before_its_beginning(flow, refreshes, target):
    target.held_before_start = {A.path}
    first = refreshes.ask(A)
    await flow.until(lambda: target.runs)
    second = refreshes.ask(A)
    target.release()
    await asyncio.gather(first, second)
    assert len(target.runs) == 1


async def test_ten_thousand_requests_need_at_most_two_refreshes(flow, refreshes, target):
    target.takes = 1.0
    early = [asyncio.create_task(refreshes.done([A])) for _ in range(5000)]
    await flow.until(lambda: target.runs and target.runs[0].began)
    late = [asyncio.create_task(refreshes.done([A])) for _ in range(5000)]
    assert await asyncio.gather(*early, *late) == [[]] * 10_000
    assert len(target.runs) == 2


async def test_the_last_call_of_began_counts(flow, world):
    """Access Anywhere may answer that it refreshed the folder recently. The refresh that counts then begins later."""

    class Stuttering:
        def __init__(self):
            self.times = 0

        async def refresh(self, folder, began, others):
            self.times += 1
            began()
            await asyncio.sleep(10)
            began()
            await asyncio.sleep(1)

    target = Stuttering()
    refreshes = Refreshes(target=target, ledger=world.ledger, clock=world.clock, margin=5.0)
    first = refreshes.ask(A)
    await asyncio.sleep(5)
    between = refreshes.ask(A)
    await asyncio.sleep(5.5)
    late = refreshes.ask(A)
    await asyncio.gather(first, between)
    assert flow.time() == 11
    assert not late.done()
    assert await world.ledger.watermarks([A]) == {A: flow.EPOCH + 10 - 5}
    await late
    assert target.times == 2


async def test_the_watermark_is_the_beginning_of_the_refresh_minus_the_margin(flow, world, target, refreshes):
    await asyncio.sleep(100)
    target.before, target.takes = 3.0, 20.0
    await refreshes.done([A])
    assert await world.ledger.watermarks([A]) == {A: flow.EPOCH + 103 - 5}


async def test_a_failure_reaches_all_requests_that_came_before_it_and_no_later_ones(flow, refreshes, target):
    target.held = {A.path}
    target.errors[A.path] = [AccessAnywhereUnavailable("503")]
    early = asyncio.create_task(refreshes.done([A]))
    await flow.until(lambda: target.runs and target.runs[0].began)
    meanwhile = asyncio.create_task(refreshes.done([A]))
    other = asyncio.create_task(refreshes.done([B]))
    await flow.settled()
    target.release()
    assert [str(error) for error in await early] == ["503"]
    later = asyncio.create_task(refreshes.done([A]))
    (error,) = await meanwhile
    assert str(error) == "503"
    assert error.__traceback__ is None  # it would keep the answer in memory
    assert await other == []
    assert await later == []


async def test_a_failed_refresh_leaves_no_watermark(world, refreshes, target):
    target.errors[A.path] = [AccessAnywhereUnavailable("503")]
    assert await refreshes.done([A]) != []
    assert await world.ledger.watermarks([A]) == {}


async def test_while_s3s_clock_is_unknown_a_refresh_has_no_time_and_no_watermark(world, target, events, monkeypatch):
    refreshes = Refreshes(target=target, ledger=world.ledger, clock=world.clock)
    await refreshes.done([A])
    known = await world.ledger.watermarks([A])
    monkeypatch.setattr(world.clock, "now", lambda: 0.0)
    await refreshes.done([A, B])
    assert await world.ledger.watermarks([A, B]) == known
    logged = [(event["folder"], event["began"]) for event in events if event["event"] == "refreshed"]
    assert set(logged) == {(str(A), known[A] + 5), (str(A), None), (str(B), None)}


async def test_a_refresh_succeeds_also_if_the_ledger_cannot_store_its_watermark(world, refreshes, events):
    world.ledger.unwritable = True
    assert await refreshes.done([A]) == []
    assert [event["event"] for event in events if event["log_level"] == "warning"] == ["ledger_unwritable"]
    assert await world.ledger.watermarks([A]) == {}
    assert refreshes.counts == {"folders": 1}


async def test_no_request_is_answered_before_the_ledger_has_the_watermark(flow, world, refreshes):
    remembered = asyncio.Event()
    write = world.ledger.refreshed

    async def slow(folder, began):
        await remembered.wait()
        await write(folder, began)

    world.ledger.refreshed = slow
    asked = refreshes.ask(A)
    await flow.settled()
    assert not asked.done()
    remembered.set()
    await asked
    assert A in await world.ledger.watermarks([A])


async def test_a_tree_is_refreshed_at_most_once_in_an_interval(flow, refreshes, target):
    for _ in range(4):
        await refreshes.done([TREE])
    assert [run.began[0] for run in target.runs] == [0, 30, 60, 90]
    await asyncio.sleep(1000)
    await refreshes.done([TREE])
    assert target.runs[-1].began[0] == 90 + 1000


async def test_the_interval_of_a_tree_applies_to_failures_and_not_to_its_top_folder(flow, refreshes, target):
    target.errors[TREE.path] = [AccessAnywhereUnavailable("503")]
    assert len(await refreshes.done([TREE])) == 1
    await refreshes.done([Folder("/data")])
    assert flow.time() == 0
    await refreshes.done([TREE])
    assert flow.time() == 30


async def test_requests_share_the_refresh_of_a_tree_that_waits_for_its_turn(flow, refreshes, target):
    await refreshes.done([TREE])
    first = refreshes.ask(TREE)
    await asyncio.sleep(29)
    second = refreshes.ask(TREE)
    await asyncio.gather(first, second)
    assert len(target.runs) == 2


async def test_an_idle_folder_leaves_no_state(flow, refreshes, target):
    """A bucket may have millions of folders, and the service may run for years."""
    folders = [Folder(f"/data/{i}") for i in range(500)]
    for folder in folders[::3]:
        target.errors[folder.path] = [AccessAnywhereUnavailable("503")]
    await refreshes.done(folders)
    await flow.settled()
    assert not refreshes._folders
    assert not refreshes._tasks


async def test_old_trees_leave_no_state(refreshes):
    """Keys with empty names in them (`a//b`) refresh trees, and there may be any number of them."""
    for i in range(100):
        await refreshes.done([Folder(f"/data/{i}", tree=True)])
        await asyncio.sleep(10)
    assert len(refreshes._pace._turns) <= 5


async def test_a_cancelled_caller_of_refreshes_does_not_affect_the_others(flow, refreshes, target):
    target.held = {A.path}
    waiters = [asyncio.create_task(refreshes.done([A, B])) for _ in range(3)]
    await flow.until(lambda: target.runs_of(A.path))
    waiters[1].cancel()
    await flow.settled()
    target.release()
    assert [await waiters[0], await waiters[2]] == [[], []]
    assert waiters[1].cancelled()
    assert len(target.runs_of(A.path)) == 1


async def test_an_unexpected_exception_of_the_target_reaches_the_callers_and_the_folder_stays_usable(
    refreshes, target, events
):
    target.errors[A.path] = [ZeroDivisionError("a bug")]
    with pytest.raises(ZeroDivisionError):
        await refreshes.done([A])
    assert await refreshes.done([A]) == []
    assert [event["event"] for event in events if event["log_level"] == "error"] == ["refresh_crashed"]


async def test_a_refresh_that_its_target_cancels_is_an_error_for_the_callers_and_not_their_cancellation(
    refreshes, target
):
    """A cancellation that a timeout of the target leaks must not look like the drain deadline."""
    target.errors[A.path] = [asyncio.CancelledError()]
    with pytest.raises(RuntimeError):
        await refreshes.done([A])
    assert await refreshes.done([A]) == []


async def test_stop_cancels_running_refreshes_and_fails_all_callers(flow, refreshes, target):
    target.held = {A.path}
    running = refreshes.ask(A)
    await flow.until(lambda: target.runs and target.runs[0].began)
    dirty, unstarted = refreshes.ask(A), refreshes.ask(B)
    await refreshes.stop()
    await flow.settled()
    assert all(future.cancelled() for future in (running, dirty, unstarted))
    assert not refreshes._folders
    assert target.runs[0].ended is not None


async def test_a_target_that_refreshes_the_parent_first_causes_no_deadlock_and_no_second_refresh(flow, world):
    """A target may need the refresh of another folder, which has a queue of its own."""

    class Climbing:
        def __init__(self):
            self.paths = []

        async def refresh(self, folder, began, others):
            self.paths.append(folder.path)
            began()
            if folder != Folder("/data"):
                await refreshes.refresh(Folder("/data"))

    target = Climbing()
    refreshes = Refreshes(target=target, ledger=world.ledger, clock=world.clock)
    assert await refreshes.done([Folder(f"/data/{i}") for i in range(50)]) == []
    assert target.paths.count("/data") <= 2


# Intervals


@pytest.fixture
def paced(world):
    """At most one refresh of a folder in five seconds."""
    return Refreshes(target=world.target, ledger=world.ledger, clock=world.clock, min_interval=5.0)


async def test_a_folder_is_refreshed_at_most_once_in_an_interval_and_at_once_after_an_idle_one(flow, paced, target):
    for _ in range(4):
        await paced.done([A])
    assert [run.began[0] for run in target.runs] == [0, 5, 10, 15]
    await asyncio.sleep(1000)
    await paced.done([A])
    assert target.runs[-1].began[0] == 15 + 1000


async def test_the_interval_starts_at_the_beginning_of_the_last_refresh(flow, paced, target):
    target.before, target.takes = 2.0, 1.0
    for _ in range(3):
        await paced.done([A])
    assert [run.began[0] for run in target.runs] == [2, 9, 16]


async def test_all_requests_within_an_interval_share_the_next_refresh(flow, paced, target):
    await paced.done([A])
    waiters = []
    for _ in range(400):
        waiters.append(asyncio.create_task(paced.done([A])))
        await asyncio.sleep(0.01)
    assert not any(waiter.done() for waiter in waiters)
    assert await asyncio.gather(*waiters) == [[]] * 400
    assert len(target.runs) == 2
    assert flow.time() == 5


async def test_the_interval_of_one_folder_does_not_delay_other_folders(flow, paced, target):
    await paced.done([A])
    held = paced.ask(A)
    await paced.done([B])
    assert flow.time() == 0
    await held


async def test_the_interval_applies_to_failed_refreshes(flow, paced, target):
    target.always[A.path] = AccessAnywhereUnavailable("503")
    for _ in range(3):
        await paced.done([A])
    assert [run.began[0] for run in target.runs] == [0, 5, 10]


async def test_the_interval_applies_to_a_folder_that_is_refreshed_for_its_descendant(flow, paced, target):
    await paced.refresh(A)
    await paced.refresh(A)
    await paced.done([A])
    assert [run.began[0] for run in target.runs] == [0, 5, 10]


async def test_a_request_for_an_event_and_one_for_a_descendant_share_one_refresh(paced, target):
    await asyncio.gather(paced.done([A]), paced.refresh(A))
    assert len(target.runs) == 1
    assert paced.counts == {"folders": 1}


async def test_a_slow_folder_is_refreshed_less_often(flow, world, target):
    costs = Costs()
    for _ in range(30):
        costs.learn(A, 60)
    refreshes = Refreshes(target=target, ledger=world.ledger, clock=world.clock, min_interval=5.0, costs=costs)
    target.takes = 60
    for _ in range(3):
        await refreshes.done([A])
    assert [run.began[0] for run in target.runs] == pytest.approx([0, 120, 240], abs=1e-3)


async def test_without_an_interval_a_folder_is_refreshed_at_once(flow, refreshes, target):
    for _ in range(10):
        await refreshes.done([A])
    assert flow.time() == 0


async def test_stop_does_not_wait_for_an_interval(flow, paced, target):
    await paced.done([A])
    waiting = paced.ask(A)
    await flow.settled()
    await paced.stop()
    assert waiting.cancelled()
    assert flow.time() == 0
    assert len(target.runs) == 1


async def test_a_message_that_is_given_back_while_its_folder_waits_does_not_affect_the_others(flow, paced, target):
    await paced.done([A])
    gone, stays = (asyncio.create_task(paced.done([A])) for _ in range(2))
    await flow.settled()
    gone.cancel()
    assert await stays == []


# Limit of started refreshes


async def test_many_folders_may_wait_and_only_a_few_refreshes_run(flow, refreshes, target):
    folders = [Folder(f"/data/{i}") for i in range(5000)]
    target.held = {folder.path for folder in folders}
    waiting = asyncio.create_task(refreshes.done(folders))
    await flow.settled()
    assert len(target.runs) == len(refreshes._tasks) == MAX_STARTED
    assert len(refreshes.pending()) == 5000
    target.release()
    assert await waiting == []
    await flow.settled()
    assert [run.folder for run in target.runs] == folders
    assert not refreshes._unstarted
    assert refreshes._free_places == MAX_STARTED


async def test_a_folder_that_other_refreshes_need_is_started_although_the_limit_is_reached(flow, world):
    """Here, all started refreshes wait for it."""

    class Climbing:
        async def refresh(self, folder, began, others):
            began()
            if folder != A:
                await refreshes.refresh(A)

    refreshes = Refreshes(target=Climbing(), ledger=world.ledger, clock=world.clock)
    below = [Folder(f"{A.path}/{i}") for i in range(MAX_STARTED)]
    assert await refreshes.done([*below, B, A]) == []


async def test_a_folder_that_waits_for_its_interval_does_not_count_as_started(flow, paced, target):
    busy = [Folder(f"/data/{i}") for i in range(MAX_STARTED)]
    await paced.done(busy)
    waiting = asyncio.create_task(paced.done(busy))
    await flow.settled()
    await paced.done([A])
    assert flow.time() == 0
    assert await waiting == []


async def test_stop_fails_the_requests_whose_refresh_was_not_started(flow, refreshes, target):
    target.held = {A.path}
    refreshes._free_places = 1
    futures = [refreshes.ask(A), refreshes.ask(B)]
    await flow.settled()
    await refreshes.stop()
    await flow.settled()
    assert all(future.cancelled() for future in futures)
    assert [run.folder for run in target.runs] == [A]


# Watching


async def test_watch_waits_for_a_running_refresh_and_requests_none(flow, refreshes, target):
    target.takes = 7
    refreshes.ask(A)
    await asyncio.sleep(1)
    has_ended = refreshes.watch(A)
    assert await has_ended()
    assert flow.time() == 7
    await flow.settled()
    assert len(target.runs) == 1


async def test_watch_does_not_miss_a_refresh_that_ends_meanwhile(flow, refreshes, target):
    target.before, target.takes = 1, 1
    refreshes.ask(A)
    queued = refreshes.watch(A)
    await asyncio.sleep(1.5)
    running = refreshes.watch(A)
    await asyncio.sleep(60)
    assert await queued()
    assert await running()
    assert not await refreshes.watch(A)()


async def test_watch_does_not_wait_for_a_refresh_that_has_not_begun(flow, refreshes, target):
    """A request that comes now is served by that refresh."""
    target.held_before_start = {A.path}
    refreshes.ask(A)
    await flow.settled()
    assert not await refreshes.watch(A)()
    target.release()


async def test_for_watch_a_failed_or_stopped_refresh_has_ended(flow, refreshes, target):
    target.held = {A.path, B.path}
    target.errors[A.path] = [AccessAnywhereUnavailable("503")]
    refreshes.ask(A)
    refreshes.ask(B)
    await flow.settled()
    waiting = [asyncio.create_task(refreshes.watch(folder)()) for folder in (A, B)]
    await flow.settled()
    target.release(A.path)
    assert await waiting[0]
    await refreshes.stop()
    assert await waiting[1]


# Reports


async def test_pending_returns_since_when_each_folder_is_stale(flow, paced, target):
    target.takes = 2
    paced.ask(A)
    await asyncio.sleep(1)
    paced.ask(A)
    assert [(p.folder, p.since, p.for_descendant) for p in paced.pending()] == [(A, 0, False)]
    await asyncio.sleep(2)
    for_descendant = asyncio.create_task(paced.refresh(B))
    await flow.settled()
    assert [(p.folder, p.since, p.for_descendant) for p in paced.pending()] == [(A, 1, False), (B, 3, True)]
    await paced.done([A])
    await for_descendant
    await flow.settled()
    assert paced.pending() == []


async def test_each_refresh_is_observed_when_it_has_ended(flow, world, target):
    observed: list[RefreshOutcome] = []
    refreshes = Refreshes(
        target=target, ledger=world.ledger, clock=world.clock, min_interval=5.0, observe=observed.append
    )
    error = AccessAnywhereUnavailable("503")
    target.before, target.takes = 1.0, 2.0
    target.errors[A.path] = [error]
    await refreshes.done([A])
    await refreshes.done([A])
    await refreshes.refresh(B)
    assert observed == [
        RefreshOutcome(A, seconds=2, waited=3, error=error),
        RefreshOutcome(A, seconds=2, waited=6),
        RefreshOutcome(B, seconds=2, waited=3, reason=RefreshReason.DESCENDANT),
    ]
    assert refreshes.counts == {"failed": 1, "folders": 1, "for descendants": 1}


async def test_an_error_that_many_callers_raise_does_not_collect_tracebacks(flow, refreshes, target):
    """Each raise of the same error would add a traceback, and each traceback keeps its frames alive."""
    error = AccessAnywhereUnavailable("503")
    target.errors[A.path] = [error]
    found = await asyncio.gather(*(refreshes.refresh(A) for _ in range(1000)), return_exceptions=True)
    assert found == [error] * 1000
    depth, traceback = 0, error.__traceback__
    while traceback:
        depth, traceback = depth + 1, traceback.tb_next
    assert depth < 10


# Random steps


_tenths = st.integers(0, 200).map(lambda tenths: tenths / 10)
_asks = st.lists(st.tuples(_tenths, st.integers(0, 2), st.booleans()), max_size=40)
_efforts = st.lists(st.tuples(_tenths, _tenths, st.booleans()), min_size=1, max_size=10)


@settings(max_examples=150, deadline=None)
@given(asks=_asks, efforts=_efforts, interval=st.sampled_from([0.0, 0.5, 5.0]))
def test_with_any_interval_every_request_is_served_by_a_refresh_that_began_after_it(flow, asks, efforts, interval):
    """A folder is never refreshed sooner than its interval allows, also if it is slow or fails."""

    async def main() -> None:
        world, costs = flow.World(), Costs()
        folders, runs = [A, B, TREE], []

        class Learning:
            """Waits, begins, runs, and records its cost if it succeeds."""

            async def refresh(self, folder, began, others):
                before, takes, fails = efforts[len(runs) % len(efforts)]
                run = {"folder": folder, "called": flow.time(), "began": None, "after": costs.expected(folder)}
                runs.append(run)
                await asyncio.sleep(before)
                began()
                run["began"] = flow.time()
                await asyncio.sleep(takes)
                if fails:
                    raise AccessAnywhereUnavailable("503")
                costs.learn(folder, takes)
                run["ended"] = flow.time()

        refreshes = Refreshes(
            target=Learning(),
            ledger=world.ledger,
            clock=world.clock,
            min_interval=interval,
            tree_interval=interval * 2,
            costs=costs,
        )

        async def ask(at, folder, for_descendant):
            await asyncio.sleep(at)
            if for_descendant:
                try:
                    await refreshes.refresh(folder)
                except AccessAnywhereUnavailable:
                    return
            elif await refreshes.done([folder]):
                return
            now = flow.time()
            assert any(
                run["folder"] == folder and run.get("ended") == now and run["began"] >= at - 1e-6 for run in runs
            ), "released by a refresh that had begun before"

        await asyncio.gather(*(ask(at, folders[number], way) for at, number, way in asks))
        await flow.settled()
        assert refreshes.pending() == []
        for folder in folders:
            of = [run for run in runs if run["folder"] == folder]
            for last, run in itertools.pairwise(of):
                least = interval * (2 if folder.tree else 1)
                rest = max(least, 2 * run["after"]) if least else 0
                assert run["called"] >= last["began"] + rest - 1e-6

    flow.virtually(main())


_steps = st.lists(
    st.tuples(
        st.sampled_from(["ask", "ask", "ask", "finish", "began", "fail", "crash", "cancel", "turn", "ledger"]),
        st.integers(0, 2),
    ),
    max_size=60,
)


@settings(max_examples=200, deadline=None)
@given(steps=_steps)
def test_every_request_is_served_only_by_a_refresh_that_began_after_it(flow, steps):
    """With any order of requests, beginnings, ends, failures and cancellations."""

    async def main() -> None:
        world = flow.World()
        moments = iter(range(10**9))
        runs, answered = [], []
        folders = [A, B, TREE]

        class Stepwise:
            """The test decides when each refresh does its next step."""

            async def refresh(self, folder, began, others):
                assert not any(run["folder"] == folder and not run["over"] for run in runs), "two at a time"
                run = {"folder": folder, "began": None, "over": False, "order": asyncio.Queue()}
                runs.append(run)
                try:
                    while True:
                        order = await run["order"].get()
                        if order == "began" or (order == "finish" and run["began"] is None):
                            began()
                            run["began"] = next(moments)
                        if order == "finish":
                            return
                        if order == "fail":
                            raise AccessAnywhereUnavailable("503")
                        if order == "crash":
                            raise ZeroDivisionError
                finally:
                    run["over"] = True

        refreshes = Refreshes(target=Stepwise(), ledger=world.ledger, clock=world.clock, tree_interval=0.0)

        async def ask(folder):
            asked = next(moments)
            try:
                errors = await refreshes.done([folder])
            except ZeroDivisionError:
                errors = ["crash"]
            answered.append(folder)
            if not errors:
                assert any(
                    run["over"] and run["folder"] == folder and run["began"] is not None and run["began"] > asked
                    for run in runs
                ), "released by a refresh that had begun before"

        def step(folder, order):
            for run in runs:
                if run["folder"] == folder and not run["over"]:
                    run["order"].put_nowait(order)

        tasks = []
        for what, number in steps:
            if what == "ask":
                tasks.append(asyncio.create_task(ask(folders[number])))
                # The request and the beginning of the refresh are two steps. Other steps may come between them.
                await asyncio.sleep(0)
            elif what == "turn":
                for _ in range(number + 1):
                    await asyncio.sleep(0)
            elif what == "cancel" and tasks:
                tasks[(number * 7) % len(tasks)].cancel()
            elif what == "ledger":
                world.ledger.unwritable = not world.ledger.unwritable
            else:
                step(folders[number], what)
        # Every request is answered as long as refreshes end.
        world.ledger.unwritable = False
        for _ in range(10):
            for folder in folders:
                step(folder, "finish")
            await flow.settled()
        for task in tasks:
            assert task.done()
            if not task.cancelled():
                task.result()
        assert not refreshes._folders

    flow.virtually(main())
