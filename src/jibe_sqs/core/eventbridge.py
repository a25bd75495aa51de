"""Events from EventBridge: those of S3 itself, and CloudTrail's records of S3 calls.

The documented pattern `{"source": ["aws.s3"]}` delivers every event of S3. An event that is not about an object changes
nothing.

Sources: S3 User Guide, "EventBridge event message structure"; EventBridge reference, "Amazon Simple Storage Service
events" and "AWS service events delivered via AWS CloudTrail".
"""

import json
from typing import Any, Final

import msgspec

from jibe_sqs.core.errors import (
    AnnouncementError,
    AnnouncementMalformed,
    AnnouncementTooLarge,
    AnnouncementUnknown,
    AnnouncementUnsupported,
    LogError,
)
from jibe_sqs.core.event_names import effect_of_detail_type
from jibe_sqs.core.formats.bad_records import BadRecords
from jibe_sqs.core.formats.cloudtrail import CloudTrailLog
from jibe_sqs.core.formats.limits import Limits
from jibe_sqs.core.formats.loose_json import shallow
from jibe_sqs.core.model import Actor, Announcement, Kind, ObjectEvent, SkipReason, Unreadable
from jibe_sqs.core.notifications import Notification, field, shown, size, text
from jibe_sqs.core.sources import Sources

_SOURCES: Final = ("aws.s3", "aws.s3express", "aws.s3-outposts")
_CLOUDTRAIL_TYPES: Final = ("AWS API Call via CloudTrail", "AWS Service Event via CloudTrail")
_WHERE: Final = "the EventBridge event"


def eventbridge_event(message: dict[str, Any], sources: Sources, key_length: int) -> list[Announcement]:
    """The announcements of one event. Raises `AnnouncementUnknown` if it is not an event of S3."""
    source = message.get("source")
    if source not in _SOURCES:
        raise AnnouncementUnknown(
            f"the source of the EventBridge event is {shown(source)}, not one of {', '.join(_SOURCES)}"
        )
    name = text(message["detail-type"]) or ""
    if name in _CLOUDTRAIL_TYPES:
        return _cloudtrail_record(message.get("detail"), key_length)
    object_ = field(message, "detail", "object")
    is_about_an_object = isinstance(object_, dict) or not name or name.startswith("Object")
    versions = (message.get("version"), field(message, "detail", "version"))
    if is_about_an_object and any(
        str(each) != "0" for each in versions if each and isinstance(each, str | int | float)
    ):
        return [Unreadable(AnnouncementUnsupported(f"{_WHERE} has an unknown version; only 0 is known"), 0)]
    notification = Notification(
        where=_WHERE,
        index=0,
        effect=effect_of_detail_type(name) if is_about_an_object else SkipReason.NOT_OBJECT_CHANGE,
        bucket=field(message, "detail", "bucket", "name"),
        key=field(object_, "key"),
        time=message.get("time"),
        encoding=sources.key_encoding("eventbridge"),
        encoding_setting="key_encodings: eventbridge",
        bucket_field="detail.bucket.name",
        key_field="detail.object.key",
        name=name,
        event_id=text(message.get("id")) or "",
        region=text(message.get("region")) or "",
        actor=Actor(
            principal=text(field(message, "detail", "requester")) or "",
            source_address=text(field(message, "detail", "source-ip-address")) or "",
        ),
        version=text(field(object_, "version-id")),
        etag=text(field(object_, "etag")),
        size=size(field(object_, "size")),
        request_id=text(field(message, "detail", "request-id")) or "",
    )
    return notification.announced(sources, key_length)


def _cloudtrail_record(detail: object, key_length: int) -> list[Announcement]:
    """Read one CloudTrail record with the parser of log files. A rename gives two events, a bad record an `Unreadable`."""
    bad = BadRecords("skip")
    log = CloudTrailLog(Limits(), bad)
    found: list[Announcement] = []
    errors: list[AnnouncementError] = []
    try:
        for record in (*log.feed(json.dumps({"Records": [shallow(detail)]}).encode()), *log.finish()):
            if isinstance(record, ObjectEvent) and len(record.key) > key_length:
                error = f"{_WHERE}: the key has {len(record.key):,} characters; the limit is {key_length:,} (limits.key_length)"
                errors.append(AnnouncementTooLarge(error))
                unlisted = Kind.DELETED_UNLISTED if record.kind is Kind.DELETED else Kind.WRITTEN_UNLISTED
                record = msgspec.structs.replace(record, kind=unlisted, key="")  # noqa: PLW2901 - the same event
            found.append(record)
        problems: list[LogError] = list(bad.first)
    except LogError as problem:
        problems = [problem]
    errors += [AnnouncementMalformed(f"the CloudTrail record in {_WHERE}: {problem}") for problem in problems]
    return [*found, *(Unreadable(each, 0) for each in errors)]
