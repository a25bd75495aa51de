"""A backfill processes the past log files of a time range once, ends by itself, and continues after a stop."""

import asyncio
import time

import pytest
from tests.flow.test_sweeps import BUCKET, REGION, MemoryListing

from jibe_sqs.commands import backfill_jobs
from jibe_sqs.commands.backfill_jobs import Scope
from jibe_sqs.compose.backfill import HELD, MAX_RECEIVES, OwnFiles, Running
from jibe_sqs.compose.engine import Engine, Inputs, Outputs, Policies
from jibe_sqs.core.date_folders import Window
from jibe_sqs.core.decisions import Decisions
from jibe_sqs.core.errors import LedgerError, LogAccessDenied, LogStoreUnavailable
from jibe_sqs.core.sources import LogSource, Sources
from jibe_sqs.core.verdicts import RetryPolicy
from jibe_sqs.ports import Validity
from jibe_sqs.sweeping.backfill import BUCKET_PATIENCE
from jibe_sqs.sweeping.sweeper import Sweep
from jibe_sqs.testing import InMemoryLedger, InMemoryLogStore, InMemorySyncTarget, ManualGate

HOUR = 3600.0
RETRY = RetryPolicy(10.0, 60.0, MAX_RECEIVES)


class Backfills:
    """Commands on one log bucket, one Access Anywhere and one ledger. Each has an engine of its own, as each process has."""

    def __init__(self, flow, *, gates=(), sources=()):
        self.flow = flow
        self.sources = sources or [LogSource(BUCKET)]
        self.store, self.ledger, self.target = InMemoryLogStore(), InMemoryLedger(), InMemorySyncTarget()
        self.listing = MemoryListing(flow, self.store)
        self.gates = gates
        self.start = flow.EPOCH - 10 * 24 * HOUR
        """2025-12-22, midnight."""

    def put(self, name, *, hours, keys=()):
        """A log file that was written so many hours after the start."""
        key = f"{REGION}/2025/12/{22 + int(hours // 24):02}/{name}.json.gz"
        self.store.objects[BUCKET, key] = self.flow.log_of(*(keys or [f"{name}/object"]))
        self.listing.modified[key] = self.start + hours * HOUR
        return key

    async def command(self, *, first=0, last=48, again=False, restart=False, held=HELD):
        """A command for the files of these hours."""
        scope = Scope(start=self.start + first * HOUR, end=self.start + last * HOUR, again=again)
        job = await backfill_jobs.begun(self.ledger, scope, "", now=time.time(), restart=restart)
        self.ledger.validity = Validity("", job.began if again else 0.0)
        outputs = Outputs(
            clock=self.flow.VirtualClock(),
            ledger=self.ledger,
            target=self.target,
            decisions=Decisions(),
            gates=self.gates,
        )
        sources = Sources(self.sources)
        inputs = Inputs(
            queues=(),
            logs=self.store,
            sources=sources,
            sweeps=[Sweep(each, OwnFiles(self.listing, sources, each), 0.0) for each in self.sources],
        )
        policies = Policies(retry=RETRY, messages_held=held, messages_reading=4, receivers=1, drain_timeout=1.0)
        return Running(Engine(outputs, policies), outputs, inputs, job)

    async def done(self, **options):
        """Run a command to its end. Returns its counts."""
        running = await self.command(**options)
        await running.run()
        assert running.has_ended
        return running.counts


@pytest.fixture
def backfills(flow):
    return Backfills(flow)


async def test_the_files_of_the_time_range_are_read_and_then_it_ends_by_itself(backfills):
    wanted = [backfills.put("a", hours=1, keys=["x/1", "y/2"]), backfills.put("b", hours=30)]
    for name, hours in (("early", 0.5), ("late", 60)):
        backfills.put(name, hours=hours)
    counts = await backfills.done(first=1, last=31)
    assert backfills.store.opens == dict.fromkeys(wanted, 1)
    assert {run.folder.path for run in backfills.target.runs} == {"/data/x", "/data/y", "/data/b"}
    assert (counts.files, counts.settled, counts.read, counts.events) == (2, 2, 2, 3)
    assert (counts.refreshes, counts.failed, counts.is_total) == (3, 0, True)


