"""The bucket map looks every few minutes where buckets are shown, and also after a question about an unknown bucket."""

import asyncio
from collections.abc import Collection, Mapping
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from jibe_sqs.core.decisions import Decisions, Place, Places, Unmapped
from jibe_sqs.core.errors import AccessAnywhereUnavailable
from jibe_sqs.core.model import Done, Folder, Kind, ObjectEvent, Refresh, Retry, Skip, SkipReason
from jibe_sqs.core.plan import Plan
from jibe_sqs.syncing.bucket_map import INTERVAL, MIN_INTERVAL, NOT_LOOKED, NOTHING, BucketMap, PlacesOfProviders

DOWN = "HTTP 503 from Access Anywhere"
ONE = {"photos": (Place("/S3/photos"),)}
TWO = ONE | {"films": (Place("/S3/films"),)}
JUST_NOW = 9e9
"""The time of a change after every look so far."""


class Shown:
    """The `Providers` port. It returns `shown` and `syncs`. While `is_down`, all calls fail; while `tasks_are_down`, syncs do."""

    def __init__(self, shown: Places) -> None:
        self.shown = shown
        self.syncs: dict[str, float] = {}
        self.is_down = self.tasks_are_down = False
        self.defect: Exception | None = None
        self.takes = 0.1
        self.looks: list[float] = []

    async def places(self) -> Places:
        self.looks.append(asyncio.get_running_loop().time())
        shown = self.shown
        await asyncio.sleep(self.takes)
        if self.defect:
            raise self.defect
        if self.is_down:
            raise AccessAnywhereUnavailable(DOWN)
        return shown

    async def synced(self, folders: Collection[str]) -> Mapping[str, float]:
        await asyncio.sleep(self.takes)
        if self.is_down or self.tasks_are_down:
            raise AccessAnywhereUnavailable(DOWN)
        return {folder: began for folder, began in self.syncs.items() if folder in folders}


@asynccontextmanager
async def running(flow, providers, decisions: Decisions | None = None, **options):
    """A running bucket map."""
    decisions = decisions or Decisions()
    buckets = BucketMap(providers=providers, decisions=decisions, clock=flow.VirtualClock(), **options)
    task = asyncio.create_task(buckets.run())
    try:
        yield buckets, decisions
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def event(key: str = "a/b", *, bucket: str = "photos", time: float = 1000.0) -> ObjectEvent:
    return ObjectEvent(Kind.WRITTEN, bucket, key, time)


def names(events) -> list[str]:
    return [each["event"] for each in events]


# Discovery


async def test_nothing_is_decided_before_the_buckets_are_known(flow, events):
    providers = Shown(ONE)
    async with running(flow, providers) as (buckets, decisions):
        assert buckets.reason
        assert decisions.decide(event()) == Unmapped()
        await buckets.passable()
        assert (flow.time(), buckets.reason) == (0.2, "")
        assert decisions.decide(event()).folders == (Folder("/S3/photos/a"),)
        await buckets.passable()
        assert flow.time() == 0.2
    found = [each for each in events if each["event"] == "buckets_found"]
    assert [(each["buckets"], each["log_level"]) for each in found] == [(1, "info")]
    assert [each["log_level"] for each in events if each.get("bucket") == "photos"] == ["debug"]


async def test_a_failed_first_look_is_repeated_with_growing_delays_and_the_gate_has_its_reason(flow, events):
    providers = Shown(ONE)
    providers.is_down, providers.takes = True, 0
    async with running(flow, providers) as (buckets, _):
        await asyncio.sleep(200)
        assert buckets.reason == f"{NOT_LOOKED}: {DOWN}"
        providers.is_down = False
        await buckets.passable()
        assert providers.looks == [0, 1, 3, 7, 15, 31, 63, 123, 183, 243]
    unknown = [each for each in events if each["event"] == "buckets_unknown"]
    assert [each["retry_in"] for each in unknown[:4]] == [1, 2, 4, 8]
    assert {(each["reason"], each["log_level"]) for each in unknown} == {(f"{NOT_LOOKED}: {DOWN}", "warning")}


async def test_an_empty_first_answer_does_not_count_as_known(flow):
    """Otherwise all changes would be skipped."""
    providers = Shown({})
    async with running(flow, providers) as (buckets, _):
        await asyncio.sleep(1)
        assert buckets.reason == NOTHING
        providers.shown = ONE
        await buckets.passable()
        assert buckets.places == ONE


