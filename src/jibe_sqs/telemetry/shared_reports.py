"""One report for all processes that share a ledger: replicas, and workers of one host.

Each process has a slot in the ledger. At the end of a period, which is the same for all, it notes its report there. Some seconds
later one of them claims the task, merges all reports of the period, and publishes the result. If it dies before that, another one
does it. A process that stops leaves its last report to the others, if there are any.
"""

import asyncio
import base64
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final, get_origin

import msgspec

from jibe_sqs.telemetry.activity import Counts, StaleFolders
from jibe_sqs.telemetry.lag import Lag
from jibe_sqs.telemetry.optional_ledger import OptionalLedger
from jibe_sqs.telemetry.report_text import Report, Row

MAX_PROCESSES: Final = 64
"""Processes whose reports are merged. A further one publishes its own."""
GATHER_TIME: Final = 10.0
"""Seconds that one process waits for the reports of the others. Their clocks differ, and they may be busy."""
CLAIM_TIME: Final = 60.0
"""Seconds for which one process claims the task of merging."""
MERGE_TRIES: Final = 3
MAX_NOTE_LENGTH: Final = 200_000
"""Characters of a note. An item of DynamoDB may have 400 KB. The smallest rows of a longer report share one row."""
MAX_REASONS: Final = 10
"""Reasons why no work is taken, in a merged report."""

_DONE: Final = "reports/done"
_MERGING: Final = "reports/merging"


class Noted(msgspec.Struct, frozen=True):
    """The report of one process. `period`: its end, in seconds since the epoch. `has_left`: the process has stopped, so it merges nothing more."""

    owner: str
    period: int
    has_left: bool
    report: Report


