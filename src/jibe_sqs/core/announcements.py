"""What a message body announces.

A body is unwrapped until what is left is no envelope (raw delivery has none; SNS may be in SNS), then told by its
shape, in a table. What asks for nothing is an announcement too, of nothing: it is no error. What is of no known shape
is an error with its reason, for the dead-letter queue.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec
import orjson

from jibe_sqs.core.errors import (
    AnnouncementError,
    AnnouncementMalformed,
    AnnouncementTooDeep,
    AnnouncementTooLarge,
    AnnouncementUnknown,
)
from jibe_sqs.core.formats.limits import Limits
from jibe_sqs.core.model import Announcement, LogFile, Nothing
from jibe_sqs.core.notifications import eventbridge_event, log_or_nothing, s3_record
from jibe_sqs.core.sources import Sources

VALIDATION: Final = "CloudTrail validation message."
NESTING: Final = 4
"""SNS in SNS happens where topics are chained; deeper than this is somebody's loop."""

MOST: Final = 1000
"""Keys or records in one body. SQS takes a MiB; CloudTrail announces a few files at a time."""

ANY: Final = Sources()
"""Where nothing is configured: every object whose key looks like a log's is one."""

_SWEPT: Final = "swept"
_SUBSCRIPTION: Final = ("SubscriptionConfirmation", "UnsubscribeConfirmation")


def announcements(body: str, sources: Sources = ANY, key_length: int = Limits().key_length) -> list[Announcement]:
    """What the body of one message announces, in its order. Raises `AnnouncementError`s only.

    `key_length`: characters of a key, at most. A body has room for one of half a million folders.
    """
    for _ in range(NESTING + 1):
        if body.strip() == VALIDATION:
            return [Nothing("CloudTrail validation message")]
        message = _parsed(body)
        if not _is_envelope(message):
            found = _announced(message, sources)
            _check_length(found, key_length)
            return found
        if message["Type"] in _SUBSCRIPTION:
            return [Nothing(f"SNS {message['Type']}")]
        if message["Type"] != "Notification":
            raise AnnouncementUnknown(f"an SNS message of the unknown type {_shown(message['Type'])}")
        body = message["Message"]
    raise AnnouncementTooDeep(f"SNS envelopes more than {NESTING} deep")


def envelope(body: str) -> dict[str, Any] | None:
    """The SNS envelope that the body is, as `announcements` reads it; None for everything else."""
    try:
        message = _parsed(body)
    except AnnouncementError:
        return None
    return message if _is_envelope(message) else None


def _parsed(body: str) -> dict[str, Any]:
    if not body.strip():
        raise AnnouncementMalformed("the body is empty")
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


def _announced(message: dict[str, Any], sources: Sources) -> list[Announcement]:
    for marker, read in _SHAPES.items():
        if marker in message:
            return read(message, sources)
    raise AnnouncementUnknown(f"the body announces nothing that we know; its fields are {_shown(sorted(message))}")


def _cloudtrail_delivery(message: dict[str, Any], _sources: Sources) -> list[Announcement]:
    bucket, keys = message["s3Bucket"], message.get("s3ObjectKey")
    if isinstance(keys, str):
        keys = [keys]
    if not isinstance(bucket, str) or not bucket:
        raise AnnouncementMalformed("s3Bucket is no bucket's name")
    if not isinstance(keys, list) or not keys or not all(isinstance(key, str) and key for key in keys):
        raise AnnouncementMalformed("s3ObjectKey is no list of keys")
    _check_number(len(keys))
    return [log_or_nothing(LogFile(bucket, key)) for key in dict.fromkeys(keys)]


def swept(file: LogFile) -> str:
    """The body of the message that a sweep makes of what it finds."""
    return msgspec.json.encode({_SWEPT: file}).decode()


def _finding(message: dict[str, Any], _sources: Sources) -> list[Announcement]:
    try:
        file = msgspec.convert(message[_SWEPT], LogFile)
    except msgspec.ValidationError as error:
        raise AnnouncementMalformed(f"no finding of a sweep: {error}") from error
    if not file.bucket or not file.key:
        raise AnnouncementMalformed("the finding of a sweep names no bucket and key")
    return [log_or_nothing(file)]


def _test_event(message: dict[str, Any], _sources: Sources) -> list[Announcement]:
    if message["Event"] != "s3:TestEvent":
        raise AnnouncementUnknown(f"an event of the unknown kind {_shown(message['Event'])}")
    bucket = message.get("Bucket")
    return [Nothing("s3:TestEvent", bucket if isinstance(bucket, str) else None)]


def _s3_event(message: dict[str, Any], sources: Sources) -> list[Announcement]:
    records = message["Records"]
    if not isinstance(records, list):
        raise AnnouncementMalformed("Records is no list")
    _check_number(len(records))
    return [s3_record(record, index, sources) for index, record in enumerate(records)]


def _eventbridge(message: dict[str, Any], sources: Sources) -> list[Announcement]:
    return [eventbridge_event(message, sources)]


def _check_number(found: int) -> None:
    if found > MOST:
        raise AnnouncementTooLarge(f"{found:,} things announced at once; {MOST:,} is the limit")


def _check_length(found: list[Announcement], most: int) -> None:
    longest = max((len(name) for each in found for name in (each.bucket, each.key) if name), default=0)
    if longest > most:
        raise AnnouncementTooLarge(
            f"it names a bucket or key of {longest:,} characters; {most:,} is the limit (limits.key_length)"
        )


_SHAPES: Final[dict[str, Callable[[dict[str, Any], Sources], list[Announcement]]]] = {
    "s3Bucket": _cloudtrail_delivery,
    "Records": _s3_event,
    "detail-type": _eventbridge,
    "Event": _test_event,
    _SWEPT: _finding,
}
"""The field that tells a shape, and who reads it; the first that is there decides."""


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    return repr(text[:100])
