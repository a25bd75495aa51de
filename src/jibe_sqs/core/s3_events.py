"""S3 event notifications of every store that sends them: AWS, MinIO, Ceph, StorageGRID, Scality, NooBaa, RustFS and others.

A record needs `s3.bucket` and `s3.object`; its `eventSource` may be anything. No other field rejects a record, except
an unknown major version.

Sources: S3 User Guide, "Event message structure"; StorageGRID, "Understand notifications for buckets".
"""

import re
from typing import Any, Final

from jibe_sqs.core.errors import AnnouncementUnknown, AnnouncementUnsupported
from jibe_sqs.core.event_names import effect
from jibe_sqs.core.key_encodings import EVERY_SOURCE
from jibe_sqs.core.model import Actor, Announcement, Nothing, Unreadable
from jibe_sqs.core.notifications import Notification, field, shown, size, text
from jibe_sqs.core.sources import Sources

TEST: Final = "s3:TestEvent"
_TESTS: Final = re.compile(r"(?:[a-z0-9]+:)?TestEvent", re.IGNORECASE)
_ARN: Final = re.compile(r"(?:arn|urn):[^:]+:s3:[^:]*:[^:]*:([^:/]+)")
"""The ARN of a bucket: `arn:aws:s3:::NAME`; StorageGRID writes `urn:sgws:s3:::NAME`."""

_MAJOR: Final = re.compile(r"\s*(\d{1,9})")
_LATEST_VERSION: Final = 2
"""The latest known major version. There are 0.x and 1.x (Scality) and 2.x, and records without a version."""


def s3_record(record: Any, index: int, sources: Sources, key_length: int) -> list[Announcement]:
    """The announcements of one of the `Records` of an S3 event notification."""
    where = f"record {index} of the S3 event"
    if is_test(record):
        return [Nothing(TEST, text(field(record, "Bucket")))]
    if not isinstance(field(record, "s3"), dict):
        return [Unreadable(AnnouncementUnknown(f"{where} has no field s3, so it is not an S3 event"), index)]
    version = record.get("eventVersion")
    major = _MAJOR.match(str(version)) if isinstance(version, str | int | float) else None
    if major and int(major[1]) > _LATEST_VERSION:
        error = AnnouncementUnsupported(f"{where} has the unknown version {shown(version)}; 1.x and 2.x are known")
        return [Unreadable(error, index)]
    source, name = text(record.get("eventSource")) or "", text(record.get("eventName")) or ""
    object_ = field(record, "s3", "object")
    notification = Notification(
        where=where,
        index=index,
        effect=effect(name),
        bucket=_bucket(field(record, "s3", "bucket")),
        key=field(object_, "key"),
        time=record.get("eventTime"),
        encoding=sources.key_encoding(source),
        encoding_setting=f"key_encodings: {source[:100] or EVERY_SOURCE}",
        bucket_field="s3.bucket.name",
        key_field="s3.object.key",
        name=name.removeprefix("s3:"),
        event_id=text(field(object_, "sequencer")) or "",
        region=text(record.get("awsRegion")) or "",
        actor=Actor(
            principal=text(field(record, "userIdentity", "principalId")) or "",
            source_address=text(field(record, "requestParameters", "sourceIPAddress")) or "",
        ),
        version=text(field(object_, "versionId")),
        etag=text(field(object_, "eTag")),
        size=size(field(object_, "size")),
        request_id=text(field(record, "responseElements", "x-amz-request-id")) or "",
    )
    return notification.announced(sources, key_length)


def is_test(event: object) -> bool:
    """Whether this is a test event, which a store sends to find out whether its notifications arrive."""
    names = (field(event, name) for name in ("Event", "eventName"))
    return any(isinstance(name, str) and _TESTS.fullmatch(name) for name in names)


def _bucket(bucket: object) -> object:
    """The bucket's name, or the name in its ARN if the name is missing."""
    name, arn = field(bucket, "name"), field(bucket, "arn")
    found = _ARN.fullmatch(arn) if name in (None, "") and isinstance(arn, str) else None
    return found[1] if found else name
