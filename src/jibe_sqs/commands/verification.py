"""Checks that the log files in a bucket are exactly those that CloudTrail delivered.

Every chain of digests is walked backwards, and the log files in each valid digest are compared with their hashes. Then
the existing log files are compared with the lists in the digests: a file that was added is in none of them.
"""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from jibe_sqs.commands.digest_chains import ChainWalk, DigestChecks, DigestStore, KeyStore
from jibe_sqs.commands.findings import Finding, Status, Subject
from jibe_sqs.commands.log_checks import LogChecks
from jibe_sqs.core.digest_names import DigestName, digest_folders, digest_name, log_folders, log_name
from jibe_sqs.ports import LogStore

MAX_DIGEST_DELAY: Final = timedelta(hours=2)
"""The digest of an older log file exists. For a newer one, it may still be to come."""
MAX_DIGEST_SPAN: Final = timedelta(hours=1)
"""A digest ends at most this long after the first log file that it lists."""

Chain = tuple[str, str, str, str, bool]
"""The parts of a name that all digests of a chain have in common. The last part says whether they are backfills."""


class Scope(msgspec.Struct, frozen=True):
    """Which logs are verified. `prefix`: the trail's prefix, without a slash at its end."""

    bucket: str
    account: str
    region: str
    prefix: str = ""
    organization: str = ""
    trail: str = ""
    """Only the digests of this trail are used. Unlisted log files are then not reported: they may be of another trail."""

    @property
    def base(self) -> str:
        """The beginning of all keys."""
        parts = (self.prefix.rstrip("/"), "AWSLogs", self.organization, self.account)
        return "".join(f"{part}/" for part in parts if part)


class Verification:
    """One verification of the logs of one bucket, account and region."""

    def __init__(self, *, digests: DigestStore, keys: KeyStore, logs: LogStore, scope: Scope, now: datetime) -> None:
        """`now`: recent log files have no digest yet. The time before it, up to `MAX_DIGEST_DELAY`, is not a gap."""
        self._store = digests
        self._digests = DigestChecks(digests, keys)
        self._logs = LogChecks(logs)
        self._scope = scope
        self._now = now

    async def findings(self, start: datetime, end: datetime) -> AsyncIterator[Finding]:
        """The findings of a time range, chain by chain. Raises `LogStoreError` and `KeysUnavailable`."""
        start, end = start.astimezone(UTC), min(end.astimezone(UTC), self._now)
        complete_until = min(end, self._now - MAX_DIGEST_DELAY)
        chains = await self._chains(start, end)
        # Backfills come last.
        for chain in sorted(chains, key=lambda each: (each[-1], each)):
            walk = ChainWalk(chains[chain], digests=self._digests, logs=self._logs, start=start, end=complete_until)
            async for finding in walk.findings(self._scope.bucket):
                yield finding
        if all(chain[-1] for chain in chains) and start < complete_until:
            yield Finding.gap(
                start, complete_until, reason="no-digests", message="there are no digests", trail=self._scope.trail
            )
        if not self._scope.trail:
            async for finding in self._unlisted(start, complete_until):
                yield finding

    async def _chains(self, start: datetime, end: datetime) -> dict[Chain, dict[str, DigestName]]:
        chains: dict[Chain, dict[str, DigestName]] = {}
        latest = end + MAX_DIGEST_SPAN
        for folder in digest_folders(self._scope.base, self._scope.region, start, latest):
            for key in await self._store.keys(self._scope.bucket, folder):
                name = digest_name(key)
                if name is None or not start <= name.end <= latest:
                    continue
                if self._scope.trail in ("", name.trail):
                    chains.setdefault(name.chain, {})[key] = name
        return chains

    async def _unlisted(self, start: datetime, end: datetime) -> AsyncIterator[Finding]:
        """Log files that no valid digest lists, though valid digests cover their time."""
        bucket = self._scope.bucket
        for folder in log_folders(self._scope.base, self._scope.region, start, end):
            for key in await self._store.keys(bucket, folder):
                name = log_name(key)
                if name is None or self._digests.is_listed(bucket, key):
                    continue
                if self._digests.is_covered(name.time) and self._digests.is_covered(name.time + MAX_DIGEST_SPAN):
                    message = "no digest of its time lists it: CloudTrail did not deliver it, or will list it in a backfill digest"
                    yield Finding(Subject.LOG, Status.UNLISTED, bucket, key, "unlisted", message)
