"""Reports: when they are made, what they contain, and that a failure does not prevent the next one."""

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jibe_sqs.core.collisions import Collisions
from jibe_sqs.core.decisions import Decisions, Place
from jibe_sqs.core.errors import AccessAnywhereUnavailable, CallFailed, FolderUnknown
from jibe_sqs.core.model import Folder, RefreshReason, SkipReason
from jibe_sqs.core.plan import Counts as BucketCounts
from jibe_sqs.core.plan import Plan
from jibe_sqs.core.stale_folders import Needed, Stale
from jibe_sqs.ports import PendingRefresh, RefreshOutcome
from jibe_sqs.telemetry.activity import Activity
from jibe_sqs.telemetry.report_text import as_text
from jibe_sqs.telemetry.reports import Reports

PLACES = {
    "example-media": (Place("/Amazon S3/example-media"), Place("/Archive/example-media")),
    "example-projects": (Place("/Amazon S3/example-projects"),),
}
INTERVAL = 900.0


class ReportStore:
    """A store for reports: keeps them, or raises the next of its `errors`."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.errors: list[Exception] = []
        self.takes = 0.0

    async def store(self, name: str, body: bytes) -> None:
        await asyncio.sleep(self.takes)
        if self.errors:
            raise self.errors.pop(0)
        assert name not in self.files
        self.files[name] = body.decode()


class Reported:
    def __init__(self, flow, **options) -> None:
        self.flow = flow
        self.clock = flow.VirtualClock()
        self.activity = Activity(self.clock, lambda: PLACES)
        self.folder = ReportStore()
        self.reports = Reports(
            self.activity,
            **{"interval": INTERVAL, "clock": self.clock, "store": self.folder.store} | options,
        )

    def read(self, bucket: str, records: int, events: int, **skipped: int) -> None:
        plan = Plan()
        plan.buckets[bucket] = BucketCounts(
            records, events, Counter({SkipReason[name]: count for name, count in skipped.items()})
        )
        self.activity.planned(plan, Needed())

    def done(self, path: str, bucket: str, *ages: float) -> None:
        now = self.clock.now()
        self.activity.done([Stale(bucket, (Folder(path),), now - max(ages), now - min(ages), len(ages))], [])

    def refreshed(self, path: str, *, seconds=1.5, error=None, tree=False, reason=RefreshReason.EVENTS) -> None:
        self.activity.refreshed(RefreshOutcome(Folder(path, tree), seconds, 3.0, reason, error))

    @asynccontextmanager
    async def running_for(self, seconds: float):
        async with self.reports.running():
            yield
            await asyncio.sleep(seconds)


@pytest.fixture
async def reported(flow):
    return Reported(flow)


def named(events, name="provider_report"):
    return [event for event in events if event["event"] == name]


async def test_a_report_is_made_at_each_interval_and_at_the_end(reported, events):
    async with reported.running_for(2 * INTERVAL + 60):
        pass
    assert [(event["since"], event["until"]) for event in named(events, "report")] == [
        ("2026-01-01T00:00:00+00:00", "2026-01-01T00:15:00+00:00"),
        ("2026-01-01T00:15:00+00:00", "2026-01-01T00:30:00+00:00"),
        ("2026-01-01T00:30:00+00:00", "2026-01-01T00:31:00+00:00"),
    ]
    assert list(reported.folder.files) == [
        "jibe-report-2026-01-01T00-15Z.txt",
        "jibe-report-2026-01-01T00-30Z.txt",
        "jibe-report-2026-01-01T00-31Z.txt",
    ]


async def test_an_interval_of_zero_makes_no_reports(flow, events):
    async with Reported(flow, interval=0).running_for(5000):
        pass
    assert events == []


async def test_a_report_covers_the_time_since_the_one_before(reported, events):
    async with reported.running_for(INTERVAL + 60):
        reported.read("example-projects", 5, 5)
        await asyncio.sleep(INTERVAL + 60)
        reported.read("example-projects", 7, 6, READ_ONLY=1)
    assert [(event["records"], event["events"]) for event in named(events)] == [(5, 5), (7, 6)]
    assert [event["records"] for event in named(events, "report")] == [5, 7, 0]
    assert "Since the start: records 12, events 11" in list(reported.folder.files.values())[-1]


async def test_only_providers_and_buckets_with_activity_have_a_log_line(reported, events):
    reported.read("example-media", 2, 2)
    await reported.reports.report()
    assert [(event["provider"], event["bucket"]) for event in named(events)] == [
        ("Amazon S3", "example-media"),
        ("Archive", "example-media"),
    ]
    assert [event["records"] for event in named(events, "report")] == [2]


async def test_the_log_line_of_a_provider_has_all_counts(reported, events):
    reported.read("example-projects", 10, 4, READ_ONLY=5, OWN_WRITE=1)
    reported.done("/Amazon S3/example-projects/a", "example-projects", 60.0)
    reported.refreshed("/Amazon S3/example-projects/a")
    reported.refreshed("/Amazon S3/example-projects", tree=True)
    reported.refreshed("/Amazon S3/example-projects/a/b", reason=RefreshReason.DESCENDANT)
    reported.refreshed("/Amazon S3/example-projects/c", error=CallFailed("no", code="no"))
    await reported.reports.report()
    (found,) = named(events)
    assert {**found, "log_level": None} == {
        "event": "provider_report",
        "log_level": None,
        "provider": "Amazon S3",
        "bucket": "example-projects",
        "records": 10,
        "events": 4,
        "skipped": {"read-only": 5, "own-write": 1},
        "folders": 1,
        "trees": 1,
        "for_descendant": 1,
        "failed": {"CallFailed": 1},
        "refreshing": 6.0,
        "lag_p50": 60.0,
        "lag_p99": 60.0,
        "lag_max": 60.0,
        "stale": 1,
        "stale_for": 3.0,
    }


async def test_a_stale_folder_is_reported_without_any_activity(flow, events):
    pending = [PendingRefresh(Folder("/Archive/example-media/a"), -100.0)]
    await Reported(flow, pending=lambda: pending).reports.report()
    assert [(event["provider"], event["stale"], event["stale_for"]) for event in named(events)] == [("Archive", 1, 100)]


async def test_other_counters_are_reported_by_their_growth(flow, events):
    sweeps = {"looks": 3, "found": 0}
    reported = Reported(flow, counters={"sweeps": lambda: sweeps, "quiet": lambda: {"nothing": 0}})
    await reported.reports.report()
    sweeps["looks"], sweeps["found"] = 5, 1
    report = await reported.reports.report()
    assert [event.get("sweeps") for event in named(events, "report")] == [{"looks": 3}, {"looks": 2, "found": 1}]
    assert "Sweeps: looks 2, found 1\n" in as_text(report)
    assert "Quiet" not in as_text(report)


async def test_the_reason_why_no_work_is_taken_comes_first(flow, events):
    gates = [SimpleNamespace(reason=""), SimpleNamespace(reason="Access Anywhere is down since 10:12 UTC: 503")]
    report = await Reported(flow, gates=gates).reports.report()
    assert named(events, "report")[0]["held_up"] == ["Access Anywhere is down since 10:12 UTC: 503"]
    assert as_text(report).splitlines()[2] == "No work is taken: Access Anywhere is down since 10:12 UTC: 503"


async def test_colliding_names_are_reported_with_a_few_examples(flow, events):
    decisions = Decisions()
    for letter in "abcde":
        for key in (f"{letter}.txt", f"{letter.upper()}.txt", f"{letter}.txt"):
            decisions.collisions.see("example-media", key)
    report = await Reported(flow, collisions=decisions.collisions).reports.report()
    assert named(events, "report")[0]["collisions"] == 5
    assert "Names that differ only in case (one name in Access Anywhere): 5, such as\n" in as_text(report)
    assert "  A.txt, a.txt (in bucket example-media)\n" in as_text(report)
    assert "d.txt" not in as_text(report)


async def test_a_report_without_collisions_does_not_mention_them(reported):
    assert "Names" not in as_text(await reported.reports.report())


# Storing


@pytest.mark.parametrize("error", [FolderUnknown("no such folder: make it"), AccessAnywhereUnavailable("503")])
async def test_a_report_that_cannot_be_stored_is_a_warning_and_the_next_is_stored(reported, events, error):
    reported.folder.errors = [error]
    async with reported.running_for(2 * INTERVAL + 60):
        pass
    (warning,) = named(events, "report_not_stored")
    assert (warning["log_level"], warning["error"], warning["reason"]) == ("warning", type(error).__name__, str(error))
    assert list(reported.folder.files) == ["jibe-report-2026-01-01T00-30Z.txt", "jibe-report-2026-01-01T00-31Z.txt"]


async def test_a_defect_does_not_end_the_reports(reported, events):
    reported.folder.errors = [ZeroDivisionError()]
    async with reported.running_for(INTERVAL * 1.5):
        pass
    assert [event["log_level"] for event in named(events, "report_crashed")] == ["error"]
    assert len(reported.folder.files) == 1


async def test_a_store_that_hangs_delays_neither_the_next_report_nor_the_end(flow, reported, events):
    reported.folder.takes = 10_000
    async with reported.running_for(2 * INTERVAL + 100):
        pass
    assert [event["until"][11:16] for event in named(events, "report")] == ["00:15", "00:30", "00:31"]
    assert flow.time() == pytest.approx(2 * INTERVAL + 105, abs=1)
    assert [event["reason"] for event in named(events, "report_not_stored")] == ["not within 60 s"] * 2 + [
        "not within 5 s"
    ]


async def test_two_reports_in_one_minute_are_two_files(flow):
    reported = Reported(flow, instance="pod-1")
    for _ in range(3):
        await reported.reports.report()
    await asyncio.sleep(60)
    await reported.reports.report()
    assert list(reported.folder.files) == [
        "jibe-report-2026-01-01T00-00Z-pod-1.txt",
        "jibe-report-2026-01-01T00-00Z-pod-1-2.txt",
        "jibe-report-2026-01-01T00-00Z-pod-1-3.txt",
        "jibe-report-2026-01-01T00-01Z-pod-1.txt",
    ]


async def test_without_s3s_clock_the_local_clock_gives_the_time(flow):
    clock = SimpleNamespace(now=lambda: 0.0, monotonic=lambda: 0.0)
    report = await Reported(flow, clock=clock).reports.report()
    assert report.until.year > 2020


# The text


async def test_the_text_of_a_report(reported):
    reported.read("example-media", 12034, 1023, READ_ONLY=10_000, OWN_WRITE=1011)
    reported.done("/Amazon S3/example-media/a", "example-media", 4.0, 31.0, 5.0)
    reported.refreshed("/Amazon S3/example-media/a", seconds=62.0)
    reported.refreshed("/Amazon S3/example-media/b", error=CallFailed("no", code="no"))
    await asyncio.sleep(INTERVAL)
    assert (
        as_text(await reported.reports.report())
        == """\
