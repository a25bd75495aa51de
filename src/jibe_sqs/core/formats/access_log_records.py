"""What the requests of an access log change. Text lines and JSON share this module."""

import re
from functools import lru_cache
from typing import Final

import msgspec

from jibe_sqs.core.formats.recent import Recent, change_id
from jibe_sqs.core.model import Kind, ObjectEvent, Record, SkipReason, Unchanged

OPERATIONS: Final[dict[str, Kind | SkipReason]] = {
    "REST.PUT.OBJECT": Kind.WRITTEN,
    "REST.COPY.OBJECT": Kind.WRITTEN,
    "REST.POST.OBJECT": Kind.WRITTEN,  # a form
    "REST.POST.UPLOAD": Kind.WRITTEN,  # completes a multipart upload
    "SOAP.PutObject": Kind.WRITTEN,
    "SOAP.PutObjectInline": Kind.WRITTEN,
    "SOAP.CopyObject": Kind.WRITTEN,
    "REST.DELETE.OBJECT": Kind.DELETED,
    "SOAP.DeleteObject": Kind.DELETED,
    "BATCH.DELETE.OBJECT": Kind.DELETED,  # one for each key of a REST.POST.MULTI_OBJECT_DELETE
    "S3.EXPIRE.OBJECT": Kind.DELETED,
    "S3.CREATE.DELETEMARKER": Kind.DELETED,
    "REST.COPY.OBJECT_GET": SkipReason.READ_ONLY,  # the source's side of a copy
    "REST.COPY.PART_GET": SkipReason.READ_ONLY,
    "S3.RESTORE.OBJECT": SkipReason.NOT_OBJECT_CHANGE,
}
"""Operation -> its effect. The effect of other operations follows from the parts of their names."""

READ_VERBS = frozenset({"GET", "HEAD", "OPTIONS", "SELECT"})
OBJECT = "OBJECT"
TRANSITION = "TRANSITION"
MAX_OPERATION_LENGTH: Final = 64

_OPERATION = re.compile(r"[A-Z][A-Z0-9]*(?:\.[A-Za-z0-9_]+)+")
_ARN = "arn:"


class SeenChanges:
    """Recognises changes that the file has already logged, because S3 may log a request twice."""

    def __init__(self) -> None:
        self._seen = Recent()

    def records(self, event: ObjectEvent, keys: tuple[str, ...]) -> list[Record]:
        """The records of one request: `event`, which has the first of the keys, and a copy of it for each other key."""
        id_ = event.event_id
        if id_ and not self._seen.add(change_id(id_, event.name, event.bucket, event.key)):
            return [Unchanged(SkipReason.DUPLICATE, event.bucket, event.key, event.time, id_, event.name)]
        if len(keys) <= 1:
            return [event]
        return [event, *(msgspec.structs.replace(event, key=key) for key in keys[1:])]


def effect_of(operation: bytes) -> tuple[str, Kind | SkipReason | None]:
    """The operation's name, and its effect on an object. The effect is None if this is not the name of an operation.

    An unknown operation on an object counts as a write: a refresh too many is harmless, a missing one is not.
    """
    # The cache must not keep the long texts of a hostile file.
    return _effect_of(operation) if len(operation) <= MAX_OPERATION_LENGTH else ("", None)


@lru_cache(maxsize=256)
def _effect_of(operation: bytes) -> tuple[str, Kind | SkipReason | None]:
    name = operation.decode("ascii", "replace")
    if name in OPERATIONS:
        return name, OPERATIONS[name]
    if not _OPERATION.fullmatch(name):
        return name, None
    _, verb, what, *_ = [*name.split(".", 2), "", ""]
    if verb in READ_VERBS:
        return name, SkipReason.READ_ONLY
    if what == OBJECT and not verb.startswith(TRANSITION):
        return name, Kind.WRITTEN
    return name, SkipReason.NOT_OBJECT_CHANGE


def parse_bucket(text: str) -> str:
    """The bucket of a field that contains its name or its ARN. Empty for other ARNs, such as the ARN of an access point."""
    if not text.startswith(_ARN):
        return text
    *_, region, account, resource = ["", "", "", *text.split(":", 5)[3:]]
    kind, slash, name = resource.rpartition("/")
    if slash and (kind == "bucket" or kind.endswith("/bucket")):
        return name
    return "" if region or account else resource.partition("/")[0]
