"""Where buckets are shown: looked at every few minutes, and again when somebody asks about one that is not known."""

import asyncio
from collections.abc import Collection, Mapping
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from jibe_sqs.core.decisions import Decisions, Place, Places, Plan, Unmapped
from jibe_sqs.core.errors import AccessAnywhereUnavailable
from jibe_sqs.core.model import Done, Folder, Kind, ObjectEvent, Refresh, Retry, Skip, SkipReason
from jibe_sqs.syncing.bucket_map import INTERVAL, MIN_INTERVAL, NOTHING, BucketMap, PlacesOfProviders

DOWN = "HTTP 503 from Access Anywhere"
ONE = {"photos": (Place("/S3/photos"),)}
TWO = ONE | {"films": (Place("/S3/films"),)}
JUST_NOW = 9e9
"""The time of a change that was after every look so far."""


class Shown:
    """The `Providers` port: shows `shown`, of syncs `syncs`. Raises while `is_down`, or of syncs `tasks_are_down`."""

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
    """A map that runs."""
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
        assert decisions.decide(event()) == Refresh((Folder("/S3/photos/a"),))
        await buckets.passable()
        assert flow.time() == 0.2
    found = [each for each in events if each["event"] == "buckets_found"]
    assert [(each["buckets"], each["log_level"]) for each in found] == [(1, "info")]
    assert [each["log_level"] for each in events if each.get("bucket") == "photos"] == ["debug"]


async def test_a_first_look_that_fails_is_repeated_ever_more_slowly_and_the_gate_says_why(flow, events):
    providers = Shown(ONE)
    providers.is_down, providers.takes = True, 0
    async with running(flow, providers) as (buckets, _):
        await asyncio.sleep(200)
        assert buckets.reason == DOWN
        providers.is_down = False
        await buckets.passable()
        assert providers.looks == [0, 1, 3, 7, 15, 31, 63, 123, 183, 243]
    unknown = [each for each in events if each["event"] == "buckets_unknown"]
    assert [each["retry_in"] for each in unknown[:4]] == [1, 2, 4, 8]
    assert {(each["reason"], each["log_level"]) for each in unknown} == {(DOWN, "warning")}


async def test_no_buckets_at_all_are_not_taken_for_known_at_first(flow):
    """Everything would be skipped."""
    providers = Shown({})
    async with running(flow, providers) as (buckets, _):
        await asyncio.sleep(1)
        assert buckets.reason == NOTHING
        providers.shown = ONE
        await buckets.passable()
        assert buckets.places == ONE


async def test_a_defect_at_the_first_look_is_told_and_the_next_look_comes(flow, events):
    providers = Shown(ONE)
    providers.defect = ZeroDivisionError()
    async with running(flow, providers) as (buckets, _):
        await asyncio.sleep(0.5)
        providers.defect = None
        await buckets.passable()
    assert names(events)[:2] == ["bucket_look_crashed", "buckets_unknown"]


async def test_the_places_are_replaced_when_they_change_and_only_then(flow):
    """Their readers compare identities, to see cheaply whether something has changed."""
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
        assert decisions.decide(event()) == Refresh((Folder("/S3/photos/a"), Folder("/Part")))
    [appeared] = [each for each in events if each["event"] == "bucket_appeared"]
    assert (appeared["bucket"], appeared["folder"], appeared["prefix"]) == ("photos", "/Part", "a/")


async def test_a_bucket_that_vanishes_is_kept_until_it_is_missed_again(flow, events):
    """A provider that is being synced, or a server that has just started, may not show all that it will show."""
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


async def test_a_bucket_that_is_missed_once_has_never_vanished(flow, events):
    providers = Shown(TWO)
    async with running(flow, providers) as (buckets, _):
        for shown in (TWO, ONE, TWO, ONE, TWO):
            providers.shown = shown
            await asyncio.sleep(INTERVAL)
            assert buckets.places == TWO
    assert not {"bucket_vanished", "bucket_appeared"} & set(names(events))


