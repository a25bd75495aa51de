"""One replica: the real service, composed anew for each of its lives, and what befalls it."""

import asyncio
from collections.abc import Sequence
from contextvars import Context
from functools import partial
from random import Random

from jibe_sqs.budget import Budget
from jibe_sqs.consumer import GIVING_BACK, LAST_RECEIVE, Consumer
from jibe_sqs.core.decisions import Decisions
from jibe_sqs.core.errors import TRANSIENT, JibeError
from jibe_sqs.core.formats.limits import Limits
from jibe_sqs.core.model import Message, Reject
from jibe_sqs.core.sources import Sources
from jibe_sqs.core.verdicts import RetryPolicy
from jibe_sqs.handler import Handler
from jibe_sqs.operations.activity import Activity
from jibe_sqs.operations.health import Health
from jibe_sqs.operations.tally import Tally
from jibe_sqs.ports import Ledger, SyncTarget
from jibe_sqs.refreshes import Refreshes
from jibe_sqs.service import Service
from simulation.access_anywhere import Index, SimulatedTarget
from simulation.judge import Judge
from simulation.ledger import Disk, SimulatedLedger
from simulation.logs import WINDOW, SimulatedLogs
from simulation.loop import PROCESS, Process, SeededLoop
from simulation.network import Network, later
from simulation.sqs import SimulatedQueue, Sqs, Stored
from simulation.storage import EPOCH, Storage

WAIT = 20.0
"""Seconds of a long poll."""
MOMENT = 0.001


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


class Parts:
    """The classes of which a service is made; mutations put others in their place."""

    handler: type[Handler] = Handler
    refreshes: type[Refreshes] = Refreshes
    consumer: type[Consumer] = Consumer
    has_margin: bool = True


