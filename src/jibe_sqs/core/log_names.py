"""What the keys in a log bucket show: the files and folders beside the log files. They contain no changes.

`registry.format_of` recognises the log files themselves.

Source: CloudTrail User Guide, "Finding your log files"; S3 User Guide, "Log object key format"; Lyve Cloud, "S3 API audit
log".
"""

import re
from typing import Final

ACCOUNT: Final = r"AWSLogs/(?:o-[a-z0-9]+/)?\d{12}"
"""Pattern of the folder of one AWS account, which may be inside the folder of an organization."""
TIMESTAMP: Final = r"\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d"
"""Pattern of the time in the names of Lyve Cloud's audit logs and of S3's access logs."""

_CLOUDTRAIL_SIBLINGS: Final = {
    "CloudTrail-Digest": "CloudTrail digest",
    "CloudTrail-Insight": "CloudTrail Insights events",
    "CloudTrail-NetworkActivity": "CloudTrail network activity events",
    "CloudTrail-Aggregated": "CloudTrail aggregated events",
}
_CLOUDTRAIL_SIBLING: Final = re.compile(rf"(?:^|/){ACCOUNT}/({'|'.join(_CLOUDTRAIL_SIBLINGS)})/")
_TRAIL_START: Final = re.compile(rf"(?:^|/){ACCOUNT}/CloudTrail(?:-Digest)?/(?:[^/]+/)?\Z")

_LYVE_SIBLINGS: Final = {"IAM": "Lyve Cloud IAM audit log", "console": "Lyve Cloud console audit log"}
_LYVE_SIBLING: Final = re.compile(rf"({'|'.join(_LYVE_SIBLINGS)})-[^/]*{TIMESTAMP}\.gz\Z")
"""Pattern of the name of such a file, without its folder."""

_TEST_FILES: Final = frozenset({"ConfigWritabilityCheckFile", "ELBAccessLogTestFile", "aws-logs-write-test"})
_CLOUDFRONT_LOG: Final = re.compile(r"E[0-9A-Z]{9,}\.\d{4}-\d\d-\d\d-\d\d\.[0-9a-f]{8}\.gz\Z")
"""Pattern of the name of such a file, without its folder."""

_OTHER_SERVICE: Final = re.compile(rf"(?:^|/){ACCOUNT}/(?!CloudTrail/|[sS]3)[^/]+/")
"""A folder of another AWS service. CloudWatch Logs does not document the names of its folders of S3's access logs: a
folder whose name begins with `S3` may contain them."""
_OTHER_SERVICE_HIVE: Final = re.compile(r"(?:^|/)AWSLogs/aws-account-id=\d{12}/aws-service=(?![sS]3)[^/]+/")
"""The same in the layout for Hive, which VPC flow logs use."""


def no_log(key: str) -> str | None:
    """A description of the file, if its key shows that it is not a log file. None for every other key."""
    if "/CloudTrail-" in key and (found := _CLOUDTRAIL_SIBLING.search(key)):
        return _CLOUDTRAIL_SIBLINGS[found[1]]
    name = key.rpartition("/")[2]
    if not name and key:
        return "the marker of a trail's start" if _TRAIL_START.search(key) else "a folder's marker"
    if found := _LYVE_SIBLING.match(name):
        return _LYVE_SIBLINGS[found[1]]
    if name in _TEST_FILES:
        return "a test file of an AWS service"
    return "CloudFront access log" if _CLOUDFRONT_LOG.match(name) else None


def holds_no_logs(folder: str) -> bool:
    """Whether a folder (it ends in `/`), or a key below it, belongs to another AWS service than CloudTrail and S3."""
    return _OTHER_SERVICE.search(folder) is not None or _OTHER_SERVICE_HIVE.search(folder) is not None
