"""Streams log files from S3."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Final, Self

import msgspec
from botocore.exceptions import ClientError
from cachetools import LRUCache

from jibe_sqs.adapters.aws import Account, Aws
from jibe_sqs.adapters.aws_errors import aws_errors, log_store_error
from jibe_sqs.adapters.clock import S3Clock
from jibe_sqs.adapters.http1_connection import CHUNK
from jibe_sqs.adapters.s3_get import Object, Objects, other_region, place
from jibe_sqs.concurrency.async_cache import AsyncCache
from jibe_sqs.concurrency.budget import Budget, Share
from jibe_sqs.core.errors import BucketNotAllowed, LogStoreError, LogStoreUnavailable
from jibe_sqs.core.model import LogFile
from jibe_sqs.core.sources import EVERY_BUCKET, holds

WINDOW: Final = 2 * CHUNK
"""Bytes of the budget that a download takes: the chunk being read, and the chunk being received."""
CLOCK_AGE: Final = 600.0
"""Seconds after which S3 is asked for its time again."""
MAX_BUCKETS: Final = 10_000
"""Buckets whose regions and addresses are kept. Where `logs` is empty, announcements name the buckets."""


class Source(msgspec.Struct, frozen=True, cache_hash=True):
    """Where log files may be read. `region`: None to ask S3 for it. `owner`: the account that must own the bucket."""

    account: Account
    prefix: str = ""
    region: str | None = None
    owner: str | None = None

    @property
    def owned(self) -> dict[str, str]:
        """Arguments for botocore that make S3 refuse a bucket of another account."""
        return {"ExpectedBucketOwner": self.owner} if self.owner else {}


class Regions:
    """The regions of buckets. S3 is asked once for each, and again after a while: its answer also gives its time."""

    def __init__(self, aws: Aws, clock: S3Clock) -> None:
        self._aws = aws
        self._clock = clock
        self._cache = AsyncCache[tuple[str, Source], str](LRUCache(MAX_BUCKETS))

    async def of(self, bucket: str, source: Source) -> str:
        """The bucket's region. Raises botocore's errors."""
        if self._clock.age > CLOCK_AGE:
            self._cache.values.pop((bucket, source), None)
        elif (known := self._cache.values.get((bucket, source))) is not None:
            return known
        return await self._cache.get((bucket, source), lambda: self._asked(bucket, source))

    async def corrected(self, bucket: str, source: Source, wrong: str, right: str | None) -> str:
        """The bucket's region, after the store refused `wrong` and perhaps named `right`. Raises botocore's errors."""
        regions = self._cache.values
        # If many requests fail at once, only the first removes the wrong region.
        if regions.get((bucket, source)) == wrong:
            del regions[bucket, source]
            if right:
                regions[bucket, source] = right
        return await self.of(bucket, source)

    async def _asked(self, bucket: str, source: Source) -> str:
        client = await self._aws.client("s3", source.region, source.account)
        try:
            answer = await client.head_bucket(Bucket=bucket)
        except ClientError as error:
            # A refusal or a redirect also names the bucket's region.
            answer = error.response
            if _status(answer) not in (301, 302, 307, 400, 403):
                raise
        headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        if date := headers.get("date"):
            self._clock.observe(parsedate_to_datetime(date).timestamp())
        return str(source.region or headers.get("x-amz-bucket-region") or client.meta.region_name)


class S3Logs:
    """The `LogStore` port. Raises `LogStoreError`s only."""

    def __init__(
        self,
        *,
        aws: Aws,
        regions: Regions,
        budget: Budget,
        sources: Mapping[str, Sequence[Source]],
        other_buckets: Source | None = None,
    ) -> None:
        """`sources`: by bucket. Sources of `EVERY_BUCKET` apply to keys of CloudTrail's log files in every bucket.

        `budget`: of bytes. `other_buckets`: how to read buckets that are not in `sources`; None to refuse them.
        """
        self._aws = aws
        self._budget = budget
        self._sources = sources
        self._other_buckets = other_buckets
        self._regions = regions
        self._buckets = LRUCache[tuple[str, Source, str], Objects](MAX_BUCKETS)

    def open(self, file: LogFile) -> "Opening":
        """Open a log file for reading: an async context manager of an `S3Log`."""
        return Opening(self, file)

    async def opened(self, file: LogFile) -> "S3Log":
        """An open log file. The caller closes it."""
        source = self._source(file)
        try:
            region = await self._regions.of(file.bucket, source)
        except aws_errors(ValueError) as error:
            raise _translation(file, error) from error
        share = Share(self._budget, await self._budget.take(WINDOW))
        try:
            found = await self._found(file, source, region)
        except aws_errors(ValueError) as error:
            share.reduce_to(0)
            raise _translation(file, error, source.owner) from error
        except BaseException:
            share.reduce_to(0)
            raise
        share.reduce_to(found.size)
        return S3Log(file, found, share)

    async def _found(self, file: LogFile, source: Source, region: str) -> Object:
        objects = self._objects(file.bucket, source, region)
        try:
            return await objects.open(file.key, file.version)
        except ClientError as error:
            elsewhere, named = other_region(error)
            if not elsewhere:
                raise
            corrected = await self._regions.corrected(file.bucket, source, region, named)
            if corrected == region:
                raise
        return await self._objects(file.bucket, source, corrected).open(file.key, file.version)

    def _objects(self, bucket: str, source: Source, region: str) -> Objects:
        key = (bucket, source, region)
        if (objects := self._buckets.get(key)) is None:
            client = self._aws.offline_client("s3", region, source.account)
            objects = Objects(self._aws, source.account, place(client, bucket, source.owned))
            self._buckets[key] = objects
        return objects

    def _source(self, file: LogFile) -> Source:
        for bucket in (file.bucket, EVERY_BUCKET):
            for source in self._sources.get(bucket, ()):
                if holds(bucket, source.prefix, file.key):
                    return source
        if self._other_buckets is None:
            raise BucketNotAllowed.of(file.bucket, file.key)
        return self._other_buckets


class Opening:
    """Opens a log file at the beginning of a block, and closes it at the end."""

    def __init__(self, logs: S3Logs, file: LogFile) -> None:
        self._logs = logs
        self._file = file
        self._log: S3Log

    async def __aenter__(self) -> "S3Log":
        """Raises `LogStoreError`."""
        self._log = await self._logs.opened(self._file)
        return self._log

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._log.close()


class S3Log:
    """An open log file: its bytes as stored, without decompression. An iterator of chunks."""

    def __init__(self, file: LogFile, found: Object, share: Share) -> None:
        self.etag = found.etag
        self.size = found.size
        self._file = file
        self._object = found
        self._share = share

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """The next chunk. Raises `LogStoreUnavailable` if the object arrives incomplete."""
        try:
            chunk = await self._object.chunk()
        except aws_errors(ValueError) as error:
            raise _translation(self._file, error) from error
        if not chunk:
            raise StopAsyncIteration
        return chunk

    def close(self) -> None:
        """Give back the connection and the bytes of the budget."""
        self._object.close()
        self._share.reduce_to(0)


def _status(answer: Mapping[str, Any]) -> int:
    return int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _name(file: LogFile) -> str:
    version = f" version {file.version}" if file.version else ""
    return f"{file}{version}"


@contextmanager
def translated(file: LogFile, owner: str | None = None) -> Iterator[None]:
    """Raise the errors of botocore, of HTTP and of the system as `LogStoreError`s that name the file.

    `owner`: the account that must own the bucket, if the request said so.
    """
    try:
        yield
    except aws_errors(ValueError) as error:
        raise _translation(file, error, owner) from error


def _translation(file: LogFile, error: BaseException, owner: str | None = None) -> LogStoreError:
    if isinstance(error, aws_errors()):
        return log_store_error(_name(file), error, owner)
    return LogStoreUnavailable(f"{_name(file)}: {_first_line(error)}")


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0][:300]
