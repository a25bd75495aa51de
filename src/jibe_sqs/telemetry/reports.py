"""Every quarter of an hour, what happened: to the log, and as a file for people where that is wanted."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Final

import structlog

from jibe_sqs.core.collisions import Collision, Collisions
from jibe_sqs.core.errors import JibeError
from jibe_sqs.ports import Clock, Gate, PendingRefresh
from jibe_sqs.telemetry.activity import Activity, Counts, StaleNow
from jibe_sqs.telemetry.report_text import Report, Row, as_text

log = structlog.get_logger()

STORING: Final = 60.0
"""Seconds for a report to be stored; for the last one a few."""
LAST: Final = 5.0
EXAMPLES: Final = 3
LONGEST_NAME: Final = 200
"""Characters of a key that is told as an example: the last ones tell most."""

Store = Callable[[str, bytes], Awaitable[None]]
"""Stores a file of that name. Raises `JibeError`."""


def nobody() -> Iterable[PendingRefresh]:
    """No folder waits."""
    return ()


class Reports:
    """Makes reports, until stopped, and then a last one."""

    def __init__(
        self,
        activity: Activity,
        *,
        interval: float,
        clock: Clock,
        store: Store | None = None,
        pending: Callable[[], Iterable[PendingRefresh]] = nobody,
        gates: Sequence[Gate] = (),
        counters: Mapping[str, Callable[[], Mapping[str, int]]] | None = None,
        collisions: Collisions | None = None,
        instance: str = "",
    ) -> None:
        """`interval` in seconds; 0: no reports at all. `pending`: the folders that wait for a refresh.

        `counters`: what else is counted since the start, by what it is of; reports tell what was added. `instance`: part
        of each file's name, for where several services write into one folder.
        """
        self._activity = activity
        self._interval = interval
        self._clock = clock
        self._store = store
        self._pending = pending
        self._gates = gates
        self._counters = counters or {}
        self._counted: dict[str, Counter[str]] = {}
        self._collisions = collisions or Collisions()
        self._instance = instance
        self._since = self._time()
        self._names: tuple[str, int] = "", 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Make them meanwhile, and the last one at the end."""
        if not self._interval:
            yield
            return
        task = asyncio.create_task(self.run(), name="reports")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self._report(within=LAST)

    async def run(self) -> None:
        """Make one each interval, for ever."""
        loop = asyncio.get_running_loop()
        turn = loop.time()
        while True:
            turn = max(turn + self._interval, loop.time())
            await asyncio.sleep(turn - loop.time())
            await self._report()

    async def report(self, *, within: float = STORING) -> Report:
        """Make one now. That it cannot be stored, or not within so many seconds, is a warning and no more."""
        report = self._made()
        _log(report)
        if self._store is not None:
            name = self._name(report.until)
            try:
                async with asyncio.timeout(within):
                    await self._store(name, as_text(report).encode())
            except JibeError as error:
                log.warning("report_not_stored", name=name, error=type(error).__name__, reason=str(error))
            except TimeoutError:
                log.warning("report_not_stored", name=name, error="TimeoutError", reason=f"not within {within:g} s")
        return report

    async def _report(self, *, within: float = STORING) -> None:
        try:
            await self.report(within=within)
        except Exception:
            # A defect; the next report may do better.
            log.exception("report_crashed")

    def _made(self) -> Report:
        taken = self._activity.take()
        stale = self._activity.stale(self._pending())
        since, self._since = self._since, self._time()
        places = sorted({*taken.places, *stale})
        rows = [Row(*at, taken.places.get(at) or Counts(), stale.get(at) or StaleNow()) for at in places]
        return Report(
            since=min(since, self._since),
            until=self._since,
            rows=rows,
            total=taken.total,
            since_start=self._activity.since_start().total,
            held_up=[gate.reason for gate in self._gates if gate.reason],
            counters={name: added for name in self._counters if (added := self._added(name))},
            collisions=self._collisions.count,
            colliding=[_names(each) for each in self._collisions.examples[:EXAMPLES]],
        )

    def _added(self, name: str) -> dict[str, int]:
        now, before = Counter(self._counters[name]()), self._counted.get(name, Counter())
        self._counted[name] = now
        return dict(now - before)

    def _name(self, moment: datetime) -> str:
        """Each report is a file of its own, also the second in a minute."""
        stem = f"jibe-report-{moment:%Y-%m-%dT%H-%MZ}" + f"-{self._instance}" * bool(self._instance)
        last, times = self._names
        self._names = stem, times + 1 if stem == last else 1
        return f"{stem}.txt" if self._names[1] == 1 else f"{stem}-{self._names[1]}.txt"

    def _time(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now() or time.time(), UTC)


def _names(collision: Collision) -> str:
    names = ", ".join(name[-LONGEST_NAME:] for name in collision.names[:EXAMPLES])
    return f"{names} (in bucket {collision.bucket})"


def _log(report: Report) -> None:
    for row in report.rows:
        log.info("provider_report", provider=row.provider, bucket=row.bucket, **_fields(row.counts, row.stale))
    log.info(
        "report",
        since=report.since.isoformat(timespec="seconds"),
        until=report.until.isoformat(timespec="seconds"),
        **_fields(report.total, report.stale),
        held_up=report.held_up,
        collisions=report.collisions,
        colliding=report.colliding,
        **report.counters,
    )


def _fields(counts: Counts, stale: StaleNow) -> dict[str, object]:
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
