"""What the operator says of where log files and notifications come from."""

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import msgspec

from jibe_sqs.core.formats.bad_records import OnBadRecord
from jibe_sqs.core.formats.limits import Limits
from jibe_sqs.core.formats.reader import LogReader
from jibe_sqs.core.log_names import Format, format_of

EVERY_BUCKET: Final = "*"
"""A source's bucket that stands for every one. Only what looks like CloudTrail's log files is a log file there."""

KeyEncoding = Literal["url", "raw"]

KEY_ENCODINGS: Final[Mapping[str, KeyEncoding]] = {
    "aws:s3": "url",
    "minio:s3": "url",
    "ceph:s3": "raw",
    "eventbridge": "raw",
}
"""How notifications write keys, by their source. AWS's documentation is silent on EventBridge's."""


class LogSource(msgspec.Struct, frozen=True):
    """A bucket, or the part of it below `prefix`, with log files. None: told by the file, or the format's default."""

    bucket: str
    prefix: str = ""
    format: Format | None = None
    on_bad_record: OnBadRecord | None = None
    verify: bool = False
    """Hold its files against CloudTrail's digests."""

    def reader(self, key: str, limits: Limits) -> LogReader:
        """A reader for one of its files. The service and `explain` both read with it, so they decide alike."""
        return LogReader(key, limits, configured=self.format, on_bad_record=self.on_bad_record, hashed=self.verify)


def holds(bucket: str, prefix: str, key: str) -> bool:
    """Whether a source of that bucket, and of `EVERY_BUCKET`, holds a key of a bucket that it is for."""
    return key.startswith(prefix) and (bucket != EVERY_BUCKET or format_of(key) is Format.CLOUDTRAIL)


class Sources:
    """All that is configured. Without log sources, every log file is read whose key looks like one."""

    def __init__(self, logs: Sequence[LogSource] = (), key_encodings: Mapping[str, KeyEncoding] | None = None) -> None:
        self.key_encodings = {**KEY_ENCODINGS, **(key_encodings or {})}
        self._logs: dict[str, list[LogSource]] = {}
        for source in logs:
            self._logs.setdefault(source.bucket, []).append(source)

    def of(self, bucket: str, key: str) -> LogSource | None:
        """The source that a log file is of; None if it is of none that is configured."""
        if not self._logs:
            return LogSource(bucket)
        candidates = (*self._logs.get(bucket, ()), *self._logs.get(EVERY_BUCKET, ()))
        return next((source for source in candidates if holds(source.bucket, source.prefix, key)), None)

    def possible(self, key: str | None) -> list[LogSource]:
        """The sources that a log file of an unknown bucket may come from; all of them if its key is unknown too."""
        everything = [source for sources in self._logs.values() for source in sources] or [LogSource("")]
        return [source for source in everything if key is None or holds(source.bucket, source.prefix, key)]

    def is_log(self, bucket: str, key: str) -> bool:
        """Whether an object that a notification names is a log file, and not one of the data."""
        return self.of(bucket, key) is not None if self._logs else format_of(key) is not None
