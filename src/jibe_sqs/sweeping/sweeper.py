"""Sweeps: find log files that were not announced, by listing, and handle them like announced ones.

They serve stores without notifications, and find files whose notification was lost. Each sweep lists the recent folders
completely, and asks the ledger about every file. There is no marker of the last file seen, because a file may arrive late
under a name that sorts before earlier files. Files that the ledger does not know go as messages into a queue in memory,
and from there to the same consumer and handler. That queue need not survive a restart: the next sweep finds the files
again. If sweeps could not be completed for days, the next one looks back to the last complete one. The ledger remembers when
that was, so the same holds after a stop, however long it was.

    roots ──levels──> folders that may hold recent files ──candidates──> ledger: unfinished ──> SweepQueue ──> consumer
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Final, Protocol

import msgspec
import structlog

from jibe_sqs.concurrency.gates import passable
from jibe_sqs.concurrency.tree_walk import walk_tree
from jibe_sqs.core import date_folders
from jibe_sqs.core.date_folders import Window
from jibe_sqs.core.errors import LogStoreError, LogStoreUnavailable, without_frames
from jibe_sqs.core.formats.format import Format
from jibe_sqs.core.formats.registry import format_of
from jibe_sqs.core.log_names import holds_no_logs, no_log
from jibe_sqs.core.model import LogFile
from jibe_sqs.core.sources import EVERY_BUCKET, LogSource, holds
from jibe_sqs.ports import Clock, Found, Gate, Listing
from jibe_sqs.sweeping.past_sweeps import PastSweeps, Unfinished
from jibe_sqs.telemetry.optional_ledger import OptionalLedger

log = structlog.get_logger()

LISTINGS: Final = 8
"""Folders of a source that are listed at a time."""
PORTION: Final = 1000
"""Folders at one level after which the level is listed no further until they have been visited."""
BATCH: Final = 400
"""Files in one question to the ledger."""
MIN_PAUSE: Final = 1.0
"""Seconds between two sweeps of a source, however long the first one took."""
ROOTS_AGE: Final = 600.0
"""Seconds after which the prefixes of logs in a bucket are searched again."""
PASSED_OVER_AFTER: Final = 86_400.0
"""Seconds. If every bucket is swept, one that cannot be listed for longer must not make each sweep look further back."""
MAX_TOP_ENTRIES: Final = 10_000
"""Entries at the top of a bucket that are searched for prefixes of logs."""
AWS_LOGS: Final = "AWSLogs/"


class Sweep(msgspec.Struct, frozen=True):
    """What to sweep: a source, by its `listing`, every `interval` seconds, over the last `days` including today.

    `only_bucket`, `only_prefix`: the part of the source to sweep; empty for all of it. The prefix is below the source's.
    """

    source: LogSource
    listing: Listing
    interval: float
    days: int = 2
    only_bucket: str = ""
    only_prefix: str = ""

    @property
    def bucket(self) -> str:
        """The bucket to sweep, or `EVERY_BUCKET`."""
        return self.only_bucket or self.source.bucket

    @property
    def prefix(self) -> str:
        """The prefix to sweep; empty for the whole bucket."""
        return self.only_prefix or self.source.prefix


class Sink(Protocol):
    """Takes the files that sweeps find."""

    def missing(self, files: Sequence[LogFile]) -> list[LogFile]:
        """The files that it does not have."""

    async def offer(self, files: Sequence[LogFile]) -> int:
        """Take the files that are new to it, and return their number. May wait until there is room."""


class Swept(msgspec.Struct, frozen=True):
    """What a sweep found. It is complete if there are no `failures`. `seen`, `offered`: files."""

    folders: int
    seen: int
    offered: int
    failures: Sequence[LogStoreError]


class Sweeper:
    """Sweeps each source at its interval. `counts`: sweeps, folders, files `seen` and `offered`, failures."""

    def __init__(
        self,
        *,
        sweeps: Sequence[Sweep],
        queue: Sink,
        ledger: OptionalLedger,
        clock: Clock,
        gates: Sequence[Gate] = (),
        unfinished: Unfinished | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """`gates`: no sweep begins while one of them has a reason against new work.

        `unfinished`: says when the files that a sweep found are done. Without it, the ledger does not remember sweeps.

        `wall_clock` gives the date: S3's clock may not be known yet.
        """
        self._sweeps = sweeps
        self._queue = queue
        self._ledger = ledger
        self._clock = clock
        self._gates = gates
        self._wall_clock = wall_clock
        self._roots: dict[tuple[Sweep, str], tuple[list[str], float]] = {}
        self._past = PastSweeps(ledger, unfinished)
        self._skipped_buckets: dict[tuple[Sweep, str], float] = {}
        """Those that cannot be listed, and since when, by the monotonic clock."""
        self.counts: Counter[str] = Counter()

    async def run(self) -> None:
        """Sweep until cancelled. Cancelling loses nothing: files that are not handled yet are found again."""
        async with asyncio.TaskGroup() as group:
            for sweep in self._sweeps:
                group.create_task(self._sweep_forever(sweep), name=f"sweep {sweep.source.bucket}/{sweep.source.prefix}")

    async def sweep(self, sweep: Sweep, window: Window | None = None) -> Swept:
        """Do one sweep of one source. Failures of the store are logged, counted and returned, not raised.

        `window`: look for the files of this time, in place of the recent ones.
        """
        started = self._clock.monotonic()
        now = self._wall_clock()
        if window is None:
            days = date_folders.recent(now, sweep.days, since=await self._past.since(sweep.source, now))
        else:
            days = window.days(sweep.days - 1)
        turn = _Turn(sweep, self._queue, self._ledger, days, window)
        try:
            buckets = [sweep.bucket]
            if sweep.bucket == EVERY_BUCKET:
                buckets = list(await sweep.listing.buckets())
            for bucket in buckets:
                await self._sweep_bucket(turn, bucket)
        except LogStoreError as error:
            turn.failures.append(without_frames(error))
        finally:
            # Also if the sweep is cancelled: the consumer may have read the files that it offered.
            self.counts.update(turn.found, failures=len(turn.failures))
        if window is None:
            await self._past.ended(sweep.source, now, is_complete=not (turn.failures or turn.passed_over))
        self._report(turn, self._clock.monotonic() - started)
        return Swept(**turn.found, failures=(*turn.failures, *turn.passed_over))

    async def _sweep_forever(self, sweep: Sweep) -> None:
        while True:
            await passable(self._gates)
            started = self._clock.monotonic()
            try:
                await self.sweep(sweep)
            except Exception:
                # A defect of ours. It must not stop the other sources or the next sweep.
                log.exception("sweep_crashed", bucket=sweep.source.bucket, prefix=sweep.source.prefix)
            await self._clock.sleep(max(MIN_PAUSE, started + sweep.interval - self._clock.monotonic()))

    async def _sweep_bucket(self, turn: "_Turn", bucket: str) -> None:
        sweep, failures = turn.sweep, len(turn.failures)
        for root in await self._roots_in(turn, bucket):
            await turn.walk(bucket, root)
        if sweep.bucket != EVERY_BUCKET:
            return
        # Many buckets of an account may be unreadable for us. Each is logged once.
        skipped = (sweep, bucket)
        if len(turn.failures) == failures:
            self._skipped_buckets.pop(skipped, None)
            return
        now = self._clock.monotonic()
        if skipped not in self._skipped_buckets:
            self._skipped_buckets[skipped] = now
            log.warning("bucket_passed_over", bucket=bucket, reason=str(turn.failures[failures]))
        found = turn.failures[failures:]
        del turn.failures[failures:]
        # An outage of one bucket must not hide its files from a sweep that looks far back.
        if now - self._skipped_buckets[skipped] < PASSED_OVER_AFTER:
            turn.passed_over += [each for each in found if isinstance(each, LogStoreUnavailable)]

    async def _roots_in(self, turn: "_Turn", bucket: str) -> list[str]:
        """The prefixes with logs: the configured one, or those of CloudTrail, or else the whole bucket."""
        sweep = turn.sweep
        source = sweep.source
        if sweep.prefix:
            return [sweep.prefix]
        if source.format not in (None, Format.CLOUDTRAIL) and source.bucket != EVERY_BUCKET:
            return [""]
        now = self._clock.monotonic()
        roots, looked = self._roots.get((sweep, bucket), ([], float("-inf")))
        if now - looked > ROOTS_AGE:
            found, failures = await _aws_logs(sweep.listing, bucket)
            turn.failures += failures
            if failures:
                # The next sweep searches again. Until then, the prefixes that were known still count.
                return list(dict.fromkeys([*roots, *found]))
            roots = found
            self._roots[sweep, bucket] = roots, now
        return roots or ([] if sweep.bucket == EVERY_BUCKET else [""])

    def _report(self, turn: "_Turn", seconds: float) -> None:
        about = {"bucket": turn.sweep.bucket, "prefix": turn.sweep.prefix}
        self.counts["sweeps"] += 1
        if turn.failures:
            log.warning("sweep_failed", **about, failures=len(turn.failures), reason=str(turn.failures[0]))
        report = log.info if turn.offered else log.debug
        report("swept", **about, **turn.found, seconds=round(seconds, 3))


class _Turn:
    """One sweep of one source."""

    def __init__(
        self,
        sweep: Sweep,
        queue: Sink,
        ledger: OptionalLedger,
        days: date_folders.Days,
        window: Window | None,
    ) -> None:
        self.sweep = sweep
        self.folders = 0
        self.seen = 0
        self.offered = 0
        self.failures: list[LogStoreError] = []
        self.passed_over: list[LogStoreError] = []
        """Failures of some of all buckets. The sweep must look as far back the next time."""
        self._queue = queue
        self._ledger = ledger
        self._days = days
        self._window = window

    @property
    def found(self) -> dict[str, int]:
        """What it has counted so far."""
        return {"folders": self.folders, "seen": self.seen, "offered": self.offered}

    async def walk(self, bucket: str, root: str) -> None:
        """List the folders below the root that may be recent, several at a time, and offer the new files."""
        await walk_tree(root, lambda prefix: self._level(bucket, root, prefix), most=LISTINGS)

    async def _level(self, bucket: str, root: str, prefix: str) -> AsyncGenerator[list[str], None]:
        """Offer the files of one folder. Yields the subfolders that may have recent files, in portions."""
        below: list[str] = []
        batch: list[LogFile] = []
        self.folders += 1
        try:
            async with aclosing(self.sweep.listing.level(bucket, prefix)) as entries:
                async for each in entries:
                    if isinstance(each, str):
                        if self._may_be_recent(each, root):
                            below.append(each)
                        if len(below) >= PORTION:
                            yield below
                            below = []
                        continue
                    self.seen += 1
                    if self._is_candidate(each, root):
                        batch.append(each.file)
                    if len(batch) >= BATCH:
                        await self._offer(batch)
                        batch = []
        except LogStoreError as error:
            # Go on with the other folders. The next sweep lists this one again.
            self.failures.append(without_frames(error))
        await self._offer(batch)
        yield below

    def _may_be_recent(self, folder: str, root: str) -> bool:
        # The root was configured by the operator, so it is not judged by its name.
        if holds_no_logs(folder) and not holds_no_logs(root):
            return False
        if self.sweep.source.ignores_folder(folder):
            return False
        return date_folders.may_hold_recent(folder.removeprefix(root), self._days)

    def _is_candidate(self, found: Found, root: str) -> bool:
        file, source = found.file, self.sweep.source
        if file.size == 0 or file.key.endswith("/") or no_log(file.key) or source.ignores(file.key):
            return False
        # A whole bucket may have other files, too. Here only the name says that a file is a log file.
        if not (source.prefix or source.format or format_of(file.key)):
            return False
        if not holds(source.bucket, source.prefix, file.key):
            return False
        name = file.key.removeprefix(root)
        if self._window is None:
            return date_folders.is_recent(name, found.modified, self._days)
        return date_folders.is_within(name, found.modified, self._window)

    async def _offer(self, batch: list[LogFile]) -> None:
        # Before the ledger is asked: a file that is finished meanwhile would seem to be neither finished nor queued.
        if new := self._queue.missing(batch):
            offered = await self._queue.offer(await self._ledger.unfinished(new))
            # Not `+= await`: Python reads the old value before the wait, and other folders are counted meanwhile.
            self.offered += offered


async def _aws_logs(listing: Listing, bucket: str) -> tuple[list[str], list[LogStoreError]]:
    """Find `AWSLogs/` in a bucket: at its top, or below one of the prefixes there. Returns the prefixes and the failures."""
    tops: list[str] = []
    failures: list[LogStoreError] = []
    looked_at = 0
    try:
        async with aclosing(listing.level(bucket, "")) as entries:
            async for each in entries:
                if isinstance(each, str):
                    tops.append(each)
                looked_at += 1
                if looked_at >= MAX_TOP_ENTRIES:
                    break
    except LogStoreError as error:
        failures.append(without_frames(error))
    wanted = [AWS_LOGS, *(f"{top}{AWS_LOGS}" for top in tops if top != AWS_LOGS)]
    found: list[str] = []
    for first in range(0, len(wanted), LISTINGS):
        some = wanted[first : first + LISTINGS]
        answers = await asyncio.gather(*(listing.has(bucket, prefix) for prefix in some), return_exceptions=True)
        for prefix, answer in zip(some, answers, strict=True):
            if isinstance(answer, LogStoreError):
                failures.append(answer)
            elif isinstance(answer, BaseException):
                raise answer
            elif answer:
                found.append(prefix)
    return found, failures
