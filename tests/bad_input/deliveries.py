"""Bad announcements of log files by CloudTrail."""

import json
from functools import partial
from typing import Final

from .cases import (
    ACCOUNT,
    DATA,
    DEEP,
    DIGEST,
    HOSTILE,
    LOGS,
    REGION,
    TRAIL,
    Case,
    announcing,
    deep,
    done,
    message,
    reject,
    retry,
)

OTHERS: Final = (
    f"AWSLogs/{ACCOUNT}/Config/{REGION}/2026/1/31/ConfigHistory/x.json.gz",
    f"AWSLogs/{ACCOUNT}/elasticloadbalancing/{REGION}/2026/01/31/x.log.gz",
    f"AWSLogs/{ACCOUNT}/vpcflowlogs/{REGION}/2026/01/31/x.log.gz",
    f"AWSLogs/{ACCOUNT}/ELBAccessLogTestFile",
    "photos/",
)
"""Other files beside a trail's log files in a shared bucket."""

MALFORMED: Final = "AnnouncementMalformed"
UNKNOWN: Final = "AnnouncementUnknown"


delivery = partial(message, "Messages: CloudTrail deliveries")

CASES: Final[list[Case]] = [
    delivery(
        "a bucket that is a number",
        announcing("a", bucket=7),
        reject(MALFORMED, "s3Bucket is not the name of a bucket"),
    ),
    delivery(
        "an empty bucket name", announcing("a", bucket=""), reject(MALFORMED, "s3Bucket is not the name of a bucket")
    ),
    delivery("no keys", {"s3Bucket": LOGS}, reject(MALFORMED, "s3ObjectKey is not a list of keys")),
    delivery("an empty list of keys", announcing(), reject(MALFORMED, "s3ObjectKey is not a list of keys")),
    delivery(
        "keys in an object",
        {"s3Bucket": LOGS, "s3ObjectKey": {"0": "a"}},
        reject(MALFORMED, "s3ObjectKey is not a list of keys"),
    ),
    delivery(
        "a key that is a number, beside the key of a digest",
        announcing(DIGEST, 7),
        reject(MALFORMED, "s3ObjectKey.1 is not a key: 7"),
    ),
    delivery(
        "a key of 1,000 nested lists, beside the key of a digest",
        deep(json.loads(announcing(DIGEST, DEEP))),
        reject(MALFORMED, "s3ObjectKey.1 is not a key: a list"),
    ),
    delivery(
        "an empty key, beside the key of a digest",
        announcing("", DIGEST),
        reject(MALFORMED, "s3ObjectKey.0 is not a key: ''"),
    ),
    delivery(
        "files of other AWS services, test files and folder markers",
        announcing(*OTHERS),
        done("nothing to do: a file of another AWS service, a test file of an AWS service, a folder's marker"),
    ),
    delivery(
        "1,001 keys",
        lambda: announcing(*(f"{DIGEST}{number}" for number in range(1001))),
        done("nothing to do: CloudTrail digest"),
    ),
    delivery(
        "a bucket that is not configured",
        announcing(TRAIL.format("a"), bucket="not-configured"),
        reject("BucketNotAllowed", "s3://not-configured/.* is not in the configured logs"),
    ),
    delivery(
        "a bucket whose name is a URL",
        announcing("a", bucket=HOSTILE),
        reject("BucketNotAllowed", "not in the configured logs"),
    ),
    delivery(
        "an object of a data bucket",
        announcing("holiday.jpg", bucket=DATA),
        reject("BucketNotAllowed", "holiday.jpg is not in the configured logs"),
    ),
    delivery(
        "a key of 2,001 characters",
        announcing("a" * 2_001),
        reject("AnnouncementTooLarge", "s3ObjectKey.0 has 2,001 characters; the limit is 2,000"),
    ),
    delivery(
        "a key of 1,025 characters, more than S3 allows",
        announcing("é" * 1_025),
        retry("LogMissing|LogStoreUnavailable", f"s3://{LOGS}/ééé"),
    ),
    delivery(
        "a bucket name of 1,000 characters",
        announcing("a", bucket="b" * 1_000),
        reject("BucketNotAllowed", "not in the configured logs"),
    ),
    delivery(
        "a log file that does not exist",
        announcing(TRAIL.format("gone")),
        retry("LogMissing", f"s3://{LOGS}/AWSLogs/.*gone"),
    ),
    delivery("a key with ../ at its start", announcing("../../etc/passwd"), retry("LogMissing", "etc/passwd")),
    delivery("a key of slashes and dots", announcing("//./../a//x"), retry("LogMissing", r"//\./\.\./a//x")),
    delivery(
        "a key with control characters", announcing("a\r\nX-Injected: 1\0\x1b[31m"), retry("LogMissing", "X-Injected")
    ),
    delivery(
        "a digest, and an Insights file",
        announcing(
            *(TRAIL.format("a").replace("CloudTrail/", f"CloudTrail-{each}/") for each in ("Digest", "Insight"))
        ),
        done("nothing to do: CloudTrail digest, CloudTrail Insights events"),
    ),
    delivery(
        "the marker of a trail's start",
        announcing(f"AWSLogs/{ACCOUNT}/CloudTrail/"),
        done("nothing to do: the marker of a trail's start"),
    ),
]
