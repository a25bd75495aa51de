"""One message's story, from top to bottom: what it announces, what that asks for, and whether it is done."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final, Self

import msgspec
import structlog

from jibe_sqs.core.announcements import announcements, combined, finding
from jibe_sqs.core.decisions import Decisions, Needed, Place, Plan, Seen
from jibe_sqs.core.errors import (
    AccessAnywhereError,
    AnnouncementError,
    BucketAppeared,
    BucketNotAllowed,
    JibeError,
    LogStoreUnavailable,
    RecordMalformed,
)
from jibe_sqs.core.formats.limits import Limits
from jibe_sqs.core.formats.reader import LogReader
from jibe_sqs.core.model import Change, Folder, LogFile, Message, Nothing, Record, Unreadable, Verdict
from jibe_sqs.core.sources import LogSource, Sources
from jibe_sqs.core.verdicts import RetryPolicy, verdict
from jibe_sqs.ports import Buckets, Ledger, LogStore, Signatures, Verifier
from jibe_sqs.syncing.changes import Changes
from jibe_sqs.syncing.refreshes import Refreshes
from jibe_sqs.telemetry import optional_ledger
from jibe_sqs.telemetry.activity import Activity
from jibe_sqs.telemetry.counters import Counters

log = structlog.get_logger()

_MESSAGE: Final = "message"
"""The source of what stands in a message itself."""


class Read(msgspec.Struct, frozen=True):
    """What was read for a message: a log file to its end, or the events in its body; and what that asks for."""

    needed: Needed
    changes: list[Change]
    principals: dict[str, Seen]
    unmapped: dict[str, Sequence[Place]]
    newest_unmapped: float
    file: LogFile | None = None
    etag: str = ""
    bad: RecordMalformed | None = None
    """Why the message must be rejected once everything else is done: the file has records that nobody can read."""

    @classmethod
    def of(
        cls,
        plan: Plan,
        needed: Needed,
        file: LogFile | None = None,
        etag: str = "",
        bad: RecordMalformed | None = None,
    ) -> Self:
        """What is to be kept of a plan until all is done; its counts, which may be many, are told by then."""
        return cls(needed, plan.changes, plan.principals, plan.unmapped, plan.newest_unmapped, file, etag, bad)


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
        counters: Counters,
        activity: Activity,
        changes: Changes | None = None,
        buckets: Buckets | None = None,
        verifiers: Mapping[LogSource, Verifier] | None = None,
        signatures: Signatures | None = None,
        read_timeout: float = 3600.0,
    ) -> None:
        """`changes`: where they are told object by object. `buckets`: where these are not all known from the start.

        `verifiers`: of the sources whose files are held against CloudTrail's digests. `signatures`: of the messages, where
        they are checked. `read_timeout`: seconds for one log file, however it trickles.
        """
        self._sources = sources
        self._logs = logs
        self._limits = limits
        self._decisions = decisions
        self._ledger = ledger
        self._refreshes = refreshes
        self._counters = counters
        self._activity = activity
        self._changes = changes
        self._buckets = buckets
        self._verifiers = verifiers or {}
        self._signatures = signatures
        self._read_timeout = read_timeout
        self._unreadable, self._unwritable = optional_ledger.unreadable(), optional_ledger.unwritable()
        self._in_hand: dict[tuple[str, str], tuple[LogFile, asyncio.Future[list[JibeError]]]] = {}

    async def handle(self, message: Message, policy: RetryPolicy, has_read: Callable[[], None]) -> Verdict:
        """Do what the message asks for. `has_read` is called when from now on only refreshes are waited for."""
        try:
            if self._signatures is not None and not message.ours:
                await self._signatures.check(message.body)
            read = finding if message.ours else announcements
            announced = read(message.body, self._sources, self._limits.key_length)
        except AnnouncementError as error:
            has_read()
            return self._verdict([error], message, policy, [_MESSAGE])
        self._counters.nothing.update(each.about for each in announced if isinstance(each, Nothing))
        records = [each for each in announced if not isinstance(each, LogFile | Nothing | Unreadable)]
        unreadable = [each for each in announced if isinstance(each, Unreadable)]
        files = [each for each in announced if isinstance(each, LogFile)]
        reading = _Countdown(len(files) + 1, has_read)
        # All come to their end, even if one meets a defect: nothing is read when we have said that reading is over.
        outcomes = await asyncio.gather(
            self._do_records(records, reading),
            *(self._do_file(file, reading) for file in files),
            return_exceptions=True,
        )
        errors: list[JibeError] = []
        sources: list[str] = []
        for source, outcome in zip([_MESSAGE, *map(_name, files)], outcomes, strict=True):
            if isinstance(outcome, BaseException):
                raise outcome
            errors += outcome
            sources += [source] * len(outcome)
        if unreadable:
            # Everything else in the message is done by now, so none of it is lost with the dead letter.
            errors.append(combined(unreadable))
            sources.append(_MESSAGE)
        return self._verdict(errors, message, policy, sources)

    async def _do_records(self, records: Sequence[Record], reading: "_Countdown") -> list[JibeError]:
        """The records that stand in the message itself."""
        try:
            read = await self._read_records(records) if records else None
        finally:
            reading.down()
        return await self._finish(read) if read else []

    async def _do_file(self, file: LogFile, reading: "_Countdown") -> list[JibeError]:
        """A log file, which may be in hand for another message: it is read once."""
        in_hand = self._in_hand.get((file.bucket, file.key))
        if in_hand is not None:
            reading.down()
            return await self._after(*in_hand, file)
        ours: asyncio.Future[list[JibeError]] = asyncio.get_running_loop().create_future()
        self._in_hand[file.bucket, file.key] = file, ours
        try:
            try:
                read = await self._read(file)
            finally:
                reading.down()
            errors = [read] if isinstance(read, JibeError) else await self._finish(read) if read else []
            ours.set_result(errors)
        finally:
            del self._in_hand[file.bucket, file.key]
            ours.cancel()
        return errors

    async def _after(self, other: LogFile, first: "asyncio.Future[list[JibeError]]", file: LogFile) -> list[JibeError]:
        await asyncio.wait([first])
        if not first.cancelled():
            errors = first.result()
            if errors and _may_be_one(file, other):
                return errors
            if not errors and await self._is_finished(file):
                self._counters.files_known += 1
                return []
        # Given up, or another version of it. Not read here: nothing is read when we have said that reading is over.
        return [
            LogStoreUnavailable(f"s3://{file.bucket}/{file.key}: was in hand for another message: to be read again")
        ]

    async def _read(self, file: LogFile) -> Read | JibeError | None:
        """Read a log file to its end. None if that was done before."""
        try:
            if await self._is_finished(file):
                self._counters.files_known += 1
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
        plan = Plan(by_object=self._changes is not None)
        reader = source.reader(file.key, self._limits)
        async with self._within_time(file), self._logs.open(file) as stored:
            async for chunk in stored:
                self._counters.bytes += len(chunk)
                for records in reader.feed(chunk):
                    self._plan(plan, records)
                    # A chunk may hold a hundred times its size: other messages have their turn in between.
                    await asyncio.sleep(0)
            for records in reader.finish():
                self._plan(plan, records)
        if verifier is not None:
            await verifier.verify(file, reader.sha256)
        needed = await self._needed(plan)
        self._counters.files += 1
        self._tell(file, reader, plan)
        return Read.of(plan, needed, file, stored.etag, reader.bad.rejection)

    @asynccontextmanager
    async def _within_time(self, file: LogFile) -> AsyncIterator[None]:
        """What never ends, byte by byte, would hold a reader's place for ever."""
        limit = asyncio.timeout(self._read_timeout)
        try:
            async with limit:
                yield
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise LogStoreUnavailable(
                f"{_name(file)}: not read to its end within {self._read_timeout:g} s (limits.read_seconds)"
            ) from error

    def _tell(self, file: LogFile, reader: LogReader, plan: Plan) -> None:
        found = {"bucket": file.bucket, "key": file.key, "format": reader.format}
        log.debug("file_read", **found, records=plan.records, events=plan.events)
        if reader.bad.count:
            self._counters.bad_records += reader.bad.count
            first = [
                {"reason": str(error), "index": error.index, "offset": error.offset, "field": error.field}
                for error in reader.bad.first
            ]
            event = "bad_records_skipped" if reader.bad.rejection is None else "bad_records_rejected"
            log.warning(event, **found, count=reader.bad.count, first=first)

    async def _read_records(self, records: Sequence[Record]) -> Read:
        plan = Plan(by_object=self._changes is not None)
        self._plan(plan, records)
        return Read.of(plan, await self._needed(plan))

    def _plan(self, plan: Plan, records: Sequence[Record]) -> None:
        for record in records:
            plan.add(record, self._decisions.decide(record))

    async def _needed(self, plan: Plan) -> Needed:
        watermarks: Mapping[Folder, float] = {}
        if folders := plan.folders:
            # Without them nothing is skipped: more refreshes, and nothing lost.
            with self._unreadable:
                watermarks = await self._ledger.watermarks(folders)
        needed = plan.needed(watermarks)
        self._counters.planned(plan, needed)
        self._activity.planned(plan, needed)
        return needed

    async def _is_finished(self, file: LogFile) -> bool:
        with self._unreadable:
            return await self._ledger.is_finished(file)
        return False

    async def _finish(self, read: Read) -> list[JibeError]:
        """Have done what it asks for, and only then call the file finished."""
        errors = await self._refreshes.done(read.needed.folders)
        if self._changes is not None:
            errors += await self._changes.done(read.changes)
        errors = errors or await self._uncertain(read)
        # A file with bad records does not count as finished: a message that is redriven has it read again.
        bad = [read.bad] if read.bad is not None else []
        if errors:
            return [*errors, *bad]
        if not bad:
            await self._remember(read)
        self._activity.done(read.needed.stale, read.changes)
        return [*bad]

    async def _uncertain(self, read: Read) -> list[JibeError]:
        """What was skipped as not mapped is done with once that is certain. Here, where no reader's place is held."""
        if self._buckets is None or not read.unmapped:
            return []
        try:
            if not await self._buckets.appeared(read.unmapped, read.newest_unmapped):
                return []
        except AccessAnywhereError as error:
            return [error]
        among = ", ".join(sorted(read.unmapped)[:5])
        return [BucketAppeared(f"one of these buckets is shown in Access Anywhere by now: to be read again: {among}")]

    async def _remember(self, read: Read) -> None:
        """A ledger that cannot is no failure of the message: all of it is done, and at worst will be done once more."""
        with self._unwritable:
            if read.file is not None:
                await self._ledger.finish(read.file, read.etag)
            # Only now: a file that is read once more would be counted twice.
            if read.principals:
                await self._ledger.observe(read.principals)

    def _verdict(
        self, errors: Sequence[JibeError], message: Message, policy: RetryPolicy, sources: Sequence[str]
    ) -> Verdict:
        self._counters.errors.update(type(error).__name__ for error in errors)
        return verdict(errors, message.receive_count, policy, sources)


def _name(file: LogFile) -> str:
    return f"s3://{file.bucket}/{file.key}"


def _may_be_one(file: LogFile, other: LogFile) -> bool:
    """Whether two of one name are one object; not every announcement tells its version or etag."""
    pairs = (file.version, other.version), (file.etag, other.etag)
    return all(None in pair or pair[0] == pair[1] for pair in pairs)


class _Countdown:
    """Calls `then` when everybody has counted down."""

    def __init__(self, parts: int, then: Callable[[], None]) -> None:
        self._parts = parts
        self._then = then

    def down(self) -> None:
        self._parts -= 1
        if not self._parts:
            self._then()
