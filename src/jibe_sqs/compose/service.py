"""From settings to a running service.

What only some settings need is imported when they need it: imports are most of the time until the first receive.
"""

import socket
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

import structlog

from jibe_sqs.adapters import access_anywhere
from jibe_sqs.adapters.access_anywhere import (
    AccessAnywhere,
    AccessAnywhereLogs,
    Batch,
    ProviderEventTarget,
    Providers,
    RefreshTarget,
    ReportFolder,
)
from jibe_sqs.adapters.aws import Aws
from jibe_sqs.adapters.clock import S3Clock
from jibe_sqs.adapters.dry_run import DryRunTarget
from jibe_sqs.adapters.ledgers.memory import MemoryLedger
from jibe_sqs.adapters.s3 import Regions
from jibe_sqs.adapters.worker_channel import HEALTH, METRICS, STATUS, WorkerEnd
from jibe_sqs.compose import rules, stores
from jibe_sqs.compose.alerting import ServiceAlerts
from jibe_sqs.compose.audit import opened_audit
from jibe_sqs.compose.control import open_control_socket
from jibe_sqs.compose.embedded_metrics import embedded_metrics
from jibe_sqs.compose.engine import Engine, Inputs, Outputs, Policies, Relay
from jibe_sqs.compose.fingerprint import Fingerprint
from jibe_sqs.compose.live_settings import LiveService
from jibe_sqs.compose.metrics import Measured
from jibe_sqs.compose.observation import health_page
from jibe_sqs.compose.pauses import ReportsUnlessPaused, limits_of_providers, pauses_of
from jibe_sqs.compose.queues import usable_queues
from jibe_sqs.compose.reload import Apply, Reload
from jibe_sqs.compose.secrets import renewed_credentials
from jibe_sqs.compose.settings_changes import log_settings_changes
from jibe_sqs.compose.settings_watch import given_by_supervisor, watched
from jibe_sqs.compose.start_checks import start_checks
from jibe_sqs.compose.status import Sources, StatusView
from jibe_sqs.compose.tracing import opened_tracer
from jibe_sqs.concurrency.budget import Budget
from jibe_sqs.consuming.service import Service, Work
from jibe_sqs.core.decisions import Decisions, Place, Places
from jibe_sqs.core.model import Folder
from jibe_sqs.core.sources import LogSource
from jibe_sqs.core.verdicts import RetryPolicy
from jibe_sqs.ports import Ledger, Listing, Signatures, Validity
from jibe_sqs.settings import DefaultLogs, LogSettings, Settings, Texts, share_of
from jibe_sqs.sweeping.sweeper import Sweep
from jibe_sqs.syncing.bucket_map import BucketMap, PlacesOfProviders
from jibe_sqs.syncing.pace import Costs
from jibe_sqs.syncing.pauses import Pauses
from jibe_sqs.telemetry import logs
from jibe_sqs.telemetry.audit import Audit
from jibe_sqs.telemetry.health import Health
from jibe_sqs.telemetry.optional_ledger import OptionalLedger
from jibe_sqs.telemetry.relayed_alerts import RelayedAlerts
from jibe_sqs.telemetry.reports import Reports
from jibe_sqs.telemetry.scrapes import Metrics
from jibe_sqs.telemetry.shared_reports import SharedReports
from jibe_sqs.telemetry.tracing import Tracer
from jibe_sqs.telemetry.truth import Truth

log = structlog.get_logger()


