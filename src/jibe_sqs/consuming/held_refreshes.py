"""Refreshes and reports that outlast pauses: a message that waits for one of them keeps its receipt, and uses up no receive.

While everything is paused, nothing is received, so all messages in hand wait here. While one provider is, or its tree refreshes
have quiet hours, its messages take part of the waiting room. Those beyond go back to their queue until the pause ends.
"""

from collections.abc import Collection, Mapping, Sequence

from jibe_sqs.consuming.room import InHand
from jibe_sqs.consuming.waiting_room import WaitingRoom
from jibe_sqs.core.decisions import Place
from jibe_sqs.core.errors import AccessAnywhereError, JibeError, LogBucketDown, RefreshPaused
from jibe_sqs.core.model import Change, Folder
from jibe_sqs.core.stale_folders import Needed
from jibe_sqs.ports import Buckets
from jibe_sqs.syncing.changes import Changes
from jibe_sqs.syncing.pauses import Pauses
from jibe_sqs.syncing.refreshes import Refreshes


class HeldRefreshes:
    """Refreshes folders and reports changes, each after its pause."""

    def __init__(self, refreshes: Refreshes, changes: Changes | None, pauses: Pauses, room: WaitingRoom) -> None:
        self._refreshes = refreshes
        self._changes = changes
        self._pauses = pauses
        self._room = room

    async def refreshed(self, needed: Needed, in_hand: InHand) -> list[JibeError]:
        """Wait for a refresh of each folder that begins from now on. Returns the errors."""
        newest = needed.newest
        held: list[Folder] = []
        errors = await self._refreshes.done(newest, newest=newest, held=held)
        while held:
            try:
                await self._released(held, in_hand)
            except RefreshPaused as paused:
                return [*errors, paused]
            again, held = held, []
            errors += await self._refreshes.done(again, newest=newest, held=held)
        return errors

    async def reported(self, changes: Sequence[Change], in_hand: InHand) -> list[JibeError]:
        """Wait until all changes are reported. Returns the errors."""
        if self._changes is None:
            return []
        while True:
            try:
                while held := self._held(changes):
                    await self._released(held, in_hand)
            except RefreshPaused as paused:
                return [paused]
            errors = await self._changes.done(changes)
            # A failure during a pause is no answer: the server may be down for maintenance.
            if not errors or not self._held(changes):
                return errors

    async def appeared(self, buckets: Buckets, unknown: Mapping[str, Sequence[Place]], latest: float) -> bool:
        """See `Buckets.appeared`. A failure while everything is paused is no answer."""
        while True:
            await self._pauses.passable()
            try:
                return await buckets.appeared(unknown, latest)
            except AccessAnywhereError:
                if not self._pauses.reason:
                    raise

    def outlasting(self, error: LogBucketDown) -> LogBucketDown:
        """The error of a message that has no room to wait for another one with the same file.

        During a pause, that one may wait for days. Then the message comes back later each time.
        """
        return LogBucketDown(str(error)) if self._pauses.is_any else error

    def _held(self, changes: Sequence[Change]) -> list[Folder]:
        if not self._pauses.is_any:
            return []
        folders = dict.fromkeys(folder for change in changes for folder in change.folders)
        return [folder for folder in folders if self._pauses.held(folder) is not None]

    async def _released(self, folders: Collection[Folder], in_hand: InHand) -> None:
        """Wait until one of the folders is not held any more. Raises `RefreshPaused` if too many messages wait."""
        while self._pauses.reason:
            with self._pauses.counted(folders):
                await self._pauses.passable()
        held = [paused for folder in folders if (paused := self._pauses.held(folder)) is not None]
        if len(held) < len(folders):
            return
        if not self._room.has_room(in_hand):
            first = min(held, key=lambda paused: paused.seconds)
            raise RefreshPaused(
                f"{first}; too many messages wait for that, so this one waits in its queue", first.seconds
            )
        with self._room.occupied(in_hand):
            await self._pauses.released(folders)