jibe-sqs, 2026-01-01 00:00 to 2026-01-01 00:15 UTC

  records   events  skipped refreshes  failed  lag p50     p99     max   stale

All
    12034     1023    11011         1       1      18s     31s     31s       1
  skipped: read-only 10,000, own-write 1,011
  refreshed: folders 1
  failed: CallFailed 1
  time in refreshes: 64s
  stale: the oldest for 15m

Amazon S3: example-media
    12034     1023    11011         1       1      18s     31s     31s       1
  skipped: read-only 10,000, own-write 1,011
  refreshed: folders 1
  failed: CallFailed 1
  time in refreshes: 64s
  stale: the oldest for 15m

Archive: example-media
    12034     1023    11011         0       0        -       -       -       0
  skipped: read-only 10,000, own-write 1,011

Since the start: records 12,034, events 1,023, refreshes 1, failed 1
"""
    )


@given(
    st.lists(st.tuples(st.text(max_size=100), st.integers(0, 10**12)), max_size=5),
    st.text(max_size=300),
    st.floats(0, 10**10),
)
def test_the_text_of_any_report_is_at_most_80_columns_wide(flow, buckets, reason, seconds):
    async def check() -> None:
        collisions = Collisions()
        for key in (f"a{reason}", f"A{reason}"):
            collisions.see(reason, key)
        reported = Reported(flow, gates=[SimpleNamespace(reason=reason)], collisions=collisions)
        reported.activity._places = lambda: None
        for bucket, records in buckets:
            reported.read(bucket, records, records, READ_ONLY=records)
            reported.done(f"/{bucket}/a", bucket, seconds)
            reported.refreshed(f"/{bucket}/a", seconds=seconds, error=CallFailed("no", code="no"))
        text = as_text(await reported.reports.report())
        assert max(map(len, text.split("\n"))) <= 80
        assert all(line.isprintable() for line in text.split("\n"))

    flow.virtually(check())


async def test_another_interval_counts_from_the_moment_it_is_set(reported, events):
    """The report covers the time since the one before, and there is none if the interval becomes 0."""
    async with reported.reports.running():
        await asyncio.sleep(INTERVAL + 100)
        reported.reports.change_interval(60.0)
        await asyncio.sleep(130)
        reported.reports.change_interval(0.0)
        await asyncio.sleep(10 * INTERVAL)
    assert [event["until"][11:19] for event in named(events, "report")] == ["00:15:00", "00:17:40", "00:18:40"]
