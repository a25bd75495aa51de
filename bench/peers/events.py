"""What the consumers in Python do with a message and a log file."""

import gzip
import json
from typing import Any, Final

WRITES: Final = frozenset(
    {"PutObject", "CopyObject", "CompleteMultipartUpload", "DeleteObject", "DeleteObjects", "RestoreObject"}
)


def announced(body: str) -> list[tuple[str, str]]:
    """The buckets and keys of the log files in a message: CloudTrail's notice in the envelope of SNS."""
    notice = json.loads(json.loads(body)["Message"])
    return [(notice["s3Bucket"], key) for key in notice["s3ObjectKey"]]


def object_events(stored: bytes) -> list[tuple[str, str, str]]:
    """Name, bucket and key of each change of an object in a log file of CloudTrail."""
    found = []
    for record in json.loads(gzip.decompress(stored))["Records"]:
        if record["eventSource"] == "s3.amazonaws.com" and record["eventName"] in WRITES and "errorCode" not in record:
            parameters: dict[str, Any] = record["requestParameters"]
            found.append((record["eventName"], parameters["bucketName"], parameters["key"]))
    return found
