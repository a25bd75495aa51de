"""Counts per provider and bucket: no record is lost or counted twice in the total, and memory is limited."""

from collections import Counter
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jibe_sqs.core.decisions import Decisions, Place
from jibe_sqs.core.errors import CallFailed, RefreshTimedOut
from jibe_sqs.core.model import UNKNOWN_TIME, Change, Folder, Kind, ObjectEvent, RefreshReason, SkipReason
from jibe_sqs.core.plan import Counts as BucketCounts
from jibe_sqs.core.plan import Plan
from jibe_sqs.core.stale_folders import Needed, Stale
from jibe_sqs.ports import PendingRefresh, RefreshOutcome
from jibe_sqs.syncing.refreshes import Refreshes
from jibe_sqs.telemetry import activity as activity_module
from jibe_sqs.telemetry.activity import Activity, ProviderBucket, StaleFolders
from jibe_sqs.telemetry.lag import BOUNDS, Lag

PLACES = {
    "media": (Place("/Amazon S3/media"), Place("/Archive/media")),
    "projects": (Place("/Amazon S3/projects"), Place("/Amazon S3/projects/team a", "team/")),
}
TIMED_OUT = RefreshTimedOut("the refresh does not end")


class Clock:
    def __init__(self, now: float = 1000.0) -> None:
        self.time = now

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def activity(clock):
    return Activity(clock, lambda: PLACES)


def plan(**buckets: BucketCounts) -> Plan:
    made = Plan()
    made.buckets.update(buckets)
    return made


def counts(records: int, events: int, **skipped: int) -> BucketCounts:
    return BucketCounts(records, events, Counter({SkipReason[name]: count for name, count in skipped.items()}))


def ended(
    path: str, *, seconds: float = 1.0, waited: float = 2.0, error=None, tree=False, reason=RefreshReason.EVENTS
) -> RefreshOutcome:
    return RefreshOutcome(Folder(path, tree), seconds, waited, reason, error)


# Records


def test_records_of_a_bucket_that_two_providers_show_count_for_both_and_once_in_the_total(activity):
    activity.planned(plan(media=counts(10, 4, READ_ONLY=6)), Needed())
    taken = activity.take()
    for place in (ProviderBucket("Amazon S3", "media"), ProviderBucket("Archive", "media")):
        assert (taken.rows[place].records, taken.rows[place].events) == (10, 4)
        assert taken.rows[place].skipped == {"read-only": 6}
    assert (taken.total.records, taken.total.events, taken.total.skipped) == (10, 4, {"read-only": 6})


def test_a_provider_that_shows_two_parts_of_a_bucket_has_one_row(activity):
    activity.planned(plan(projects=counts(3, 3)), Needed())
    assert {at: found.records for at, found in activity.take().rows.items()} == {
        ProviderBucket("Amazon S3", "projects"): 3
    }


def test_records_without_a_provider_or_without_a_bucket_have_rows(activity):
    activity.planned(plan(stray=counts(2, 0, NOT_MAPPED=2), **{"": counts(5, 0, NOT_OBJECT_CHANGE=5)}), Needed())
    assert {at: found.records for at, found in activity.take().rows.items()} == {
        ProviderBucket("", "stray"): 2,
        ProviderBucket("", ""): 5,
    }


def test_without_a_bucket_map_every_bucket_has_a_row(clock):
    activity = Activity(clock)
    activity.planned(plan(media=counts(1, 1)), Needed())
    activity.done([Stale("media", (Folder("/media/a"),), 990, 990, 1)], [])
    activity.refreshed(ended("/media/a"))
    (found,) = activity.take().rows.items()
    assert found[0] == ProviderBucket("media", "media")
    assert (found[1].records, found[1].folders, found[1].lag.count) == (1, 1, 1)


