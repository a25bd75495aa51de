"""What an object in a log bucket is, as far as its key tells. Source: CloudTrail User Guide, "Finding your log files"."""

import re
from typing import Final

_ACCOUNT: Final = r"AWSLogs/(?:o-[a-z0-9]+/)?\d{12}"
_CLOUDTRAIL_LOG: Final = re.compile(rf"(?:^|/){_ACCOUNT}/CloudTrail/[^/]+/\d{{4}}/\d\d/\d\d/[^/]+\.json(?:\.gz)?\Z")

_SIBLINGS: Final = {
    "CloudTrail-Digest": "CloudTrail digest",
    "CloudTrail-Insight": "CloudTrail Insights events",
    "CloudTrail-NetworkActivity": "CloudTrail network activity events",
    "CloudTrail-Aggregated": "CloudTrail aggregated events",
}
_SIBLING: Final = re.compile(rf"(?:^|/){_ACCOUNT}/({'|'.join(_SIBLINGS)})/")
_START: Final = re.compile(rf"(?:^|/){_ACCOUNT}/CloudTrail(?:-Digest)?/(?:[^/]+/)?\Z")


def is_cloudtrail_log(key: str) -> bool:
    """Whether the key is of a CloudTrail log file, under any prefix."""
    return _CLOUDTRAIL_LOG.search(key) is not None


def no_log(key: str) -> str | None:
    """What a key beside the log files is; None for every other key. None of them holds object changes."""
    if found := _SIBLING.search(key):
        return _SIBLINGS[found[1]]
    if _START.search(key):
        return "the mark of a trail's start"
    return None
