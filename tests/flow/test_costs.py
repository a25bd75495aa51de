"""Events that are delivered and of no use are counted once, with their price and what avoids them."""

import gzip
import json
from collections.abc import Sequence
from typing import Any

import pytest
from tests.clocks import EPOCH

from jibe_sqs.core import plan
from jibe_sqs.core.decisions import Decisions
from jibe_sqs.core.formats.bad_records import BadRecords
from jibe_sqs.core.formats.cloudtrail import CloudTrailLog
from jibe_sqs.core.formats.limits import Limits
from jibe_sqs.core.model import Done, LogFile, SkipReason
from jibe_sqs.core.plan import Plan
from jibe_sqs.telemetry import costs
from jibe_sqs.telemetry.costs import Avoidable, Cause, CostCounts, EventCosts, cost_statuses, merged_costs

HOUR = 3600.0
CHANGES = 4000
"""Enough that a sample of one in sixteen is never empty: less than e^-200."""


class Clock:
    def __init__(self) -> None:
        self.time = EPOCH

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def counted(clock):
    return EventCosts(["logs"], clock)


def record(name: str, key: str, *, bucket: str = "data", number: int = 0, time: str = "2026-01-01T00:00:00Z") -> Any:
    parameters = {"bucketName": bucket} | ({"key": key} if key else {})
    return {
        "eventVersion": "1.11",
        "eventTime": time,
        "eventSource": "s3.amazonaws.com",
        "eventName": name,
        "eventID": f"e{number}",
        "requestID": f"R{number}",
        "readOnly": name.startswith(("Get", "List")),
        "requestParameters": parameters,
    }


def plan_of(records: Sequence[Any]) -> Plan:
    made, decisions = Plan(), Decisions()
    log = CloudTrailLog(Limits(), BadRecords("reject"))
    for each in log.whole(json.dumps({"Records": records}).encode()):
        made.add(each, decisions.decide(each))
    return made


def writes(count: int = CHANGES) -> Plan:
    return plan_of([record("PutObject", f"k{n}", number=n) for n in range(count)])


def reads(count: int, **more: Any) -> Plan:
    return plan_of([record("GetObject", f"k{n}", number=n, **more) for n in range(count)])


def file(name: str, *, bucket: str = "logs", prefix: str = "") -> LogFile:
    return LogFile(bucket, f"{prefix}AWSLogs/111122223333/CloudTrail/eu-west-1/2026/01/01/{name}.json.gz")


def events_of(counted: EventCosts) -> dict[tuple[str, str], int]:
    return {(cause.kind.value, cause.subject): events for cause, events in counted.counts().events}


# Reads


def test_reads_of_objects_are_counted_and_other_reads_are_not(counted):
    """Calls that list objects are data events, too. Others on a bucket are management events, which cost nothing."""
    names = ["GetObject", "GetObject", "ListObjects", "ListObjectVersions"]
    records = [record(name, "k" * name.startswith("Get"), number=n) for n, name in enumerate(names)]
    records += [record("GetBucketAcl", ""), record("PutObject", "k")]
    counted.read(file("a"), plan_of(records))
    assert events_of(counted) == {("reads", "s3://logs/"): 4}
    assert counted.totals == {"reads": 4}


def test_a_file_that_is_read_again_counts_once(counted):
    for _ in range(3):
        counted.read(file("a"), reads(5))
    counted.read(file("b"), reads(5))
    assert counted.totals == {"reads": 10}


def test_reads_in_logs_without_a_known_price_cost_nothing(counted):
    counted.read(LogFile("logs", "access/2026"), reads(5), prefix="access/", is_trail=False)
    [status] = counted.statuses()
    assert (status.events, status.dollars) == (5, 0.0)
    assert "s3://logs/access/" in status.what
    assert "cannot leave out reads" in status.remedy


# Log buckets


@pytest.mark.parametrize("bucket", ["logs", "trail"])
def test_events_about_a_log_bucket_are_counted_whether_it_is_configured_or_only_delivers(counted, bucket):
    records = [record("PutObject", "x", bucket=bucket, number=1), record("GetObject", "x", bucket=bucket, number=2)]
    records += [record("GetBucketAcl", "", bucket=bucket, number=3)]
    counted.read(file("a", bucket="trail"), plan_of(records))
    assert events_of(counted) == {("log-bucket", bucket): 2}
    [status] = counted.statuses()
    assert f"arn:aws:s3:::{bucket}/" in status.remedy


# Copies


def test_changes_in_the_files_of_two_trails_are_copies(counted):
    counted.read(file("a"), writes())
    assert counted.totals == {}
    counted.read(file("a", bucket="other", prefix="team/"), writes())
    [((kind, subject), events)] = events_of(counted).items()
    assert (kind, subject) == ("copies", "s3://logs/ and s3://other/team/")
    assert CHANGES / 2 < events < CHANGES * 2
    [status] = counted.statuses()
    assert status.dollars > 0
    assert "one of the trails" in status.remedy


def test_copies_in_the_same_place_are_found_if_the_files_are_different(counted):
    """Two trails may deliver to the same folder."""
    counted.read(file("a"), writes())
    counted.read(file("b"), writes())
    assert [cause.subject for cause, _ in counted.counts().events] == ["s3://logs/"]


def test_a_file_that_is_delivered_again_makes_no_copies(counted, monkeypatch):
    """Also if the file itself is forgotten, and its changes are not."""
    monkeypatch.setattr(costs, "MAX_FILES", 1)
    counted.read(file("a"), writes())
    for name in "bcd":
        counted.read(file(name), plan_of([]))
    counted.read(file("a"), writes())
    assert counted.totals == {}