class Replica:
    """Lives, dies, is stopped, and comes again, until it is `retired`."""

    def __init__(
        self,
        name: str,
        *,
        loop: SeededLoop,
        chance: Random,
        judge: Judge,
        network: Network,
        storage: Storage,
        index: Index,
        queues: Sequence[Sqs],
        disk: Disk,
        parts: Parts,
    ) -> None:
        self.name = name
        self._loop = loop
        self._chance = chance
        self._judge = judge
        self._network = network
        self._storage = storage
        self._index = index
        self._queues = queues
        self._disk = disk
        self._parts = parts
        self.processes: list[Process] = []
        self._crashed = asyncio.Event()
        self._process: Process | None = None
        self._consumers: list[Consumer] = []
        self._service: Service | None = None
        self._stopped_at: float | None = None
        self._is_retired = False
        self._may_die = True
        self._reading_size = chance.choice([2, 5, 16])
        self._held_size = chance.choice([3, 12, 100])
        self._bytes_size = chance.choice([WINDOW, 3 * WINDOW, 100 * WINDOW])
        self._drain = chance.choice([1.0, 30.0, 100.0])
        self._policy = RetryPolicy(chance.choice([1.0, 10.0]), 60.0)
        self._receivers = chance.choice([1, 2])
        self._min_interval = chance.choice([0.0, 0.0, 20.0])
        self._retain = chance.choice([100.0, 1e9])
        self._places = chance.choice([1, 3, 2000])

    # What befalls it

    async def live(self) -> None:
        """Life after life."""
        while not self._is_retired:
            await self._live_once()
            if not self._is_retired:
                await asyncio.sleep(self._chance.random() * (20 if self._may_die else 1))

    def spare(self) -> None:
        """From now on it lives."""
        self._may_die = False
        if self._process is not None:
            self._process.fates.clear()

    def retire(self) -> None:
        """Stop it for good."""
        self._is_retired = True
        self._stop()

    async def _live_once(self) -> None:
        process = self._process = Process(f"{self.name}.{len(self.processes)}")
        self.processes.append(process)
        self._crashed.clear()
        self._stopped_at = None
        self._judge.saw("started", process.name)
        if self._may_die:
            self._draw_fate(process)
        context = Context()
        context.run(PROCESS.set, process)
        service = context.run(self._compose)
        process.check = self._check
        task = self._loop.create_task(service.run(), name=process.name, context=context)
        crash = asyncio.create_task(self._crashed.wait())
        await asyncio.wait([task, crash], return_when=asyncio.FIRST_COMPLETED)
        crash.cancel()
        if process.is_alive:
            self._ended(process, task)
        self._process = self._service = None
        self._consumers = []

    def _draw_fate(self, process: Process) -> None:
        chance = self._chance
        luck = chance.random()
        step = int(10 ** chance.uniform(0.5, 4.0))
        if luck < 0.4:
            process.fates[step] = partial(self._crash, process)
        elif luck < 0.5:
            process.fates[step] = partial(self._hang, process)
        elif luck < 0.65:
            process.fates[step] = partial(self._cut_off, process)
            # What it then does when it is stopped is worth seeing.
            if chance.random() < 0.5:
                process.fates[step + int(10 ** chance.uniform(0.0, 2.5))] = self._stop
        elif luck < 0.9:
            process.fates[step] = self._stop
            if chance.random() < 0.3:
                process.fates[step + int(10 ** chance.uniform(0.0, 2.5))] = partial(self._crash, process)

    def _crash(self, process: Process) -> None:
        self._judge.saw("crashed", process.name)
        process.is_alive = False
        self._crashed.set()

    def _hang(self, process: Process) -> None:
        self._judge.saw("hung", process.name)
        self._loop.hang(process, self._chance.random() * 100)

    def _cut_off(self, process: Process) -> None:
        process.cut_off, process.was_cut_off = self._chance.choice(["q", "s3", "ledger", "aa"]), True
        self._judge.saw("cut off", process.name, process.cut_off)
        later(self._chance.random() * 100, self._let_through, process)

    def _let_through(self, process: Process) -> None:
        process.cut_off = None

    def _stop(self) -> None:
        if self._service is not None and self._stopped_at is None:
            self._judge.saw("stopped", self.name)
            self._stopped_at = self._loop.time()
            self._service.stop()

    # What is promised

    def holds(self, queue: int, stored: Stored) -> bool:
        """Whether a living process of it means to keep this message hidden."""
        process = self._process
        if process is None or not process.is_alive or process.was_hung or not self._consumers:
            return False
        held = self._consumers[queue]._holds._held.get(stored.id)
        return held is not None and held.receipt == stored.receipt and not held.settling and not held.lost

    def _check(self) -> None:
        """Limits, at every step."""
        held = 0
        for consumer in self._consumers:
            held += len(consumer._holds._held)
        in_flight = self._logs.in_flight
        is_within = held <= self._held_size and in_flight <= self._bytes_size
        for budget in self._budgets:
            is_within = is_within and 0 <= budget.free <= budget.size
        if not is_within:
            sizes = [(budget.free, budget.size) for budget in self._budgets]
            self._judge.demand(False, "the limits hold", f"{held} held", f"{in_flight} bytes", sizes)

    def _ended(self, process: Process, task: "asyncio.Task[None]") -> None:
        demand, now = self._judge.demand, self._loop.time()
        self._judge.saw("ended", process.name)
        demand(not task.cancelled() and task.exception() is None, "the service ends by itself", process.name, task)
        demand(self._stopped_at is not None, "the service runs until it is stopped", process.name)
        # Housekeeping is cancelled after it, at once.
        latest = (self._stopped_at or 0.0) + self._drain + LAST_RECEIVE + GIVING_BACK + MOMENT
        demand(
            now <= latest or process.was_hung, "the service ends within its deadline", now - (self._stopped_at or 0.0)
        )
        # Calls that nobody answers are not waited for.
        left = [] if process.was_cut_off else [each.get_name() for each in process.tasks if not each.done()]
        demand(not left, "no task is left over", process.name, *left)
        for budget in self._budgets:
            demand(budget.free == budget.size, "everything is given back at the end", budget.free, budget.size)
        process.is_alive = False
        process.ended_at = now
        if not process.was_cut_off:
            process.haunts = lambda handle: demand(False, "nothing wakes after the end", process.name, handle)

    def _is_over(self) -> bool:
        """Whether the deadline has passed, and the time for a last receive."""
        over = self._drain + LAST_RECEIVE - MOMENT
        return self._stopped_at is not None and self._loop.time() - self._stopped_at >= over

    def _may_delete(self, sqs: Sqs, id_: str) -> None:
        told, demand = sqs.told[id_], self._judge.demand
        if id_ in sqs.dead:
            return
        demand(not told.is_hopeless, "a message that cannot be done is dead-lettered before it is deleted", id_)
        for event in told.events:
            demand(
                self._index.succeeded[event.folder] >= event.moment,
                "deleted before a refresh that began after the event",
                id_,
                event.folder,
            )
        for file in told.files:
            demand(file.key in self._disk.settled, "deleted before its file was finished", id_, file.key)

    def _may_reject(self, sqs: Sqs, message: Message, why: Reject) -> None:
        is_spent = sqs.max_receives is not None and message.receive_count >= sqs.max_receives
        is_permanent = sqs.told[message.id].is_hopeless and _is_permanent(why.error)
        self._judge.demand(is_spent or is_permanent, "rejected without a reason", message.id, why.error)

    # The service

    def _compose(self) -> Service:
        chance, judge, network = self._chance, self._judge, self._network
        tally = Tally()
        clock = Clock(self._loop, chance.uniform(0.0, 1.0) + chance.uniform(-self._storage.skew, self._storage.skew))
        ledger: Ledger = SimulatedLedger(self._disk, network, judge, self._retain)
        in_flight = Budget(self._bytes_size)
        self._logs = clock.logs = SimulatedLogs(self._storage, network, judge, chance, in_flight)
        reading, held = Budget(self._reading_size), Budget(self._held_size)
        self._budgets = [reading, held, in_flight]
        simulated = SimulatedTarget(self._index, self._storage, judge, chance)
        target: SyncTarget = simulated
        refreshes = self._parts.refreshes(
            target=target,
            ledger=ledger,
            clock=clock,
            # Of two clocks that differ.
            margin=2 * self._storage.skew if self._parts.has_margin else 0.0,
            min_interval=self._min_interval,
            tree_interval=30.0,
        )
        refreshes._places = self._places
        simulated.refresh_other = refreshes.refresh
        handler = self._parts.handler(
            sources=Sources(),
            logs=self._logs,
            limits=Limits(),
            decisions=Decisions(),
            ledger=ledger,
            refreshes=refreshes,
            tally=tally,
            activity=Activity(clock),
        )
        self._consumers = [
            self._parts.consumer(
                queue=SimulatedQueue(
                    sqs,
                    network,
                    judge,
                    may_delete=partial(self._may_delete, sqs),
                    may_reject=partial(self._may_reject, sqs),
                    is_over=self._is_over,
                ),
                facts=sqs.facts(),
                handler=handler,
                policy=self._policy,
                reading=reading,
                held=held,
                clock=clock,
                tally=tally,
                wait=WAIT,
                receivers=self._receivers,
                gates=[self._index.gate],
            )
            for sqs in self._queues
        ]
        self._service = Service(
            consumers=self._consumers,
            refreshes=refreshes,
            ledger=ledger,
            tally=tally,
            health=Health(),
            drain_timeout=self._drain,
            progress_interval=0,
            retain=self._retain,
        )
        return self._service


def _is_permanent(name: str) -> bool:
    classes = [JibeError]
    for each in classes:
        classes += each.__subclasses__()
    return any(each.__name__ == name and each.disposition is not TRANSIENT for each in classes)
