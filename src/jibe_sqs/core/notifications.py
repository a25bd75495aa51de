"""What a notification of a change announces, once its wire shape is read.

Every record stands for itself: one that cannot be read is an announcement too, beside the others. An object of a log
source is a log file to read; any other is the event itself, and needs no file. A change whose bucket can be read and
whose key cannot makes the whole bucket stale.
"""

from typing import Any, Final

import msgspec

from jibe_sqs.core.errors import AnnouncementError, AnnouncementMalformed, AnnouncementTooLarge
from jibe_sqs.core.event_times import event_time
from jibe_sqs.core.key_encodings import KeyEncoding, readings
from jibe_sqs.core.log_names import format_of
from jibe_sqs.core.model import (
    UNKNOWN_TIME,
    Actor,
    Announcement,
    Kind,
    LogFile,
    ObjectEvent,
    SkipReason,
    Unchanged,
    Unreadable,
)
from jibe_sqs.core.sources import Sources

_UNLISTED: Final = {Kind.WRITTEN: Kind.WRITTEN_UNLISTED, Kind.DELETED: Kind.DELETED_UNLISTED}


class Notification(msgspec.Struct, frozen=True, kw_only=True):
    """One change, or one event that is none, as a message reports it. `bucket`, `key` and `time` are as in the message.

    `where` names the record, and `bucket_field` and `key_field` its fields, in errors. `encoding_setting` is the setting
    that says how keys are encoded.
    """

    where: str
    index: int
    effect: Kind | SkipReason
    bucket: object
    key: object
    time: object
    encoding: KeyEncoding | None
    encoding_setting: str
    bucket_field: str
    key_field: str
    name: str = ""
    event_id: str = ""
    region: str = ""
    actor: Actor = Actor()
    version: str | None = None
    etag: str | None = None
    size: int | None = None

    def announced(self, sources: Sources, key_length: int) -> list[Announcement]:
        """What it announces: for most one event, or one log file. `key_length`: characters of a name, at most."""
        if isinstance(self.effect, SkipReason):
            return [self._unchanged(self.effect, *self._readable(key_length))]
        try:
            bucket = self._name(self.bucket, self.bucket_field, key_length)
        except AnnouncementError as error:
            return [Unreadable(error, self.index)]
        try:
            keys = self._keys(key_length)
        except AnnouncementError as error:
            return [self._event(_UNLISTED[self.effect], bucket, ""), Unreadable(error, self.index)]
        return _one_log_file([self._of_object(bucket, key, sources) for key in keys])

    def _of_object(self, bucket: str, key: str, sources: Sources) -> Announcement:
        if not sources.is_log(bucket, key):
            return self._event(Kind(self.effect), bucket, key)
        if self.effect is Kind.WRITTEN:
            return sources.file_or_nothing(LogFile(bucket, key, self.version, self.etag, self.size))
        # What else happens to a log file changes nothing that Access Anywhere shows.
        return self._unchanged(SkipReason.NOT_OBJECT_CHANGE, bucket, key)

    def _event(self, kind: Kind, bucket: str, key: str) -> ObjectEvent:
        moment = event_time(self.time)
        return ObjectEvent(kind, bucket, key, moment, self.event_id, self.region, self.actor, self.version, self.name)

    def _unchanged(self, reason: SkipReason, bucket: str, key: str = "") -> Unchanged:
        moment = event_time(self.time)
        return Unchanged(reason, bucket, key, 0.0 if moment == UNKNOWN_TIME else moment, self.event_id, self.name)

    def _readable(self, key_length: int) -> tuple[str, str]:
        """Bucket and key, each as far as it can be read: an event that changes nothing is never an error."""
        try:
            bucket = self._name(self.bucket, self.bucket_field, key_length)
            return bucket, self._keys(key_length)[0]
        except AnnouncementError:
            return (text(self.bucket) or "")[:key_length], ""

    def _keys(self, key_length: int) -> list[str]:
        key = self._name(self.key, self.key_field, key_length)
        try:
            return readings(key, self.encoding)
        except ValueError as error:
            raise AnnouncementMalformed(
                f"{self.where}: {self.key_field} {shown(key)} is no percent-encoding of UTF-8; if keys are not encoded, "
                f"set {self.encoding_setting}: raw"
            ) from error

    def _name(self, value: object, field: str, longest: int) -> str:
        if value is None or value == "":
            raise AnnouncementMalformed(f"{self.where} has no {field}")
        if not isinstance(value, str):
            raise AnnouncementMalformed(f"{self.where}: {field} is not a text: {shown(value)}")
        if text(value) is None:
            raise AnnouncementMalformed(f"{self.where}: {field} {shown(value)} has half of a surrogate pair")
        if len(value) > longest:
            raise AnnouncementTooLarge(
                f"{self.where}: {field} has {len(value):,} characters; {longest:,} is the limit (limits.key_length)"
            )
        return value


def _one_log_file(found: list[Announcement]) -> list[Announcement]:
    """Of two readings of a key, only one can be a file that exists: the one that looks like a log file's, or the first."""
    files = [each for each in found if isinstance(each, LogFile)]
    if len(files) < 2:
        return found
    return [max(files, key=lambda file: format_of(file.key) is not None)]


def text(value: object) -> str | None:
    """The value, if it is a text with something in it that can be written as UTF-8."""
    if not isinstance(value, str) or not value:
        return None
    try:
        value.encode()
    except UnicodeEncodeError:
        return None
    return value


def field(holder: object, *path: str) -> Any:
    """A field within a field and so on; None if it is missing, or stands in something that has no fields."""
    for name in path:
        holder = holder.get(name) if isinstance(holder, dict) else None
    return holder


def size(value: object) -> int | None:
    """Bytes. Ceph writes them as a text."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def shown(value: object) -> str:
    """The beginning of a value, for an error's text."""
    return repr(value[:100]) if isinstance(value, str) else repr(value)[:100]
