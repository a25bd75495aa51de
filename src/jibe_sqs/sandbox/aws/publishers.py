"""Publishers record calls to S3 and deliver them as log files or messages. There is one for each format."""

from collections.abc import Mapping
from typing import Final, Protocol

from jibe_sqs.sandbox.aws.access_logs import AccessLogs
from jibe_sqs.sandbox.aws.audit_logs import LyveAudits, MinioAudits
from jibe_sqs.sandbox.aws.ceph_events import CephEvents
from jibe_sqs.sandbox.aws.deployment import Deployment
from jibe_sqs.sandbox.aws.eventbridge import EventBridge
from jibe_sqs.sandbox.aws.minio_events import MinioEvents
from jibe_sqs.sandbox.aws.s3_calls import S3Call
from jibe_sqs.sandbox.aws.s3_events import S3Events
from jibe_sqs.sandbox.aws.trail import Trail
from jibe_sqs.sandbox.change_feeds import ChangeFeed


class Publisher(Protocol):
    """Records calls, and delivers them in its format."""

    delivered: dict[int, float]
    """Number of a change -> when it was delivered, in seconds since the epoch. Only changes that the
    format contains.
    """
    files: list[str]
    """Keys of all its log files in the log bucket, in the order of delivery."""
    messages: int
    """Number of messages that were sent, without those of the start."""

    def start(self, buckets: list[str]) -> None:
        """Publish what the real service publishes when it is set up for these buckets."""

    def record(self, call: S3Call) -> None:
        """Record one call."""

    def deliver(self) -> list[str]:
        """Deliver all calls since the last delivery. Returns the keys of new log files."""


class CallRecorder(Protocol):
    """What a writer of changes needs."""

    def record(self, call: S3Call) -> None:
        """Record one call."""


class _PublisherFactory(Protocol):
    def __call__(self, deployment: Deployment, /, *, seed: int) -> Publisher: ...


_FACTORIES: Final[Mapping[ChangeFeed, _PublisherFactory]] = {
    ChangeFeed.CLOUDTRAIL: Trail,
    ChangeFeed.S3_EVENT: S3Events,
    ChangeFeed.MINIO_EVENT: MinioEvents,
    ChangeFeed.CEPH_EVENT: CephEvents,
    ChangeFeed.EVENTBRIDGE: EventBridge,
    ChangeFeed.ACCESS_LOG: AccessLogs,
    ChangeFeed.LYVE_AUDIT: LyveAudits,
    ChangeFeed.MINIO_AUDIT: MinioAudits,
}


class Publishers:
    """All publishers as one. A bucket's calls go to the publisher of its format."""

    def __init__(self, deployment: Deployment, by_bucket: Mapping[str, ChangeFeed], *, seed: int = 0) -> None:
        self.by_format: dict[ChangeFeed, Publisher] = {
            format_: _FACTORIES[format_](deployment, seed=seed) for format_ in dict.fromkeys(by_bucket.values())
        }
        self._by_bucket = dict(by_bucket)

    @property
    def delivered(self) -> dict[int, float]:
        """Number of a change -> when it was delivered, in seconds since the epoch."""
        return {number: at for publisher in self.by_format.values() for number, at in publisher.delivered.items()}

    @property
    def files(self) -> list[str]:
        """Keys of all log files."""
        return [key for publisher in self.by_format.values() for key in publisher.files]

    def counts(self) -> dict[str, int]:
        """Format -> number of log files; for formats without log files, number of messages."""
        return {
            format_.value: len(publisher.files) or publisher.messages
            for format_, publisher in sorted(self.by_format.items())
        }

    def start(self) -> None:
        """Start all publishers."""
        for format_, publisher in self.by_format.items():
            publisher.start([bucket for bucket, its_format in self._by_bucket.items() if its_format is format_])

    def record(self, call: S3Call) -> None:
        """Record the call with the publisher of its bucket."""
        self.by_format[self._by_bucket[call.bucket]].record(call)

    def deliver(self) -> list[str]:
        """Deliver all calls since the last delivery. Returns the keys of new log files."""
        return [key for publisher in self.by_format.values() for key in publisher.deliver()]
