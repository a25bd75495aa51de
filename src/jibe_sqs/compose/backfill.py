"""A backfill from settings: the parts of a service, without queues, for the log files of a window of time."""

import asyncio
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final

from jibe_sqs.commands import backfill_jobs
from jibe_sqs.commands.backfill_jobs import Job, Scope
from jibe_sqs.commands.backfill_progress import Counts
from jibe_sqs.compose import rules, stores
from jibe_sqs.compose.engine import Engine, Inputs, Outputs, Policies
from jibe_sqs.compose.fingerprint import Fingerprint
from jibe_sqs.compose.log_access import LogAccess
from jibe_sqs.compose.world import World, connected, policies
from jibe_sqs.core.errors import SettingsError
from jibe_sqs.core.sources import EVERY_BUCKET, LogSource, Sources
from jibe_sqs.core.verdicts import RetryPolicy
from jibe_sqs.ports import Found, Listing
from jibe_sqs.settings import LogSettings, Settings
from jibe_sqs.sweeping.backfill import Backfill, BucketGate, Failures, FoundFiles
from jibe_sqs.sweeping.sweep_queue import SweepQueue
from jibe_sqs.sweeping.sweeper import Sweep, Sweeper
from jibe_sqs.telemetry.health import Health

SHARE: Final = 4
"""A backfill has a quarter of the service's refreshes at a time: changes of now come first."""
READING_EACH: Final = 4
"""Log files that are read at the same time, for each refresh at a time."""
HELD: Final = 256
"""Files that are read, and wait for their refreshes. A kill costs their work, so they are fewer than those of a service."""
MAX_RECEIVES: Final = 5
LONGEST_RETRY: Final = 60.0
"""Tries of one file, and seconds between two of them. A service tries longer, but a command must end."""
DRAIN_TIMEOUT: Final = 30.0
"""Seconds after Ctrl-C to finish the files in hand."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What an operator asked for. `concurrency`: refreshes at a time; None for a quarter of the service's."""

    scope: Scope
    restart: bool = False
    concurrency: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """Configured logs, and the part of them to process; empty for all of it."""

    logs: LogSettings
    bucket: str = ""
    prefix: str = ""


def selected(settings: Settings, bucket: str, prefix: str | None) -> tuple[Settings, list[Part]]:
    """The parts of the configured logs in this bucket and below this prefix. A bucket without logs is added to them.

    Raises `SettingsError` if there are none.
    """
    parts = []
    for each in settings.logs:
        if bucket and each.bucket not in (bucket, EVERY_BUCKET):
            continue
        wanted = prefix or ""
        if wanted.startswith(each.prefix):
            parts.append(Part(logs=each, bucket=bucket, prefix=wanted))
        elif each.prefix.startswith(wanted):
            parts.append(Part(logs=each, bucket=bucket))
    if parts:
        return settings, parts
    if not bucket or prefix is None:
        text = (
            "no configured logs are in this bucket and below this prefix: for a bucket that is not in `logs`, give both"
        )
        raise SettingsError([f"{text} --bucket and --prefix"])
    try:
        added = LogSettings(bucket=bucket, prefix=prefix)
    except ValueError as error:
        raise SettingsError([f"--bucket {bucket}: not the name of a log bucket"]) from error
    return settings.model_copy(update={"logs": (*settings.logs, added)}), [Part(logs=added)]


class Running:
    """A backfill that is connected to everything."""

    def __init__(
        self, engine: Engine, outputs: Outputs, inputs: Inputs, job: Job, *, counts_ahead: bool = True
    ) -> None:
        """`inputs`: the log files, without queues. Each of their `sweeps` is done once.

        `counts_ahead`: list all files at once, only to count them. Listing S3 twice costs little, and shows at once how much
        there is. Through Access Anywhere, it would cost many calls.
        """
        self.job = job
        self.failures = Failures()
        self._engine = engine
        self._sweeps = inputs.sweeps
        buckets = BucketGate(lambda: engine.outages.reasons, outputs.clock)
        queue = SweepQueue(on_reject=self.failures.rejected)
        self._found = FoundFiles(queue)
        self._ahead = FoundFiles()
        self._is_ahead = False
        self._counting = (
            Sweeper(sweeps=inputs.sweeps, queue=self._ahead, ledger=engine.ledger, clock=outputs.clock)
            if counts_ahead
            else None
        )
        self._backfill = Backfill(
            sweeps=inputs.sweeps,
            window=job.window,
            queue=queue,
            failures=self.failures,
            gates=outputs.gates,
            buckets=buckets,
            clock=outputs.clock,
        )
        self._service = engine.service(
            replace(inputs, sweep_queue=queue, sink=self._found, gates=[buckets]), self._work
        )

    @property
    def counts(self) -> Counts:
        """Where it is now."""
        counters, found = self._engine.counters, self._found
        is_ahead = self._is_ahead and not self._backfill.is_listed
        total = self._ahead if is_ahead else found
        return Counts(
            files=max(total.files, found.files),
            bytes=max(total.bytes, found.bytes),
            is_total=is_ahead or self._backfill.is_listed,
            settled=found.finished + counters.done + counters.rejected,
            read=counters.files,
            bytes_read=counters.bytes,
            events=counters.events,
            refreshes=_refreshes(self._engine),
            failed=self.failures.count,
            waits_for=self._backfill.waits_for,
        )

    @property
    def has_ended(self) -> bool:
        """Whether each file is done or failed. False if it was stopped before."""
        return self._backfill.has_ended

    async def run(self) -> None:
        """Process all files, or until SIGTERM or Ctrl-C."""
        await self._engine.pauses.read(self._engine.ledger)
        await self._service.run()
        if self.has_ended and not self.failures.count:
            await self._engine.ledger.note(self.job.note, backfill_jobs.ended(self.job, now=time.time()))

    def stop(self) -> None:
        """Finish only the files in hand."""
        self._service.stop()

    async def _work(self, sweeper: Sweeper) -> None:
        counting = asyncio.create_task(self._count(), name="count the files")
        try:
            await self._backfill.run(sweeper)
        finally:
            counting.cancel()
            await asyncio.gather(counting, return_exceptions=True)

    async def _count(self) -> None:
        if self._counting is not None:
            for sweep in self._sweeps:
                await self._counting.sweep(sweep, self.job.window)
            self._is_ahead = True


