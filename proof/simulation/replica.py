"""One replica: it starts the real service again and again, and faults happen to it."""

import asyncio
from collections.abc import Callable
from contextvars import Context
from functools import partial

from jibe_sqs.concurrency.budget import Budget
from jibe_sqs.consuming.consumer import GIVING_BACK, LAST_POLL, LAST_RECEIVE, SPARE_RECEIVES
from proof.simulation.composition import Composed, Composer
from proof.simulation.ledger import Disk
from proof.simulation.loop import PROCESS, Process
from proof.simulation.network import later
from proof.simulation.sqs import Sqs, Stored
from proof.simulation.world import World

TOLERANCE = 0.001


def _budgets(composed: Composed) -> list[Budget]:
    room = composed.room
    return [room.reading, room.held, room.held_bytes]


class Replica:
    """Runs the service, which dies or is stopped, and starts it again, until `retire` is called."""

    def __init__(self, name: str, world: World, disk: Disk) -> None:
        self.name = name
        self.disk = disk
        self._loop = world.loop
        self._chance = world.chance
        self._judge = world.judge
        self.composer = Composer(world, disk, self._may_abandon_receive)
        self.processes: list[Process] = []
        self._crashed = asyncio.Event()
        self._process: Process | None = None
        self._composed: Composed | None = None
        self._stopped_at: float | None = None
        self._is_retired = False
        self._may_start = asyncio.Event()
        self._may_start.set()
        self._may_fail = True

    async def run_until_retired(self) -> None:
        """Start one process after the other."""
        while not self._is_retired:
            await self._may_start.wait()
            await self._run_once()
            if not self._is_retired:
                await asyncio.sleep(self._chance.random() * (20 if self._may_fail else 1))

    def stop_faults(self) -> None:
        """Let no faults happen from now on."""
        self._may_fail = False
        if self._process is not None:
            self._process.faults.clear()

    def hold(self) -> None:
        """Stop it, and do not start it before `release` is called."""
        self._may_start.clear()
        self._stop()

    def release(self) -> None:
        """Let it start again."""
        self._may_start.set()

    @property
    def is_running(self) -> bool:
        """Whether it has a process."""
        return self._process is not None

    def retire(self) -> None:
        """Stop it, and do not start it again."""
        self._is_retired = True
        self._stop()

    async def _run_once(self) -> None:
        process = self._process = Process(f"{self.name}.{len(self.processes)}")
        self.processes.append(process)
        self._crashed.clear()
        self._stopped_at = None
        self._judge.record("started", process.name)
        if self._may_fail:
            self._draw_fault(process)
        context = Context()
        context.run(PROCESS.set, process)
        composed = self._composed = context.run(self.composer.compose)
        process.check = self._checks(composed)
        task = self._loop.create_task(composed.run(), name=process.name, context=context)
        crash = asyncio.create_task(self._crashed.wait())
        await asyncio.wait([task, crash], return_when=asyncio.FIRST_COMPLETED)
        crash.cancel()
        if process.is_alive:
            self._ended(process, composed, task)
        self._process = self._composed = None

    def _draw_fault(self, process: Process) -> None:
        chance = self._chance
        luck = chance.random()
        step = int(10 ** chance.uniform(0.5, 4.0))
        if luck < 0.4:
            process.faults[step] = partial(self._crash, process)
        elif luck < 0.5:
            process.faults[step] = partial(self._hang, process)
        elif luck < 0.65:
            process.faults[step] = partial(self._disconnect, process)
            # A stop while it is disconnected is a case of its own.
            if chance.random() < 0.5:
                process.faults[step + int(10 ** chance.uniform(0.0, 2.5))] = self._stop
        elif luck < 0.9:
            process.faults[step] = self._stop
            if chance.random() < 0.3:
                process.faults[step + int(10 ** chance.uniform(0.0, 2.5))] = partial(self._crash, process)

    def _crash(self, process: Process) -> None:
        self._judge.record("crashed", process.name)
        process.is_alive = False
        self._crashed.set()

    def _hang(self, process: Process) -> None:
        self._judge.record("hung", process.name)
        self._loop.hang(process, self._chance.random() * 100)

    def _disconnect(self, process: Process) -> None:
        process.disconnected_from, process.was_disconnected = self._chance.choice(["q", "s3", "ledger", "aa"]), True
        self._judge.record("disconnected", process.name, process.disconnected_from)
        later(self._chance.random() * 100, self._reconnect, process)

    def _reconnect(self, process: Process) -> None:
        process.disconnected_from = None

    def _stop(self) -> None:
        if self._composed is not None and self._stopped_at is None:
            self._judge.record("stopped", self.name)
            self._stopped_at = self._loop.time()
            if self._process is not None:
                self._process.was_stopped = True
            self._composed.service.stop()

    def holds(self, queue: int, stored: Stored) -> bool:
        """Whether a live process of this replica holds this message, so that it must stay hidden."""
        process, composed = self._process, self._composed
        if process is None or composed is None or not process.is_alive or process.was_hung:
            return False
        held = composed.consumers[queue]._holds._held.get(stored.id)
        return held is not None and held.receipt == stored.receipt and not held.settling and not held.lost

    def held(self) -> list[tuple[Sqs, Stored]]:
        """The messages that a working process of this replica holds."""
        process, composed = self._process, self._composed
        if process is None or composed is None or not process.is_undisturbed:
            return []
        return [
            (queue.sqs, stored)
            for queue, consumer in zip(composed.queues, composed.consumers, strict=False)
            for held in consumer._holds
            if (stored := queue.sqs.stored(held.receipt)) is not None and not held.settling
        ]

    @property
    def messages_held(self) -> int:
        """The limit of held messages."""
        return self.composer.messages_held

    @property
    def has_room(self) -> bool:
        """Whether it works, and has room for one message more."""
        process, composed = self._process, self._composed
        if process is None or composed is None or not process.is_undisturbed:
            return False
        return all(budget.free > 0 for budget in _budgets(composed))

    def check_idle(self) -> None:
        """Check that long polls hold nothing. Called when no step is in progress."""
        process, composed = self._process, self._composed
        if process is None or composed is None or not process.is_undisturbed:
            return
        is_idle = not any(queue.batches_in_flight for queue in composed.queues) and not any(
            len(consumer._holds) for consumer in composed.consumers
        )
        for budget in _budgets(composed):
            is_free = budget.free == budget.size
            self._judge.require(is_free or not is_idle, "idle polls hold nothing", budget.free, budget.size)

    def crash(self) -> None:
        """Crash now, if it runs."""
        if self._process is not None and self._process.is_alive:
            self._crash(self._process)

    def stop(self) -> None:
        """Stop now. Then it starts again."""
        self._stop()

    def _checks(self, composed: Composed) -> Callable[[], None]:
        """A check of the limits, for every step. The message that ends an idle poll of a queue may be beyond them."""
        consumers, logs, room = composed.consumers, composed.logs, composed.room
        beyond = len(consumers)
        most_held, most_bytes = self.messages_held + beyond, self.composer.bytes_in_flight
        overdrafts = {
            room.reading: beyond,
            room.held: beyond,
            room.held_bytes: self.composer.bytes_of_a_round(beyond),
            composed.bytes_in_flight: 0,
        }

        def check() -> None:
            held = 0
            for consumer in consumers:
                held += len(consumer._holds._held)
            is_within = held <= most_held and logs.in_flight <= most_bytes
            for budget, overdraft in overdrafts.items():
                is_within = is_within and -overdraft <= budget.free <= budget.size
            if not is_within:
                sizes = [(budget.free, budget.size) for budget in overdrafts]
                found = f"{held} held", f"{logs.in_flight} bytes", sizes
                self._judge.require(False, "the limits are kept", *found)

        return check

    def _ended(self, process: Process, composed: Composed, task: "asyncio.Task[None]") -> None:
        require, now = self._judge.require, self._loop.time()
        self._judge.record("ended", process.name)
        require(not task.cancelled() and task.exception() is None, "the service ends by itself", process.name, task)
        require(self._stopped_at is not None, "the service runs until it is stopped", process.name)
        # Background work is cancelled after that, and ends at once.
        latest = (
            max(self._stopped_at or 0.0, composed.serves_since)
            + self.composer.drain
            + LAST_RECEIVE
            + GIVING_BACK
            + TOLERANCE
        )
        require(
            now <= latest or process.was_hung, "the service ends within its deadline", now - (self._stopped_at or 0.0)
        )
        # The service does not wait for calls that are never answered.
        left = [] if process.was_disconnected else [each.get_name() for each in process.tasks if not each.done()]
        require(not left, "no task is left over", process.name, *left)
        for budget in (*_budgets(composed), composed.bytes_in_flight):
            require(
                budget.free == budget.size,
                "all units of the budgets are given back at the end",
                budget.free,
                budget.size,
            )
        process.is_alive = False
        process.ended_at = now
        if not process.was_disconnected:
            process.on_wake_after_end = lambda handle: require(
                False, "no callback runs after the end", process.name, handle
            )

    def _may_abandon_receive(self, *, is_long: bool, max_receives: int | None) -> bool:
        """Whether the drain deadline and the time for a last receive have passed. An idle long poll may be abandoned before."""
        if self._stopped_at is None:
            return False
        passed = self._loop.time() - self._stopped_at
        is_spare = max_receives is None or max_receives >= SPARE_RECEIVES
        least = LAST_POLL if is_long and is_spare else self.composer.drain + LAST_RECEIVE
        return passed >= least - TOLERANCE
