"""How the configured log files are listed and opened: in S3, or through Access Anywhere."""

from collections.abc import Awaitable, Callable

import structlog

from jibe_sqs.adapters.access_anywhere import (
    AccessAnywhere,
    AccessAnywhereLogs,
)
from jibe_sqs.adapters.clock import S3Clock
from jibe_sqs.adapters.s3 import Regions
from jibe_sqs.compose import rules, stores
from jibe_sqs.compose.engine import Engine
from jibe_sqs.compose.world import World
from jibe_sqs.concurrency.budget import Budget
from jibe_sqs.core.decisions import Place, Places
from jibe_sqs.core.model import Folder
from jibe_sqs.core.sources import LogSource
from jibe_sqs.ports import Listing
from jibe_sqs.settings import LogSettings, Settings
from jibe_sqs.syncing.bucket_map import BucketMap, PlacesOfProviders
from jibe_sqs.syncing.pauses import Pauses

log = structlog.get_logger()


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
