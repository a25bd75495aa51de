"""The dry run of a backfill: all files are listed, and some are read by the same handler. Nothing is refreshed."""

import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from random import Random
from typing import Final

from jibe_sqs.adapters.ledgers.memory import MemoryLedger
from jibe_sqs.commands import backfill_jobs
from jibe_sqs.commands.backfill_estimate import Estimate, Listed
from jibe_sqs.compose import stores
from jibe_sqs.compose.backfill import Part, Request, backfill_policies, inputs_of, with_share
from jibe_sqs.compose.engine import Engine, Inputs, Outputs
from jibe_sqs.compose.fingerprint import Fingerprint
from jibe_sqs.compose.world import connected
from jibe_sqs.concurrency.first_of import first_of
from jibe_sqs.concurrency.gates import passable
from jibe_sqs.core.date_folders import Window
from jibe_sqs.core.model import Folder
from jibe_sqs.ports import OtherRefreshes, SyncTarget
from jibe_sqs.settings import Settings
from jibe_sqs.sweeping.backfill import Failures, FoundFiles, Sample
from jibe_sqs.sweeping.sweep_queue import SweepQueue
from jibe_sqs.sweeping.sweeper import Sweep, Sweeper
from jibe_sqs.telemetry.health import Health
from jibe_sqs.telemetry.optional_ledger import OptionalLedger

SAMPLE: Final = 50
SAMPLE_SECONDS: Final = 120.0
"""Files that are read, and seconds until the estimate does without those that are left."""


class NoRefresh(SyncTarget):
    """Treats every folder as refreshed."""

    async def refresh(self, folder: Folder, began: Callable[[], None], others: OtherRefreshes) -> None:  # noqa: ARG002
        """Do nothing."""
        began()


async def estimated(settings: Settings, parts: Sequence[Part], request: Request) -> tuple[Estimate, Window]:
    """The estimate, and the time range. Raises `LedgerError`."""
    settings = with_share(settings, request.concurrency)
    scope = request.scope
    async with AsyncExitStack() as stack:
        aws = await stack.enter_async_context(stores.clients(settings))
        async with stores.opened_ledger(settings, aws) as ledger:
            job = await backfill_jobs.found(
                ledger, scope, Fingerprint.of(settings).short, now=time.time(), restart=request.restart
            )
        world = await connected(settings, aws, stack, health=Health(), since=job.began if scope.again else 0.0)
        # The watermarks of the ledger in memory show which events share a refresh.
        outputs = replace(world.outputs, ledger=MemoryLedger(), target=NoRefresh(), events=None)
        engine = Engine(outputs, backfill_policies(settings, world))
        inputs = inputs_of(settings, parts, world, engine)
        through_aa = [world.client is not None and part.logs.via != "s3" for part in parts]
        estimating = Estimating(engine, outputs, inputs, job.window, OptionalLedger(world.outputs.ledger))
        return await estimating.run(through_aa), job.window


class Estimating:
    """One estimate: lists all files, then reads some."""

    def __init__(
        self, engine: Engine, outputs: Outputs, inputs: Inputs, window: Window, finished: OptionalLedger
    ) -> None:
        """`finished`: the ledger that knows the finished files. That of `outputs` is only for the estimate."""
        self._engine = engine
        self._outputs = outputs
        self._window = window
        self._finished = finished
        self._failures = Failures()
        self._queue = SweepQueue(on_reject=self._failures.rejected)
        self._sample = Sample(SAMPLE, Random(0))  # noqa: S311 - no secret
        self._inputs = replace(inputs, sweep_queue=self._queue, sink=FoundFiles())
        self._listed = {False: Listed(), True: Listed()}
        self._service = engine.service(self._inputs, self._read)

    async def run(self, through_aa: Sequence[bool]) -> Estimate:
        """`through_aa`: whether each of the sweeps lists through Access Anywhere."""
        self._through_aa = through_aa
        await self._service.run()
        counters, counts = self._engine.counters, self._engine.refreshes.counts
        return Estimate(
            in_s3=self._listed[False],
            through_aa=self._listed[True],
            sample=counters.files,
            sample_events=counters.events,
            sample_refreshes=counts["folders"] + counts["trees"],
            failed=self._failures.count,
            first_failure=self._failures.first[0].reason if self._failures.first else "",
        )

    async def _read(self, _: Sweeper) -> None:
        await passable(self._outputs.gates)
        sweeper = Sweeper(
            sweeps=self._inputs.sweeps, queue=self._sample, ledger=self._finished, clock=self._outputs.clock
        )
        for sweep, through_aa in zip(self._inputs.sweeps, self._through_aa, strict=True):
            self._listed[through_aa] = await self._list(sweeper, sweep, self._listed[through_aa])
        await self._queue.offer(self._sample.kept)
        if await first_of(self._emptied(), self._outputs.clock.sleep(SAMPLE_SECONDS)) is None:
            unread = f"{len(self._queue)} files of the sample were not read within {SAMPLE_SECONDS:g} s"
            self._failures.add("", "; ".join([unread, *self._engine.outages.reasons]))

    async def _emptied(self) -> bool:
        await self._queue.emptied()
        return True

    async def _list(self, sweeper: Sweeper, sweep: Sweep, before: Listed) -> Listed:
        sample = self._sample
        files, size, left, bytes_left = sample.files, sample.bytes, sample.files_left, sample.bytes_left
        swept = await sweeper.sweep(sweep, self._window)
        for error in swept.failures:
            self._failures.add("", str(error))
        return Listed(
            before.files + sample.files - files,
            before.bytes + sample.bytes - size,
            before.left + sample.files_left - left,
            before.bytes_left + sample.bytes_left - bytes_left,
            before.folders + swept.folders,
            before.entries + swept.seen,
        )
