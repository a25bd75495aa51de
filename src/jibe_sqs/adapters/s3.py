"""Log files in S3, streamed.

obstore fetches them: it costs a quarter of aiobotocore's time a file, or less (see docs/adr/0004). It cannot name every
key, though: it drops slashes at the ends and refuses empty and dotted segments and control characters. Such keys, which
a trail with an odd prefix has, go through aiobotocore.
"""

import asyncio
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec
import obstore
from botocore.exceptions import ClientError
from obstore import exceptions as obstore_errors
from obstore.store import S3Store

from jibe_sqs.adapters.aws import Account, Aws
from jibe_sqs.adapters.aws_errors import UNANSWERED, log_store_error
from jibe_sqs.adapters.clock import S3Clock
from jibe_sqs.budget import Budget
from jibe_sqs.core.errors import BucketNotAllowed, LogAccessDenied, LogMissing, LogStoreError, LogStoreUnavailable
from jibe_sqs.core.model import LogFile
from jibe_sqs.core.sources import EVERY_BUCKET, holds

if TYPE_CHECKING:
    from obstore.store import ClientConfig

CHUNK: Final = 1024 * 1024
"""Bytes that a download hands over at a time, at least, but for the last."""
WINDOW: Final = 2 * CHUNK
"""Bytes of the budget that a download takes: what was handed over, and what has come in since."""
SILENCE: Final = 60.0
"""Seconds after which an answer that does not go on is asked for again: the network may have swallowed it."""
CLOCK_AGE: Final = 600.0
"""Seconds after which S3's clock is looked at again."""

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


class Source(msgspec.Struct, frozen=True):
    """Where log files may be read from. `region` None: found by asking. `owner`: the account that must own the bucket."""

    account: Account
    prefix: str = ""
    region: str | None = None
    owner: str | None = None

    @property
    def owned(self) -> dict[str, str]:
        """What botocore is to ask with, so that S3 refuses a bucket of any other account's."""
        return {"ExpectedBucketOwner": self.owner} if self.owner else {}


class Regions:
    """Where buckets are. S3 is asked once, and again after a while: its answer tells its time, too."""

    def __init__(self, aws: Aws, clock: S3Clock) -> None:
        self._aws = aws
        self._clock = clock
        self._known: dict[tuple[str, Source], str] = {}
        self._finding: defaultdict[tuple[str, Source], asyncio.Lock] = defaultdict(asyncio.Lock)

    async def of(self, bucket: str, source: Source) -> str:
        """The bucket's region. Raises what botocore does."""
        key = (bucket, source)
        # Of many who come at once, one asks, and the others wait for its answer.
        async with self._finding[key]:
            if key not in self._known or self._clock.age > CLOCK_AGE:
                self._known[key] = await self._asked(bucket, source)
            return self._known[key]

    async def _asked(self, bucket: str, source: Source) -> str:
        client = await self._aws.client("s3", source.region, source.account)
        try:
            answer = await client.head_bucket(Bucket=bucket)
        except ClientError as error:
            # Refused or sent elsewhere, the answer still says where the bucket is.
            answer = error.response
            if _status(answer) not in (301, 400, 403):
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
        anywhere: Source | None = None,
    ) -> None:
        """`budget` is of bytes. `anywhere`: how to read buckets that are not in `sources`; None: not at all.

        `sources` of `EVERY_BUCKET` are for what looks like CloudTrail's log files, in whatever bucket.
        """
        self._aws = aws
        self._budget = budget
        self._sources = sources
        self._anywhere = anywhere
        self._regions = regions
        self._buckets: dict[tuple[str, Source, str], _Bucket] = {}

    @asynccontextmanager
    async def open(self, file: LogFile) -> AsyncIterator["S3Log"]:
        """Open a log file for reading."""
        bucket = await self._bucket(file)
        taken = await self._budget.take(WINDOW)
        try:
            with translated(file, bucket.source.owner):
                log = await bucket.get(file)
            if (excess := taken - log.size) > 0:
                self._budget.give(excess)
                taken -= excess
            try:
                yield log
            finally:
                log.close()
        finally:
            self._budget.give(taken)

    async def _bucket(self, file: LogFile) -> "_Bucket":
        source = self._source(file)
        with translated(file):
            region = await self._regions.of(file.bucket, source)
            key = (file.bucket, source, region)
            if key not in self._buckets:
                self._buckets[key] = _Bucket(file.bucket, region, source, self._aws)
            return self._buckets[key]

    def _source(self, file: LogFile) -> Source:
        for bucket in (file.bucket, EVERY_BUCKET):
            for source in self._sources.get(bucket, ()):
                if holds(bucket, source.prefix, file.key):
                    return source
        if self._anywhere is None:
            raise BucketNotAllowed.of(file.bucket, file.key)
        return self._anywhere