async def test_an_unexpected_exception_at_the_first_look_is_logged_and_the_next_look_follows(flow, events):
    providers = Shown(ONE)
    providers.defect = ZeroDivisionError()
    async with running(flow, providers) as (buckets, _):
        await asyncio.sleep(0.5)
        providers.defect = None
        await buckets.passable()
    assert names(events)[:2] == ["bucket_look_crashed", "buckets_unknown"]


async def test_the_places_are_replaced_only_when_they_change(flow):
    """The readers compare identities, which is a fast check for a change."""
    providers = Shown(ONE)
    async with running(flow, providers) as (_, decisions):
        await asyncio.sleep(10)
        first = decisions.places
        await asyncio.sleep(INTERVAL)
        assert decisions.places is first == ONE
        providers.shown = TWO
        await asyncio.sleep(INTERVAL)
        assert decisions.places is not first
        assert (first, decisions.places) == (ONE, TWO)


async def test_a_provider_that_appears_is_found_at_the_next_look(flow, events):
    providers = Shown(ONE)
    async with running(flow, providers) as (_, decisions):
        await asyncio.sleep(10)
        providers.shown = {"photos": (Place("/S3/photos"), Place("/Part", "a/"))}
        await asyncio.sleep(INTERVAL)
        assert decisions.decide(event()).folders == (Folder("/S3/photos/a"), Folder("/Part"))
    [appeared] = [each for each in events if each["event"] == "bucket_appeared"]
    assert (appeared["bucket"], appeared["folder"], appeared["prefix"]) == ("photos", "/Part", "a/")


async def test_a_bucket_that_vanishes_is_kept_until_a_later_look_misses_it_too(flow, events):
    """During a sync of a provider, or just after a start of the server, some buckets may be missing."""
    providers = Shown(TWO)
    async with running(flow, providers) as (buckets, _):
        await asyncio.sleep(10)
        providers.shown = ONE
        await asyncio.sleep(INTERVAL)
        assert buckets.places == TWO
        assert "bucket_vanished" not in names(events)
        await asyncio.sleep(INTERVAL)
        assert buckets.places == ONE
    [vanished] = [each for each in events if each["event"] == "bucket_vanished"]
    assert (vanished["bucket"], vanished["log_level"]) == ("films", "warning")


async def test_a_bucket_that_only_one_look_misses_does_not_vanish(flow, events):
    providers = Shown(TWO)
    async with running(flow, providers) as (buckets, _):
        for shown in (TWO, ONE, TWO, ONE, TWO):
            providers.shown = shown
            await asyncio.sleep(INTERVAL)
            assert buckets.places == TWO
    assert not {"bucket_vanished", "bucket_appeared"} & set(names(events))


async def test_looks_for_other_buckets_do_not_remove_a_missed_bucket_sooner(flow):
    providers = Shown(TWO)
    async with running(flow, providers) as (buckets, _):
        await asyncio.sleep(10)
        providers.shown = ONE
        await asyncio.sleep(INTERVAL)
        for _ in range(3):
            await asyncio.sleep(MIN_INTERVAL)
            await buckets.appeared({"unknown": ()}, JUST_NOW)
        assert buckets.places == TWO


async def test_a_look_that_fails_or_is_empty_changes_nothing(flow, events):
    providers = Shown(ONE)
    async with running(flow, providers) as (buckets, _):
        await asyncio.sleep(10)
        providers.shown = {}
        await asyncio.sleep(5 * INTERVAL)
        providers.is_down = True
        await asyncio.sleep(5 * INTERVAL)
        assert buckets.places == ONE
        assert not buckets.reason
    kept = [each for each in events if each["event"] == "buckets_kept"]
    assert [each["reason"] for each in kept] == [NOTHING] * 5 + [DOWN] * 5
    assert {each["log_level"] for each in kept} == {"warning"}


# Questions about unknown buckets


async def test_a_question_about_an_unknown_bucket_causes_a_look_at_once(flow):
    providers = Shown(ONE)
    async with running(flow, providers) as (buckets, decisions):
        await asyncio.sleep(MIN_INTERVAL + 10)
        providers.shown = TWO
        before = flow.time()
        assert await buckets.appeared({"films": ()}, JUST_NOW)
        assert flow.time() < before + 1
        assert len(providers.looks) == 2
        assert decisions.decide(event(bucket="films")).folders == (Folder("/S3/films/a"),)


