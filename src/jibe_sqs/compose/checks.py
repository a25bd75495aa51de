"""The checks of `jibe-sqs check`, from settings."""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from functools import partial

from jibe_sqs.adapters.access_anywhere import AccessAnywhereLogs, InspectedServer
from jibe_sqs.adapters.aws import Account, Aws
from jibe_sqs.adapters.aws_inspection import AwsInspection
from jibe_sqs.adapters.clock import S3Clock
from jibe_sqs.adapters.partitions import is_aws, region_of_url
from jibe_sqs.adapters.s3 import Regions
from jibe_sqs.adapters.sqs import SqsQueue
from jibe_sqs.commands.check.access_anywhere import CheckedServer, check_server
from jibe_sqs.commands.check.credentials import check_identity
from jibe_sqs.commands.check.data_buckets import CheckedBuckets, check_lifecycles, check_listable
from jibe_sqs.commands.check.ledger import CheckedLedger, check_clock, check_ledger
from jibe_sqs.commands.check.log_buckets import CheckedLogs, check_log_files, check_log_region
from jibe_sqs.commands.check.own_writes import CheckedOwnWrites, check_own_writes
from jibe_sqs.commands.check.problems import Code, Problem, Topic
from jibe_sqs.commands.check.queues import CheckedQueue, check_dead_letters, check_queue, check_queue_key
from jibe_sqs.commands.check.recent_files import RecentFiles
from jibe_sqs.commands.check.running import Check, Findings, Report
from jibe_sqs.commands.check.topics import CheckedTopics, check_topics
from jibe_sqs.commands.check.trails import CheckedTrails, Trails, check_logged_buckets, check_trails
from jibe_sqs.compose import rules, stores
from jibe_sqs.compose.landscape import Landscape
from jibe_sqs.compose.world import access_anywhere_client
from jibe_sqs.concurrency.budget import Budget
from jibe_sqs.core.decisions import Decisions, Place, Places
from jibe_sqs.core.errors import AccessAnywhereError, LogStoreUnavailable, SettingsError
from jibe_sqs.core.model import Actor, Folder, Kind, LogFile, ObjectEvent, Skip, SkipReason
from jibe_sqs.core.principals import Seen
from jibe_sqs.ports import Found, Listing, Log, LogStore
from jibe_sqs.settings import LogSettings, Settings
from jibe_sqs.syncing.bucket_map import PlacesOfProviders


def settings_report(error: SettingsError) -> Report:
    """The report if the settings cannot be used: nothing else can be checked."""
    remedy = "correct it; see docs/reference/configuration.md"
    found = (Problem(Code.SETTINGS, each.partition(":")[0], each, remedy) for each in error.problems)
    return Report(tuple((Topic.SETTINGS, each) for each in found))


def secrets_report(problems: Mapping[str, str]) -> Report:
    """The report if references to secrets cannot be read. `problems`: by setting. Without its secrets, nothing can be checked."""
    remedy = "see docs/how-to/secrets.md; the other checks need the secret, so run check again afterwards"
    found = (Problem(Code.SECRET_UNREADABLE, setting, problem, remedy) for setting, problem in problems.items())
    return Report(tuple((Topic.SETTINGS, each) for each in found))


@asynccontextmanager
async def checks(settings: Settings) -> AsyncIterator[list[Check]]:
    """All checks, connected to everything. Raises `SettingsError`."""
    async with AsyncExitStack() as stack:
        aws = await stack.enter_async_context(stores.clients(settings))
        yield await _Checks(settings, aws, stack).all()


