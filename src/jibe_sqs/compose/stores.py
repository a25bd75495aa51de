"""Settings in, a running service out. The only module that names every concrete class."""

import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from datetime import UTC, datetime
from urllib.parse import urlsplit

import structlog

from jibe_sqs.adapters import access_anywhere
from jibe_sqs.adapters.aws import Account, Aws
from jibe_sqs.adapters.clock import S3Clock
from jibe_sqs.adapters.digests import DigestVerifier, PublicKeys, S3Digests, cloudtrail_keys
from jibe_sqs.adapters.ledgers.memory import MemoryLedger
from jibe_sqs.adapters.ledgers.sqlite import SqliteLedger
from jibe_sqs.adapters.s3 import S3Logs, Source
from jibe_sqs.adapters.sqs import SqsQueue
from jibe_sqs.budget import Budget
from jibe_sqs.consumer import Consumer
from jibe_sqs.core.decisions import Decisions, OwnWrites, Place
from jibe_sqs.core.errors import LedgerError
from jibe_sqs.core.formats.limits import Limits
from jibe_sqs.core.sources import LogSource, Sources
from jibe_sqs.core.verdicts import RetryPolicy
from jibe_sqs.handler import Handler
from jibe_sqs.operations.tally import Tally
from jibe_sqs.operations.verification import Scope, Verification
from jibe_sqs.ports import Ledger, QueueFacts, Verifier
from jibe_sqs.refreshes import Refreshes
from jibe_sqs.service import Service
from jibe_sqs.settings import AwsSettings, LogSettings, QueueSettings, RoleSettings, Rules, Settings

log = structlog.get_logger()

DAY = 86_400.0


@asynccontextmanager
async def service(settings: Settings) -> AsyncIterator[Service]:
    """Everything, connected. Raises `QueueError` for a queue that cannot be used, `LedgerError` for the ledger."""
    clock = S3Clock()
    tally = Tally()
    aa = settings.access_anywhere
    async with (
        Aws() as aws,
        _ledger(settings) as ledger,
        access_anywhere.connect(
            endpoint=aa.endpoint,
            login=aa.login,
            password=aa.password.get_secret_value(),
            permanent_token=aa.permanent_token.get_secret_value(),
            concurrency=aa.concurrency,
            timeout=aa.timeout,
            refresh_timeout=aa.refresh_timeout,
            clock=clock,
        ) as client,
    ):
        target = access_anywhere.RefreshTarget(
            client,
            roots={place.folder for places in settings.buckets.values() for place in places},
            clock=clock,
            concurrency=aa.concurrency,
        )
        refreshes = Refreshes(
            target=target,
            ledger=ledger,
            clock=clock,
            margin=settings.watermark_margin,
            tree_interval=settings.tree_refresh_interval,
        )
        target.refresh_other = refreshes.refresh
        handler = Handler(
            sources=sources(settings),
            logs=_logs(settings, aws, clock),
            limits=limits(settings),
            decisions=decisions(settings),
            ledger=ledger,
            refreshes=refreshes,
            tally=tally,
            verifiers=_verifiers(settings, aws),
        )
        reading, held = Budget(settings.limits.messages_reading), Budget(settings.limits.messages_held)
        consumers = [
            Consumer(
                queue=queue,
                facts=await _facts(queue),
                handler=handler,
                policy=RetryPolicy(settings.retry.first, settings.retry.longest, settings.retry.max_receives),
                reading=reading,
                held=held,
                clock=clock,
                tally=tally,
                wait=settings.poll.wait,
                receivers=settings.poll.receivers,
            )
            for queue in (_queue(each, settings, aws) for each in settings.queues)
        ]
        yield Service(
            consumers=consumers,
            refreshes=refreshes,
            ledger=ledger,
            tally=tally,
            drain_timeout=settings.drain_timeout,
            progress_interval=settings.progress_interval,
            retain=settings.ledger.retain_days * DAY,
        )


def decisions(rules: Rules) -> Decisions:
    """What the settings say of buckets and of Access Anywhere's own writes."""
    own = rules.own_writes
    places = None
    if rules.buckets is not None:
        places = {
            bucket: tuple(Place(place.folder, place.prefix) for place in shown)
            for bucket, shown in rules.buckets.items()
        }
    return Decisions(
        places,
        OwnWrites(
            access_keys=frozenset(own.access_keys),
            principals=own.principals,
            session_issuers=own.session_issuers,
            source_addresses=own.source_addresses,
            user_agents=own.user_agents,
        ),
    )


def limits(rules: Rules) -> Limits:
    """How large a log file may be."""
    wanted = rules.limits
    return Limits(
        compressed_size=wanted.compressed_size,
        decompressed_size=wanted.decompressed_size,
        ratio=wanted.ratio,
        record_size=wanted.record_size,
        records=wanted.records,
        key_length=wanted.key_length,
    )


def sources(rules: Rules) -> Sources:
    """Where log files and notifications come from."""
    return Sources(
        [_log_source(each) for each in rules.logs],
        {str(source): encoding for source, encoding in rules.key_encodings.items()},
    )