async def test_a_bucket_that_is_not_shown_has_not_appeared(flow):
    providers = Shown(ONE)
    async with running(flow, providers) as (buckets, _):
        await asyncio.sleep(MIN_INTERVAL + 10)
        assert not await buckets.appeared({"films": ()}, JUST_NOW)


async def test_ten_thousand_callers_at_the_same_time_share_one_look(flow):
    providers = Shown(ONE)
    async with running(flow, providers) as (buckets, _):
        await asyncio.sleep(10)
        providers.shown = TWO
        wanted = (buckets.appeared({bucket: ()}, flow.EPOCH + n) for n in range(5000) for bucket in ("films", "other"))
        assert await asyncio.gather(*wanted) == [True, False] * 5000
        assert len(providers.looks) == 2


async def test_unknown_buckets_cause_at_most_one_look_in_half_a_minute(flow):
    providers = Shown(ONE)
    async with running(flow, providers, interval=1e6) as (buckets, _):
        await buckets.passable()

        async def ask(moment):
            await asyncio.sleep(moment)
            assert not await buckets.appeared({f"other{moment}": ()}, flow.EPOCH + moment)

        await asyncio.gather(*(ask(moment) for moment in range(1000)))
    assert min(b - a for a, b in zip(providers.looks, providers.looks[1:], strict=False)) >= MIN_INTERVAL
    assert 30 <= len(providers.looks) <= 36


async def test_while_looks_hang_waiting_callers_do_not_each_begin_another(flow):
    providers = Shown(ONE)
    async with running(flow, providers, interval=1e6) as (buckets, _):
        await asyncio.sleep(MIN_INTERVAL + 10)
        providers.takes = 120
        assert await asyncio.gather(*(buckets.appeared({"films": ()}, JUST_NOW) for _ in range(20))) == [False] * 20
        assert len(providers.looks) == 2


async def test_a_cancelled_caller_does_not_stop_the_look_of_the_others(flow):
    providers = Shown(ONE)
    async with running(flow, providers) as (buckets, _):
        await asyncio.sleep(MIN_INTERVAL + 10)
        providers.shown = TWO
        first, second = (asyncio.create_task(buckets.appeared({"films": ()}, JUST_NOW)) for _ in range(2))
        await flow.until(lambda: len(providers.looks) == 2)
        first.cancel()
        assert await second
        assert len(providers.looks) == 3


async def test_a_bucket_that_was_found_while_a_file_was_read_has_appeared_for_its_reader(flow):
    """The reader decided with the map of the beginning of a long file. A look followed before the end of the file."""
    providers = Shown(ONE)
    async with running(flow, providers) as (buckets, decisions):
        await asyncio.sleep(MIN_INTERVAL + 10)
        plan = Plan()
        plan.add(event(bucket="films"), decisions.decide(event(bucket="films")))
        providers.shown = TWO
        await asyncio.sleep(INTERVAL)
        assert len(providers.looks) == 2
        assert await buckets.appeared(plan.unmapped, plan.newest_unmapped)
        assert len(providers.looks) == 2


async def test_repeated_decisions_come_to_an_end(flow):
    """If only a prefix of a bucket is shown, its other keys are never mapped."""
    providers = Shown({"photos": (Place("/Part", "a/"),)})
    async with running(flow, providers) as (buckets, decisions):
        await asyncio.sleep(MIN_INTERVAL + 10)
        providers.shown = {"photos": (Place("/Part", "a/"), Place("/Other", "b/"))}
        rounds = 0
        while True:
            rounds += 1
            plan = Plan()
            plan.add(event("c/d"), decisions.decide(event("c/d")))
            if not await buckets.appeared(plan.unmapped, JUST_NOW):
                break
        assert rounds == 2


async def test_a_new_sync_alone_does_not_repeat_a_decision(flow):
    providers = Shown({"photos": (Place("/Part", "a/"),)})
    async with running(flow, providers) as (buckets, decisions):
        await asyncio.sleep(MIN_INTERVAL + 10)
        plan = Plan()
        plan.add(event("c/d"), decisions.decide(event("c/d")))
        providers.syncs["Part"] = 5.0
        assert not await buckets.appeared(plan.unmapped, JUST_NOW)
        assert len(providers.looks) == 2


# Changes after the last look


