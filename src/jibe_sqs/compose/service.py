"""Settings in, a running service out."""

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec
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
from jibe_sqs.adapters.health_server import health_server
from jibe_sqs.adapters.ledgers.memory import MemoryLedger
from jibe_sqs.adapters.s3 import Regions
from jibe_sqs.adapters.sns_signatures import sns_signatures
from jibe_sqs.adapters.webhook import webhook
from jibe_sqs.compose import rules, stores
from jibe_sqs.concurrency.budget import Budget
from jibe_sqs.consuming.consumer import Consumer
from jibe_sqs.consuming.handler import Handler
from jibe_sqs.consuming.service import Service, Work
from jibe_sqs.core.decisions import Decisions, Place, Places
from jibe_sqs.core.model import Folder
from jibe_sqs.core.sources import LogSource
from jibe_sqs.core.verdicts import RetryPolicy
from jibe_sqs.ports import Gate, Ledger, Listing, Queue, QueueFacts, Signatures, SyncTarget
from jibe_sqs.settings import DefaultLogs, LogSettings, Settings
from jibe_sqs.sweeping.sweep_queue import SweepQueue
from jibe_sqs.sweeping.sweeper import Sweep, Sweeper
from jibe_sqs.syncing.bucket_map import BucketMap, PlacesOfProviders
from jibe_sqs.syncing.changes import Changes
from jibe_sqs.syncing.pace import Costs
from jibe_sqs.syncing.refreshes import Refreshes
from jibe_sqs.telemetry.activity import Activity
from jibe_sqs.telemetry.alerts import Alerts
from jibe_sqs.telemetry.counters import Counters
from jibe_sqs.telemetry.health import Health
from jibe_sqs.telemetry.reports import Reports

log = structlog.get_logger()


@asynccontextmanager
async def service(settings: Settings) -> AsyncIterator[Service]:
    """Everything, connected. Raises `QueueError` for a queue that cannot be used, `LedgerError` for the ledger."""
    async with AsyncExitStack() as stack:
        gates: list[Gate] = []
        health = Health(gates)
        await _watched(settings, health, stack)
        _log_defaults(settings)
        world = _World(
            settings=settings,
            stack=stack,
            clock=S3Clock(),
            counters=Counters(),
            decisions=rules.decisions(settings),
            aws=await stack.enter_async_context(stores.clients(settings)),
            gates=gates,
            health=health,
        )
        dry = settings.sync.strategy == "dry-run"
        yield await (_dry_run(world) if dry else _connected(world))


class _World(msgspec.Struct, frozen=True):
    """What every kind of service is made of."""

    settings: Settings
    stack: AsyncExitStack
    clock: S3Clock
    counters: Counters
    decisions: Decisions
    aws: Aws
    gates: list[Gate]
    health: Health


async def _watched(settings: Settings, health: Health, stack: AsyncExitStack) -> None:
    """Alerts, which are there first and go last; and health, which an orchestrator asks for from the start."""
    alerts = settings.alerts
    if alerts.webhook is not None:
        post = (await stack.enter_async_context(webhook(alerts.webhook.get_secret_value()))).post
        telling = Alerts(post, level=alerts.level, interval=alerts.interval, source=socket.gethostname())
        await stack.enter_async_context(telling.running())
    if settings.health.port is not None:
        port = await stack.enter_async_context(health_server(settings.health.host, settings.health.port, health))
        log.info("health_answered", host=settings.health.host, port=port)


def _log_defaults(settings: Settings) -> None:
    """An operator who forgot the queues must see what is done instead of reading them."""
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


async def _dry_run(world: _World) -> Service:
    return await _assembled(world, ledger=MemoryLedger(), target=DryRunTarget())


async def _connected(world: _World) -> Service:
    settings, clock = world.settings, world.clock
    ledger = await world.stack.enter_async_context(stores.opened_ledger(settings, world.aws))
    aa = settings.access_anywhere
    client = await world.stack.enter_async_context(
        access_anywhere.connect(
            endpoint=aa.endpoint,
            login=aa.login,
            password=aa.password.get_secret_value(),
            permanent_token=aa.permanent_token.get_secret_value(),
            concurrency=aa.concurrency,
            calls_per_second=aa.calls_per_second,
            timeout=aa.timeout,
            refresh_timeout=aa.refresh_timeout,
            ca_file=aa.ca_file,
            clock=clock,
        )
    )
    costs = Costs()
    # Where logs are read is nobody's mapping, perhaps, but refreshed all the same.
    always = {each.folder for each in settings.logs if each.folder}
    roots = set(always)

    def follow(places: Places) -> None:
        roots.clear()
        roots.update(always, (place.folder for shown in places.values() for place in shown))

    target = RefreshTarget(client, roots=roots, clock=clock, slots=client.concurrency, costs=costs)
    buckets = BucketMap(
        providers=Providers(client),
        decisions=world.decisions,
        clock=clock,
        interval=aa.look_interval,
        on_change=follow,
    )
    world.gates.extend([client.circuit, buckets])
    return await _assembled(world, ledger=ledger, target=target, costs=costs, client=client, buckets=buckets)


