"""Runs one seed: a world and its replicas, and checks the promises."""

import asyncio
import gc
import random
import time
from collections import Counter
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from functools import partial
from random import Random
from typing import Any

import msgspec
import structlog

from jibe_sqs.compose.engine import Policies
from jibe_sqs.core.pauses import encoded
from jibe_sqs.syncing.pauses import NOTE
from proof.simulation.access_anywhere import Index
from proof.simulation.judge import Judge, Violation
from proof.simulation.kinds import DAY, HOUR, Kind, Kinds, kind_of
from proof.simulation.ledger import Disk
from proof.simulation.loop import WORLD, SeededLoop, Stuck, close_tasks
from proof.simulation.network import Network, later
from proof.simulation.operator import Operator
from proof.simulation.outages import Outages
from proof.simulation.pauses import OperatorPause
from proof.simulation.promises import check_again, check_end, is_shown
from proof.simulation.providers import SKEW, Discovery
from proof.simulation.replica import Replica
from proof.simulation.settings import Configuration, Mistake, Settings, draw_mistakes
from proof.simulation.sqs import Sqs
from proof.simulation.storage import EPOCH, LOGS, Sender, Storage
from proof.simulation.sweeps import Sweeping
from proof.simulation.watch import Watch
from proof.simulation.world import Parts, World

WRITE_TIME = 100.0
"""Seconds in which objects are written."""
FAULTS_END = 250.0
"""Seconds after which there are no more faults."""
MAX_TIME = DAY
"""Seconds after the faults until every message must be done. One that waits for its bucket is hidden for half a day."""
MAX_SEARCH_TIME = 2 * HOUR
"""Seconds after the faults until every unannounced log file must be found. Prefixes of logs are cached for 600 seconds."""


class Outcome(msgspec.Struct, frozen=True):
    """The result of one seed. `broken`: the broken promise, or None."""

    seed: int
    broken: str | None
    totals: Counter[str]
    digest: str
    trace: list[str]


def run(seed: int, parts: Parts | None = None, *, keep_trace: bool = False) -> Outcome:
    """Run a seed. The same seed has the same result in every process and on every machine."""
    judge = Judge()
    with _isolated(judge, seed, keep_trace=keep_trace):
        simulation = Simulation(seed, judge, parts or Parts())
        broken = simulation.run()
    return Outcome(
        seed, broken, judge.totals, judge.digest() if keep_trace else "", judge.lines() if keep_trace else []
    )


@contextmanager
def _isolated(judge: Judge, seed: int, *, keep_trace: bool) -> Iterator[None]:
    """Isolate the run from this process: from its logs, its random numbers and its garbage collection."""
    config, state, collects = structlog.get_config(), random.getstate(), gc.isenabled()
    wall_clock = time.time
    lowest = 20 if keep_trace else 30 if kind_of(seed) is Kind.SETTINGS else 40

    def log(_logger: Any, level: str, event: MutableMapping[str, Any]) -> str:
        name = str(event["event"])
        judge.logged[name] += level != "debug"
        judge.require(not event.get("exc_info"), "no exception is logged", name)
        if keep_trace and level != "debug":
            judge.note(f"  log {name}", *(f"{key}={event[key]}" for key in event if key != "event"))
        raise structlog.DropEvent

    structlog.configure(processors=[log], wrapper_class=structlog.make_filtering_bound_logger(lowest))
    random.seed(seed)
    time.time = lambda: EPOCH + judge.time()
    gc.disable()
    try:
        yield
    finally:
        time.time = wall_clock
        random.setstate(state)
        structlog.configure(**config)
        if collects:
            gc.enable()


