"""Imports: a place that appears gets a refresh of its whole tree, because its earlier changes were skipped.

    shown, and not known ──> a tree refresh that begins from now on ──succeeded──> known
    known, and not shown ──> not known any more: changes are skipped from now on

Known places are notes of the ledger, so a place also counts that appeared, or vanished, while the service was stopped. A place
is known only after its refresh has succeeded: a kill before that makes the next start refresh it. With an empty ledger, all
places that are shown are known: a service whose ledger does not survive must not refresh everything at each start.
"""

import asyncio
from typing import Final

import structlog

from jibe_sqs.concurrency.backoff import Backoff
from jibe_sqs.concurrency.first_of import first_of
from jibe_sqs.core.model import RefreshReason
from jibe_sqs.ports import Clock
from jibe_sqs.syncing.bucket_map import BucketMap, Spot
from jibe_sqs.syncing.known_places import KnownPlaces
from jibe_sqs.syncing.tree_refreshes import TreeRefreshes
from jibe_sqs.telemetry.optional_ledger import OptionalLedger

RETRY_DELAYS: Final = Backoff(first=60.0, longest=3600.0)
"""After a failed refresh of a tree."""
MIN_INTERVAL: Final = 3600.0
"""Seconds between two imports of one place. A place that vanishes and appears all the time may have millions of objects."""
LEDGER_RETRY: Final = 30.0
"""Seconds until a ledger that failed is read or written again."""

log = structlog.get_logger()


class Imports:
    """Imports places while `run` runs. `pending`: places that are not imported yet; `done`: those that were."""

    def __init__(
        self, *, buckets: BucketMap, trees: TreeRefreshes, ledger: OptionalLedger, clock: Clock, refresh: bool = True
    ) -> None:
        """`refresh`: False if only changes from now on count for a place that appears."""
        self._buckets = buckets
        self._trees = trees
        self._known = KnownPlaces(ledger)
        self._clock = clock
        self._refresh = refresh
        self._importing: dict[Spot, asyncio.Task[None]] = {}
        self._imported_at: dict[Spot, float] = {}
        """When each import ended, by the monotonic clock."""
        self.done = 0

    @property
    def counts(self) -> dict[str, int]:
        """The counts for the progress log."""
        return {"pending": len(self._importing), "done": self.done}

    async def run(self) -> None:
        """Import places that appear, until cancelled."""
        try:
            await self._watch()
        finally:
            tasks = list(self._importing.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self) -> None:
        shown = await self._buckets.changed()
        while (has_begun := await self._known.load()) is None:
            await self._clock.sleep(LEDGER_RETRY)
        if not has_begun:
            log.info(
                "places_first_seen",
                places=len(shown),
                consequence="changes from before this start are not imported",
                remedy="to find differences from before, run: jibe-sqs compare",
            )
            # Until then, the next start would be the first one, and would not import what appeared meanwhile.
            while not await self._known.begin(shown):
                await self._clock.sleep(LEDGER_RETRY)
        while True:
            await self._take(shown)
            shown = await first_of(self._buckets.changed(shown), self._write_again()) or shown

    async def _write_again(self) -> None:
        """Write the known places again, as long as the ledger could not be written. Never returns."""
        while True:
            await self._clock.sleep(LEDGER_RETRY)
            if not self._known.is_written:
                await self._known.write()

    async def _take(self, shown: frozenset[Spot]) -> None:
        for spot in self._importing.keys() - shown:
            # If it appears again, it needs a refresh that begins after that.
            self._importing.pop(spot).cancel()
        known = self._known.all()
        new = shown - known - self._importing.keys()
        await self._known.change(added=() if self._refresh else new, removed=known - shown)
        if self._refresh:
            for spot in sorted(new):
                self._importing[spot] = asyncio.create_task(self._import(spot), name=f"import {spot[0]}")

    async def _import(self, spot: Spot) -> None:
        about = dict(zip(("bucket", "folder", "prefix"), spot, strict=True))
        if spot in self._imported_at:
            await self._clock.sleep(max(0.0, self._imported_at[spot] + MIN_INTERVAL - self._clock.monotonic()))
        log.info("import_began", **about)
        began, failures = self._clock.monotonic(), 0
        while not await self._is_refreshed(spot, failures, about):
            failures += 1
            await self._clock.sleep(RETRY_DELAYS.delay(failures))
        await self._known.change(added=[spot])
        self._importing.pop(spot, None)
        self._imported_at[spot] = self._clock.monotonic()
        self.done += 1
        log.info("imported", **about, seconds=round(self._clock.monotonic() - began, 1))

    async def _is_refreshed(self, spot: Spot, failures: int, about: dict[str, str]) -> bool:
        try:
            error = await self._trees.refresh(spot[1], RefreshReason.IMPORT)
        except Exception:
            # A defect of ours. It must not lose the import.
            log.exception("import_crashed", **about)
            return False
        if error is not None:
            log.warning("import_failed", **about, reason=str(error), failures=failures + 1)
        return error is None
