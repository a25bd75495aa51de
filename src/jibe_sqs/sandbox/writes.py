"""The record of calls that changed objects in S3, as the sandbox's servers keep it for the publishers."""

from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from threading import Lock
from typing import Any, Final

from jibe_sqs.sandbox.aws.s3_calls import CallKind, ObjectAddress

MAX_RECORDS: Final = 200_000
"""Number of calls that a server keeps. Older ones are dropped."""


@dataclass(frozen=True, slots=True)
class S3Write:
    """One call that S3 has answered. Times: seconds since the epoch. `n` counts from 1. `size`: bytes."""

    n: int
    kind: CallKind
    bucket: str
    keys: Sequence[str]
    began: float
    at: float
    size: int = 0
    etag: str = ""
    source: ObjectAddress | None = None
    """The source of a copy."""
    upload: str = ""
    """The id of a multipart upload."""


class RecordedWrites:
    """Keeps the newest calls. Safe for threads."""

    def __init__(self) -> None:
        self._done = 0
        self._records: deque[S3Write] = deque(maxlen=MAX_RECORDS)
        self._lock = Lock()

    def add(self, kind: CallKind, bucket: str, keys: Sequence[str], **fields: Any) -> None:
        """Record a call. `fields`: the other fields of `S3Write`."""
        with self._lock:
            self._done += 1
            self._records.append(S3Write(self._done, kind, bucket, list(keys), **fields))

    def since(self, n: int) -> list[dict[str, Any]]:
        """The calls with a greater `n`."""
        with self._lock:
            return [asdict(record) for record in self._records if record.n > n]
