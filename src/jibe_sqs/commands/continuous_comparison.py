"""Compares all folders again and again, each once within a given time, one folder at a time.

The folders of a place are visited in the order of their names, and counted after the folders below them. So a position, the
folder that was counted last, says which folders are done. It is a note of the ledger, with the counts so far: after a restart
the comparison goes on there. Folders that appear behind the position are compared in the next round.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from typing import Final

import msgspec
import structlog

from jibe_sqs.commands.comparison import Comparison, Repair, Scope
from jibe_sqs.commands.comparison_levels import Level, Levels
from jibe_sqs.commands.comparison_totals import Totals
from jibe_sqs.concurrency.backoff import Backoff
from jibe_sqs.concurrency.gates import passable
from jibe_sqs.core.errors import FolderUnknown, JibeError, LogAccessDenied, LogBucketMissing
from jibe_sqs.ports import Clock, Gate
from jibe_sqs.telemetry.optional_ledger import OptionalLedger
from jibe_sqs.telemetry.truth import Round, Truth

NOTE: Final = "compare"
"""The name of the ledger's note."""
SAVE_INTERVAL: Final = 30.0
"""Seconds between two notes of the position. After a kill, the folders since then are compared again."""
SHARE_OF_TIME: Final = 0.9
"""The part of the time that a round takes, as planned: the rest is for what takes longer than the last time."""
LONGEST_PAUSE: Final = 60.0
SETTLED: Final = 900.0
"""Seconds. An object that changed later is no difference: its event may be on its way. CloudTrail needs up to 15 minutes."""
NOT_BEGUN: Final = 0.0
RETRY_DELAYS: Final = Backoff(first=30.0, longest=1800.0)
ONE_PLACE_ERRORS: Final = (LogAccessDenied, LogBucketMissing, FolderUnknown)
"""Errors that concern one place: the others are still compared."""

log = structlog.get_logger()

Spot = tuple[str, str, str]
"""Bucket, prefix, folder of a scope."""


class Position(msgspec.Struct, frozen=True):
    """What is done of a round: all before `spot`, and of `spot` up to the folder of the prefix `after`.

    `after` is None if nothing is done there yet.
    """

    round: Round
    spot: Spot | None = None
    after: str | None = None
    last: Round | None = None
    """The round before."""


