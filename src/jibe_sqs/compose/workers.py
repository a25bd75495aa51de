"""Several workers on one machine: processes that share the queues and the ledger. This one supervises them.

    start the first worker ──it has started──> start the others
        a worker ends ──> start it again, later each time
        it fails to start again and again ──> stop all, and give up
    SIGTERM ──> SIGTERM to each worker ──all have ended──> end

The first worker alone does what only one process may do. It starts first, so what is wrong with the settings, the queues or the
ledger is found once, and ends the service as it ends a single process.
"""

import asyncio
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import msgspec
import structlog

from jibe_sqs import __version__
from jibe_sqs.adapters.worker_channel import (
    HEALTH,
    METRICS,
    STATUS,
    Alerted,
    Given,
    Message,
    NewSettings,
    Notes,
    Started,
    Worker,
)
from jibe_sqs.adapters.worker_processes import Command, WorkerProcess, WorkerProcesses
from jibe_sqs.compose.alerting import ServiceAlerts, shared_by_hosts
from jibe_sqs.compose.embedded_metrics import embedded_metrics
from jibe_sqs.compose.observation import configure_log, health_page
from jibe_sqs.compose.reload import Apply, Part, Reload
from jibe_sqs.compose.settings_watch import watched
from jibe_sqs.compose.worker_metrics import WorkerMetrics
from jibe_sqs.concurrency.backoff import Backoff
from jibe_sqs.concurrency.first_of import first_of
from jibe_sqs.consuming.signals import end_undisturbed, ignore_other_signals
from jibe_sqs.settings import Settings, Texts
from jibe_sqs.telemetry import logs
from jibe_sqs.telemetry.alerts import Alerts
from jibe_sqs.telemetry.health import HealthReport
from jibe_sqs.telemetry.merged_status import merged
from jibe_sqs.telemetry.samples import Sent
from jibe_sqs.telemetry.status import Stage, Status
from jibe_sqs.telemetry.status_sentence import with_sentence

log = structlog.get_logger()

RESTART_DELAYS: Final = Backoff(first=1.0, longest=60.0)
"""After the ends of a worker in a row."""
STABLE: Final = 60.0
"""Seconds. If a worker has run for so long, its next end is the first one in a row."""
MAX_FAILED_STARTS: Final = 5
"""Starts of one worker in a row that fail, before the supervisor gives up."""
KILL_MARGIN: Final = 33.0
"""Seconds after the drain deadline. A worker that has not ended by then is stuck, and is killed."""
SEND_AGAIN: Final = 1.0
"""Seconds until changed settings are sent again to a worker that does not read."""
MAX_KEPT_NOTES: Final = 1000
"""Notes for the first worker that are kept while it does not run."""
LAST_MESSAGE_TIMEOUT: Final = 1.0
"""Seconds for the last messages of a worker that has ended."""
LAST_LINE_TIMEOUT: Final = 0.5
"""Seconds for writing the last log lines, if a second signal ends the process."""


def supervise(settings: Settings, workers: int, texts: Texts) -> int:
    """Run so many workers until SIGTERM. Returns the exit code. `texts`: what the settings were loaded from."""

    async def run() -> int:
        ignore_other_signals()
        async with AsyncExitStack() as stack:
            alerts = await stack.enter_async_context(ServiceAlerts.running(settings))
            await shared_by_hosts(alerts, settings, stack)
            supervisor = Supervisor(
                _command(),
                workers=workers,
                drain_timeout=settings.drain_timeout,
                alerts=alerts.alerts,
                given=Given(texts, texts),
            )
            parts: dict[Part, Apply] = {Part.ALERTS: alerts.reconfigure, Part.LOG: configure_log}
            reload = Reload(settings, parts, accept=supervisor.new_settings)
            supervisor.settings_problem = lambda: reload.problem
            await stack.enter_async_context(watched(texts, reload, stack))
            metrics = WorkerMetrics(supervisor.samples)
            metrics.add(lambda samples: samples.add("jibe_settings_problem", bool(reload.problem)))
            await health_page(settings, supervisor.health, stack, status=supervisor.status, metrics=metrics.exposition)
            await stack.enter_async_context(embedded_metrics(settings, metrics.samples))
            code = await supervisor.run()
        end_undisturbed()
        return code

    return asyncio.run(run())


def _command() -> Command:
    # `-m` alone puts the working directory in front of the installed packages.
    python = [sys.executable, *([] if os.getcwd() in sys.path else ["-P"]), "-m", "jibe_sqs"]  # noqa: PTH109 - a text

    def command(worker: Worker) -> Sequence[str]:
        return [*python, "run", "--worker", str(worker)]

    return command


@dataclass(slots=True)
class _Place:
    """One of the workers, through all its restarts. `reason`: why it does not run now."""

    index: int
    process: WorkerProcess | None = None
    is_started: bool = False
    first_start: asyncio.Event = field(default_factory=asyncio.Event)
    failed_starts: int = 0
    ends: int = 0
    """Those in a row."""
    reason: str = "not started yet"
    settings: int = 0
    """How often the settings had changed when the worker got them, at its start or later."""


