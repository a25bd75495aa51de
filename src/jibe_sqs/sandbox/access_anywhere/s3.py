"""S3 itself, through boto3 in threads: one client a region, path-style, credentials from the environment."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from jibe_sqs.sandbox.access_anywhere.storage import Listing, Piece, StorageError, StoredObject

T = TypeVar("T")
GONE = frozenset({"404", "NoSuchBucket", "NotFound"})


class S3Storage:
    """`regions` says where each bucket lives."""

    def __init__(self, endpoint: str, regions: Mapping[str, str]) -> None:
        config = Config(s3={"addressing_style": "path"}, max_pool_connections=16, retries={"max_attempts": 3})
        session = boto3.session.Session()
        # All made here: making a client is not thread-safe, using one is.
        clients = {r: session.client("s3", r, endpoint_url=endpoint, config=config) for r in set(regions.values())}
        self._clients = {bucket: clients[region] for bucket, region in regions.items()}

    async def exists(self, bucket: str) -> bool:
        try:
            await self._call(bucket, lambda s3: s3.head_bucket(Bucket=bucket))
        except StorageError as e:
            if e.code in GONE:
                return False
            raise
        return True

    async def list(self, bucket: str, prefix: str) -> Listing:
        def pages(s3: Any) -> list[Any]:
            # boto3 asks for url-encoded keys and decodes them, so that any key survives XML.
            lister = s3.get_paginator("list_objects_v2")
            return list(lister.paginate(Bucket=bucket, Prefix=prefix, Delimiter="/"))

        listed = await self._call(bucket, pages)
        files = [_stored(o["Key"], o) for page in listed for o in page.get("Contents", ())]
        prefixes = [p["Prefix"] for page in listed for p in page.get("CommonPrefixes", ())]
        return Listing(tuple(files), tuple(prefixes))

    async def read(self, bucket: str, key: str, span: str | None = None) -> Piece:
        def get(s3: Any) -> Piece:
            answer = s3.get_object(Bucket=bucket, Key=key, **({"Range": span} if span else {}))
            return Piece(answer["Body"].read(), answer.get("ContentRange"))

        return await self._call(bucket, get)

    async def write(self, bucket: str, key: str, body: bytes, content_type: str) -> StoredObject:
        def put(s3: Any) -> StoredObject:
            s3.put_object(Bucket=bucket, Key=key, Body=body, ContentType=content_type)
            head = s3.head_object(Bucket=bucket, Key=key)
            return _stored(key, {**head, "Size": head["ContentLength"]})

        return await self._call(bucket, put)

    async def _call(self, bucket: str, use: Callable[[Any], T]) -> T:
        if bucket not in self._clients:
            raise StorageError("NoSuchBucket", "The specified bucket does not exist")
        with _translated():
            return await asyncio.to_thread(use, self._clients[bucket])


def _stored(key: str, found: Mapping[str, Any]) -> StoredObject:
    return StoredObject(key, found["Size"], found["ETag"].strip('"'), found["LastModified"].timestamp())


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except ClientError as e:
        error = e.response.get("Error", {})
        raise StorageError(error.get("Code", "Unknown"), error.get("Message", "")) from e
    except BotoCoreError as e:
        raise StorageError(type(e).__name__, str(e)) from e
