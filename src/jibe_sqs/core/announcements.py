"""What a message body announces.

A body is unwrapped until what is left is no envelope (raw delivery has none; SNS may be in SNS), then told by its
shape, in a table. What asks for nothing is an announcement too, of nothing: it is no error. What is of no known shape
is an error with its reason, for the dead-letter queue.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import unquote_plus

import orjson

from jibe_sqs.core.errors import (
    AnnouncementMalformed,
    AnnouncementTooDeep,
    AnnouncementUnknown,
    AnnouncementUnsupported,
)
from jibe_sqs.core.log_names import format_of, no_log
from jibe_sqs.core.model import Actor, Announcement, Kind, LogFile, Nothing, ObjectEvent, SkipReason, Unchanged

VALIDATION: Final = "CloudTrail validation message."
NESTING: Final = 4
"""SNS in SNS happens where topics are chained; deeper than this is somebody's loop."""

_SUBSCRIPTION: Final = ("SubscriptionConfirmation", "UnsubscribeConfirmation")

IsLog = Callable[[str, str], bool]
"""Whether this bucket and key are of a log source."""


def looks_like_log(_bucket: str, key: str) -> bool:
    """The rule where no log sources are configured: by the key's name alone."""
    return format_of(key) is not None


def announcements(body: str, is_log: IsLog = looks_like_log) -> list[Announcement]:
    """What the body of one message announces, in its order. Raises `AnnouncementError`s only."""
    for _ in range(NESTING + 1):
        if body.strip() == VALIDATION:
            return [Nothing("CloudTrail validation message")]
        message = _parsed(body)
        if not _is_envelope(message):
            return _announced(message, is_log)
        if message["Type"] in _SUBSCRIPTION:
            return [Nothing(f"SNS {message['Type']}")]
        if message["Type"] != "Notification":
            raise AnnouncementUnknown(f"an SNS message of the unknown type {_shown(message['Type'])}")
        body = message["Message"]
    raise AnnouncementTooDeep(f"SNS envelopes more than {NESTING} deep")


def _parsed(body: str) -> dict[str, Any]:
    try:
        message = orjson.loads(body)
    except (orjson.JSONDecodeError, UnicodeEncodeError) as error:
        raise AnnouncementMalformed(f"the body is not JSON: {error}: {_shown(body)}") from error
    if not isinstance(message, dict):
        raise AnnouncementUnknown(f"the body is no JSON object: {_shown(body)}")
    return message


def _is_envelope(message: dict[str, Any]) -> bool:
    return (
        isinstance(message.get("Type"), str)
        and isinstance(message.get("Message"), str)
        and isinstance(message.get("TopicArn"), str)
    )


def _announced(message: dict[str, Any], is_log: IsLog) -> list[Announcement]:
    for marker, read in _SHAPES.items():
        if marker in message:
            return read(message, is_log)
    raise AnnouncementUnknown(f"the body announces nothing that we know; its fields are {_shown(sorted(message))}")


def _cloudtrail_delivery(message: dict[str, Any], _is_log: IsLog) -> list[Announcement]:
    bucket, keys = message["s3Bucket"], message.get("s3ObjectKey")
    if isinstance(keys, str):
        keys = [keys]
    if not isinstance(bucket, str) or not bucket:
        raise AnnouncementMalformed("s3Bucket is no bucket's name")
    if not isinstance(keys, list) or not keys or not all(isinstance(key, str) and key for key in keys):
        raise AnnouncementMalformed("s3ObjectKey is no list of keys")
    return [_file(LogFile(bucket, key)) for key in dict.fromkeys(keys)]


def _test_event(message: dict[str, Any], _is_log: IsLog) -> list[Announcement]:
    if message["Event"] != "s3:TestEvent":
        raise AnnouncementUnknown(f"an event of the unknown kind {_shown(message['Event'])}")
    bucket = message.get("Bucket")
    return [Nothing("s3:TestEvent", bucket if isinstance(bucket, str) else None)]


def _s3_event(message: dict[str, Any], is_log: IsLog) -> list[Announcement]:
    records = message["Records"]
    if not isinstance(records, list):
        raise AnnouncementMalformed("Records is no list")
    return [_s3_record(record, index, is_log) for index, record in enumerate(records)]


_SHAPES: Final[dict[str, Callable[[dict[str, Any], IsLog], list[Announcement]]]] = {
    "s3Bucket": _cloudtrail_delivery,
    "Records": _s3_event,
    "Event": _test_event,
}
"""The field that tells a shape, and who reads it; the first that is there decides."""

_S3_EVENT_SOURCES: Final = ("aws:s3", "minio:s3", "ceph:s3")

_S3_KINDS: Final = {
    "ObjectCreated": Kind.WRITTEN,
    "ObjectRemoved": Kind.DELETED,
    "LifecycleExpiration": Kind.DELETED,
}
"""By the first part of the event's name. Restores, transitions, tags, ACLs and replication change nothing in an index."""


def _s3_record(record: Any, index: int, is_log: IsLog) -> Announcement:
    where = f"record {index} of the S3 event"
    if not isinstance(record, dict) or record.get("eventSource") not in _S3_EVENT_SOURCES:
        raise AnnouncementUnknown(f"{where} is not of S3")
    version = record.get("eventVersion")
    if not isinstance(version, str) or not version.startswith("2."):
        raise AnnouncementUnsupported(f"{where} is of version {_shown(version)}; we know 2.x")
    try:
        bucket, thing = record["s3"]["bucket"]["name"], record["s3"]["object"]
        key, name = unquote_plus(thing["key"], errors="strict"), record["eventName"].removeprefix("s3:")
        moment = _epoch(record["eventTime"])
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise AnnouncementMalformed(f"{where} lacks what every S3 event has: {error!r}") from error
    if not isinstance(bucket, str) or not bucket or not key:
        raise AnnouncementMalformed(f"{where} names no bucket and key")
    kind = _S3_KINDS.get(name.partition(":")[0])
    if kind is Kind.WRITTEN and is_log(bucket, key):
        return _file(LogFile(bucket, key, _text(thing, "versionId"), _text(thing, "eTag"), _size(thing)))
    if kind is None or is_log(bucket, key):
        return Unchanged(SkipReason.NOT_OBJECT_CHANGE, bucket, key, moment, name=name)
    return ObjectEvent(
        kind=kind,
        bucket=bucket,
        key=key,
        time=moment,
        event_id=_text(thing, "sequencer") or "",
        region=_text(record, "awsRegion") or "",
        actor=Actor(
            principal=_text(record.get("userIdentity"), "principalId") or "",
            source_address=_text(record.get("requestParameters"), "sourceIPAddress") or "",
        ),
        version=_text(thing, "versionId"),
        name=name,
    )


def _file(file: LogFile) -> LogFile | Nothing:
    about = no_log(file.key)
    return Nothing(about, file.bucket, file.key) if about else file


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
