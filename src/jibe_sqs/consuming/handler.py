"""One message from its announcements to its verdict."""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Final

from jibe_sqs.consuming.reading import Read, Reading
from jibe_sqs.consuming.room import InHand
from jibe_sqs.core.announcements import combined
from jibe_sqs.core.errors import AccessAnywhereError, AnnouncementError, BucketAppeared, JibeError, LogStoreUnavailable
from jibe_sqs.core.model import LogFile, Message, Nothing, Record, Unreadable, Verdict
from jibe_sqs.core.verdicts import RetryPolicy, verdict
from jibe_sqs.ports import Buckets
from jibe_sqs.syncing.changes import Changes
from jibe_sqs.syncing.refreshes import Refreshes
from jibe_sqs.telemetry.activity import Activity
from jibe_sqs.telemetry.counters import Counters
from jibe_sqs.telemetry.optional_ledger import OptionalLedger

_MESSAGE: Final = "message"
"""The source of an error that concerns the message body, not a log file."""


class Handler:
    """Handles messages, any number at a time. Handling one twice is harmless."""

    def __init__(
        self,
        *,
        reading: Reading,
        refreshes: Refreshes,
        ledger: OptionalLedger,
        counters: Counters,
        activity: Activity,
        changes: Changes | None = None,
        buckets: Buckets | None = None,
    ) -> None:
        """`changes`: given if each change is reported by itself. `buckets`: given if buckets are discovered."""
        self._reading = reading
        self._refreshes = refreshes
        self._ledger = ledger
        self._counters = counters
        self._activity = activity
        self._changes = changes
        self._buckets = buckets
        self._in_hand: dict[tuple[str, str], tuple[LogFile, asyncio.Future[list[JibeError]]]] = {}

    async def handle(self, message: Message, policy: RetryPolicy, in_hand: InHand) -> Verdict:
        """Do what the message asks for. Its place in the reading budget is left when everything has been read."""
        place = in_hand.place
        with place.part():
            try:
                announced = await self._reading.message(message)
            except AnnouncementError as error:
                return self._verdict([(_MESSAGE, error)], message, policy)
            self._counters.nothing.update(each.about for each in announced if isinstance(each, Nothing))
            records = [each for each in announced if not isinstance(each, LogFile | Nothing | Unreadable)]
            unreadable = [each for each in announced if isinstance(each, Unreadable)]
            # One object that is announced twice is read once, whichever of its announcements has the right ETag.
            files = list({(f.bucket, f.key, f.version): f for f in announced if isinstance(f, LogFile)}.values())
            work = [
                self._do_records(records, place.part(), in_hand),
                *(self._do_file(file, place.part(), in_hand) for file in files),
            ]
        errors: list[tuple[str, JibeError]] = []
        # All of them end, even if one raises for a defect: nothing must still be reading when this returns.
        results = await asyncio.gather(*work, return_exceptions=True)
        for source, result in zip([_MESSAGE, *map(str, files)], results, strict=True):
            if isinstance(result, BaseException):
                raise result
            errors += [(source, error) for error in result]
        if unreadable:
            # Everything else in the message is done now, so the dead letter loses none of it.
            errors.append((_MESSAGE, combined(unreadable)))
        return self._verdict(errors, message, policy)

    async def _do_records(
        self, records: Sequence[Record], place: AbstractContextManager[None], in_hand: InHand
    ) -> list[JibeError]:
        """The records in the message body. `place`: the message's place in the budget, held while they are read."""
        with place:
            read = await self._reading.records(records, in_hand)
        return await self._finish(read) if read else []

    async def _do_file(self, file: LogFile, place: AbstractContextManager[None], in_hand: InHand) -> list[JibeError]:
        """A log file. If another message has it in hand, that message reads it, and this one waits for the outcome."""
        name = (file.bucket, file.key)
        if name in self._in_hand:
            with place:
                file_in_hand, outcome = self._in_hand[name]
            return await self._after(file_in_hand, outcome, file)
        ours: asyncio.Future[list[JibeError]] = asyncio.get_running_loop().create_future()
        self._in_hand[name] = file, ours
        try:
            read = await self._reading.file(file, place, in_hand)
            errors = [read] if isinstance(read, JibeError) else await self._finish(read) if read else []
            ours.set_result(errors)
        finally:
            del self._in_hand[name]
            # If there is no outcome, because this message was given up, the waiting messages see a cancelled future.
            ours.cancel()
        return errors

    async def _after(
        self, file_in_hand: LogFile, outcome: "asyncio.Future[list[JibeError]]", file: LogFile
    ) -> list[JibeError]:
        """Wait for the message that has the same key in hand. Not read here: this message has left its place."""
        await asyncio.wait([outcome])
        if not outcome.cancelled():
            errors = outcome.result()
            if errors and _may_be_same_object(file, file_in_hand):
                return errors
            if not errors and await self._ledger.is_finished(file):
                self._counters.files_known += 1
                return []
        # The other message was given up, or had another version of the object.
        return [LogStoreUnavailable(f"{file}: another message was reading it; it will be read again")]

    async def _finish(self, read: Read) -> list[JibeError]:
        """Wait for the refreshes and the reports of changes, and only then remember that the file is finished."""
        errors = await self._refreshes.done(read.needed.folders)
        if self._changes is not None:
            errors += await self._changes.done(read.changes)
        errors = errors or await self._uncertain(read)
        # A file with bad records does not count as finished: a redriven message reads it again.
        bad = [read.bad] if read.bad is not None else []
        if errors:
            return [*errors, *bad]
        if not bad:
            await self._remember(read)
        self._activity.done(read.needed.stale, read.changes)
        return [*bad]

    async def _uncertain(self, read: Read) -> list[JibeError]:
        """Make sure of what was skipped as not mapped. This may wait, so it comes after the place has been left."""
        if self._buckets is None or not read.unmapped:
            return []
        try:
            if not await self._buckets.appeared(read.unmapped, read.newest_unmapped):
                return []
        except AccessAnywhereError as error:
            return [error]
        some = ", ".join(sorted(read.unmapped)[:5])
        return [BucketAppeared(f"Access Anywhere shows one of these buckets now; the file is read again: {some}")]

    async def _remember(self, read: Read) -> None:
        """A ledger that fails does not fail the message: everything is done, and at worst is done once more."""
        is_finished = read.file is None or await self._ledger.finish(read.file, read.etag)
        # A file that will be read once more would count its principals twice.
        if is_finished and read.principals:
            await self._ledger.observe(read.principals)

    def _verdict(self, errors: Sequence[tuple[str, JibeError]], message: Message, policy: RetryPolicy) -> Verdict:
        """`errors`, each with its source: the message body or a log file."""
        self._counters.errors.update(type(error).__name__ for _, error in errors)
        return verdict([error for _, error in errors], message.receive_count, policy, [source for source, _ in errors])


def _may_be_same_object(file: LogFile, file_in_hand: LogFile) -> bool:
    """Whether two files of one key may be the same object. Not every announcement has a version or an ETag."""
    pairs = (file.version, file_in_hand.version), (file.etag, file_in_hand.etag)
    return all(None in pair or pair[0] == pair[1] for pair in pairs)
