"""Walks a chain of digests backwards, from the newest digest to the oldest.

A digest that CloudTrail signed contains the name, the hash and the signature of the digest before it. If a digest is
missing or invalid, its content is not used, and the walk continues at the next older digest that exists. The time
between valid digests is reported as a gap.
"""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from jibe_sqs.commands.findings import Finding, Status, Subject
from jibe_sqs.commands.log_checks import LogChecks
from jibe_sqs.core.digest_checks import check_previous, check_signature
from jibe_sqs.core.digest_names import DigestName
from jibe_sqs.core.digests import Digest
from jibe_sqs.core.errors import DigestInvalid, DigestMissing, JibeError, LogStoreError


class DigestStore(Protocol):
    """The store of the digests. `keys` raises `LogStoreError`s; `digest` also `DigestMissing` and `DigestInvalid`."""

    async def keys(self, bucket: str, prefix: str) -> Sequence[str]:
        """All keys below a prefix."""

    async def digest(self, bucket: str, key: str) -> Digest:
        """One digest. Its signature is not checked yet."""


class KeyStore(Protocol):
    """CloudTrail's public keys."""

    async def key(self, digest: Digest) -> RSAPublicKey:
        """The key whose fingerprint the digest contains. Raises `DigestInvalid`, `KeysUnavailable`."""


class DigestChecks:
    """Checks digests, and remembers which log files and which time ranges the valid ones contain."""

    def __init__(self, digests: DigestStore, keys: KeyStore) -> None:
        self._digests = digests
        self._keys = keys
        self._checked: set[tuple[str, str]] = set()
        self._listed: set[tuple[str, str]] = set()
        self._covered: list[tuple[datetime, datetime]] = []

    async def check(self, bucket: str, key: str, newer: Digest | None) -> Digest:
        """Read a digest, and check its signature and what the next `newer` digest says about it.

        Raises `DigestInvalid`, `DigestMissing`, `LogStoreError`, `KeysUnavailable`.
        """
        self._checked.add((bucket, key))
        digest = await self._digests.digest(bucket, key)
        check_signature(digest, await self._keys.key(digest))
        if newer is not None:
            check_previous(digest, newer)
        self._listed.update(digest.logs)
        self._covered.append((digest.start, digest.end))
        return digest

    def is_checked(self, bucket: str, key: str) -> bool:
        """Whether this digest was checked, with any result."""
        return (bucket, key) in self._checked

    def is_listed(self, bucket: str, key: str) -> bool:
        """Whether a valid digest lists this log file."""
        return (bucket, key) in self._listed

    def is_covered(self, time: datetime) -> bool:
        """Whether a valid digest covers this time."""
        return any(start <= time <= end for start, end in self._covered)


class _Cause(NamedTuple):
    """Why a time range is a gap."""

    reason: str
    message: str


NO_DIGEST = _Cause("no-digest", "no digest covers this time")
BAD_DIGEST = _Cause("bad-digest", "the digest of this time is missing or invalid")
CHAIN_START = _Cause("chain-start", "log file validation was off: CloudTrail began a new chain of digests after it")


class ChainWalk:
    """One walk along one chain."""

    def __init__(
        self,
        names: Mapping[str, DigestName],
        *,
        digests: DigestChecks,
        logs: LogChecks,
        start: datetime,
        end: datetime,
    ) -> None:
        """`names`: the digests of one chain, by key, one or more. Gaps are reported between `start` and `end`."""
        self._digests = digests
        self._logs = logs
        self._unchecked = dict(sorted(names.items(), key=lambda each: each[1].end))
        """The digests that exist and are not checked yet, the oldest first."""
        first = next(iter(names.values()))
        self._what = Subject.BACKFILL if first.backfill else Subject.DIGEST
        self._trail = first.trail
        self._start = start
        self._covered_from = end
        """The time before this moment is not covered yet, as far as the walk has come."""
        self._cause = NO_DIGEST

    async def findings(self, bucket: str) -> AsyncIterator[Finding]:
        """The findings for all digests of the chain and their log files, and the gaps between the digests."""
        while self._unchecked:
            newest = next(reversed(self._unchecked))
            async for finding in self._unbroken(bucket, newest):
                yield finding
        for gap in self._gap(self._start):
            yield gap

    async def _unbroken(self, bucket: str, key: str) -> AsyncIterator[Finding]:
        """Walk backwards from this digest, until the chain ends or is broken."""
        newer: Digest | None = None
        while True:
            self._unchecked.pop(key, None)
            try:
                digest = await self._digests.check(bucket, key, newer)
            except (DigestInvalid, DigestMissing, LogStoreError) as error:
                self._cause = BAD_DIGEST
                yield self._bad(bucket, key, newer, error)
                return
            for gap in self._gap(digest.end):
                yield gap
            self._covered_from = min(self._covered_from, digest.start)
            yield Finding(self._what, Status.VALID, bucket, key, start=digest.start, end=digest.end, trail=self._trail)
            async for finding in self._logs.listed_in(digest):
                yield finding
            previous = digest.previous
            if previous is None:
                self._cause = CHAIN_START
                return
            self._cause = NO_DIGEST
            if digest.start <= self._start or self._digests.is_checked(previous.bucket, previous.key):
                return
            bucket, key, newer = previous.bucket, previous.key, digest

    def _bad(self, bucket: str, key: str, newer: Digest | None, error: JibeError) -> Finding:
        if isinstance(error, DigestInvalid):
            status, reason = Status.INVALID, str(error.fault)
        elif isinstance(error, DigestMissing):
            status, reason = Status.MISSING, "not-found"
        else:
            status, reason = Status.UNREADABLE, type(error).__name__
        message = str(error)
        if newer is not None and status is Status.MISSING:
            message = f"{newer.key.rpartition('/')[2]} names it as the digest before"
        return Finding(self._what, status, bucket, key, reason, message, trail=self._trail)

    def _gap(self, since: datetime) -> Iterator[Finding]:
        """The gap between this moment and the covered time, if there is one. Backfills have no regular times: no gaps."""
        since = max(since, self._start)
        if since < self._covered_from and self._what is Subject.DIGEST:
            reason, message = self._cause
            yield Finding.gap(since, self._covered_from, reason=reason, message=message, trail=self._trail)
        self._covered_from = min(self._covered_from, since)
