"""What somebody did to a bucket: one call to S3, answered. Each format tells it in its own words."""

from enum import StrEnum
from typing import Final

import msgspec

from jibe_sqs.sandbox.aws.records import Caller, iam_user

ObjectAddress = tuple[str, str]
"""Bucket and key."""
ACCESS_ANYWHERE: Final = "access-anywhere"
"""The name of the user that AA calls S3 as."""
ACCESS_ANYWHERE_KEY: Final = "AKIAACCESSANYWHERE00"
"""The access key id that it calls with."""
ACCESS_ANYWHERE_ADDRESS: Final = "192.0.2.66"
"""Where it calls from: all that S3's own events tell of it."""


class CallKind(StrEnum):
    PUT = "put"
    POST = "post"
    """A browser's form."""
    COPY = "copy"
    MULTIPART = "multipart"
    """Told by several records, where a format tells of parts."""
    DELETE = "delete"
    DELETE_MANY = "delete-many"
    GET = "get"
    HEAD = "head"
    LIST = "list"
    TAG = "tag"
    ACL = "acl"
    CREATE_BUCKET = "create-bucket"


CREATES: Final = frozenset({CallKind.PUT, CallKind.POST, CallKind.COPY, CallKind.MULTIPART})
DELETES: Final = frozenset({CallKind.DELETE, CallKind.DELETE_MANY})


class S3Call(msgspec.Struct, frozen=True, kw_only=True):
    """Times in seconds since the epoch, sizes in bytes."""

    kind: CallKind
    bucket: str
    region: str
    account: str
    caller: Caller
    began: float
    at: float
    """When S3 had answered."""
    keys: tuple[str, ...] = ()
    """One, but for a bulk delete, and for calls on buckets, which have none."""
    prefix: str = ""
    """Of a listing."""
    size: int = 0
    etag: str = ""
    """Unquoted."""
    source: ObjectAddress | None = None
    """Bucket and key that a copy is of."""
    upload: str = ""
    """The id of a multipart upload."""
    failed: bool = False
    listed: bool = False
    """Whether CloudTrail tells the keys of a bulk delete. All others always do."""
    changes: tuple[int, ...] = ()
    """The numbers of the changes that it made."""

    @property
    def key(self) -> str:
        """The one key; nothing for a call on a bucket."""
        return self.keys[0] if self.keys else ""

    @property
    def changes_objects(self) -> bool:
        """Whether an index is wrong from now on, unless it was the index's owner who did it."""
        return not self.failed and self.kind in CREATES | DELETES


def access_anywhere(account: str) -> Caller:
    """AA, as it calls S3."""
    return iam_user(
        ACCESS_ANYWHERE,
        account=account,
        access_key=ACCESS_ANYWHERE_KEY,
        address=ACCESS_ANYWHERE_ADDRESS,
        agent="aws-sdk-php/3.359",
    )


def access_anywhere_arn(account: str) -> str:
    """The ARN of the user that AA calls S3 as."""
    return f"arn:aws:iam::{account}:user/{ACCESS_ANYWHERE}"
