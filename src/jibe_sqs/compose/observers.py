"""What people see of a service: its alerts, health, status, metrics and reports. They begin first, and end last."""

import socket
import uuid
from contextlib import AsyncExitStack

import structlog

from jibe_sqs.adapters.access_anywhere import (
    AccessAnywhere,
    ReportFolder,
)
from jibe_sqs.adapters.ledgers.memory import MemoryLedger
from jibe_sqs.adapters.worker_channel import HEALTH, METRICS, STATUS, WorkerEnd
from jibe_sqs.compose.alerting import ServiceAlerts
from jibe_sqs.compose.embedded_metrics import embedded_metrics
from jibe_sqs.compose.engine import Engine, Outputs
from jibe_sqs.compose.log_access import LogAccess
from jibe_sqs.compose.metrics import Measured
from jibe_sqs.compose.observation import health_page
from jibe_sqs.compose.pauses import ReportsUnlessPaused
from jibe_sqs.compose.reload import Apply
from jibe_sqs.compose.status import StatusView
from jibe_sqs.compose.world import World
from jibe_sqs.settings import Settings
from jibe_sqs.telemetry import logs
from jibe_sqs.telemetry.audit import Audit
from jibe_sqs.telemetry.health import Health
from jibe_sqs.telemetry.relayed_alerts import RelayedAlerts
from jibe_sqs.telemetry.reports import Reports
from jibe_sqs.telemetry.scrapes import Metrics
from jibe_sqs.telemetry.shared_reports import SharedReports
from jibe_sqs.telemetry.truth import Truth

log = structlog.get_logger()


async def observed(
    settings: Settings,
    health: Health,
    status: StatusView,
    metrics: Metrics,
    worker: WorkerEnd | None,
    stack: AsyncExitStack,
) -> ServiceAlerts | RelayedAlerts:
    """Start the alerts first, so that they stop last; and health, which an orchestrator asks for from the start.

    Returns the alerts. Those of a worker are sent by its supervisor.
    """
    health.note(lambda: [logs.lost().reason])
    if worker is None:
        alerts = await stack.enter_async_context(ServiceAlerts.running(settings))
        await health_page(settings, health, stack, status=status.current, metrics=metrics.exposition)
        await stack.enter_async_context(embedded_metrics(settings, metrics.current))
        return alerts
    worker.answer(HEALTH, lambda: health.report)
    worker.answer(STATUS, status.snapshot)
    worker.answer(METRICS, lambda: metrics.samples().sent())
    relayed = RelayedAlerts(worker.relay_alerts, level=settings.alerts.level)
    await stack.enter_async_context(relayed.running())
    return relayed


def reconfigured(alerts: ServiceAlerts | RelayedAlerts) -> Apply:
    """How the alerts follow changed settings. Those of a worker have no targets of their own."""
    if isinstance(alerts, ServiceAlerts):
        return alerts.reconfigure

    def change_level(settings: Settings) -> None:
        alerts.level = settings.alerts.level

    return change_level


def add_metrics(
    metrics: Metrics, world: World, engine: Engine, truth: Truth, log_access: LogAccess, stack: AsyncExitStack
) -> None:
    """Let the metrics read the parts of the service."""
    measured = Measured(
        engine=engine,
        outputs=world.outputs,
        client=world.client,
        truth=truth,
        in_flight=log_access.budgets,
        expiry=lambda: world.aws.expiry,
        paused=lambda: {pause.provider: True for pause in engine.pauses.pauses},
    )
    stack.enter_context(measured.loop_delay.running())
    measured.add_to(metrics)


def reports_of(
    settings: Settings,
    engine: Engine,
    outputs: Outputs,
    client: AccessAnywhere | None,
    truth: Truth,
    *,
    instance: str,
    audit: Audit | None = None,
) -> Reports:
    counters = engine.counters
    return Reports(
        engine.activity,
        interval=settings.report.interval,
        clock=outputs.clock,
        store=ReportsUnlessPaused(
            ReportFolder(client, settings.report.folder), settings.report.folder, engine.pauses
        ).store
        if client and settings.report.folder
        else None,
        pending=engine.refreshes.pending,
        gates=outputs.gates,
        counters={
            "messages": lambda: {"done": counters.done, "retried": counters.retried, "rejected": counters.rejected},
            "failures": lambda: counters.errors,
            "sweeps": lambda: engine.sweeper.counts,
            "compared": lambda: truth.totals,
            "avoidable": lambda: engine.costs.totals,
        },
        collisions=outputs.decisions.collisions,
        instance=instance,
        observe=audit.reported if audit is not None else None,
        shared=None
        if isinstance(outputs.ledger, MemoryLedger)
        else SharedReports(engine.ledger, f"{instance}-{uuid.uuid4().hex[:8]}", settings.report.interval),
    )


def instance_of(worker: WorkerEnd | None) -> str:
    """The name of this process, among others that write into the same folder."""
    host = socket.gethostname()
    return host if worker is None else f"{host}-{worker.worker.index}"
