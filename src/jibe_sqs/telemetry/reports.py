"""Makes a report at each interval: log events, and a text file if a folder is configured for it.

Processes that share a ledger make one report together: see `shared_reports`.
"""

import asyncio
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Final

import msgspec
import structlog

from jibe_sqs.core.collisions import Collision, Collisions
from jibe_sqs.core.errors import JibeError
from jibe_sqs.ports import Clock, Gate, PendingRefresh
from jibe_sqs.telemetry.activity import Activity, Counts, StaleFolders
from jibe_sqs.telemetry.report_text import Report, Row, as_text
from jibe_sqs.telemetry.shared_reports import SharedReports, merged

log = structlog.get_logger()

STORE_TIMEOUT: Final = 60.0
"""Seconds for storing a report."""
LAST_NOTE_TIMEOUT: Final = 2.0
"""Seconds for leaving the last report to other processes, while the service stops."""
LAST_STORE_TIMEOUT: Final = 5.0
"""Seconds for storing the last report, while the service stops."""
MAX_EXAMPLES: Final = 3
MAX_KEY_LENGTH: Final = 200
"""Characters of a key in an example. The end of a key is shown, because keys differ there."""

Store = Callable[[str, bytes], Awaitable[None]]
"""Stores a file under a name. Raises `JibeError`."""


def no_pending() -> Iterable[PendingRefresh]:
    """No folder waits for a refresh."""
    return ()


class Reports:
    """Makes a report at each interval, and a last one when the service stops."""

    def __init__(
        self,
        activity: Activity,
        *,
        interval: float,
        clock: Clock,
        store: Store | None = None,
        pending: Callable[[], Iterable[PendingRefresh]] = no_pending,
        gates: Sequence[Gate] = (),
        counters: Mapping[str, Callable[[], Mapping[str, int]]] | None = None,
        collisions: Collisions | None = None,
        instance: str = "",
        observe: Callable[[Report], None] | None = None,
        shared: SharedReports | None = None,
    ) -> None:
        """`interval`: seconds; 0 means no reports. `pending`: the folders that wait for a refresh.

        `counters`: more counts since the start, by name. A report shows how much they have grown since the report before.
        `instance`: part of the name of a file about this process only. `observe` is called with each report. `shared`: for
        one report of all processes.
        """
        self._activity = activity
        self._interval = interval
        self._clock = clock
        self._store = store
        self._pending = pending
        self._gates = gates
        self._counters = counters or {}
        self._last_counts: dict[str, Counter[str]] = {}
        self._collisions = collisions or Collisions()
        self._instance = instance
        self._observe = observe
        self._shared = shared
        self._unpublished: Report | None = None
        """A report that was made, and is neither published nor left to another process."""
        self._since = self._time()
        self._changed = asyncio.Event()
        self._last_name: tuple[str, int] = "", 0
        """The name of the last file without its number, and how many files have had it."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Make reports while the body runs, and the last one at the end."""
        task = asyncio.create_task(self.run(), name="reports")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            if self._interval:
                await self._report(is_last=True)

    def change_interval(self, interval: float) -> None:
        """Make reports at this interval (seconds) from now on; 0: no more. The next one covers the time since the last."""
        self._interval = interval
        if self._shared is not None:
            self._shared.interval = interval
        self._changed.set()

    async def run(self) -> None:
        """Make a report at each interval, until cancelled. If it is shared, at the same moments as all other processes."""
        loop = asyncio.get_running_loop()
        last = loop.time()
        while True:
            self._changed.clear()
            due = self._due_after(last)
            with suppress(TimeoutError):
                async with asyncio.timeout_at(None if due == math.inf else due):
                    await self._changed.wait()
                last = loop.time()
                continue
            last = due
            await self._report()

    def _due_after(self, last: float) -> float:
        """When the next report is due, by the event loop's clock. Infinite if there are none. `last`: when the last one was."""
        now = asyncio.get_running_loop().time()
        if not self._interval:
            return math.inf
        if self._shared is None:
            return max(last + self._interval, now)
        wall_time = self._time().timestamp()
        return now + self._shared.end_after(wall_time) - wall_time

    async def report(self, *, is_last: bool = False) -> Report:
        """Make a report now. If it cannot be stored in time, a warning is logged. `is_last`: the service stops."""
        made = self._make()
        if self._unpublished is not None:
            made = msgspec.structs.replace(merged([self._unpublished, made]), processes=1)
        self._unpublished = made
        report = await self._of_all(made, is_last=is_last)
        self._unpublished = None
        if report is None:
            log.debug("report_noted", until=made.until.isoformat(timespec="seconds"))
            return made
        _log(report)
        if self._observe is not None:
            self._observe(report)
        is_of_all = self._shared is not None and self._shared.is_of_all and not is_last
        await self._stored(
            report, "" if is_of_all else self._instance, LAST_STORE_TIMEOUT if is_last else STORE_TIMEOUT
        )
        # The report of one process alone does not end the period for the others.
        if self._shared is not None and is_of_all:
            await self._shared.published(report)
        return report

    async def _of_all(self, report: Report, *, is_last: bool) -> Report | None:
        """The report of all processes. None if another one publishes it."""
        if self._shared is None:
            return report
        if not is_last:
            return await self._shared.merged(report)
        try:
            async with asyncio.timeout(LAST_NOTE_TIMEOUT):
                return await self._shared.left(report)
        except TimeoutError:
            return report

    async def _stored(self, report: Report, instance: str, time_limit: float) -> None:
        """Store a report, if it is stored within `time_limit` seconds."""
        if self._store is None:
            return
        name = self._file_name(report.until, instance)
        try:
            async with asyncio.timeout(time_limit):
                await self._store(name, as_text(report).encode())
        except JibeError as error:
            log.warning("report_not_stored", name=name, error=type(error).__name__, reason=str(error))
        except TimeoutError:
            log.warning("report_not_stored", name=name, error="TimeoutError", reason=f"not within {time_limit:g} s")

    async def _report(self, *, is_last: bool = False) -> None:
        try:
            await self.report(is_last=is_last)
        except Exception:
            # A defect must not prevent the next report.
            log.exception("report_crashed")

    def _make(self) -> Report:
        counts = self._activity.take()
        stale = self._activity.stale(self._pending())
        since, self._since = self._since, self._time()
        keys = sorted({*counts.rows, *stale})
        rows = [Row(*key, counts.rows.get(key) or Counts(), stale.get(key) or StaleFolders()) for key in keys]
        return Report(
            since=min(since, self._since),
            until=self._since,
            rows=rows,
            total=counts.total,
            since_start=self._activity.since_start().total,
            held_up=[gate.reason for gate in self._gates if gate.reason],
            counters={name: growth for name in self._counters if (growth := self._growth(name))},
            collisions=self._collisions.count,
            colliding=[_collision_text(each) for each in self._collisions.examples[:MAX_EXAMPLES]],
        )

    def _growth(self, name: str) -> dict[str, int]:
        now, before = Counter(self._counters[name]()), self._last_counts.get(name, Counter())
        self._last_counts[name] = now
        return dict(now - before)

    def _file_name(self, moment: datetime, instance: str) -> str:
        """A new name for each report, also for the second one in a minute."""
        stem = f"jibe-report-{moment:%Y-%m-%dT%H-%MZ}" + f"-{instance}" * bool(instance)
        last_stem, count = self._last_name
        count = count + 1 if stem == last_stem else 1
        self._last_name = stem, count
        return f"{stem}.txt" if count == 1 else f"{stem}-{count}.txt"

    def _time(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now() or time.time(), UTC)


