"""Services with one defect each. Each defect can lose changes, and the simulation must find it."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, Final

import msgspec

from jibe_sqs.consuming.consumer import Consumer
from jibe_sqs.consuming.handler import Handler
from jibe_sqs.consuming.held_refreshes import HeldRefreshes
from jibe_sqs.consuming.holds import MAX_EXTENSION, Held, Holds
from jibe_sqs.consuming.reading import Read
from jibe_sqs.consuming.room import InHand, Room
from jibe_sqs.consuming.waiting_room import WaitingRoom
from jibe_sqs.core.errors import JibeError, RefreshPaused
from jibe_sqs.core.model import Change, Folder, LogFile, Message, RefreshReason, Verdict
from jibe_sqs.core.stale_folders import Needed
from jibe_sqs.ports import Clock, Found, Listing, QueueFacts
from jibe_sqs.sweeping.catch_up import CatchUp
from jibe_sqs.sweeping.sweeper import Sweep, Sweeper
from jibe_sqs.syncing.bucket_map import BucketMap, Spot
from jibe_sqs.syncing.changes import Changes
from jibe_sqs.syncing.imports import Imports
from jibe_sqs.syncing.refreshes import Refreshes
from jibe_sqs.telemetry.optional_ledger import OptionalLedger
from jibe_sqs.telemetry.queue_activity import Gap, QueueActivity
from proof.simulation.kinds import Kind
from proof.simulation.world import Parts


class _DeletesBeforeRefresh(Handler):
    async def _finish(self, read: Read, in_hand: InHand) -> list[JibeError]:
        self._after_all = asyncio.ensure_future(super()._finish(read, in_hand))
        return []


class _FinishesBeforeRefresh(Handler):
    async def _finish(self, read: Read, in_hand: InHand) -> list[JibeError]:
        if read.file is not None:
            await self._ledger.finish(read.file, read.etag)
        return await super()._finish(read, in_hand)


class _ReleasesNewcomers(Refreshes):
    def ask(
        self, folder: Folder, *, reason: RefreshReason = RefreshReason.EVENTS, newest: float = 0.0
    ) -> "asyncio.Future[None]":
        queue = self._folders.get(folder)
        if queue is not None and queue.served:
            return queue.served[-1].future
        return super().ask(folder, reason=reason, newest=newest)


class _DropsTheDirtyMark(Refreshes):
    def _ended(self, folder: Folder, queue: Any, started: float, error: Exception | None) -> None:
        queue.begin()
        super()._ended(folder, queue, started, error)


class _NoHeartbeat(Consumer):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._holds.extend_forever = asyncio.Event().wait  # type: ignore[assignment, method-assign]


class _WatermarkBeforeRefresh(Refreshes):
    async def _refresh_once(self, folder: Folder, queue: Any) -> None:
        await self._ledger.refreshed(folder, self._clock.now() - self._margin)
        await super()._refresh_once(folder, queue)


class _LateWatermarks:
    """A ledger that records the end of a refresh instead of its beginning."""

    def __init__(self, ledger: OptionalLedger, clock: Clock, margin: float) -> None:
        self._ledger, self._clock, self._margin = ledger, clock, margin

    async def refreshed(self, folder: Folder, _began: float) -> None:
        await self._ledger.refreshed(folder, self._clock.now() - self._margin)


class _WatermarkOfTheEnd(Refreshes):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        late: Any = _LateWatermarks(self._ledger, self._clock, self._margin)
        self._ledger = late


class _AfterAMarker:
    """A listing that skips keys up to the last key that it has returned, like a marker."""

    def __init__(self, listing: Listing) -> None:
        self.has, self.buckets = listing.has, listing.buckets
        self._listing = listing
        self._last = ""

    async def level(self, bucket: str, prefix: str) -> AsyncGenerator[Found | str, None]:
        async with aclosing(self._listing.level(bucket, prefix)) as entries:
            async for each in entries:
                if isinstance(each, str):
                    yield each
                elif each.file.key > self._last:
                    self._last = each.file.key
                    yield each


class _SweepsAfterAMarker(Sweeper):
    def __init__(self, *, sweeps: Sequence[Sweep], **options: Any) -> None:
        marked = [msgspec.structs.replace(each, listing=_AfterAMarker(each.listing)) for each in sweeps]
        super().__init__(sweeps=marked, **options)


class _DeletesBeforeReport(Changes):
    async def done(self, changes: Sequence[Change]) -> list[JibeError]:
        self._after_all = asyncio.ensure_future(super().done(changes))
        return []


class _ReportsTwoAtATime(Changes):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._other = Changes(**options)

    async def done(self, changes: Sequence[Change]) -> list[JibeError]:
        failed = await asyncio.gather(super().done(changes[::2]), self._other.done(changes[1::2]))
        return [*failed[0], *failed[1]]

    async def stop(self) -> None:
        await super().stop()
        await self._other.stop()


class _ReportsBehindAFailure(Changes):
    def _fail(self, object_: tuple[str, str], error: Exception) -> None:
        behind = self._lines.pop(object_)
        self._lines[object_] = deque([behind.popleft()])
        super()._fail(object_, error)
        if behind:
            self._lines[object_] = behind
            self._ready.append(object_)


class _ReportsTheLastFirst(Changes):
    async def _ask(self, changes: Sequence[Change], caller: Any) -> None:
        await super()._ask(changes[::-1], caller)


class _NeverWaits(Handler):
    async def handle(self, *_: object) -> Verdict:
        while True:
            await asyncio.sleep(0)


class _ImportedBeforeItsRefresh(Imports):
    async def _import(self, spot: Spot) -> None:
        await self._known.change(added=[spot])
        await super()._import(spot)


class _NeverCatchesUp(CatchUp):
    async def _close(self, gaps: Sequence[tuple[QueueActivity, Gap]]) -> bool:
        return bool(gaps)


class _ClosesTheGapFirst(CatchUp):
    async def _close(self, gaps: Sequence[tuple[QueueActivity, Gap]]) -> bool:
        for queue, gap in gaps:
            queue.caught_up(gap)
        await self._remember()
        return await super()._close(gaps)


class _ForgetsTheLastSweep(Sweeper):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._past._read_note = _nothing_noted  # type: ignore[method-assign, assignment]


async def _nothing_noted(_source: object) -> None:
    pass


class _NeverLooksAgain(BucketMap):
    async def appeared(self, *_: object) -> bool:
        return False


class _BurnsReceives(Handler):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._reading._outages.failed = lambda *_: None  # type: ignore[method-assign]


class _FailsInAPause(HeldRefreshes):
    async def _released(self, *_: object) -> None:
        raise RefreshPaused("paused", 0.0)


class _BurnsReceivesInAPause(Handler):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._refreshes.__class__ = _FailsInAPause


class _ForgetsWhatWasPaused(HeldRefreshes):
    async def refreshed(self, needed: Needed, in_hand: InHand) -> list[JibeError]:
        del in_hand
        return await self._refreshes.done(needed.newest, held=[])


class _DeletesWhatIsPaused(Handler):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._refreshes.__class__ = _ForgetsWhatWasPaused


class _WaitsWithoutLimit(Handler):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._reading._outages._room = WaitingRoom(messages=10**9, waiting_bytes=10**9)


class _KeepsItsPlace(Handler):
    async def _outcome(self, file: LogFile, place: Any, in_hand: InHand) -> list[JibeError]:
        with in_hand.place.part():
            return await super()._outcome(file, place, in_hand)


class _NeverTriesWithoutRoom(Handler):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        outages = self._reading._outages
        outages.may_try = lambda bucket: bucket not in outages._outages  # type: ignore[method-assign]


class _HoldsRoomWhileIdle(Consumer):
    async def _listen(self) -> int:
        room = await self._room.take(1, 0.0)
        try:
            return await super()._listen()
        finally:
            self._room.give(room)


class _AsksForNoVisibility(Consumer):
    def _open(self, facts: QueueFacts) -> None:
        super()._open(facts)
        self._visibility = facts.visibility_timeout


class _GivesUpAMissingQueue(Consumer):
    async def _until_open(self) -> None:
        if not self._is_open:
            await self._stopping.wait()


class _Unlimited(Holds):
    def _is_extensible(self, held: Held, now: float) -> bool:
        del now
        return self._held.get(held.message.id) is held and not held.settling

    def _extension(self, held: Held, now: float) -> float:
        return max(self._timeout, min(now - held.since, MAX_EXTENSION))


class _HidesBeyondTwelveHours(Consumer):
    def _open(self, facts: QueueFacts) -> None:
        super()._open(facts)
        self._holds = _Unlimited(queue=self._queue, clock=self._clock, visibility_timeout=self._visibility)


class _ReceivesOneByOne(Consumer):
    async def _taken_room(self) -> int:
        return await self._room.take(1, 0.0)


class _ForgetfulRoom(Room):
    def admit(self, message: Message, *, is_last: bool = False) -> InHand:
        in_hand = super().admit(message, is_last=is_last)
        in_hand._bytes.reduce_to = lambda _: None  # type: ignore[assignment, method-assign]
        return in_hand


class _ForgetsBytes(Consumer):
    def __init__(self, *, room: Room, **options: Any) -> None:
        room.__class__ = _ForgetfulRoom
        super().__init__(room=room, **options)


class _ReceivesBeyondTheBytes(Consumer):
    def __init__(self, *, room: Room, **options: Any) -> None:
        room.held_bytes.take = _nothing_taken  # type: ignore[assignment, method-assign]
        super().__init__(room=room, **options)


async def _nothing_taken(_most: int, **_: object) -> int:
    return 0


KINDS: Final[dict[str, Kind]] = {
    "ignores-the-fingerprint": Kind.SETTINGS,
    "imported-before-its-refresh": Kind.SETTINGS,
    "never-catches-up": Kind.LONG_STOP,
    "closes-the-gap-first": Kind.LONG_STOP,
    "forgets-the-last-sweep": Kind.LONG_STOP,
    "burns-receives-in-an-outage": Kind.OUTAGE,
    "burns-receives-in-a-pause": Kind.PLAIN,
    "deletes-what-is-paused": Kind.PLAIN,
    "outage-blocks-others": Kind.OUTAGE,
    "outage-keeps-places": Kind.OUTAGE,
    "outage-without-tries": Kind.BYTES,
    "idle-poll-holds-room": Kind.IDLE,
    "no-visibility-in-receive": Kind.SHORT,
    "gives-up-a-missing-queue": Kind.REFUSING,
    "hides-beyond-twelve-hours": Kind.OUTAGE,
    "single-message-batches": Kind.IDLE,
    "forgets-bytes": Kind.BYTES,
    "receives-beyond-the-bytes": Kind.BYTES,
}
"""The kind of worlds in which a mutation is found, if not in all."""

FIRST: Final = {
    "hides-beyond-twelve-hours": 311,
    "outage-blocks-others": 584,
    "imported-before-its-refresh": 178,
    "closes-the-gap-first": 102,
    "forgets-the-last-sweep": 175,
    "sweep-after-a-marker": 22,
    "burns-receives-in-a-pause": 20,
}
"""The first seed to try, for defects that show in rare worlds only."""

MUTATIONS: Final[dict[str, Parts]] = {
    "delete-before-refresh": Parts(handler=_DeletesBeforeRefresh),
    "finish-before-refresh": Parts(handler=_FinishesBeforeRefresh),
    "release-newcomers": Parts(refreshes=_ReleasesNewcomers),
    "drop-dirty-mark": Parts(refreshes=_DropsTheDirtyMark),
    "no-heartbeat": Parts(consumer=_NoHeartbeat),
    "watermark-before-refresh": Parts(refreshes=_WatermarkBeforeRefresh),
    "watermark-of-the-end": Parts(refreshes=_WatermarkOfTheEnd),
    "no-margin": Parts(has_margin=False),
    "ignores-the-fingerprint": Parts(has_fingerprint=False),
    "imported-before-its-refresh": Parts(imports=_ImportedBeforeItsRefresh),
    "never-catches-up": Parts(catch_up=_NeverCatchesUp),
    "closes-the-gap-first": Parts(catch_up=_ClosesTheGapFirst),
    "forgets-the-last-sweep": Parts(sweeper=_ForgetsTheLastSweep),
    "sweep-after-a-marker": Parts(sweeper=_SweepsAfterAMarker),
    "delete-before-reported": Parts(changes=_DeletesBeforeReport),
    "report-two-at-a-time": Parts(changes=_ReportsTwoAtATime),
    "report-behind-a-failure": Parts(changes=_ReportsBehindAFailure),
    "report-the-last-first": Parts(changes=_ReportsTheLastFirst),
    "unconfirmed-not-mapped": Parts(bucket_map=_NeverLooksAgain),
    "never-wait": Parts(handler=_NeverWaits),
    "burns-receives-in-an-outage": Parts(handler=_BurnsReceives),
    "burns-receives-in-a-pause": Parts(handler=_BurnsReceivesInAPause),
    "deletes-what-is-paused": Parts(handler=_DeletesWhatIsPaused),
    "outage-blocks-others": Parts(handler=_WaitsWithoutLimit),
    "outage-keeps-places": Parts(handler=_KeepsItsPlace),
    "outage-without-tries": Parts(handler=_NeverTriesWithoutRoom),
    "idle-poll-holds-room": Parts(consumer=_HoldsRoomWhileIdle),
    "no-visibility-in-receive": Parts(consumer=_AsksForNoVisibility),
    "gives-up-a-missing-queue": Parts(consumer=_GivesUpAMissingQueue),
    "hides-beyond-twelve-hours": Parts(consumer=_HidesBeyondTwelveHours),
    "single-message-batches": Parts(consumer=_ReceivesOneByOne),
    "forgets-bytes": Parts(consumer=_ForgetsBytes),
    "receives-beyond-the-bytes": Parts(consumer=_ReceivesBeyondTheBytes),
}
