"""Looks for single objects in the buckets that Access Anywhere shows. It reads no content."""

from typing import Any

from botocore.exceptions import ClientError

from jibe_sqs.adapters.aws import Aws
from jibe_sqs.adapters.s3 import Regions, Source, translated
from jibe_sqs.commands.object_facts import Stored
from jibe_sqs.core.errors import LogAccessDenied
from jibe_sqs.core.model import LogFile


class S3Objects:
    """Finds objects, with the credentials of one source. Raises `LogStoreError`s only."""

    def __init__(self, *, aws: Aws, source: Source, regions: Regions) -> None:
        self._aws = aws
        self._source = source
        self._regions = regions

    async def find(self, bucket: str, key: str) -> Stored | None:
        """The object of that key. None if there is none. Either of the permissions to list and to read is enough.

        Without the permission to list, S3 denies access to an object that does not exist.
        """
        try:
            return await self._listed(bucket, key)
        except LogAccessDenied:
            return await self._head(bucket, key)

    async def _listed(self, bucket: str, key: str) -> Stored | None:
        with translated(LogFile(bucket, key), self._source.owner):
            client = await self._client(bucket)
            # The key itself comes before all others that begin with it.
            found = await client.list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1, **self._source.owned)
            for entry in found.get("Contents", ()):
                if entry["Key"] == key:
                    return Stored(entry["Size"], entry["LastModified"].timestamp())
            return None

    async def _head(self, bucket: str, key: str) -> Stored | None:
        with translated(LogFile(bucket, key), self._source.owner):
            client = await self._client(bucket)
            try:
                found = await client.head_object(Bucket=bucket, Key=key, **self._source.owned)
            except ClientError as error:
                # A HEAD has no body, so the code is the status.
                if error.response.get("Error", {}).get("Code") in ("404", "NoSuchKey"):
                    return None
                raise
            return Stored(found["ContentLength"], found["LastModified"].timestamp())

    async def _client(self, bucket: str) -> Any:
        region = await self._regions.of(bucket, self._source)
        return await self._aws.client("s3", region, self._source.account)
