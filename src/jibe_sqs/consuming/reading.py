"""Reading: from a message to what it announces, and from a log file to what it asks for."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Self

import msgspec
import structlog

from jibe_sqs.concurrency.deadlines import Deadlines
from jibe_sqs.consuming.bucket_outages import BucketOutages
from jibe_sqs.consuming.room import InHand, PlanRoom
from jibe_sqs.core.announcements import announcements, combined, swept_announcements
from jibe_sqs.core.decisions import Decisions, Place
from jibe_sqs.core.errors import (
    AnnouncementError,
    BucketNotAllowed,
    JibeError,
    LogBucketDown,
    LogMissing,
    LogStoreUnavailable,
    RecordMalformed,
    without_frames,
)
from jibe_sqs.core.formats.format import Format
from jibe_sqs.core.formats.limits import Limits
from jibe_sqs.core.formats.reader import LogReader
from jibe_sqs.core.history import FileRead, file_read
from jibe_sqs.core.model import Change, Folder, LogFile, Message, Nothing, Record, Unreadable
from jibe_sqs.core.plan import Plan, SkippedChanges
from jibe_sqs.core.principals import KeptPrincipals, Seen
from jibe_sqs.core.sources import LogSource, Sources
from jibe_sqs.core.stale_folders import Needed
from jibe_sqs.ports import Gate, LogStore, Signatures, Verifier
from jibe_sqs.telemetry import logs
from jibe_sqs.telemetry.activity import Activity
from jibe_sqs.telemetry.costs import EventCosts
from jibe_sqs.telemetry.counters import Counters
from jibe_sqs.telemetry.optional_ledger import OptionalLedger
from jibe_sqs.telemetry.skip_warnings import SkipWarnings
from jibe_sqs.telemetry.tracing import Tracer

log = structlog.get_logger()


class Read(msgspec.Struct, frozen=True):
    """What one log file, or the records in one message body, ask for."""

    needed: Needed
    changes: list[Change]
    principals: dict[str, Seen]
    unmapped: dict[str, Sequence[Place]]
    unmapped_changes: dict[str, SkippedChanges]
    newest_unmapped: float
    rules: int
    """The rules that decided; see `Reading.rules`."""
    file: LogFile | None = None
    """None for the records in a message body."""
    etag: str = ""
    history: FileRead | None = None
    """What is remembered for operators. None if there is nothing of interest."""
    bad: RecordMalformed | None = None
    """The file has unreadable records, and its source's policy is to reject the message once all else is done."""

    @classmethod
    def of(
        cls,
        plan: Plan,
        needed: Needed,
        rules: int,
        file: LogFile | None = None,
        etag: str = "",
        bad: RecordMalformed | None = None,
    ) -> Self:
        """Keep what is needed of a plan until everything is done. Its counters, which may be many, are not kept."""
        return cls(
            needed,
            plan.changes,
            plan.principals,
            plan.unmapped,
            plan.unmapped_changes,
            plan.newest_unmapped,
            rules,
            file,
            etag,
            file_read(plan, str(file) if file else ""),
            bad,
        )


class Asked(msgspec.Struct, frozen=True):
    """What a message asks for: its log files, and what its own records ask for."""

    files: list[LogFile]
    unreadable: AnnouncementError | None = None
    """All records of the message that cannot be read. It rejects the message when all else is done."""
    read: Read | None = None


