"""Are a bucket's logs what CloudTrail delivered? Digest by digest, the newest first, for people and for programs.

Each chain of digests is walked backwards: a digest that CloudTrail signed names the one before it, with its hash and its
signature. Where one is missing or is no good, nothing that it says counts: the walk goes on with the next older one
that is there. All time in between that no good digest covers is told as a gap. And since a log file that nobody lists
would go unnoticed, the files that are there are compared with those that are listed.
"""

import asyncio
import textwrap
from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import IO, Any, Final, Protocol

import msgspec
import orjson
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from jibe_sqs.core.digest_checks import LogHash, check_log, check_previous, check_signature
from jibe_sqs.core.digest_names import DigestName, digest_folders, digest_name, log_folders, log_name
from jibe_sqs.core.digests import Digest
from jibe_sqs.core.errors import (
    DigestInvalid,
    DigestMissing,
    JibeError,
    LogError,
    LogMissing,
    LogStoreError,
    LogTampered,
)
from jibe_sqs.core.model import LogFile
from jibe_sqs.telemetry.printable import printable

SETTLED: Final = timedelta(hours=2)
"""The age at which a log file has its digest; younger ones may wait for theirs."""
AHEAD: Final = timedelta(hours=1)
"""A digest ends up to this much after the first log file that it lists."""
LARGEST_LOG: Final = 2 * 1024**3
"""Bytes of text. Real ones are 50 MB as stored, at most, and expand about tenfold."""
AT_ONCE: Final = 8
"""Log files that are read at a time."""
WIDTH: Final = 80

DIGEST: Final = "digest"
BACKFILL: Final = "backfill digest"
LOG: Final = "log file"
GAP: Final = "gap"


class Status(StrEnum):
    """What was found of a file, or of a stretch of time."""

    VALID = "valid"
    INVALID = "invalid"
    MISSING = "missing"
    UNLISTED = "unlisted"
    """A log file that stands there, and that no digest of its time lists."""
    UNREADABLE = "unreadable"
    """Nothing is known: it could not be read."""
    UNCOVERED = "uncovered"
    """Time of which no good digest tells."""


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """One of the report. `what`: `digest`, `backfill digest`, `log file` or `gap`."""

    what: str
    status: Status
    bucket: str = ""
    key: str = ""
    reason: str = ""
    """For programs; empty if all is well."""
    message: str = ""
    """For people."""
    start: datetime | None = None
    end: datetime | None = None
    """Of the time that it tells of: a digest's, or a gap's."""
    trail: str = ""


class Scope(msgspec.Struct, frozen=True):
    """Whose logs are verified. `prefix` as the trail has it, without a slash at its end."""

    bucket: str
    account: str
    region: str
    prefix: str = ""
    organization: str = ""
    trail: str = ""
    """Only this trail's digests; then log files that no digest lists are not told, as they may be another trail's."""

    @property
    def base(self) -> str:
        """What all the keys begin with."""
        parts = (self.prefix.rstrip("/"), "AWSLogs", self.organization, self.account)
        return "".join(f"{part}/" for part in parts if part)