async def test_a_change_after_the_last_look_needs_a_look_that_began_after_it(flow):
    """The bucket may have been added and synchronised after the look, and changed after the sync began. A skip would lose the change."""
    providers = Shown(ONE)
    async with running(flow, providers) as (buckets, _):
        await asyncio.sleep(10)
        providers.shown = TWO
        assert await buckets.appeared({"films": ()}, flow.EPOCH + 9)
        assert MIN_INTERVAL <= flow.time() < MIN_INTERVAL + 1
        assert not await buckets.appeared({"other": ()}, flow.EPOCH + 9)
        assert len(providers.looks) == 2


async def test_a_change_long_before_the_last_look_is_certain_at_once(flow):
    """Nearly all changes in CloudTrail logs are that old."""
    providers = Shown(ONE)
    async with running(flow, providers) as (buckets, _):
        await asyncio.sleep(MIN_INTERVAL + 10)
        assert not await buckets.appeared({"films": ()}, JUST_NOW)
        before = flow.time()
        assert not await buckets.appeared({"films": ()}, flow.EPOCH + 20)
        assert flow.time() == before
        assert len(providers.looks) == 2


async def test_a_change_just_before_the_last_look_needs_another_look(flow):
    """The clocks of S3 and of this machine may differ."""
    providers = Shown(ONE)
    async with running(flow, providers) as (buckets, _):
        await asyncio.sleep(INTERVAL + 1)
        providers.shown = TWO
        assert await buckets.appeared({"films": ()}, flow.EPOCH + INTERVAL - 5)


async def test_while_the_time_of_s3_is_unknown_a_look_counts_if_it_began_after_the_question(flow):
    providers = Shown(ONE)
    async with running(flow, providers) as (buckets, _):
        buckets._clock.now = lambda: 0.0
        await asyncio.sleep(10)
        assert not await buckets.appeared({"films": ()}, flow.EPOCH)
        assert len(providers.looks) == 2


@pytest.mark.parametrize("fault", ["down", "nothing", "defect"])
async def test_while_looks_fail_callers_get_an_error_with_the_reason(flow, fault):
    providers = Shown(ONE)
    async with running(flow, providers, interval=1e6) as (buckets, _):
        await asyncio.sleep(10)
        providers.is_down = fault == "down"
        providers.shown = {} if fault == "nothing" else ONE
        providers.defect = ZeroDivisionError() if fault == "defect" else None
        answers = await asyncio.gather(
            *(buckets.appeared({"films": ()}, flow.EPOCH + 9) for _ in range(20)), return_exceptions=True
        )
        assert [type(answer) for answer in answers] == [AccessAnywhereUnavailable] * 20
        assert len(providers.looks) == 2
        assert buckets.places == ONE


async def test_a_look_that_takes_too_long_is_cancelled(flow, events):
    """A server may return the same page again and again."""
    providers = Shown(ONE)
    providers.takes = 1e9
    async with running(flow, providers) as (buckets, _):
        await flow.until(lambda: "within" in buckets.reason)
        providers.takes = 0.1
        await buckets.passable()
        providers.takes = 1e9
        with pytest.raises(AccessAnywhereUnavailable, match="within"):
            await buckets.appeared({"films": ()}, JUST_NOW)
    assert [each["event"] for each in events if each["log_level"] == "warning"] == ["buckets_unknown", "buckets_kept"]


async def test_a_look_with_an_unexpected_exception_is_not_repeated_sooner(flow, events):
    providers = Shown(ONE)
    async with running(flow, providers, interval=1e6) as (buckets, _):
        await asyncio.sleep(MIN_INTERVAL + 10)
        providers.defect = ZeroDivisionError()
        began = flow.time()
        while flow.time() < began + 10 * MIN_INTERVAL:
            with pytest.raises(AccessAnywhereUnavailable, match="ZeroDivisionError"):
                await buckets.appeared({"films": ()}, JUST_NOW)
        assert 9 <= names(events).count("bucket_look_crashed") <= 11


async def test_a_change_in_a_bucket_that_was_mapped_since_the_last_look_is_not_lost(flow):
    providers = Shown(ONE)
    async with running(flow, providers) as (buckets, decisions):
        world = flow.World(decisions=decisions, buckets=buckets)
        await asyncio.sleep(10)
        providers.shown, providers.syncs = {"data": (Place("/New/data"),)}, {"New": flow.EPOCH + 5}
        body = flow.announcing(world.put("a", flow.log_of("name/x", time="2026-01-01T00:00:08Z")))
        assert isinstance(await world.handle(body), Retry)
        assert not world.ledger.finished
        assert await world.handle(body, receive_count=2) == Done()
        assert [run.folder.path for run in world.target.runs] == ["/New/data/name"]