async def test_files_that_are_finished_are_not_read_again(backfills):
    key = backfills.put("a", hours=1)
    await backfills.done()
    counts = await backfills.done()
    assert backfills.store.opens == {key: 1}
    assert (counts.files, counts.settled, counts.read) == (1, 1, 0)


async def test_with_again_finished_files_are_read_once_more(backfills):
    key = backfills.put("a", hours=1)
    await backfills.done()
    counts = await backfills.done(again=True)
    assert backfills.store.opens == {key: 2}
    assert counts.read == 1


@pytest.mark.parametrize("again", [False, True])
async def test_after_a_stop_only_what_was_in_hand_is_read_again(backfills, again):
    keys = [backfills.put(f"{number:02}", hours=1, keys=[f"{number:02}/x"]) for number in range(60)]
    if again:
        await backfills.done()
        backfills.store.opens.clear()
    backfills.target.held = {f"/data/{number:02}" for number in range(20, 60)}
    running = await backfills.command(again=again, held=10)
    run = asyncio.create_task(running.run())
    await backfills.flow.until(lambda: sum(backfills.store.opens.values()) >= 30)
    running.stop()
    await run
    assert not running.has_ended
    backfills.target.release()
    second = await backfills.command(again=again)
    assert second.job.is_continued
    assert second.job.began == running.job.began
    await second.run()
    opens = backfills.store.opens
    assert set(opens) == set(keys)
    assert set(opens.values()) <= {1, 2}
    assert sum(opens.values()) - len(keys) <= 10
    assert second.has_ended
    assert not (await backfills.command(again=again)).job.is_continued


async def test_a_continued_job_is_about_everything_until_now():
    """It may have been left for days. The same command is then also about what came since."""
    ledger, scope = InMemoryLedger(), Scope(since=2 * HOUR)
    first = await backfill_jobs.begun(ledger, scope, "", now=100_000.0)
    second = await backfill_jobs.begun(ledger, scope, "", now=200_000.0)
    assert first.window == Window(100_000.0 - 2 * HOUR, 100_000.0)
    assert second.window == Window(100_000.0 - 2 * HOUR, 200_000.0)
    assert (first.is_continued, second.is_continued, second.began) == (False, True, first.began)


@pytest.mark.parametrize(
    "scope",
    [
        Scope(since=1_000_000 * 86_400.0),
        Scope(since=1e30),
        Scope(start=-62_135_596_800.0),
        Scope(start=0.0, end=253_402_300_799.0),
    ],
)
def test_a_range_may_begin_and_end_at_any_time(scope):
    """An operator who means everything may write 1000000d, or the year 1."""
    window = scope.window(1_767_268_800.0)
    days = window.days(10)
    assert days.first.year == 1969
    assert days.last.year == 2026
    assert backfill_jobs.shown(window.start).startswith("1970-01-01")


async def test_a_job_is_begun_anew_after_its_end_or_if_asked_for_or_under_other_settings():
    ledger, scope = InMemoryLedger(), Scope(since=60.0)
    job = await backfill_jobs.begun(ledger, scope, "", now=1000.0)
    for other, rules in ((Scope(since=61.0), ""), (Scope(since=60.0, again=True), ""), (scope, "other")):
        assert not (await backfill_jobs.begun(ledger, other, rules, now=1000.0)).is_continued
    assert (await backfill_jobs.begun(ledger, scope, "", now=1001.0)).is_continued
    anew = await backfill_jobs.begun(ledger, scope, "", now=1002.0, restart=True)
    assert (anew.is_continued, anew.began) == (False, 1002.0)
    await ledger.note(job.note, backfill_jobs.ended(job, now=1003.0))
    assert not (await backfill_jobs.begun(ledger, scope, "", now=1004.0)).is_continued
    await ledger.note(job.note, "damaged")
    assert not (await backfill_jobs.begun(ledger, scope, "", now=1005.0)).is_continued


async def test_a_job_that_cannot_be_noted_is_not_begun():
    ledger = InMemoryLedger()
    ledger.unwritable = True
    with pytest.raises(LedgerError):
        await backfill_jobs.begun(ledger, Scope(since=60.0), "", now=1000.0)


