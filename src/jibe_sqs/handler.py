"""One message's story, from top to bottom: what it announces, what that asks for, and whether it is done."""

import asyncio
from collections.abc import Callable, Sequence

import msgspec
import structlog

from jibe_sqs.core.announcements import IsLog, announcements
from jibe_sqs.core.decisions import Decisions, Plan
from jibe_sqs.core.errors import AnnouncementError, JibeError, LedgerError
from jibe_sqs.core.formats.limits import Limits
from jibe_sqs.core.formats.reader import LogReader
from jibe_sqs.core.model import Announcement, Folder, LogFile, Message, Nothing, Record, Verdict
from jibe_sqs.core.verdicts import RetryPolicy, verdict
from jibe_sqs.operations.tally import Tally
from jibe_sqs.ports import Ledger, LogStore
from jibe_sqs.refreshes import Refreshes

log = structlog.get_logger()


class Read(msgspec.Struct, frozen=True):
    """What was read for a message: a log file to its end, or the events in its body. Both ask for `folders`."""

    folders: list[Folder]
    file: LogFile | None = None
    etag: str = ""


class Handler:
    """Handles messages, any number at a time. Handling one twice harms nothing."""

    def __init__(
        self,
        *,
        is_log: IsLog,
        logs: LogStore,
        limits: Limits,
        decisions: Decisions,
        ledger: Ledger,
        refreshes: Refreshes,
        tally: Tally,
    ) -> None:
        self._is_log = is_log
        self._logs = logs
        self._limits = limits
        self._decisions = decisions
        self._ledger = ledger
        self._refreshes = refreshes
        self._tally = tally

    async def handle(self, message: Message, policy: RetryPolicy, has_read: Callable[[], None]) -> Verdict:
        """Do what the message asks for. `has_read` is called when from now on only refreshes are waited for."""
        try:
            reads = await self._read_all(announcements(message.body, self._is_log))
        except AnnouncementError as error:
            return self._verdict([error], message, policy)
        finally:
            has_read()
        finished = await asyncio.gather(*(self._finish(read) for read in reads if isinstance(read, Read)))
        errors = [read for read in reads if isinstance(read, JibeError)]
        return self._verdict([*errors, *(error for found in finished for error in found)], message, policy)

    async def _read_all(self, announced: Sequence[Announcement]) -> "list[Read | JibeError | None]":
        files = [each for each in announced if isinstance(each, LogFile)]
        # All come to their end, even if one meets a defect: nothing is read when we have said that reading is over.
        reads = await asyncio.gather(self._read_events(announced), *map(self._read, files), return_exceptions=True)
        found: list[Read | JibeError | None] = []
        for read in reads:
            if isinstance(read, BaseException) and not isinstance(read, JibeError):
                raise read
            found.append(read)
        return found

    async def _read(self, file: LogFile) -> Read | JibeError | None:
        """Read a log file to its end. None if that was done before."""
        try:
            if await self._is_finished(file):
                self._tally.files_known += 1
                log.debug("file_known", bucket=file.bucket, key=file.key)
                return None
            return await self._read_file(file)
        except JibeError as error:
            log.warning("file_failed", bucket=file.bucket, key=file.key, error=type(error).__name__, reason=str(error))
            return error

    async def _read_file(self, file: LogFile) -> Read:
        plan = Plan()
        parser = LogReader(file.key, self._limits)
        async with self._logs.open(file) as stored:
            async for chunk in stored:
                self._tally.bytes += len(chunk)
                for records in parser.feed(chunk):
                    self._plan(plan, records)
                    # A chunk may hold a hundred times its size: other messages have their turn in between.
                    await asyncio.sleep(0)
            for records in parser.finish():
                self._plan(plan, records)
        folders = await self._needed(plan)
        self._tally.files += 1
        log.debug("file_read", bucket=file.bucket, key=file.key, records=plan.records, events=plan.events)
        return Read(folders, file, stored.etag)

    async def _read_events(self, announced: Sequence[Announcement]) -> Read | None:
        """The events that stand in the message itself."""
        records = [each for each in announced if not isinstance(each, LogFile | Nothing)]
        if not records:
            return None
        plan = Plan()
        self._plan(plan, records)
        return Read(await self._needed(plan))

    def _plan(self, plan: Plan, records: Sequence[Record]) -> None:
        for record in records:
            plan.add(record, self._decisions.decide(record))

    async def _needed(self, plan: Plan) -> list[Folder]:
        try:
            watermarks = await self._ledger.watermarks(plan.stale) if plan.stale else {}
        except LedgerError as error:
            # Without them nothing is skipped: more refreshes, and nothing lost.
            log.warning("ledger_unreadable", reason=str(error))
            watermarks = {}
        needed = plan.needed(watermarks)
        self._tally.planned(plan)
        return needed

    async def _is_finished(self, file: LogFile) -> bool:
        try:
            return await self._ledger.is_finished(file)
        except LedgerError as error:
            log.warning("ledger_unreadable", reason=str(error))
            return False

    async def _finish(self, read: Read) -> list[JibeError]:
        """Have the folders refreshed, and only then call the file finished."""
        errors = await self._refreshes.done(read.folders)
        if not errors and read.file is not None:
            try:
                await self._ledger.finish(read.file, read.etag)
            except LedgerError as error:
                return [error]
        return errors

    def _verdict(self, errors: Sequence[JibeError], message: Message, policy: RetryPolicy) -> Verdict:
        self._tally.errors.update(type(error).__name__ for error in errors)
        return verdict(errors, message.receive_count, policy)