# Syncs


async def test_changes_before_the_sync_of_a_provider_are_skipped(flow):
    providers = Shown({"photos": (Place("/One/photos"), Place("/Two"))})
    providers.syncs = {"One": 500.0, "Two": 2000.0}
    async with running(flow, providers) as (buckets, decisions):
        await buckets.passable()
        assert decisions.decide(event(time=1000)).folders == (Folder("/One/photos/a"),)
        assert decisions.decide(event(time=400)) == Skip(SkipReason.BEFORE_SYNC)
        providers.syncs["One"] = 1500.0
        await asyncio.sleep(INTERVAL + 1)
        assert decisions.decide(event(time=1000)) == Skip(SkipReason.BEFORE_SYNC)


async def test_if_the_times_of_syncs_are_unknown_nothing_is_skipped_and_that_is_logged_once(flow, events):
    providers = Shown(ONE)
    providers.syncs, providers.tasks_are_down = {"S3": 2000.0}, True
    async with running(flow, providers) as (buckets, decisions):
        await buckets.passable()
        await asyncio.sleep(5 * INTERVAL)
        assert isinstance(decisions.decide(event()), Refresh)
        providers.tasks_are_down = False
        await asyncio.sleep(INTERVAL)
        assert decisions.decide(event()) == Skip(SkipReason.BEFORE_SYNC)
    assert names(events).count("syncs_unknown") == 1


@pytest.mark.parametrize("given", [None, ONE], ids=["discovered", "of the settings"])
async def test_a_sync_in_the_future_is_ignored(flow, events, given):
    """The server's clock may be ahead or in another time zone. Until then, all changes would be skipped."""
    providers = Shown(ONE)
    providers.syncs = {"S3": flow.EPOCH + 9 * 3600}
    async with running(flow, providers, Decisions(given)) as (_, decisions):
        await asyncio.sleep(INTERVAL + 1)
        assert isinstance(decisions.decide(event(time=flow.EPOCH + 100)), Refresh)
        providers.syncs = {"S3": flow.EPOCH + 200}
        await asyncio.sleep(INTERVAL)
        assert decisions.decide(event(time=flow.EPOCH + 100)) == Skip(SkipReason.BEFORE_SYNC)
    logged = [each for each in events if each["event"] == "sync_in_the_future"]
    assert [(each["folder"], each["log_level"]) for each in logged] == [("S3", "warning")] * 2


async def test_syncs_count_also_while_the_time_of_s3_is_unknown(flow):
    providers = Shown(ONE)
    providers.syncs = {"S3": flow.EPOCH}
    async with running(flow, providers) as (buckets, decisions):
        buckets._clock.now = lambda: 0.0
        await buckets.passable()
        assert decisions.decide(event(time=flow.EPOCH - 100)) == Skip(SkipReason.BEFORE_SYNC)


# Configured places


async def test_configured_places_are_known_from_the_start_and_do_not_change(flow):
    providers = Shown(TWO)
    async with running(flow, providers, Decisions(ONE)) as (buckets, decisions):
        assert not buckets.reason
        await buckets.passable()
        assert isinstance(decisions.decide(event()), Refresh)
        await asyncio.sleep(5 * INTERVAL)
        assert not await buckets.appeared({"films": ()}, JUST_NOW)
        assert decisions.places == ONE
    assert providers.looks == []


async def test_changes_in_configured_places_are_skipped_after_a_sync_of_their_provider(flow):
    providers = Shown({})
    places = {"photos": (Place("/Amazon S3/photos"), Place("/Team", "team/"), Place("/"))}
    providers.syncs = {"Amazon S3": 1.0, "Team": 2.0, "": 3.0}
    async with running(flow, providers, Decisions(places)) as (_, decisions):
        await asyncio.sleep(1)
        shown = {place.folder: place.synced for place in decisions.places["photos"]}
        assert (shown["/Amazon S3/photos"], shown["/Team"]) == (1.0, 2.0)


async def test_with_configured_places_a_server_that_is_down_does_not_close_the_gate(flow, events):
    providers = Shown({})
    providers.is_down = True
    async with running(flow, providers, Decisions(ONE)) as (buckets, decisions):
        await asyncio.sleep(5 * INTERVAL)
        assert not buckets.reason
        assert isinstance(decisions.decide(event()), Refresh)
    assert names(events) == ["syncs_unknown"]


# Places of named providers

