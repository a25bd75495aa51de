"""One message from its announcements to its verdict."""

import asyncio
import math
from collections import deque
from collections.abc import Coroutine, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final

from jibe_sqs.consuming.held_refreshes import HeldRefreshes
from jibe_sqs.consuming.reading import Read, Reading
from jibe_sqs.consuming.room import ANNOUNCED, FILE, InHand
from jibe_sqs.core.errors import (
    AccessAnywhereError,
    AnnouncementError,
    BucketAppeared,
    JibeError,
    LogBucketDown,
    LogStoreUnavailable,
    RefreshPaused,
)
from jibe_sqs.core.model import Done, LogFile, Message, Verdict
from jibe_sqs.core.verdicts import RetryPolicy, verdict
from jibe_sqs.ports import Buckets
from jibe_sqs.telemetry.activity import Activity
from jibe_sqs.telemetry.audit import Audit
from jibe_sqs.telemetry.counters import Counters
from jibe_sqs.telemetry.optional_ledger import OptionalLedger
from jibe_sqs.telemetry.principals import SeenPrincipals
from jibe_sqs.telemetry.skip_warnings import SkipWarnings

FILES_AT_ONCE: Final = 16
"""Log files of one message that are read at the same time."""
MAX_ERRORS: Final = 20
"""Errors of one class that are kept for the verdict on a message. The others are only counted."""
_TRANSIENT: Final = (LogStoreUnavailable, LogBucketDown, RefreshPaused)
"""Errors of another message that reading the file again may not have."""
_MESSAGE: Final = "message"
"""The source of an error that concerns the message body, not a log file."""