async def test_looks_for_other_buckets_do_not_make_a_missed_one_vanish_sooner(flow):
    providers = Shown(TWO)
    async with running(flow, providers) as (buckets, _):
        await asyncio.sleep(10)
        providers.shown = ONE
        await asyncio.sleep(INTERVAL)
        for _ in range(3):
            await asyncio.sleep(MIN_INTERVAL)
            await buckets.appeared({"unknown": ()}, JUST_NOW)
        assert buckets.places == TWO


async def test_a_look_that_fails_or_finds_nothing_changes_nothing(flow, events):
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


# Appearing


async def test_a_bucket_that_is_new_is_looked_for_at_once(flow):
    providers = Shown(ONE)
    async with running(flow, providers) as (buckets, decisions):
        await asyncio.sleep(MIN_INTERVAL + 10)
        providers.shown = TWO
        before = flow.time()
        assert await buckets.appeared({"films": ()}, JUST_NOW)
        assert flow.time() < before + 1
        assert len(providers.looks) == 2
        assert decisions.decide(event(bucket="films")) == Refresh((Folder("/S3/films/a"),))


async def test_a_bucket_that_is_not_shown_has_not_appeared(flow):
    providers = Shown(ONE)
    async with running(flow, providers) as (buckets, _):
        await asyncio.sleep(MIN_INTERVAL + 10)
        assert not await buckets.appeared({"films": ()}, JUST_NOW)


async def test_ten_thousand_who_ask_at_once_share_one_look(flow):
    providers = Shown(ONE)
    async with running(flow, providers) as (buckets, _):
        await asyncio.sleep(10)
        providers.shown = TWO
        wanted = (buckets.appeared({bucket: ()}, flow.EPOCH + n) for n in range(5000) for bucket in ("films", "other"))
        assert await asyncio.gather(*wanted) == [True, False] * 5000
        assert len(providers.looks) == 2


async def test_strangers_bring_about_one_look_each_half_minute_at_most(flow):
    providers = Shown(ONE)
    async with running(flow, providers, interval=1e6) as (buckets, _):
        await buckets.passable()

        async def ask(moment):
            await asyncio.sleep(moment)
            assert not await buckets.appeared({f"other{moment}": ()}, flow.EPOCH + moment)

        await asyncio.gather(*(ask(moment) for moment in range(1000)))
    assert min(b - a for a, b in zip(providers.looks, providers.looks[1:], strict=False)) >= MIN_INTERVAL
    assert 30 <= len(providers.looks) <= 36


async def test_while_looks_hang_those_who_wait_do_not_each_begin_another(flow):
    providers = Shown(ONE)
    async with running(flow, providers, interval=1e6) as (buckets, _):
        await asyncio.sleep(MIN_INTERVAL + 10)
        providers.takes = 120
        assert await asyncio.gather(*(buckets.appeared({"films": ()}, JUST_NOW) for _ in range(20))) == [False] * 20
        assert len(providers.looks) == 2


async def test_who_stops_waiting_does_not_stop_the_others(flow):
    providers = Shown(ONE)
    async with running(flow, providers) as (buckets, _):
        await asyncio.sleep(MIN_INTERVAL + 10)
        providers.shown = TWO
        first, second = (asyncio.create_task(buckets.appeared({"films": ()}, JUST_NOW)) for _ in range(2))
        await flow.until(lambda: len(providers.looks) == 2)
        first.cancel()
        assert await second
        assert len(providers.looks) == 3


async def test_what_was_found_while_somebody_read_is_news_to_them(flow):
    """Decided by what was known at the beginning of a long file; then came a look; then the file's end."""
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


async def test_deciding_anew_comes_to_an_end(flow):
    """Of a bucket that is shown in part, what lies elsewhere is never mapped."""
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


async def test_a_sync_alone_is_no_reason_to_decide_anew(flow):
    providers = Shown({"photos": (Place("/Part", "a/"),)})
    async with running(flow, providers) as (buckets, decisions):
        await asyncio.sleep(MIN_INTERVAL + 10)
        plan = Plan()
        plan.add(event("c/d"), decisions.decide(event("c/d")))
        providers.syncs["Part"] = 5.0
        assert not await buckets.appeared(plan.unmapped, JUST_NOW)
        assert len(providers.looks) == 2


