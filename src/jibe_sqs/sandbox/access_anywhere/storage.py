"""The S3 that the server reads, as small as it can be asked for; and one that lives in memory."""

import hashlib
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol


class StorageError(Exception):
    """What S3 answered instead; `code` is S3's own, such as `NoSuchKey`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object as a listing shows it. `etag` is unquoted; `modified` is seconds since the epoch."""

    key: str
    size: int
    etag: str
    modified: float


@dataclass(frozen=True, slots=True)
class Listing:
    """One level below a prefix: its objects, and the prefixes (each ending in `/`) of the levels below."""

    files: tuple[StoredObject, ...]
    prefixes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of an object; `content_range` is HTTP's, present when they are not the whole."""

    body: bytes
    content_range: str | None = None


class Storage(Protocol):
    """What the server asks of S3. Every call raises only `StorageError`s."""

    async def exists(self, bucket: str) -> bool:
        """Whether there is such a bucket."""

    async def list(self, bucket: str, prefix: str) -> Listing:
        """The level below `prefix`, all pages of it."""

    async def read(self, bucket: str, key: str, span: str | None = None) -> Piece:
        """The object's bytes, or those of an HTTP `Range`."""

    async def write(self, bucket: str, key: str, body: bytes, content_type: str) -> StoredObject:
        """Put the object; returns it as a listing would show it."""


class MemoryStorage:
    """S3 for tests: buckets of keys and bytes, with a writer's side (`put`, `delete`) that the server knows nothing of."""

    def __init__(
        self, buckets: Mapping[str, Mapping[str, bytes]] | Iterable[str] = (), *, clock: Callable[[], float] = time.time
    ) -> None:
        self._clock = clock
        self._buckets: dict[str, dict[str, tuple[bytes, StoredObject]]] = {}
        contents = buckets if isinstance(buckets, Mapping) else {name: {} for name in buckets}
        for bucket, objects in contents.items():
            self.create_bucket(bucket)
            for key, body in objects.items():
                self.put(bucket, key, body)

    def create_bucket(self, bucket: str) -> None:
        self._buckets.setdefault(bucket, {})

    def delete_bucket(self, bucket: str) -> None:
        del self._buckets[bucket]

    def put(self, bucket: str, key: str, body: bytes = b"") -> StoredObject:
        etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
        stored = StoredObject(key, len(body), etag, self._clock())
        self._bucket(bucket)[key] = (body, stored)
        return stored

    def delete(self, bucket: str, key: str) -> None:
        self._bucket(bucket).pop(key, None)

    def objects(self, bucket: str) -> dict[str, StoredObject]:
        """All that is in the bucket, by key."""
        return {key: stored for key, (_, stored) in self._bucket(bucket).items()}

    async def exists(self, bucket: str) -> bool:
        return bucket in self._buckets

    async def list(self, bucket: str, prefix: str) -> Listing:
        files, prefixes = [], set()
        for key, (_, stored) in sorted(self._bucket(bucket).items()):
            if key.startswith(prefix):
                head, slash, _ = key[len(prefix) :].partition("/")
                if slash:
                    prefixes.add(f"{prefix}{head}/")
                else:
                    files.append(stored)
        return Listing(tuple(files), tuple(sorted(prefixes)))

    async def read(self, bucket: str, key: str, span: str | None = None) -> Piece:
        if key not in (objects := self._bucket(bucket)):
            raise StorageError("NoSuchKey", "The specified key does not exist.")
        return _cut(objects[key][0], span)

    async def write(self, bucket: str, key: str, body: bytes, content_type: str) -> StoredObject:  # noqa: ARG002
        return self.put(bucket, key, body)

    def _bucket(self, bucket: str) -> dict[str, tuple[bytes, StoredObject]]:
        if bucket not in self._buckets:
            raise StorageError("NoSuchBucket", "The specified bucket does not exist")
        return self._buckets[bucket]


def _cut(body: bytes, span: str | None) -> Piece:
    """As S3 does it: a range that is no range is ignored, and one beyond the end is an error."""
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", span or "")
    if not found or found.group(0) == "bytes=-":
        return Piece(body)
    first, last = found.groups()
    size = len(body)
    start = int(first) if first else max(0, size - int(last))
    end = min(int(last), size - 1) if first and last else size - 1
    if start >= size or start > end:
        raise StorageError("InvalidRange", "The requested range is not satisfiable")
    return Piece(body[start : end + 1], f"bytes {start}-{end}/{size}")