class Simulation:
    """A world with its replicas."""

    def __init__(self, seed: int, judge: Judge, parts: Parts) -> None:
        self._judge = judge
        self._parts = parts
        self._chance = Random(seed)
        self._kinds = Kinds(seed)
        self._replicas: list[Replica] = []
        self._operator: Operator | None = None
        self._corrects_at = self._away_from = 0.0
        order = Random(seed) if self._chance.random() < 0.8 else None
        self._loop = SeededLoop(order, judge.check)
        self._loop.set_exception_handler(self._unhandled)
        judge.time = self._loop.time

    def run(self) -> str | None:
        """Run it. Returns the broken promise, or None."""
        loop, broken = self._loop, None
        asyncio.set_event_loop(None)
        main = loop.create_task(self._main(), context=WORLD.copy())
        try:
            loop.run_until_complete(main)
            self._judge.check()
        except (Violation, Stuck) as violation:
            broken = str(violation)
        self._judge.close()
        loop.set_exception_handler(lambda *_: None)
        loop.close()
        of_operator = self._operator.processes if self._operator else []
        for process in [*(each for replica in self._replicas for each in replica.processes), *of_operator]:
            close_tasks(process)
        main._log_destroy_pending = False  # type: ignore[attr-defined]
        return broken

    def _unhandled(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self._judge.require(
            False, "no error reaches the event loop", context.get("message"), repr(context.get("exception"))
        )

    def _world(self) -> World:
        chance, judge, loop = self._chance, self._judge, self._loop
        sweeping = Sweeping.draw(chance) if chance.random() < 0.25 else None
        batch = chance.choice([1, 2, 5]) if chance.random() < 0.2 else 0
        discovery = Discovery.draw(chance) if chance.random() < 0.15 else None
        network = Network(chance, judge)
        for server in ("s3", "s3 list", "aa places", "aa tasks"):
            network.add(server)
        storage = Storage(chance, judge, loop, is_swept=sweeping is not None)
        world = World(
            loop=loop,
            chance=chance,
            judge=judge,
            network=network,
            storage=storage,
            index=Index(storage, judge, chance),
            queues=[Sqs(f"q{number}", chance, judge, network, loop) for number in range(chance.choice([1, 1, 2]))],
            kind=self._kinds.kind,
            outages=Outages.none(judge),
            bytes_held=Policies().bytes_held,
            has_big_room=False,
            sweeping=sweeping,
            batch=batch,
            discovery=discovery,
            configuration=None,
            parts=self._parts,
        )
        if discovery:
            storage.skew = SKEW
            discovery.plan(world.index, chance)
        else:
            world.index.add()
        self._add_kind(world)
        if discovery and self._kinds.chance.random() < 0.4:
            discovery.list_late(world.index, self._kinds.chance)
        shared = Disk("ledger", network, judge)
        for number in range(
            min(chance.choice([1, 1, 2, 3]), 1 if world.calm_at > DAY / 4 or len(world.queues) > 9 else 3)
        ):
            is_own = chance.random() < 0.3
            disk = Disk(f"ledger {number}", network, judge) if is_own else shared
            self._replicas.append(Replica(f"r{number}", world, disk))
        for number, sqs in enumerate(world.queues):
            sqs.check_again = partial(check_again, world, sqs)
            sqs.is_held = lambda stored, number=number: any(each.holds(number, stored) for each in self._replicas)  # type: ignore[misc]
        return world

    def _add_kind(self, world: World) -> None:
        """Add to a world what its kind has."""
        chance, judge = self._kinds.chance, self._judge
        match world.kind:
            case Kind.PLAIN if (of_pause := self._kinds.chance_of("pause")).random() < 0.3:
                world.pause = OperatorPause.draw(of_pause, write_time=WRITE_TIME, calm_at=FAULTS_END)
                world.aa_away_until = world.calm_at = world.pause.end
                later(world.pause.begin, self._pause, world.pause)
            case Kind.OUTAGE if chance.random() < 0.8:
                world.outages = Outages.draw(chance, judge, is_swept=world.sweeping is not None)
                world.storage.log_buckets = world.outages.buckets
                world.calm_at = world.outages.end
                for sqs in world.queues:
                    sqs.max_receives = chance.choice([10, 10, 5])
                    if world.calm_at > DAY / 4:
                        # Fewer extensions, so that a day takes less time here.
                        sqs.visibility_timeout = 120.0
            case Kind.OUTAGE:
                begin = chance.random() * WRITE_TIME
                world.aa_away_until = world.calm_at = begin + chance.choice([HOUR, DAY])
                later(begin, world.index.gate.close)
                later(world.calm_at, world.index.gate.open)
            case Kind.REFUSING:
                for number in range(len(world.queues), 3):
                    world.queues.append(Sqs(f"q{number}", chance, judge, world.network, self._loop))
                for sqs in world.queues[1:]:
                    begin = chance.choice([0.0, chance.random() * 200])
                    end = begin + chance.choice([60.0, 60.0, HOUR])
                    sqs.refusals.append((begin, end))
                    world.calm_at = max(world.calm_at, end)
            case Kind.SHORT:
                for sqs in world.queues:
                    sqs.visibility_timeout = chance.choice([0.0, 1.0, 5.0])
            case Kind.IDLE:
                world.calm_at = FAULTS_END + 90.0
                world.has_big_room = chance.random() < 0.5
                for number in range(len(world.queues), chance.choice([10, 20, 40])):
                    world.queues.append(Sqs(f"q{number}", chance, judge, world.network, self._loop))
            case Kind.SETTINGS:
                mistakes = draw_mistakes(chance, is_mapped=world.discovery is None)
                world.configuration = Configuration(self._settings(world, mistakes))
                self._corrects_at = chance.uniform(WRITE_TIME / 2, FAULTS_END + WRITE_TIME)
            case Kind.LONG_STOP:
                world.configuration = Configuration(self._settings(world))
                self._add_long_stop(world)
            case Kind.BYTES:
                world.bytes_held = chance.choice([6_000, 20_000, 60_000])
                world.storage.paddings = [0, 1000, 10_000]

    def _pause(self, pause: OperatorPause) -> None:
        self._judge.totals["paused"] += 1
        for replica in self._replicas:
            replica.disk.note(NOTE, encoded([pause.note]))

    @staticmethod
    def _settings(world: World, mistakes: frozenset[Mistake] = frozenset()) -> Settings:
        source = world.sweeping.source if world.sweeping else None
        prefix = source.prefix if source and source.bucket == LOGS else ""
        return Settings(mistakes, discovers=world.discovery is not None, prefix=prefix)

    def _add_long_stop(self, world: World) -> None:
        """Let everything be away for longer than the queues keep messages, or for longer than sweeps look back."""
        chance = self._kinds.chance
        retention, lasts = chance.choice([900.0, 1800.0, 2 * HOUR]), chance.uniform(1.2, 4.0)
        if world.sweeping and chance.random() < 0.5:
            retention, lasts = 14 * DAY, chance.uniform(0.2, 0.4)
        for sqs in world.queues:
            sqs.retention = retention
        self._away_from = FAULTS_END + chance.uniform(150, 300)
        world.aa_away_until = world.calm_at = self._away_from + retention * lasts

    async def _stop_for_long(self, world: World, operator: Operator) -> None:
        chance = self._kinds.chance
        await asyncio.sleep(self._away_from)
        if chance.random() < 0.3:
            world.index.gate.close()
            for _ in range(chance.choice([0, 1, 3])):
                replica = chance.choice(self._replicas)
                later(chance.uniform(0, world.calm_at - self._away_from), chance.choice([replica.stop, replica.crash]))
        else:
            await operator.stop_replicas(crash=chance.random() < 0.5)
        await asyncio.sleep(world.calm_at - self._loop.time())
        world.index.gate.open()
        operator.start_replicas()

    async def _main(self) -> None:
        chance, judge = self._chance, self._judge
        world = self._world()
        gate = world.index.gate
        # Each replica handles all swept files, so such worlds have fewer messages.
        messages = chance.choice([4, 6, 8, 12] if world.sweeping else [4, 6, 8, 12, 20, 30])
        senders: list[Sender] = [sqs.send for sqs in world.queues[:3]]
        world.storage.plan(messages, WRITE_TIME, senders)
        if world.kind is Kind.IDLE:
            world.storage.plan_burst(self._kinds.chance.choice([30, 60]), world.calm_at + 10, world.queues[0].send)
        elif world.kind is Kind.BYTES:
            world.storage.plan_burst(30, 2 * WRITE_TIME, world.queues[0].send)
        elif world.kind is Kind.LONG_STOP:
            away = min(world.calm_at - self._away_from, HOUR)
            # Some messages are in hand when it begins.
            world.storage.plan(5, 60, senders, begin=self._away_from - 60, first=100)
            world.storage.plan(5, away, senders, begin=self._away_from, first=110)
        elif world.calm_at > FAULTS_END:
            # Messages while something is away.
            world.storage.plan(8, min(world.calm_at, HOUR), senders, begin=FAULTS_END, first=100)
        for _ in range(chance.choice([0, 0, 1, 2])):
            away = chance.random() * WRITE_TIME
            later(away, gate.close)
            later(away + chance.random() * 100, gate.open)
        self._plan_late_faults(world)
        running = [asyncio.create_task(replica.run_until_retired()) for replica in self._replicas]
        operator = self._operator = Operator(world, self._replicas, self._kinds.chance)
        if world.kind is Kind.SETTINGS:
            operator.begin(operator.correct_settings(self._corrects_at))
        elif world.kind is Kind.LONG_STOP:
            operator.begin(self._stop_for_long(world, operator))
        await asyncio.sleep(FAULTS_END)
        judge.record("faults ended")
        world.stop_faults()
        for replica in self._replicas:
            replica.stop_faults()
        watch = asyncio.create_task(Watch(world, self._replicas).watch())
        await self._until_done(world, operator)
        watch.cancel()
        for replica in self._replicas:
            replica.retire()
        await asyncio.wait(running)
        for task in running:
            task.result()
        check_end(world)

    def _plan_late_faults(self, world: World) -> None:
        """Stop or crash a replica now and then while something is away."""
        chance = self._kinds.chance
        for _ in range(chance.choice([0, 1, 3]) if world.outages.end > FAULTS_END else 0):
            replica = chance.choice(self._replicas)
            at = chance.uniform(FAULTS_END, world.outages.end)
            later(at, chance.choice([replica.stop, replica.crash]))

    async def _until_done(self, world: World, operator: Operator) -> None:
        storage, require = world.storage, self._judge.require
        calm_at = max(FAULTS_END, world.calm_at)
        while True:
            waiting = [id_ for sqs in world.queues for id_ in sqs.messages]
            unfound = self._unfound(world) if world.sweeping else []
            owed = _owed(world)
            is_busy = any(sqs.redeliveries_due for sqs in world.queues) or operator.is_busy
            if not (waiting or unfound or owed or storage.unsent or is_busy):
                return
            await asyncio.sleep(5)
            now = self._loop.time()
            # After an outage, messages wait for up to half a day.
            longest = DAY if world.outages.end else MAX_SEARCH_TIME
            require(now <= calm_at + MAX_TIME or not waiting, "every message is settled", *waiting)
            require(now <= calm_at + longest or not unfound, "every unannounced log file is found", *unfound)
            require(now <= calm_at + MAX_SEARCH_TIME or not owed, "what was missed is made up for", *owed)

    def _unfound(self, world: World) -> list[str]:
        settled = set[tuple[str, str]]().union(*(replica.disk.settled for replica in self._replicas))
        rules = world.configuration.now.fingerprint.short if world.configuration else ""
        files = world.storage.files.values()
        return [file.key for file in files if not file.is_rejected and (file.key, rules) not in settled]


def _owed(world: World) -> list[str]:
    """The changes that were skipped or whose message expired, and that are not shown yet."""
    configuration = world.configuration
    missed = set(world.unlisted)
    if configuration:
        missed |= configuration.owed.keys() - configuration.beyond_repair
    for sqs in world.queues:
        for id_ in sqs.expired - sqs.dead_letters.keys():
            missed.update(sqs.announcements[id_].events)
    if not missed:
        return []
    refused = {key for key, file in world.storage.files.items() if file.is_refused}
    left = [event for event in missed if event.source not in refused and not is_shown(world, event)]
    return sorted(event.id for event in left)
