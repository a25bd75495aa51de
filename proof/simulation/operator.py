"""The operator: stops the replicas, corrects their settings, and repairs the past when the service asks for it."""

import asyncio
from collections.abc import Coroutine, Sequence
from contextvars import Context
from functools import partial
from random import Random
from typing import Any

from jibe_sqs.sweeping.backfill import Failures
from proof.simulation.loop import PROCESS, Process
from proof.simulation.network import later
from proof.simulation.replica import Replica
from proof.simulation.storage import LOGS
from proof.simulation.world import World

PATIENCE = 900.0
"""Seconds until the operator repairs the past in any case."""
AGAIN = 60.0
"""Seconds until the operator starts a failed command again."""


class Operator:
    """Works on a world and its replicas."""

    def __init__(self, world: World, replicas: Sequence[Replica], chance: Random) -> None:
        self._world = world
        self._replicas = replicas
        self._chance = chance
        self._crashed = asyncio.Event()
        self.processes: list[Process] = []
        """Those of the commands that were run."""
        self._work: asyncio.Task[None] | None = None

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Begin to do something."""
        self._work = asyncio.create_task(work, name="operator")

    @property
    def is_busy(self) -> bool:
        """Whether there is something left to do. Raises the error that ended its work."""
        if self._work is not None and self._work.done():
            self._work.result()
        return self._work is not None and not self._work.done()

    async def correct_settings(self, at: float) -> None:
        """Correct the settings at this time. All replicas are stopped before one starts with other settings."""
        configuration = self._world.configuration
        assert configuration is not None
        await asyncio.sleep(at)
        await self.stop_replicas()
        was_noted = any(replica.disk.has_note("settings") for replica in self._replicas)
        configuration.correct()
        self._world.judge.record("settings corrected")
        self.start_replicas()
        await self._until_warned(must_come=was_noted and self._world.storage.faults_are_over)
        await self._backfill()

    async def stop_replicas(self, *, crash: bool = False) -> None:
        """Stop all replicas, or kill them. Returns when they have ended."""
        for replica in self._replicas:
            replica.hold()
            if crash:
                replica.crash()
        while any(replica.is_running for replica in self._replicas):
            await asyncio.sleep(1.0)

    def start_replicas(self) -> None:
        """Start all replicas again. Some of them are killed while they begin to repair the past."""
        for replica in self._replicas:
            replica.release()
        for _ in range(self._chance.choice([0, 1, 3])):
            later(self._chance.uniform(0, 40), self._chance.choice(self._replicas).crash)

    async def _until_warned(self, *, must_come: bool) -> None:
        judge = self._world.judge
        began = judge.time()
        while not judge.logged["settings_changed"] and judge.time() - began < PATIENCE:
            await asyncio.sleep(5.0)
        judge.require(bool(judge.logged["settings_changed"]) or not must_come, "a change of the settings is logged")

    async def _backfill(self) -> None:
        """Run the command until it succeeds. The first runs may be killed."""
        world, kills = self._world, 3
        while True:
            may_fail = kills > 0 or not world.storage.faults_are_over
            if await self._backfill_once(may_die=kills > 0):
                return
            world.judge.require(may_fail, "a backfill succeeds if nothing fails")
            kills -= 1
            await asyncio.sleep(AGAIN)

    async def _backfill_once(self, *, may_die: bool) -> bool:
        judge, loop = self._world.judge, self._world.loop
        process = Process("backfill")
        self.processes.append(process)
        judge.record("backfill began")
        self._crashed.clear()
        if may_die and self._chance.random() < 0.5:
            process.faults[int(10 ** self._chance.uniform(0.5, 3.0))] = partial(self._crash, process)
        failures = Failures()
        context = Context()
        context.run(PROCESS.set, process)
        composed, backfill = context.run(self._chance.choice(self._replicas).composer.backfill, failures)
        task = loop.create_task(composed.run(), name="backfill", context=context)
        crash = asyncio.create_task(self._crashed.wait())
        await asyncio.wait([task, crash], return_when=asyncio.FIRST_COMPLETED)
        crash.cancel()
        if not process.is_alive:
            return False
        process.is_alive = False
        judge.require(not task.cancelled() and task.exception() is None, "a backfill ends by itself", task)
        left = [each.get_name() for each in process.tasks if not each.done()]
        judge.require(not left, "no task is left over", process.name, *left)
        judge.record("backfill ended", failures.count)
        return backfill.has_ended and self._are_expected(failures)

    def _are_expected(self, failures: Failures) -> bool:
        """Whether only files failed that can never be read."""
        files = self._world.storage.files
        return all(
            failure.file and files[failure.file.removeprefix(f"s3://{LOGS}/")].is_refused for failure in failures.first
        )

    def _crash(self, process: Process) -> None:
        self._world.judge.record("backfill crashed")
        process.is_alive = False
        self._crashed.set()