class Handler:
    """Handles messages, any number at a time. Handling one twice is harmless."""

    def __init__(
        self,
        *,
        reading: Reading,
        refreshes: HeldRefreshes,
        ledger: OptionalLedger,
        counters: Counters,
        activity: Activity,
        skip_warnings: SkipWarnings,
        principals: SeenPrincipals,
        buckets: Buckets | None = None,
        audit: Audit | None = None,
    ) -> None:
        """`buckets`: given if buckets are discovered. `audit` learns of log files that are done."""
        self._reading = reading
        self._refreshes = refreshes
        self._ledger = ledger
        self._counters = counters
        self._activity = activity
        self._skip_warnings = skip_warnings
        self._principals = principals
        self._buckets = buckets
        self._audit = audit
        self._in_hand: dict[tuple[str, str], _FileInHand] = {}

    async def handle(self, message: Message, policy: RetryPolicy, in_hand: InHand) -> Verdict:
        """Do what the message asks for. Its place in the reading budget is left when everything has been read."""
        errors = _Errors()
        with in_hand.place.part():
            try:
                asked = await self._reading.message(message, in_hand)
            except AnnouncementError as error:
                errors.add(error)
                return self._verdict(errors, in_hand, policy)
            jobs = []
            if asked.read:
                in_hand.on_events()
                jobs.append(self._do_records(asked.read, in_hand, errors))
            if len(asked.files) == 1:
                jobs.append(self._do_file(1, asked.files[0], in_hand.place.part(), in_hand, errors))
            elif asked.files:
                jobs.append(self._do_files(deque(asked.files), in_hand.place.part(), in_hand, errors))
            unreadable = asked.unreadable
        # From here on, the message may wait for hours, so it keeps as little as possible.
        del asked
        await _all(jobs)
        if unreadable is not None:
            # Everything else in the message is done now, so the dead letter loses none of it.
            errors.add(unreadable, at=math.inf)
        return self._verdict(errors, in_hand, policy)

    async def _do_records(self, read: Read, in_hand: InHand, errors: "_Errors") -> None:
        """The records in the message body."""
        for error in await self._finish(read, in_hand):
            errors.add(error)

    async def _do_file(
        self, at: int, file: LogFile, place: AbstractContextManager[None], in_hand: InHand, errors: "_Errors"
    ) -> None:
        """The log file at this position in the message. `place`: see `Reading.file`."""
        with in_hand.part(FILE):
            for error in await self._outcome(file, place, in_hand):
                errors.add(error, str(file), at)

    async def _do_files(
        self, files: "deque[LogFile]", place: AbstractContextManager[None], in_hand: InHand, errors: "_Errors"
    ) -> None:
        """Several log files that a message announces, some of them at a time. `place`: it is held while files can begin."""
        count = len(files)
        turns = asyncio.Semaphore(FILES_AT_ONCE)
        running = 0
        ended = asyncio.Event()
        defects: list[Exception] = []

        async def do(at: int, file: LogFile, turn: AbstractContextManager[None]) -> None:
            nonlocal running
            running += 1
            try:
                await self._do_file(at, file, turn, in_hand, errors)
            except Exception as defect:  # noqa: BLE001 - raised below, after the other files
                defects.append(defect)
            finally:
                running -= 1
                ended.set()

        async def begin(group: asyncio.TaskGroup) -> None:
            """Begin files until there are no more, or no bytes for more."""
            while files:
                await turns.acquire()
                if running and not in_hand.may_read_more:
                    turns.release()
                    return
                turn = _Turn(in_hand.place.part(), turns)
                group.create_task(do(count - len(files) + 1, files.popleft(), turn))

        async with asyncio.TaskGroup() as group:
            with in_hand.part(ANNOUNCED * count):
                with place:
                    await begin(group)
                while files:
                    # The files that have begun may wait for hours, for a bucket or for refreshes.
                    while running and not in_hand.may_read_more:
                        ended.clear()
                        await ended.wait()
                    with await in_hand.place_again():
                        await begin(group)
        if defects:
            raise defects[0]

    async def _outcome(self, file: LogFile, place: AbstractContextManager[None], in_hand: InHand) -> list[JibeError]:
        """The errors of a log file. If another message has it in hand, this one waits for the outcome there."""
        name = (file.bucket, file.key)
        while (theirs := self._in_hand.get(name)) is not None:
            with place:
                outcome = theirs.outcome
            try:
                with self._reading.following(file, in_hand):
                    errors = await self._after(theirs.file, outcome, file)
            except LogBucketDown as error:
                return [self._refreshes.outlasting(error)]
            # If a message in its last receive went back to its queue, it would become a dead letter.
            may_return = not (in_hand.is_last and any(isinstance(each, _TRANSIENT) for each in errors or ()))
            if errors is not None and may_return:
                return errors
            place = await in_hand.place_again()
        ours = self._in_hand[name] = _FileInHand(file)
        try:
            read = await self._reading.file(file, place, in_hand)
            errors = [read] if isinstance(read, JibeError) else await self._finish(read, in_hand) if read else []
            ours.ended(errors)
        finally:
            del self._in_hand[name]
            ours.given_up()
        return errors

    async def _after(
        self, file_in_hand: LogFile, outcome: "asyncio.Future[list[JibeError]]", file: LogFile
    ) -> list[JibeError] | None:
        """Wait for the message that has the same key in hand. Returns None if this message must read the file itself."""
        await asyncio.wait([outcome])
        if not outcome.cancelled():
            errors = outcome.result()
            if errors and _may_be_same_object(file, file_in_hand):
                return errors
            if not errors and await self._ledger.is_finished(file):
                self._counters.files_known += 1
                return []
        # The other message was given up, or had another version of the object.
        return None

    async def _finish(self, read: Read, in_hand: InHand) -> list[JibeError]:
        """Wait for the refreshes and the reports of changes, and only then remember that the file is finished."""
        errors = await self._refreshes.refreshed(read.needed, in_hand)
        if read.changes:
            errors += await self._refreshes.reported(read.changes, in_hand)
        errors = errors or await self._uncertain(read)
        # A file with bad records does not count as finished: a redriven message reads it again.
        bad = [read.bad] if read.bad is not None else []
        if errors:
            return [*errors, *bad]
        # Not before: a bucket that has just appeared must not be reported as one that is not mapped.
        self._skip_warnings.not_mapped(read.unmapped_changes, read.unmapped)
        if read.history is not None:
            await self._ledger.record(read.history)
        if not bad:
            await self._remember(read)
        self._activity.done(read.needed.stale, read.changes)
        return [*bad]

    async def _uncertain(self, read: Read) -> list[JibeError]:
        """Make sure of what was skipped as not mapped. This may wait, so it comes after the place has been left."""
        if self._buckets is None or not read.unmapped:
            return []
        try:
            if not await self._refreshes.appeared(self._buckets, read.unmapped, read.newest_unmapped):
                return []
        except AccessAnywhereError as error:
            return [error]
        some = ", ".join(sorted(read.unmapped)[:5])
        return [BucketAppeared(f"Access Anywhere shows one of these buckets now; the file is read again: {some}")]

    async def _remember(self, read: Read) -> None:
        """A ledger that fails does not fail the message: everything is done, and at worst is done once more."""
        if read.file is not None and read.rules != self._reading.rules:
            # Under the new rules it may ask for more. It is read again if it is announced or found again.
            return
        is_finished = read.file is None or await self._ledger.finish(read.file, read.etag)
        # A file that will be read once more would count its principals twice.
        if is_finished and read.principals:
            self._principals.observe(read.principals)
            await self._ledger.observe(read.principals)
        if self._audit is not None and read.file is not None:
            stale = read.needed.stale
            folders = len(read.needed.folders)
            self._audit.file_done(read.file, read.etag, events=sum(each.events for each in stale), folders=folders)

    def _verdict(self, errors: "_Errors", in_hand: InHand, policy: RetryPolicy) -> Verdict:
        if not errors.counts:
            return Done()
        self._counters.errors.update(errors.counts)
        kept = errors.in_order
        return verdict(
            [error for _, error in kept],
            in_hand.receive_count,
            policy,
            [source for source, _ in kept],
            more=sum(errors.counts.values()) - len(kept),
        )


