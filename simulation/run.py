"""One seed: a world, its replicas, and the judgement."""

import asyncio
import gc
import random
from collections import Counter
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from random import Random
from typing import Any

import msgspec
import structlog

from simulation.access_anywhere import Index
from simulation.judge import Judge, Violation
from simulation.ledger import Disk
from simulation.loop import WORLD, SeededLoop, Stuck, bury
from simulation.network import Network, later
from simulation.replica import Parts, Replica
from simulation.sqs import Sqs
from simulation.storage import Event, Storage

SPAN = 100.0
"""Seconds in which all is written."""
ILL = 250.0
"""Seconds after which nothing fails any more."""
LONGEST = 4 * 3600.0
"""Seconds after that, until everything has to be done."""


class Outcome(msgspec.Struct, frozen=True):
    """`broken`: the promise, if any."""

    seed: int
    broken: str | None
    totals: Counter[str]
    digest: str
    trace: list[str]


def run(seed: int, parts: Parts | None = None, *, keep_trace: bool = False) -> Outcome:
    """The same for the same seed, each time and everywhere."""
    judge = Judge()
    with _apart(judge, seed, keep_trace=keep_trace):
        simulation = Simulation(seed, judge, parts or Parts())
        broken = simulation.run()
    return Outcome(
        seed, broken, judge.totals, judge.digest() if keep_trace else "", judge.lines() if keep_trace else []
    )


@contextmanager
def _apart(judge: Judge, seed: int, *, keep_trace: bool) -> Iterator[None]:
    """Nothing of the process around it gets in, nor out: its logs, its random numbers, its garbage collection."""
    config, state, collects = structlog.get_config(), random.getstate(), gc.isenabled()

    def log(_logger: Any, level: str, event: MutableMapping[str, Any]) -> str:
        name = str(event["event"])
        judge.demand(not event.get("exc_info"), "no defect comes to light", name)
        if keep_trace and level != "debug":
            judge.trace.append(
                (judge.time(), f"  log {name}", tuple(f"{key}={event[key]}" for key in event if key != "event"))
            )
        raise structlog.DropEvent

    structlog.configure(processors=[log], wrapper_class=structlog.make_filtering_bound_logger(20 if keep_trace else 40))
    random.seed(seed)
    gc.disable()
    try:
        yield
    finally:
        random.setstate(state)
        structlog.configure(**config)
        if collects:
            gc.enable()


class Simulation:
    """Everything that there is."""

    def __init__(self, seed: int, judge: Judge, parts: Parts) -> None:
        self._judge = judge
        self._parts = parts
        self._chance = Random(seed)
        self._replicas: list[Replica] = []
        order = Random(seed) if self._chance.random() < 0.8 else None
        self._loop = SeededLoop(order, judge.check)
        self._loop.set_exception_handler(self._unhandled)
        judge.time = self._loop.time

    def run(self) -> str | None:
        """What was broken, if anything."""
        loop, broken = self._loop, None
        asyncio.set_event_loop(None)
        main = loop.create_task(self._main(), context=WORLD.copy())
        try:
            loop.run_until_complete(main)
            self._judge.check()
        except Violation as violation:
            broken = str(violation)
        except Stuck:
            broken = "everything waits for ever"
        loop.set_exception_handler(lambda *_: None)
        loop.close()
        for replica in self._replicas:
            for process in replica.processes:
                bury(process)
        main._log_destroy_pending = False  # type: ignore[attr-defined]
        return broken

    def _unhandled(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self._judge.demand(False, "nothing goes wrong unseen", context.get("message"), repr(context.get("exception")))

    async def _main(self) -> None:
        chance, judge, loop = self._chance, self._judge, self._loop
        network = Network(chance, judge)
        network.add("s3")
        storage = Storage(chance, judge, loop)
        index = Index(storage, judge, chance)
        queues = [Sqs(f"q{number}", chance, judge, network, loop) for number in range(chance.choice([1, 1, 2]))]
        shared = Disk("ledger", network, judge)
        for number in range(chance.choice([1, 1, 2, 3])):
            is_own = chance.random() < 0.3
            disk = Disk(f"ledger {number}", network, judge) if is_own else shared
            self._replicas.append(
                Replica(
                    f"r{number}",
                    loop=loop,
                    chance=chance,
                    judge=judge,
                    network=network,
                    storage=storage,
                    index=index,
                    queues=queues,
                    disk=disk,
                    parts=self._parts,
                )
            )
        for number, sqs in enumerate(queues):
            sqs.is_held = lambda stored, number=number: any(each.holds(number, stored) for each in self._replicas)  # type: ignore[misc]
        storage.live(chance.choice([4, 6, 8, 12, 20, 30]), SPAN, [sqs.send for sqs in queues])
        for _ in range(chance.choice([0, 0, 1, 2])):
            away = chance.random() * SPAN
            later(away, index.gate.shut)
            later(away + chance.random() * 100, index.gate.open)
        lives = [asyncio.create_task(replica.live()) for replica in self._replicas]
        await asyncio.sleep(ILL)
        judge.saw("all is well")
        network.mend()
        index.mend()
        storage.is_quiet = True
        for sqs in queues:
            sqs.mend()
        for replica in self._replicas:
            replica.spare()
        while storage.untold or any(sqs.messages or sqs.due for sqs in queues):
            await asyncio.sleep(5)
            if loop.time() > ILL + LONGEST:
                waiting = [id_ for sqs in queues for id_ in sqs.messages]
                judge.demand(False, "every message comes to its end", *waiting)
        for replica in self._replicas:
            replica.retire()
        await asyncio.wait(lives)
        for life in lives:
            life.result()
        self._judge_end(storage, index, queues)

    def _judge_end(self, storage: Storage, index: Index, queues: list[Sqs]) -> None:
        done: dict[Event, str] = {}
        given_up: set[Event] = set()
        for sqs in queues:
            for id_, told in sqs.told.items():
                if id_ in sqs.dead:
                    given_up.update(told.events)
                else:
                    done.update(dict.fromkeys(told.events, id_))
        for event, id_ in done.items():
            for path in storage.below(event.folder):
                seen = index.read_at.get(path, 0) > event.moment
                self._judge.demand(seen, "read after the last event", id_, path)
        unsure = {path for event in given_up - done.keys() for path in storage.below(event.folder)}
        for path, objects in storage.folders.items():
            shown = index.shown.get(path, {})
            self._judge.demand(path in unsure or shown == objects, "in the end the index is true", path, shown, objects)