@asynccontextmanager
async def service(
    settings: Settings, worker: WorkerEnd | None = None, texts: Texts | None = None
) -> AsyncIterator[Service]:
    """A service, connected to everything. Raises `QueueError` for an unusable queue, `LedgerError` for the ledger.

    `settings`: of all workers together. `texts`: what the settings were loaded from, to look for changes. `worker`: if this process is one of several. Work that only one of them may do is left out in all but the first.
    """
    is_first = worker is None or worker.is_first
    whole, settings = settings, share_of(settings, worker.worker.count) if worker else settings
    async with AsyncExitStack() as stack:
        health, metrics = Health(), Metrics()
        metrics.add_health(health)
        status = StatusView(whole, health)
        stack.enter_context(status.logged_errors.listening())
        alerts = await _observed(settings, health, status, metrics, worker, stack)
        _log_defaults(settings)
        tracer = await opened_tracer(settings, _instance(worker), stack)
        aws = await stack.enter_async_context(stores.clients(settings))
        world = await connected(settings, aws, stack, health=health, tracer=tracer)
        if isinstance(alerts, ServiceAlerts):
            await stack.enter_async_context(alerts.shared(world.outputs.ledger))
        if is_first:
            await log_settings_changes(
                Fingerprint.of(settings),
                OptionalLedger(world.outputs.ledger),
                now=time.time(),
                at_most=settings.ledger.retain_days * stores.DAY,
            )
        audit = await opened_audit(settings, aws, _instance(worker), stack)
        workers = 1 if worker is None else worker.worker.count
        engine = Engine(replace(world.outputs, audit=audit), replace(policies(settings, world.client), workers=workers))
        truth = Truth()
        relay = None if worker is None or is_first else worker.relay_notes
        # Before anything is received: a pause survives the restart.
        await engine.pauses.read(engine.ledger)
        log_access = LogAccess(settings, world, engine)
        built = engine.service(await _inputs(settings, world, engine, truth, log_access, stack, relay))
        _measure(metrics, world, engine, truth, log_access, stack)
        reports = _reports(
            settings, engine, world.outputs, world.client, truth, instance=_instance(worker), audit=audit
        )
        await stack.enter_async_context(reports.running())
        if worker is not None and is_first:
            worker.take_notes(engine.watch.merge)
        sources = Sources(engine=engine, outputs=world.outputs, truth=truth, client=world.client)
        await stack.enter_async_context(status.watching(sources))
        if is_first:
            await open_control_socket(settings, engine, world.outputs, status, stack)
            await stack.enter_async_context(start_checks(settings, aws, world.clock, world.client, engine.pauses))
        live = LiveService(
            engine=engine,
            outputs=world.outputs,
            client=world.client,
            resize_downloads=log_access.resize,
            reports=reports,
            change_alerts=_reconfigured(alerts),
            workers=worker.worker.count if worker else 1,
            is_first=is_first,
            log_fields={} if worker is None else {"worker": worker.worker.index},
        )
        reload = Reload(whole, live.parts, is_worker=worker is not None)
        status.follow(reload)
        health.note(lambda: [reload.problem])
        metrics.add(lambda samples: samples.add("jibe_settings_problem", bool(reload.problem)))
        if worker is not None:
            await stack.enter_async_context(given_by_supervisor(worker, reload))
        elif texts is not None:
            await stack.enter_async_context(watched(texts, reload, stack))
        yield built


def _instance(worker: WorkerEnd | None) -> str:
    """The name of this process, among others that write into the same folder."""
    host = socket.gethostname()
    return host if worker is None else f"{host}-{worker.worker.index}"


@dataclass(frozen=True, kw_only=True, slots=True)
class World:
    """What a service is connected to. `client` is None in a dry run: Access Anywhere is not used."""

    aws: Aws
    clock: S3Clock
    outputs: Outputs
    client: AccessAnywhere | None


async def connected(
    settings: Settings,
    aws: Aws,
    stack: AsyncExitStack,
    *,
    health: Health,
    since: float = 0.0,
    tracer: Tracer | None = None,
) -> World:
    """The ledger and Access Anywhere, open until the end of `stack`. `since`: as for `stores.opened_ledger`."""
    clock = S3Clock()
    if settings.sync.strategy == "dry-run":
        decisions = rules.decisions(settings)
        ledger: Ledger = MemoryLedger(validity=Validity(since=since))
        target = DryRunTarget(acknowledges=settings.sync.acknowledge)
        pauses = pauses_of(settings, clock)
        outputs = Outputs(
            clock=clock,
            ledger=ledger,
            target=target,
            decisions=decisions,
            gates=(pauses,),
            pauses=pauses,
            health=health,
            tracer=tracer,
        )
        return World(aws=aws, clock=clock, outputs=outputs, client=None)
    ledger = await stack.enter_async_context(stores.opened_ledger(settings, aws, since=since))
    client = await stack.enter_async_context(access_anywhere_client(settings, clock, tracer))
    outputs = outputs_of(settings, clock, client, ledger, health, tracer)
    return World(aws=aws, clock=clock, outputs=outputs, client=client)


