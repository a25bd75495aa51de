"""One message's story, from top to bottom: what it announces, what that asks for, and whether it is done."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

import msgspec
import structlog

from jibe_sqs.core.announcements import announcements
from jibe_sqs.core.decisions import Decisions, Plan, Seen
from jibe_sqs.core.errors import AnnouncementError, BucketNotAllowed, JibeError, LedgerError
from jibe_sqs.core.formats.limits import Limits
from jibe_sqs.core.formats.reader import LogReader
from jibe_sqs.core.model import Announcement, Folder, LogFile, Message, Nothing, Record, Verdict
from jibe_sqs.core.sources import LogSource, Sources
from jibe_sqs.core.verdicts import RetryPolicy, verdict
from jibe_sqs.operations.tally import Tally
from jibe_sqs.ports import Ledger, LogStore, Verifier
from jibe_sqs.refreshes import Refreshes

log = structlog.get_logger()


class Read(msgspec.Struct, frozen=True):
    """What was read for a message: a log file to its end, or the events in its body. Both ask for `folders`."""

    folders: list[Folder]
    principals: dict[str, Seen]
    file: LogFile | None = None
    etag: str = ""


class Handler:
    """Handles messages, any number at a time. Handling one twice harms nothing."""

    def __init__(
        self,
        *,
        sources: Sources,
        logs: LogStore,
        limits: Limits,
        decisions: Decisions,
        ledger: Ledger,
        refreshes: Refreshes,
        tally: Tally,
        verifiers: Mapping[LogSource, Verifier] | None = None,
    ) -> None:
        """`verifiers`: of the sources whose files are held against CloudTrail's digests."""
        self._sources = sources
        self._logs = logs
        self._limits = limits
        self._decisions = decisions
        self._ledger = ledger
        self._refreshes = refreshes
        self._tally = tally
        self._verifiers = verifiers or {}

    async def handle(self, message: Message, policy: RetryPolicy, has_read: Callable[[], None]) -> Verdict:
        """Do what the message asks for. `has_read` is called when from now on only refreshes are waited for."""
        try:
            reads = await self._read_all(announcements(message.body, self._sources))
        except AnnouncementError as error:
            return self._verdict([error], message, policy)
        finally:
            has_read()
        finished = await asyncio.gather(*(self._finish(read) for read in reads if isinstance(read, Read)))
        errors = [read for read in reads if isinstance(read, JibeError)]
        return self._verdict([*errors, *(error for found in finished for error in found)], message, policy)

    async def _read_all(self, announced: Sequence[Announcement]) -> "list[Read | JibeError | None]":
        self._tally.nothing.update(each.about for each in announced if isinstance(each, Nothing))
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
        source = self._sources.of(file.bucket, file.key)
        if source is None:
            raise BucketNotAllowed.of(file.bucket, file.key)
        verifier = self._verifiers.get(source)
        plan = Plan()
        reader = LogReader(
            file.key,
            self._limits,
            configured=source.format,
            on_bad_record=source.on_bad_record,
            hashed=verifier is not None,
        )
        async with self._logs.open(file) as stored:
            async for chunk in stored:
                self._tally.bytes += len(chunk)
                for records in reader.feed(chunk):
                    self._plan(plan, records)
                    # A chunk may hold a hundred times its size: other messages have their turn in between.
                    await asyncio.sleep(0)
            for records in reader.finish():
                self._plan(plan, records)
        if verifier is not None:
            await verifier.verify(file, reader.sha256)
        folders = await self._needed(plan)
        self._tally.files += 1
        self._tell(file, reader, plan)
        return Read(folders, plan.principals, file, stored.etag)

    def _tell(self, file: LogFile, reader: LogReader, plan: Plan) -> None:
        found = {"bucket": file.bucket, "key": file.key, "format": reader.format}
        log.debug("file_read", **found, records=plan.records, events=plan.events)
        if reader.bad.count:
            self._tally.bad_records += reader.bad.count
            first = [{"reason": str(error), "offset": error.offset} for error in reader.bad.first]
            log.warning("bad_records_skipped", **found, count=reader.bad.count, first=first)

    async def _read_events(self, announced: Sequence[Announcement]) -> Read | None:
        """The events that stand in the message itself."""
        records = [each for each in announced if not isinstance(each, LogFile | Nothing)]
        if not records:
            return None
        plan = Plan()
        self._plan(plan, records)
        return Read(await self._needed(plan), plan.principals)

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
        if errors:
            return errors
        if read.file is not None:
            try:
                await self._ledger.finish(read.file, read.etag)
            except LedgerError as error:
                return [error]
        # Only now: a file that is read once more would be counted twice.
        await self._observe(read)
        return []

    async def _observe(self, read: Read) -> None:
        """Who changed things is worth knowing, and no reason to try again."""
        if read.principals:
            try:
                await self._ledger.observe(read.principals)
            except LedgerError as error:
                log.warning("ledger_unwritable", reason=str(error))

    def _verdict(self, errors: Sequence[JibeError], message: Message, policy: RetryPolicy) -> Verdict:
        self._tally.errors.update(type(error).__name__ for error in errors)
        return verdict(errors, message.receive_count, policy)
