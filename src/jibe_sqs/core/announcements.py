"""The announcements in a message body.

A body is taken out of its SNS envelopes: there is none with raw delivery, and several where topics are chained. Then a
field of the body decides its shape, and a table has the reader of that shape. A body of an unknown shape is read by the
operator's rules. A body that asks for nothing gives a `Nothing`: it is not an error. A record that cannot be read gives
an `Unreadable`, beside the announcements of the other records. Only a body that cannot be read at all is an error; its
reason goes to the dead-letter queue.
"""

import string
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
    AnnouncementUnsupported,
)
from jibe_sqs.core.event_names import effect
from jibe_sqs.core.eventbridge import eventbridge_event
from jibe_sqs.core.formats.limits import Limits
from jibe_sqs.core.formats.loose_json import Broken, decoded_text
from jibe_sqs.core.model import Announcement, LogFile, Nothing, Unreadable
from jibe_sqs.core.notification_rules import NotificationRule
from jibe_sqs.core.notifications import Notification, shown, text
from jibe_sqs.core.s3_events import TEST, is_test, s3_record
from jibe_sqs.core.sources import Sources

VALIDATION: Final = "CloudTrail validation message."
MAX_ENVELOPES: Final = 4
"""Nested SNS envelopes. Chained topics need a few; more than this is a loop."""

MAX_ANNOUNCEMENTS: Final = 2**18
"""Keys or records in one body. A body from SQS has at most 1 MiB, and each key takes at least four characters with its
quotes and comma, so such a body always has fewer."""

MAX_NAMED: Final = 5
"""Unreadable records, or fields, that an error names. The others are only counted."""

NO_SOURCES: Final = Sources()
"""Nothing is configured: an object is a log file if its key looks like one."""

_BLANK: Final = "\ufeff" + string.whitespace
_UNKNOWN: Final = (AnnouncementUnknown, AnnouncementUnsupported)
"""The errors of a record of an unknown shape. The operator may have a rule for it."""
_SUBSCRIPTION: Final = ("SubscriptionConfirmation", "UnsubscribeConfirmation")


class _SweptFile(msgspec.Struct, frozen=True):
    swept: LogFile


class Announced(msgspec.Struct, frozen=True):
    """The announcements of a body, in its order. `rule`: the operator's rule that read it, such as `notifications.0`."""

    found: list[Announcement]
    rule: str = ""


def announcements(
    body: str | bytes, sources: Sources = NO_SOURCES, key_length: int = Limits().key_length
) -> list[Announcement]:
    """The announcements in the body of one message, in its order. Raises only `AnnouncementError`s.

    `key_length`: the largest number of characters in a key. Without it, one key could name half a million folders.
    """
    return announced(body, sources, key_length).found


def announced(body: str | bytes, sources: Sources = NO_SOURCES, key_length: int = Limits().key_length) -> Announced:
    """Like `announcements`, with the rule that read the body."""
    unwrapped = _decoded(body)
    for _ in range(MAX_ENVELOPES + 1):
        if unwrapped.strip(_BLANK) == VALIDATION:
            return Announced([Nothing("CloudTrail validation message")])
        message = _parsed(unwrapped)
        if not _is_envelope(message):
            return _read(message, sources, key_length)
        if message["Type"] in _SUBSCRIPTION:
            return Announced([Nothing(f"SNS {message['Type']}")])
        if message["Type"] != "Notification":
            raise AnnouncementUnknown(f"the SNS message has the unknown type {shown(message['Type'])}")
        unwrapped = message["Message"]
    raise AnnouncementTooDeep(f"more than {MAX_ENVELOPES} nested SNS envelopes")


def combined(unreadable: list[Unreadable]) -> AnnouncementError:
    """One error for all unreadable records of a message. It names the first few of them."""
    first, *others = [each.error for each in unreadable]
    reasons = "; ".join(str(error) for error in (first, *others)[:MAX_NAMED])
    more = f"; and {len(unreadable) - MAX_NAMED} more" if len(unreadable) > MAX_NAMED else ""
    kind = type(first) if isinstance(first, AnnouncementError) else AnnouncementMalformed
    return kind(reasons + more)


