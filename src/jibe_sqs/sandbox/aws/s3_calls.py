"""One call to S3 that was answered. Publishers format it as records, log lines or events."""

from enum import StrEnum
from typing import Final

import msgspec

from jibe_sqs.sandbox.aws.records import Caller, iam_user

ObjectAddress = tuple[str, str]
"""Bucket and key."""
ACCESS_ANYWHERE: Final = "access-anywhere"
"""The name of the IAM user with which Access Anywhere calls S3."""
ACCESS_ANYWHERE_KEY: Final = "AKIAACCESSANYWHERE00"
"""The id of that user's access key."""
ACCESS_ANYWHERE_ADDRESS: Final = "192.0.2.66"
"""Access Anywhere's IP address. S3's own events contain nothing else that identifies it."""


class CallKind(StrEnum):
    PUT = "put"
    POST = "post"
    """A form upload by a browser."""
    COPY = "copy"
    MULTIPART = "multipart"
    """Formats that log parts have several records for it."""
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
    """One key; a bulk delete has several; a call on a bucket has none."""
    prefix: str = ""
    """The prefix of a listing."""
    size: int = 0
    etag: str = ""
    """Without quotes."""
    source: ObjectAddress | None = None
    """The source of a copy."""
    upload: str = ""
    """The id of a multipart upload."""
    failed: bool = False
    listed: bool = False
    """Whether CloudTrail logs the keys of a bulk delete. The other formats always contain them."""
    changes: tuple[int, ...] = ()
    """The numbers of the changes that this call made."""

    @property
    def key(self) -> str:
        """The only key. Empty for a call on a bucket."""
        return self.keys[0] if self.keys else ""

    @property
    def changes_objects(self) -> bool:
        """Whether this call changes an index, unless Access Anywhere itself made it."""
        return not self.failed and self.kind in CREATES | DELETES


def access_anywhere(account: str) -> Caller:
    """Access Anywhere as a caller of S3."""
    return iam_user(
        ACCESS_ANYWHERE,
        account=account,
        access_key=ACCESS_ANYWHERE_KEY,
        address=ACCESS_ANYWHERE_ADDRESS,
        agent="aws-sdk-php/3.359",
    )


def access_anywhere_arn(account: str) -> str:
    """The ARN of the IAM user with which Access Anywhere calls S3."""
    return f"arn:aws:iam::{account}:user/{ACCESS_ANYWHERE}"
