"""Publishers that write log files with one line for each call: they collect lines by bucket, then write and announce
files.

All files go to the trail's log bucket. AWS itself writes access logs only to a bucket of the same region.
"""

import threading
import time
from abc import ABC, abstractmethod
from datetime import UTC, datetime
from random import Random

from jibe_sqs.sandbox.aws.deployment import Deployment
from jibe_sqs.sandbox.aws.records import aws_service
from jibe_sqs.sandbox.aws.s3_calls import CallKind, S3Call


class LogFilePublisher(ABC):
    """The base class of these publishers. A subclass adds the format."""

    def __init__(self, deployment: Deployment, *, seed: int = 0) -> None:
        self.delivered: dict[int, float] = {}
        self.files: list[str] = []
        """The keys of all log files in the order of delivery, without the files of other streams."""
        self.messages = 0
        self._deployment = deployment
        self._random = Random(f"{type(self).__name__} {seed}")
        self._collected: dict[str, list[tuple[list[bytes], tuple[int, ...]]]] = {}
        self._lock = threading.Lock()

    @abstractmethod
    def lines(self, call: S3Call) -> list[bytes]:
        """The lines that the format has for a call."""

    @abstractmethod
    def new_log_file(self, bucket: str, text: bytes, at: datetime) -> tuple[str, bytes]:
        """A new key, and the body of a log file of this bucket."""

    @abstractmethod
    def announce(self, file: S3Call) -> None:
        """Announce a new file. Writing it was a call, too."""

    def other_file(self, at: datetime) -> tuple[str, bytes] | None:
        """Sometimes the key and body of a file of another stream.

        It lies among the log files and is announced like them.
        """
        del at
        return None

    def start(self, buckets: list[str]) -> None:
        """Nothing is published at the start."""
        del buckets

    def record(self, call: S3Call) -> None:
        """Collect the lines of one call. They stay together in one file."""
        with self._lock:
            self._collected.setdefault(call.bucket, []).append((self.lines(call), call.changes))

    def deliver(self) -> list[str]:
        """Write the collected lines to log files, and announce them. Returns the keys of the new files."""
        with self._lock:
            collected, self._collected = self._collected, {}
            return [key for bucket, groups in collected.items() for key in self._deliver(bucket, groups)]

    def _deliver(self, bucket: str, groups: list[tuple[list[bytes], tuple[int, ...]]]) -> list[str]:
        shares = min(len(groups), self._random.choice((1, 1, 1, 2)))
        files = []
        for share in range(shares):
            lines = [line for group, _ in groups[share::shares] for line in group]
            # Lines are not in the order of the calls.
            self._random.shuffle(lines)
            files.append(self._put(*self.new_log_file(bucket, b"".join(lines), datetime.now(UTC))))
        self.files += (file.key for file in files)
        if extra := self.other_file(datetime.now(UTC)):
            files.append(self._put(*extra))
        now = time.time()
        # Before the announcement: a change must not be refreshed before its recorded time of delivery.
        self.delivered.update((change, now) for _, changes in groups for change in changes)
        for file in files:
            self.announce(file)
            self.messages += 1
        return [file.key for file in files]

    def _put(self, key: str, body: bytes) -> S3Call:
        deployment, began = self._deployment, time.time()
        answer = deployment.client("s3").put_object(Bucket=deployment.log_bucket, Key=key, Body=body)
        return S3Call(
            kind=CallKind.PUT,
            bucket=deployment.log_bucket,
            region=deployment.home,
            account=deployment.account,
            caller=aws_service("logging.s3.amazonaws.com"),
            began=began,
            at=time.time(),
            keys=(key,),
            size=len(body),
            etag=answer["ETag"].strip('"'),
        )
