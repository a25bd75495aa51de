"""In which formats the sandbox can tell of changes, and which bucket tells in which. Needs nothing to be installed."""

from collections.abc import Iterable
from enum import StrEnum
from itertools import cycle
from typing import Final


class Format(StrEnum):
    """How a bucket tells of what happens in it. The words of the command line."""

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
    """Each bucket in another one."""


_MIXED: Final = (
    Format.CLOUDTRAIL,
    Format.S3_EVENT,
    Format.EVENTBRIDGE,
    Format.ACCESS_LOG,
    Format.LYVE_AUDIT,
    Format.CLOUDTRAIL,
)


LOG_FILES: Final = (Format.CLOUDTRAIL, Format.ACCESS_LOG, Format.LYVE_AUDIT, Format.MINIO_AUDIT)
"""Those that tell in files: the others' messages are all there is."""


def format_by_bucket(format_: Format, buckets: Iterable[str], *, in_files: bool = False) -> dict[str, Format]:
    """Bucket -> the format that it tells in; never `MIXED`. `in_files`: a mixture of those only that tell in files."""
    mixture = LOG_FILES if in_files else _MIXED
    return dict(zip(buckets, cycle(mixture if format_ is Format.MIXED else (format_,)), strict=False))
