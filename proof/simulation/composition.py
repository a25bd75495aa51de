"""Builds the real service with simulated surroundings."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from jibe_sqs.compose.engine import Engine, Inputs, Outputs, Policies
from jibe_sqs.concurrency.budget import Budget
from jibe_sqs.consuming.consumer import RECEIVE_LIMIT, Consumer
from jibe_sqs.consuming.room import ANNOUNCED, FILE, OVERHEAD, Room
from jibe_sqs.consuming.service import Service
from jibe_sqs.core.decisions import Decisions
from jibe_sqs.core.sources import Sources
from jibe_sqs.core.verdicts import RetryPolicy
from jibe_sqs.ports import Gate
from jibe_sqs.sweeping.sweeper import Sweep
from jibe_sqs.syncing.bucket_map import BucketMap
from proof.simulation.access_anywhere import SimulatedTarget
from proof.simulation.ledger import Disk, SimulatedLedger
from proof.simulation.logs import WINDOW, SimulatedLogs
from proof.simulation.loop import SeededLoop
from proof.simulation.promises import Promises
from proof.simulation.provider_events import SimulatedEventTarget
from proof.simulation.providers import SimulatedProviders
from proof.simulation.sqs import SimulatedQueue
from proof.simulation.storage import EPOCH
from proof.simulation.sweeps import JudgedSweepQueue, SimulatedListing
from proof.simulation.world import World

MAX_BODY, MAX_PLANS, MAX_FILES = 1000, 2000, 4
"""Bytes of one message: of its body without padding, and of the plans of its log files."""
WAIT = 20.0
"""Duration of a long poll, in seconds."""


class Clock:
    """The `Clock` port. S3's time is unknown before the first answer of S3. Later it lags by up to a second, and is skewed."""

    def __init__(self, loop: SeededLoop, lag: float) -> None:
        self._loop = loop
        self._lag = lag
        self.logs: SimulatedLogs

    def now(self) -> float:
        return EPOCH + self._loop.time() - self._lag if self.logs.has_answered else 0.0

    def monotonic(self) -> float:
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@dataclass(eq=False, slots=True)
class Composed:
    """A service, and the parts of it that the simulation inspects."""

    service: Service
    consumers: list[Consumer]
    room: Room
    bytes_in_flight: Budget
    queues: list[SimulatedQueue]
    logs: SimulatedLogs


class Composer:
    """Draws the settings of one replica once, and builds its service for each start."""

    def __init__(self, world: World, disk: Disk, may_abandon_receive: Callable[[], bool]) -> None:
        """`may_abandon_receive`: whether a receive in flight may be abandoned."""
        chance = world.chance
        self._world = world
        self._disk = disk
        self._may_abandon_receive = may_abandon_receive
        self._promises = Promises(world, disk)
        reading, self.messages_held = chance.choice([2, 5, 16]), chance.choice([3, 12, 100])
        if world.has_big_room:
            reading, self.messages_held = 16, 100
        self.bytes_in_flight = chance.choice([WINDOW, 3 * WINDOW, 100 * WINDOW])
        self.drain = chance.choice([1.0, 30.0, 100.0])
        self._policies = Policies(
            messages_reading=reading,
            messages_held=self.messages_held,
            bytes_held=world.bytes_held,
            drain_timeout=self.drain,
            wait=WAIT,
            # Each of two clocks may differ from the truth by the skew.
            watermark_margin=2 * world.storage.skew if world.parts.has_margin else 0.0,
            retry=RetryPolicy(chance.choice([1.0, 10.0]), 60.0),
            receivers=chance.choice([1, 2]),
            min_refresh_interval=chance.choice([0.0, 0.0, 20.0]),
            retain=chance.choice([100.0, 1e9]),
            refreshes_started=chance.choice([1, 3, 2000]),
            event_calls=chance.choice([1, 3, 8]),
        )

    def bytes_of_a_round(self, queues: int) -> int:
        """Bytes by which one round of receives may overdraw the room, and the plans of what is held then."""
        policies = self._policies
        received = min(policies.messages_reading, queues * policies.receivers * RECEIVE_LIMIT) + queues
        held = min(policies.messages_held, policies.bytes_held // OVERHEAD) + received
        of_plans = MAX_PLANS + MAX_FILES * (FILE + ANNOUNCED)
        return received * (max(self._world.storage.paddings) + MAX_BODY + OVERHEAD) + held * of_plans

    def compose(self) -> Composed:
        """Build a new service."""
        world, chance, policies = self._world, self._world.chance, self._policies
        skew = world.storage.skew
        clock = Clock(world.loop, chance.uniform(0.0, 1.0) + chance.uniform(-skew, skew))
        bytes_in_flight = Budget(self.bytes_in_flight)
        logs = clock.logs = SimulatedLogs(
            world.storage, world.outages, world.network, world.judge, chance, bytes_in_flight
        )
        decisions = Decisions()
        buckets = self._buckets(decisions, clock)
        gates: list[Gate] = [world.index.gate, *([buckets] if buckets else [])]
        outputs = Outputs(
            clock=clock,
            ledger=SimulatedLedger(self._disk, world.network, world.judge, policies.retain),
            target=SimulatedTarget(world.index, world.storage, world.judge, chance),
            decisions=decisions,
            events=self._events(),
            buckets=buckets,
            gates=gates,
        )
        engine = Engine(outputs, policies, world.parts)
        queues = self._queues()
        service = engine.service(self._inputs(queues, logs))
        return Composed(service, engine.consumers, engine.room, bytes_in_flight, queues, logs)

    def _events(self) -> SimulatedEventTarget | None:
        world = self._world
        if not world.batch:
            return None
        return SimulatedEventTarget(
            world.index, world.storage, world.judge, world.chance, world.batch, self._policies.event_calls
        )

    def _inputs(self, queues: list[SimulatedQueue], logs: SimulatedLogs) -> Inputs:
        world, sweeping = self._world, self._world.sweeping
        now = world.loop.time()
        # A queue that does not answer at the start is asked again by its consumer.
        asked = [(queue, None if queue.sqs.is_refusing_since(now) else queue.sqs.facts()) for queue in queues]
        if sweeping is None:
            return Inputs(queues=asked, logs=logs)
        offset = world.chance.uniform(-world.storage.skew, world.storage.skew)

        def wall_clock() -> float:
            return EPOCH + world.loop.time() + offset

        queue = JudgedSweepQueue(
            sweeping.max_entries,
            wall_clock,
            check_sweep_delete=self._promises.check_sweep_delete,
            check_reject=self._promises.check_sweep_reject,
        )
        listing = SimulatedListing(world.storage, world.outages, world.network, world.judge, sweeping.page)
        return Inputs(
            queues=asked,
            logs=logs,
            sources=Sources([sweeping.source]),
            sweeps=[Sweep(sweeping.source, listing, sweeping.interval)],
            sweep_queue=queue,
            wall_clock=wall_clock,
        )

    def _queues(self) -> list[SimulatedQueue]:
        world, promises = self._world, self._promises
        return [
            SimulatedQueue(
                sqs,
                world.network,
                world.judge,
                check_delete=partial(promises.check_delete, sqs),
                check_reject=partial(promises.check_reject, sqs),
                may_abandon_receive=self._may_abandon_receive,
            )
            for sqs in world.queues
        ]

    def _buckets(self, decisions: Decisions, clock: Clock) -> BucketMap | None:
        world = self._world
        if world.discovery is None:
            return None
        providers = SimulatedProviders(world.index, world.storage, world.network, world.discovery)
        return world.parts.bucket_map(
            providers=providers, decisions=decisions, clock=clock, interval=world.discovery.interval
        )
