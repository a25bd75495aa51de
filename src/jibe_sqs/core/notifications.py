"""The announcements of one event, after its fields were found in the message.

An object of a log source is a log file to read. Any other object gives an event, which needs no file. A record that
cannot be read is an announcement too, so that the other records of its message are processed. If its bucket can be read
and its key cannot, the whole bucket is stale.
"""

from typing import Any, Final

import msgspec

from jibe_sqs.core.errors import AnnouncementError, AnnouncementMalformed, AnnouncementTooLarge, without_frames
from jibe_sqs.core.event_times import event_time
from jibe_sqs.core.formats.registry import format_of
from jibe_sqs.core.key_encodings import KeyEncoding, readings
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

_TYPES: Final = {dict: "an object", list: "a list", bool: "true or false", type(None): "null"}
_UNLISTED: Final = {Kind.WRITTEN: Kind.WRITTEN_UNLISTED, Kind.DELETED: Kind.DELETED_UNLISTED}


class Notification(msgspec.Struct, frozen=True, kw_only=True):
    """One event, with the values of the message. `bucket`, `key` and `time` may be of any type.

    For errors: `where` names the record, `bucket_field` and `key_field` name its fields, and `encoding_setting` is the
    setting that says how its keys are encoded.
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
    request_id: str = ""

    def announced(self, sources: Sources, key_length: int) -> list[Announcement]:
        """Usually one event or one log file. `key_length`: the largest number of characters in a bucket or key."""
        if isinstance(self.effect, SkipReason):
            return [self._unchanged(self.effect, *self._readable(key_length))]
        try:
            bucket = self._name(self.bucket, self.bucket_field, key_length)
        except AnnouncementError as error:
            return [Unreadable(without_frames(error), self.index)]
        try:
            keys = self._keys(key_length)
        except AnnouncementError as error:
            return [self._event(_UNLISTED[self.effect], bucket, ""), Unreadable(without_frames(error), self.index)]
        return _one_log_file([self._of_object(bucket, key, sources) for key in keys])

    def _of_object(self, bucket: str, key: str, sources: Sources) -> Announcement:
        if not sources.is_log(bucket, key):
            return self._event(Kind(self.effect), bucket, key)
        if self.effect is Kind.WRITTEN:
            return sources.file_or_nothing(LogFile(bucket, key, self.version, self.etag, self.size))
        # A deletion of a log file is not a change that Access Anywhere shows.
        return self._unchanged(SkipReason.NOT_OBJECT_CHANGE, bucket, key)

    def _event(self, kind: Kind, bucket: str, key: str) -> ObjectEvent:
        moment = event_time(self.time)
        return ObjectEvent(
            kind,
            bucket,
            key,
            moment,
            self.event_id,
            self.region,
            self.actor,
            self.version,
            self.name,
            self.request_id,
        )

    def _unchanged(self, reason: SkipReason, bucket: str, key: str = "") -> Unchanged:
        moment = event_time(self.time)
        return Unchanged(reason, bucket, key, 0.0 if moment == UNKNOWN_TIME else moment, self.event_id, self.name)

    def _readable(self, key_length: int) -> tuple[str, str]:
        """Bucket and key; empty where they cannot be read. An event that changes nothing is never an error."""
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
                f"{self.where}: {self.key_field} {shown(key)} is not percent-encoded UTF-8; if keys are not encoded, "
                f"set {self.encoding_setting}: raw"
            ) from error

    def _name(self, value: object, field: str, limit: int) -> str:
        if value is None or value == "":
            raise AnnouncementMalformed(f"{self.where} has no {field}")
        if not isinstance(value, str):
            raise AnnouncementMalformed(f"{self.where}: {field} is not a string: {shown(value)}")
        if text(value) is None:
            raise AnnouncementMalformed(f"{self.where}: {field} {shown(value)} has a lone surrogate")
        if len(value) > limit:
            raise AnnouncementTooLarge(
                f"{self.where}: {field} has {len(value):,} characters; the limit is {limit:,} (limits.key_length)"
            )
        return value


def _one_log_file(found: list[Announcement]) -> list[Announcement]:
    """Of several log files, keep one: a key with two readings names one file. Prefers a key that looks like a log file's."""
    files = [each for each in found if isinstance(each, LogFile)]
    if len(files) < 2:
        return found
    return [max(files, key=lambda file: format_of(file.key) is not None)]


def text(value: object) -> str | None:
    """The value if it is a string that is not empty and can be encoded as UTF-8; else None."""
    if not isinstance(value, str) or not value:
        return None
    try:
        value.encode()
    except UnicodeEncodeError:
        return None
    return value


def field(holder: object, *path: str) -> Any:
    """The value at a path of field names; None if any of them is missing."""
    for name in path:
        holder = holder.get(name) if isinstance(holder, dict) else None
    return holder


def size(value: object) -> int | None:
    """Bytes, or None. Ceph writes the number as a string, and `loose_json` reads numbers as floats."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        return int(value)
    if isinstance(value, float) and value.is_integer() and 0 <= value < 2**53:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def shown(value: object) -> str:
    """The beginning of a value, for an error's text. For a list or an object only its type: it may be large or deep."""
    if isinstance(value, str):
        return repr(value[:100])
    if isinstance(value, int | float) and not isinstance(value, bool):
        return repr(value) if abs(value) < 1e18 else "a large number"
    return _TYPES.get(type(value), "a value of an unknown type")