class Reading:
    """Reads messages and log files, any number at a time."""

    def __init__(
        self,
        *,
        sources: Sources,
        logs: LogStore,
        limits: Limits,
        decisions: Decisions,
        ledger: OptionalLedger,
        counters: Counters,
        activity: Activity,
        skip_warnings: SkipWarnings,
        outages: BucketOutages,
        costs: EventCosts,
        gate: Gate | None = None,
        by_object: bool = False,
        principals: KeptPrincipals = "writers",
        verifiers: Mapping[LogSource, Verifier] | None = None,
        signatures: Signatures | None = None,
        timeout: float = 3600.0,
        came: Callable[[LogSource], None] | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        """`by_object`: collect each change, not only its folder. `principals`: which of them are kept.

        `verifiers`: of the sources whose files are checked against CloudTrail's digests. `signatures`: checks who sent
        the messages. `timeout`: seconds for one log file. `came` is called for each log file of a source that is
        announced or found. `gate`: no log file is opened while it is closed.
        """
        self._sources = sources
        self._logs = logs
        self._limits = limits
        self._decisions = decisions
        self._ledger = ledger
        self._counters = counters
        self._activity = activity
        self._skip_warnings = skip_warnings
        self._outages = outages
        self._costs = costs
        self._gate = gate
        self._by_object = by_object
        self._principals = principals
        self._verifiers = verifiers or {}
        self._signatures = signatures
        self._timeout = timeout
        self._deadlines = Deadlines(timeout)
        self._came = came
        self._tracer = tracer
        self.rules = 0
        """How often the rules have changed. A file that was decided under other rules than these must not count as finished."""

    def change_limits(self, limits: Limits, timeout: float) -> None:
        """Read with these limits from the next file on. `timeout`: seconds for one log file."""
        self._limits = limits
        self._timeout = timeout
        self._deadlines = Deadlines(timeout)

    def rules_changed(self) -> None:
        """The decisions, or limits that decide, are others from now on. So are those on the rest of a file that is being read."""
        self.rules += 1

    async def message(self, message: Message, in_hand: InHand) -> Asked:
        """Return what the message asks for. Raises `AnnouncementError`."""
        if self._signatures is not None and not message.ours:
            await self._signatures.check(message.body)
        files, plan, unreadable = self._announced(message, in_hand)
        if plan is None:
            return Asked(files, unreadable)
        self._costs.announced(plan)
        rules = self.rules
        return Asked(files, unreadable, Read.of(plan, await self._needed(plan), rules))

    def _announced(
        self, message: Message, in_hand: InHand
    ) -> tuple[list[LogFile], Plan | None, AnnouncementError | None]:
        """The log files, the plan of all records, and one error for all unreadable ones.

        The announcements take up to a hundred times as much memory as the body, so they are gone when this returns.
        """
        read = swept_announcements if message.ours else announcements
        files: dict[tuple[str, str, str | None], LogFile] = {}
        unreadable: list[Unreadable] = []
        plan: Plan | None = None
        room = in_hand.plan()
        for each in read(message.body, self._sources, self._limits.key_length):
            match each:
                case LogFile():
                    # One object that is announced twice is read once, whichever of its announcements has the right ETag.
                    files[each.bucket, each.key, each.version] = each
                case Nothing():
                    self._counters.nothing[each.about] += 1
                case Unreadable():
                    unreadable.append(each)
                case _:
                    if plan is None:
                        plan = self._new_plan(room)
                    self._add(plan, [each])
        if plan is not None:
            room.resize(plan.size)
        return list(files.values()), plan, combined(unreadable) if unreadable else None

    async def file(
        self, file: LogFile, place: AbstractContextManager[None], in_hand: InHand
    ) -> Read | JibeError | None:
        """Read a log file to its end. Returns None if that was done before, or the error that prevents it.

        While its bucket is in an outage, the file waits. `place`: the message's place in the reading budget. It is left
        when the file is read, or has to wait.
        """
        source = self._sources.of(file.bucket, file.key)
        if self._came is not None and source is not None:
            self._came(source)
        with place:
            if await self._ledger.is_finished(file):
                self._counters.files_known += 1
                if logs.are_verbose():
                    log.debug("file_known", bucket=file.bucket, key=file.key)
                return None
            if self._outages.may_try(file.bucket):
                read = await self._tried(file, source, in_hand)
                if not self._outages.must_wait(file, read):
                    return read
        try:
            with self._outages.waiting(file, in_hand):
                while True:
                    async with self._outages.turn(file.bucket), in_hand.reading_again():
                        read = await self._tried(file, source, in_hand)
                    if not self._outages.must_wait(file, read):
                        return read
        except LogBucketDown as error:
            return error

    def following(self, file: LogFile, in_hand: InHand) -> AbstractContextManager[None]:
        """Count a message that waits until another one has read the file. Raises `LogBucketDown` if too many wait."""
        return self._outages.following(file, in_hand)

    async def _tried(self, file: LogFile, source: LogSource | None, in_hand: InHand) -> Read | JibeError:
        if self._gate is not None and self._gate.reason:
            # The file may have to be read through Access Anywhere. Its time limit begins afterwards.
            await self._gate.passable()
        await in_hand.begin_file()
        try:
            return await self._file(file, source, in_hand)
        except JibeError as error:
            return self._failed(file, error)
        finally:
            in_hand.end_file()

    @staticmethod
    def _failed(file: LogFile, error: JibeError) -> JibeError:
        log.warning("file_failed", bucket=file.bucket, key=file.key, error=type(error).__name__, reason=str(error))
        return without_frames(error)

    async def _file(self, file: LogFile, source: LogSource | None, in_hand: InHand) -> Read:
        if source is None:
            raise BucketNotAllowed.of(file.bucket, file.key)
        rules = self.rules
        room = in_hand.plan()
        plan = self._new_plan(room)
        reader = source.reader(file.key, self._limits, readers=self._principals == "readers")
        now = asyncio.get_running_loop().time
        began = now()
        try:
            etag = await self._read(file, reader, plan, room)
            self._counters.stages.read.add(now() - began)
            if (verifier := self._verifiers.get(source)) is not None:
                await verifier.verify(file, reader.sha256)
            needed = await self._needed(plan)
        except BaseException:
            room.resize(0)
            raise
        room.resize(plan.size)
        self._counters.files += 1
        self._costs.read(file, plan, prefix=source.prefix, is_trail=reader.format is Format.CLOUDTRAIL)
        self._report(file, reader, plan)
        return Read.of(plan, needed, rules, file, etag, reader.bad.rejection)

    async def _read(self, file: LogFile, reader: LogReader, plan: Plan, room: PlanRoom) -> str:
        """Add all records of the file to the plan. Returns its ETag, and reports to the outages whether its bucket answers."""
        is_open = False
        # A file that trickles in byte by byte would otherwise keep its place in the reading budget for ever.
        limit = self._deadlines.block()
        try:
            with limit:
                async with self._logs.open(file) as stored:
                    is_open = True
                    self._outages.answered(file.bucket)
                    async for chunk in stored:
                        self._counters.bytes += len(chunk)
                        for records in reader.feed(chunk):
                            if plan.records:
                                # A chunk may decompress to a hundred times its size. Let other messages run in between.
                                await asyncio.sleep(0)
                            self._add(plan, records)
                            del (
                                records
                            )  # up to a hundred times as large as their text, and other files are read meanwhile
                            room.resize(plan.size)
                    for records in reader.finish():
                        self._add(plan, records)
                    if self._tracer is not None:
                        self._tracer.parsed(reader.format or "", plan.records, plan.events)
                    return stored.etag
        except TimeoutError as error:
            if not limit.is_expired:
                raise
            raise LogStoreUnavailable(
                f"{file}: not read to its end within {self._timeout:g} s (limits.read_seconds)"
            ) from error
        except JibeError as error:
            if isinstance(error, LogMissing):
                self._outages.answered(file.bucket)
            elif not is_open:
                self._outages.failed(file, error)
            raise

    def _new_plan(self, room: PlanRoom) -> Plan:
        return Plan(by_object=self._by_object, room=room.limit, principals=self._principals)

    def _add(self, plan: Plan, records: Sequence[Record]) -> None:
        for record in records:
            plan.add(record, self._decisions.decide(record))

    async def _needed(self, plan: Plan) -> Needed:
        """The part of the plan that no refresh has covered yet."""
        folders = plan.folders
        watermarks: Mapping[Folder, float] = await self._ledger.watermarks(folders) if folders else {}
        needed = plan.needed(watermarks)
        self._counters.planned(plan, needed)
        self._activity.planned(plan, needed)
        self._skip_warnings.recognised_as_own(plan.own_writes)
        return needed

    def _report(self, file: LogFile, reader: LogReader, plan: Plan) -> None:
        if not (plan.coarsened or reader.bad.count or logs.are_verbose()):
            return
        about = {"bucket": file.bucket, "key": file.key, "format": reader.format}
        log.debug("file_read", **about, records=plan.records, events=plan.events)
        if plan.coarsened:
            self._counters.coarsened += 1
            log.info(
                "plan_coarsened",
                **about,
                trees=plan.coarsened,
                consequence="it names more folders than limits.plan_size allows, so whole trees are refreshed instead",
            )
        if reader.bad.count:
            self._counters.bad_records += reader.bad.count
            first = [
                {"reason": str(error), "index": error.index, "offset": error.offset, "field": error.field}
                for error in reader.bad.first
            ]
            event = "bad_records_skipped" if reader.bad.rejection is None else "bad_records_rejected"
            log.warning(event, **about, count=reader.bad.count, first=first)
