"""Sweeps: log files that nobody announced are found by looking, and handled like those that somebody did.

For stores without notifications, and for notifications that get lost. Each sweep lists the recent folders whole, and
asks the ledger about whatever it finds: there is no mark of what was seen last, for a file may come late, under a name
that sorts before those of files that came earlier. What the ledger does not know goes, as a message, into a queue in
memory, and from there to the same consumer and handler. Nothing in it needs to survive: the next sweep finds it again.
Where sweeps were kept from their end for days, the next looks back to the last that was not.

    roots ──levels──> folders that may hold recent files ──candidates──> ledger: unfinished ──> SweepQueue ──> consumer
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import Final

import msgspec
import structlog

from jibe_sqs.concurrency.gates import passable
from jibe_sqs.concurrency.tree_walk import walked
from jibe_sqs.core import date_folders
from jibe_sqs.core.errors import LogStoreError
from jibe_sqs.core.log_names import Format, format_of, holds_no_logs, no_log
from jibe_sqs.core.model import LogFile
from jibe_sqs.core.sources import EVERY_BUCKET, LogSource, holds
from jibe_sqs.ports import Clock, Found, Gate, Ledger, Listing
from jibe_sqs.sweeping.sweep_queue import SweepQueue
from jibe_sqs.telemetry import optional_ledger

log = structlog.get_logger()

LEVELS: Final = 8
"""How many folders of a source are listed at a time."""
BATCH: Final = 400
"""Files that the ledger is asked about at once."""
REST: Final = 1.0
"""Seconds between two sweeps of a source, at least, however long the first took."""
ROOTS_AGE: Final = 600.0
"""Seconds for which the places of logs in a bucket are known."""
LONGEST_GAP: Final = 14
"""Days for which no sweep was complete that the next makes up for: as long as SQS would keep a message."""
LOOKED_AT: Final = 10_000
"""Entries at a bucket's top among which the places of logs are looked for."""
AWS_LOGS: Final = "AWSLogs/"
DAY: Final = 86_400.0


class Sweep(msgspec.Struct, frozen=True):
    """What to sweep: a source, listed by `listing`, every `interval` seconds, for the last `days`, today included."""

    source: LogSource
    listing: Listing
    interval: float
    days: int = 2