async def _all(jobs: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Do all jobs at the same time. A single one, which nearly every message has, needs no task of its own."""
    if len(jobs) == 1:
        await jobs[0]
        return
    # All end, even if one raises for a defect: nothing must still be reading when this returns.
    for result in await asyncio.gather(*jobs, return_exceptions=True):
        if result is not None:
            raise result


class _Errors:
    """The errors of one message: counts by class, and the first few of each class with their sources."""

    __slots__ = ("_kept", "counts")

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self._kept: list[tuple[float, str, JibeError]] = []

    def add(self, error: JibeError, source: str = _MESSAGE, at: float = 0) -> None:
        """Add one error. `source`: the message body or a log file. `at`: its position in the message."""
        name = type(error).__name__
        self.counts[name] = self.counts.get(name, 0) + 1
        if self.counts[name] <= MAX_ERRORS:
            self._kept.append((at, source, error))

    @property
    def in_order(self) -> list[tuple[str, JibeError]]:
        """The kept errors with their sources, by their positions in the message."""
        return [(source, error) for _, source, error in sorted(self._kept, key=lambda each: each[0])]


class _FileInHand:
    """A log file that a message has in hand."""

    __slots__ = ("_outcome", "file")

    def __init__(self, file: LogFile) -> None:
        self.file = file
        self._outcome: asyncio.Future[list[JibeError]] | None = None

    @property
    def outcome(self) -> "asyncio.Future[list[JibeError]]":
        """A future of its errors, for other messages that announce the same file. Most files need none."""
        if self._outcome is None:
            self._outcome = asyncio.get_running_loop().create_future()
        return self._outcome

    def ended(self, errors: list[JibeError]) -> None:
        """The file is done, or cannot be."""
        if self._outcome is not None:
            self._outcome.set_result(errors)

    def given_up(self) -> None:
        """If there is no outcome, because the message was given up, the others see a cancelled future."""
        if self._outcome is not None:
            self._outcome.cancel()


class _Turn(AbstractContextManager[None]):
    """The part of a message's place that one log file uses. When it ends, the next log file may begin."""

    def __init__(self, part: AbstractContextManager[None], turns: asyncio.Semaphore) -> None:
        self._part = part
        self._turns = turns

    def __exit__(self, *about: object) -> None:
        self._turns.release()
        self._part.__exit__(None, None, None)


def _may_be_same_object(file: LogFile, file_in_hand: LogFile) -> bool:
    """Whether two files of one key may be the same object. Not every announcement has a version or an ETag."""
    pairs = (file.version, file_in_hand.version), (file.etag, file_in_hand.etag)
    return all(None in pair or pair[0] == pair[1] for pair in pairs)
