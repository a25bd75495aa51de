"""A case of bad input as data: its message, its file, and the expected verdict."""

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from jibe_sqs.core.formats.limits import Limits, MiB
from jibe_sqs.sandbox.aws import records
from jibe_sqs.sandbox.aws.deployment import REGIONS

REGION: Final = REGIONS[0]
ACCOUNT: Final = "111122223333"
LOGS: Final = "bad-input-logs"
"""The bucket of log files."""
DATA: Final = f"jibe-sandbox-{REGION}-media"
"""A bucket that is mapped to a folder of Access Anywhere."""
FOLDER: Final = f"/Amazon S3 {REGION}/{DATA}"

LIMITS: Final = Limits(
    compressed_size=MiB, decompressed_size=4 * MiB, record_size=64 * 1024, records=5_000, key_length=2_000
)
"""Low, so that inputs beyond a limit are small."""

DONE: Final = "DONE"
RETRY: Final = "RETRY"
REJECT: Final = "REJECT"


@dataclass(frozen=True)
class End:
    """The expected end of a message. `error`, `reason`: regular expressions for the error's class and the reason.

    RETRY is the first verdict. After the last receive the verdict is REJECT, for the same reason.
    """

    verdict: str
    error: str
    reason: str


def done(reason: str) -> End:
    """The input is good, or has an error that cannot be corrected."""
    return End(DONE, "", reason)


def retry(error: str, reason: str) -> End:
    return End(RETRY, error, reason)


def reject(error: str, reason: str) -> End:
    return End(REJECT, error, reason)


@dataclass(frozen=True)
class Case:
    """A message, and the file that it announces, if any."""

    group: str
    name: str
    end: End
    body: Callable[[], str]
    key: str = ""
    file: Callable[[], bytes] | None = None
    unsendable: str = ""
    """Why SQS does not accept the body; empty if it does."""

    def files(self) -> dict[str, bytes]:
        """The files in the bucket of log files: key -> content."""
        return {self.key: self.file()} if self.file else {}

    def __str__(self) -> str:
        return f"{self.group}: {self.name}"


def message(
    group: str, name: str, body: str | dict | list | Callable[[], str], end: End, *, unsendable: str = ""
) -> Case:
    text = body if isinstance(body, str) or callable(body) else json.dumps(body)
    return Case(group, name, end, text if callable(text) else lambda: text, unsendable=unsendable)


def file(group: str, key: str, name: str, data: bytes | Callable[[], bytes], end: End) -> Case:
    """A case with a log file. In `key`, `{}` is replaced by the case's name."""
    key = key.format("".join(letter if letter.isalnum() else "-" for letter in name))
    return Case(group, name, end, lambda: announcing(key), key, data if callable(data) else lambda: data)


TRAIL: Final = (
    f"AWSLogs/{ACCOUNT}/CloudTrail/{REGION}/2026/01/31/{ACCOUNT}_CloudTrail_{REGION}_20260131T1205Z_{{}}.json.gz"
)
LYVE: Final = "{}/S3-media-2026-01-31-12-00-00.gz"
ACCESS: Final = "{}/2026-01-31-12-10-00-0123456789ABCDEF"
UNNAMED: Final = "{}"
"""A key that does not say the format."""


def announcing(*keys: Any, bucket: Any = LOGS) -> str:
    """The body in which CloudTrail announces log files."""
    return json.dumps({"s3Bucket": bucket, "s3ObjectKey": keys})


def envelope(text: str, **others: Any) -> dict[str, Any]:
    """An SNS envelope."""
    topic = f"arn:aws:sns:{REGION}:{ACCOUNT}:trail"
    return {"Type": "Notification", "MessageId": "0c4a2b8e", "TopicArn": topic, "Message": text, **others}


def put(key: str = "bad input/a.jpg", bucket: str = DATA, seed: int = 1, **others: Any) -> dict[str, Any]:
    """A CloudTrail record of a write. `others` replace its fields, and `...` removes one."""
    caller = records.iam_user("ana", account=ACCOUNT, access_key="AKIAANA")
    record = records.put_object(records.Call(caller, 1_769_860_800.0, REGION, ACCOUNT, Random(seed)), bucket, key, 10)
    return {name: value for name, value in (record | others).items() if value is not ...}


def log(*found: Any) -> bytes:
    """A CloudTrail log file, compressed."""
    return gzip.compress(text(*found), mtime=0)


def text(*found: Any) -> bytes:
    """The text of a CloudTrail log file."""
    return json.dumps({"Records": found}).encode()


DIGEST: Final = TRAIL.format("digest").replace("CloudTrail/", "CloudTrail-Digest/")
HOSTILE: Final = "http://169.254.169.254/latest/meta-data/"


def s3_event(*records: Any, **others: Any) -> dict[str, Any]:
    return {"Records": list(records), **others}


def s3_record(key: Any = "bad+input/a.jpg", bucket: Any = DATA, more: Any = None, **others: Any) -> dict[str, Any]:
    """One record. `others` replace its fields, and `...` removes one. `more`: fields to add to the object."""
    record = {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": REGION,
        "eventTime": "2026-01-31T12:00:00.123Z",
        "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": bucket}, "object": {"key": key, "size": 5, **(more or {})}},
    }
    return {name: value for name, value in (record | others).items() if value is not ...}


DEEP: Final = "1,000 nested lists"


def deep(body: Any) -> str:
    """The body, with 1,000 nested lists in place of `DEEP`."""
    return json.dumps(body).replace(json.dumps(DEEP), "[" * 1_000 + "]" * 1_000)
