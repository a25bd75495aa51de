"""The changes that the sandbox makes in S3, as values."""

from enum import StrEnum
from typing import Final

import msgspec


class ChangeKind(StrEnum):
    PUT = "put"
    OVERWRITE = "overwrite"
    COPY = "copy"
    MULTIPART = "multipart"
    DELETE = "delete"
    BULK_DELETE = "bulk-delete"
    """CloudTrail logs one record without keys."""
    BULK_DELETE_LISTED = "bulk-delete-listed"
    """CloudTrail logs one record without keys, and one more record for each key."""
    READ = "read"
    FAILED = "failed"
    TAGGING = "tagging"
    OWN_WRITE = "own-write"
    """Made through Access Anywhere."""


WEIGHTS: Final = {
    ChangeKind.PUT: 46,
    ChangeKind.OVERWRITE: 10,
    ChangeKind.COPY: 7,
    ChangeKind.MULTIPART: 5,
    ChangeKind.DELETE: 9,
    ChangeKind.BULK_DELETE: 2,
    ChangeKind.READ: 7,
    ChangeKind.FAILED: 4,
    ChangeKind.TAGGING: 4,
    ChangeKind.OWN_WRITE: 6,
}
"""How often each kind is made, in percent."""
NEEDS_AN_OBJECT: Final = frozenset(ChangeKind) - {
    ChangeKind.PUT,
    ChangeKind.MULTIPART,
    ChangeKind.FAILED,
    ChangeKind.OWN_WRITE,
}
_CHANGES_NO_OBJECT: Final = frozenset({ChangeKind.READ, ChangeKind.FAILED, ChangeKind.TAGGING})


class Change(msgspec.Struct, frozen=True):
    """One call to S3, or one key of a bulk delete. `at`: when S3 had answered, in seconds since the epoch."""

    number: int
    kind: ChangeKind
    bucket: str
    key: str
    at: float
    own: bool = False
    """Made through Access Anywhere, whose index already shows it."""

    @property
    def makes_stale(self) -> bool:
        """Whether Access Anywhere's index is wrong until a refresh."""
        return not self.own and self.kind not in _CHANGES_NO_OBJECT
