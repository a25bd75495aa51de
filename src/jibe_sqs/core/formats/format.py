"""The names of the log formats. This module imports no parser, so settings and the sandbox can use it cheaply."""

from enum import StrEnum


class Format(StrEnum):
    """A format of log files that we read. The values are words of the configuration (`logs[].format`)."""

    CLOUDTRAIL = "cloudtrail"
    AUDIT_LOG = "audit-log"
    """The audit log of MinIO, and of Seagate Lyve Cloud, which wraps each record of MinIO."""
    ACCESS_LOG = "access-log"
    """S3 server access logs."""
