"""What the calls in a CloudTrail log do to an object, by the names of the service and of the call."""

import re
from typing import Final

from jibe_sqs.core.formats import s3_calls
from jibe_sqs.core.formats.cloudtrail_objects import displayed_object
from jibe_sqs.core.formats.cloudtrail_records import (
    LIFECYCLE,
    S3_SOURCES,
    Record,
    Unreadable,
    has_failed,
    is_missing,
    is_s3_source,
)
from jibe_sqs.core.model import SkipReason

WRITES = s3_calls.WRITES | {"PostObject"}
DELETE = s3_calls.DELETE
DELETE_MANY = "DeleteObjects"
RENAME = "RenameObject"

NOT_CHANGES = s3_calls.NOT_CHANGES | {
    "CreateMultipartUpload",
    "CreateSession",
    "RestoreObject",
    "UploadPart",
    "UploadPartCopy",
}

_FREQUENT_READS = ("GetObject", "HeadBucket", "HeadObject", "ListBuckets", "ListObjects", "ListObjectVersions")
_KEEPS_THE_OBJECT: Final = re.compile("Transition|Multipart")
"""In the name of what a lifecycle rule did. The names are not documented, so every other one counts as a change."""
_KNOWN_VERSION: Final = "1."
_VERSION = re.compile(r"([0-9]+)(?:\.|$)")


def skip_reason(record: Record) -> SkipReason | None:
    """Why the record changes no object: the first reason that applies. None if it changes an object.

    Raises `Unreadable` if it would change one, but has an unknown version.
    """
    if record.readOnly is True:
        return SkipReason.READ_ONLY
    source, name = record.eventSource, record.eventName
    if source.startswith(LIFECYCLE):
        reason = SkipReason.NOT_OBJECT_CHANGE if _KEEPS_THE_OBJECT.search(name) else None
    # A record without its service counts as S3's if it may be a change: a refresh too many is harmless.
    elif source in S3_SOURCES or is_s3_source(source) or (is_missing(source) and _may_be_s3(record)):
        reason = _FREQUENT[name] if name in _FREQUENT else _reason(name)
    else:
        reason = SkipReason.NOT_OBJECT_CHANGE
    if reason is SkipReason.READ_ONLY:
        return reason
    if record.errorCode is not None and has_failed(record):
        return SkipReason.FAILED
    if reason is None and not record.eventVersion.startswith(_KNOWN_VERSION):
        version = _VERSION.match(record.eventVersion)
        if version is not None and version[1] != "1":
            raise Unreadable(f"the unknown version {record.eventVersion[:20]!r}", "eventVersion")
    return reason


def _may_be_s3(record: Record) -> bool:
    """Whether a record without a service may be a change in S3: its call may change an object, or it has only an object."""
    if is_missing(record.eventName):
        return all(displayed_object(record.requestParameters))
    return _may_change_an_object(record.eventName)


def _reason(name: str) -> SkipReason | None:
    """Why a call of S3 changes no object. None if it may change one."""
    if s3_calls.is_read(name):
        return SkipReason.READ_ONLY
    return None if _may_change_an_object(name) else SkipReason.NOT_OBJECT_CHANGE


def _may_change_an_object(name: str) -> bool:
    """Whether the call may change an object. An unknown call on an object counts as a write, and so does a missing name."""
    if name in WRITES or is_missing(name):
        return True
    return "Object" in name and name not in NOT_CHANGES and not s3_calls.changes_side_data(name)


_FREQUENT: Final = {name: _reason(name) for name in (*WRITES, DELETE, DELETE_MANY, *NOT_CHANGES, *_FREQUENT_READS)}
