"""Processes that share a ledger make one report together, and no count is lost when one of them stops or dies."""

import asyncio
import random
from contextlib import AsyncExitStack
from datetime import UTC, datetime

import pytest
from tests.clocks import EPOCH
from tests.flow.alert_targets import virtual_time
from tests.flow.test_reports import INTERVAL, Reported, ReportStore, named

from jibe_sqs.core.errors import CallFailed, LedgerError
from jibe_sqs.telemetry.activity import Counts, StaleFolders
from jibe_sqs.telemetry.optional_ledger import OptionalLedger
from jibe_sqs.telemetry.report_text import Report, Row, as_text
from jibe_sqs.telemetry.shared_reports import MAX_NOTE_LENGTH, Noted, SharedReports, _decoded, _encoded, merged


class Group:
    """Processes with one ledger and one folder for reports."""

    def __init__(self, flow) -> None:
        self.flow = flow
        self.ledger = flow.InMemoryLedger()
        self.ledger._wall_clock = virtual_time
        self.store = ReportStore()
        self.stacks: list[AsyncExitStack] = []

    def made(self, **options) -> Reported:
        number = len(self.stacks)
        shared = SharedReports(OptionalLedger(self.ledger), f"pod-{number}", INTERVAL)
        return Reported(self.flow, store=self.store.store, instance=f"pod-{number}", shared=shared, **options)

    async def add(self, **options) -> Reported:
        """Start a process."""
        found, stack = self.made(**options), AsyncExitStack()
        self.stacks.append(stack)
        await stack.enter_async_context(found.reports.running())
        return found

    async def stop(self, number: int) -> None:
        await self.stacks[number].aclose()


@pytest.fixture
async def group(flow):
    found = Group(flow)
    yield found
    for stack in found.stacks:
        await stack.aclose()


def records(events):
    return [event["records"] for event in named(events, "report")]


async def test_three_processes_store_and_log_one_report_per_interval(group, events):
    three = [await group.add()]
    await asyncio.sleep(100)
    three += [await group.add() for _ in range(2)]
    for number, each in enumerate(three):
        each.read("example-media", 10 + number, 5)
        each.done("/Amazon S3/example-media/a", "example-media", 60.0 * (number + 1))
        each.refreshed("/Amazon S3/example-media/b", error=CallFailed("no", code="no"))
    await asyncio.sleep(INTERVAL)
    assert list(group.store.files) == ["jibe-report-2026-01-01T00-15Z.txt"]
    (text,) = group.store.files.values()
    assert "Of 3 processes together\n" in text
    (line,) = named(events, "report")
    assert (line["records"], line["events"], line["processes"]) == (33, 15, 3)
    assert (line["failed"], line["stale"], line["lag_max"]) == ({"CallFailed": 3}, 3, 180.0)
    assert [(event["provider"], event["records"]) for event in named(events)] == [("Amazon S3", 33), ("Archive", 33)]
    await asyncio.sleep(INTERVAL)
    assert records(events) == [33, 0]


async def test_a_process_that_stops_leaves_its_counts_to_the_others(group, events):
    pair = [await group.add() for _ in range(2)]
    await asyncio.sleep(INTERVAL + 60)
    for each in pair:
        each.read("example-projects", 5, 5)
    await group.stop(0)
    assert records(events) == [0]
    await asyncio.sleep(INTERVAL)
    assert records(events) == [0, 10]
    assert [event["processes"] for event in named(events, "report")] == [2, 2]


async def test_the_last_process_that_stops_reports_for_all(group, events):
    pair = [await group.add() for _ in range(2)]
    await asyncio.sleep(INTERVAL + 60)
    for each in pair:
        each.read("example-projects", 5, 5)
    await group.stop(0)
    await group.stop(1)
    assert records(events) == [0, 10]
    assert list(group.store.files) == ["jibe-report-2026-01-01T00-15Z.txt", "jibe-report-2026-01-01T00-16Z-pod-1.txt"]
    # A process that starts in the same period does not report these again.
    await group.add()
    await asyncio.sleep(INTERVAL)
    assert records(events) == [0, 10, 0]


async def test_a_stop_while_the_others_are_waited_for_loses_no_count(group, events):
    one = await group.add()
    one.read("example-projects", 5, 5)
    await asyncio.sleep(INTERVAL + 5)
    assert not named(events, "report")
    await group.stop(0)
    assert records(events) == [5]