# Certainty


async def test_a_change_since_the_last_look_is_waited_for_by_a_look_that_began_after_it(flow):
    """Mapped and synchronised since that look, and changed after the sync had begun: to skip it would be to lose it."""
    providers = Shown(ONE)
    async with running(flow, providers) as (buckets, _):
        await asyncio.sleep(10)
        providers.shown = TWO
        assert await buckets.appeared({"films": ()}, flow.EPOCH + 9)
        assert MIN_INTERVAL <= flow.time() < MIN_INTERVAL + 1
        assert not await buckets.appeared({"other": ()}, flow.EPOCH + 9)
        assert len(providers.looks) == 2


async def test_a_change_of_well_before_the_last_look_is_certain_at_once(flow):
    """As nearly all are that CloudTrail tells of."""
    providers = Shown(ONE)
    async with running(flow, providers) as (buckets, _):
        await asyncio.sleep(MIN_INTERVAL + 10)
        assert not await buckets.appeared({"films": ()}, JUST_NOW)
        before = flow.time()
        assert not await buckets.appeared({"films": ()}, flow.EPOCH + 20)
        assert flow.time() == before
        assert len(providers.looks) == 2


async def test_a_change_of_just_before_the_last_look_may_have_been_after_it(flow):
    """Clocks differ."""
    providers = Shown(ONE)
    async with running(flow, providers) as (buckets, _):
        await asyncio.sleep(INTERVAL + 1)
        providers.shown = TWO
        assert await buckets.appeared({"films": ()}, flow.EPOCH + INTERVAL - 5)


async def test_where_s3s_clock_is_not_known_a_look_counts_that_began_after_it_was_asked_for(flow):
    providers = Shown(ONE)
    async with running(flow, providers) as (buckets, _):
        buckets._clock.now = lambda: 0.0
        await asyncio.sleep(10)
        assert not await buckets.appeared({"films": ()}, flow.EPOCH)
        assert len(providers.looks) == 2


@pytest.mark.parametrize("fault", ["down", "nothing", "defect"])
async def test_while_looks_fail_nothing_is_certain_and_whoever_waits_hears_why(flow, fault):
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


async def test_a_look_that_never_ends_is_given_up(flow, events):
    """A server that answers the same page again and again."""
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


async def test_a_look_that_meets_a_defect_is_not_repeated_sooner_either(flow, events):
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


async def test_what_a_providers_sync_has_seen_is_skipped(flow):
    providers = Shown({"photos": (Place("/One/photos"), Place("/Two"))})
    providers.syncs = {"One": 500.0, "Two": 2000.0}
    async with running(flow, providers) as (buckets, decisions):
        await buckets.passable()
        assert decisions.decide(event(time=1000)) == Refresh((Folder("/One/photos/a"),))
        assert decisions.decide(event(time=400)) == Skip(SkipReason.BEFORE_SYNC)
        providers.syncs["One"] = 1500.0
        await asyncio.sleep(INTERVAL + 1)
        assert decisions.decide(event(time=1000)) == Skip(SkipReason.BEFORE_SYNC)


async def test_without_news_of_syncs_nothing_is_skipped_and_that_is_said_once(flow, events):
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
async def test_a_sync_that_has_not_begun_yet_has_seen_nothing(flow, events, given):
    """Access Anywhere's clock is far ahead, or writes another zone's time: until then all would be skipped."""
    providers = Shown(ONE)
    providers.syncs = {"S3": flow.EPOCH + 9 * 3600}
    async with running(flow, providers, Decisions(given)) as (_, decisions):
        await asyncio.sleep(INTERVAL + 1)
        assert isinstance(decisions.decide(event(time=flow.EPOCH + 100)), Refresh)
        providers.syncs = {"S3": flow.EPOCH + 200}
        await asyncio.sleep(INTERVAL)
        assert decisions.decide(event(time=flow.EPOCH + 100)) == Skip(SkipReason.BEFORE_SYNC)
    told = [each for each in events if each["event"] == "sync_in_the_future"]
    assert [(each["folder"], each["log_level"]) for each in told] == [("S3", "warning")] * 2