async def _observed(
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


def _reconfigured(alerts: ServiceAlerts | RelayedAlerts) -> Apply:
    """How the alerts follow changed settings. Those of a worker have no targets of their own."""
    if isinstance(alerts, ServiceAlerts):
        return alerts.reconfigure

    def change_level(settings: Settings) -> None:
        alerts.level = settings.alerts.level

    return change_level


def _measure(
    metrics: Metrics, world: World, engine: Engine, truth: Truth, log_access: "LogAccess", stack: AsyncExitStack
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


def _log_defaults(settings: Settings) -> None:
    """An operator who forgot to configure queues must see what happens instead."""
    for each in settings.logs:
        if isinstance(each, DefaultLogs):
            log.warning(
                "sweeping_by_default",
                reason="neither queues nor logs are configured",
                bucket=each.bucket,
                folder="AWSLogs",
                via=each.via,
                interval=each.sweep,
                remedy="set queues to see changes sooner, or logs to say which buckets are swept",
            )


def access_anywhere_client(
    settings: Settings, clock: S3Clock, tracer: Tracer | None = None
) -> AbstractAsyncContextManager[AccessAnywhere]:
    """The client of Access Anywhere, not yet connected. If its credentials are refused, they are read again."""
    aa = settings.access_anywhere
    return access_anywhere.connect(
        endpoint=aa.endpoint,
        login=aa.login,
        password=aa.password.get_secret_value(),
        permanent_token=aa.permanent_token.get_secret_value(),
        concurrency=aa.concurrency,
        calls_per_second=aa.calls_per_second,
        provider_limits=limits_of_providers(settings),
        timeout=aa.timeout,
        refresh_timeout=aa.refresh_timeout,
        ca_file=aa.ca_file,
        clock=clock,
        renew=renewed_credentials(settings),
        tracer=tracer,
    )


def outputs_of(
    settings: Settings,
    clock: S3Clock,
    client: AccessAnywhere,
    ledger: Ledger,
    health: Health,
    tracer: Tracer | None = None,
) -> Outputs:
    """What a service makes true with this client and this ledger."""
    decisions, costs = rules.decisions(settings), Costs()
    pauses = pauses_of(settings, clock)
    buckets = BucketMap(
        providers=Providers(client),
        decisions=decisions,
        clock=clock,
        interval=settings.access_anywhere.look_interval,
        gate=pauses,
    )
    return Outputs(
        clock=clock,
        ledger=ledger,
        target=RefreshTarget(
            client,
            roots=_roots(settings, decisions),
            clock=clock,
            slots=client.concurrency,
            costs=costs,
            limits=client.provider_limits,
            paused=pauses.held,
        ),
        decisions=decisions,
        events=_events(settings, client),
        costs=costs,
        buckets=buckets,
        gates=(pauses, client.circuit, buckets),
        pauses=pauses,
        health=health,
        tracer=tracer,
    )


def _roots(settings: Settings, decisions: Decisions) -> Callable[[], Collection[str]]:
    """The folders that show the top of a bucket, or of a prefix. The folders of logs are refreshed, too."""
    of_logs = {each.folder for each in settings.logs if each.folder}
    known: Places | None = None
    roots: frozenset[str] = frozenset(of_logs)

    def current() -> Collection[str]:
        nonlocal known, roots
        # The bucket map replaces the places when they change. This is asked for at each refresh.
        if decisions.places is not known:
            known = decisions.places
            shown = (place.folder for places in (known or {}).values() for place in places)
            roots = frozenset([*of_logs, *shown])
        return roots

    return current


def _events(settings: Settings, client: AccessAnywhere) -> ProviderEventTarget | None:
    sync = settings.sync
    if sync.strategy != "provider-event":
        return None
    return ProviderEventTarget(
        client,
        function=sync.function,
        parameters=sync.parameters,
        batch=Batch(sync.batch.parameter, sync.batch.item, sync.batch.size) if sync.batch else None,
        slots=client.concurrency,
    )


def policies(settings: Settings, client: AccessAnywhere | None) -> Policies:
    """How a service works. `client`: None for a dry run."""
    # If messages are never deleted, their receive counts say nothing of errors.
    max_receives = settings.retry.max_receives if settings.sync.acknowledge else None
    return Policies(
        retry=RetryPolicy(settings.retry.first, settings.retry.longest, max_receives),
        limits=rules.limits(settings),
        messages_reading=settings.limits.messages_reading,
        messages_held=settings.limits.messages_held,
        bytes_held=settings.limits.bytes_held,
        plan_bytes=settings.limits.plan_size,
        receivers=settings.poll.receivers,
        wait=settings.poll.wait,
        read_timeout=settings.limits.read_seconds,
        watermark_margin=settings.watermark_margin,
        min_refresh_interval=settings.sync.min_refresh_interval,
        tree_refresh_interval=settings.tree_refresh_interval,
        event_calls=client.concurrency.most if client else 1,
        import_buckets=settings.sync.import_buckets == "tree",
        catch_up=settings.sync.catch_up == "auto",
        drain_timeout=settings.drain_timeout,
        progress_interval=settings.progress_interval,
        retain=settings.ledger.retain_days * stores.DAY,
        ignore_buckets=settings.ignore_buckets,
        principals=settings.principals,
    )


async def _inputs(
    settings: Settings,
    world: World,
    engine: Engine,
    truth: Truth,
    log_access: "LogAccess",
    stack: AsyncExitStack,
    relay: Relay | None,
) -> Inputs:
    log_sources = [
        Sweep(rules.log_source(each), log_access.listing(each), each.sweep or 0.0, each.sweep_days)
        for each in settings.logs
    ]
    sweeps = [each for each in log_sources if each.interval]
    queues = await usable_queues(settings, world.aws, is_needed=not sweeps)
    messages = {queue.name: each.expect for (queue, _), each in zip(queues, settings.queues, strict=True)}
    files = {rules.log_source(each): each.expect for each in settings.logs}
    return Inputs(
        queues=queues,
        logs=log_access.logs,
        sources=log_access.sources,
        sweeps=sweeps,
        log_sources=log_sources,
        expected={subject: expect for subject, expect in (messages | files).items() if expect},
        verifiers=stores.verifiers(settings, world.aws),
        signatures=await _signatures(settings, stack),
        background={} if relay else _comparison(settings, world, engine, truth),
        counts={"compared": lambda: truth.counts} if settings.compare.every and not relay else {},
        relay=relay,
    )


def _comparison(settings: Settings, world: World, engine: Engine, truth: Truth) -> dict[str, Work]:
    """The continuous comparison, if the settings ask for it. A dry run compares nothing."""
    if world.client is None or not settings.compare.every:
        return {}
    from jibe_sqs.compose.continuous_comparison import continuous_comparison

    roots = _roots(settings, world.outputs.decisions)
    comparison = continuous_comparison(
        settings, world.aws, world.clock, world.client, world.outputs, engine, truth, roots=roots
    )
    world.outputs.health.note(lambda: truth.warnings)
    return {"compare": comparison.run} if comparison else {}


class LogAccess:
    """How the configured log files are listed and opened: in S3, or through Access Anywhere."""

    def __init__(self, settings: Settings, world: World, engine: Engine) -> None:
        self._settings = settings
        self._aws = world.aws
        self._regions = Regions(world.aws, world.clock)
        self._through_aa: dict[LogSource, AccessAnywhereLogs] = {}
        self._budgets = [Budget(settings.limits.bytes_in_flight) for _ in range(2)]
        of_s3, of_aa = self._budgets
        if world.client is not None and world.outputs.buckets is not None:
            self._through_aa = _logs_through_aa(
                settings,
                world.client,
                engine.refreshes.refresh,
                world.outputs.buckets,
                world.clock,
                of_aa,
                engine.pauses,
            )
        in_s3 = stores.s3_logs(settings, self._regions, world.aws, of_s3)
        # The budget of a store that no source uses would make the other look emptier than it is.
        is_in_s3 = len(self._through_aa) < len(settings.logs) or not settings.logs
        self.budgets = [*([of_s3] if is_in_s3 else []), *([of_aa] if self._through_aa else [])]
        """The bytes of downloads in flight, in each store that is used."""
        self.sources = rules.sources(settings)
        self.logs = stores.LogsBySource(self.sources, self._through_aa, in_s3)

    def resize(self, size: int) -> None:
        """Download at most so many bytes at a time from now on."""
        for budget in self._budgets:
            budget.resize(size)

    def listing(self, each: LogSettings) -> Listing:
        """The listing of one of the configured logs."""
        through_aa = self._through_aa.get(rules.log_source(each))
        return through_aa or stores.s3_listing(self._settings, each, self._regions, self._aws)


async def _signatures(settings: Settings, stack: AsyncExitStack) -> Signatures | None:
    sns = settings.sns
    if not sns.verify:
        return None
    if not sns.topics:
        log.warning(
            "topics_not_restricted",
            consequence="a message counts if SNS signed it for any topic, also for a topic of another account",
            remedy="name your topics in sns.topics",
        )
    from jibe_sqs.adapters.sns_signatures import sns_signatures

    return await stack.enter_async_context(sns_signatures(sns.topics, ca_file=settings.aws.ca_file))


def _logs_through_aa(
    settings: Settings,
    client: AccessAnywhere,
    refresh: Callable[[Folder], Awaitable[None]],
    buckets: BucketMap,
    clock: S3Clock,
    budget: Budget,
    pauses: Pauses,
) -> dict[LogSource, AccessAnywhereLogs]:
    """The sources that are read through Access Anywhere, each in its folder or where providers show its bucket."""
    found: dict[LogSource, AccessAnywhereLogs] = {}
    shared: dict[LogSource | None, AccessAnywhereLogs] = {}

    def places_of(each: LogSettings) -> Callable[[], Places]:
        if each.folder:
            place = Place(each.folder, each.prefix)
            return lambda: {each.bucket: (place,)}
        if each.providers:
            return PlacesOfProviders(lambda: buckets.places, each.providers)
        return lambda: buckets.places

    for each in settings.logs:
        if each.via != "access-anywhere":
            continue
        source = rules.log_source(each)
        # Sources without a place of their own share what is known about folders.
        key = source if each.folder or each.providers else None
        if key not in shared:
            shared[key] = AccessAnywhereLogs(
                client=client,
                places=places_of(each),
                refresh=refresh,
                budget=budget,
                clock=clock,
                paused=lambda path: pauses.held(Folder(path)),
            )
        found[source] = shared[key]
    return found


def _reports(
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