class _Bucket:
    """One bucket, whose region is known."""

    def __init__(self, name: str, region: str, source: Source, aws: Aws) -> None:
        self.name = name
        self.region = region
        self.source = source
        self._aws = aws
        endpoint = source.account.endpoint
        options: ClientConfig = {
            "allow_http": bool(endpoint),
            "connect_timeout": "10s",
            "read_timeout": f"{SILENCE:g}s",
            "timeout": "10min",
        }
        if source.owner:
            # obstore signs it with the rest of the request; S3 would refuse it otherwise.
            options["default_headers"] = {"x-amz-expected-bucket-owner": source.owner}
        self._store = S3Store(
            name,
            region=region,
            # obstore refuses an endpoint of None.
            config={"endpoint": endpoint} if endpoint else None,
            virtual_hosted_style_request=endpoint is None and "." not in name,
            credential_provider=self._credentials,
            client_options=options,
            retry_config={"max_retries": 4},
        )

    async def get(self, file: LogFile) -> "S3Log":
        if not _plain(file.key):
            return await self._get_odd(file)
        found = await obstore.get_async(
            self._store, file.key, options={"version": file.version} if file.version else None
        )
        etag = found.meta["e_tag"] or ""
        return S3Log(file, etag.strip('"'), found.meta["size"], found.stream(min_chunk_size=CHUNK))

    async def _get_odd(self, file: LogFile) -> "S3Log":
        client = await self._aws.client("s3", self.region, self.source.account)
        version = {"VersionId": file.version} if file.version else {}
        found = await client.get_object(Bucket=file.bucket, Key=file.key, **version, **self.source.owned)
        body = found["Body"]
        return S3Log(file, found["ETag"].strip('"'), found["ContentLength"], body.iter_chunks(CHUNK), body.close)

    async def _credentials(self) -> Any:
        """As obstore takes them. It must ask for each request: it cannot know when they are renewed."""
        credentials = await self._aws.session(self.source.account).get_credentials()
        frozen = await credentials.get_frozen_credentials()
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": datetime.now(UTC),
        }


class S3Log:
    """An open log file: its bytes as stored, gzipped or not."""

    def __init__(
        self, file: LogFile, etag: str, size: int, chunks: Any, close: Callable[[], None] = lambda: None
    ) -> None:
        self.etag = etag
        self.size = size
        self.close = close
        """Let go of the connection, whether or not all was read."""
        self._file = file
        self._chunks = chunks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Its chunks. Raises `LogStoreUnavailable` where fewer bytes come than were promised."""
        got = 0
        with translated(self._file):
            async for chunk in self._chunks:
                data = bytes(chunk)
                got += len(data)
                yield data
        if got != self.size:
            raise LogStoreUnavailable(f"{_name(self._file)}: cut short after {got:,} of {self.size:,} bytes")


def _plain(key: str) -> bool:
    """Whether obstore names this key as it is."""
    return _CONTROL.search(key) is None and all(segment not in ("", ".", "..") for segment in key.split("/"))


def _status(answer: Mapping[str, Any]) -> int:
    return int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _name(file: LogFile) -> str:
    version = f" version {file.version}" if file.version else ""
    return f"s3://{file.bucket}/{file.key}{version}"


@contextmanager
def translated(file: LogFile, owner: str | None = None) -> Iterator[None]:
    """Whatever obstore, botocore and those below them raise, as a `LogStoreError` that names the file.

    `owner`: the account that the request asked the bucket to be owned by.
    """
    try:
        yield
    except LogStoreError:
        raise
    except (FileNotFoundError, obstore_errors.NotFoundError) as error:
        raise LogMissing(f"{_name(file)}: {_first_line(error)}") from error
    except (obstore_errors.PermissionDeniedError, obstore_errors.UnauthenticatedError, PermissionError) as error:
        raise LogAccessDenied(f"{_name(file)}: {_first_line(error)}{_remedy(owner)}") from error
    except (obstore_errors.BaseError, ValueError) as error:
        raise LogStoreUnavailable(f"{_name(file)}: {_first_line(error)}") from error
    except (ClientError, *UNANSWERED) as error:
        raise log_store_error(_name(file), error, owner) from error


def _remedy(owner: str | None) -> str:
    """S3 says the same of a bucket of somebody else's, and of one that we may not read."""
    return f": may we read it, and does account {owner} own its bucket, as `logs.bucket_owner` says?" if owner else ""


def _first_line(error: BaseException) -> str:
    """Without the dump of its insides that obstore puts after it."""
    return str(error).strip().partition("\n")[0][:300]
