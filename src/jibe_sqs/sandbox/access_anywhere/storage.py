"""The interface to S3 that the server needs, and an implementation in memory."""

import hashlib
import re
import time
from bisect import bisect_left, insort
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


class StorageError(Exception):
    """An error answer of S3. `code`: S3's error code, for example `NoSuchKey`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object, as a listing shows it. `etag`: without quotes. `modified`: seconds since the epoch."""

    key: str
    size: int
    etag: str
    modified: float


@dataclass(frozen=True, slots=True)
class Listing:
    """One level below a prefix: its objects, and the prefixes of the next level, each ending in `/`."""

    files: tuple[StoredObject, ...]
    prefixes: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """`size` bytes of an object, which can be read once. `content_range`: the HTTP header if these are
    not all bytes.
    """

    size: int
    chunks: AsyncGenerator[bytes, None]
    """May raise `StorageError` after some bytes."""
    content_range: str | None = None

    async def body(self) -> bytes:
        return b"".join([chunk async for chunk in self.chunks])


class Storage(Protocol):
    """The operations on S3 that the server needs. Each raises only `StorageError`."""

    async def exists(self, bucket: str) -> bool:
        """Whether the bucket exists."""

    async def list(self, bucket: str, prefix: str) -> Listing:
        """The level below `prefix`, with all pages."""

    async def list_all(self, bucket: str, prefix: str) -> Sequence[StoredObject]:
        """All objects below `prefix`, on all levels."""

    async def head(self, bucket: str, key: str) -> StoredObject | None:
        """One object as it is now. None if it does not exist."""

    async def read(self, bucket: str, key: str, byte_range: str | None = None) -> Piece:
        """The object's bytes. `byte_range`: an HTTP `Range`."""

    async def write(self, bucket: str, key: str, body: bytes, content_type: str) -> StoredObject:
        """Store the object. Returns it as a listing would show it."""

    async def copy(self, source: tuple[str, str], target: tuple[str, str]) -> StoredObject:
        """Copy an object; source and target are bucket and key. Returns the copy as a listing would show it."""

    async def remove(self, bucket: str, keys: Sequence[str]) -> None:
        """Delete objects. Keys that do not exist are not an error."""

    def set_regions(self, regions: Mapping[str, str]) -> None:
        """Set the regions of buckets."""


@dataclass(slots=True)
class _Bucket:
    """One bucket. `keys` are the sorted keys of `objects`.

    Python sorts by code point, which equals S3's order by UTF-8 bytes.
    """

    objects: dict[str, tuple[bytes, StoredObject]] = field(default_factory=dict)
    keys: list[str] = field(default_factory=list)

    def below(self, prefix: str) -> tuple[int, int]:
        """The start and end positions of the keys with this prefix."""
        # U+10FFFF is not a character, so no key contains it.
        return bisect_left(self.keys, prefix), bisect_left(self.keys, prefix + "\U0010ffff")


class MemoryStorage:
    """S3 in memory, for tests. `put` and `delete` change it without the server's knowledge."""

    def __init__(
        self, buckets: Mapping[str, Mapping[str, bytes]] | Iterable[str] = (), *, clock: Callable[[], float] = time.time
    ) -> None:
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}
        contents = buckets if isinstance(buckets, Mapping) else {name: {} for name in buckets}
        for bucket, objects in contents.items():
            self.create_bucket(bucket)
            for key in sorted(objects):
                self.put(bucket, key, objects[key])

    def create_bucket(self, bucket: str) -> None:
        self._buckets.setdefault(bucket, _Bucket())

    def delete_bucket(self, bucket: str) -> None:
        del self._buckets[bucket]

    def put(self, bucket: str, key: str, body: bytes = b"") -> StoredObject:
        found = self._bucket(bucket)
        etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
        stored = StoredObject(key, len(body), etag, self._clock())
        if key not in found.objects:
            insort(found.keys, key)
        found.objects[key] = (body, stored)
        return stored

    def delete(self, bucket: str, key: str) -> None:
        found = self._bucket(bucket)
        if found.objects.pop(key, None):
            del found.keys[bisect_left(found.keys, key)]

    def objects(self, bucket: str) -> dict[str, StoredObject]:
        """All objects in the bucket, by key."""
        return {key: stored for key, (_, stored) in self._bucket(bucket).objects.items()}

    async def exists(self, bucket: str) -> bool:
        return bucket in self._buckets

    async def list(self, bucket: str, prefix: str) -> Listing:
        found = self._bucket(bucket)
        files: list[StoredObject] = []
        prefixes: list[str] = []
        at, end = found.below(prefix)
        while at < end:
            key = found.keys[at]
            slash = key.find("/", len(prefix))
            if slash < 0:
                files.append(found.objects[key][1])
                at += 1
            else:
                prefixes.append(key[: slash + 1])
                # `0` is the character after `/`. So this skips all keys below the folder, however many there are.
                at = bisect_left(found.keys, key[:slash] + "0", at, end)
        return Listing(tuple(files), tuple(prefixes))

    async def list_all(self, bucket: str, prefix: str) -> Sequence[StoredObject]:
        found = self._bucket(bucket)
        return [found.objects[key][1] for key in found.keys[slice(*found.below(prefix))]]

    async def head(self, bucket: str, key: str) -> StoredObject | None:
        _, stored = self._bucket(bucket).objects.get(key, (b"", None))
        return stored

    async def read(self, bucket: str, key: str, byte_range: str | None = None) -> Piece:
        if key not in (objects := self._bucket(bucket).objects):
            raise StorageError("NoSuchKey", "The specified key does not exist.")
        return _cut(objects[key][0], byte_range)

    async def write(self, bucket: str, key: str, body: bytes, content_type: str) -> StoredObject:  # noqa: ARG002
        return self.put(bucket, key, body)

    async def copy(self, source: tuple[str, str], target: tuple[str, str]) -> StoredObject:
        bucket, key = source
        if key not in (objects := self._bucket(bucket).objects):
            raise StorageError("NoSuchKey", "The specified key does not exist.")
        return self.put(*target, objects[key][0])

    async def remove(self, bucket: str, keys: Sequence[str]) -> None:
        for key in keys:
            self.delete(bucket, key)

    def set_regions(self, regions: Mapping[str, str]) -> None:
        """Storage in memory has no regions."""

    def _bucket(self, bucket: str) -> _Bucket:
        if bucket not in self._buckets:
            raise StorageError("NoSuchBucket", "The specified bucket does not exist")
        return self._buckets[bucket]


def _cut(body: bytes, byte_range: str | None) -> Piece:
    """The part of the body that an HTTP `Range` names.

    As in S3, the whole body is returned for an invalid range, and a range beyond the end raises `StorageError`.
    """
    matched = re.fullmatch(r"bytes=(\d*)-(\d*)", byte_range or "")
    if not matched or matched.group(0) == "bytes=-":
        return _piece(body)
    first, last = matched.groups()
    size = len(body)
    start = int(first) if first else max(0, size - int(last))
    end = min(int(last), size - 1) if first and last else size - 1
    if start >= size or start > end:
        raise StorageError("InvalidRange", "The requested range is not satisfiable")
    return _piece(body[start : end + 1], f"bytes {start}-{end}/{size}")


def _piece(body: bytes, content_range: str | None = None) -> Piece:
    async def whole() -> AsyncGenerator[bytes, None]:
        yield body

    return Piece(len(body), whole(), content_range)