class Supervisor:
    """Starts the workers, restarts those that end, and stops all of them."""

    def __init__(
        self,
        command: Command,
        *,
        workers: int,
        drain_timeout: float,
        kill_margin: float = KILL_MARGIN,
        restart_delays: Backoff = RESTART_DELAYS,
        alerts: Alerts | None = None,
        given: Given | None = None,
    ) -> None:
        """`drain_timeout`, in which workers end after SIGTERM, and `kill_margin`, after which they are killed: seconds.

        `alerts`: takes those of the workers. `given`: what the workers load their settings from.
        """
        self._given = given or Given(Texts(), Texts())
        self._changes = 0
        self.settings_problem: Callable[[], str] = str
        """Why a changed configuration is not in force; empty if it is."""
        self._processes = WorkerProcesses(command, workers=workers, given=bytes(self._given))
        self._places = [_Place(index) for index in range(workers)]
        self._drain_timeout = drain_timeout
        self._kill_margin = kill_margin
        self._restart_delays = restart_delays
        self._alerts = alerts
        self._notes: deque[Notes] = deque(maxlen=MAX_KEPT_NOTES)
        self._stopping = asyncio.Event()
        self._began = time.time()
        self._code = 0

    async def run(self) -> int:
        """Run until stopped, or until a worker cannot be started. Returns the exit code of the process."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGCHLD, self._processes.reap)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)
        logs.share_standard_error(self._processes.log_lock)
        log.info("supervisor_started", workers=len(self._places))
        try:
            await asyncio.gather(*(self._keep(place) for place in self._places))
        finally:
            # After a defect: nothing may be left that runs by itself.
            self._signal_all(signal.SIGKILL)
        log.info("supervisor_stopped", exit_code=self._code)
        return self._code

    def stop(self, code: int = 0) -> None:
        """Stop all workers. `code`: the exit code, if all of them end well."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._code = code
        log.info("stopping", drain_timeout=self._drain_timeout)
        self._signal_all(signal.SIGTERM)
        asyncio.get_running_loop().call_later(self._drain_timeout + self._kill_margin, self._kill)

    def new_settings(self, texts: Texts) -> None:
        """Let all workers load their settings from these texts, which were accepted."""
        self._changes += 1
        self._given = msgspec.structs.replace(self._given, latest=texts)
        self._processes.give(bytes(self._given))
        for place in self._places:
            self._send_settings(place)

    def _send_settings(self, place: _Place) -> None:
        if place.process is None or place.settings >= self._changes:
            return
        if place.process.send(NewSettings(self._given.latest)):
            place.settings = self._changes
        else:
            # It starts, or does not read for now. It would go on with the settings from before.
            asyncio.get_running_loop().call_later(SEND_AGAIN, self._send_settings, place)

    async def health(self) -> HealthReport:
        """The health of all workers together."""
        reports = await asyncio.gather(*(self._health(place) for place in self._places))
        return combined(
            reports,
            own_warnings=filter(None, [logs.lost().reason, self.settings_problem()]),
            is_stopping=self._stopping.is_set(),
        )

    async def _health(self, place: _Place) -> HealthReport:
        process = place.process
        if process is None:
            return _not_running(place.reason)
        if report := await process.ask(HEALTH, HealthReport):
            return report
        if process.is_ending:
            return _not_running("it ends")
        if not place.is_started:
            return _not_running("starting")
        stuck = ["does not answer"]
        return HealthReport(liveness_failures=stuck, readiness_failures=stuck)

    async def status(self) -> Status:
        """The status of all workers together."""
        # Both at once: each waits for workers that do not answer.
        asking = asyncio.gather(*(self._status(place) for place in self._places))
        health, found = await asyncio.gather(self.health(), asking)
        answered = [each for each in found if each is not None]
        whole = msgspec.structs.replace(
            merged(answered) if answered else self._unanswered(),
            workers=len(self._places),
            reasons=[each for each in health.readiness_failures if each not in ("starting", "stopping")],
            warnings=health.warnings,
            settings_problem=self.settings_problem(),
        )
        return with_sentence(whole)

    def _unanswered(self) -> Status:
        """What is known without an answer of any worker."""
        stage: Stage = "stopping" if self._stopping.is_set() else "starting"
        if stage == "starting" and any(place.first_start.is_set() for place in self._places):
            stage = "running"
        return Status(
            at=time.time(), version=__version__, stage=stage, started=self._began, held_up="No worker answers"
        )

    async def samples(self) -> dict[str, Sent | None]:
        """The metrics of each worker, by its number. None for one that does not answer."""
        found = await asyncio.gather(*(self._samples(place) for place in self._places))
        return {str(place.index): each for place, each in zip(self._places, found, strict=True)}

    @staticmethod
    async def _samples(place: _Place) -> Sent | None:
        return None if place.process is None else await place.process.ask(METRICS, Sent)

    @staticmethod
    async def _status(place: _Place) -> Status | None:
        return None if place.process is None else await place.process.ask(STATUS, Status)

    def _on_signal(self) -> None:
        if self._stopping.is_set():
            # A second signal. Held messages become visible again when their timeout ends.
            log.warning("stopped_at_once")
            self._signal_all(signal.SIGKILL)
            logs.wait_until_written(LAST_LINE_TIMEOUT)
            os._exit(1)
        self.stop()

    def _signal_all(self, number: signal.Signals) -> None:
        for process in self._processes.running:
            process.signal(number)

    def _kill(self) -> None:
        if left := self._processes.running:
            log.error("workers_killed", workers=sorted(each.index for each in left))
            self._signal_all(signal.SIGKILL)

    # One worker

    async def _keep(self, place: _Place) -> None:
        """Run the worker again and again until the stop."""
        if place.index:
            await first_of(self._places[0].first_start.wait(), self._stopping.wait())
        while not self._stopping.is_set():
            began = asyncio.get_running_loop().time()
            code = await self._run_once(place)
            if self._stopping.is_set():
                # A worker that is not started holds nothing, so it may end in any way.
                if code and place.is_started:
                    log.error("worker_ended", worker=place.index, reason=_reason(code))
                    self._code = self._code or 1
                return
            place.failed_starts = 0 if place.is_started else place.failed_starts + 1
            place.ends = 1 if asyncio.get_running_loop().time() - began >= STABLE else place.ends + 1
            place.reason = _reason(code)
            if self._gives_up(place, code):
                log.error(
                    "workers_given_up",
                    worker=place.index,
                    reason=f"its start failed: {place.reason}",
                    failed_starts=place.failed_starts,
                    remedy="the lines before this one say why it ended",
                )
                self.stop(code=max(code, 1))
                return
            delay = self._restart_delays.delay(place.ends)
            log.warning("worker_ended", worker=place.index, reason=place.reason, restart_in=round(delay, 1))
            await first_of(self._stopping.wait(), asyncio.sleep(delay))

    async def _run_once(self, place: _Place) -> int:
        """Run the worker to its end. Returns its exit code."""
        place.is_started = False
        try:
            place.settings = self._changes
            process = place.process = self._processes.start(place.index)
        except OSError as error:
            log.error("worker_not_started", worker=place.index, reason=str(error))  # noqa: TRY400 - the system's answer
            return 1
        log.info("worker_began", worker=place.index, pid=process.pid)
        listening = asyncio.create_task(process.listen(partial(self._take, place)))
        try:
            code = await process.code
            # Its end of the channel is closed, unless a process that it has started keeps it open.
            await asyncio.wait([listening], timeout=LAST_MESSAGE_TIMEOUT)
            return code
        finally:
            place.process = None
            if self._alerts is not None:
                self._alerts.forget(str(place.index))
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    @staticmethod
    def _gives_up(place: _Place, code: int) -> bool:
        # The first start of all found out whether settings, queues and ledger can be used. A signal says nothing of them.
        was_refused = place.index == 0 and not place.first_start.is_set() and code > 0
        return was_refused or place.failed_starts >= MAX_FAILED_STARTS

    def _take(self, place: _Place, message: Message) -> None:
        match message:
            case Started():
                place.is_started = True
                place.first_start.set()
                self._send_settings(place)
                self._pass_on_notes()
            case Notes():
                self._notes.append(message)
                self._pass_on_notes()
            case Alerted() if self._alerts is not None:
                self._alerts.merge(message.merged_groups(), str(place.index))

    def _pass_on_notes(self) -> None:
        first = self._places[0]
        while self._notes and first.is_started and first.process is not None and first.process.send(self._notes[0]):
            self._notes.popleft()


