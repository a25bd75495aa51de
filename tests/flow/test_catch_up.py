"""After messages expired unseen, the service finds by itself what they asked for."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from tests.flow.test_sweeps import BUCKET, TODAY, MemoryListing

from jibe_sqs.compose.engine import Engine, Inputs, Outputs, Policies
from jibe_sqs.core.decisions import Decisions, Place
from jibe_sqs.core.errors import AccessAnywhereUnavailable, LogAccessDenied, LogStoreUnavailable, QueueUnavailable
from jibe_sqs.core.model import Folder, Message
from jibe_sqs.core.sources import EVERY_BUCKET, LogSource, Sources
from jibe_sqs.core.verdicts import RetryPolicy
from jibe_sqs.sweeping.catch_up import MAX_WINDOW
from jibe_sqs.sweeping.sweeper import Sweep
from jibe_sqs.testing import ManualGate

RETENTION = 7200.0
PLACES = {"data": (Place("/S3/data"),), "more": (Place("/S3/more"),)}
TREES = {Folder("/S3/data", tree=True), Folder("/S3/more", tree=True)}


class Installation:
    """A queue, a log bucket, a ledger and Access Anywhere, which outlive the processes of the service."""

    def __init__(self, flow):
        self.flow = flow
        self.queue = flow.InMemoryQueue(retention=RETENTION, wall_clock=self.wall_clock)
        self.logs = flow.InMemoryLogStore()
        self.listing = MemoryListing(flow, self.logs)
        self.ledger = flow.InMemoryLedger()
        self.target = flow.InMemorySyncTarget()
        self.source = LogSource(BUCKET)
        self.more = []
        self.gate = ManualGate()
        self.skew = 0.0

    def wall_clock(self):
        return self.flow.EPOCH + self.skew + self.flow.time()

    @asynccontextmanager
    async def process(self, *, sources=True, sweep=0.0, expected=None, relay=None, **policies):
        """A running service. It ends like a killed one: nothing is written at its end."""
        sweeps = [Sweep(self.source, self.listing, sweep)] if sources else []
        engine = Engine(
            Outputs(
                clock=self.flow.VirtualClock(),
                ledger=self.ledger,
                target=self.target,
                decisions=Decisions(PLACES),
                gates=(self.gate,),
            ),
            Policies(**policies),
        )
        service = engine.service(
            Inputs(
                queues=[(self.queue, self.queue.facts_now())],
                logs=self.logs,
                sources=Sources([self.source] if sources else []),
                sweeps=sweeps if sweep else (),
                log_sources=[*sweeps, *self.more],
                expected=expected or {},
                wall_clock=self.wall_clock,
                relay=relay,
            )
        )
        work = [*(each.run for each in engine.consumers), *service._background.values()]
        tasks = [asyncio.create_task(each()) for each in work]
        try:
            yield engine
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await engine.refreshes.stop()

    def write(self, name, *, is_announced=True):
        """A change in the folder /S3/data/NAME, whose log file is delivered and announced."""
        key = f"{TODAY}/{name}.json.gz"
        self.logs.objects[BUCKET, key] = self.flow.log_of(f"{name}/file")
        self.listing.modified[key] = self.wall_clock()
        if is_announced:
            self.queue.send(self.flow.announcing(key, bucket=BUCKET))

    def message(self):
        """A message that was sent some time ago, and is received for the first time."""
        return Message("m", "r", b"", 1, self.wall_clock() - RETENTION / 2)

    @property
    def refreshed(self):
        return {run.folder for run in self.target.runs if run.ended is not None and run.error is None}

    async def until_refreshed(self, *names):
        await self.flow.until(lambda: {Folder(f"/S3/data/{name}") for name in names} <= self.refreshed)

    async def until_logged(self, events, name):
        await self.flow.until(lambda: [each for each in events if each["event"] == name])


@pytest.fixture
def installation(flow):
    return Installation(flow)


def logged(events, name):
    return [event for event in events if event["event"] == name]


async def a_stop_in_which_messages_expire(installation, *, by_event=False):
    """A process that works, and then a stop of twice the retention, in which a change is made at the beginning."""
    async with installation.process(sources=not by_event):
        if by_event:
            installation.queue.send(installation.flow.s3_event("before/file"))
        else:
            installation.write("before")
        await installation.until_refreshed("before")
        await asyncio.sleep(120)
    installation.write("missed")
    await asyncio.sleep(RETENTION * 2)
    installation.target.runs.clear()


async def test_a_stop_longer_than_the_retention_is_caught_up(installation, events):
    await a_stop_in_which_messages_expire(installation)
    async with installation.process():
        await installation.until_logged(events, "caught_up")
    assert installation.refreshed == {Folder("/S3/data/missed")}
    (expired,) = logged(events, "messages_expired")
    assert expired["queue"] == "queue"
    assert expired["retention"] == RETENTION
    assert 2 * RETENTION <= expired["gap"] <= 2 * RETENTION + 300


async def test_a_gap_is_caught_up_once(installation, events):
    await a_stop_in_which_messages_expire(installation)
    for _ in range(2):
        async with installation.process():
            await asyncio.sleep(300)
    assert len(logged(events, "caught_up")) == len(logged(events, "messages_expired")) == 1


async def test_a_kill_during_the_catch_up_begins_it_again(installation, events):
    """Also if the kill comes long after the first receive, which was noted."""
    await a_stop_in_which_messages_expire(installation)
    installation.target.held.add("/S3/data/missed")
    async with installation.process():
        await installation.flow.until(lambda: installation.target.runs)
        await asyncio.sleep(300)
    assert not logged(events, "caught_up")
    installation.target.release()
    installation.target.runs.clear()
    async with installation.process():
        await installation.until_logged(events, "caught_up")
    assert installation.refreshed == {Folder("/S3/data/missed")}


async def test_a_shorter_stop_is_no_gap(installation, events):
    async with installation.process():
        await asyncio.sleep(120)
    installation.write("kept")
    await asyncio.sleep(RETENTION / 2)
    async with installation.process():
        await installation.until_refreshed("kept")
        await asyncio.sleep(120)
    assert not logged(events, "messages_expired")
    assert installation.listing.levels == []


async def test_the_first_start_is_no_gap(installation, events):
    installation.write("first")
    async with installation.process():
        await installation.until_refreshed("first")
        await asyncio.sleep(120)
    assert not logged(events, "messages_expired")


async def test_a_backlog_that_expires_is_a_gap(installation, events):
    """Messages were waiting when the service stopped, so a stop shorter than the retention is enough."""
    names = [f"waiting-{number}" for number in range(30)]
    for name in names:
        installation.write(name)
    installation.target.takes = 600.0
    async with installation.process(messages_held=1, messages_reading=1):
        await asyncio.sleep(RETENTION * 0.6)
    assert len(installation.queue.messages) > 10
    await asyncio.sleep(RETENTION * 0.6)
    installation.target.takes = 0.0
    async with installation.process():
        await installation.until_refreshed(*names)
        await installation.until_logged(events, "caught_up")


async def test_a_process_that_never_received_anything_is_responsible_from_its_start(installation, events):
    installation.queue.errors["receive"] = [QueueUnavailable("503")] * 10_000
    async with installation.process():
        await asyncio.sleep(5)
    installation.write("missed")
    await asyncio.sleep(RETENTION * 1.2)
    installation.queue.errors.clear()
    async with installation.process():
        await installation.until_refreshed("missed")


async def test_an_outage_of_access_anywhere_longer_than_the_retention_is_caught_up(installation, events):
    """No restart is needed."""
    async with installation.process():
        await asyncio.sleep(60)
        installation.gate.reason = "Access Anywhere is down"
        await asyncio.sleep(60)
        installation.write("missed")
        await asyncio.sleep(RETENTION * 1.5)
        assert not installation.target.runs
        installation.gate.open()
        await installation.until_logged(events, "caught_up")
    assert installation.refreshed == {Folder("/S3/data/missed")}


async def test_an_outage_of_a_log_bucket_longer_than_the_retention_is_caught_up(installation, events):
    """Its messages were received, and expired while they waited for the bucket. Other messages came all the time."""
    async with installation.process():
        await asyncio.sleep(60)
        installation.write("missed")
        key = f"{TODAY}/missed.json.gz"
        installation.logs.errors[key] = LogStoreUnavailable("503")
        for number in range(20):
            await asyncio.sleep(RETENTION / 10)
            installation.queue.send(installation.flow.s3_event(f"other-{number}/file"))
        assert Folder("/S3/data/missed") not in installation.refreshed
        installation.logs.errors.clear()
        await installation.until_logged(events, "caught_up")
    assert Folder("/S3/data/missed") in installation.refreshed or installation.refreshed >= TREES


async def test_a_message_that_expires_before_its_next_try_is_caught_up(installation, events):
    """It was tried again and again, and the queue deletes it during the last delay."""
    policy = RetryPolicy(first=60.0, longest=900.0)
    installation.write("missed")
    installation.target.errors["/S3/data/missed"] = [AccessAnywhereUnavailable("500")] * 10_000
    async with installation.process(retry=policy):
        await installation.until_logged(events, "messages_expired")
        installation.target.errors.clear()
        await installation.until_logged(events, "caught_up")
        await installation.until_refreshed("missed")


async def test_a_queue_whose_messages_keep_expiring_is_caught_up_now_and_then(installation, events):
    """Each catch-up may refresh everything."""
    installation.target.errors["/S3/data/missed"] = [AccessAnywhereUnavailable("500")] * 10_000
    async with installation.process(sources=False):
        for _ in range(80):
            installation.queue.send(installation.flow.s3_event("missed/file"))
            await asyncio.sleep(RETENTION / 40)
    assert 1 <= len(logged(events, "caught_up")) <= 40


async def test_a_queue_that_brings_changes_without_log_files_needs_all_trees(installation, events):
    await a_stop_in_which_messages_expire(installation, by_event=True)
    async with installation.process():
        await installation.until_logged(events, "caught_up")
    assert installation.refreshed == TREES


async def test_a_kill_soon_after_a_change_without_a_log_file_does_not_hide_that_there_are_such(installation, events):
    async with installation.process():
        installation.queue.send(installation.flow.s3_event("before/file"))
        await installation.until_refreshed("before")
        await asyncio.sleep(15)
    await asyncio.sleep(RETENTION * 2)
    installation.target.runs.clear()
    async with installation.process():
        await installation.until_logged(events, "caught_up")
    assert installation.refreshed == TREES


async def test_without_configured_logs_all_trees_are_refreshed(installation, events):
    await a_stop_in_which_messages_expire(installation)
    async with installation.process(sources=False):
        await installation.until_logged(events, "caught_up")
    assert installation.refreshed == TREES


async def test_log_files_that_cannot_be_listed_are_replaced_by_trees(installation, events):
    """Permission to list may be missing: reading announced files needs none."""
    await a_stop_in_which_messages_expire(installation)
    installation.listing.errors[BUCKET] = LogAccessDenied("AccessDenied")
    async with installation.process():
        await installation.until_logged(events, "caught_up")
    assert installation.refreshed == TREES


async def test_a_listing_that_fails_is_repeated(installation, events):
    await a_stop_in_which_messages_expire(installation)
    installation.listing.errors[BUCKET] = LogStoreUnavailable("503")
    async with installation.process():
        await installation.until_logged(events, "catch_up_failed")
        installation.listing.errors.clear()
        await installation.until_logged(events, "caught_up")
    assert installation.refreshed == {Folder("/S3/data/missed")}
    assert len(logged(events, "messages_expired")) == 1


async def test_a_bucket_that_cannot_be_listed_among_all_buckets_is_listed_again(installation, events):
    installation.source = LogSource(EVERY_BUCKET)
    await a_stop_in_which_messages_expire(installation)
    installation.listing.errors[BUCKET] = LogStoreUnavailable("503")
    async with installation.process():
        await installation.until_logged(events, "catch_up_failed")
        installation.listing.errors.clear()
        await installation.until_refreshed("missed")


async def test_a_file_that_was_rejected_before_the_listing_failed_is_replaced_by_trees(installation, events):
    """The second catch-up finds it again, and it is not taken, because it was rejected."""
    await a_stop_in_which_messages_expire(installation)
    broken = f"{TODAY}/broken.json.gz"
    installation.logs.objects[BUCKET, broken] = b"{not JSON"
    installation.listing.modified[broken] = installation.wall_clock()
    other = MemoryListing(installation.flow, installation.logs)
    other.errors["b-2"] = LogStoreUnavailable("503")
    installation.more = [Sweep(LogSource("b-2"), other, 0.0)]
    async with installation.process():
        await installation.until_logged(events, "catch_up_failed")
        await installation.until_logged(events, "message_rejected")
        other.errors.clear()
        await installation.until_logged(events, "caught_up")
    assert installation.refreshed >= TREES


async def test_a_tree_that_cannot_be_refreshed_keeps_the_gap_open(installation, events):
    await a_stop_in_which_messages_expire(installation, by_event=True)
    installation.target.errors["/S3/more"] = [AccessAnywhereUnavailable("503")]
    async with installation.process():
        await installation.until_logged(events, "caught_up")
    assert installation.refreshed == TREES
    assert len(installation.target.runs_of("/S3/data")) == 1


async def test_a_very_long_stop_is_caught_up_by_trees(installation, events):
    await a_stop_in_which_messages_expire(installation)
    installation.skew = MAX_WINDOW
    async with installation.process():
        await installation.until_logged(events, "caught_up")
    assert installation.refreshed == TREES


async def test_a_catch_up_by_hand_is_only_logged(installation, events):
    await a_stop_in_which_messages_expire(installation)
    for _ in range(2):
        async with installation.process(catch_up=False):
            await asyncio.sleep(300)
    assert not installation.target.runs
    (expired,) = logged(events, "messages_expired")
    assert expired["remedy"].startswith("jibe-sqs backfill --from 20")


async def test_a_ledger_that_cannot_be_read_at_the_start_does_not_hide_a_gap(installation, events):
    await a_stop_in_which_messages_expire(installation)
    installation.ledger.unreadable = True
    async with installation.process():
        await asyncio.sleep(300)
        assert not logged(events, "messages_expired")
        installation.ledger.unreadable = False
        await installation.until_logged(events, "caught_up")
    assert Folder("/S3/data/missed") in installation.refreshed


async def test_a_sweep_after_a_stop_looks_back_to_the_last_one(installation, events):
    """A source without announcements has no queue that could have a gap."""
    async with installation.process(sweep=180.0):
        await asyncio.sleep(400)
    installation.write("missed", is_announced=False)
    installation.skew = 40 * 86_400.0
    async with installation.process(sweep=180.0):
        await installation.until_refreshed("missed")


async def test_a_sweep_counts_only_when_its_files_are_done(installation, events):
    """The files of a long look back would be lost by a kill, because the next sweep would look back to this one only."""
    async with installation.process(sweep=180.0):
        await asyncio.sleep(400)
    installation.write("missed", is_announced=False)
    installation.skew = 40 * 86_400.0
    installation.target.held.add("/S3/data/missed")
    async with installation.process(sweep=180.0):
        await installation.flow.until(lambda: installation.target.runs)
        await asyncio.sleep(1000)
    installation.target.release()
    installation.target.runs.clear()
    async with installation.process(sweep=180.0):
        await installation.until_refreshed("missed")


async def test_a_first_sweep_whose_files_are_not_done_is_looked_back_to(installation, events):
    """A kill and a long stop would lose the files that it found, because the next sweep would look back two days only."""
    installation.write("missed", is_announced=False)
    installation.target.held.add("/S3/data/missed")
    async with installation.process(sweep=180.0):
        await installation.flow.until(lambda: installation.target.runs)
    installation.skew = 40 * 86_400.0
    installation.target.release()
    installation.target.runs.clear()
    async with installation.process(sweep=180.0):
        await installation.until_refreshed("missed")


async def test_a_sweep_of_every_bucket_is_complete_only_when_each_bucket_answered(installation):
    """The next one would look back to this one only."""
    installation.source = LogSource(EVERY_BUCKET)
    installation.write("before", is_announced=False)
    async with installation.process(sweep=180.0):
        await asyncio.sleep(400)
    installation.write("missed", is_announced=False)
    installation.skew = 10 * 86_400.0
    installation.listing.errors[BUCKET] = LogStoreUnavailable("503")
    async with installation.process(sweep=180.0):
        await asyncio.sleep(1000)
        installation.listing.errors.clear()
        await installation.until_refreshed("missed")
