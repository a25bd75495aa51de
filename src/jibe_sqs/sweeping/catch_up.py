"""Catch-up: a queue deleted messages before they were done, because the service, Access Anywhere or a log bucket was away for too long.

    queue with a gap ──> window: from the retention before the gap until now
        its messages announced log files, all in configured sources ──> sweep each source once over the window
        otherwise ──> refresh every tree that Access Anywhere shows
    all of it done ──> the gap is closed

The window begins before the gap. A message that was received just before it may have been as old as the retention, and may
have been deleted before it was done. Files that are finished are skipped by the ledger. The gap stays in the ledger until
everything is done, so a kill begins the catch-up again.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Final

import structlog

from jibe_sqs.concurrency.backoff import Backoff
from jibe_sqs.concurrency.gates import passable
from jibe_sqs.core.date_folders import Window
from jibe_sqs.core.decisions import Places
from jibe_sqs.core.errors import BucketNotAllowed, LogAccessDenied, LogBucketMissing, LogStoreError
from jibe_sqs.core.model import RefreshReason
from jibe_sqs.ports import Clock, Gate
from jibe_sqs.sweeping.sweep_queue import SweepQueue
from jibe_sqs.sweeping.sweeper import Sweep, Sweeper
from jibe_sqs.syncing.tree_refreshes import TreeRefreshes
from jibe_sqs.telemetry.queue_activity import Gap, QueueActivity

log = structlog.get_logger()

POLL: Final = 10.0
"""Seconds between two looks for gaps."""
PAUSE_SHARE: Final = 1 / 24
"""The share of the retention after which a queue is caught up again. During a long outage of a log bucket, messages expire all the
time, and each catch-up may refresh every tree."""
RETRY_DELAYS: Final = Backoff(first=60.0, longest=3600.0)
MAX_WINDOW: Final = 60 * 86_400.0
"""Seconds. For a longer window, trees are refreshed: they cost less than the log files of so many days."""
_DENIED: Final = (LogAccessDenied, LogBucketMissing, BucketNotAllowed)
"""Failures of a sweep that do not end by themselves."""


class CatchUp:
    """Closes the gaps of the queues while `run` runs."""

    def __init__(
        self,
        *,
        queues: Sequence[QueueActivity],
        sources: Sequence[Sweep],
        sweeper: Sweeper,
        sweep_queue: SweepQueue,
        trees: TreeRefreshes,
        places: Callable[[], Places | None],
        remember: Callable[[], Awaitable[None]],
        clock: Clock,
        gates: Sequence[Gate] = (),
        is_automatic: bool = True,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """`sources`: all configured log sources. `remember`: notes in the ledger which gaps there are.

        `is_automatic`: False if gaps are only logged.
        """
        self._queues = queues
        self._sources = sources
        self._sweeper = sweeper
        self._sweep_queue = sweep_queue
        self._trees = trees
        self._places = places
        self._remember = remember
        self._clock = clock
        self._gates = gates
        self._is_automatic = is_automatic
        self._wall_clock = wall_clock
        self._logged: dict[str, Gap] = {}
        self._again_at: dict[str, float] = {}
        """Queue -> monotonic: not before then."""

    async def run(self) -> None:
        """Close the gaps until cancelled."""
        failures = 0
        while True:
            try:
                is_done = await self._look()
            except Exception:
                # A defect of ours. The gap stays, and the service goes on.
                log.exception("catch_up_crashed")
                is_done = False
            failures = 0 if is_done else failures + 1
            await self._clock.sleep(POLL if is_done else RETRY_DELAYS.delay(failures))

    async def _look(self) -> bool:
        """Close the gaps that there are now. False if that failed."""
        now = self._clock.monotonic()
        due = (queue for queue in self._queues if now >= self._again_at.get(queue.name, now))
        gaps = [(queue, queue.gap) for queue in due if queue.gap]
        if not gaps:
            return True
        # Before anything else: a kill from here on must not lose them.
        await self._remember()
        for queue, gap in gaps:
            self._log_expired(queue, gap)
        if self._is_automatic:
            began = self._clock.monotonic()
            if not await self._close(gaps):
                return False
            log.info("caught_up", queues=[queue.name for queue, _ in gaps], seconds=self._seconds_since(began))
        for queue, gap in gaps:
            queue.caught_up(gap)
            self._again_at[queue.name] = self._clock.monotonic() + queue.retention * PAUSE_SHARE
        await self._remember()
        return True

    async def _close(self, gaps: Sequence[tuple[QueueActivity, Gap]]) -> bool:
        await passable(self._gates)
        start = min(gap.start - queue.retention for queue, gap in gaps)
        window = Window(start, self._wall_clock())
        if reason := self._why_trees([queue for queue, _ in gaps], window):
            await self._refresh_trees(reason)
            return True
        log.info("catch_up_began", by="log files", start=_text(window.start), sources=len(self._sources))
        rejected = self._sweep_queue.rejected
        failures: list[LogStoreError] = []
        for source in self._sources:
            failures += (await self._sweeper.sweep(source, window)).failures
        if denied := [each for each in failures if isinstance(each, _DENIED)]:
            await self._refresh_trees(f"the log files cannot be listed: {denied[0]}")
            return True
        if failures:
            log.warning("catch_up_failed", reason=str(failures[0]), failures=len(failures))
            return False
        await self._sweep_queue.left(self._sweep_queue.newest)
        if rejected := self._sweep_queue.rejected - rejected:
            await self._refresh_trees(f"{rejected} log files cannot be processed")
        return True

    def _why_trees(self, queues: Sequence[QueueActivity], window: Window) -> str:
        """Why log files do not suffice. Empty if they do."""
        if names := [queue.name for queue in queues if queue.brings_events]:
            return f"messages without log files came from {', '.join(names)}"
        if not self._sources:
            return "no logs are configured, so it is not known where the log files are"
        if window.end - window.start > MAX_WINDOW:
            return f"the log files of more than {MAX_WINDOW / 86_400:g} days would have to be read"
        return ""

    async def _refresh_trees(self, reason: str) -> None:
        """Refresh each tree that is shown, until that has succeeded once."""
        left = self._shown()
        log.info("catch_up_began", by="trees", reason=reason, trees=len(left))
        failures = 0
        while left:
            answers = await asyncio.gather(
                *(self._trees.refresh(path, RefreshReason.CATCH_UP) for path in sorted(left))
            )
            failed = {path: error for path, error in zip(sorted(left), answers, strict=True) if error}
            if failed:
                failures += 1
                log.warning("catch_up_failed", reason=str(next(iter(failed.values()))), failures=len(failed))
                await self._clock.sleep(RETRY_DELAYS.delay(failures))
            left = failed.keys() & self._shown()

    def _shown(self) -> set[str]:
        """The folders of all places."""
        return {place.folder for shown in (self._places() or {}).values() for place in shown}

    def _log_expired(self, queue: QueueActivity, gap: Gap) -> None:
        if self._logged.get(queue.name) == gap:
            return
        self._logged[queue.name] = gap
        start = _text(gap.start - queue.retention)
        by_hand = f"jibe-sqs backfill --from {start} --to {_text(gap.end)}"
        log.warning(
            "messages_expired",
            queue=queue.name,
            gap=round(gap.end - gap.start),
            retention=round(queue.retention),
            consequence="the queue may have deleted messages that nobody has done; Access Anywhere may show old files",
            remedy="the service catches up by itself; caught_up is logged at the end"
            if self._is_automatic
            else by_hand,
        )

    def _seconds_since(self, began: float) -> float:
        return round(self._clock.monotonic() - began, 1)


def _text(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