class Summary:
    """What the findings come to."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, Status]] = Counter()
        self.start: datetime | None = None
        self.end: datetime | None = None
        """Of the time that good digests tell of."""

    def add(self, finding: Finding) -> None:
        """Count a finding."""
        self.counts[finding.what, finding.status] += 1
        if finding.what in (DIGEST, BACKFILL) and finding.status is Status.VALID:
            if finding.start and (self.start is None or finding.start < self.start):
                self.start = finding.start
            if finding.end and (self.end is None or finding.end > self.end):
                self.end = finding.end

    @property
    def exit_code(self) -> int:
        """0: all is what CloudTrail delivered; 1: something is not, or could not be shown to be; 3: only gaps."""
        bad = sum(count for (_, status), count in self.counts.items() if status not in (Status.VALID, Status.UNCOVERED))
        return 1 if bad else 3 if self.counts[GAP, Status.UNCOVERED] else 0

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        counts: dict[str, dict[str, int]] = {}
        for (what, status), count in sorted(self.counts.items()):
            counts.setdefault(what, {})[status.value] = count
        return {"summary": counts, "start": self.start, "end": self.end, "exit_code": self.exit_code}

    def as_text(self) -> str:
        """For people: a few lines."""
        if self.start and self.end:
            lines = [f"Good digests tell of {_clock(self.start)} to {_clock(self.end)}."]
        else:
            lines = ["No good digest was found."]
        for what in (DIGEST, BACKFILL, LOG):
            counts = {status: self.counts[what, status] for status in Status if self.counts[what, status]}
            if total := sum(counts.values()):
                told = ", ".join(f"{count:,} {_word(status)}" for status, count in counts.items())
                lines.append(f"{total:,} {what}{'s' if total != 1 else ''}: {told}")
        if gaps := self.counts[GAP, Status.UNCOVERED]:
            lines.append(f"{gaps:,} gap{'s' if gaps != 1 else ''}")
        return "\n".join(lines)


_Chain = tuple[str, str, str, str, bool]
"""What a digest's name has in common with the one before it; last, whether they are backfills."""


class DigestStore(Protocol):
    """Where digests are. `keys` raises `LogStoreError`s; `digest` also `DigestMissing` and `DigestInvalid`."""

    async def keys(self, bucket: str, prefix: str) -> Sequence[str]:
        """All keys below a prefix."""

    async def digest(self, bucket: str, key: str) -> Digest:
        """One digest, which nobody has checked."""


class LogStore(Protocol):
    """Where log files are."""

    def open(self, file: LogFile) -> AbstractAsyncContextManager[AsyncIterable[bytes]]:
        """Its chunks, as stored. Raises `LogStoreError`s."""


class KeyStore(Protocol):
    """Who knows CloudTrail's public keys."""

    async def key(self, digest: Digest) -> RSAPublicKey:
        """The one that this digest says it is signed with. Raises `DigestInvalid`, `KeysUnavailable`."""


