"""A report, and what people read of it: at most 80 columns."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

import msgspec

from jibe_sqs.telemetry.activity import Counts, StaleNow
from jibe_sqs.telemetry.printable import wrapped

TITLES: Final = {
    "records": 9,
    "events": 9,
    "skipped": 9,
    "refreshes": 10,
    "failed": 8,
    "lag p50": 9,
    "p99": 8,
    "max": 8,
    "stale": 8,
}
"""The columns, and how wide each is."""


class Row(msgspec.Struct, frozen=True):
    """What happened at one place."""

    provider: str
    bucket: str
    counts: Counts
    stale: StaleNow


class Report(msgspec.Struct, frozen=True):
    """What happened between two moments, only where there is anything to tell of."""

    since: datetime
    until: datetime
    rows: list[Row]
    total: Counts
    since_start: Counts
    held_up: list[str]
    """Why no work is taken now."""
    counters: dict[str, dict[str, int]]
    """What else was counted, by what it is of."""
    collisions: int
    """Since the start: names that are one to Access Anywhere, as they differ in case alone. `colliding`: a few."""
    colliding: list[str]

    @property
    def stale(self) -> StaleNow:
        """Of all places."""
        oldest = max((row.stale.oldest for row in self.rows), default=0.0)
        return StaleNow(sum(row.stale.count for row in self.rows), oldest)


def as_text(report: Report) -> str:
    """For people."""
    lines = [f"jibe-sqs, {_moment(report.since)} to {_moment(report.until)} UTC", ""]
    for reason in report.held_up:
        lines += _wrapped(f"No work is taken: {reason}")
    lines += [""] * bool(report.held_up)
    lines += ["".join(title.rjust(width) for title, width in TITLES.items()).rstrip(), ""]
    lines += ["All", *_figures(report.total, report.stale), ""]
    for row in report.rows:
        lines += [*_wrapped(_title(row)), *_figures(row.counts, row.stale), ""]
    for name, counts in report.counters.items():
        lines += _wrapped(f"{name.capitalize()}: {_listed(counts)}")
    if report.collisions:
        lines += _wrapped(
            f"Names that differ in case alone, and are one to Access Anywhere: {report.collisions:,}, such as"
        )
        for each in report.colliding:
            lines += _wrapped(each, indent="  ")
    start = report.since_start
    lines += _wrapped(
        f"Since the start: records {start.records:,}, events {start.events:,}, refreshes {start.refreshes:,}, "
        f"failed {start.failed.total():,}"
    )
    return "".join(f"{line}\n" for line in lines)


def _title(row: Row) -> str:
    if row.provider:
        return f"{row.provider}: {row.bucket}" if row.bucket else f"{row.provider}: of no bucket"
    return f"shown nowhere: {row.bucket}" if row.bucket else "of no bucket"


def _figures(counts: Counts, stale: StaleNow) -> list[str]:
    late = counts.lag.percentile(0.5), counts.lag.percentile(0.99), counts.lag.longest if counts.lag.count else None
    values = [
        *map(_count, (counts.records, counts.events, counts.skipped.total(), counts.refreshes, counts.failed.total())),
        *("-" if seconds is None else _duration(seconds) for seconds in late),
        _count(stale.count),
    ]
    lines = ["".join(value.rjust(width) for value, width in zip(values, TITLES.values(), strict=True))]
    if counts.skipped.total():
        lines += _wrapped(f"skipped: {_listed(counts.skipped)}", indent="  ")
    if counts.refreshes:
        kinds = {"folders": counts.folders, "trees": counts.trees, "on the way": counts.for_descendant}
        lines += _wrapped(f"refreshed: {_listed(kinds)}", indent="  ")
    if counts.failed.total():
        lines += _wrapped(f"failed: {_listed(counts.failed)}", indent="  ")
    if counts.refreshing:
        lines += _wrapped(f"time in refreshes: {_duration(counts.refreshing)}", indent="  ")
    if stale.count:
        lines += _wrapped(f"stale: the oldest for {_duration(stale.oldest)}", indent="  ")
    return lines


def _listed(counts: Mapping[str, int]) -> str:
    """The most frequent first."""
    told = sorted(((count, name) for name, count in counts.items() if count), key=lambda each: (-each[0], each[1]))
    return ", ".join(f"{name} {count:,}" for count, name in told)


def _count(number: int) -> str:
    """At most seven characters, up to 10^12."""
    for factor, unit in ((10**9, "G"), (10**6, "M")):
        if number >= 10 * factor:
            return f"{number // factor:,}{unit}"
    return str(number)


def _duration(seconds: float) -> str:
    """At most five characters, up to some thousand years."""
    for longest, factor, unit in ((120, 1, "s"), (7200, 60, "m"), (172_800, 3600, "h")):
        if seconds < longest:
            return f"{seconds:.1f}s" if seconds < 10 else f"{seconds / factor:.0f}{unit}"
    return f"{seconds / 86_400:.0f}d"


def _moment(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M}"


def _wrapped(line: str, indent: str = "") -> Iterable[str]:
    return wrapped(line, first_indent=indent, indent=f"{indent}    ")