async def test_if_the_process_that_merges_dies_another_one_does_it(group, events):
    pair = [await group.add() for _ in range(2)]
    for each in pair:
        each.read("example-projects", 5, 5)
    await asyncio.sleep(INTERVAL - 1)
    # Another process has claimed the task, and is gone.
    assert await group.ledger.claim("reports/merging", "gone", 60)
    await asyncio.sleep(INTERVAL / 2)
    assert records(events) == [10]
    assert len(group.store.files) == 1


async def test_reports_go_on_after_the_interval_was_made_longer(group, events):
    one = await group.add()
    one.reports.change_interval(60)
    await asyncio.sleep(200)
    made = len(records(events))
    assert made == 3
    one.reports.change_interval(INTERVAL)
    one.read("example-media", 7, 7)
    await asyncio.sleep(INTERVAL)
    assert records(events)[made:] == [7]


async def test_if_the_ledger_fails_every_process_reports_by_itself(group, events):
    pair = [await group.add() for _ in range(2)]
    group.ledger.unwritable = True
    for each in pair:
        each.read("example-projects", 5, 5)
    await asyncio.sleep(INTERVAL + 60)
    assert records(events) == [5, 5]
    assert len(group.store.files) == 2, "neither has overwritten the file of the other"


async def test_a_claim_that_fails_takes_no_slot_of_another_process(group, events, monkeypatch):
    """Its note would overwrite the other one's report. The process reports by itself instead."""
    one, other = [await group.add() for _ in range(2)]
    one.read("example-projects", 5, 5)
    other.read("example-projects", 7, 7)
    claim = group.ledger.claim

    async def throttled(name, owner, seconds):
        if owner == "pod-1" and name.startswith("reports/"):
            raise LedgerError("throttled")
        return await claim(name, owner, seconds)

    monkeypatch.setattr(group.ledger, "claim", throttled)
    await asyncio.sleep(INTERVAL + 60)
    assert sorted(records(events)) == [5, 7]


def report(rows):
    moment = datetime.fromtimestamp(EPOCH, UTC)
    return Report(moment, moment, rows, Counts(records=1), Counts(), ["down"], {"messages": {"done": 2}}, 3, ["A, a"])


def test_a_note_has_all_of_a_report():
    counts = Counts(records=5, events=4, folders=3, refreshing=1.5)
    counts.skipped["read-only"] = 1
    counts.failed["CallFailed"] = 2
    counts.lag.add(3.0, 7)
    counts.lag.add(10.0**9)
    made = report([Row("Amazon S3", "b", counts, StaleFolders(2, 60.0))])
    found = _decoded(_encoded(Noted("pod", 7, True, made)))
    assert found is not None
    assert (found.owner, found.period, found.has_left) == ("pod", 7, True)
    assert as_text(found.report) == as_text(made)
    assert found.report.rows[0].counts.lag.buckets == counts.lag.buckets
    found.report.rows[0].counts.skipped["new"] += 1


def test_a_note_of_many_rows_is_bounded_and_keeps_their_sum():

    random.seed(1)
    rows = [
        Row("provider", f"{random.randbytes(300).hex()}", Counts(records=number), StaleFolders(1, 1.0))
        for number in range(1000)
    ]
    text = _encoded(Noted("pod", 7, False, report(rows)))
    found = _decoded(text)
    assert len(text) <= MAX_NOTE_LENGTH
    assert found is not None
    assert sum(row.counts.records for row in found.report.rows) == sum(range(1000))
    assert found.report.stale.count == 1000
    assert max(row.counts.records for row in found.report.rows if row.bucket) == 999


@pytest.mark.parametrize("text", ["", "x", "AAAA", "eJyrVsovSy1SslJQKijKTM9MLcpLzE1VAgBH4QcZ"])
def test_a_note_of_another_release_is_ignored(text):
    assert _decoded(text) is None


def test_a_merged_report_does_not_change_its_parts():
    parts = [report([Row("p", "b", Counts(records=2), StaleFolders(1, 5.0))]) for _ in range(2)]
    whole = merged(parts)
    assert (whole.rows[0].counts.records, whole.rows[0].stale.count, whole.rows[0].stale.oldest) == (4, 2, 5.0)
    assert whole.total.records == 2
    assert (whole.counters, whole.held_up, whole.collisions) == ({"messages": {"done": 4}}, ["down"], 3)
    assert parts[0].rows[0].counts.records == 2
