"""What S3's own notifications say: event notifications, of AWS, MinIO and Ceph, and EventBridge's.

An object of a log source is a log file to read; any other is the event itself, and needs no file. Where the world
disagrees on how keys are written, the sources' settings decide.

Source: S3 User Guide, "Event message structure" and "EventBridge event message structure".
"""

from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import unquote_plus

from jibe_sqs.core.errors import AnnouncementMalformed, AnnouncementUnknown, AnnouncementUnsupported
from jibe_sqs.core.log_names import no_log
from jibe_sqs.core.model import Actor, Announcement, Kind, LogFile, Nothing, ObjectEvent, SkipReason, Unchanged
from jibe_sqs.core.sources import Sources

_EVENT_SOURCES: Final = ("aws:s3", "minio:s3", "ceph:s3")

_EVENT_KINDS: Final = {
    "ObjectCreated": Kind.WRITTEN,
    "ObjectRemoved": Kind.DELETED,
    "LifecycleExpiration": Kind.DELETED,
    # Ceph's own words
    "ObjectLifecycle:Expiration": Kind.DELETED,
    "ObjectSynced:Create": Kind.WRITTEN,
    "ObjectSynced:Delete": Kind.DELETED,
    "ObjectSynced:DeletionMarkerCreated": Kind.DELETED,
    "Replication:Create": Kind.WRITTEN,
    "Replication:Delete": Kind.DELETED,
    "Replication:DeletionMarkerCreated": Kind.DELETED,
}
"""By the first part of the event's name, or the first two.

Restores, transitions, tags, ACLs, and the fate of AWS's replication (`Operation…`) change nothing in an index. Ceph's events
are listed in its documentation, "S3 Bucket Notifications Compatibility".
"""

_BESIDE_OBJECTS: Final = ("Tagging", "Retention", "LegalHold")
"""MinIO tells of what is written beside an object as `ObjectCreated:PutTagging` and the like."""

_EVENTBRIDGE_KINDS: Final = {"Object Created": Kind.WRITTEN, "Object Deleted": Kind.DELETED}
"""By the detail-type. Restores, storage classes, access tiers, tags and ACLs change nothing in an index."""


def s3_record(record: Any, index: int, sources: Sources) -> Announcement:
    """One of the `Records` of an S3 event notification. Raises `AnnouncementError`."""
    where = f"record {index} of the S3 event"
    if not isinstance(record, dict) or record.get("eventSource") not in _EVENT_SOURCES:
        raise AnnouncementUnknown(f"{where} is not of S3")
    version = record.get("eventVersion")
    if not isinstance(version, str) or not version.startswith("2."):
        raise AnnouncementUnsupported(f"{where} is of version {_shown(version)}; we know 2.x")
    try:
        bucket, thing = record["s3"]["bucket"]["name"], record["s3"]["object"]
        key = _key(thing["key"], record["eventSource"], sources)
        name, moment = record["eventName"].removeprefix("s3:"), _epoch(record["eventTime"])
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise _malformed(where, error) from error
    _check_names(bucket, key, where)
    first, *others = name.split(":")
    kind = _EVENT_KINDS.get(first) or _EVENT_KINDS.get(":".join([first, *others[:1]]))
    actor = Actor(
        principal=_text(record.get("userIdentity"), "principalId") or "",
        source_address=_text(record.get("requestParameters"), "sourceIPAddress") or "",
    )
    region, version_id = _text(record, "awsRegion") or "", _text(thing, "versionId")
    event_id = _text(thing, "sequencer") or ""
    if sources.is_log(bucket, key):
        return _of_a_log_source(
            kind, LogFile(bucket, key, version_id, _text(thing, "eTag"), _size(thing)), moment, name
        )
    if kind is None:
        return Unchanged(SkipReason.NOT_OBJECT_CHANGE, bucket, key, moment, event_id, name)
    return ObjectEvent(kind, bucket, key, moment, event_id, region, actor, version_id, name)