def _log_source(each: LogSettings) -> LogSource:
    return LogSource(each.bucket, each.prefix, each.format, each.on_bad_record, each.verify == "digest")


@asynccontextmanager
async def verification(settings: Rules, scope: Scope) -> AsyncIterator[Verification]:
    """A look at the logs of a bucket that is one of `logs`, or that we may read. Its digests lie beside them."""
    ours = [each for each in settings.logs if each.bucket == scope.bucket and scope.base.startswith(each.prefix)]
    wanted = ours[0] if ours else None
    account, region = _account(settings.aws, wanted), _own_region(settings.aws, wanted)
    async with Aws() as aws:
        yield Verification(
            digests=S3Digests(aws=aws, account=account, region=region),
            keys=PublicKeys(cloudtrail_keys(aws=aws, account=account)),
            logs=_logs(settings, aws, S3Clock()),
            scope=scope,
            now=datetime.now(UTC),
        )


@asynccontextmanager
async def ledger(settings: Rules) -> AsyncIterator[Ledger]:
    """The ledger alone, to look at. Raises `LedgerError` if there is none: to look must not make one."""
    if settings.ledger.kind == "sqlite" and not settings.ledger.path.is_file():
        raise LedgerError(f"{settings.ledger.path}: no ledger there: give the service's configuration, or ledger.path")
    async with _ledger(settings) as opened:
        yield opened


def _ledger(settings: Rules) -> AbstractAsyncContextManager[Ledger]:
    if settings.ledger.kind == "memory":
        log.warning("ledger_in_memory", consequence="after a restart everything is refreshed anew")
        return nullcontext(MemoryLedger())
    return SqliteLedger(settings.ledger.path)


def _logs(settings: Rules, aws: Aws, clock: S3Clock) -> S3Logs:
    sources: dict[str, list[Source]] = {}
    for each in settings.logs:
        source = Source(_account(settings.aws, each), each.prefix, _own_region(settings.aws, each))
        sources.setdefault(each.bucket, []).append(source)
    if not sources:
        log.warning("logs_not_restricted", consequence="whoever can write to the queue chooses which files are read")
    return S3Logs(
        aws=aws,
        budget=Budget(settings.limits.bytes_in_flight),
        clock=clock,
        sources=sources,
        anywhere=None if sources else Source(_account(settings.aws), region=_own_region(settings.aws)),
    )


def _verifiers(settings: Settings, aws: Aws) -> dict[LogSource, Verifier]:
    found: dict[LogSource, Verifier] = {}
    for each in settings.logs:
        source = _log_source(each)
        if source.verify:
            account = _account(settings.aws, each)
            found[source] = DigestVerifier(
                digests=S3Digests(aws=aws, account=account, region=_own_region(settings.aws, each)),
                keys=PublicKeys(cloudtrail_keys(aws=aws, account=account)),
            )
    return found


def _own_region(aws: AwsSettings, own: RoleSettings | None = None) -> str | None:
    """A store that is not AWS's is where it is; AWS is asked for each bucket that nobody has told the region of."""
    told = own.region if own else None
    elsewhere = aws.endpoint or (own.endpoint if own else None)
    return told or (aws.region if elsewhere else None)


def _queue(queue: QueueSettings, settings: Settings, aws: Aws) -> SqsQueue:
    account = _account(settings.aws, queue, region=_region_of(queue.url))
    return SqsQueue(queue.url, region=account.region, account=account, aws=aws, wait=float(settings.poll.wait))


def _region_of(url: str) -> str | None:
    """Of `https://sqs.REGION.amazonaws.com/ACCOUNT/NAME`, and its relatives: other partitions, a VPC's own endpoint."""
    host = urlsplit(url).hostname or ""
    if not host.endswith((".amazonaws.com", ".amazonaws.com.cn", ".api.aws")):
        return None
    return next((label for label in host.split(".") if re.fullmatch(r"[a-z]{2,}(-[a-z]+)+-\d", label)), None)


def _account(aws: AwsSettings, own: RoleSettings | None = None, *, region: str | None = None) -> Account:
    """Credentials are taken whole: the entry's own, or those of `aws`."""
    signing: AwsSettings = own if own is not None and own.access_key_id else aws
    secret, token = signing.secret_access_key, signing.session_token
    return Account(
        endpoint=(own.endpoint if own else None) or aws.endpoint,
        access_key_id=signing.access_key_id,
        secret_access_key=secret.get_secret_value() if secret else None,
        session_token=token.get_secret_value() if token else None,
        role_arn=own.role_arn if own else None,
        external_id=own.external_id if own else None,
        region=(own.region if own else None) or region or aws.region,
    )


async def _facts(queue: SqsQueue) -> QueueFacts:
    facts = await queue.facts()
    log.info("queue", queue=queue.name, visibility_timeout=facts.visibility_timeout, max_receives=facts.max_receives)
    if facts.dead_letters is None:
        log.warning(
            "no_dead_letters",
            queue=queue.name,
            consequence="rejected messages stay in the queue until its own redrive takes them",
            remedy="give the queue a redrive policy, and us sqs:GetQueueUrl and sqs:SendMessage on its target",
        )
    return facts
