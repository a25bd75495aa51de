"""The cheap checks, once, while the service starts: without them, a wrong folder or log bucket shows only by its silence."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import structlog

from jibe_sqs.adapters.access_anywhere import AccessAnywhere, InspectedServer
from jibe_sqs.adapters.aws import Aws
from jibe_sqs.adapters.clock import S3Clock
from jibe_sqs.adapters.s3 import Regions
from jibe_sqs.commands.check.access_anywhere import missing_folder
from jibe_sqs.commands.check.log_buckets import unreadable_bucket
from jibe_sqs.commands.check.problems import Problem
from jibe_sqs.compose import rules, stores
from jibe_sqs.core.errors import AccessAnywhereError, LogStoreError
from jibe_sqs.core.sources import EVERY_BUCKET
from jibe_sqs.ports import Gate, Listing
from jibe_sqs.settings import Settings

log = structlog.get_logger()

MOST_FOLDERS: Final = 200
"""Mapped folders that are looked up, one after the other. `jibe-sqs check` looks up all of them."""
AFTER: Final = 0.5
"""Seconds until they begin: the first receives come first."""


@asynccontextmanager
async def start_checks(
    settings: Settings, aws: Aws, clock: S3Clock, client: AccessAnywhere | None, gate: Gate
) -> AsyncIterator[None]:
    """Check while the body runs. Nothing waits for the checks, and their failures end nothing.

    `client`: None in a dry run. `gate`: nothing is checked while it is closed.
    """
    task = asyncio.create_task(_run(settings, aws, clock, client, gate), name="start checks")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _run(settings: Settings, aws: Aws, clock: S3Clock, client: AccessAnywhere | None, gate: Gate) -> None:
    await asyncio.sleep(AFTER)
    try:
        await gate.passable()
        await asyncio.gather(_check_logs(settings, aws, clock), _check_folders(settings, clock, client))
    except Exception:
        # A defect of a check. The service does not need it.
        log.exception("check_crashed")


async def _check_logs(settings: Settings, aws: Aws, clock: S3Clock) -> None:
    """Each log bucket that is read from S3 can be listed."""
    regions = Regions(aws, clock)
    for each in settings.logs:
        if each.via != "s3" or each.bucket == EVERY_BUCKET:
            continue
        name = f"{each.bucket}/{each.prefix}" if each.prefix else each.bucket
        listing: Listing = stores.s3_listing(settings, each, regions, aws)
        try:
            await listing.has(each.bucket, each.prefix)
        except LogStoreError as error:
            _warn(unreadable_bucket(name, error))


async def _check_folders(settings: Settings, clock: S3Clock, client: AccessAnywhere | None) -> None:
    """Each folder that `buckets` names exists."""
    if client is None or settings.buckets is None:
        return
    server = InspectedServer(client, clock, rules.decisions(settings).places)
    wanted = {place.folder: bucket for bucket, shown in settings.buckets.items() for place in shown}
    for folder, bucket in list(wanted.items())[:MOST_FOLDERS]:
        try:
            if not await server.has_folder(folder):
                _warn(missing_folder(folder, bucket))
        except AccessAnywhereError:
            # The service itself logs that Access Anywhere is down.
            return


def _warn(problem: Problem) -> None:
    log.warning(
        "check_failed", code=problem.code.value, subject=problem.subject, reason=problem.what, remedy=problem.remedy
    )
