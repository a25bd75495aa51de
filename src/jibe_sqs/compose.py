"""Settings in, a running service out. The only module that names every concrete class."""

import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from urllib.parse import urlsplit

import structlog

from jibe_sqs.adapters import access_anywhere
from jibe_sqs.adapters.aws import Account, Aws
from jibe_sqs.adapters.clock import S3Clock
from jibe_sqs.adapters.ledgers.memory import MemoryLedger
from jibe_sqs.adapters.ledgers.sqlite import SqliteLedger
from jibe_sqs.adapters.s3 import S3Logs, Source
from jibe_sqs.adapters.sqs import SqsQueue
from jibe_sqs.budget import Budget
from jibe_sqs.consumer import Consumer
from jibe_sqs.core.announcements import IsLog, looks_like_log
from jibe_sqs.core.decisions import Decisions, OwnWrites, Place
from jibe_sqs.core.formats.limits import Limits
from jibe_sqs.core.verdicts import RetryPolicy
from jibe_sqs.handler import Handler
from jibe_sqs.operations.tally import Tally
from jibe_sqs.ports import Ledger, QueueFacts
from jibe_sqs.refreshes import Refreshes
from jibe_sqs.service import Service
from jibe_sqs.settings import AwsSettings, QueueSettings, RoleSettings, Rules, Settings

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
            is_log=is_log(settings),
            logs=_logs(settings, aws, clock),
            limits=limits(settings),
            decisions=decisions(settings),
            ledger=ledger,
            refreshes=refreshes,
            tally=tally,
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
    return Limits(decompressed_size=rules.limits.decompressed_size, record_size=rules.limits.record_size)


def is_log(rules: Rules) -> IsLog:
    """Whether an object is of a log source: a configured one, or by its name where none is configured."""
    if not rules.logs:
        return looks_like_log
    sources = [(source.bucket, source.prefix) for source in rules.logs]
    return lambda bucket, key: any(bucket == name and key.startswith(prefix) for name, prefix in sources)


def _ledger(settings: Settings) -> AbstractAsyncContextManager[Ledger]:
    if settings.ledger.kind == "memory":
        log.warning("ledger_in_memory", consequence="after a restart everything is refreshed anew")
        return nullcontext(MemoryLedger())
    return SqliteLedger(settings.ledger.path)


def _logs(settings: Settings, aws: Aws, clock: S3Clock) -> S3Logs:
    sources: dict[str, list[Source]] = {}
    for each in settings.logs:
        source = Source(_account(settings.aws, each), each.prefix, each.region or _own_region(settings.aws))
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


def _own_region(aws: AwsSettings) -> str | None:
    """A store that is not AWS's is where it is; AWS is asked for each bucket."""
    return aws.region if aws.endpoint else None


def _queue(queue: QueueSettings, settings: Settings, aws: Aws) -> SqsQueue:
    account = _account(settings.aws, queue, region=_region_of(queue.url))
    return SqsQueue(queue.url, region=account.region, account=account, aws=aws, wait=float(settings.poll.wait))


def _region_of(url: str) -> str | None:
    """Of `https://sqs.REGION.amazonaws.com/ACCOUNT/NAME`, and its relatives: other partitions, a VPC's own endpoint."""
    host = urlsplit(url).hostname or ""
    if not host.endswith((".amazonaws.com", ".amazonaws.com.cn", ".api.aws")):
        return None
    return next((label for label in host.split(".") if re.fullmatch(r"[a-z]{2,}(-[a-z]+)+-\d", label)), None)


def _account(aws: AwsSettings, role: RoleSettings | None = None, *, region: str | None = None) -> Account:
    secret, token = aws.secret_access_key, aws.session_token
    return Account(
        endpoint=(role.endpoint if role else None) or aws.endpoint,
        access_key_id=aws.access_key_id,
        secret_access_key=secret.get_secret_value() if secret else None,
        session_token=token.get_secret_value() if token else None,
        role_arn=role.role_arn if role else None,
        external_id=role.external_id if role else None,
        region=(role.region if role else None) or region or aws.region,
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
