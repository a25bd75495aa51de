"""Builds the stores and queues that the settings name, each with its credentials.

What only some settings need is imported when they need it.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Final

import structlog

from jibe_sqs.adapters.authorities import aws_bundle
from jibe_sqs.adapters.aws import Account, Aws
from jibe_sqs.adapters.aws_environment import check_aws_environment, check_endpoint, check_region
from jibe_sqs.adapters.dead_letters import Origin, SqsDeadLetters
from jibe_sqs.adapters.ledgers.memory import MemoryLedger
from jibe_sqs.adapters.ledgers.sqlite import SqliteLedger
from jibe_sqs.adapters.partitions import region_of_url
from jibe_sqs.adapters.s3 import Regions, S3Logs, Source
from jibe_sqs.adapters.s3_configuration import content
from jibe_sqs.adapters.s3_listing import S3Listing
from jibe_sqs.adapters.s3_objects import S3Objects
from jibe_sqs.adapters.sqs import SqsQueue
from jibe_sqs.compose.fingerprint import Fingerprint
from jibe_sqs.compose.queue_names import queue_names
from jibe_sqs.compose.rules import log_source
from jibe_sqs.concurrency.budget import Budget
from jibe_sqs.core.errors import LedgerError
from jibe_sqs.core.model import LogFile
from jibe_sqs.core.sources import LogSource, Sources
from jibe_sqs.ports import Ledger, Listing, Log, LogStore, Validity, Verifier
from jibe_sqs.settings import AwsSettings, LogSettings, Queues, QueueSettings, RoleSettings, Rules, Settings

log = structlog.get_logger()

DAY: Final = 86_400.0

DEAD_LETTERS_REMEDY: Final = (
    "set a redrive policy on the queue, and allow us sqs:GetQueueUrl and sqs:SendMessage on its target"
)


async def configuration(bucket: str, key: str, settings: AwsSettings) -> bytes:
    """Read a configuration file from S3. Raises `SettingsError`."""
    check(settings)
    async with Aws() as aws:
        return await content(bucket, key, aws=aws, account=account_of(settings))


def check(aws: AwsSettings) -> None:
    """Check what clients need beside the settings of queues and buckets. Raises `SettingsError`."""
    _check_stores({"aws": (aws,)})


def clients(settings: Rules) -> Aws:
    """The clients of all stores. Raises `SettingsError` for addresses, certificates and profiles that they cannot use."""
    queues = settings.queues if isinstance(settings, Queues | Settings) else ()
    audit = (settings.audit,) if isinstance(settings, Settings) else ()
    groups = {
        "aws": (settings.aws,),
        "ledger": (settings.ledger,),
        "queues": queues,
        "logs": settings.logs,
        "audit": audit,
    }
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
async def ledger(settings: Rules) -> AsyncIterator[Ledger]:
    """The ledger alone, for commands that only read it. Raises `LedgerError` if it does not exist or is damaged."""
    if settings.ledger.kind == "sqlite" and not settings.ledger.path.is_file():
        raise LedgerError(
            f"{settings.ledger.path}: no ledger there: use the service's configuration, or set ledger.path"
        )
    async with clients(settings) as aws, opened_ledger(settings, aws, read_only=True) as opened:
        yield opened


def opened_ledger(
    settings: Rules, aws: Aws, *, read_only: bool = False, since: float = 0.0
) -> AbstractAsyncContextManager[Ledger]:
    """The configured ledger, not yet open. A file is created if it does not exist, unless it is only read.

    A log file that was finished under other settings, or before `since` (seconds since the epoch), is not finished in it.
    """
    wanted, validity = settings.ledger, Validity(Fingerprint.of(settings).short, since)
    if wanted.kind == "dynamodb" and wanted.table:
        from jibe_sqs.adapters.ledgers.dynamodb import DynamoDbLedger

        account = account_of(settings.aws, wanted, region=_region_in(wanted.table))
        return DynamoDbLedger(
            wanted.table,
            region=account.region,
            account=account,
            aws=aws,
            retain=wanted.retain_days * DAY,
            validity=validity,
        )
    if wanted.kind == "memory":
        log.warning("ledger_in_memory", consequence="after a restart, log files and folders are processed again")
        return nullcontext(MemoryLedger(validity=validity))
    return SqliteLedger(
        wanted.path,
        validity=validity,
        max_bytes=wanted.max_bytes,
        history=wanted.history_days * DAY,
        read_only=read_only,
    )


def s3_logs(settings: Rules, regions: Regions, aws: Aws, budget: Budget) -> S3Logs:
    """Log files in S3: of the configured sources, or of every bucket if `logs` is empty. `budget`: of bytes."""
    sources: dict[str, list[Source]] = {}
    for each in settings.logs:
        sources.setdefault(each.bucket, []).append(_source(settings, each))
    if not sources:
        log.warning("logs_not_restricted", consequence="anyone who can write to the queue chooses which files are read")
    return S3Logs(
        aws=aws,
        budget=budget,
        sources=sources,
        other_buckets=None if sources else Source(account_of(settings.aws), region=own_region(settings.aws)),
        regions=regions,
    )


def s3_listing(settings: Rules, each: LogSettings, regions: Regions, aws: Aws) -> Listing:
    """The listing of one source in S3."""
    return S3Listing(aws=aws, source=_source(settings, each), regions=regions)


def data_listing(settings: Rules, regions: Regions, aws: Aws) -> Listing:
    """The listing of the buckets that Access Anywhere shows. They are listed with the credentials of `aws`."""
    return S3Listing(aws=aws, source=Source(account_of(settings.aws), region=own_region(settings.aws)), regions=regions)


def data_objects(settings: Rules, regions: Regions, aws: Aws) -> S3Objects:
    """Finds objects in the buckets that Access Anywhere shows, with the credentials of `aws`."""
    return S3Objects(aws=aws, source=Source(account_of(settings.aws), region=own_region(settings.aws)), regions=regions)


def any_object(settings: Rules, regions: Regions, aws: Aws) -> S3Logs:
    """Any object that the credentials of `aws` may read, such as the files of an inventory."""
    other = Source(account_of(settings.aws), region=own_region(settings.aws))
    return S3Logs(
        aws=aws, budget=Budget(settings.limits.bytes_in_flight), sources={}, other_buckets=other, regions=regions
    )


def _source(settings: Rules, each: LogSettings) -> Source:
    return Source(account_of(settings.aws, each), each.prefix, own_region(settings.aws, each), each.bucket_owner)


class LogsBySource(LogStore):
    """Opens each log file in the store of its source. Files without a source, or whose source has no store: `otherwise`."""

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
    """A verifier for each source whose log files are verified with digests."""
    verified = {source: each for each in settings.logs if (source := log_source(each)).verify}
    if not verified:
        return {}
    from jibe_sqs.compose.verification import verifier

    return {source: verifier(settings, each, aws) for source, each in verified.items()}


def own_region(aws: AwsSettings, own: RoleSettings | None = None) -> str | None:
    """The region of the entry. Without one: that of `aws` for another store than AWS, and None for AWS, to ask it."""
    configured = own.region if own else None
    elsewhere = aws.endpoint or (own.endpoint if own else None)
    return configured or (aws.region if elsewhere else None)


def queue(
    queue: QueueSettings, settings: Rules, aws: Aws, *, wait: float = 0.0, kind: type[SqsQueue] = SqsQueue
) -> SqsQueue:
    """One configured queue. `wait`: seconds of its long polls. `kind`: the class of it."""
    account = account_of(settings.aws, queue, region=region_of_url(queue.url))
    queues = settings.queues if isinstance(settings, Queues | Settings) else ()
    names = queue_names([(each.url, each.region) for each in queues])
    name = names[queues.index(queue)] if queue in queues else ""
    traced = isinstance(settings, Settings) and settings.tracing.enabled
    return kind(queue.url, region=account.region, account=account, aws=aws, wait=wait, name=name, traced=traced)


def dead_letters(
    url: str, queue: QueueSettings, settings: Rules, aws: Aws, *, origins: Mapping[str, Origin], name: str = ""
) -> SqsDeadLetters:
    """The dead-letter queue of `queue`. Other queues may share it: `origins`, by name."""
    account = account_of(settings.aws, queue, region=region_of_url(queue.url))
    return SqsDeadLetters(url, origins=origins, region=account.region, account=account, aws=aws, name=name)


def _region_in(table: str) -> str | None:
    """The region in the table's ARN. None if it is a plain name."""
    return table.split(":")[3] if table.startswith("arn:") else None


def account_of(aws: AwsSettings, own: RoleSettings | None = None, *, region: str | None = None) -> Account:
    """The account of an entry. Its credentials are all from the entry, or else all from `aws`."""
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


def account(settings: Rules, own: RoleSettings | None = None) -> Account:
    """The account of an entry, or of `aws`: for questions that concern no queue and no bucket alone."""
    region = region_of_url(own.url) if isinstance(own, QueueSettings) else None
    return account_of(settings.aws, own, region=region)
