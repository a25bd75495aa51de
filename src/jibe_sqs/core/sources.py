"""What the operator says of where log files and notifications come from."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from jibe_sqs.core.formats.bad_records import OnBadRecord
from jibe_sqs.core.formats.format import Format
from jibe_sqs.core.formats.limits import Limits
from jibe_sqs.core.formats.reader import LogReader
from jibe_sqs.core.formats.registry import format_of
from jibe_sqs.core.key_encodings import EVERY_SOURCE, KEY_ENCODINGS, KeyEncoding
from jibe_sqs.core.log_names import holds_no_logs, no_log
from jibe_sqs.core.model import LogFile, Nothing
from jibe_sqs.core.notification_rules import NotificationRule

EVERY_BUCKET: Final = "*"
"""A source's bucket that stands for every one. Only what looks like CloudTrail's log files is a log file there."""


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


def beside_logs(source: LogSource, key: str) -> str | None:
    """What a file below a source's prefix is, if it is certainly not a log file of that source.

    The folders of other AWS services say so, unless the operator names another format than CloudTrail's, or a prefix
    that is such a folder itself.
    """
    if about := no_log(key):
        return about
    is_judged = source.format in (None, Format.CLOUDTRAIL) and not holds_no_logs(source.prefix)
    if is_judged and holds_no_logs(key) and format_of(key) is None:
        return "a file of another AWS service"
    return None


class Sources:
    """All that is configured. Without log sources, every log file is read whose key looks like one."""

    def __init__(
        self,
        logs: Sequence[LogSource] = (),
        key_encodings: Mapping[str, KeyEncoding] | None = None,
        notifications: Sequence[NotificationRule] = (),
    ) -> None:
        """`notifications`: how to read message bodies of shapes that are not known here."""
        given = key_encodings or {}
        self.key_encodings = dict(given) if EVERY_SOURCE in given else {**KEY_ENCODINGS, **given}
        self.notifications = notifications
        self._logs: dict[str, list[LogSource]] = {}
        for source in logs:
            self._logs.setdefault(source.bucket, []).append(source)

    def key_encoding(self, source: str) -> KeyEncoding | None:
        """How this source's notifications write keys. None if neither the operator nor the source says so."""
        return self.key_encodings.get(source) or self.key_encodings.get(EVERY_SOURCE)

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

    def file_or_nothing(self, file: LogFile) -> LogFile | Nothing:
        """The announced file; or nothing, if its bucket holds logs and this file is not one of them.

        A file of a bucket that is not configured stays a file: to refuse it, with the reason, is the handler's work.
        """
        source = self.of(file.bucket, file.key)
        if source is None:
            if file.bucket in self._logs or EVERY_BUCKET in self._logs:
                return Nothing("a file outside the configured logs", file.bucket, file.key)
            return file
        about = beside_logs(source, file.key)
        return Nothing(about, file.bucket, file.key) if about else file
