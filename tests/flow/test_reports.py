"""Reports: when they are made, what they tell, and that nothing keeps the next one from being made."""

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jibe_sqs.core.collisions import Collisions
from jibe_sqs.core.decisions import Counts as BucketCounts
from jibe_sqs.core.decisions import Decisions, Needed, Place, Plan, Stale
from jibe_sqs.core.errors import AccessAnywhereUnavailable, CallFailed, FolderUnknown
from jibe_sqs.core.model import Folder, SkipReason
from jibe_sqs.ports import PendingRefresh, RefreshOutcome
from jibe_sqs.telemetry.activity import Activity
from jibe_sqs.telemetry.report_text import as_text
from jibe_sqs.telemetry.reports import Reports

PLACES = {
    "example-media": (Place("/Amazon S3/example-media"), Place("/Archive/example-media")),
    "example-projects": (Place("/Amazon S3/example-projects"),),
}
INTERVAL = 900.0


class Shelf:
    """Where reports are stored: keeps them, unless something is wrong with it."""

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
        self.folder = Shelf()
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

    def refreshed(self, path: str, *, seconds=1.5, error=None, tree=False, for_descendant=False) -> None:
        self.activity.refreshed(RefreshOutcome(Folder(path, tree), seconds, 3.0, for_descendant, error))

    @asynccontextmanager
    async def for_so_long(self, seconds: float):
        async with self.reports.running():
            yield
            await asyncio.sleep(seconds)


@pytest.fixture
async def reported(flow):
    return Reported(flow)


def told(events, name="provider_report"):
    return [event for event in events if event["event"] == name]


async def test_one_is_made_each_interval_and_a_last_one_at_the_end(reported, events):
    async with reported.for_so_long(2 * INTERVAL + 60):
        pass
    assert [(event["since"], event["until"]) for event in told(events, "report")] == [
        ("2026-01-01T00:00:00+00:00", "2026-01-01T00:15:00+00:00"),
        ("2026-01-01T00:15:00+00:00", "2026-01-01T00:30:00+00:00"),
        ("2026-01-01T00:30:00+00:00", "2026-01-01T00:31:00+00:00"),
    ]
    assert list(reported.folder.files) == [
        "jibe-report-2026-01-01T00-15Z.txt",
        "jibe-report-2026-01-01T00-30Z.txt",
        "jibe-report-2026-01-01T00-31Z.txt",
    ]


async def test_an_interval_of_nothing_makes_none(flow, events):
    async with Reported(flow, interval=0).for_so_long(5000):
        pass
    assert events == []


async def test_each_tells_what_happened_since_the_one_before(reported, events):
    async with reported.for_so_long(INTERVAL + 60):
        reported.read("example-projects", 5, 5)
        await asyncio.sleep(INTERVAL + 60)
        reported.read("example-projects", 7, 6, READ_ONLY=1)
    assert [(event["records"], event["events"]) for event in told(events)] == [(5, 5), (7, 6)]
    assert [event["records"] for event in told(events, "report")] == [5, 7, 0]
    assert "Since the start: records 12, events 11" in list(reported.folder.files.values())[-1]


async def test_only_places_with_something_to_tell_have_a_line_of_their_own(reported, events):
    reported.read("example-media", 2, 2)
    await reported.reports.report()
    assert [(event["provider"], event["bucket"]) for event in told(events)] == [
        ("Amazon S3", "example-media"),
        ("Archive", "example-media"),
    ]
    assert [event["records"] for event in told(events, "report")] == [2]


async def test_the_log_has_all_figures_of_a_place(reported, events):
    reported.read("example-projects", 10, 4, READ_ONLY=5, OWN_WRITE=1)
    reported.done("/Amazon S3/example-projects/a", "example-projects", 60.0)
    reported.refreshed("/Amazon S3/example-projects/a")
    reported.refreshed("/Amazon S3/example-projects", tree=True)
    reported.refreshed("/Amazon S3/example-projects/a/b", for_descendant=True)
    reported.refreshed("/Amazon S3/example-projects/c", error=CallFailed("no", code="no"))
    await reported.reports.report()
    (found,) = told(events)
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