def test_a_changed_bucket_map_is_used(clock):
    decisions = Decisions({"media": (Place("/Old/media"),)})
    activity = Activity(clock, lambda: decisions.places)
    activity.refreshed(ended("/Old/media/a"))
    decisions.places = {"media": (Place("/New/media"),), "other": (Place("/New/media/nested"),)}
    activity.planned(plan(media=counts(1, 1)), Needed())
    activity.refreshed(ended("/New/media/nested/a"))
    assert set(activity.take().rows) == {
        ProviderBucket("Old", "media"),
        ProviderBucket("New", "media"),
        ProviderBucket("New", "other"),
    }


@given(
    st.lists(st.tuples(st.sampled_from(["media", "projects", "stray", ""]), st.integers(0, 50), st.integers(0, 50))),
    st.sets(st.integers(0, 20)),
)
def test_no_record_is_lost_or_counted_twice_however_often_counts_are_taken(reads, taken_after):
    activity = Activity(Clock(), lambda: PLACES)
    records, events = 0, 0
    for number, (bucket, skipped, asked) in enumerate(reads):
        activity.planned(plan(**{bucket: counts(skipped + asked, asked, READ_ONLY=skipped)}), Needed())
        if number in taken_after:
            total = activity.take().total
            records, events = records + total.records, events + total.events
    rest, start = activity.take().total, activity.since_start().total
    assert records + rest.records == start.records == sum(skipped + asked for _, skipped, asked in reads)
    assert events + rest.events == start.events == sum(asked for *_, asked in reads)
    assert start.skipped.total() == sum(skipped for _, skipped, _ in reads)
    per_bucket = Counter()
    for bucket, skipped, asked in reads:
        per_bucket[bucket] += skipped + asked
    for at, found in activity.since_start().rows.items():
        assert found.records == per_bucket[at.bucket]


def test_already_refreshed_events_count_as_skipped_in_their_bucket(activity):
    read = plan(media=counts(3, 3), **{"": counts(2, 2)})
    activity.planned(read, Needed([], Counter({"media": 2, "bucket-beyond-the-limit": 1})))
    taken = activity.take()
    assert taken.rows[ProviderBucket("Archive", "media")].skipped == {"already-refreshed": 2}
    assert taken.rows[ProviderBucket("", "")].skipped == {"already-refreshed": 1}
    assert taken.total.skipped == {"already-refreshed": 3}


# Lag


def test_the_lag_is_from_the_event_to_the_end_of_its_refresh(activity):
    activity.done([Stale("media", (Folder("/Archive/media/a"),), 940.0, 940.0, 1)], [])
    lag = activity.take().rows[ProviderBucket("Archive", "media")].lag
    assert (lag.count, lag.longest) == (1, 60.0)


def test_the_lag_of_the_oldest_and_the_newest_event_of_a_folder_is_exact(activity):
    activity.done([Stale("media", (Folder("/Archive/media/a"),), 700.0, 990.0, 100)], [])
    lag = activity.take().rows[ProviderBucket("Archive", "media")].lag
    assert (lag.count, lag.longest) == (100, 300.0)
    assert lag.percentile(0.01) == pytest.approx(10, rel=0.5)
    assert lag.percentile(0.5) == pytest.approx(155, rel=0.5)


def test_events_whose_time_is_unknown_have_no_lag(activity):
    unknown = Stale("media", (Folder("/Archive/media/a"),), UNKNOWN_TIME, UNKNOWN_TIME, 3)
    partly = Stale("media", (Folder("/Archive/media/b"),), 940.0, UNKNOWN_TIME, 3)
    untimed = ObjectEvent(Kind.WRITTEN, "media", "a/b", UNKNOWN_TIME)
    activity.done([unknown, partly], [Change(untimed, (Folder("/Archive/media/a"),))])
    lag = activity.take().rows[ProviderBucket("Archive", "media")].lag
    assert (lag.count, lag.longest) == (1, 60.0)


