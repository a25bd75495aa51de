"""S3 through boto3 in threads: one client for each region, path-style addresses, credentials from the environment."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from jibe_sqs.sandbox.access_anywhere.storage import Listing, Piece, StorageError, StoredObject

T = TypeVar("T")
MISSING_CODES = frozenset({"404", "NoSuchBucket", "NoSuchKey", "NotFound"})
CHUNK_SIZE = 1 << 20


class S3Storage:
    """`regions`: bucket -> region."""

    def __init__(self, endpoint: str, regions: Mapping[str, str]) -> None:
        self._endpoint = endpoint
        self._session = boto3.session.Session()
        self._by_region: dict[str, Any] = {}
        self._clients: dict[str, Any] = {}
        self.set_regions(regions)

    def set_regions(self, regions: Mapping[str, str]) -> None:
        """Call it from one thread only: creating clients is not safe for threads, using them is."""
        config = Config(s3={"addressing_style": "path"}, max_pool_connections=16, retries={"max_attempts": 3})
        for bucket, region in regions.items():
            if region not in self._by_region:
                self._by_region[region] = self._session.client("s3", region, endpoint_url=self._endpoint, config=config)
            self._clients[bucket] = self._by_region[region]

    async def exists(self, bucket: str) -> bool:
        try:
            await self._call(bucket, lambda s3: s3.head_bucket(Bucket=bucket))
        except StorageError as e:
            if e.code in MISSING_CODES:
                return False
            raise
        return True

    async def list(self, bucket: str, prefix: str) -> Listing:
        pages = await self._pages(bucket, Prefix=prefix, Delimiter="/")
        prefixes = [p["Prefix"] for page in pages for p in page.get("CommonPrefixes", ())]
        return Listing(tuple(_objects(pages)), tuple(prefixes))

    async def list_all(self, bucket: str, prefix: str) -> Sequence[StoredObject]:
        return list(_objects(await self._pages(bucket, Prefix=prefix)))

    async def head(self, bucket: str, key: str) -> StoredObject | None:
        try:
            head = await self._call(bucket, lambda s3: s3.head_object(Bucket=bucket, Key=key))
        except StorageError as e:
            if e.code in MISSING_CODES:
                return None
            raise
        return _stored(key, head, head["ContentLength"])

    async def read(self, bucket: str, key: str, byte_range: str | None = None) -> Piece:
        wanted = {"Range": byte_range} if byte_range else {}
        answer = await self._call(bucket, lambda s3: s3.get_object(Bucket=bucket, Key=key, **wanted))
        return Piece(answer["ContentLength"], _chunks(answer["Body"]), answer.get("ContentRange"))

    async def write(self, bucket: str, key: str, body: bytes, content_type: str) -> StoredObject:
        def put(s3: Any) -> StoredObject:
            s3.put_object(Bucket=bucket, Key=key, Body=body, ContentType=content_type or "binary/octet-stream")
            head = s3.head_object(Bucket=bucket, Key=key)
            return _stored(key, head, head["ContentLength"])

        return await self._call(bucket, put)

    async def copy(self, source: tuple[str, str], target: tuple[str, str]) -> StoredObject:
        (source_bucket, source_key), (bucket, key) = source, target

        def copied(s3: Any) -> StoredObject:
            s3.copy_object(Bucket=bucket, Key=key, CopySource={"Bucket": source_bucket, "Key": source_key})
            head = s3.head_object(Bucket=bucket, Key=key)
            return _stored(key, head, head["ContentLength"])

        return await self._call(bucket, copied)

    async def remove(self, bucket: str, keys: Sequence[str]) -> None:
        if len(keys) == 1:
            await self._call(bucket, lambda s3: s3.delete_object(Bucket=bucket, Key=keys[0]))
            return
        wanted = {"Objects": [{"Key": key} for key in keys], "Quiet": True}
        answer = await self._call(bucket, lambda s3: s3.delete_objects(Bucket=bucket, Delete=wanted))
        for failed in answer.get("Errors", ()):
            raise StorageError(failed.get("Code", "Unknown"), f"{failed.get('Key')}: {failed.get('Message', '')}")

    async def _pages(self, bucket: str, **which: str) -> Sequence[Any]:
        # boto3 requests url-encoded keys and decodes them. Therefore keys with any character survive XML.
        return await self._call(
            bucket, lambda s3: list(s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, **which))
        )

    async def _call(self, bucket: str, use: Callable[[Any], T]) -> T:
        if bucket not in self._clients:
            raise StorageError("NoSuchBucket", "The specified bucket does not exist")
        with _translated():
            return await asyncio.to_thread(use, self._clients[bucket])


def _objects(pages: Sequence[Any]) -> Iterator[StoredObject]:
    return (_stored(found["Key"], found, found["Size"]) for page in pages for found in page.get("Contents", ()))


def _stored(key: str, found: Mapping[str, Any], size: int) -> StoredObject:
    return StoredObject(key, size, found["ETag"].strip('"'), found["LastModified"].timestamp())


async def _chunks(body: Any) -> AsyncGenerator[bytes, None]:
    try:
        with _translated():
            while chunk := await asyncio.to_thread(body.read, CHUNK_SIZE):
                yield chunk
    finally:
        body.close()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except ClientError as e:
        error = e.response.get("Error", {})
        raise StorageError(error.get("Code", "Unknown"), error.get("Message", "")) from e
    except BotoCoreError as e:
        raise StorageError(type(e).__name__, str(e)) from e
