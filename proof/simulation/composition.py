"""The real service, composed of what is simulated around it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from jibe_sqs.concurrency.budget import Budget
from jibe_sqs.consuming.consumer import Consumer
from jibe_sqs.consuming.handler import Handler
from jibe_sqs.consuming.service import Service, Work
from jibe_sqs.core.decisions import Decisions
from jibe_sqs.core.formats.limits import Limits
from jibe_sqs.core.sources import Sources
from jibe_sqs.core.verdicts import RetryPolicy
from jibe_sqs.ports import Gate, Ledger, Queue, QueueFacts
from jibe_sqs.sweeping.sweep_queue import MAX_RECEIVES, VISIBILITY
from jibe_sqs.sweeping.sweeper import Sweep
from jibe_sqs.syncing.bucket_map import BucketMap
from jibe_sqs.syncing.changes import Changes
from jibe_sqs.syncing.refreshes import Refreshes
from jibe_sqs.telemetry.activity import Activity
from jibe_sqs.telemetry.counters import Counters
from jibe_sqs.telemetry.health import Health
from proof.simulation.access_anywhere import SimulatedTarget
from proof.simulation.ledger import Disk, SimulatedLedger
from proof.simulation.logs import WINDOW, SimulatedLogs
from proof.simulation.loop import SeededLoop
from proof.simulation.promises import Promises
from proof.simulation.provider_events import SimulatedEventTarget
from proof.simulation.providers import SimulatedProviders
from proof.simulation.sqs import SimulatedQueue
from proof.simulation.storage import EPOCH
from proof.simulation.sweeps import JudgedFindings, SimulatedListing, Sweeping
from proof.simulation.world import World

WAIT = 20.0
"""Seconds of a long poll."""


class Clock:
    """The `Clock` port. S3's time is unknown before its first answer, then told too late by a second at most, and skewed."""

    def __init__(self, loop: SeededLoop, behind: float) -> None:
        self._loop = loop
        self._behind = behind
        self.logs: SimulatedLogs

    def now(self) -> float:
        return EPOCH + self._loop.time() - self._behind if self.logs.has_answered else 0.0

    def monotonic(self) -> float:
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@dataclass(eq=False, slots=True)
class Composed:
    """A service, and those of its parts that are looked into."""

    service: Service
    consumers: list[Consumer]
    budgets: list[Budget]
    logs: SimulatedLogs