async def test_a_file_that_cannot_be_read_is_listed_and_the_others_are_done(backfills):
    good, bad = backfills.put("good", hours=1), backfills.put("bad", hours=1)
    backfills.store.objects[BUCKET, bad] = b"no log file"
    running = await backfills.command()
    await running.run()
    assert running.has_ended
    (failure,) = running.failures.first
    assert failure.file == f"s3://{BUCKET}/{bad}"
    assert "LogMalformed" in failure.reason or "FormatUnknown" in failure.reason
    assert (running.counts.failed, running.counts.settled) == (1, 2)
    backfills.store.objects[BUCKET, bad] = backfills.flow.log_of("repaired/x")
    again = await backfills.command()
    assert again.job.is_continued, "something was left"
    await again.run()
    assert backfills.store.opens[good] == 1
    assert backfills.target.runs_of("/data/repaired")


async def test_a_folder_that_cannot_be_refreshed_is_tried_some_times_and_then_its_file_is_a_failure(backfills):
    backfills.put("a", hours=1)
    backfills.target.always["/data/a"] = LogStoreUnavailable("no refresh today")
    running = await backfills.command()
    await running.run()
    assert running.has_ended
    assert len(backfills.target.runs) == MAX_RECEIVES
    assert "no refresh today" in running.failures.first[0].reason
    assert backfills.ledger.finished == []


async def test_a_passing_error_is_no_failure(backfills):
    key = backfills.put("a", hours=1)
    backfills.target.errors["/data/a"] = [LogStoreUnavailable("not now")]
    assert (await backfills.done()).failed == 0
    assert [each for _, each in backfills.ledger.finished] == [key]


async def test_a_folder_that_cannot_be_listed_is_a_failure(backfills):
    backfills.put("a", hours=1)
    backfills.put("b", hours=30)
    backfills.listing.errors[f"{REGION}/2025/12/22/"] = LogAccessDenied("AccessDenied")
    running = await backfills.command()
    await running.run()
    assert (running.counts.failed, running.counts.read) == (1, 1)
    assert "AccessDenied" in running.failures.first[0].reason


async def test_it_waits_while_access_anywhere_is_down_and_says_so(flow):
    gate = ManualGate("the server is down")
    backfills = Backfills(flow, gates=[gate])
    backfills.put("a", hours=1)
    running = await backfills.command()
    run = asyncio.create_task(running.run())
    await asyncio.sleep(24 * HOUR)
    assert running.counts.waits_for == "the server is down"
    assert not backfills.store.opens
    gate.open()
    await run
    assert running.has_ended
    assert (running.counts.read, running.counts.waits_for) == (1, "")


async def test_it_gives_up_a_log_bucket_that_stays_unreadable(backfills, flow):
    keys = [backfills.put(f"{number:03}", hours=1) for number in range(100)]
    backfills.store.errors.update(dict.fromkeys(keys, LogStoreUnavailable("503")))
    began = flow.time()
    running = await backfills.command()
    run = asyncio.create_task(running.run())
    await asyncio.sleep(BUCKET_PATIENCE / 2)
    assert "503" in running.counts.waits_for
    await run
    assert BUCKET_PATIENCE <= flow.time() - began < 2 * BUCKET_PATIENCE
    assert "503" in running.failures.first[0].reason
    assert running.counts.failed >= 100


async def test_an_outage_of_a_log_bucket_delays_no_file_longer_than_itself(backfills, flow):
    keys = [backfills.put(f"{number:03}", hours=1) for number in range(300)]
    backfills.store.errors.update(dict.fromkeys(keys, LogStoreUnavailable("503")))
    running = await backfills.command()
    run = asyncio.create_task(running.run())
    await asyncio.sleep(60.0)
    backfills.store.errors.clear()
    await run
    assert (running.counts.failed, running.counts.read) == (0, 300)
    assert flow.time() < 300.0


async def test_a_file_of_two_sources_is_counted_and_read_once(flow):
    backfills = Backfills(flow, sources=[LogSource(BUCKET, f"{REGION}/"), LogSource(BUCKET)])
    key = backfills.put("a", hours=1)
    counts = await backfills.done()
    assert (counts.files, counts.read) == (1, 1)
    assert backfills.store.opens == {key: 1}
