"""Warnings about changes that are skipped because of the configuration: at the first, and then at most once a day."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

import msgspec
import structlog

from jibe_sqs.core.decisions import Place
from jibe_sqs.core.globs import Globs
from jibe_sqs.core.plan import SkippedChanges
from jibe_sqs.ports import Clock

INTERVAL: Final = 86_400.0
"""Seconds between two warnings about the same bucket or rule."""
MAX_NAMES: Final = 1000
"""Buckets, and rules, with warnings of their own. All others share one, under the name `OTHERS`."""
OTHERS: Final = "(other buckets)"
MAX_SHOWN: Final = 5
"""Places of a bucket in a warning."""

log = structlog.get_logger()


class Skipped(msgspec.Struct):
    """The skipped changes of one bucket or rule since the start: their number, and the latest example."""

    count: int
    example: SkippedChanges
    unreported: int = 0
    """Changes since the last warning."""
    due: float = float("-inf")
    """Monotonic: when the next warning may be logged."""


class SkipWarnings:
    """Warns of buckets that are not mapped, and of each rule that recognised a change as Access Anywhere's own.

    Both are right in most deployments, and if they are wrong, nothing else shows it: the change is lost.
    """

    def __init__(self, clock: Clock, *, ignore_buckets: Sequence[str] = (), log_buckets: Collection[str] = ()) -> None:
        """`ignore_buckets`: patterns of names that cause no warning. `log_buckets` cause none if they are not mapped."""
        self._clock = clock
        self._ignored = Globs(ignore_buckets).match
        self._log_buckets = frozenset(log_buckets)
        self._unmapped: dict[str, Skipped] = {}
        self._own_writes: dict[str, Skipped] = {}

    def ignore(self, buckets: Sequence[str]) -> None:
        """Patterns of names that cause no warning from now on."""
        self._ignored = Globs(buckets).match

    @property
    def unmapped(self) -> Mapping[str, Skipped]:
        """The buckets whose changes were not mapped since the start, without those that cause no warning.

        A bucket stays here when it is mapped later.
        """
        return self._unmapped

    @property
    def own_writes(self) -> Mapping[str, Skipped]:
        """The rules of `own_writes` that recognised a change since the start, such as `own_writes.user_agents: *`."""
        return self._own_writes

    def not_mapped(self, found: Mapping[str, SkippedChanges], places: Mapping[str, Sequence[Place]]) -> None:
        """Changes of these buckets were skipped as `not-mapped`. `places`: where the buckets are shown."""
        for bucket, changes in found.items():
            if bucket in self._log_buckets or self._ignored(bucket):
                continue
            name, count = self._due(self._unmapped, bucket, changes)
            if count:
                log.warning(
                    "bucket_not_mapped",
                    bucket=name,
                    count=count,
                    key=changes.key,
                    shown=[f"{place.folder} shows {place.prefix or 'all'}" for place in places.get(bucket, ())][
                        :MAX_SHOWN
                    ],
                    consequence="these changes are skipped, and Access Anywhere does not show them",
                    remedy="if Access Anywhere should show them, add the bucket to buckets, or to a provider "
                    "if buckets is not set: then its whole folder is refreshed; otherwise add it to ignore_buckets",
                )

    def recognised_as_own(self, found: Mapping[str, SkippedChanges]) -> None:
        """Changes were skipped as `own-write` by these rules."""
        for rule, changes in found.items():
            if self._ignored(changes.bucket):
                continue
            name, count = self._due(self._own_writes, rule, changes)
            if count:
                log.warning(
                    "own_write_skipped",
                    rule=name,
                    count=count,
                    bucket=changes.bucket,
                    key=changes.key,
                    principal=changes.principal,
                    consequence="no folder is refreshed for it, because Access Anywhere knows its own writes",
                    remedy="if this principal is not Access Anywhere, its changes are lost: make the rule narrower; "
                    "then settings_changed names the jibe-sqs backfill that repairs them",
                )

    def _due(self, known: dict[str, Skipped], name: str, changes: SkippedChanges) -> tuple[str, int]:
        """Count the changes. Returns the name that they count under, and the number to warn of: 0 if it is too early."""
        if name not in known and len(known) >= MAX_NAMES:
            name = OTHERS
        skipped = known.setdefault(name, Skipped(0, changes))
        skipped.count += changes.count
        skipped.unreported += changes.count
        skipped.example = changes
        now = self._clock.monotonic()
        if now < skipped.due:
            return name, 0
        unreported, skipped.unreported, skipped.due = skipped.unreported, 0, now + INTERVAL
        return name, unreported