class ContinuousComparison:
    """Compares while `run` runs, and keeps `truth` up to date."""

    def __init__(
        self,
        *,
        levels: Levels,
        scopes: Callable[[], Sequence[Scope]],
        every: float,
        ledger: OptionalLedger,
        clock: Clock,
        truth: Truth,
        gates: Sequence[Gate] = (),
        repair: Repair | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """`every`: seconds for a round. `scopes` returns what to compare, as known now, while no gate is closed."""
        self._levels = levels
        self._scopes = scopes
        self._every = every
        self._ledger = ledger
        self._clock = clock
        self._truth = truth
        self._gates = gates
        self._repair = repair
        self._wall_clock = wall_clock
        self._position = Position(Round(NOT_BEGUN))
        self._saved = float("-inf")
        truth.repairs = repair is not None

    async def run(self) -> None:
        """Compare round after round, until cancelled."""
        await self._resume()
        failures = 0
        while True:
            await passable(self._gates)
            try:
                await self._round()
                failures = 0
            except JibeError as error:
                failures += 1
                delay = RETRY_DELAYS.delay(failures)
                log.warning("comparison_interrupted", reason=str(error), retry_in=delay)
                await self._clock.sleep(delay)

    async def _resume(self) -> None:
        text = (await self._ledger.notes([NOTE])).get(NOTE)
        if text:
            try:
                self._position = msgspec.json.decode(text, type=Position)
            except msgspec.DecodeError as error:
                # Of another version. The round begins again.
                log.warning("comparison_forgotten", reason=str(error), consequence="all folders are compared again")
        if self._position.round.began:
            self._truth.last = self._position.last
            self._truth.current = None if self._position.round.ended else self._position.round

    async def _round(self) -> None:
        before = self._position.round
        if before.ended:
            await self._clock.sleep(max(before.began + self._every - self._wall_clock(), 0.0))
            await passable(self._gates)
        if before.ended or not before.began:
            self._begin(before if before.ended else None)
        position = self._position
        for scope in self._scopes():
            spot = (scope.bucket, scope.prefix, scope.folder)
            if position.spot is not None and spot < position.spot:
                continue
            after = position.after if spot == position.spot else None
            try:
                await self._compare(scope, spot, after)
                self._truth.compared(scope.bucket)
            except ONE_PLACE_ERRORS as error:
                self._truth.not_compared(scope.bucket, str(error))
                log.warning("bucket_not_compared", bucket=scope.bucket, folder=scope.folder, reason=str(error))
        await self._end()

    def _begin(self, last: Round | None) -> None:
        self._position = Position(Round(self._wall_clock()), last=last)
        self._truth.current, self._truth.last = self._position.round, last

    async def _end(self) -> None:
        ended = msgspec.structs.replace(self._position.round, ended=self._wall_clock())
        self._position = Position(ended, last=ended)
        self._truth.last, self._truth.current = ended, None
        await self._save()
        log.info(
            "comparison_finished",
            folders=ended.folders,
            objects=ended.objects,
            wrong=ended.wrong,
            unrepaired=ended.unrepaired,
            failed=ended.failed,
            true_ratio=ended.ratio,
            seconds=round(ended.ended - ended.began),
        )

    async def _compare(self, scope: Scope, spot: Spot, after: str | None) -> None:
        """Visit the folders of a place in order, without recursion: keys may be deep."""
        if after == scope.prefix:
            return
        visits: list[_Visit] = []
        try:
            visits.append(self._visit(scope.level))
            while visits:
                visit = visits[-1]
                below = await visit.next()
                if below is None:
                    visits.pop()
                    await self._counted(visit, spot)
                elif after is None or not is_done(below, visit.level.prefix, after):
                    await passable(self._gates)
                    visits.append(self._visit(below))
        finally:
            for visit in visits:
                await visit.portions.aclose()

    def _visit(self, level: Level) -> "_Visit":
        comparison = Comparison(self._levels, repair=self._repair)
        return _Visit(level, comparison.totals, comparison.visit(level), self._clock)

    async def _counted(self, visit: "_Visit", spot: Spot) -> None:
        position, totals = self._position, visit.totals
        counted = msgspec.structs.replace(
            position.round,
            folders=position.round.folders + 1,
            objects=position.round.objects + totals.objects,
            wrong=position.round.wrong + totals.differences + totals.repaired,
            unrepaired=position.round.unrepaired + totals.differences,
            failed=position.round.failed + totals.failed,
        )
        self._position = Position(counted, spot, visit.level.prefix, position.last)
        self._truth.counted(
            counted,
            objects=totals.objects,
            wrong=totals.differences + totals.repaired,
            repaired=totals.repaired,
        )
        if totals.differences or totals.repaired or totals.failed:
            log.warning(
                "folder_differed",
                folder=visit.level.path,
                repaired=totals.repaired,
                examples=[f"{each.kind}: {each.key}" for each in totals.examples[:3]],
                failures=[each.reason for each in totals.failures],
                **{kind.value: count for kind, count in totals.counts.items()},
            )
        if self._clock.monotonic() - self._saved >= SAVE_INTERVAL:
            await self._save()
        await self._clock.sleep(self._pause(visit.seconds))

    async def _save(self) -> None:
        self._saved = self._clock.monotonic()
        await self._ledger.note(NOTE, msgspec.json.encode(self._position).decode())

    def _pause(self, seconds: float) -> float:
        """Seconds until the next folder. `seconds`: how long the last one took."""
        current, last = self._position.round, self._position.last
        left = current.began + self._every * SHARE_OF_TIME - self._wall_clock()
        if left <= 0:
            return 0.0
        if last is None or current.folders >= last.folders:
            # It is not known how many folders there are. Work for half of the time.
            return min(seconds, LONGEST_PAUSE)
        return min(max(left / (last.folders - current.folders) - seconds, 0.0), LONGEST_PAUSE)


class _Visit:
    """The visit of one folder, which is going on. `seconds`: the time that its comparison has taken."""

    def __init__(self, level: Level, totals: Totals, portions: AsyncGenerator[list[Level], None], clock: Clock) -> None:
        self.level = level
        self.totals = totals
        self.portions = portions
        self.seconds = 0.0
        self._below: Iterator[Level] = iter(())
        self._clock = clock

    async def next(self) -> Level | None:
        """The next folder below it, or None if it has been counted."""
        while True:
            below = next(self._below, None)
            if below is not None:
                return below
            began = self._clock.monotonic()
            portion = await anext(self.portions, None)
            self.seconds += self._clock.monotonic() - began
            if portion is None:
                return None
            self._below = iter(portion)
            # A folder with many subfolders must not keep others from their turn.
            await asyncio.sleep(0)


def is_done(level: Level, above: str, after: str) -> bool:
    """Whether a folder comes before the position `after`, or is the position. `above`: the prefix of the folder above.

    The folders that contain the position are not done. Names that differ only in case have no order: they are done again.
    """
    if level.prefix == after:
        return True
    if not after.startswith(above) or after.startswith(level.prefix):
        return False
    name = after[len(above) :].partition("/")[0]
    return level.prefix[len(above) : -1].casefold() < name.casefold()