def eventbridge_event(message: dict[str, Any], sources: Sources) -> Announcement:
    """An event that EventBridge delivered. Raises `AnnouncementError`."""
    if message.get("source") != "aws.s3":
        raise AnnouncementUnknown(f"an EventBridge event of {_shown(message.get('source'))}, not of aws.s3")
    name = message["detail-type"]
    try:
        detail = message["detail"]
        bucket, thing = detail["bucket"]["name"], detail["object"]
        key, moment = _key(thing["key"], "eventbridge", sources), _epoch(message["time"])
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise _malformed("the EventBridge event", error) from error
    if not isinstance(name, str):
        raise AnnouncementMalformed(f"the EventBridge event's detail-type is no text: {_shown(name)}")
    if str(message.get("version", "0")) != "0" or str(detail.get("version", "0")) != "0":
        raise AnnouncementUnsupported("an EventBridge event of an unknown version; we know 0")
    _check_names(bucket, key, "the EventBridge event")
    kind = _EVENTBRIDGE_KINDS.get(name)
    version_id = _text(thing, "version-id")
    event_id, region = _text(message, "id") or "", _text(message, "region") or ""
    if sources.is_log(bucket, key):
        return _of_a_log_source(
            kind, LogFile(bucket, key, version_id, _text(thing, "etag"), _size(thing)), moment, name
        )
    if kind is None:
        return Unchanged(SkipReason.NOT_OBJECT_CHANGE, bucket, key, moment, event_id, name)
    actor = Actor(principal=_text(detail, "requester") or "", source_address=_text(detail, "source-ip-address") or "")
    return ObjectEvent(kind, bucket, key, moment, event_id, region, actor, version_id, name)


def log_or_nothing(file: LogFile) -> LogFile | Nothing:
    """What stands beside the log files in a log bucket asks for nothing."""
    about = no_log(file.key)
    return Nothing(about, file.bucket, file.key) if about else file


def _of_a_log_source(kind: Kind | None, file: LogFile, moment: float, name: str) -> Announcement:
    """A new object is a file to read. What else befalls log files changes nothing that is shown."""
    if kind is Kind.WRITTEN:
        return log_or_nothing(file)
    return Unchanged(SkipReason.NOT_OBJECT_CHANGE, file.bucket, file.key, moment, name=name)


def _key(text: str, source: str, sources: Sources) -> str:
    if not isinstance(text, str):
        raise ValueError("the key is no text")  # noqa: TRY004 - what is wrong is the wire's
    if sources.key_encodings[source] != "url":
        return text
    try:
        return unquote_plus(text, errors="strict")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"the key {_shown(text)} is no percent-encoding of UTF-8; if keys come as they are, say so: "
            f"key_encodings: {source}: raw"
        ) from error


def _malformed(where: str, error: Exception) -> AnnouncementMalformed:
    if isinstance(error, KeyError):
        return AnnouncementMalformed(f"{where} has no {error}, as all of S3's have")
    if isinstance(error, ValueError):
        return AnnouncementMalformed(f"{where} is not written as S3's are: {error}")
    return AnnouncementMalformed(f"{where} has a field of another type than S3's")


def _check_names(bucket: object, key: str, where: str) -> None:
    if not isinstance(bucket, str) or not bucket or not key:
        raise AnnouncementMalformed(f"{where} names no bucket and key")


def _epoch(text: str) -> float:
    moment = datetime.fromisoformat(text)
    return (moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _text(holder: object, field: str) -> str | None:
    value = holder.get(field) if isinstance(holder, dict) else None
    return value if isinstance(value, str) and value else None


def _size(thing: dict[str, Any]) -> int | None:
    size = thing.get("size")
    if isinstance(size, str) and size.isascii() and size.isdigit() and len(size) < 20:  # Ceph writes a string
        return int(size)
    return size if isinstance(size, int) else None


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    return repr(text[:100])