async def test_a_folder_that_is_stale_since_long_ago_is_told_of_though_nothing_happened(flow, events):
    pending = [PendingRefresh(Folder("/Archive/example-media/a"), -100.0, for_descendant=False)]
    await Reported(flow, pending=lambda: pending).reports.report()
    assert [(event["provider"], event["stale"], event["stale_for"]) for event in told(events)] == [("Archive", 1, 100)]


async def test_what_else_is_counted_is_told_by_what_was_added(flow, events):
    sweeps = {"looks": 3, "found": 0}
    reported = Reported(flow, counters={"sweeps": lambda: sweeps, "quiet": lambda: {"nothing": 0}})
    await reported.reports.report()
    sweeps["looks"], sweeps["found"] = 5, 1
    report = await reported.reports.report()
    assert [event.get("sweeps") for event in told(events, "report")] == [{"looks": 3}, {"looks": 2, "found": 1}]
    assert "Sweeps: looks 2, found 1\n" in as_text(report)
    assert "Quiet" not in as_text(report)


async def test_why_no_work_is_taken_is_told_first(flow, events):
    gates = [SimpleNamespace(reason=""), SimpleNamespace(reason="Access Anywhere is down since 10:12 UTC: 503")]
    report = await Reported(flow, gates=gates).reports.report()
    assert told(events, "report")[0]["held_up"] == ["Access Anywhere is down since 10:12 UTC: 503"]
    assert as_text(report).splitlines()[2] == "No work is taken: Access Anywhere is down since 10:12 UTC: 503"


async def test_names_that_collide_are_told_with_a_few_examples(flow, events):
    decisions = Decisions()
    for letter in "abcde":
        for key in (f"{letter}.txt", f"{letter.upper()}.txt", f"{letter}.txt"):
            decisions.collisions.see("example-media", key)
    report = await Reported(flow, collisions=decisions.collisions).reports.report()
    assert told(events, "report")[0]["collisions"] == 5
    assert "Names that differ only in case (one name in Access Anywhere): 5, such as\n" in as_text(report)
    assert "  A.txt, a.txt (in bucket example-media)\n" in as_text(report)
    assert "d.txt" not in as_text(report)


async def test_one_without_collisions_does_not_speak_of_them(reported):
    assert "Names" not in as_text(await reported.reports.report())


# Storing


@pytest.mark.parametrize("error", [FolderUnknown("no such folder: make it"), AccessAnywhereUnavailable("503")])
async def test_one_that_cannot_be_stored_is_a_warning_and_the_next_is_stored(reported, events, error):
    reported.folder.errors = [error]
    async with reported.for_so_long(2 * INTERVAL + 60):
        pass
    (warning,) = told(events, "report_not_stored")
    assert (warning["log_level"], warning["error"], warning["reason"]) == ("warning", type(error).__name__, str(error))
    assert list(reported.folder.files) == ["jibe-report-2026-01-01T00-30Z.txt", "jibe-report-2026-01-01T00-31Z.txt"]


async def test_a_defect_does_not_end_the_reports(reported, events):
    reported.folder.errors = [ZeroDivisionError()]
    async with reported.for_so_long(INTERVAL * 1.5):
        pass
    assert [event["log_level"] for event in told(events, "report_crashed")] == ["error"]
    assert len(reported.folder.files) == 1


async def test_a_store_that_never_answers_delays_neither_the_next_report_nor_the_end(flow, reported, events):
    reported.folder.takes = 10_000
    async with reported.for_so_long(2 * INTERVAL + 100):
        pass
    assert [event["until"][11:16] for event in told(events, "report")] == ["00:15", "00:30", "00:31"]
    assert flow.time() == pytest.approx(2 * INTERVAL + 105, abs=1)
    assert [event["reason"] for event in told(events, "report_not_stored")] == ["not within 60 s"] * 2 + [
        "not within 5 s"
    ]


async def test_two_in_a_minute_are_two_files(flow):
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


async def test_while_s3s_clock_is_unknown_the_machines_own_gives_the_time(flow):
    clock = SimpleNamespace(now=lambda: 0.0, monotonic=lambda: 0.0)
    report = await Reported(flow, clock=clock).reports.report()
    assert report.until.year > 2020


# What people read


async def test_a_report_reads_like_this(reported):
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
def test_it_is_never_wider_than_80_columns_whatever_it_holds(flow, buckets, reason, seconds):
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