class _Checks:
    """Builds the checks. AWS's services are not asked if the settings name another store."""

    def __init__(self, settings: Settings, aws: Aws, stack: AsyncExitStack) -> None:
        self._settings = settings
        self._aws = aws
        self._stack = stack
        self._clock = S3Clock()
        self._regions = Regions(aws, self._clock)
        self._recent = RecentFiles()
        self._cloud = self._inspection(stores.account(settings))
        self._in_s3 = stores.s3_logs(settings, self._regions, aws, Budget(settings.limits.bytes_in_flight))
        self._server: InspectedServer | None = None

    async def all(self) -> list[Check]:
        """The checks, by topic."""
        settings = self._settings
        through: Sequence[_ThroughServer | None] = [None] * len(settings.logs)
        if settings.sync.strategy != "dry-run":
            through = await self._connected()
        queues = self._queues()
        logs = [self._logs(each, server) for each, server in zip(settings.logs, through, strict=True)]
        landscape = Landscape(self._cloud, self._clock, shown=self._shown, queues=queues, logs=logs)
        found = [
            *self._of_queues(queues),
            *self._of_logs(logs),
            *self._of_server(),
            Check(Topic.OWN_WRITES, "own_writes", partial(check_own_writes, self._own_writes())),
            Check(Topic.LEDGER, "ledger", partial(check_ledger, self._ledger())),
        ]
        if _is_aws(stores.account(settings)):
            found += [*self._of_credentials(), *self._of_account(landscape, queues, logs)]
        return found

    def _inspection(self, account: Account, own: str = "s3") -> AwsInspection:
        return AwsInspection(self._aws, account, self._regions, own=own)

    def _of_credentials(self) -> list[Check]:
        """One check for each account whose credentials are used."""
        settings = self._settings
        entries = {
            "aws": stores.account(settings),
            **{f"queues {each.url.rpartition('/')[2]}": stores.account(settings, each) for each in settings.queues},
            **{f"logs {each.bucket}": stores.account(settings, each) for each in settings.logs if each.via == "s3"},
            **({"ledger": stores.account(settings, settings.ledger)} if settings.ledger.kind == "dynamodb" else {}),
        }
        seen = set()
        found = []
        for subject, account in entries.items():
            signer = (account.access_key_id, account.secret_access_key, account.role_arn, account.external_id)
            if signer not in seen and _is_aws(account):
                seen.add(signer)
                cloud = self._inspection(account, own="")
                found.append(Check(Topic.CREDENTIALS, subject, partial(check_identity, subject, cloud)))
        return found

    def _queues(self) -> list[CheckedQueue]:
        found = []
        for each in self._settings.queues:
            queue = stores.queue(each, self._settings, self._aws)
            account = stores.account(self._settings, each)

            async def may_reject(queue: SqsQueue = queue) -> bool:
                await queue.facts()
                return await queue.may_reject()

            found.append(
                CheckedQueue(
                    name=queue.name,
                    url=each.url,
                    cloud=self._inspection(account, own="sqs"),
                    may_reject=may_reject,
                    region=each.region,
                    url_region=region_of_url(each.url),
                    is_aws=_is_aws(account),
                )
            )
        return found

    def _of_queues(self, queues: Sequence[CheckedQueue]) -> list[Check]:
        # A dry run that keeps its messages makes no dead letters.
        of_dead_letters = [check_dead_letters] if self._settings.sync.acknowledge else []
        return [
            Check(Topic.QUEUES, queue.name, partial(check, queue))
            for queue in queues
            for check in (check_queue, check_queue_key, *of_dead_letters)
        ]

    def _logs(self, each: LogSettings, through: "_ThroughServer | None") -> CheckedLogs:
        settings, source = self._settings, rules.log_source(each)
        account = stores.account(settings, each)
        return CheckedLogs(
            source=source,
            listing=through or stores.s3_listing(settings, each, self._regions, self._aws),
            store=through or self._in_s3,
            limits=rules.limits(settings),
            cloud=None if through or not _is_aws(account) else self._inspection(account),
            region=each.region,
            is_swept=each.sweep is not None,
        )

    def _of_logs(self, logs: Sequence[CheckedLogs]) -> list[Check]:
        return [
            check
            for each in logs
            for check in (
                Check(Topic.LOG_BUCKETS, each.name, partial(check_log_region, each)),
                Check(Topic.LOG_BUCKETS, each.name, partial(check_log_files, each, self._recent)),
            )
        ]

    def _of_account(
        self, landscape: Landscape, queues: Sequence[CheckedQueue], logs: Sequence[CheckedLogs]
    ) -> list[Check]:
        """The checks that ask AWS about more than one queue or bucket."""
        settings = self._settings
        trails = Trails(self._cloud, landscape.regions)
        in_aws = [each for each in logs if each.cloud is not None]
        of_topics = CheckedTopics(
            queues=[each for each in queues if each.is_aws],
            cloud=queues[0].cloud if queues else self._cloud,
            trail_topics=partial(trails.topics, {each.source.bucket for each in in_aws}),
            regions=landscape.regions,
            configured=settings.sns.topics,
            requires_signatures=settings.sns.verify,
        )

        async def checked_trails() -> CheckedTrails:
            return CheckedTrails(trails, in_aws, self._recent, await landscape.buckets(), await landscape.log_buckets())

        async def of_trails() -> Findings:
            if in_aws:
                async for finding in check_trails(await checked_trails()):
                    yield finding

        async def of_buckets() -> Findings:
            for bucket in await landscape.missing():
                remedy = "correct its name in buckets, or remove it"
                yield Problem(Code.BUCKET_MISSING, bucket, "S3 has no bucket of this name", remedy)
            async for finding in check_logged_buckets(await checked_trails(), self._cloud):
                yield finding

        async def of_each_bucket() -> Findings:
            listing = stores.data_listing(settings, self._regions, self._aws)
            own = {each.source.bucket for each in in_aws}
            checked = CheckedBuckets(self._cloud, listing, await landscape.buckets(), own)
            for check in (check_lifecycles, check_listable):
                async for finding in check(checked):
                    yield finding

        return [
            Check(Topic.TOPICS, "topics", partial(check_topics, of_topics)),
            Check(Topic.TRAILS, "trails", of_trails),
            Check(Topic.DATA_BUCKETS, "data buckets", of_buckets),
            Check(Topic.DATA_BUCKETS, "data buckets", of_each_bucket),
            Check(Topic.LEDGER, "clock", partial(check_clock, landscape.skew)),
        ]

    async def _connected(self) -> list["_ThroughServer | None"]:
        """Connect to Access Anywhere. Returns how the files of each source are read through it, if they are."""
        settings = self._settings
        client = await self._stack.enter_async_context(access_anywhere_client(settings, self._clock))
        server = InspectedServer(client, self._clock, rules.decisions(settings).places)
        self._server = server

        async def refresh(folder: Folder) -> None:
            await server.refresh(folder.path)

        def through(each: LogSettings) -> _ThroughServer | None:
            if each.via != "access-anywhere":
                return None
            places: Callable[[], Places] = server.known_places
            if each.folder:
                configured = {each.bucket: (Place(each.folder, each.prefix),)}
                places = partial(dict, configured)
            elif each.providers:
                places = PlacesOfProviders(server.known_places, each.providers)
            budget = Budget(settings.limits.bytes_in_flight)
            logs = AccessAnywhereLogs(client=client, places=places, refresh=refresh, budget=budget, clock=self._clock)
            return _ThroughServer(logs, server)

        return [through(each) for each in settings.logs]

    async def _shown(self) -> Mapping[str, Sequence[str]]:
        """Each data bucket with its folders."""
        if self._server is not None:
            return await self._server.folders()
        return {bucket: [place.folder for place in shown] for bucket, shown in (self._settings.buckets or {}).items()}

    def _of_server(self) -> list[Check]:
        if self._server is None:
            return []
        settings = self._settings
        folders = [*(each.folder for each in settings.logs), settings.report.folder]
        checked = CheckedServer(
            settings.access_anywhere.endpoint, self._server, tuple(folder for folder in folders if folder)
        )
        return [Check(Topic.ACCESS_ANYWHERE, checked.host, partial(check_server, checked))]

    def _own_writes(self) -> CheckedOwnWrites:
        own = self._settings.own_writes
        # Without places, every bucket is shown, so only the rules for own writes skip a change.
        decisions = Decisions(None, rules.own_writes(self._settings))

        def is_own(actor: Actor) -> bool:
            decision = decisions.decide(ObjectEvent(Kind.WRITTEN, "bucket", "key", time.time(), actor=actor))
            return isinstance(decision, Skip) and decision.reason is SkipReason.OWN_WRITE

        return CheckedOwnWrites(
            patterns=(*own.principals, *own.session_issuers, *own.user_agents),
            networks=own.source_addresses,
            access_keys=own.access_keys,
            is_own=is_own,
            principals=self._principals,
        )

    async def _principals(self) -> Mapping[str, Seen]:
        settings = self._settings.ledger
        if settings.kind == "memory" or (settings.kind == "sqlite" and not settings.path.exists()):
            return {}
        async with stores.opened_ledger(self._settings, self._aws, read_only=True) as ledger:
            return await ledger.principals()

    def _ledger(self) -> CheckedLedger:
        wanted = self._settings.ledger

        async def open_ledger() -> None:
            await self._principals()

        return CheckedLedger(
            kind=wanted.kind,
            name=wanted.table or str(wanted.path),
            open=open_ledger,
            path=wanted.path if wanted.kind == "sqlite" else None,
            max_bytes=wanted.max_bytes,
        )