def combined(
    reports: Sequence[HealthReport], *, own_warnings: Iterable[str] = (), is_stopping: bool = False
) -> HealthReport:
    """The health of a service with these workers. `own_warnings`: of the supervisor.

    It is alive if each worker is, because a supervisor restarts only workers that end. It has started if one worker has, and is
    ready if one worker is: then the work is done. What the others cannot do is a warning.
    """
    is_started = any(not report.startup_failures for report in reports)
    is_ready = any(not report.readiness_failures for report in reports)
    unready = _prefixed([report.readiness_failures for report in reports])
    warnings = [*own_warnings, *_prefixed([report.warnings for report in reports])]
    return HealthReport(
        liveness_failures=_prefixed([report.liveness_failures for report in reports]),
        startup_failures=["stopping"]
        if is_stopping
        else []
        if is_started
        else _prefixed([report.startup_failures for report in reports]),
        readiness_failures=["stopping"] if is_stopping else [] if is_ready else unready,
        warnings=[*unready, *warnings] if is_ready or is_stopping else warnings,
    )


def _not_running(why: str) -> HealthReport:
    return HealthReport(startup_failures=[why], readiness_failures=[why])


def _prefixed(sentences: Sequence[Sequence[str]]) -> list[str]:
    return [f"worker {index}: {each}" for index, found in enumerate(sentences) for each in found]


def _reason(code: int) -> str:
    if code >= 0:
        return f"it ended with exit code {code}"
    return f"it was killed by {signal.Signals(-code).name}"
