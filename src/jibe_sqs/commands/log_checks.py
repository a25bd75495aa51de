"""Checks the log files that a digest lists."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from jibe_sqs.commands.findings import Finding, Status, Subject
from jibe_sqs.core.digest_checks import LogHash, check_log
from jibe_sqs.core.digests import Digest
from jibe_sqs.core.errors import LogBucketMissing, LogError, LogMissing, LogStoreError, LogTampered
from jibe_sqs.core.model import LogFile
from jibe_sqs.ports import LogStore

MAX_LOG_SIZE: Final = 2 * 1024**3
"""Bytes of decompressed text. Real log files have at most 50 MB as stored, and expand about tenfold."""
MAX_CONCURRENT_READS: Final = 8


class LogChecks:
    """Compares the hashes of log files with those in a digest."""

    def __init__(self, logs: LogStore, *, max_size: int = MAX_LOG_SIZE) -> None:
        """`max_size`: bytes of decompressed text of one log file."""
        self._logs = logs
        self._max_size = max_size

    async def listed_in(self, digest: Digest) -> AsyncIterator[Finding]:
        """A finding for each log file that a valid digest lists."""
        listed = list(digest.logs)
        for first in range(0, len(listed), MAX_CONCURRENT_READS):
            batch = listed[first : first + MAX_CONCURRENT_READS]
            for finding in await asyncio.gather(*(self._check(digest, *log) for log in batch)):
                yield finding

    async def _check(self, digest: Digest, bucket: str, key: str) -> Finding:
        text = LogHash(limit=self._max_size)
        try:
            async with self._logs.open(LogFile(bucket, key)) as log:
                async for chunk in log:
                    text.feed(chunk)
                    await asyncio.sleep(0)
            check_log(digest, bucket, key, text.finish())
        except LogTampered as error:
            return Finding(Subject.LOG, Status.INVALID, bucket, key, "hash", str(error))
        except (LogMissing, LogBucketMissing):
            message = f"{digest.key.rpartition('/')[2]} lists it"
            return Finding(Subject.LOG, Status.MISSING, bucket, key, "not-found", message)
        except LogError as error:
            return Finding(Subject.LOG, Status.INVALID, bucket, key, "format", str(error))
        except LogStoreError as error:
            return Finding(Subject.LOG, Status.UNREADABLE, bucket, key, type(error).__name__, str(error))
        return Finding(Subject.LOG, Status.VALID, bucket, key)
