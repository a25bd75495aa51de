"""Verifies log files with CloudTrail's digests in S3 and CloudTrail's public keys.

A digest lists the log files of one hour. So digests are cached: one digest verifies all log files of its hour. A digest
whose signature was verified needs no further check: it cannot change in memory.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from botocore.exceptions import ClientError
from cachetools import LRUCache, TTLCache
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from jibe_sqs.adapters.aws import Account, Aws
from jibe_sqs.adapters.aws_errors import aws_errors, described, failure, log_store_error, no_answer_errors
from jibe_sqs.adapters.partitions import is_aws
from jibe_sqs.concurrency.async_cache import AsyncCache
from jibe_sqs.core.digest_checks import check_log, check_signature, public_key
from jibe_sqs.core.digest_names import LogName, candidates, log_name, search_folders
from jibe_sqs.core.digests import MAX_DIGEST_SIZE, Digest, Fault, read_digest
from jibe_sqs.core.errors import (
    DigestInvalid,
    DigestMissing,
    KeysUnavailable,
    LogBucketMissing,
    LogMissing,
    LogTampered,
)
from jibe_sqs.core.model import LogFile

ListKeys = Callable[[str, datetime, datetime], Awaitable[Sequence[Mapping[str, Any]]]]
"""Region, start, end -> the public keys of that time, in the form of ListPublicKeys. Raises `KeysUnavailable`."""

SEARCH_AHEAD: Final = timedelta(hours=24)
"""Digests that end within this time after a log file's delivery are searched for the file."""
LISTING_AGE: Final = 60.0
"""Seconds for which a list of digests is cached, so that many waiting files need one request."""
MAX_LISTINGS: Final = 10_000
"""Folders whose lists of digests are cached, each of about 24 keys."""
KEPT_LOGS: Final = 200_000
"""Log files in all cached digests together: about 80 MB."""
ROTATION: Final = timedelta(hours=2)
"""Keys are requested for this time before and after a digest: while keys rotate, either may have signed it."""
EXPECTED_AFTER: Final = timedelta(hours=1, minutes=15)
"""A log file's digest is usually delivered within this time after the file."""

_REMEDIES: Final = dict.fromkeys(("AccessDenied", "AccessDeniedException"), "allow cloudtrail:ListPublicKeys")


class S3Digests:
    """Reads digests from S3 with one account. Raises `VerificationError`s and `LogStoreError`s only."""

    def __init__(self, *, aws: Aws, account: Account, region: str | None = None, owner: str | None = None) -> None:
        """`region`: of the bucket; None to let botocore find it. `owner`: the account that must own the bucket."""
        self._aws = aws
        self._account = account
        self._region = region
        self._owned = {"ExpectedBucketOwner": owner} if owner else {}

    async def keys(self, bucket: str, prefix: str) -> list[str]:
        """All keys below a prefix, in S3's order."""
        with _translated(f"list of s3://{bucket}/{prefix}"):
            client = await self._client()
            pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, **self._owned)
            return [item["Key"] async for page in pages for item in page.get("Contents", ())]

    async def digest(self, bucket: str, key: str) -> Digest:
        """One digest, without any check. Raises `DigestInvalid` if it is malformed, `DigestMissing` if it is not there."""
        with _translated(f"s3://{bucket}/{key}"):
            client = await self._client()
            found = await client.get_object(Bucket=bucket, Key=key, **self._owned)
            async with found["Body"] as body:
                if found["ContentLength"] > MAX_DIGEST_SIZE:
                    raise DigestInvalid(f"s3://{bucket}/{key}: too large for a digest", fault=Fault.MALFORMED)
                data = await body.read()
        return read_digest(bucket, key, data, found.get("Metadata", {}))

    async def _client(self) -> Any:
        return await self._aws.client("s3", self._region, self._account)


def cloudtrail_keys(*, aws: Aws, account: Account) -> ListKeys:
    """Requests public keys from CloudTrail in the region of the digest."""

    async def list_keys(region: str, start: datetime, end: datetime) -> Sequence[Mapping[str, Any]]:
        try:
            client = await aws.client("cloudtrail", region, _without_vpc_endpoint(account))
            answer = await client.list_public_keys(StartTime=start, EndTime=end)
        except ClientError as error:
            raise KeysUnavailable(described(f"public keys of CloudTrail in {region}", error, _REMEDIES)) from error
        except no_answer_errors() as error:
            raise KeysUnavailable(failure(f"public keys of CloudTrail in {region}", error)) from error
        found: Sequence[Mapping[str, Any]] = answer.get("PublicKeyList", [])
        return found

    return list_keys