class Verification:
    """One look at the logs of a bucket, an account and a region in a stretch of time."""

    def __init__(
        self,
        *,
        digests: DigestStore,
        keys: KeyStore,
        logs: LogStore,
        scope: Scope,
        now: datetime,
        limit: int = LARGEST_LOG,
    ) -> None:
        """`now`: what has just been delivered has no digest yet, and that is no gap. `limit`: bytes of a log's text."""
        self._digests = digests
        self._keys = keys
        self._logs = logs
        self._limit = limit
        self._scope = scope
        self._now = now
        self._listed: set[tuple[str, str]] = set()
        self._seen: set[tuple[str, str]] = set()
        self._covered: list[tuple[datetime, datetime]] = []
        """By good digests."""

    async def findings(self, start: datetime, end: datetime) -> AsyncIterator[Finding]:
        """All that is found, chain by chain. Raises `LogStoreError` and `KeysUnavailable`."""
        start, end = start.astimezone(UTC), min(end.astimezone(UTC), self._now)
        settled = min(end, self._now - SETTLED)
        chains = await self._chains(start, end)
        # Backfills last.
        for chain in sorted(chains, key=lambda each: (each[-1], each)):
            async for finding in _Walk(self, chains[chain], start, settled).findings(self._scope.bucket):
                yield finding
        if all(chain[-1] for chain in chains) and start < settled:
            yield _gap(start, settled, "no-digests", "there are no digests", self._scope.trail)
        if not self._scope.trail:
            async for finding in self._unlisted(start, settled):
                yield finding

    async def _chains(self, start: datetime, end: datetime) -> dict[_Chain, dict[str, DigestName]]:
        chains: dict[_Chain, dict[str, DigestName]] = {}
        for folder in digest_folders(self._scope.base, self._scope.region, start, end + AHEAD):
            for key in await self._digests.keys(self._scope.bucket, folder):
                name = digest_name(key)
                if name is None or not start <= name.end <= end + AHEAD:
                    continue
                if self._scope.trail in ("", name.trail):
                    chains.setdefault(name.chain, {})[key] = name
        return chains

    async def checked(self, bucket: str, key: str, after: Digest | None) -> Digest:
        """A digest that CloudTrail signed and that is what the one `after` it, if any, knows."""
        self._seen.add((bucket, key))
        digest = await self._digests.digest(bucket, key)
        check_signature(digest, await self._keys.key(digest))
        if after is not None:
            check_previous(digest, after)
        self._listed.update(digest.logs)
        self._covered.append((digest.start, digest.end))
        return digest

    def has_seen(self, bucket: str, key: str) -> bool:
        """Whether that digest was looked at."""
        return (bucket, key) in self._seen

    async def logs_of(self, digest: Digest) -> AsyncIterator[Finding]:
        """A finding for each log file that a good digest lists."""
        listed = list(digest.logs)
        for at in range(0, len(listed), AT_ONCE):
            for finding in await asyncio.gather(*(self._log(digest, *log) for log in listed[at : at + AT_ONCE])):
                yield finding

    async def _log(self, digest: Digest, bucket: str, key: str) -> Finding:
        log = LogHash(limit=self._limit)
        try:
            async with self._logs.open(LogFile(bucket, key)) as stored:
                async for chunk in stored:
                    log.feed(chunk)
                    await asyncio.sleep(0)
            check_log(digest, bucket, key, log.finish())
        except LogTampered as error:
            return Finding(LOG, Status.INVALID, bucket, key, "hash", str(error))
        except LogMissing:
            return Finding(LOG, Status.MISSING, bucket, key, "not-found", f"{_last(digest.key)} lists it")
        except LogError as error:
            return Finding(LOG, Status.INVALID, bucket, key, "format", str(error))
        except LogStoreError as error:
            return Finding(LOG, Status.UNREADABLE, bucket, key, type(error).__name__, str(error))
        return Finding(LOG, Status.VALID, bucket, key)

    async def _unlisted(self, start: datetime, settled: datetime) -> AsyncIterator[Finding]:
        """Log files of a time that good digests cover, and that none of them lists."""
        for folder in log_folders(self._scope.base, self._scope.region, start, settled):
            for key in await self._digests.keys(self._scope.bucket, folder):
                name = log_name(key)
                if name is None or (self._scope.bucket, key) in self._listed:
                    continue
                if self._covers(name.time) and self._covers(name.time + AHEAD):
                    yield Finding(
                        LOG,
                        Status.UNLISTED,
                        self._scope.bucket,
                        key,
                        "unlisted",
                        "no digest of its time lists it: CloudTrail did not deliver it, or will list it in a backfill digest",
                    )

    def _covers(self, time: datetime) -> bool:
        return any(since <= time <= to for since, to in self._covered)


