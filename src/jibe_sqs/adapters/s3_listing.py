"""Lists buckets of S3 level by level, for sweeps."""

from collections.abc import AsyncGenerator, Sequence
from typing import Any

from jibe_sqs.adapters.aws import Aws
from jibe_sqs.adapters.s3 import Regions, Source, translated
from jibe_sqs.core.model import LogFile
from jibe_sqs.ports import Found


class S3Listing:
    """The `Listing` port, with the credentials of one source. Raises `LogStoreError`s only."""

    def __init__(self, *, aws: Aws, source: Source, regions: Regions) -> None:
        """`regions`: share it with the log store that reads the files, so that S3 is asked once for each bucket."""
        self._aws = aws
        self._source = source
        self._regions = regions

    async def level(self, bucket: str, prefix: str) -> AsyncGenerator[Found | str, None]:
        """Objects directly below the prefix, and folders. Each call to S3 returns up to a thousand entries."""
        with translated(LogFile(bucket, prefix), self._source.owner):
            client = await self._client(bucket)
            pages = client.get_paginator("list_objects_v2").paginate(
                Bucket=bucket, Prefix=prefix, Delimiter="/", **self._source.owned
            )
            async for page in pages:
                for folder in page.get("CommonPrefixes", ()):
                    yield folder["Prefix"]
                for entry in page.get("Contents", ()):
                    etag = entry.get("ETag", "").strip('"') or None
                    file = LogFile(bucket, entry["Key"], etag=etag, size=entry.get("Size"))
                    yield Found(file, entry["LastModified"].timestamp() if "LastModified" in entry else None)

    async def has(self, bucket: str, prefix: str) -> bool:
        """Whether an object is below that prefix."""
        with translated(LogFile(bucket, prefix), self._source.owner):
            client = await self._client(bucket)
            found = await client.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1, **self._source.owned)
            return bool(found.get("Contents"))

    async def buckets(self) -> Sequence[str]:
        """All buckets of the account."""
        with translated(LogFile("*", "")):
            client = await self._aws.client("s3", self._source.region, self._source.account)
            pages = client.get_paginator("list_buckets").paginate()
            return [bucket["Name"] async for page in pages for bucket in page.get("Buckets", ())]

    async def _client(self, bucket: str) -> Any:
        region = await self._regions.of(bucket, self._source)
        return await self._aws.client("s3", region, self._source.account)
