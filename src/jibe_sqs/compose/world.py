"""What a service is connected to: the ledger and Access Anywhere, and how it works."""

from collections.abc import Callable, Collection
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass

import structlog

from jibe_sqs.adapters import access_anywhere
from jibe_sqs.adapters.access_anywhere import (
    AccessAnywhere,
    Batch,
    ProviderEventTarget,
    Providers,
    RefreshTarget,
)
from jibe_sqs.adapters.aws import Aws
from jibe_sqs.adapters.clock import S3Clock
from jibe_sqs.adapters.dry_run import DryRunTarget
from jibe_sqs.adapters.ledgers.memory import MemoryLedger
from jibe_sqs.compose import rules, stores
from jibe_sqs.compose.engine import Outputs, Policies
from jibe_sqs.compose.pauses import limits_of_providers, pauses_of
from jibe_sqs.compose.secrets import renewed_credentials
from jibe_sqs.core.decisions import Decisions, Places
from jibe_sqs.core.verdicts import RetryPolicy
from jibe_sqs.ports import Ledger, Validity
from jibe_sqs.settings import Settings
from jibe_sqs.syncing.bucket_map import BucketMap
from jibe_sqs.syncing.pace import Costs
from jibe_sqs.telemetry.health import Health
from jibe_sqs.telemetry.tracing import Tracer

log = structlog.get_logger()


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
            roots=roots_of(settings, decisions),
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


def roots_of(settings: Settings, decisions: Decisions) -> Callable[[], Collection[str]]:
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