def _collision_text(collision: Collision) -> str:
    names = ", ".join(name[-MAX_KEY_LENGTH:] for name in collision.names[:MAX_EXAMPLES])
    return f"{names} (in bucket {collision.bucket})"


def _log(report: Report) -> None:
    for row in report.rows:
        log.info("provider_report", provider=row.provider, bucket=row.bucket, **_log_fields(row.counts, row.stale))
    log.info(
        "report",
        since=report.since.isoformat(timespec="seconds"),
        until=report.until.isoformat(timespec="seconds"),
        **_log_fields(report.total, report.stale),
        held_up=report.held_up,
        collisions=report.collisions,
        colliding=report.colliding,
        processes=report.processes,
        **report.counters,
    )


def _log_fields(counts: Counts, stale: StaleFolders) -> dict[str, object]:
    p50, p99 = counts.lag.percentile(0.5), counts.lag.percentile(0.99)
    return {
        "records": counts.records,
        "events": counts.events,
        "skipped": {str(reason): count for reason, count in counts.skipped.items()},
        "folders": counts.folders,
        "trees": counts.trees,
        "for_descendant": counts.for_descendant,
        "failed": dict(counts.failed),
        "refreshing": round(counts.refreshing, 3),
        "lag_p50": p50 if p50 is None else round(p50, 3),
        "lag_p99": p99 if p99 is None else round(p99, 3),
        "lag_max": None if p50 is None else round(counts.lag.longest, 3),
        "stale": stale.count,
        "stale_for": round(stale.oldest, 3),
    }
