"""The stores and queues that the settings name, and with which credentials each is used."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from datetime import UTC, datetime
from typing import Final

import structlog

from jibe_sqs.adapters.authorities import aws_bundle
from jibe_sqs.adapters.aws import Account, Aws
from jibe_sqs.adapters.aws_environment import check_aws_environment, check_endpoint, check_region
from jibe_sqs.adapters.clock import S3Clock
from jibe_sqs.adapters.dead_letters import Origin, SqsDeadLetters
from jibe_sqs.adapters.digests import DigestVerifier, PublicKeys, S3Digests, cloudtrail_keys
from jibe_sqs.adapters.ledgers.dynamodb import DynamoDbLedger
from jibe_sqs.adapters.ledgers.memory import MemoryLedger
from jibe_sqs.adapters.ledgers.sqlite import SqliteLedger
from jibe_sqs.adapters.partitions import region_of_url
from jibe_sqs.adapters.s3 import Regions, S3Logs, Source
from jibe_sqs.adapters.s3_configuration import content
from jibe_sqs.adapters.s3_listing import S3Listing
from jibe_sqs.adapters.sqs import SqsQueue
from jibe_sqs.commands.verification import Scope, Verification
from jibe_sqs.compose.queue_names import queue_names
from jibe_sqs.compose.rules import log_source
from jibe_sqs.concurrency.budget import Budget
from jibe_sqs.core.errors import LedgerError
from jibe_sqs.core.model import LogFile
from jibe_sqs.core.sources import LogSource, Sources
from jibe_sqs.ports import Ledger, Listing, Log, LogStore, QueueFacts, Verifier
from jibe_sqs.settings import AwsSettings, LogSettings, Queues, QueueSettings, RoleSettings, Rules, Settings

log = structlog.get_logger()

DAY: Final = 86_400.0

DEAD_LETTERS_REMEDY: Final = "give the queue a redrive policy, and us sqs:GetQueueUrl and sqs:SendMessage on its target"


async def configuration(bucket: str, key: str, settings: AwsSettings) -> bytes:
    """A configuration file. Raises `SettingsError`."""
    _check_stores({"aws": (settings,)})
    async with Aws() as aws:
        return await content(bucket, key, aws=aws, account=_account(settings))


def clients(settings: Rules) -> Aws:
    """The clients of all stores. Raises `SettingsError` for what no client can use: addresses, CA certificates, profiles."""
    queues = settings.queues if isinstance(settings, Queues | Settings) else ()
    groups = {"aws": (settings.aws,), "ledger": (settings.ledger,), "queues": queues, "logs": settings.logs}
    _check_stores(groups)
    return Aws(region=next(filter(None, (region_of_url(queue.url) for queue in queues)), None))


def _check_stores(groups: Mapping[str, Sequence[AwsSettings]]) -> None:
    check_aws_environment()
    aws_bundle()
    for name, group in groups.items():
        for each in group:
            if each.endpoint:
                check_endpoint(f"{name}.endpoint", each.endpoint)
            if each.region:
                check_region(f"{name}.region", each.region)
            if each.ca_file:
                aws_bundle(str(each.ca_file), f"{name}.ca_file")


@asynccontextmanager
async def verification(settings: Rules, scope: Scope) -> AsyncIterator[Verification]:
    """A look at the logs of a bucket that is one of `logs`, or that we may read. Its digests lie beside them."""
    ours = [each for each in settings.logs if each.bucket == scope.bucket and scope.base.startswith(each.prefix)]
    wanted = ours[0] if ours else None
    account, region = _account(settings.aws, wanted), _own_region(settings.aws, wanted)
    async with clients(settings) as aws:
        yield Verification(
            digests=S3Digests(aws=aws, account=account, region=region, owner=wanted.bucket_owner if wanted else None),
            keys=PublicKeys(cloudtrail_keys(aws=aws, account=account)),
            logs=s3_logs(settings, Regions(aws, S3Clock()), aws, Budget(settings.limits.bytes_in_flight)),
            scope=scope,
            now=datetime.now(UTC),
        )


@asynccontextmanager
async def ledger(settings: Rules) -> AsyncIterator[Ledger]:
    """The ledger alone, to look at. Raises `LedgerError` if there is none: to look must not make one."""
    if settings.ledger.kind == "sqlite" and not settings.ledger.path.is_file():
        raise LedgerError(f"{settings.ledger.path}: no ledger there: give the service's configuration, or ledger.path")
    async with clients(settings) as aws, opened_ledger(settings, aws) as opened:
        yield opened


def opened_ledger(settings: Rules, aws: Aws) -> AbstractAsyncContextManager[Ledger]:
    told = settings.ledger
    if told.kind == "dynamodb" and told.table:
        account = _account(settings.aws, told, region=_region_in(told.table))
        return DynamoDbLedger(
            told.table, region=account.region, account=account, aws=aws, retain=told.retain_days * DAY
        )
    if told.kind == "memory":
        log.warning("ledger_in_memory", consequence="after a restart everything is refreshed anew")
        return nullcontext(MemoryLedger())
    return SqliteLedger(told.path)


def s3_logs(settings: Rules, regions: Regions, aws: Aws, budget: Budget) -> S3Logs:
    """Log files in S3, of the sources that are read there; of every bucket where no source is named. Budget: of bytes."""
    sources: dict[str, list[Source]] = {}
    for each in settings.logs:
        sources.setdefault(each.bucket, []).append(_source(settings, each))
    if not sources:
        log.warning("logs_not_restricted", consequence="whoever can write to the queue chooses which files are read")
    return S3Logs(
        aws=aws,
        budget=budget,
        sources=sources,
        anywhere=None if sources else Source(_account(settings.aws), region=_own_region(settings.aws)),
        regions=regions,
    )


def s3_listing(settings: Rules, each: LogSettings, regions: Regions, aws: Aws) -> Listing:
    """The same, to be listed."""
    return S3Listing(aws=aws, source=_source(settings, each), regions=regions)


def _source(settings: Rules, each: LogSettings) -> Source:
    return Source(_account(settings.aws, each), each.prefix, _own_region(settings.aws, each), each.bucket_owner)


class LogsBySource(LogStore):
    """Each log file from where its source says."""

    def __init__(self, sources: Sources, stores: Mapping[LogSource, LogStore], otherwise: LogStore) -> None:
        self._sources = sources
        self._stores = stores
        self._otherwise = otherwise

    def open(self, file: LogFile) -> AbstractAsyncContextManager[Log]:
        """Open a log file for reading."""
        source = self._sources.of(file.bucket, file.key)
        store = self._stores.get(source, self._otherwise) if source else self._otherwise
        return store.open(file)


def verifiers(settings: Settings, aws: Aws) -> dict[LogSource, Verifier]:
    found: dict[LogSource, Verifier] = {}
    for each in settings.logs:
        source = log_source(each)
        if source.verify:
            account = _account(settings.aws, each)
            found[source] = DigestVerifier(
                digests=S3Digests(
                    aws=aws, account=account, region=_own_region(settings.aws, each), owner=each.bucket_owner
                ),
                keys=PublicKeys(cloudtrail_keys(aws=aws, account=account)),
            )
    return found


def _own_region(aws: AwsSettings, own: RoleSettings | None = None) -> str | None:
    """A store that is not AWS's is where it is; AWS is asked for each bucket that nobody has told the region of."""
    told = own.region if own else None
    elsewhere = aws.endpoint or (own.endpoint if own else None)
    return told or (aws.region if elsewhere else None)