TWO_PROVIDERS = {
    "photos": (Place("/Amazon S3/photos"), Place("/Archive/2025/photos")),
    "films": (Place("/Archive/films", prefix="2026/"),),
    "trail": (Place("/Logs"),),
}


def test_only_the_places_of_the_named_providers_are_left_in_any_case_of_letters():
    part = PlacesOfProviders(lambda: TWO_PROVIDERS, ["archive", "/LOGS/"])
    assert part() == {
        "photos": (Place("/Archive/2025/photos"),),
        "films": (Place("/Archive/films", prefix="2026/"),),
        "trail": (Place("/Logs"),),
    }


def test_the_places_of_providers_follow_the_map_and_are_computed_once_for_each_map():
    now: dict[str, tuple[Place, ...]] = {}
    part = PlacesOfProviders(lambda: now, ["Archive"])
    assert part() == {}
    now = TWO_PROVIDERS
    assert set(part()) == {"photos", "films"}
    assert part() is part()
    now = ONE
    assert part() == {}


def test_a_provider_that_is_not_shown_is_logged_once_and_again_after_it_was_shown():
    now: dict[str, tuple[Place, ...]] = {}
    part = PlacesOfProviders(lambda: now, ["Archive", "Archvie"])
    with capture_logs() as logged:
        part()  # The map is not known yet, so no provider counts as missing.
        for shown in (TWO_PROVIDERS, dict(TWO_PROVIDERS), ONE, TWO_PROVIDERS, ONE):
            now = shown
            part()
    assert [each["provider"] for each in logged] == ["Archvie", "Archive", "Archive"]
    assert logged[0]["shown"] == ["Amazon S3", "Archive", "Logs"]


# Places that are configured anew


async def test_new_configured_places_count_at_once_and_keep_the_times_of_syncs(flow, events):
    providers = Shown({})
    providers.syncs = {"S3": 500.0}
    async with running(flow, providers, Decisions(ONE)) as (buckets, decisions):
        await asyncio.sleep(1)
        assert decisions.places["photos"][0].synced == 500.0
        buckets.configure(TWO)
        assert {bucket: places[0].synced for bucket, places in decisions.places.items()} == {
            "photos": 500.0,
            "films": float("-inf"),
        }
        assert decisions.decide(event(bucket="films")).folders == (Folder("/S3/films/a"),)
        # The next look is now, and not after the interval.
        await asyncio.sleep(1)
        assert decisions.places["films"][0].synced == 500.0
        buckets.configure({})
        assert isinstance(decisions.decide(event()), Unmapped)
    assert [each["bucket"] for each in events if each["event"] == "bucket_vanished"] == ["films", "photos"]


async def test_without_configured_places_any_more_nothing_new_is_taken_until_the_server_has_answered(flow):
    """What is in hand is still decided with the places from before. What is shown nowhere is not certain then."""
    providers = Shown(TWO)
    async with running(flow, providers, Decisions(ONE)) as (buckets, decisions):
        await asyncio.sleep(100)
        assert providers.looks == []
        unknown = {"films": ()}
        buckets.configure(None)
        assert buckets.reason == NOT_LOOKED
        assert "photos" in decisions.places
        asked = asyncio.create_task(buckets.appeared(unknown, 50.0))
        await buckets.passable()
        assert flow.time() == pytest.approx(100.2)
        assert decisions.decide(event(bucket="films")).folders == (Folder("/S3/films/a"),)
        assert await asked
        buckets.configure(None)
        assert not buckets.reason


async def test_a_look_that_asked_before_the_change_decides_nothing_after_it(flow):
    """Its answer has the places of the server, and these are configured now."""
    providers = Shown(TWO)
    providers.takes = 20
    async with running(flow, providers) as (buckets, decisions):
        await asyncio.sleep(10)
        buckets.configure(ONE)
        await asyncio.sleep(100)
        assert decisions.places.keys() == {"photos"}
        assert isinstance(decisions.decide(event(bucket="films")), Unmapped)


async def test_a_place_that_is_configured_while_others_wait_for_changes_is_seen(flow):
    """Imports wait for it."""
    async with running(flow, Shown({}), Decisions(ONE)) as (buckets, _):
        known = await buckets.changed()
        waiting = asyncio.create_task(buckets.changed(known))
        await asyncio.sleep(1)
        assert not waiting.done()
        buckets.configure(TWO)
        assert {bucket for bucket, _, _ in await waiting} == {"photos", "films"}
