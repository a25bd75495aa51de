"""Names of S3's calls, as CloudTrail and audit logs write them, and what the calls do to an object.

Stores that implement S3 use these names. A format adds the names that only its own store uses.

Source: S3 API Reference, "Actions".
"""

from typing import Final

from jibe_sqs.core.model import Kind

PUT: Final = "PutObject"
COPY: Final = "CopyObject"
COMPLETE_UPLOAD: Final = "CompleteMultipartUpload"
DELETE: Final = "DeleteObject"

WRITES: Final = frozenset({PUT, COPY, COMPLETE_UPLOAD})

NOT_CHANGES: Final = frozenset({"AbortMultipartUpload"})
"""Calls on an object that do not change what the index shows."""

_READ_BEGINNINGS: Final = ("Get", "Head", "List", "Select")
_SIDE_DATA_ENDINGS: Final = (
    "ACL",
    "Acl",
    "Annotation",
    "Annotations",
    "Encryption",
    "LegalHold",
    "Retention",
    "Tagging",
)

UNLISTED: Final = {Kind.WRITTEN: Kind.WRITTEN_UNLISTED, Kind.DELETED: Kind.DELETED_UNLISTED}
"""The kind of an event whose key cannot be read: the whole bucket is stale."""


def is_read(name: str) -> bool:
    """Whether the call only reads."""
    return name.startswith(_READ_BEGINNINGS)


def changes_side_data(name: str) -> bool:
    """Whether the call changes only data beside the object, such as tags. The index does not show these data."""
    return name.endswith(_SIDE_DATA_ENDINGS)