def envelope(body: str | bytes) -> dict[str, Any] | None:
    """The body as an SNS envelope, read as `announcements` reads it. None if it is not an envelope."""
    try:
        message = _parsed(_decoded(body))
    except AnnouncementError:
        return None
    return message if _is_envelope(message) else None


def _decoded(body: str | bytes) -> str:
    if isinstance(body, str):
        return body
    try:
        # A lone surrogate must cost one record, not the body.
        return body.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise AnnouncementMalformed(f"the body is not UTF-8: {error.reason} at byte {error.start}") from error


def _parsed(body: str) -> Any:
    body = body.strip(_BLANK)
    if not body:
        raise AnnouncementMalformed("the body is empty")
    try:
        return orjson.loads(body)
    except (orjson.JSONDecodeError, UnicodeEncodeError) as error:
        try:
            # One record with NaN, a long number, a lone surrogate, a raw tab or deep lists must not stop the others.
            return decoded_text(body)
        except Broken:
            raise AnnouncementMalformed(f"the body is not JSON: {error}: {shown(body)}") from error


def _is_envelope(message: Any) -> bool:
    return (
        isinstance(message, dict)
        and isinstance(message.get("Type"), str)
        and isinstance(message.get("Message"), str)
        and isinstance(message.get("TopicArn"), str)
    )


def _read(message: Any, sources: Sources, key_length: int) -> Announced:
    found: list[Announcement] = []
    failure: AnnouncementError | None = None
    try:
        found = _by_shape(message, sources, key_length)
    except AnnouncementUnknown as error:
        failure = error
    unknown = [each for each in found if isinstance(each, Unreadable) and isinstance(each.error, _UNKNOWN)]
    if found and len(unknown) == len(found):
        failure = combined(unknown)
    if failure is None:
        return Announced(found)
    for number, rule in enumerate(sources.notifications):
        if rule.when.is_true(message):
            name = f"notifications.{number}"
            return Announced(_by_rule(rule, name, message, sources, key_length), name)
    if isinstance(failure, AnnouncementUnknown):
        raise failure
    return Announced(found)


def _by_shape(message: Any, sources: Sources, key_length: int) -> list[Announcement]:
    if not isinstance(message, dict):
        raise AnnouncementUnknown(f"the body is not a JSON object: it is {shown(message)}")
    for marker, read in _SHAPES.items():
        if marker in message:
            return read(message, sources, key_length)
    if is_test(message):
        return [Nothing(TEST, text(message.get("Bucket")))]
    if "Event" in message:
        raise AnnouncementUnknown(f"the name of the event is unknown: {shown(message['Event'])}")
    if not message:
        raise AnnouncementUnknown("the body has an unknown shape: it is an empty object")
    fields = ", ".join(map(repr, sorted(message)[:MAX_NAMED]))
    more = f" and {len(message) - MAX_NAMED:,} more" if len(message) > MAX_NAMED else ""
    raise AnnouncementUnknown(f"the body has an unknown shape; its fields are {fields[:100]}{more}")


def _by_rule(rule: NotificationRule, name: str, message: Any, sources: Sources, key_length: int) -> list[Announcement]:
    try:
        items = rule.items.value(message) if rule.items else [message]
    except ValueError as error:
        raise AnnouncementMalformed(f"{name}.items: {error}") from error
    if not isinstance(items, list):
        raise AnnouncementMalformed(
            f"{name}.items: the value of {rule.items and rule.items.text!r} is not a list: it is {shown(items)}"
        )
    if not items:
        return [Nothing(f"{name} found no items")]
    _check_number(len(items))
    return [each for index, item in enumerate(items) for each in _item(rule, name, item, index, sources, key_length)]