class _ThroughServer(Listing, LogStore):
    """Log files that are read through Access Anywhere, which is first asked for its buckets."""

    def __init__(self, logs: AccessAnywhereLogs, server: InspectedServer) -> None:
        self._logs = logs
        self._server = server

    async def level(self, bucket: str, prefix: str) -> AsyncGenerator[Found | str, None]:
        """List one level."""
        await self._ask(bucket)
        async with aclosing(self._logs.level(bucket, prefix)) as entries:
            async for each in entries:
                yield each

    async def has(self, bucket: str, prefix: str) -> bool:
        """Whether there is anything below the prefix."""
        await self._ask(bucket)
        return await self._logs.has(bucket, prefix)

    async def buckets(self) -> Sequence[str]:
        """The buckets that Access Anywhere shows."""
        await self._ask("*")
        return await self._logs.buckets()

    @asynccontextmanager
    async def open(self, file: LogFile) -> AsyncIterator[Log]:
        """Open a log file for reading."""
        await self._ask(file.bucket)
        async with self._logs.open(file) as log:
            yield log

    async def _ask(self, bucket: str) -> None:
        try:
            await self._server.folders()
        except AccessAnywhereError as error:
            raise LogStoreUnavailable(f"{bucket}: {error}") from error


def _is_aws(account: Account) -> bool:
    return account.endpoint is None or is_aws(account.endpoint)
