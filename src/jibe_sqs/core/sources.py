"""The configured sources of log files and of notifications."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from jibe_sqs.core.formats.bad_records import OnBadRecord
from jibe_sqs.core.formats.format import Format
from jibe_sqs.core.formats.limits import Limits
from jibe_sqs.core.formats.reader import LogReader
from jibe_sqs.core.formats.registry import format_of
from jibe_sqs.core.globs import KeyFilter
from jibe_sqs.core.key_encodings import EVERY_SOURCE, KEY_ENCODINGS, KeyEncoding
from jibe_sqs.core.log_names import holds_no_logs, no_log
from jibe_sqs.core.model import LogFile, Nothing
from jibe_sqs.core.notification_rules import NotificationRule

EVERY_BUCKET: Final = "*"
"""A source with this bucket is for every bucket. Its log files are only those whose keys look like CloudTrail's."""

_FORMATS_IN_CERTAIN_FOLDERS: Final = (None, Format.CLOUDTRAIL)
IGNORED_FILE: Final = "an ignored file"
"""The description of a file that its source ignores."""


class LogSource(msgspec.Struct, frozen=True):
    """A bucket with log files, or the part of it below `prefix`.

    `format` is None if each file shows its format. `on_bad_record` is None for the default of the format.
    """

    bucket: str
    prefix: str = ""
    format: Format | None = None
    on_bad_record: OnBadRecord | None = None
    verify: bool = False
    """Verify its files with CloudTrail's digests."""
    ignore: KeyFilter | None = None
    """Files that are of no interest. They are not read."""

    def ignores(self, key: str) -> bool:
        """Whether the file with this key is of no interest."""
        return self.ignore is not None and self.ignore.matches(key)

    def ignores_folder(self, folder: str) -> bool:
        """Whether all files below this folder, which ends in `/`, are of no interest."""
        return self.ignore is not None and self.ignore.covers(folder)

    def reader(self, key: str, limits: Limits, *, readers: bool = False) -> LogReader:
        """A reader for one of its files. The service and `explain` both use it, so their decisions are the same.

        `readers`: records of reads have their caller.
        """
        return LogReader(
            key,
            limits,
            configured=self.format,
            on_bad_record=self.on_bad_record,
            hashed=self.verify,
            readers=readers,
        )


def holds(bucket: str, prefix: str, key: str) -> bool:
    """Whether a source with this bucket and prefix contains the key. The caller has compared the bucket already.

    A source of `EVERY_BUCKET` contains only the keys of CloudTrail's log files.
    """
    return key.startswith(prefix) and (bucket != EVERY_BUCKET or format_of(key) is Format.CLOUDTRAIL)


def beside_logs(source: LogSource, key: str) -> str | None:
    """A description of a file below a source's prefix that is certainly not a log file of this source. Otherwise None.

    A file in the folder of another AWS service is not a log file. But it may be one if the configured format is not
    CloudTrail's, or if the configured prefix is such a folder.
    """
    if about := no_log(key):
        return about
    if format_of(key) is not None or source.format not in _FORMATS_IN_CERTAIN_FOLDERS:
        return None
    if holds_no_logs(key) and not holds_no_logs(source.prefix):
        return "a file of another AWS service"
    return None


class Sources:
    """All configured sources. Without log sources, every file is a log file if its key looks like one."""

    def __init__(
        self,
        logs: Sequence[LogSource] = (),
        key_encodings: Mapping[str, KeyEncoding] | None = None,
        notifications: Sequence[NotificationRule] = (),
    ) -> None:
        """`notifications`: rules for message bodies whose shape is not built in."""
        given = key_encodings or {}
        self.key_encodings = dict(given) if EVERY_SOURCE in given else {**KEY_ENCODINGS, **given}
        self.notifications = notifications
        self._logs: dict[str, list[LogSource]] = {}
        for source in logs:
            self._logs.setdefault(source.bucket, []).append(source)

    @property
    def buckets(self) -> frozenset[str]:
        """The names of the configured log buckets."""
        return frozenset(self._logs) - {EVERY_BUCKET}

    def key_encoding(self, source: str) -> KeyEncoding | None:
        """The encoding of keys in the notifications of this source. None if it is neither configured nor known."""
        return self.key_encodings.get(source) or self.key_encodings.get(EVERY_SOURCE)

    def of(self, bucket: str, key: str) -> LogSource | None:
        """The source of a log file. None if no configured source contains it."""
        if not self._logs:
            return LogSource(bucket)
        for name in (bucket, EVERY_BUCKET):
            for source in self._logs.get(name, ()):
                if holds(source.bucket, source.prefix, key):
                    return source
        return None

    def possible(self, key: str | None) -> list[LogSource]:
        """The possible sources of a log file whose bucket is unknown. All sources, if its key is unknown too."""
        everything = [source for sources in self._logs.values() for source in sources] or [LogSource("")]
        return [source for source in everything if key is None or holds(source.bucket, source.prefix, key)]

    def is_log(self, bucket: str, key: str) -> bool:
        """Whether an object in a notification is a log file. Otherwise it is a data object."""
        return self.of(bucket, key) is not None if self._logs else format_of(key) is not None

    def file_or_nothing(self, file: LogFile) -> LogFile | Nothing:
        """The announced file, or `Nothing` if its bucket is a source of logs and this file is not a log file or ignored.

        A file in a bucket that is not configured is returned as it is: the handler refuses it, and gives the reason.
        """
        source = self.of(file.bucket, file.key)
        if source is None:
            if file.bucket in self._logs or EVERY_BUCKET in self._logs:
                return Nothing("a file outside the configured logs", file.bucket, file.key)
            return file
        about = IGNORED_FILE if source.ignores(file.key) else beside_logs(source, file.key)
        return Nothing(about, file.bucket, file.key) if about else file
