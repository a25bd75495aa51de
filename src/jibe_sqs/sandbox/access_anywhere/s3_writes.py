"""The server's own writes to S3. Each one is recorded, so that the sandbox's trail can log it."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from jibe_sqs.sandbox.access_anywhere.storage import Storage, StoredObject
from jibe_sqs.sandbox.aws.s3_calls import CallKind, ObjectAddress
from jibe_sqs.sandbox.writes import RecordedWrites

MAX_KEYS: Final = 1000
"""The maximum number of keys in one bulk delete."""


class S3Writes:
    """Writes to S3. Every method raises only `StorageError`. A failed call is not recorded."""

    def __init__(self, storage: Storage, clock: Callable[[], float]) -> None:
        self._storage = storage
        self._clock = clock
        self._recorded = RecordedWrites()

    async def put(self, target: ObjectAddress, body: bytes, content_type: str) -> StoredObject:
        began = self._clock()
        seen = await self._storage.write(*target, body, content_type)
        self._record(CallKind.PUT, target[0], [target[1]], began, size=seen.size, etag=seen.etag)
        return seen

    async def copy(self, source: ObjectAddress, target: ObjectAddress) -> StoredObject:
        began = self._clock()
        seen = await self._storage.copy(source, target)
        self._record(CallKind.COPY, target[0], [target[1]], began, size=seen.size, etag=seen.etag, source=source)
        return seen

    async def remove(self, bucket: str, keys: Sequence[str]) -> None:
        """Delete objects: one by a plain delete, several by bulk deletes."""
        kind = CallKind.DELETE if len(keys) == 1 else CallKind.DELETE_MANY
        for start in range(0, len(keys), MAX_KEYS):
            part = keys[start : start + MAX_KEYS]
            began = self._clock()
            await self._storage.remove(bucket, part)
            self._record(kind, bucket, part, began)

    def records(self, since: int) -> list[dict[str, Any]]:
        """The calls whose `n` is greater than `since`."""
        return self._recorded.since(since)

    def _record(self, kind: CallKind, bucket: str, keys: Sequence[str], began: float, **more: Any) -> None:
        self._recorded.add(kind, bucket, keys, began=began, at=self._clock(), **more)
