"""What an object in a log bucket is, as far as its key tells.

Source: CloudTrail User Guide, "Finding your log files"; S3 User Guide, "Log object key format"; Lyve Cloud, "S3 API audit
log".
"""

import re
from enum import StrEnum
from typing import Final


class Format(StrEnum):
    """The formats of log files that we read. Their names are the words of the configuration."""

    CLOUDTRAIL = "cloudtrail"
    AUDIT_LOG = "audit-log"
    """MinIO's, and Seagate Lyve Cloud's, which wraps it."""
    ACCESS_LOG = "access-log"
    """S3 server access logs."""


_ACCOUNT: Final = r"AWSLogs/(?:o-[a-z0-9]+/)?\d{12}"
_CLOUDTRAIL_LOG: Final = re.compile(rf"(?:^|/){_ACCOUNT}/CloudTrail/[^/]+/\d{{4}}/\d\d/\d\d/[^/]+\.json(?:\.gz)?\Z")

_SIBLINGS: Final = {
    "CloudTrail-Digest": "CloudTrail digest",
    "CloudTrail-Insight": "CloudTrail Insights events",
    "CloudTrail-NetworkActivity": "CloudTrail network activity events",
    "CloudTrail-Aggregated": "CloudTrail aggregated events",
}
_SIBLING: Final = re.compile(rf"(?:^|/){_ACCOUNT}/({'|'.join(_SIBLINGS)})/")
_NO_LOGS: Final = re.compile(rf"(?:^|/){_ACCOUNT}/(?!CloudTrail/|[sS]3)[^/]+/")
"""How CloudWatch Logs names its folders of S3's access logs is not documented: any that begins with `S3` may hold them."""
_START: Final = re.compile(rf"(?:^|/){_ACCOUNT}/CloudTrail(?:-Digest)?/(?:[^/]+/)?\Z")


_MOMENT: Final = r"\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d"
_LYVE_LOG: Final = re.compile(rf"(?:^|/)S3-[^/]+-{_MOMENT}\.gz\Z")
_LYVE_SIBLING: Final = re.compile(rf"(?:^|/)(IAM|console)-[^/]*{_MOMENT}\.gz\Z")
_ACCESS_LOG: Final = re.compile(rf"(?:^|[^0-9]){_MOMENT}-[0-9A-F]{{16}}\Z")
_DELIVERED_ACCESS_LOG: Final = re.compile(
    rf"(?:^|/){_ACCOUNT}/[^/]*S3[-_]?(?:Server)?[-_]?Access[-_]?Logs?", re.IGNORECASE
)
"""By CloudWatch Logs, whose log type is `S3_SERVER_ACCESS_LOGS`: inferred from the names of other deliveries."""

_HIVE_NO_LOGS: Final = re.compile(r"(?:^|/)AWSLogs/aws-account-id=\d{12}/aws-service=(?![sS]3)[^/]+/")
"""The layout of VPC flow logs for Hive."""
_TEST_FILE: Final = re.compile(r"(?:^|/)(?:ConfigWritabilityCheckFile|ELBAccessLogTestFile|aws-logs-write-test)\Z")
_CLOUDFRONT_LOG: Final = re.compile(r"(?:^|/)E[0-9A-Z]{9,}\.\d{4}-\d\d-\d\d-\d\d\.[0-9a-f]{8}\.gz\Z")

_LYVE_SIBLINGS: Final = {"IAM": "Lyve Cloud IAM audit log", "console": "Lyve Cloud console audit log"}


def format_of(key: str) -> Format | None:
    """The format of a log file, under any prefix; None where its key does not tell."""
    if _CLOUDTRAIL_LOG.search(key):
        return Format.CLOUDTRAIL
    if _LYVE_LOG.search(key):
        return Format.AUDIT_LOG
    if _ACCESS_LOG.search(key) or _DELIVERED_ACCESS_LOG.search(key):
        return Format.ACCESS_LOG
    return None


def no_log(key: str) -> str | None:
    """What a key beside the log files is, by its name alone; None for every other key. None of them holds changes."""
    if found := _SIBLING.search(key):
        return _SIBLINGS[found[1]]
    if found := _LYVE_SIBLING.search(key):
        return _LYVE_SIBLINGS[found[1]]
    if _START.search(key):
        return "the mark of a trail's start"
    if key.endswith("/"):
        return "a folder's marker"
    if _TEST_FILE.search(key):
        return "a test file of an AWS service"
    if _CLOUDFRONT_LOG.search(key):
        return "CloudFront access log"
    return None


def holds_no_logs(folder: str) -> bool:
    """Whether a folder (it ends in `/`), or a key below it, is of what AWS delivers beside CloudTrail's logs."""
    return _NO_LOGS.search(folder) is not None or _HIVE_NO_LOGS.search(folder) is not None