class SharedReports:
    """The reports of all processes that share a ledger."""

    def __init__(self, ledger: OptionalLedger, owner: str, interval: float) -> None:
        """`owner`: a name that no other process has, and no earlier one had. `interval`: seconds of a period."""
        self._ledger = ledger
        self._owner = owner
        self.interval = interval
        self._slot: int | None = None
        self.is_of_all = False
        """Whether the last report that `merged` returned is that of all processes, not only of this one."""

    def end_after(self, now: float) -> float:
        """The end of the present period, in seconds since the epoch. If it is less than a tenth away, of the next one."""
        return (int((now + self.interval / 10) // self.interval) + 1) * self.interval

    async def merged(self, report: Report) -> Report | None:
        """Note this process's report. Returns the report of all if this process is the one to publish it.

        If the ledger fails, the process publishes its own.
        """
        self.is_of_all = False
        period = self._nearest_end(report)
        if not await self._note(report, period, has_left=False):
            return report
        await asyncio.sleep(min(GATHER_TIME, self.interval / 10))
        for _ in range(MERGE_TRIES):
            notes = await self._ledger.noted([_DONE])
            if notes is None:
                return report
            if int(notes.get(_DONE) or 0) >= period:
                return None
            if await self._ledger.claim(_MERGING, self._owner, CLAIM_TIME):
                found = await self._of(period)
                self.is_of_all = True
                return merged([report, *(each.report for each in found.values() if each.owner != self._owner)])
            await asyncio.sleep(min(CLAIM_TIME + 1, self.interval / 10))
        return None

    async def published(self, report: Report) -> None:
        """The report of all is published: another process need not do it."""
        await self._ledger.note(_DONE, str(self._nearest_end(report)))
        await self._ledger.claim(_MERGING, self._owner, 0)

    async def left(self, report: Report) -> Report | None:
        """This process stops. Returns the report to publish, or None if the report is left to other processes."""
        period = round((int(report.until.timestamp() // self.interval) + 1) * self.interval)
        if not await self._note(report, period, has_left=True):
            return report
        found = {slot: each for slot, each in (await self._all()).items() if each.owner != self._owner}
        # A running process has noted its report at the end of the last period, or will soon.
        if any(not each.has_left and each.period >= period - 2 * self.interval for each in found.values()):
            return None
        late = {slot: each for slot, each in found.items() if each.period == period}
        for slot in [*late, self._slot]:
            await self._ledger.note(f"reports/{slot}", "")
        return merged([report, *(each.report for each in late.values())])

    def _nearest_end(self, report: Report) -> int:
        """The end of the period that a report is about: a timer may be early or late."""
        return round(round(report.until.timestamp() / self.interval) * self.interval)

    async def _note(self, report: Report, period: int, *, has_left: bool) -> bool:
        """Note the report. False if that is not possible."""
        if not await self._has_slot():
            return False
        text = _encoded(Noted(self._owner, period, has_left, report))
        return await self._ledger.note(f"reports/{self._slot}", text)

    async def _has_slot(self) -> bool:
        # The slot of a process that has stopped stays its own, until its last report is merged.
        slots: Iterable[int] = range(MAX_PROCESSES) if self._slot is None else [self._slot, *range(MAX_PROCESSES)]
        seconds = 2 * self.interval + CLAIM_TIME
        for slot in slots:
            # A slot that could not be claimed may be another process's, whose report would be overwritten.
            if await self._ledger.claim(f"reports/{slot}", self._owner, seconds, otherwise=False):
                self._slot = slot
                return True
        return False

    async def _of(self, period: int) -> dict[int, Noted]:
        return {slot: each for slot, each in (await self._all()).items() if each.period == period}

    async def _all(self) -> dict[int, Noted]:
        notes = await self._ledger.notes(f"reports/{slot}" for slot in range(MAX_PROCESSES))
        decoded = {slot: _decoded(notes.get(f"reports/{slot}", "")) for slot in range(MAX_PROCESSES)}
        return {slot: each for slot, each in decoded.items() if each is not None}


def merged(reports: Sequence[Report]) -> Report:
    """The report of several processes together. A folder that is stale for two of them counts twice."""
    if len(reports) == 1:
        return reports[0]
    rows: dict[tuple[str, str], Row] = {}
    total, since_start = Counts(), Counts()
    counters: dict[str, Counter[str]] = {}
    for report in reports:
        total.merge(report.total)
        since_start.merge(report.since_start)
        for row in report.rows:
            _add_row(rows, row)
        for name, counts in report.counters.items():
            counters.setdefault(name, Counter()).update(counts)
    most = max(reports, key=lambda each: each.collisions)
    return Report(
        since=min(report.since for report in reports),
        until=max(report.until for report in reports),
        rows=[rows[key] for key in sorted(rows)],
        total=total,
        since_start=since_start,
        held_up=list(dict.fromkeys(reason for report in reports for reason in report.held_up))[:MAX_REASONS],
        counters={name: dict(counts) for name, counts in counters.items()},
        # The processes see the same names, so their counts must not be added.
        collisions=most.collisions,
        colliding=most.colliding,
        processes=sum(report.processes for report in reports),
    )


def _add_row(rows: dict[tuple[str, str], Row], row: Row) -> None:
    key = row.provider, row.bucket
    known = rows.setdefault(key, Row(*key, Counts(), StaleFolders()))
    known.counts.merge(row.counts)
    known.stale.count += row.stale.count
    known.stale.oldest = max(known.stale.oldest, row.stale.oldest)


def _encoded(noted: Noted) -> str:
    while len(text := _compressed(noted)) > MAX_NOTE_LENGTH:
        rows = sorted(noted.report.rows, key=lambda row: row.counts.records, reverse=True)
        others: dict[tuple[str, str], Row] = {}
        for row in rows[len(rows) // 2 :]:
            _add_row(others, Row("", "", row.counts, row.stale))
        report = msgspec.structs.replace(noted.report, rows=[*rows[: len(rows) // 2], *others.values()])
        noted = msgspec.structs.replace(noted, report=report)
    return text


def _compressed(noted: Noted) -> str:
    return base64.b64encode(zlib.compress(msgspec.json.encode(noted, enc_hook=_lag_as_json))).decode()


def _decoded(text: str) -> Noted | None:
    """The report in a note. None if there is none, or if another release has written it."""
    try:
        return msgspec.json.decode(zlib.decompress(base64.b64decode(text)), type=Noted, dec_hook=_from_json)
    except (ValueError, zlib.error, msgspec.MsgspecError):
        return None


def _lag_as_json(value: Any) -> Any:
    if not isinstance(value, Lag):
        raise NotImplementedError(f"a {type(value).__name__} is not part of a report")
    buckets = {str(index): count for index, count in enumerate(value.buckets) if count}
    return {"longest": value.longest, "buckets": buckets}


def _from_json(kind: Any, value: Any) -> Any:
    if get_origin(kind) is Counter or kind is Counter:
        return Counter(value)
    lag = Lag()
    lag.longest = value["longest"]
    for index, count in value["buckets"].items():
        lag.buckets[int(index)] = count
    return lag