def test_changes_of_one_request_are_no_copies_of_each_other(counted):
    """Each key that `DeleteObjects` deletes may have a record with the id of the same request."""
    for name in "ab":
        counted.read(file(name), plan_of([record("PutObject", f"{name}{n}", number=n) for n in range(CHANGES)]))
    assert counted.totals == {}


async def test_changes_that_a_trail_and_notifications_announce_are_copies(flow, clock, monkeypatch):
    world = flow.World()
    monkeypatch.setattr(world.engine.costs, "_wall_clock", clock)
    keys = [f"a/{n}" for n in range(1500)]
    log = json.loads(gzip.decompress(flow.log_of(*keys)))
    notifications = [json.loads(flow.s3_event(key))["Records"][0] for key in keys]
    for number, (one, other) in enumerate(zip(log["Records"], notifications, strict=True)):
        one["requestID"] = f"R{number}"
        other["responseElements"] = {"x-amz-request-id": f"R{number}"}
    body = json.dumps({"Records": notifications})
    key = world.put("a", gzip.compress(json.dumps(log).encode()))
    for message in (body, body, flow.announcing(key), flow.announcing(key), body):
        assert await world.handle(message) == Done()
    [(cause, events)] = world.engine.costs.counts().events
    assert cause == Cause(Avoidable.COPIES, "S3's notifications and s3://trail-logs/", is_trail=True)
    assert 0 < events < 2 * len(keys)
    assert "notifications" in cost_statuses(world.engine.costs.counts())[0].remedy


async def test_a_file_whose_refresh_fails_counts_once(flow):
    world = flow.World()
    records = [record("GetObject", "a/b"), record("PutObject", "a/b")]
    key = world.put("a", gzip.compress(json.dumps({"Records": records}).encode()))
    world.target.errors["/data/a"] = [flow.unavailable()]
    for _ in range(2):
        await world.handle(flow.announcing(key))
    assert world.counters.skipped[SkipReason.READ_ONLY] == 2
    assert world.engine.costs.totals == {"reads": 1}


# Dollars


def test_the_dollars_are_those_of_a_month_at_the_rate_of_the_last_hours(counted, clock):
    counted.read(file("a"), reads(1000))
    clock.time += 2 * HOUR
    [status] = counted.statuses()
    assert status.events == 1000
    assert status.dollars == pytest.approx(1000 * 12 * 30 * 0.10 / 100_000, abs=0.01)
    assert status.seconds == 2 * HOUR


def test_events_older_than_a_day_cost_nothing_any_more(counted, clock):
    counted.read(file("a"), reads(1000))
    clock.time += 25 * HOUR
    assert counted.statuses() == []
    assert counted.totals == {"reads": 1000}


def test_a_backlog_counts_at_the_times_of_its_events(counted, clock):
    """Read within minutes, the files of ten hours would otherwise look sixty times as expensive."""
    clock.time += 10 * HOUR
    late = EventCosts((), clock)
    late.read(file("a"), reads(1000))
    [status] = late.statuses()
    assert status.seconds == 10 * HOUR
    assert status.dollars == pytest.approx(1000 * 2.4 * 30 * 0.10 / 100_000, abs=0.01)


def test_events_from_the_future_do_not_hide_the_others(counted):
    counted.read(file("a"), reads(3, time="2999-01-01T00:00:00Z"))
    counted.read(file("b"), reads(3))
    assert events_of(counted) == {("reads", "s3://logs/"): 6}


def test_causes_beyond_the_limit_share_one(counted, monkeypatch):
    monkeypatch.setattr(costs, "MAX_SUBJECTS", 3)
    for n in range(6):
        counted.read(file("a", bucket=f"b{n}"), reads(1))
    assert events_of(counted) == {
        ("reads", "s3://b0/"): 1, ("reads", "s3://b1/"): 1, ("reads", "s3://b2/"): 1, ("reads", "(others)"): 3,
    }  # fmt: skip


def test_the_memory_is_bounded(counted, monkeypatch):
    monkeypatch.setattr(costs, "MAX_CHANGES", 50)
    monkeypatch.setattr(costs, "MAX_FILES", 50)
    for n in range(300):
        counted.read(file(str(n)), plan_of([record("PutObject", "k", number=n * 40 + m) for m in range(40)]))
    copies, files = counted._copies, counted._files
    assert len(copies._new) + len(copies._old) < 2 * 50 + 40
    assert len(files._new) + len(files._old) <= 100


def test_a_plan_keeps_a_bounded_sample_of_its_changes(monkeypatch):
    monkeypatch.setattr(plan, "MAX_SAMPLES", 3)
    assert len(writes().samples) == 3


# Workers


def test_the_counts_of_workers_are_added():
    a_read, a_copy = Cause(Avoidable.READS, "x", True), Cause(Avoidable.COPIES, "x and y", True)
    merged = merged_costs([CostCounts([(a_read, 3), (a_copy, 32)], 600.0), CostCounts([(a_read, 4)], 7200.0)])
    assert dict(merged.events) == {a_read: 7, a_copy: 32}
    assert merged.seconds == 7200.0
    assert cost_statuses(merged_costs([])) == []


def test_a_worker_counts_also_the_copies_that_others_would_have_found():
    """Of two workers that share the files by chance, each finds half of the copies in its files."""
    found = []
    for workers in (1, 2):
        one = EventCosts((), lambda: EPOCH, workers=workers)
        for name in "ab":
            one.read(file(name), writes())
        found.append(one.totals["copies"])
    assert found[1] == 2 * found[0]
