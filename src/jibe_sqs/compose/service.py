"""From settings to a running service.

What only some settings need is imported when they need it: imports are most of the time until the first receive.
"""

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import structlog

from jibe_sqs.adapters.worker_channel import WorkerEnd
from jibe_sqs.compose import rules, stores
from jibe_sqs.compose.alerting import ServiceAlerts
from jibe_sqs.compose.audit import opened_audit
from jibe_sqs.compose.control import open_control_socket
from jibe_sqs.compose.engine import Engine, Inputs, Relay
from jibe_sqs.compose.fingerprint import Fingerprint
from jibe_sqs.compose.live_settings import LiveService
from jibe_sqs.compose.log_access import LogAccess
from jibe_sqs.compose.observers import add_metrics, instance_of, observed, reconfigured, reports_of
from jibe_sqs.compose.queues import usable_queues
from jibe_sqs.compose.reload import Reload
from jibe_sqs.compose.settings_changes import log_settings_changes
from jibe_sqs.compose.settings_watch import given_by_supervisor, watched
from jibe_sqs.compose.start_checks import start_checks
from jibe_sqs.compose.status import Sources, StatusView
from jibe_sqs.compose.tracing import opened_tracer
from jibe_sqs.compose.world import World, connected, policies, roots_of
from jibe_sqs.consuming.service import Service, Work
from jibe_sqs.ports import Signatures
from jibe_sqs.settings import DefaultLogs, Settings, Texts, share_of
from jibe_sqs.sweeping.sweeper import Sweep
from jibe_sqs.telemetry.health import Health
from jibe_sqs.telemetry.optional_ledger import OptionalLedger
from jibe_sqs.telemetry.scrapes import Metrics
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
        alerts = await observed(settings, health, status, metrics, worker, stack)
        _log_defaults(settings)
        tracer = await opened_tracer(settings, instance_of(worker), stack)
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
        audit = await opened_audit(settings, aws, instance_of(worker), stack)
        workers = 1 if worker is None else worker.worker.count
        engine = Engine(replace(world.outputs, audit=audit), replace(policies(settings, world.client), workers=workers))
        truth = Truth()
        relay = None if worker is None or is_first else worker.relay_notes
        # Before anything is received: a pause survives the restart.
        await engine.pauses.read(engine.ledger)
        log_access = LogAccess(settings, world, engine)
        built = engine.service(await _inputs(settings, world, engine, truth, log_access, stack, relay))
        add_metrics(metrics, world, engine, truth, log_access, stack)
        reports = reports_of(
            settings, engine, world.outputs, world.client, truth, instance=instance_of(worker), audit=audit
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
            change_alerts=reconfigured(alerts),
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


async def _inputs(
    settings: Settings,
    world: World,
    engine: Engine,
    truth: Truth,
    log_access: LogAccess,
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

    roots = roots_of(settings, world.outputs.decisions)
    comparison = continuous_comparison(
        settings, world.aws, world.clock, world.client, world.outputs, engine, truth, roots=roots
    )
    world.outputs.health.note(lambda: truth.warnings)
    return {"compare": comparison.run} if comparison else {}


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
