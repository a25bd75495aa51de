"""Carries out the disturbances, restarts replicas that ended, and counts both."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Final

import msgspec

from jibe_sqs.sandbox.world import World
from proof.chaos.proxy import Fault
from proof.chaos.replicas import Exit, Replica
from proof.chaos.schedule import Disturbance, Kind, System

SLOW_CALLS: Final = {"slow": {"seconds": 0.4}}
"""Access Anywhere without disturbance: slow enough that a killed replica has unfinished work."""
RESTART_DELAY: Final = 0.5
"""Seconds until a replica that ended by itself is started again, as an orchestrator does."""


class Counts(msgspec.Struct):
    """What happened to the replicas."""

    disturbances: Counter[Kind] = msgspec.field(default_factory=Counter)
    partitions: Counter[tuple[System, Fault]] = msgspec.field(default_factory=Counter)
    kills_hung: int = 0
    ends: list[Exit] = msgspec.field(default_factory=list)
    """Exits after SIGTERM."""
    starts: int = 0
    failed_starts: int = 0
    """Replicas that ended by themselves before they were ready: a system was unreachable, or the disk was full."""
    crashes: list[str] = msgspec.field(default_factory=list)
    """The ends of the logs of replicas that ended by themselves later."""


class Monkey:
    """Carries out disturbances. Each disturbance ends by itself, so there is no fault when all of them have ended."""

    def __init__(self, world: World, replicas: Sequence[Replica], seed: int) -> None:
        self.done = Counts()
        self._world = world
        self._replicas = replicas
        self._seed = seed

    def start(self, replica: Replica) -> None:
        replica.start()
        self.done.starts += 1

    async def carry_out(self, disturbances: Sequence[Disturbance], until: asyncio.Event) -> None:
        """Carry out all disturbances, each at its time. Those later than `until` are left out."""
        began = time.monotonic()
        await asyncio.to_thread(self._world.set_faults, **SLOW_CALLS)
        async with asyncio.TaskGroup() as group:
            for disturbance in disturbances:
                with suppress(TimeoutError):
                    async with asyncio.timeout(max(0.0, began + disturbance.at - time.monotonic())):
                        await until.wait()
                if until.is_set():
                    break
                group.create_task(self._do(disturbance))
        await asyncio.to_thread(self._world.set_faults)

    async def restart_ended(self) -> None:
        """Start each replica that ended by itself again, until cancelled."""
        while True:
            for replica in self._replicas:
                if not replica.is_running and not replica.is_stopping:
                    if replica.has_crashed:
                        self.done.crashes.append(replica.log_tail)
                    else:
                        self.done.failed_starts += 1
                    await asyncio.sleep(RESTART_DELAY)
                    self.start(replica)
            await asyncio.sleep(0.1)

    async def stop(self, replica: Replica) -> None:
        """Stop the replica with SIGTERM and do not start it again."""
        replica.is_stopping = True
        if replica.is_running:
            self.done.ends.append(await replica.terminate())

    async def _do(self, disturbance: Disturbance) -> None:
        match disturbance.kind:
            case Kind.KILL:
                await self._kill(disturbance)
            case Kind.HANG:
                await self._hang(disturbance)
            case Kind.TERM:
                await self._term(disturbance)
            case Kind.PARTITION:
                await self._partition(disturbance)
            case Kind.CLOCK:
                self.done.disturbances[disturbance.kind] += 1
                self._replicas[disturbance.replica].step_clock(disturbance.ahead)
            case Kind.FULL_DISK:
                await self._full_disk(disturbance)
            case Kind.AA_FAILS:
                await self._access_anywhere(disturbance, failures=0.1, seed=self._seed)
            case Kind.AA_DOWN:
                await self._access_anywhere(disturbance, down={"seconds": disturbance.seconds})

    async def _kill(self, disturbance: Disturbance) -> None:
        victim = self._victim(disturbance, lambda replica: replica.is_running and not replica.is_stopping)
        if victim is None:
            return
        self.done.disturbances[disturbance.kind] += 1
        self.done.kills_hung += victim.is_hung
        victim.is_stopping = True
        await victim.kill()
        await self._start_again(victim, disturbance)

    async def _term(self, disturbance: Disturbance) -> None:
        # Before a replica is ready, SIGTERM has its default effect. A hung replica does not handle signals.
        victim = self._victim(
            disturbance, lambda replica: replica.is_up and not replica.is_stopping and not replica.is_hung
        )
        if victim is None:
            return
        self.done.disturbances[disturbance.kind] += 1
        victim.is_stopping = True
        self.done.ends.append(await victim.terminate())
        await self._start_again(victim, disturbance)

    async def _start_again(self, victim: Replica, disturbance: Disturbance) -> None:
        await asyncio.sleep(disturbance.seconds)
        self.start(victim)
        victim.is_stopping = False

    async def _hang(self, disturbance: Disturbance) -> None:
        victim = self._victim(
            disturbance, lambda replica: replica.is_up and not replica.is_stopping and not replica.is_hung
        )
        if victim is None:
            return
        self.done.disturbances[disturbance.kind] += 1
        victim.hang()
        pid = victim.pid
        await asyncio.sleep(disturbance.seconds)
        if victim.pid == pid:
            victim.resume()

    async def _partition(self, disturbance: Disturbance) -> None:
        victim = self._victim(disturbance, lambda replica: replica.links[disturbance.system].is_clear)
        if victim is None:
            return
        self.done.partitions[disturbance.system, disturbance.fault] += 1
        victim.links[disturbance.system].set_fault(disturbance.fault)
        await asyncio.sleep(disturbance.seconds)
        victim.links[disturbance.system].set_fault(None)

    async def _full_disk(self, disturbance: Disturbance) -> None:
        disk = self._replicas[disturbance.replica].disk
        if not disk.can_be_full or disk.is_full:
            return
        self.done.disturbances[disturbance.kind] += 1
        disk.fill()
        await asyncio.sleep(disturbance.seconds)
        disk.empty()

    async def _access_anywhere(self, disturbance: Disturbance, **faults: object) -> None:
        """Set faults for all replicas.

        If two disturbances overlap, the later one replaces the faults, and the earlier one's end clears all.
        """
        self.done.disturbances[disturbance.kind] += 1
        await asyncio.to_thread(self._world.set_faults, **SLOW_CALLS, **faults)
        await asyncio.sleep(disturbance.seconds)
        await asyncio.to_thread(self._world.set_faults, **SLOW_CALLS)

    def _victim(self, disturbance: Disturbance, suitable: Callable[[Replica], bool]) -> Replica | None:
        """The disturbance's replica, or the next one that is suitable."""
        return next(filter(suitable, self._from(disturbance.replica)), None)

    def _from(self, first: int) -> Iterator[Replica]:
        return islice([*self._replicas, *self._replicas], first, first + len(self._replicas))
