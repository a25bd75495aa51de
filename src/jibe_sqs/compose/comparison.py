"""Builds the comparison of Access Anywhere's index with S3."""

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec

from jibe_sqs.adapters.access_anywhere import AccessAnywhere, IndexListing, Providers, RefreshTarget
from jibe_sqs.adapters.access_anywhere.uses.target import folder_unknown
from jibe_sqs.adapters.aws import Aws
from jibe_sqs.adapters.clock import S3Clock
from jibe_sqs.adapters.inventories import inventory, manifest_at
from jibe_sqs.adapters.s3 import Regions, S3Logs
from jibe_sqs.commands.comparison import Comparison, Repair, Scope
from jibe_sqs.commands.comparison_levels import Levels
from jibe_sqs.commands.comparison_requests import Wanted
from jibe_sqs.commands.comparison_totals import Totals
from jibe_sqs.compose import rules, stores
from jibe_sqs.compose.comparison_scopes import roots, scopes_of
from jibe_sqs.compose.world import access_anywhere_client
from jibe_sqs.core.comparison import View
from jibe_sqs.core.decisions import Places
from jibe_sqs.core.errors import ComparisonError
from jibe_sqs.core.inventories import Manifest
from jibe_sqs.core.model import RefreshReason
from jibe_sqs.ports import Index, Listing
from jibe_sqs.settings import Settings
from jibe_sqs.syncing.pace import Costs
from jibe_sqs.syncing.refreshes import Refreshes
from jibe_sqs.telemetry.optional_ledger import OptionalLedger


class Prepared(msgspec.Struct, frozen=True):
    """A comparison that can begin. `most`: folders at a time."""

    comparison: Comparison
    scopes: list[Scope]
    most: int

    async def run(self) -> Totals:
        """Compare everything."""
        return await self.comparison.run(self.scopes, most=self.most)


@asynccontextmanager
async def prepared(settings: Settings, wanted: Wanted, totals: Totals, now: float) -> AsyncIterator[Prepared]:
    """Connect to both sides. `totals` is what the comparison fills. `now`: seconds since the epoch. Raises `ComparisonError`, and errors of both sides."""
    async with AsyncExitStack() as stack:
        aws = await stack.enter_async_context(stores.clients(settings))
        clock = S3Clock()
        client = await stack.enter_async_context(access_anywhere_client(settings, clock))
        regions = Regions(aws, clock)
        manifest, store = await _manifest(settings, aws, regions, wanted)
        places = rules.decisions(settings).places or await Providers(client).places()
        index = IndexListing(client, clock, roots=lambda: roots(places))
        scopes = scopes_of(
            places,
            rules.key_filter(settings.ignore_keys),
            manifest.source if manifest else wanted.bucket,
            wanted.prefix,
        )
        listing = stores.data_listing(settings, regions, aws)
        for scope in scopes:
            await _check(scope, index, listing, is_mapped=scope.folder in roots(places))
        view = View(compares_times=not wanted.size_only)
        if wanted.ignore_newer:
            view = msgspec.structs.replace(view, before=now - wanted.ignore_newer)
        live = Levels(listing, index, view=lambda: view)
        repair = await _repair(settings, aws, clock, client, places, stack) if wanted.repair else None
        chosen = random.Random()  # noqa: S311 - a sample, not a secret
        first = live
        if manifest and store:

            def observe(read: int, files: int) -> None:
                totals.stage = f"reading file {read + 1:,} of {files:,} of the inventory"

            loading = inventory(manifest, store, prefix=wanted.prefix, observe=observe)
            listed = await stack.enter_async_context(loading)
            old = msgspec.structs.replace(view, listed_at=manifest.created)
            first = Levels(listed, index, view=lambda: old)
        yield Prepared(
            Comparison(
                first, again=live, repair=repair, totals=totals, is_chosen=lambda: chosen.random() < wanted.sample
            ),
            scopes,
            client.concurrency.most,
        )


async def _manifest(
    settings: Settings, aws: Aws, regions: Regions, wanted: Wanted
) -> tuple[Manifest | None, S3Logs | None]:
    """The manifest of the inventory, and the store of its files."""
    if wanted.inventory is None:
        return None, None
    store = stores.any_object(settings, regions, aws)
    manifest = await manifest_at(*wanted.inventory, store)
    if wanted.bucket not in ("", manifest.source):
        raise ComparisonError(f"the inventory is of the bucket {manifest.source}, not of {wanted.bucket}")
    return manifest, store


async def _check(scope: Scope, index: Index, listing: Listing, *, is_mapped: bool) -> None:
    """Raise an error if the folder does not exist. An empty comparison would look like one without differences."""
    is_path = scope.level.kind is None
    if is_path and await index.folder(scope.folder) is not None:
        return
    if is_path and is_mapped:
        raise folder_unknown(scope.folder)
    if not await listing.has(scope.bucket, scope.prefix):
        raise ComparisonError(
            f"neither S3 nor Access Anywhere has the folder s3://{scope.bucket}/{scope.prefix}: for an object, use jibe-sqs why"
        )


async def _repair(
    settings: Settings, aws: Aws, clock: S3Clock, client: AccessAnywhere, places: Places, stack: AsyncExitStack
) -> Repair:
    """Refreshes as the service makes them. The ledger remembers them, so the service need not repeat them."""
    ledger = await stack.enter_async_context(stores.opened_ledger(settings, aws))
    costs = Costs()
    refreshes = Refreshes(
        target=RefreshTarget(client, roots=lambda: roots(places), clock=clock, slots=client.concurrency, costs=costs),
        ledger=OptionalLedger(ledger),
        clock=clock,
        margin=settings.watermark_margin,
        costs=costs,
    )
    stack.push_async_callback(refreshes.stop)
    return lambda folder: refreshes.done([folder], reason=RefreshReason.COMPARE)
