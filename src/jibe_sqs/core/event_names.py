"""The effect of an S3 event on its object, by the event's name.

An unknown name counts as a write (ADR 0006): a refresh too many is harmless, a missing one is not.

Sources: S3 User Guide, "Event notification types and destinations"; MinIO, "Bucket Notifications"; Ceph, "S3 Bucket
Notifications Compatibility".
"""

import re
from functools import lru_cache
from typing import Final

from jibe_sqs.core.model import Kind, SkipReason

_SERVICE: Final = re.compile(r"[a-z][a-z0-9]*:")
"""The service before the name: `s3:` (MinIO, Scality, Storj), `b2:` (Backblaze)."""

_READS: Final = re.compile(r"Object(?:Accessed|Downloaded)\b", re.IGNORECASE)
"""Reading events of MinIO and Alibaba."""

_NOT_CHANGES: Final = re.compile(
    r"""Bucket                           # MinIO: BucketCreated, BucketRemoved
    |   IntelligentTiering
    |   LifecycleDelMarkerExpiration     # MinIO: the object was deleted before
    |   LifecycleTransition
    |   ObjectAcl\b
    |   ObjectAnnotation\b
    |   ObjectLifecycle:Transition       # Ceph
    |   ObjectRestore\b
    |   ObjectTagging\b
    |   ObjectTransition\b               # MinIO
    |   ReducedRedundancyLostObject
    |   Replication:Operation            # AWS, MinIO: progress of a replication, which does not change its source object
    |   Scanner\b                        # MinIO: prefixes and objects that are too large
    |   .*(?:Tagging|Retention|LegalHold|Acl|Annotations?)$   # MinIO: ObjectCreated:PutTagging and the like
    """,
    re.IGNORECASE | re.VERBOSE,
)

_MAX_NAME_LENGTH: Final = 64
_DELETES: Final = re.compile(r"Delet|Remov|Expir|HideMarker", re.IGNORECASE)

_OTHER_DETAIL_TYPES: Final = re.compile(r"Object (?:Restore|Storage Class|Access Tier|ACL|Tags|Annotation)")


def effect(name: str) -> Kind | SkipReason:
    """What the S3 event did to its object, or why it did not change the object."""
    # The cache must not keep the long texts of a hostile message.
    return _known_effect(name) if len(name) <= _MAX_NAME_LENGTH else _effect(name)


def _effect(name: str) -> Kind | SkipReason:
    name = _SERVICE.sub("", name, count=1) if _SERVICE.match(name) else name
    if _READS.match(name):
        return SkipReason.READ_ONLY
    if _NOT_CHANGES.match(name):
        return SkipReason.NOT_OBJECT_CHANGE
    return Kind.DELETED if _DELETES.search(name) else Kind.WRITTEN


_known_effect = lru_cache(maxsize=256)(_effect)


def effect_of_detail_type(name: str) -> Kind | SkipReason:
    """The same for the `detail-type` of an EventBridge event about an object."""
    if _OTHER_DETAIL_TYPES.match(name):
        return SkipReason.NOT_OBJECT_CHANGE
    return Kind.DELETED if _DELETES.search(name) else Kind.WRITTEN