class PublicKeys:
    """CloudTrail's public keys by region and fingerprint, each requested once. Raises `VerificationError`s only."""

    def __init__(self, list_keys: ListKeys) -> None:
        self._list_keys = list_keys
        self._known: defaultdict[str, dict[str, RSAPublicKey]] = defaultdict(dict)
        # Not an AsyncCache: callers ask about different times, so the answer for one may lack the key of another.
        self._asking: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def key(self, digest: Digest) -> RSAPublicKey:
        """The key that this digest names as its signer. Raises `DigestInvalid` if CloudTrail does not know it."""
        region, fingerprint = digest.name.region, digest.fingerprint
        known = self._known[region]
        async with self._asking[region]:
            if fingerprint not in known:
                start, end = digest.written - ROTATION, digest.written + ROTATION
                for listed in await self._list_keys(region, start, end):
                    if key := public_key(listed.get("Value", b"")):
                        known[str(listed.get("Fingerprint"))] = key
        if fingerprint not in known:
            raise DigestInvalid(
                f"s3://{digest.bucket}/{digest.key}: CloudTrail in {region} has no public key {fingerprint!r} of that time",
                fault=Fault.UNKNOWN_KEY,
            )
        return known[fingerprint]


class DigestVerifier:
    """The `Verifier` port: checks that log files are what CloudTrail delivered."""

    def __init__(
        self,
        *,
        digests: S3Digests,
        keys: PublicKeys,
        search_ahead: timedelta = SEARCH_AHEAD,
        listing_age: float = LISTING_AGE,
        kept_logs: int = KEPT_LOGS,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        """`listing_age`: seconds. `kept_logs`: log files that all cached digests may list together."""
        self._digests = digests
        self._keys = keys
        self._search_ahead = search_ahead
        # The size is limited because an LRUCache refuses values that are larger than itself.
        self._signed = AsyncCache[tuple[str, str], Digest](
            LRUCache(kept_logs, getsizeof=lambda digest: min(1 + len(digest.logs), kept_logs))
        )
        self._listings = AsyncCache[tuple[str, str], list[str]](TTLCache(MAX_LISTINGS, listing_age, timer))

    async def verify(self, file: LogFile, sha256hex: str) -> None:
        """Return if CloudTrail delivered this file, and its text has this hash.

        Raises `LogTampered` if CloudTrail delivered other content. If no valid digest lists the file, raises
        `DigestInvalid` if an invalid digest stands at a place where it could be listed, and `DigestMissing` otherwise.
        Also raises `KeysUnavailable` and `LogStoreError`s.
        """
        log = log_name(file.key)
        if log is None:
            raise LogTampered(f"{file} is not named as CloudTrail names log files, so no digest can list it")
        wrong: LogTampered | DigestInvalid | None = None
        for key in candidates(log, await self._found(file.bucket, log), self._search_ahead):
            try:
                if check_log(await self._digest(file.bucket, key), file.bucket, file.key, sha256hex):
                    return
            except LogTampered as error:
                wrong = error
            except DigestInvalid as error:
                # Everyone who may write to the bucket could have put an invalid digest there. The valid one may be
                # another digest, or may be delivered later.
                wrong = wrong or error
            except DigestMissing:
                continue  # deleted since it was listed
        if wrong is not None:
            raise wrong
        raise DigestMissing(
            f"no digest that ends within {self._search_ahead / timedelta(hours=1):g} hours of its delivery lists {file}: "
            "digests are delivered hourly if log file validation is enabled for the trail",
            expected_at=(log.time + EXPECTED_AFTER).timestamp(),
        )

    async def _found(self, bucket: str, log: LogName) -> list[str]:
        return [key for folder in search_folders(log, self._search_ahead) for key in await self._listed(bucket, folder)]

    async def _listed(self, bucket: str, folder: str) -> list[str]:
        return await self._listings.get((bucket, folder), lambda: self._digests.keys(bucket, folder))

    async def _digest(self, bucket: str, key: str) -> Digest:
        """A digest with a valid signature of CloudTrail's."""

        async def signed() -> Digest:
            digest = await self._digests.digest(bucket, key)
            check_signature(digest, await self._keys.key(digest))
            return digest

        return await self._signed.get((bucket, key), signed)


def _without_vpc_endpoint(account: Account) -> Account:
    """The account without AWS's own endpoint (a VPC endpoint): that serves S3 only."""
    return msgspec.structs.replace(account, endpoint=None) if is_aws(account.endpoint) else account


@contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except aws_errors() as error:
        ours = log_store_error(what, error)
        raise (DigestMissing(str(ours)) if isinstance(ours, LogMissing | LogBucketMissing) else ours) from error