def _item(
    rule: NotificationRule, name: str, item: Any, index: int, sources: Sources, key_length: int
) -> list[Announcement]:
    where = f"item {index} ({name})"
    try:
        bucket, key = rule.bucket.value(item), rule.key.value(item)
        event, moment = (each.value(item) if each else None for each in (rule.event, rule.time))
    except ValueError as error:
        return [Unreadable(AnnouncementMalformed(f"{where}: {error}"), index)]
    if is_test({"Event": event}):
        return [Nothing(TEST, text(bucket))]
    event_name = text(event) or ""
    notification = Notification(
        where=where,
        index=index,
        effect=effect(event_name),
        bucket=bucket,
        key=key,
        time=moment,
        encoding=rule.key_encoding or sources.key_encoding(name),
        encoding_setting=f"{name}.key_encoding",
        bucket_field=f"bucket ({rule.bucket.text})",
        key_field=f"key ({rule.key.text})",
        name=event_name,
    )
    return notification.announced(sources, key_length)


def _cloudtrail_delivery(message: dict[str, Any], sources: Sources, key_length: int) -> list[Announcement]:
    bucket, keys = message["s3Bucket"], message.get("s3ObjectKey")
    if isinstance(keys, str):
        keys = [keys]
    if text(bucket) is None:
        raise AnnouncementMalformed("s3Bucket is not the name of a bucket")
    if not isinstance(keys, list) or not keys:
        raise AnnouncementMalformed("s3ObjectKey is not a list of keys")
    _check_number(len(keys))
    if len(bucket) > key_length:
        raise _too_long("s3Bucket", bucket, key_length)
    found: dict[str | int, Announcement] = {}
    for index, key in enumerate(keys):
        if text(key) is None:
            error: AnnouncementError = AnnouncementMalformed(f"s3ObjectKey.{index} is not a key: {shown(key)}")
        elif len(key) > key_length:
            error = _too_long(f"s3ObjectKey.{index}", key, key_length)
        else:
            found.setdefault(key, sources.file_or_nothing(LogFile(bucket, key)))
            continue
        found[index] = Unreadable(error, index)
    return list(found.values())


def swept(file: LogFile) -> bytes:
    """The body of the message that a sweep makes for a file that it found."""
    return msgspec.json.encode(_SweptFile(file))


def swept_announcements(
    body: bytes, sources: Sources = NO_SOURCES, key_length: int = Limits().key_length
) -> list[Announcement]:
    """The announcements in a body made by `swept`. Not for a body from a queue, which anyone may have written."""
    try:
        file = msgspec.json.decode(body, type=_SweptFile).swept
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise AnnouncementMalformed(f"not a message of a sweep: {error}") from error
    if text(file.bucket) is None or text(file.key) is None:
        raise AnnouncementMalformed("the message of a sweep has no bucket or no key")
    for name, value in (("bucket", file.bucket), ("key", file.key)):
        if len(value) > key_length:
            raise _too_long(name, value, key_length)
    return [sources.file_or_nothing(file)]


def _s3_event(message: dict[str, Any], sources: Sources, key_length: int) -> list[Announcement]:
    records = message["Records"]
    if not isinstance(records, list):
        raise AnnouncementMalformed("Records is not a list")
    _check_number(len(records))
    return [each for index, record in enumerate(records) for each in s3_record(record, index, sources, key_length)]


def _check_number(found: int) -> None:
    if found > MAX_ANNOUNCEMENTS:
        raise AnnouncementTooLarge(f"{found:,} items in one body; the limit is {MAX_ANNOUNCEMENTS:,}")


def _too_long(field: str, name: str, limit: int) -> AnnouncementTooLarge:
    return AnnouncementTooLarge(f"{field} has {len(name):,} characters; the limit is {limit:,} (limits.key_length)")


_SHAPES: Final[dict[str, Callable[[dict[str, Any], Sources, int], list[Announcement]]]] = {
    "s3Bucket": _cloudtrail_delivery,
    "Records": _s3_event,
    "detail-type": eventbridge_event,
}
"""The field that identifies a shape -> the reader of that shape. The first of these fields in the body decides."""