@asynccontextmanager
async def backfill(settings: Settings, parts: Sequence[Part], request: Request) -> AsyncIterator[Running]:
    """A backfill, connected to everything. Raises `LedgerError`."""
    settings = with_share(settings, request.concurrency)
    scope = request.scope
    async with AsyncExitStack() as stack:
        aws = await stack.enter_async_context(stores.clients(settings))
        async with stores.opened_ledger(settings, aws) as ledger:
            # The ledger is opened again: when the job began decides which files are finished.
            job = await backfill_jobs.begun(
                ledger, scope, Fingerprint.of(settings).short, now=time.time(), restart=request.restart
            )
        world = await connected(settings, aws, stack, health=Health(), since=job.began if scope.again else 0.0)
        engine = Engine(world.outputs, backfill_policies(settings, world))
        inputs = inputs_of(settings, parts, world, engine)
        in_s3 = world.client is None or all(part.logs.via == "s3" for part in parts)
        yield Running(engine, world.outputs, inputs, job, counts_ahead=in_s3)


def inputs_of(settings: Settings, parts: Sequence[Part], world: World, engine: Engine) -> Inputs:
    """The log files, with a sweep of each part, and without queues."""
    access = LogAccess(settings, world, engine)
    return Inputs(
        queues=(),
        logs=access.logs,
        sources=access.sources,
        sweeps=[_sweep(part, access) for part in parts],
        verifiers=stores.verifiers(settings, world.aws),
    )


def with_share(settings: Settings, concurrency: int | None) -> Settings:
    """The settings with the backfill's own number of refreshes at a time."""
    aa = settings.access_anywhere
    own = concurrency or max(1, aa.concurrency // SHARE)
    return settings.model_copy(update={"access_anywhere": aa.model_copy(update={"concurrency": own})})


def _sweep(part: Part, access: LogAccess) -> Sweep:
    source = rules.log_source(part.logs)
    return Sweep(
        source,
        OwnFiles(access.listing(part.logs), access.sources, source),
        interval=0.0,
        days=part.logs.sweep_days,
        only_bucket=part.bucket,
        only_prefix=part.prefix,
    )


class OwnFiles(Listing):
    """A listing without the files that belong to another source: the first matching source counts."""

    def __init__(self, listing: Listing, sources: Sources, source: LogSource) -> None:
        self._listing = listing
        self._sources = sources
        self._source = source

    async def level(self, bucket: str, prefix: str) -> AsyncGenerator[Found | str, None]:
        """List one level."""
        async with aclosing(self._listing.level(bucket, prefix)) as entries:
            async for each in entries:
                if isinstance(each, str) or self._sources.of(bucket, each.file.key) == self._source:
                    yield each

    async def has(self, bucket: str, prefix: str) -> bool:
        """Whether there is anything below the prefix."""
        return await self._listing.has(bucket, prefix)

    async def buckets(self) -> Sequence[str]:
        """The buckets that we may list."""
        return await self._listing.buckets()


def backfill_policies(settings: Settings, world: World) -> Policies:
    """The service's, for less work at the same time, and for fewer tries."""
    usual = policies(settings, world.client)
    reading = min(usual.messages_reading, READING_EACH * settings.access_anywhere.concurrency)
    return replace(
        usual,
        retry=RetryPolicy(usual.retry.first, min(usual.retry.longest, LONGEST_RETRY), MAX_RECEIVES),
        messages_reading=reading,
        # If a log bucket is in an outage, half of the messages can wait for it.
        messages_held=min(usual.messages_held, max(HELD, 4 * reading)),
        receivers=1,
        drain_timeout=min(usual.drain_timeout, DRAIN_TIMEOUT),
        progress_interval=0.0,
        # The service prunes the ledger.
        retain=math.inf,
    )


def _refreshes(engine: Engine) -> int:
    return sum(count for kind, count in engine.refreshes.counts.items() if kind != "failed")