class Sweeper:
    """Sweeps each source at its own times. `counts`: sweeps, folders, files `seen` and `offered`, and failures."""

    def __init__(
        self,
        *,
        sweeps: Sequence[Sweep],
        queue: SweepQueue,
        ledger: Ledger,
        clock: Clock,
        gates: Sequence[Gate] = (),
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """`gates`: no sweep begins while one of them is not passable.

        `wall_clock` says which day it is: S3's may not be known yet.
        """
        self._sweeps = sweeps
        self._queue = queue
        self._ledger = ledger
        self._unreadable = optional_ledger.unreadable()
        self._clock = clock
        self._gates = gates
        self._wall_clock = wall_clock
        self._roots: dict[tuple[Sweep, str], tuple[list[str], float]] = {}
        self._complete: dict[Sweep, float] = {}
        self._passed_over: set[tuple[Sweep, str]] = set()
        self.counts: Counter[str] = Counter()

    async def run(self) -> None:
        """Sweep until cancelled. Nothing is lost by it: what is not handled yet is found again."""
        async with asyncio.TaskGroup() as group:
            for sweep in self._sweeps:
                group.create_task(self._sweep_forever(sweep), name=f"sweep {sweep.source.bucket}/{sweep.source.prefix}")

    async def sweep(self, sweep: Sweep) -> None:
        """One sweep of one source. Raises nothing that the next sweep may not meet."""
        started = self._clock.monotonic()
        now = self._wall_clock()
        since = max(self._complete.get(sweep, now), now - LONGEST_GAP * DAY)
        window = date_folders.recent(now, sweep.days, since=since)
        turn = _Turn(sweep, self._queue, self._ledger, self._unreadable, window)
        try:
            buckets = [sweep.source.bucket]
            if sweep.source.bucket == EVERY_BUCKET:
                buckets = list(await sweep.listing.buckets())
            for bucket in buckets:
                await self._sweep_bucket(turn, bucket)
        except LogStoreError as error:
            turn.failures.append(error)
        if not turn.failures or sweep not in self._complete:
            self._complete[sweep] = now
        self._tell(turn, self._clock.monotonic() - started)

    async def _sweep_forever(self, sweep: Sweep) -> None:
        while True:
            await passable(self._gates)
            started = self._clock.monotonic()
            try:
                await self.sweep(sweep)
            except Exception:
                # A defect of ours. The other sources, and the next turn, must not suffer by it.
                log.exception("sweep_crashed", bucket=sweep.source.bucket, prefix=sweep.source.prefix)
            await self._clock.sleep(max(REST, started + sweep.interval - self._clock.monotonic()))

    async def _sweep_bucket(self, turn: "_Turn", bucket: str) -> None:
        sweep, failures = turn.sweep, len(turn.failures)
        for root in await self._roots_in(turn, bucket):
            await turn.walk(bucket, root)
        if sweep.source.bucket != EVERY_BUCKET:
            return
        # Many a bucket of an account is nobody's to read: that is said once.
        mine = (sweep, bucket)
        if len(turn.failures) == failures:
            self._passed_over.discard(mine)
            return
        if mine not in self._passed_over:
            self._passed_over.add(mine)
            log.warning("bucket_passed_over", bucket=bucket, reason=str(turn.failures[failures]))
        del turn.failures[failures:]

    async def _roots_in(self, turn: "_Turn", bucket: str) -> list[str]:
        """The prefixes below which logs are: as configured, or CloudTrail's places, or else the whole bucket."""
        sweep = turn.sweep
        source = sweep.source
        if source.prefix:
            return [source.prefix]
        if source.format not in (None, Format.CLOUDTRAIL) and source.bucket != EVERY_BUCKET:
            return [""]
        now = self._clock.monotonic()
        roots, looked = self._roots.get((sweep, bucket), ([], float("-inf")))
        if now - looked > ROOTS_AGE:
            found, failures = await _aws_logs(sweep.listing, bucket)
            turn.failures += failures
            if failures:
                # What could not be told is looked for again by the next sweep; until then what was known counts.
                return list(dict.fromkeys([*roots, *found]))
            roots = found
            self._roots[sweep, bucket] = roots, now
        return roots or ([] if source.bucket == EVERY_BUCKET else [""])

    def _tell(self, turn: "_Turn", seconds: float) -> None:
        about = {"bucket": turn.sweep.source.bucket, "prefix": turn.sweep.source.prefix}
        found = {"folders": turn.folders, "seen": turn.seen, "offered": turn.offered}
        self.counts.update(found, sweeps=1, failures=len(turn.failures))
        if turn.failures:
            log.warning("sweep_failed", **about, failures=len(turn.failures), reason=str(turn.failures[0]))
        report = log.info if turn.offered else log.debug
        report("swept", **about, **found, seconds=round(seconds, 3))


class _Turn:
    """One sweep of one source."""

    def __init__(
        self,
        sweep: Sweep,
        queue: SweepQueue,
        ledger: Ledger,
        unreadable: optional_ledger.Lapses,
        window: date_folders.Days,
    ) -> None:
        self.sweep = sweep
        self.folders = 0
        self.seen = 0
        self.offered = 0
        self.failures: list[LogStoreError] = []
        self._queue = queue
        self._ledger = ledger
        self._unreadable = unreadable
        self._window = window

    async def walk(self, bucket: str, root: str) -> None:
        """List everything below the root that may be recent, several folders at a time, and offer what is new."""
        await walked(root, lambda prefix: self._level(bucket, root, prefix), most=LEVELS)

    async def _level(self, bucket: str, root: str, prefix: str) -> list[str]:
        """Offer the files of one folder; returns those below it that are worth a look."""
        below: list[str] = []
        batch: list[LogFile] = []
        self.folders += 1
        try:
            async with aclosing(self.sweep.listing.level(bucket, prefix)) as entries:
                async for each in entries:
                    if isinstance(each, str):
                        if self._is_worth_a_look(each, root):
                            below.append(each)
                        continue
                    self.seen += 1
                    if self._is_candidate(each, root):
                        batch.append(each.file)
                    if len(batch) >= BATCH:
                        await self._offer(batch)
                        batch = []
        except LogStoreError as error:
            # The other folders may do better. This one is looked at again by the next sweep.
            self.failures.append(error)
        await self._offer(batch)
        return below

    def _is_worth_a_look(self, folder: str, root: str) -> bool:
        # What the operator says, the root, is not judged.
        if holds_no_logs(folder) and not holds_no_logs(root):
            return False
        return date_folders.may_hold_recent(folder.removeprefix(root), self._window)

    def _is_candidate(self, found: Found, root: str) -> bool:
        file, source = found.file, self.sweep.source
        if file.size == 0 or file.key.endswith("/") or no_log(file.key):
            return False
        # Among whatever else a bucket holds, a log file is one by its name.
        if not (source.prefix or source.format or format_of(file.key)):
            return False
        if not holds(source.bucket, source.prefix, file.key):
            return False
        return date_folders.is_recent(file.key.removeprefix(root), found.modified, self._window)

    async def _offer(self, batch: list[LogFile]) -> None:
        # Before the ledger is asked: what is finished while it answers would seem to be neither finished nor in hand.
        unfinished = new = self._queue.missing(batch)
        if not new:
            return
        # Without it nothing is known: more is read, and nothing lost.
        with self._unreadable:
            unfinished = await self._ledger.unfinished(new)
        self.offered += await self._queue.offer(unfinished)


async def _aws_logs(listing: Listing, bucket: str) -> tuple[list[str], list[LogStoreError]]:
    """Where a bucket has `AWSLogs/`: at its top, or below one of the prefixes there. And what could not be told, and why."""
    tops: list[str] = []
    failures: list[LogStoreError] = []
    looked_at = 0
    try:
        async with aclosing(listing.level(bucket, "")) as entries:
            async for each in entries:
                if isinstance(each, str):
                    tops.append(each)
                looked_at += 1
                if looked_at >= LOOKED_AT:
                    break
    except LogStoreError as error:
        failures.append(error)
    wanted = [AWS_LOGS, *(f"{top}{AWS_LOGS}" for top in tops if top != AWS_LOGS)]
    found: list[str] = []
    for first in range(0, len(wanted), LEVELS):
        some = wanted[first : first + LEVELS]
        answers = await asyncio.gather(*(listing.has(bucket, prefix) for prefix in some), return_exceptions=True)
        for prefix, answer in zip(some, answers, strict=True):
            if isinstance(answer, LogStoreError):
                failures.append(answer)
            elif isinstance(answer, BaseException):
                raise answer
            elif answer:
                found.append(prefix)
    return found, failures
