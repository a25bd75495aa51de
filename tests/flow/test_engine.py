"""The engine connects all parts: one service with queues, sweeps and an event target does a whole job with doubles."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from jibe_sqs.compose.engine import Engine, Inputs, Outputs, Parts, Policies
from jibe_sqs.core.decisions import Decisions
from jibe_sqs.core.model import Folder, LogFile
from jibe_sqs.core.sources import LogSource, Sources
from jibe_sqs.ports import Found
from jibe_sqs.sweeping.sweeper import Sweep
from jibe_sqs.telemetry.health import Health
from jibe_sqs.testing import (
    InMemoryEventTarget,
    InMemoryLedger,
    InMemoryLogStore,
    InMemoryQueue,
    InMemorySyncTarget,
    ManualGate,
)

INTERVAL = 60.0
"""Seconds between two sweeps."""


class FolderListing:
    """The `Listing` port: all objects of the store, as files of one folder."""

    def __init__(self, logs, folder):
        self._logs = logs
        self._folder = folder
        self.calls = 0

    async def level(self, bucket, prefix):
        self.calls += 1
        for in_bucket, key in sorted(self._logs.objects):
            if (in_bucket, prefix) == (bucket, self._folder) and key.startswith(prefix):
                yield Found(LogFile(bucket, key))

    async def has(self, bucket, prefix):
        return any(each == bucket and key.startswith(prefix) for each, key in self._logs.objects)

    async def buckets(self):
        return [bucket for bucket, _ in self._logs.objects]


class Job:
    """An engine with two queues, one sweep and, if wanted, an event target, all of them doubles."""

    def __init__(self, flow, *, events=None, gates=(), relay=None):
        self.flow = flow
        self.folder = flow.log_key("").removesuffix(".json.gz")
        self.queues = [InMemoryQueue("one"), InMemoryQueue("two")]
        self.logs, self.ledger, self.health = InMemoryLogStore(), InMemoryLedger(), Health()
        self.target, self.events = InMemorySyncTarget(), events
        self.listing = FolderListing(self.logs, self.folder)
        source = LogSource(flow.LOG_BUCKET, self.folder)
        outputs = Outputs(
            clock=flow.VirtualClock(),
            ledger=self.ledger,
            target=self.target,
            decisions=Decisions(),
            events=events,
            gates=gates,
            health=self.health,
        )
        self.engine = Engine(outputs, Policies())
        self.service = self.engine.service(
            Inputs(
                queues=[(queue, queue.facts_now()) for queue in self.queues],
                logs=self.logs,
                sources=Sources([source]),
                sweeps=[Sweep(source, self.listing, INTERVAL)],
                wall_clock=lambda: flow.EPOCH + 3600.0 + flow.time(),
                relay=relay,
            )
        )

    def put(self, name):
        key = self.flow.log_key(name)
        self.logs.objects[self.flow.LOG_BUCKET, key] = self.flow.log_of(f"{name}/file")
        return key

    @asynccontextmanager
    async def running(self):
        run = asyncio.create_task(self.service.run())
        try:
            yield
        finally:
            self.service.stop()
            await run


async def test_one_service_does_the_whole_job_from_queues_and_sweeps_to_refreshes(flow):
    job = Job(flow)
    announced, swept = job.put("announced"), job.put("swept")
    async with job.running():
        job.queues[0].send(flow.announcing(announced))
        job.queues[1].send(flow.s3_event("direct/file"))
        await flow.until(lambda: len(job.ledger.finished) == 2 and all(queue.deleted for queue in job.queues))
    assert {key for _, key in job.ledger.finished} == {announced, swept}
    assert {run.folder.path for run in job.target.runs} == {"/data/announced", "/data/swept", "/data/direct"}
    assert job.logs.opens == {announced: 1, swept: 1}
    assert [consumer.name for consumer in job.engine.consumers] == ["one", "two", "sweeps"]
    assert job.engine.counters.done == job.engine.counters.messages
    assert job.engine.counters.files == 2


async def test_with_an_event_target_each_change_is_reported_and_only_trees_are_refreshed(flow):
    job = Job(flow, events=InMemoryEventTarget(batch=10))
    announced, swept = job.put("announced"), job.put("swept")
    no_key = flow.log_key("no-key")
    job.logs.objects[flow.LOG_BUCKET, no_key] = flow.log_of("", name="DeleteObjects")
    async with job.running():
        job.queues[0].send(flow.announcing(announced, no_key))
        job.queues[1].send(flow.s3_event("direct/file"))
        await flow.until(lambda: len(job.ledger.finished) == 3 and all(queue.deleted for queue in job.queues))
    assert {key for _, key in job.ledger.finished} == {announced, swept, no_key}
    reported = sorted(change.event.key for change in job.events.accepted)
    assert reported == ["announced/file", "direct/file", "swept/file"]
    assert [run.folder for run in job.target.runs] == [Folder("/data", tree=True)]


async def test_a_gate_reaches_the_consumers_the_sweeper_and_the_health(flow):
    gate = ManualGate("the server is down")
    job = Job(flow, gates=[gate])
    swept = job.put("swept")
    job.queues[0].send(flow.s3_event("direct/file"))
    async with job.running():
        await asyncio.sleep(10 * INTERVAL)
        assert job.health.readiness_failures == ["the server is down"]
        assert job.health.liveness_failures == []
        assert not any(queue.calls["receive"] for queue in job.queues)
        assert job.listing.calls == 0
        gate.open()
        assert job.health.readiness_failures == []
        await flow.until(lambda: job.ledger.finished and job.queues[0].deleted)
    assert job.logs.opens == {swept: 1}


async def test_the_budgets_are_shared_by_all_queues_and_the_sweeps(flow):
    job = Job(flow)
    for name in ("a", "b", "c"):
        job.put(name)
    async with job.running():
        await flow.until(lambda: len(job.ledger.finished) == 3)
    assert {consumer._room for consumer in job.engine.consumers} == {job.engine.room}
    for budget in (job.engine.room.reading, job.engine.room.held, job.engine.room.held_bytes):
        assert budget.free == budget.size


@pytest.mark.parametrize("part", ["handler", "refreshes", "consumer", "sweeper", "changes"])
def test_each_class_of_the_service_can_be_replaced(flow, part):
    """The simulation does so, to show that it finds defects."""
    built = []
    original = getattr(Parts(), part)

    class Replaced(original):
        def __init__(self, **options):
            built.append(part)
            super().__init__(**options)

    async def build():
        outputs = Outputs(
            clock=flow.VirtualClock(),
            ledger=InMemoryLedger(),
            target=InMemorySyncTarget(),
            decisions=Decisions(),
            events=InMemoryEventTarget(),
        )
        queue = InMemoryQueue()
        engine = Engine(outputs, Policies(), Parts(**{part: Replaced}))
        engine.service(Inputs(queues=[(queue, queue.facts_now())], logs=InMemoryLogStore()))

    flow.virtually(build())
    assert built == [part]


async def test_one_of_several_processes_prunes_the_ledger(flow):
    """`relay` is given to all but the first."""
    for relay, expected in ((None, 1), (lambda _: True, 0)):
        job, pruned = Job(flow, relay=relay), []

        async def prune(before, pruned=pruned):
            pruned.append(before)

        job.ledger.prune = prune
        async with job.running():
            await asyncio.sleep(10)
        assert len(pruned) == expected