class Composer:
    """One replica's settings, drawn once, and its service, composed for each of its lives."""

    def __init__(self, world: World, disk: Disk, is_over: Callable[[], bool]) -> None:
        """`is_over`: whether a receive in flight may be given up."""
        chance = world.chance
        self._world = world
        self._disk = disk
        self._is_over = is_over
        self._promises = Promises(world, disk)
        self.reading_size = chance.choice([2, 5, 16])
        self.held_size = chance.choice([3, 12, 100])
        self.bytes_size = chance.choice([WINDOW, 3 * WINDOW, 100 * WINDOW])
        self.drain = chance.choice([1.0, 30.0, 100.0])
        self._policy = RetryPolicy(chance.choice([1.0, 10.0]), 60.0)
        self._receivers = chance.choice([1, 2])
        self._min_interval = chance.choice([0.0, 0.0, 20.0])
        self._retain = chance.choice([100.0, 1e9])
        self._places = chance.choice([1, 3, 2000])
        self._tellers = chance.choice([1, 3, 8])

    def compose(self) -> Composed:
        """Anew."""
        world, chance = self._world, self._world.chance
        skew = world.storage.skew
        counters = Counters()
        clock = Clock(world.loop, chance.uniform(0.0, 1.0) + chance.uniform(-skew, skew))
        ledger: Ledger = SimulatedLedger(self._disk, world.network, world.judge, self._retain)
        in_flight = Budget(self.bytes_size)
        logs = clock.logs = SimulatedLogs(world.storage, world.network, world.judge, chance, in_flight)
        refreshes, changes = self._refreshes(ledger, clock), self._changes()
        decisions = Decisions()
        buckets = self._buckets(decisions, clock)
        gates: list[Gate] = [world.index.gate, *([buckets] if buckets else [])]
        handler = world.parts.handler(
            sources=Sources([world.sweeping.source] if world.sweeping else []),
            logs=logs,
            limits=Limits(),
            decisions=decisions,
            ledger=ledger,
            refreshes=refreshes,
            changes=changes,
            buckets=buckets,
            counters=counters,
            activity=Activity(clock),
        )
        reading, held = Budget(self.reading_size), Budget(self.held_size)
        queues = self._queues()
        background: dict[str, Work] = {}
        if buckets:
            background["buckets"] = buckets.run
        if world.sweeping:
            findings, background["sweeps"] = self._sweeps(world.sweeping, ledger, clock, gates)
            queues.append(findings)
        consumers = [self._consumer(*queue, handler, reading, held, clock, counters, gates) for queue in queues]
        service = Service(
            consumers=consumers,
            refreshes=refreshes,
            changes=changes,
            ledger=ledger,
            counters=counters,
            health=Health(),
            background=background,
            drain_timeout=self.drain,
            progress_interval=0,
            retain=self._retain,
        )
        return Composed(service, consumers, [reading, held, in_flight], logs)

    def _refreshes(self, ledger: Ledger, clock: Clock) -> Refreshes:
        world = self._world
        target = SimulatedTarget(world.index, world.storage, world.judge, world.chance)
        refreshes = world.parts.refreshes(
            target=target,
            ledger=ledger,
            clock=clock,
            # Of two clocks that differ.
            margin=2 * world.storage.skew if world.parts.has_margin else 0.0,
            min_interval=self._min_interval,
            tree_interval=30.0,
        )
        refreshes._places = self._places
        target.refresh_other = refreshes.refresh
        return refreshes

    def _changes(self) -> Changes | None:
        world = self._world
        if not world.batch:
            return None
        target = SimulatedEventTarget(world.index, world.storage, world.judge, world.chance, world.batch, self._tellers)
        return world.parts.changes(target=target, most=self._tellers)

    def _queues(self) -> list[tuple[Queue, QueueFacts]]:
        world, promises = self._world, self._promises
        return [
            (
                SimulatedQueue(
                    sqs,
                    world.network,
                    world.judge,
                    may_delete=partial(promises.may_delete, sqs),
                    may_reject=partial(promises.may_reject, sqs),
                    is_over=self._is_over,
                ),
                sqs.facts(),
            )
            for sqs in world.queues
        ]

    def _buckets(self, decisions: Decisions, clock: Clock) -> BucketMap | None:
        world = self._world
        if world.discovery is None:
            return None
        providers = SimulatedProviders(world.index, world.storage, world.network, world.discovery)
        return world.parts.buckets(
            providers=providers, decisions=decisions, clock=clock, interval=world.discovery.interval
        )

    def _sweeps(
        self, sweeping: Sweeping, ledger: Ledger, clock: Clock, gates: list[Gate]
    ) -> tuple[tuple[Queue, QueueFacts], Work]:
        world = self._world
        ahead = world.chance.uniform(-world.storage.skew, world.storage.skew)

        def wall_clock() -> float:
            return EPOCH + world.loop.time() + ahead

        findings = JudgedFindings(
            sweeping.most,
            wall_clock,
            may_drop=self._promises.may_drop,
            may_reject=self._promises.may_give_up,
        )
        listing = SimulatedListing(world.storage, world.network, world.judge, sweeping.page)
        sweeper = world.parts.sweeper(
            sweeps=[Sweep(sweeping.source, listing, sweeping.interval)],
            queue=findings,
            ledger=ledger,
            clock=clock,
            gates=gates,
            wall_clock=wall_clock,
        )
        return (findings, QueueFacts(VISIBILITY, MAX_RECEIVES)), sweeper.run

    def _consumer(
        self,
        queue: Queue,
        facts: QueueFacts,
        handler: Handler,
        reading: Budget,
        held: Budget,
        clock: Clock,
        counters: Counters,
        gates: list[Gate],
    ) -> Consumer:
        return self._world.parts.consumer(
            queue=queue,
            facts=facts,
            handler=handler,
            policy=self._policy,
            reading=reading,
            held=held,
            clock=clock,
            counters=counters,
            wait=WAIT,
            receivers=self._receivers,
            gates=gates,
        )
