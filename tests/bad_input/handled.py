"""What the handler makes of a case, with everything around it in memory."""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final

import msgspec
from structlog.testing import capture_logs

from jibe_sqs.adapters.clock import S3Clock
from jibe_sqs.adapters.ledgers.memory import MemoryLedger
from jibe_sqs.consuming.handler import Handler
from jibe_sqs.core.decisions import Decisions, Place
from jibe_sqs.core.errors import LogMissing
from jibe_sqs.core.model import Done, Folder, LogFile, Message, Reject, Retry, Verdict
from jibe_sqs.core.sources import LogSource, Sources
from jibe_sqs.core.verdicts import RetryPolicy
from jibe_sqs.syncing.refreshes import Refreshes
from jibe_sqs.telemetry.activity import Activity
from jibe_sqs.telemetry.counters import Counters

from .cases import DATA, DONE, FOLDER, LIMITS, LOGS, REJECT, RETRY, End

CHUNK: Final = 64 * 1024


class Outcome(End):
    """What became of a message. `reason`, of one that is done: what was found, and what done about it."""


async def handled(body: str, files: Mapping[str, bytes]) -> Outcome:
    """`files`: what is in the bucket of log files."""
    counters, target, ledger, clock = Counters(), _Target(), MemoryLedger(), S3Clock()
    refreshes = Refreshes(target=target, ledger=ledger, clock=clock)
    handler = Handler(
        sources=Sources([LogSource(LOGS)]),
        logs=_Logs({(LOGS, key): data for key, data in files.items()}),
        limits=LIMITS,
        decisions=Decisions({DATA: (Place(FOLDER),)}),
        ledger=ledger,
        refreshes=refreshes,
        counters=counters,
        activity=Activity(),
    )
    try:
        with capture_logs() as logged:
            verdict = await handler.handle(Message("id", "receipt", body), RetryPolicy(), lambda: None)
    finally:
        await refreshes.stop()
    bad = [line for line in logged if line["event"] == "bad_records_skipped"]
    return _outcome(verdict, lambda: _found(counters, target, bad))


def _outcome(verdict: Verdict, found: Callable[[], str]) -> Outcome:
    match verdict:
        case Done():
            return Outcome(DONE, "", found())
        case Retry(_, reason):
            return Outcome(RETRY, reason.partition(":")[0], reason)
        case Reject(error, reason):
            return Outcome(REJECT, error, reason)


def _found(counters: Counters, target: "_Target", bad: list) -> str:
    found = []
    for line in bad:
        records = "1 bad record" if line["count"] == 1 else f"{line['count']} bad records"
        found.append(f"{records} skipped: {line['first'][0]['reason']}")
    if counters.nothing:
        found.append(f"nothing to do: {', '.join(counters.nothing)}")
    if counters.skipped:
        found.append("skipped: " + ", ".join(f"{reason} {count}" for reason, count in counters.skipped.items()))
    if target.refreshed:
        found.append("refreshed: " + ", ".join(map(str, sorted(target.refreshed))))
    return "; ".join(found) or "nothing in it"


class _Target:
    """The `SyncTarget` port: every refresh goes well."""

    def __init__(self) -> None:
        self.refreshed: Counter[Folder] = Counter()

    async def refresh(self, folder: Folder, began: Callable[[], None]) -> None:
        began()
        self.refreshed[folder] += 1


class _Log(msgspec.Struct):
    data: bytes
    etag: str = "etag"
    size: int = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for at in range(0, len(self.data), CHUNK):
            yield self.data[at : at + CHUNK]


class _Logs:
    """The `LogStore` port."""

    def __init__(self, files: dict[tuple[str, str], bytes]) -> None:
        self._files = files

    @asynccontextmanager
    async def open(self, file: LogFile) -> AsyncIterator[_Log]:
        if (data := self._files.get((file.bucket, file.key))) is None:
            raise LogMissing(f"s3://{file.bucket}/{file.key}: there is no such object")
        yield _Log(data, size=len(data))
