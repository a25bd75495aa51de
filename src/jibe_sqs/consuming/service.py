"""The running service: its consumers, its background work, and its shutdown."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final

import structlog

from jibe_sqs.concurrency.first_of import first_of
from jibe_sqs.consuming.consumer import Consumer
from jibe_sqs.core.errors import LedgerError
from jibe_sqs.ports import Ledger
from jibe_sqs.syncing.changes import Changes
from jibe_sqs.syncing.refreshes import Refreshes
from jibe_sqs.telemetry import logs
from jibe_sqs.telemetry.counters import Counters
from jibe_sqs.telemetry.health import Health

log = structlog.get_logger()

Work = Callable[[], Coroutine[Any, Any, None]]
"""Background work: runs beside the consumers until it is cancelled."""

LAST_LINE_TIMEOUT: Final = 0.5
"""Seconds for writing the last log lines, if a second signal ends the process."""
LAST_WORK_TIMEOUT: Final = 5.0
"""Seconds for the work at the stop. A ledger that does not answer must not use up the drain deadline."""
PRUNE_INTERVAL: Final = 3600.0
"""Seconds between two prunings of the ledger."""


class Service:
    """Runs until SIGTERM or SIGINT, or until its job is done."""

    def __init__(
        self,
        *,
        consumers: Sequence[Consumer],
        refreshes: Refreshes,
        changes: Changes | None = None,
        ledger: Ledger,
        counters: Counters,
        health: Health,
        background: Mapping[str, Work] | None = None,
        job: Work | None = None,
        at_stop: Work | None = None,
        counts: Mapping[str, Callable[[], Mapping[str, object]]] | None = None,
        drain_timeout: float,
        progress_interval: float,
        retain: float | None,
    ) -> None:
        """`drain_timeout`, `progress_interval` (0: never) and `retain` (age of ledger entries) in seconds.

        `retain`: None if another process prunes the ledger.

        `background`: more work to run, by name. `job`: when it ends, the service stops by itself. `at_stop`: work
        for which the stop waits a few seconds. `counts`: more counts for the progress log, by name.
        """
        self._consumers = consumers
        self._refreshes = refreshes
        self._changes = changes
        self._ledger = ledger
        self._counters = counters
        self._health = health
        self._background = background or {}
        self._job = job
        self._at_stop = at_stop
        self._counts = counts or {}
        self._drain_timeout = drain_timeout
        self._progress_interval = progress_interval
        self._retain = retain
        self._stopping = asyncio.Event()
        self._ends_at_second_signal = True

    def stop(self) -> None:
        """Stop receiving, finish held messages until the drain deadline, and give the rest back."""
        self._stopping.set()
        self._health.stopping()
        for consumer in self._consumers:
            consumer.stop()
        log.info("stopping", drain_timeout=self._drain_timeout)

    async def run(self, *, ends_at_second_signal: bool = True) -> None:
        """Run until stopped. Raises only for a defect. `ends_at_second_signal`: False if further signals say nothing new."""
        self._ends_at_second_signal = ends_at_second_signal
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)
        log.info("started", queues=len(self._consumers))
        housekeeping = [asyncio.create_task(self._report())]
        if self._retain is not None:
            housekeeping.append(asyncio.create_task(self._prune(self._retain)))
        background = [asyncio.create_task(work(), name=name) for name, work in self._background.items()]
        working = [
            asyncio.create_task(consumer.run(), name=f"consumer {consumer.name}") for consumer in self._consumers
        ]
        self._health.started([*working, *background])
        try:
            await self._until_drained(working)
        finally:
            if self._changes is not None:
                await self._changes.stop()
            # Before the refreshes: background work that waits for one must not take its end for a defect.
            for task in [*housekeeping, *background]:
                task.cancel()
            await asyncio.gather(*housekeeping, *background, return_exceptions=True)
            await self._refreshes.stop()
            # The signal handlers stay: closing may take long, and a second signal must end the process then, too.
            self._log_progress("stopped")

    def _on_signal(self) -> None:
        if self._stopping.is_set() and not self._ends_at_second_signal:
            return
        if self._stopping.is_set():
            # A second signal. Held messages become visible again when their timeout ends.
            log.warning("stopped_at_once")
            logs.wait_until_written(LAST_LINE_TIMEOUT)
            os._exit(1)
        self.stop()

    async def _until_drained(self, working: "Sequence[asyncio.Task[None]]") -> None:
        last: list[asyncio.Task[None]] = []
        try:
            # A consumer that ends before the stop has a defect. Then the others give their messages back.
            if await first_of(self._job_or_end(working), self._stopping.wait()):
                self.stop()
            if self._stopping.is_set() and working:
                last = self._last_work()
                _, late = await asyncio.wait([*working, *last], timeout=self._drain_timeout)
                if late := late.intersection(working):
                    log.warning("drain_deadline_over", queues=len(late))
        finally:
            for task in [*working, *last]:
                task.cancel()
            # Wait for each of them: all must give their messages back.
            await asyncio.gather(*working, *last, return_exceptions=True)
        for task in working:
            if not task.cancelled():
                task.result()

    def _last_work(self) -> "list[asyncio.Task[None]]":
        """The work at the stop, which has a few seconds."""
        if self._at_stop is None:
            return []
        work = self._at_stop

        async def in_time() -> None:
            try:
                async with asyncio.timeout(LAST_WORK_TIMEOUT):
                    await work()
            except TimeoutError:
                log.debug("last_work_abandoned", after=LAST_WORK_TIMEOUT)

        return [asyncio.create_task(in_time(), name="at stop")]

    async def _job_or_end(self, working: "Sequence[asyncio.Task[None]]") -> bool:
        """Return when the job is done, or when one of the consumers ends. Returns whether the job is done."""
        if self._job is None:
            await self._any_end(working)
            return False
        return await first_of(self._done(self._job), self._any_end(working)) is not None

    @staticmethod
    async def _done(job: Work) -> bool:
        await job()
        return True

    @staticmethod
    async def _any_end(working: "Sequence[asyncio.Task[None]]") -> None:
        """Return when one of the consumers ends. A service of background work only has none."""
        if working:
            await asyncio.wait(working, return_when=asyncio.FIRST_COMPLETED)
        else:
            await asyncio.Event().wait()

    async def _report(self) -> None:
        while self._progress_interval:
            await asyncio.sleep(self._progress_interval)
            self._log_progress("progress")

    async def _prune(self, retain: float) -> None:
        while True:
            try:
                await self._ledger.prune(time.time() - retain)
            except LedgerError as error:
                log.warning("prune_failed", reason=str(error))
            await asyncio.sleep(PRUNE_INTERVAL)

    def _log_progress(self, event: str) -> None:
        log.info(event, **self._counters.as_dict(), **{name: dict(count()) for name, count in self._counts.items()})