async def test_where_s3s_clock_is_not_known_syncs_count_all_the_same(flow):
    providers = Shown(ONE)
    providers.syncs = {"S3": flow.EPOCH}
    async with running(flow, providers) as (buckets, decisions):
        buckets._clock.now = lambda: 0.0
        await buckets.passable()
        assert decisions.decide(event(time=flow.EPOCH - 100)) == Skip(SkipReason.BEFORE_SYNC)


# Places that the settings give


async def test_places_of_the_settings_are_known_from_the_start_and_stay(flow):
    providers = Shown(TWO)
    async with running(flow, providers, Decisions(ONE)) as (buckets, decisions):
        assert not buckets.reason
        await buckets.passable()
        assert isinstance(decisions.decide(event()), Refresh)
        await asyncio.sleep(5 * INTERVAL)
        assert not await buckets.appeared({"films": ()}, JUST_NOW)
        assert decisions.places == ONE
    assert providers.looks == []


async def test_places_of_the_settings_are_skipped_by_their_providers_sync(flow):
    providers = Shown({})
    places = {"photos": (Place("/Amazon S3/photos"), Place("/Team", "team/"), Place("/"))}
    providers.syncs = {"Amazon S3": 1.0, "Team": 2.0, "": 3.0}
    async with running(flow, providers, Decisions(places)) as (_, decisions):
        await asyncio.sleep(1)
        shown = {place.folder: place.synced for place in decisions.places["photos"]}
        assert (shown["/Amazon S3/photos"], shown["/Team"]) == (1.0, 2.0)


async def test_a_server_that_is_down_stops_nobody_who_has_places_in_the_settings(flow, events):
    providers = Shown({})
    providers.is_down = True
    async with running(flow, providers, Decisions(ONE)) as (buckets, decisions):
        await asyncio.sleep(5 * INTERVAL)
        assert not buckets.reason
        assert isinstance(decisions.decide(event()), Refresh)
    assert names(events) == ["syncs_unknown"]


# The part that some providers show

TWO_PROVIDERS = {
    "photos": (Place("/Amazon S3/photos"), Place("/Archive/2025/photos")),
    "films": (Place("/Archive/films", prefix="2026/"),),
    "trail": (Place("/Logs"),),
}


def test_only_the_places_of_the_named_providers_are_left_whatever_their_case():
    part = PlacesOfProviders(lambda: TWO_PROVIDERS, ["archive", "/LOGS/"])
    assert part() == {
        "photos": (Place("/Archive/2025/photos"),),
        "films": (Place("/Archive/films", prefix="2026/"),),
        "trail": (Place("/Logs"),),
    }


def test_the_part_follows_the_whole_and_is_computed_once_for_each():
    now: dict[str, tuple[Place, ...]] = {}
    part = PlacesOfProviders(lambda: now, ["Archive"])
    assert part() == {}
    now = TWO_PROVIDERS
    assert set(part()) == {"photos", "films"}
    assert part() is part()
    now = ONE
    assert part() == {}


def test_a_provider_that_is_not_shown_is_in_the_log_once_and_again_after_it_was_shown():
    now: dict[str, tuple[Place, ...]] = {}
    part = PlacesOfProviders(lambda: now, ["Archive", "Archvie"])
    with capture_logs() as logged:
        part()  # Nothing is known yet, so nothing is missing.
        for shown in (TWO_PROVIDERS, dict(TWO_PROVIDERS), ONE, TWO_PROVIDERS, ONE):
            now = shown
            part()
    assert [each["provider"] for each in logged] == ["Archvie", "Archive", "Archive"]
    assert logged[0]["shown"] == ["Amazon S3", "Archive", "Logs"]
