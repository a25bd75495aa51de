"""Builds the real service with simulated surroundings."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from math import inf

from jibe_sqs.compose.engine import Engine, Inputs, Outputs, Policies
from jibe_sqs.compose.settings_changes import log_settings_changes
from jibe_sqs.concurrency.budget import Budget
from jibe_sqs.consuming.consumer import RECEIVE_LIMIT, Consumer
from jibe_sqs.consuming.room import ANNOUNCED, FILE, OVERHEAD, Room
from jibe_sqs.consuming.service import Service
from jibe_sqs.core.date_folders import Window
from jibe_sqs.core.decisions import Decisions
from jibe_sqs.core.model import LogFile, Reject
from jibe_sqs.core.sources import LogSource, Sources
from jibe_sqs.core.verdicts import RetryPolicy
from jibe_sqs.ports import Gate, Validity
from jibe_sqs.sweeping.backfill import Backfill, BucketGate, Failures
from jibe_sqs.sweeping.sweeper import Sweep
from jibe_sqs.syncing.bucket_map import BucketMap
from jibe_sqs.syncing.pauses import Pauses
from proof.simulation.access_anywhere import SimulatedTarget
from proof.simulation.kinds import Kind
from proof.simulation.ledger import Disk, SimulatedLedger
from proof.simulation.logs import WINDOW, SimulatedLogs
from proof.simulation.loop import SeededLoop
from proof.simulation.pauses import READ_INTERVAL
from proof.simulation.promises import Promises
from proof.simulation.provider_events import SimulatedEventTarget
from proof.simulation.providers import Discovery, SimulatedProviders
from proof.simulation.settings import Settings
from proof.simulation.sqs import MayAbandon, SimulatedQueue
from proof.simulation.storage import EPOCH, Event
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
    """A service, and the parts of it that the simulation inspects. `start` is done before the service runs."""

    service: Service
    consumers: list[Consumer]
    room: Room
    bytes_in_flight: Budget
    queues: list[SimulatedQueue]
    logs: SimulatedLogs
    start: Callable[[], Awaitable[None]]
    serves_since: float = inf

    async def run(self) -> None:
        """Start, and serve until the end."""
        await self.start()
        self.serves_since = asyncio.get_running_loop().time()
        await self.service.run()


@dataclass(frozen=True, slots=True)
class _Built:
    """The parts of a service before its inputs are known."""

    engine: Engine
    outputs: Outputs
    logs: SimulatedLogs
    bytes_in_flight: Budget

    def composed(
        self, service: Service, queues: list[SimulatedQueue], start: Callable[[], Awaitable[None]]
    ) -> Composed:
        engine = self.engine
        return Composed(service, engine.consumers, engine.room, self.bytes_in_flight, queues, self.logs, start)


def _skips_nothing(_event: Event) -> bool:
    return False


class Composer:
    """Draws the settings of one replica once, and builds its service for each start."""

    def __init__(self, world: World, disk: Disk, may_abandon_receive: MayAbandon) -> None:
        """`may_abandon_receive`: whether a receive in flight may be cancelled."""
        chance = world.chance
        self._world = world
        self._disk = disk
        self._may_abandon_receive = may_abandon_receive
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
        settings = self._world.configuration.now if self._world.configuration else None
        built = self._built(settings)
        promises = Promises(self._world, self._disk, settings)
        queues = self._queues(promises)
        service = built.engine.service(self._inputs(queues, built.logs, settings, promises))

        async def start() -> None:
            if settings is not None:
                await log_settings_changes(settings.fingerprint, built.engine.ledger, now=self._now())
            if self._world.pause:
                await built.engine.pauses.read(built.engine.ledger)

        return built.composed(service, queues, start)

    def backfill(self, failures: Failures) -> tuple[Composed, Backfill]:
        """Build a backfill of everything, with the present settings."""
        world, configuration = self._world, self._world.configuration
        assert configuration is not None
        settings = configuration.now
        built = self._built(settings)
        engine, outputs = built.engine, built.outputs
        queue = self._sweep_queue(Promises(world, self._disk, settings), 20_000, on_reject=failures.rejected)
        buckets = BucketGate(lambda: engine.outages.reasons, outputs.clock)
        backfill = Backfill(
            sweeps=[self._sweep(settings.source)],
            window=Window(EPOCH, self._now()),
            queue=queue,
            failures=failures,
            gates=outputs.gates,
            buckets=buckets,
            clock=outputs.clock,
        )
        service = engine.service(
            Inputs(
                queues=(),
                logs=built.logs,
                sources=settings.sources,
                sweep_queue=queue,
                gates=[buckets],
                wall_clock=self._now,
            ),
            backfill.run,
        )

        async def start() -> None:
            pass

        return built.composed(service, [], start), backfill

    def _built(self, settings: Settings | None) -> "_Built":
        world, chance, policies = self._world, self._world.chance, self._policies
        skew = world.storage.skew
        clock = Clock(world.loop, chance.uniform(0.0, 1.0) + chance.uniform(-skew, skew))
        bytes_in_flight = Budget(self.bytes_in_flight)
        logs = clock.logs = SimulatedLogs(
            world.storage, world.outages, world.network, world.judge, chance, bytes_in_flight
        )
        decisions = settings.decisions() if settings else Decisions()
        rules = settings.fingerprint.short if settings else ""
        buckets = self._buckets(decisions, clock)
        pauses = Pauses(clock, every=READ_INTERVAL, wall_clock=self._now) if world.pause else None
        gates: list[Gate] = [world.index.gate, *filter(None, (pauses, buckets))]
        outputs = Outputs(
            clock=clock,
            ledger=SimulatedLedger(
                self._disk,
                world.network,
                world.judge,
                retain=policies.retain,
                rules=rules,
                validity=None if world.parts.has_fingerprint else Validity(),
            ),
            target=SimulatedTarget(world.index, world.storage, world.judge, chance),
            decisions=decisions,
            events=self._events(settings),
            buckets=buckets,
            gates=gates,
            pauses=pauses,
        )
        return _Built(Engine(outputs, policies, world.parts), outputs, logs, bytes_in_flight)

    def _events(self, settings: Settings | None) -> SimulatedEventTarget | None:
        world = self._world
        if not world.batch:
            return None
        return SimulatedEventTarget(
            world.index,
            world.storage,
            world.judge,
            world.chance,
            world.batch,
            self._policies.event_calls,
            settings.skips if settings else _skips_nothing,
        )

    def _inputs(
        self, queues: list[SimulatedQueue], logs: SimulatedLogs, settings: Settings | None, promises: Promises
    ) -> Inputs:
        world, sweeping = self._world, self._world.sweeping
        now = world.loop.time()
        # A queue that does not answer at the start is asked again by its consumer.
        asked = [(queue, None if queue.sqs.is_refusing_since(now) else queue.sqs.facts()) for queue in queues]
        source = settings.source if settings else sweeping.source if sweeping else None
        offset = world.chance.uniform(-world.storage.skew, world.storage.skew) if sweeping else 0.0

        def wall_clock() -> float:
            return self._now() + offset

        return Inputs(
            queues=asked,
            logs=logs,
            sources=settings.sources if settings else Sources([source] if source else []),
            sweeps=[self._sweep(source)] if source and sweeping else [],
            log_sources=[self._sweep(source)] if source and world.kind is Kind.LONG_STOP else [],
            sweep_queue=self._sweep_queue(promises, sweeping.max_entries if sweeping else 20_000, wall_clock),
            wall_clock=wall_clock,
        )

    def _now(self) -> float:
        return EPOCH + self._world.loop.time()

    def _sweep(self, source: LogSource) -> Sweep:
        world, sweeping = self._world, self._world.sweeping
        page, interval = (sweeping.page, sweeping.interval) if sweeping else (10, 0.0)
        listing = SimulatedListing(world.storage, world.outages, world.network, world.judge, page)
        return Sweep(source, listing, interval)

    def _sweep_queue(
        self,
        promises: Promises,
        max_entries: int,
        wall_clock: Callable[[], float] | None = None,
        on_reject: Callable[[LogFile, Reject], None] = lambda _file, _why: None,
    ) -> JudgedSweepQueue:
        return JudgedSweepQueue(
            max_entries,
            wall_clock or self._now,
            check_sweep_delete=promises.check_sweep_delete,
            check_reject=promises.check_sweep_reject,
            on_reject=on_reject,
        )

    def _queues(self, promises: Promises) -> list[SimulatedQueue]:
        world = self._world
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
        if world.discovery is None and world.configuration is None:
            return None
        discovery = world.discovery or Discovery(300.0, has_others=True)
        providers = SimulatedProviders(world.index, world.storage, world.network, discovery)
        return world.parts.bucket_map(
            providers=providers, decisions=decisions, clock=clock, interval=discovery.interval
        )