class _Walk:
    """Along one chain, backwards."""

    def __init__(self, report: Verification, names: dict[str, DigestName], start: datetime, settled: datetime) -> None:
        self._report = report
        self._left = dict(sorted(names.items(), key=lambda each: each[1].end))
        """Those that are there and were not looked at, the oldest first."""
        first = next(iter(names.values()))
        self._what = BACKFILL if first.backfill else DIGEST
        self._trail = first.trail
        self._start = start
        self._uncovered_to = settled
        self._cause = ("no-digest", "no digest tells of it")

    async def findings(self, bucket: str) -> AsyncIterator[Finding]:
        """Of all digests of the chain and their log files; the walk begins anew wherever it is broken."""
        while self._left:
            async for finding in self._unbroken(bucket, next(reversed(self._left))):
                yield finding
        for gap in self._gap(self._start):
            yield gap

    async def _unbroken(self, bucket: str, key: str) -> AsyncIterator[Finding]:
        after: Digest | None = None
        while True:
            self._left.pop(key, None)
            try:
                digest = await self._report.checked(bucket, key, after)
            except (DigestInvalid, DigestMissing, LogStoreError) as error:
                self._cause = ("bad-digest", "what should tell of it is missing or no good")
                yield self._bad(bucket, key, after, error)
                return
            for gap in self._gap(digest.end):
                yield gap
            self._uncovered_to = min(self._uncovered_to, digest.start)
            yield Finding(self._what, Status.VALID, bucket, key, start=digest.start, end=digest.end, trail=self._trail)
            async for finding in self._report.logs_of(digest):
                yield finding
            before = digest.previous
            if before is None:
                self._cause = ("chain-start", "validation was off until then: CloudTrail began a new chain")
                return
            self._cause = ("no-digest", "no digest tells of it")
            if digest.start <= self._start or self._report.has_seen(before.bucket, before.key):
                return
            bucket, key, after = before.bucket, before.key, digest

    def _bad(self, bucket: str, key: str, after: Digest | None, error: JibeError) -> Finding:
        if isinstance(error, DigestInvalid):
            status, reason = Status.INVALID, str(error.fault)
        elif isinstance(error, DigestMissing):
            status, reason = Status.MISSING, "not-found"
        else:
            status, reason = Status.UNREADABLE, type(error).__name__
        message = f"{_last(after.key)} names it" if after is not None and status is Status.MISSING else str(error)
        return Finding(self._what, status, bucket, key, reason, message, trail=self._trail)

    def _gap(self, since: datetime) -> Iterator[Finding]:
        """What is not covered between that time and all that was found so far. Backfills come now and then only."""
        since = max(since, self._start)
        if since < self._uncovered_to and self._what == DIGEST:
            yield _gap(since, self._uncovered_to, *self._cause, self._trail)
        self._uncovered_to = min(self._uncovered_to, since)


async def as_lines(findings: AsyncIterator[Finding], output: IO[str]) -> Summary:
    """One JSON object a line; the last is the summary."""
    summary = Summary()
    async for finding in findings:
        summary.add(finding)
        output.write(_json(msgspec.to_builtins(finding, builtin_types=(datetime,))))
    output.write(_json(summary.as_dict()))
    return summary


async def as_text(findings: AsyncIterator[Finding], output: IO[str], *, verbose: bool = False) -> Summary:
    """At most 80 columns: what is wrong, or with `verbose` everything, and what it comes to."""
    summary = Summary()
    told = False
    async for finding in findings:
        summary.add(finding)
        if verbose or finding.status is not Status.VALID:
            output.write(_text(finding))
            told = True
    output.write("\n" * told + summary.as_text() + "\n")
    return summary


def _gap(start: datetime, end: datetime, reason: str, message: str, trail: str) -> Finding:
    return Finding(GAP, Status.UNCOVERED, reason=reason, message=message, start=start, end=end, trail=trail)


def _text(finding: Finding) -> str:
    where = f"s3://{finding.bucket}/{finding.key}"
    if finding.what == GAP and finding.start and finding.end:
        of = f" of trail {finding.trail}" if finding.trail else ""
        title, below = f"GAP: {_clock(finding.start)} to {_clock(finding.end)}{of}", [finding.message]
    else:
        # A message for itself says what it is about; here that stands above it.
        title = f"{finding.what}: {_word(finding.status)}"
        below = [where, finding.message.removeprefix(where).lstrip(": ")]
    lines = textwrap.wrap(printable(title), WIDTH, subsequent_indent="    ")
    for part in below:
        lines += textwrap.wrap(
            printable(part), WIDTH, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False
        )
    return "".join(f"{line}\n" for line in lines)


def _word(status: Status) -> str:
    return status.value if status is Status.VALID else status.value.upper()


def _clock(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S}Z"


def _last(key: str) -> str:
    return key.rpartition("/")[2]


def _json(found: Any) -> str:
    return orjson.dumps(found, option=orjson.OPT_UTC_Z).decode() + "\n"
