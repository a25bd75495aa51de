"""A backfill: the log files of a window of time are processed, whether or not they were announced.

Each source is swept once, with the window. The files go into a sweep queue, and from there to the same consumer and handler
as all others. The backfill ends when each of them is done or rejected. There is no dead-letter queue: rejected files are
listed.

    sweeps ──> FoundFiles (counts) ──> SweepQueue ──> consumer ──> done | rejected: a failure
"""

import asyncio
from collections.abc import Callable, Sequence
from random import Random
from typing import Final

import msgspec

from jibe_sqs.concurrency.first_of import first_of
from jibe_sqs.concurrency.gates import passable
from jibe_sqs.core.date_folders import Window
from jibe_sqs.core.model import LogFile, Reject
from jibe_sqs.ports import Clock, Gate
from jibe_sqs.sweeping.sweep_queue import SweepQueue
from jibe_sqs.sweeping.sweeper import Sink, Sweep, Sweeper

MAX_FAILURES: Final = 1000
"""Failures that are kept with their reasons. The others are only counted."""
BUCKET_PATIENCE: Final = 300.0
"""Seconds for which a log bucket may be unreadable before the backfill gives up. A service would wait for ever."""
LOOK_INTERVAL: Final = 1.0
"""Seconds between two looks at the outages of log buckets."""


class Failure(msgspec.Struct, frozen=True):
    """A file, or a folder of a log bucket, that could not be processed."""

    file: str
    """`s3://BUCKET/KEY`; empty if the reason names it."""
    reason: str


class Failures:
    """What could not be processed: all of it is counted, and the first part of it kept."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[Failure] = []

    def add(self, file: str, reason: str) -> None:
        """Add one."""
        self.count += 1
        if len(self.first) < MAX_FAILURES:
            self.first.append(Failure(file, reason))

    def rejected(self, file: LogFile, why: Reject) -> None:
        """Add a rejected file."""
        self.add(str(file), why.reason)


class FoundFiles:
    """Counts the files that sweeps find, and passes them on to `sink`, if there is one."""

    def __init__(self, sink: Sink | None = None) -> None:
        self._sink = sink
        self.files = 0
        self.bytes = 0
        self.finished = 0
        """Files that the ledger knows as finished: they are not read again."""

    def missing(self, files: Sequence[LogFile]) -> list[LogFile]:
        """Count the files, and return those that the sink does not have."""
        self.files += len(files)
        self.bytes += sum(file.size or 0 for file in files)
        if self._sink is None:
            return []
        missing = self._sink.missing(files)
        # Until the ledger is asked, they count as finished.
        self.finished += len(missing)
        return missing

    async def offer(self, files: Sequence[LogFile]) -> int:
        """Pass on the files that are not finished."""
        self.finished -= len(files)
        return await self._sink.offer(files) if self._sink is not None else 0


class Sample(FoundFiles):
    """Counts the files that are not finished, and keeps some of them, each with the same probability."""

    def __init__(self, size: int, random: Random) -> None:
        super().__init__()
        self.files_left = 0
        self.bytes_left = 0
        self.kept: list[LogFile] = []
        self._size = size
        self._random = random

    def missing(self, files: Sequence[LogFile]) -> list[LogFile]:
        """Count the files. All of them are missing."""
        super().missing(files)
        return list(files)

    async def offer(self, files: Sequence[LogFile]) -> int:
        """Count the files that are not finished. None is processed."""
        for file in files:
            self.files_left += 1
            self.bytes_left += file.size or 0
            if len(self.kept) < self._size:
                self.kept.append(file)
            elif (at := self._random.randrange(self.files_left)) < self._size:
                self.kept[at] = file
        return 0


class BucketGate(Gate):
    """Closed while a log bucket cannot be read. Otherwise files would be delayed by a quarter of an hour each time."""

    def __init__(self, reasons: Callable[[], Sequence[str]], clock: Clock) -> None:
        """`reasons` returns a sentence for each outage."""
        self._reasons = reasons
        self._clock = clock

    @property
    def reason(self) -> str:
        """Why a log bucket cannot be read. Empty if all can be read."""
        return next(iter(self._reasons()), "")

    async def passable(self) -> None:
        """Wait until all log buckets can be read."""
        while self.reason:
            await self._clock.sleep(LOOK_INTERVAL)


class Backfill:
    """One run of a backfill. Its counts may be read at any moment."""

    def __init__(
        self,
        *,
        sweeps: Sequence[Sweep],
        window: Window,
        queue: SweepQueue,
        failures: Failures,
        gates: Sequence[Gate],
        buckets: Gate,
        clock: Clock,
    ) -> None:
        """`queue` reports rejected files to `failures`.

        `gates`: nothing begins while one of them has a reason. `buckets`: after some minutes, its reason ends the backfill.
        """
        self._sweeps = sweeps
        self._window = window
        self._queue = queue
        self._gates = gates
        self._buckets = buckets
        self._clock = clock
        self.failures = failures
        self.is_listed = False
        """All files of the window are known."""
        self.has_ended = False
        """Each of them is done, or is a failure. False if the backfill was interrupted."""

    @property
    def waits_for(self) -> str:
        """Why nothing happens now. Empty if it works."""
        return next((gate.reason for gate in (*self._gates, self._buckets) if gate.reason), "")

    async def run(self, sweeper: Sweeper) -> None:
        """Offer all files of the window, and wait until each is done or rejected. `sweeper`: its files come to the queue."""
        if await first_of(self._do_all(sweeper), self._gives_up()) is None:
            reason = self._buckets.reason
            self.failures.add("", f"{reason}: gave up after {BUCKET_PATIENCE:g} s")
            self.failures.count += len(self._queue)
        self.has_ended = True

    async def _do_all(self, sweeper: Sweeper) -> bool:
        await passable(self._gates)
        async with asyncio.TaskGroup() as group:
            for sweep in self._sweeps:
                group.create_task(self._sweep(sweeper, sweep), name=f"backfill {sweep.bucket}/{sweep.prefix}")
        self.is_listed = True
        await self._queue.emptied()
        return True

    async def _sweep(self, sweeper: Sweeper, sweep: Sweep) -> None:
        for error in (await sweeper.sweep(sweep, self._window)).failures:
            self.failures.add("", f"{type(error).__name__}: {error}")

    async def _gives_up(self) -> None:
        readable = self._clock.monotonic()
        while (now := self._clock.monotonic()) - readable < BUCKET_PATIENCE:
            if not self._buckets.reason:
                readable = now
            await self._clock.sleep(LOOK_INTERVAL)
