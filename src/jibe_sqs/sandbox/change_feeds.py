"""How the buckets of the sandbox publish their changes. Needs no optional dependency."""

from collections.abc import Iterable
from enum import StrEnum
from itertools import cycle
from typing import Final

from jibe_sqs.core.formats.format import Format


class ChangeFeed(StrEnum):
    """How a bucket publishes its changes: in log files, or in messages. The values are words of the command line."""

    CLOUDTRAIL = "cloudtrail"
    S3_EVENT = "s3-event"
    """S3 event notifications."""
    MINIO_EVENT = "minio-event"
    CEPH_EVENT = "ceph-event"
    EVENTBRIDGE = "eventbridge"
    ACCESS_LOG = "access-log"
    """S3 server access logs."""
    LYVE_AUDIT = "lyve-audit"
    MINIO_AUDIT = "minio-audit"
    MIXED = "mixed"
    """Different buckets use different feeds."""


LOG_FORMATS: Final = {
    ChangeFeed.CLOUDTRAIL: Format.CLOUDTRAIL,
    ChangeFeed.ACCESS_LOG: Format.ACCESS_LOG,
    ChangeFeed.LYVE_AUDIT: Format.AUDIT_LOG,
    ChangeFeed.MINIO_AUDIT: Format.AUDIT_LOG,
}
"""The feeds that write log files, and the format of these files. The other feeds send messages only."""

_MIXED: Final = (
    ChangeFeed.CLOUDTRAIL,
    ChangeFeed.S3_EVENT,
    ChangeFeed.EVENTBRIDGE,
    ChangeFeed.ACCESS_LOG,
    ChangeFeed.LYVE_AUDIT,
    ChangeFeed.CLOUDTRAIL,
)


def feed_by_bucket(feed: ChangeFeed, buckets: Iterable[str], *, in_files: bool = False) -> dict[str, ChangeFeed]:
    """The feed of each bucket, which is never `MIXED`. `in_files`: mix only the feeds that write log files."""
    mixed = tuple(LOG_FORMATS) if in_files else _MIXED
    return dict(zip(buckets, cycle(mixed if feed is ChangeFeed.MIXED else (feed,)), strict=False))
