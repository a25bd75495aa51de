"""Checks the log buckets: each can be listed and read, and a recent file of it can be parsed."""

import asyncio

import msgspec

from jibe_sqs.commands.check.facts import Cloud, NotFound, Refusal
from jibe_sqs.commands.check.problems import Code, Finding, Fine, Problem, note, warning
from jibe_sqs.commands.check.recent_files import RecentFiles
from jibe_sqs.commands.check.running import Findings
from jibe_sqs.core.errors import LogAccessDenied, LogBucketMissing, LogError, LogStoreError
from jibe_sqs.core.formats.limits import Limits
from jibe_sqs.core.model import LogFile
from jibe_sqs.core.sources import EVERY_BUCKET, LogSource
from jibe_sqs.ports import Listing, LogStore


class CheckedLogs(msgspec.Struct, frozen=True):
    """A configured source of log files. `cloud`: None if its files are not read from AWS.

    `region`: the configured one. `is_swept`: files are also found without announcements.
    """

    source: LogSource
    listing: Listing
    store: LogStore
    limits: Limits
    cloud: Cloud | None = None
    region: str | None = None
    is_swept: bool = False

    @property
    def name(self) -> str:
        """The address of the bucket, or of its part."""
        return f"{self.source.bucket}/{self.source.prefix}" if self.source.prefix else self.source.bucket


async def check_log_region(logs: CheckedLogs) -> Findings:
    """The configured region is the bucket's."""
    if logs.cloud is None or logs.source.bucket == EVERY_BUCKET or not logs.region:
        return
    try:
        region = await logs.cloud.bucket_region(logs.source.bucket)
    except NotFound:
        # `check_log_files` reports it.
        return
    if region != logs.region:
        yield warning(
            Code.LOG_BUCKET_REGION,
            logs.name,
            f"the bucket is in {region}, but its region is set to {logs.region}",
            f"set logs.region to {region}, or remove it",
        )


async def check_log_files(logs: CheckedLogs, recent: RecentFiles) -> Findings:
    """The bucket can be listed and has a recent log file, which can be read and parsed."""
    if logs.source.bucket == EVERY_BUCKET:
        # Most buckets hold no logs. The service logs those that it cannot list.
        yield Fine("every bucket", "is searched for log files")
        return
    try:
        newest = await recent.newest(logs.source, logs.listing)
    except LogStoreError as error:
        yield unreadable_bucket(logs.name, error)
        return
    if newest.file is None:
        yield _no_recent(logs, is_complete=newest.is_complete)
        return
    yield await _parsed(logs, newest.file)


def unreadable_bucket(name: str, error: LogStoreError) -> Problem:
    """The finding about a log bucket that cannot be listed."""
    if isinstance(error, LogBucketMissing):
        return Problem(Code.LOG_BUCKET_MISSING, name, str(error), "correct logs.bucket, or create the bucket")
    if isinstance(error, LogAccessDenied):
        remedy = "allow s3:ListBucket on the bucket and s3:GetObject on its objects, also in its own policy"
        return Problem(Code.LOG_BUCKET_DENIED, name, str(error), remedy)
    return Problem(Code.LOG_BUCKET_UNREADABLE, name, str(error), "check address, region, proxies and certificates")


def _no_recent(logs: CheckedLogs, *, is_complete: bool) -> Problem:
    if not is_complete:
        what, remedy = "too many files to find a recent one", "set logs.prefix to the folder with the log files"
        return note(Code.LOG_FILES_NOT_RECENT, logs.name, what, remedy)
    return warning(
        Code.LOG_FILES_NOT_RECENT,
        logs.name,
        "it has no log file of today or yesterday",
        "does the trail deliver here, with this prefix? Or has nothing changed for so long?",
    )


async def _parsed(logs: CheckedLogs, file: LogFile) -> Finding:
    reader = logs.source.reader(file.key, logs.limits)
    records = 0
    try:
        async with logs.store.open(file) as log:
            async for chunk in log:
                for batch in reader.feed(chunk):
                    records += len(batch)
                    await asyncio.sleep(0)
        records += sum(len(batch) for batch in reader.finish())
    except LogError as error:
        what = f"{file.key}: {type(error).__name__}: {error}"
        return Problem(
            Code.LOG_FILE_MALFORMED, logs.name, what, "set logs.format, or a logs.prefix with log files only"
        )
    except LogStoreError as error:
        remedy = "allow s3:GetObject on its objects, and kms:Decrypt with the key that encrypts them"
        return Problem(Code.LOG_FILE_UNREADABLE, logs.name, str(error), remedy)
    format_ = reader.format.value if reader.format else "unknown"
    return Fine(logs.name, f"its newest file is readable: {format_}, {records:,} records, {file.size or 0:,} bytes")


async def format_of_newest(logs: CheckedLogs, recent: RecentFiles) -> str:
    """The format of the newest file, as far as its name or the settings show it. Empty if it is not known."""
    try:
        newest = await recent.newest(logs.source, logs.listing)
    except (LogStoreError, Refusal):
        return ""
    if newest.file is None:
        return ""
    found = logs.source.reader(newest.file.key, logs.limits).format
    return found.value if found else ""