async def _assembled(
    world: _World,
    *,
    ledger: Ledger,
    target: SyncTarget,
    costs: Costs | None = None,
    client: AccessAnywhere | None = None,
    buckets: BucketMap | None = None,
) -> Service:
    settings, clock, counters = world.settings, world.clock, world.counters
    activity = Activity(clock, lambda: world.decisions.places)
    refreshes = Refreshes(
        target=target,
        ledger=ledger,
        clock=clock,
        margin=settings.watermark_margin,
        min_interval=settings.sync.min_refresh_interval,
        tree_interval=settings.tree_refresh_interval,
        costs=costs,
        observe=activity.refreshed,
    )
    if isinstance(target, RefreshTarget):
        target.refresh_other = refreshes.refresh
        target.watch = refreshes.watch
    changes = _changes(settings, client)
    through_aa = _logs_through_aa(world, client, refreshes.refresh, buckets)
    regions = Regions(world.aws, clock)
    sources = rules.sources(settings)
    in_s3 = stores.s3_logs(settings, regions, world.aws, Budget(settings.limits.bytes_in_flight))
    handler = Handler(
        sources=sources,
        logs=stores.LogsBySource(sources, through_aa, in_s3),
        limits=rules.limits(settings),
        decisions=world.decisions,
        ledger=ledger,
        refreshes=refreshes,
        changes=changes,
        buckets=buckets,
        counters=counters,
        activity=activity,
        verifiers=stores.verifiers(settings, world.aws),
        signatures=await _signatures(world),
        read_timeout=settings.limits.read_seconds,
    )
    sweeps = []
    for each in settings.logs:
        if each.sweep is not None:
            source = rules.log_source(each)
            listing: Listing | None = through_aa.get(source)
            listing = listing or stores.s3_listing(settings, each, regions, world.aws)
            sweeps.append(Sweep(source, listing, each.sweep, each.sweep_days))
    findings = SweepQueue()
    sweeper = Sweeper(sweeps=sweeps, queue=findings, ledger=ledger, clock=clock, gates=world.gates)
    queues: list[tuple[Queue, QueueFacts]] = []
    for told in settings.queues:
        queue = stores.queue(told, settings, world.aws, wait=float(settings.poll.wait))
        queues.append((queue, await stores.facts(queue)))
    if sweeps:
        queues.append((findings, await findings.facts()))
    reading, held = Budget(settings.limits.messages_reading), Budget(settings.limits.messages_held)
    consumers = [
        Consumer(
            queue=queue,
            facts=facts,
            handler=handler,
            policy=RetryPolicy(settings.retry.first, settings.retry.longest, settings.retry.max_receives),
            reading=reading,
            held=held,
            clock=clock,
            counters=counters,
            # In memory nothing is gained by a long poll, but the stop waits for its end.
            wait=1 if queue is findings else settings.poll.wait,
            receivers=1 if queue is findings else settings.poll.receivers,
            gates=world.gates,
        )
        for queue, facts in queues
    ]
    reports = Reports(
        activity,
        interval=settings.report.interval,
        clock=clock,
        store=ReportFolder(client, settings.report.folder).store if client and settings.report.folder else None,
        pending=refreshes.pending,
        gates=world.gates,
        counters={
            "messages": lambda: {"done": counters.done, "retried": counters.retried, "rejected": counters.rejected},
            "failures": lambda: counters.errors,
            "sweeps": lambda: sweeper.counts,
        },
        collisions=world.decisions.collisions,
        instance=socket.gethostname(),
    )
    await world.stack.enter_async_context(reports.running())
    background: dict[str, Work] = {"sweeps": sweeper.run} if sweeps else {}
    if buckets is not None:
        background["buckets"] = buckets.run
    return Service(
        consumers=consumers,
        refreshes=refreshes,
        changes=changes,
        ledger=ledger,
        counters=counters,
        health=world.health,
        background=background,
        counts={"refreshes": lambda: refreshes.counts, "swept": lambda: sweeper.counts},
        drain_timeout=settings.drain_timeout,
        progress_interval=settings.progress_interval,
        retain=settings.ledger.retain_days * stores.DAY,
    )


async def _signatures(world: _World) -> Signatures | None:
    sns = world.settings.sns
    if not sns.verify:
        return None
    if not sns.topics:
        log.warning(
            "topics_not_restricted",
            consequence="a message counts if SNS signed it for any topic, also for one of somebody else's account",
            remedy="name your topics in sns.topics",
        )
    return await world.stack.enter_async_context(sns_signatures(sns.topics, ca_file=world.settings.aws.ca_file))


def _changes(settings: Settings, client: AccessAnywhere | None) -> Changes | None:
    sync = settings.sync
    if sync.strategy != "provider-event" or client is None:
        return None
    events = ProviderEventTarget(
        client,
        function=sync.function,
        parameters=sync.parameters,
        batch=Batch(sync.batch.parameter, sync.batch.item, sync.batch.size) if sync.batch else None,
        slots=client.concurrency,
    )
    return Changes(target=events, most=client.concurrency.most)


def _logs_through_aa(
    world: _World,
    client: AccessAnywhere | None,
    refresh: Callable[[Folder], Awaitable[None]],
    buckets: BucketMap | None,
) -> dict[LogSource, AccessAnywhereLogs]:
    """The sources that are read through it: each in its folder, or where its providers, or all of them, show buckets."""
    settings = world.settings
    found: dict[LogSource, AccessAnywhereLogs] = {}
    if client is None or buckets is None:
        return found
    budget = Budget(settings.limits.bytes_in_flight)
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
        # Sources that may be shown anywhere share what is known of folders.
        key = source if each.folder or each.providers else None
        if key not in shared:
            shared[key] = AccessAnywhereLogs(
                client=client, places=places_of(each), refresh=refresh, budget=budget, clock=world.clock
            )
        found[source] = shared[key]
    return found
