"""The calls by which the server itself changes S3. Each is recorded, so that the sandbox's trail can log it."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from jibe_sqs.sandbox.access_anywhere.storage import Storage, StoredObject

Kind = Literal["put", "copy", "delete", "delete-many"]
Place = tuple[str, str]
"""Bucket and key."""
MOST_KEYS: Final = 1000
"""Keys that S3 deletes in one call."""
RECORDED: Final = 200_000


@dataclass(frozen=True, slots=True)
class S3Write:
    """One call that S3 has answered. Times are seconds since the epoch; `n` counts from 1; `size` is in bytes."""

    n: int
    kind: Kind
    bucket: str
    keys: Sequence[str]
    began: float
    at: float
    size: int = 0
    etag: str = ""
    source: Place | None = None
    """The bucket and key that a copy was made of."""


class S3Writes:
    """Writes to S3. Every call raises only `StorageError`s; a call that fails is not recorded."""

    def __init__(self, storage: Storage, clock: Callable[[], float]) -> None:
        self._storage = storage
        self._clock = clock
        self._done = 0
        self._records: deque[S3Write] = deque(maxlen=RECORDED)

    async def put(self, place: Place, body: bytes, content_type: str) -> StoredObject:
        began = self._clock()
        seen = await self._storage.write(*place, body, content_type)
        self._record("put", place[0], [place[1]], began, size=seen.size, etag=seen.etag)
        return seen

    async def copy(self, source: Place, place: Place) -> StoredObject:
        began = self._clock()
        seen = await self._storage.copy(source, place)
        self._record("copy", place[0], [place[1]], began, size=seen.size, etag=seen.etag, source=source)
        return seen

    async def remove(self, bucket: str, keys: Sequence[str]) -> None:
        """Delete objects: several by bulk deletes, as a folder's are."""
        for start in range(0, len(keys), MOST_KEYS):
            part = keys[start : start + MOST_KEYS]
            began = self._clock()
            await self._storage.remove(bucket, part)
            self._record("delete" if len(keys) == 1 else "delete-many", bucket, part, began)

    def records(self, since: int) -> list[dict[str, Any]]:
        """The calls whose `n` is greater than `since`."""
        return [asdict(record) for record in self._records if record.n > since]

    def _record(self, kind: Kind, bucket: str, keys: Sequence[str], began: float, **more: Any) -> None:
        self._done += 1
        self._records.append(S3Write(self._done, kind, bucket, list(keys), began, self._clock(), **more))
