"""Changes told by log files of a line a call: gathered by bucket, written when told to, and announced.

The log bucket is the one of the trail's, though AWS writes access logs only to a bucket of the same region.
"""

import threading
import time
from abc import ABC, abstractmethod
from datetime import UTC, datetime
from random import Random

from jibe_sqs.sandbox.aws.deployment import Deployment
from jibe_sqs.sandbox.aws.records import aws_service
from jibe_sqs.sandbox.aws.s3_calls import CallKind, S3Call


class LogFiles(ABC):
    """A publisher, but for the format."""

    def __init__(self, deployment: Deployment, *, seed: int = 0) -> None:
        self.delivered: dict[int, float] = {}
        self.files: list[str] = []
        """Keys of all log files, in the order of delivery; not of what stands beside them."""
        self.messages = 0
        self._deployment = deployment
        self._random = Random(f"{type(self).__name__} {seed}")
        self._gathered: dict[str, list[tuple[list[bytes], tuple[int, ...]]]] = {}
        self._lock = threading.Lock()

    @abstractmethod
    def lines(self, call: S3Call) -> list[bytes]:
        """What the format tells of an act, a line for each call or key."""

    @abstractmethod
    def written(self, bucket: str, text: bytes, at: datetime) -> tuple[str, bytes]:
        """The key, which was never used before, and the body of a file of that bucket's."""

    @abstractmethod
    def announce(self, file: S3Call) -> None:
        """Say that a file was written, which is an act too."""

    def beside(self, at: datetime) -> tuple[str, bytes] | None:
        """Now and then a file that is no log of objects, but stands among them, and is announced as they are."""
        del at
        return None

    def start(self, buckets: list[str]) -> None:
        """Nothing happens."""
        del buckets

    def record(self, call: S3Call) -> None:
        """Gather the lines of one act, which stay together in one file."""
        with self._lock:
            self._gathered.setdefault(call.bucket, []).append((self.lines(call), call.changes))

    def deliver(self) -> list[str]:
        """Write all that was gathered as log files, and announce them. Returns the new files' keys."""
        with self._lock:
            gathered, self._gathered = self._gathered, {}
            return [key for bucket, groups in gathered.items() for key in self._deliver(bucket, groups)]

    def _deliver(self, bucket: str, groups: list[tuple[list[bytes], tuple[int, ...]]]) -> list[str]:
        shares = min(len(groups), self._random.choice((1, 1, 1, 2)))
        files = []
        for share in range(shares):
            lines = [line for group, _ in groups[share::shares] for line in group]
            # They stand in no order.
            self._random.shuffle(lines)
            files.append(self._put(*self.written(bucket, b"".join(lines), datetime.now(UTC))))
        self.files += (file.key for file in files)
        if extra := self.beside(datetime.now(UTC)):
            files.append(self._put(*extra))
        now = time.time()
        # Before, not after: who hears of a change must not have heard of it before it was delivered.
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
