"""A report, and its text for people: at most 80 columns."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

import msgspec

from jibe_sqs.telemetry.activity import Counts, StaleFolders
from jibe_sqs.telemetry.printable import wrapped

COLUMN_WIDTHS: Final = {
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
"""The titles of the columns, and their widths in characters."""


class Row(msgspec.Struct, frozen=True):
    """The work for one provider and bucket."""

    provider: str
    bucket: str
    counts: Counts
    stale: StaleFolders


class Report(msgspec.Struct, frozen=True):
    """The work between two moments. `rows` has only providers and buckets with activity or with stale folders."""

    since: datetime
    until: datetime
    rows: list[Row]
    total: Counts
    since_start: Counts
    held_up: list[str]
    """The reasons why no work is taken now."""
    counters: dict[str, dict[str, int]]
    """More counts, by name."""
    collisions: int
    """Since the start: names that differ only in case, which Access Anywhere treats as one name."""
    colliding: list[str]
    """A few of these names."""
    processes: int = 1
    """How many processes it is about: replicas, and workers."""

    @property
    def stale(self) -> StaleFolders:
        """The stale folders of all rows together."""
        oldest = max((row.stale.oldest for row in self.rows), default=0.0)
        return StaleFolders(sum(row.stale.count for row in self.rows), oldest)


def as_text(report: Report) -> str:
    """The text of a report."""
    lines = [f"jibe-sqs, {_moment(report.since)} to {_moment(report.until)} UTC", ""]
    if report.processes > 1:
        lines += [f"Of {report.processes} processes together", ""]
    for reason in report.held_up:
        lines += _wrapped(f"No work is taken: {reason}")
    lines += [""] * bool(report.held_up)
    lines += ["".join(title.rjust(width) for title, width in COLUMN_WIDTHS.items()).rstrip(), ""]
    lines += ["All", *_figures(report.total, report.stale), ""]
    for row in report.rows:
        lines += [*_wrapped(_title(row)), *_figures(row.counts, row.stale), ""]
    for name, counts in report.counters.items():
        lines += _wrapped(f"{name.capitalize()}: {_listed(counts)}")
    if report.collisions:
        lines += _wrapped(
            f"Names that differ only in case (one name in Access Anywhere): {report.collisions:,}, such as"
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
    bucket = row.bucket or "(no bucket)"
    if row.provider or row.bucket:
        return f"{row.provider or '(no provider)'}: {bucket}"
    return bucket


def _figures(counts: Counts, stale: StaleFolders) -> list[str]:
    lags = counts.lag.percentile(0.5), counts.lag.percentile(0.99), counts.lag.longest if counts.lag.count else None
    values = [
        *map(_count, (counts.records, counts.events, counts.skipped.total(), counts.refreshes, counts.failed.total())),
        *("-" if seconds is None else _duration(seconds) for seconds in lags),
        _count(stale.count),
    ]
    lines = ["".join(value.rjust(width) for value, width in zip(values, COLUMN_WIDTHS.values(), strict=True))]
    if counts.skipped.total():
        lines += _wrapped(f"skipped: {_listed(counts.skipped)}", indent="  ")
    if counts.refreshes:
        kinds = {"folders": counts.folders, "trees": counts.trees, "for descendants": counts.for_descendant}
        lines += _wrapped(f"refreshed: {_listed(kinds)}", indent="  ")
    if counts.failed.total():
        lines += _wrapped(f"failed: {_listed(counts.failed)}", indent="  ")
    if counts.refreshing:
        lines += _wrapped(f"time in refreshes: {_duration(counts.refreshing)}", indent="  ")
    if stale.count:
        lines += _wrapped(f"stale: the oldest for {_duration(stale.oldest)}", indent="  ")
    return lines


def _listed(counts: Mapping[str, int]) -> str:
    """Names and counts in one line, the most frequent first."""
    listed = sorted(((count, name) for name, count in counts.items() if count), key=lambda each: (-each[0], each[1]))
    return ", ".join(f"{name} {count:,}" for count, name in listed)


def _count(number: int) -> str:
    """A count in at most seven characters, up to 10^12."""
    for factor, unit in ((10**9, "G"), (10**6, "M")):
        if number >= 10 * factor:
            return f"{number // factor:,}{unit}"
    return str(number)


def _duration(seconds: float) -> str:
    """A duration in at most five characters, up to some thousand years."""
    for limit, factor, unit in ((120, 1, "s"), (7200, 60, "m"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds:.1f}s" if seconds < 10 else f"{seconds / factor:.0f}{unit}"
    return f"{seconds / 86_400:.0f}d"


def _moment(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M}"


def _wrapped(line: str, indent: str = "") -> Iterable[str]:
    return wrapped(line, first_indent=indent, indent=f"{indent}    ")
