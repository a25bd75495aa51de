"""Who tells of changes: a publisher a format, and each bucket has one."""

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
    """Hears of acts, and tells of them in its format when it is told to."""

    delivered: dict[int, float]
    """When a change was told (seconds since the epoch), by its number; only of those that the format tells of."""
    files: list[str]
    """Keys of all its log files in the log bucket, in the order of delivery."""
    messages: int
    """That it sent, but for those of the start."""

    def start(self, buckets: list[str]) -> None:
        """What happens when it is set up for these buckets."""

    def record(self, call: S3Call) -> None:
        """Hear of one act."""

    def deliver(self) -> list[str]:
        """Tell all that was heard since the last time. Returns the keys of new files."""


class CallRecorder(Protocol):
    """All that a writer of changes needs."""

    def record(self, call: S3Call) -> None:
        """Hear of one act."""


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
    """All of them, as one."""

    def __init__(self, deployment: Deployment, by_bucket: Mapping[str, ChangeFeed], *, seed: int = 0) -> None:
        self.by_format: dict[ChangeFeed, Publisher] = {
            format_: _FACTORIES[format_](deployment, seed=seed) for format_ in dict.fromkeys(by_bucket.values())
        }
        self._by_bucket = dict(by_bucket)

    @property
    def delivered(self) -> dict[int, float]:
        """When each change was told."""
        return {number: at for publisher in self.by_format.values() for number, at in publisher.delivered.items()}

    @property
    def files(self) -> list[str]:
        """Keys of all log files."""
        return [key for publisher in self.by_format.values() for key in publisher.files]

    def counts(self) -> dict[str, int]:
        """By format: how many log files there are or, where there are none, messages."""
        return {
            format_.value: len(publisher.files) or publisher.messages
            for format_, publisher in sorted(self.by_format.items())
        }

    def start(self) -> None:
        """Set them up."""
        for format_, publisher in self.by_format.items():
            publisher.start([bucket for bucket, its_format in self._by_bucket.items() if its_format is format_])

    def record(self, call: S3Call) -> None:
        """Have the bucket's publisher hear of it."""
        self.by_format[self._by_bucket[call.bucket]].record(call)

    def deliver(self) -> list[str]:
        """Tell all that was heard since the last time. Returns the keys of new files."""
        return [key for publisher in self.by_format.values() for key in publisher.deliver()]