def test_reported_changes_have_a_lag_too(activity):
    event = ObjectEvent(Kind.WRITTEN, "media", "a/b", 970.0)
    activity.done([], [Change(event, (Folder("/Amazon S3/media/a"), Folder("/Archive/media/a")))])
    assert {at: found.lag.longest for at, found in activity.take().rows.items()} == {
        ProviderBucket("Amazon S3", "media"): 30.0,
        ProviderBucket("Archive", "media"): 30.0,
    }


def test_without_s3s_clock_there_is_no_lag(activity, clock):
    clock.time = 0.0
    activity.done([Stale("media", (Folder("/Archive/media/a"),), 940.0, 940.0, 1)], [])
    assert activity.take().total.lag.percentile(0.5) is None


@given(st.lists(st.floats(0, 2_000_000), min_size=1), st.floats(0.001, 1))
def test_a_percentile_is_never_too_low_and_at_most_half_too_high(figures, share):
    lag = Lag()
    for figure in figures:
        lag.add(figure)
    exact = sorted(figures)[max(0, -int(-share * len(figures) // 1) - 1)]
    assert exact <= lag.percentile(share) <= max(exact * 1.5, BOUNDS[0], lag.longest if exact > BOUNDS[-1] else 0)
    assert lag.percentile(1) == lag.longest == max(figures)


def test_a_negative_lag_counts_as_zero():
    lag = Lag()
    lag.add(-5)
    assert (lag.count, lag.longest) == (1, 0.0)


# Refreshes


def test_refreshes_are_counted_by_kind_and_failures_by_error_class(activity):
    activity.refreshed(ended("/Amazon S3/media/a", seconds=2.0))
    activity.refreshed(ended("/Amazon S3/media", tree=True, seconds=3.0))
    activity.refreshed(ended("/Amazon S3/media/a/b", reason=RefreshReason.DESCENDANT))
    activity.refreshed(ended("/Amazon S3/media/c", error=TIMED_OUT))
    activity.refreshed(ended("/Amazon S3/media/d", error=CallFailed("no", code="no")))
    found = activity.take().rows[ProviderBucket("Amazon S3", "media")]
    assert (found.folders, found.trees, found.for_descendant, found.refreshes) == (1, 1, 1, 3)
    assert found.failed == {"RefreshTimedOut": 1, "CallFailed": 1}
    assert found.refreshing == 8.0


def test_a_folder_belongs_to_the_deepest_bucket_folder_above_it(clock):
    places = {"media": (Place("/P"),), "projects": (Place("/P/in/media"),)}
    activity = Activity(clock, lambda: places)
    for path in ("/P/in/media/x/y", "/P/in/mediax", "/P", "/P/in/media"):
        activity.refreshed(ended(path))
    assert {at: found.folders for at, found in activity.take().rows.items()} == {
        ProviderBucket("P", "projects"): 2,
        ProviderBucket("P", "media"): 2,
    }


def test_a_folder_above_all_buckets_has_a_provider_and_no_bucket(activity):
    activity.refreshed(ended("/Amazon S3", reason=RefreshReason.DESCENDANT))
    assert set(activity.take().rows) == {ProviderBucket("Amazon S3", "")}


async def test_refreshes_report_their_outcomes_and_pending_folders(flow):
    """With the real `Refreshes`: this test fails if its outcomes no longer fit."""
    clock = flow.VirtualClock()
    activity = Activity(clock, lambda: PLACES)
    target = flow.InMemorySyncTarget()
    target.takes = 5.0
    refreshes = Refreshes(
        target=target, ledger=flow.InMemoryLedger(), clock=clock, min_interval=0.0, observe=activity.refreshed
    )
    future = refreshes.ask(Folder("/Archive/media/a"))
    await flow.until(lambda: flow.time() >= 2)
    stale = activity.stale(refreshes.pending())
    assert stale == {ProviderBucket("Archive", "media"): StaleFolders(1, pytest.approx(2, abs=0.1))}
    await future
    await flow.settled()
    assert activity.take().rows[ProviderBucket("Archive", "media")].folders == 1
    assert activity.stale(refreshes.pending()) == {}


# Stale folders


def test_pending_folders_are_stale_since_their_first_request_except_for_descendants(activity):
    waiting = [
        PendingRefresh(Folder("/Archive/media/a"), 990.0),
        PendingRefresh(Folder("/Archive/media/b"), 940.0),
        PendingRefresh(Folder("/Archive/media/c"), 100.0, reason=RefreshReason.DESCENDANT),
    ]
    assert activity.stale(waiting) == {ProviderBucket("Archive", "media"): StaleFolders(2, 60.0)}


def test_a_folder_is_stale_from_a_failed_refresh_to_the_next_successful_one(activity, clock):
    activity.refreshed(ended("/Archive/media/a", waited=10.0, error=TIMED_OUT))
    clock.time += 300
    activity.refreshed(ended("/Archive/media/a", waited=1.0, error=TIMED_OUT))
    assert activity.stale() == {ProviderBucket("Archive", "media"): StaleFolders(1, 310.0)}
    activity.refreshed(ended("/Archive/media/a"))
    assert activity.stale() == {}


def test_a_refresh_of_a_tree_ends_the_failures_in_it_and_no_others(activity):
    for path in ("/Archive/media/a", "/Archive/media/a/b", "/Archive/media/ab"):
        activity.refreshed(ended(path, error=TIMED_OUT))
    activity.refreshed(ended("/Archive/media/a", tree=True, error=TIMED_OUT))
    activity.refreshed(ended("/Archive/media/a", tree=True))
    assert activity.stale()[ProviderBucket("Archive", "media")].count == 1


def test_a_failed_refresh_for_a_descendant_makes_no_folder_stale(activity):
    activity.refreshed(ended("/Archive/media/a", error=TIMED_OUT, reason=RefreshReason.DESCENDANT))
    assert activity.stale() == {}


# Memory


def test_rows_beyond_the_limit_are_counted_together(monkeypatch, clock):
    monkeypatch.setattr(activity_module, "MAX_ROWS", 10)
    activity = Activity(clock)
    for period in range(3):
        for number in range(50):
            activity.planned(plan(**{f"bucket-{period}-{number}": counts(1, 1)}), Needed())
        taken = activity.take()
        assert len(taken.rows) <= 11
        assert sum(found.records for found in taken.rows.values()) == 50
    start = activity.since_start()
    assert len(start.rows) <= 11
    assert sum(found.records for found in start.rows.values()) == start.total.records == 150


def test_the_number_of_remembered_failed_folders_is_limited(monkeypatch, activity):
    monkeypatch.setattr(activity_module, "MAX_FAILED_SIZE", 5000)
    paths = [f"/Archive/media/{number}{'x' * 1000}" for number in range(20)]
    for path in paths:
        activity.refreshed(ended(path, error=TIMED_OUT))
    assert activity.stale()[ProviderBucket("Archive", "media")].count == 5
    activity.refreshed(ended(paths[0]))
    activity.refreshed(ended(paths[19], error=TIMED_OUT))
    assert activity.stale()[ProviderBucket("Archive", "media")].count == 5
    activity.refreshed(ended("/Archive/media", tree=True))
    for path in paths:
        activity.refreshed(ended(path, error=TIMED_OUT))
    assert activity.stale()[ProviderBucket("Archive", "media")].count == 5


# With the handler


async def test_the_handler_counts_its_records_and_the_lag(flow):
    world = flow.World()
    activity = world.activity
    world.send_log("a")
    async with world.running():
        await flow.until(lambda: world.queue.deleted)
    (found,) = activity.take().rows.values()
    assert isinstance(found.lag.percentile(1), float)
    assert SimpleNamespace(records=found.records, events=found.events) == SimpleNamespace(records=1, events=1)