def queue(queue: QueueSettings, settings: Rules, aws: Aws, *, wait: float = 0.0) -> SqsQueue:
    """`wait`: seconds of its long polls."""
    account = _account(settings.aws, queue, region=region_of_url(queue.url))
    told = settings.queues if isinstance(settings, Queues | Settings) else ()
    names = queue_names([(each.url, each.region) for each in told])
    name = names[told.index(queue)] if queue in told else ""
    return SqsQueue(queue.url, region=account.region, account=account, aws=aws, wait=wait, name=name)


def dead_letters(
    url: str, queue: QueueSettings, settings: Rules, aws: Aws, *, origins: Mapping[str, Origin], name: str = ""
) -> SqsDeadLetters:
    """The dead letters of that queue, which may be others' as well."""
    account = _account(settings.aws, queue, region=region_of_url(queue.url))
    return SqsDeadLetters(url, origins=origins, region=account.region, account=account, aws=aws, name=name)


def _region_in(table: str) -> str | None:
    """Of an ARN."""
    return table.split(":")[3] if table.startswith("arn:") else None


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
        ca_file=str(ca_file) if (ca_file := (own.ca_file if own else None) or aws.ca_file) else None,
        region=(own.region if own else None) or region or aws.region,
    )


async def facts(queue: SqsQueue) -> QueueFacts:
    facts = await queue.facts()
    log.info("queue", queue=queue.name, visibility_timeout=facts.visibility_timeout, max_receives=facts.max_receives)
    if not await queue.may_reject():
        log.warning(
            "no_dead_letters",
            queue=queue.name,
            consequence="rejected messages stay in the queue until its own redrive takes them",
            remedy=DEAD_LETTERS_REMEDY,
        )
    return facts
