"""Pauses and quiet hours: which refreshes are held now, and until when.

    an operator pauses ──note in the ledger──> read every few seconds by all replicas and workers ──> held
                       └─control socket──────> held at once in this process ──> the note in the ledger

A refresh that is held fails with `RefreshPaused`, at once. The message that waits for it keeps its receipt, waits for the end
of the pause, and asks again. So nothing is kept for a paused folder here, and no receive is used up.

The ledger is what counts. It is not read while a change of this process could not be written yet.
"""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

import structlog

from jibe_sqs.concurrency.first_of import first_of
from jibe_sqs.core.errors import RefreshPaused
from jibe_sqs.core.model import Folder, RefreshReason
from jibe_sqs.core.pauses import EVERYTHING, Pause, decoded, encoded, provider_named, provider_of
from jibe_sqs.core.quiet_hours import QuietHours
from jibe_sqs.ports import Clock, Gate
from jibe_sqs.telemetry.optional_ledger import OptionalLedger
from jibe_sqs.telemetry.status import PauseStatus

NOTE: Final = "pauses"
"""The note of the ledger: all pauses that have not ended."""
TICK: Final = 10.0
MIN_TICK: Final = 0.01
"""Seconds between two looks at the clock, while there is a pause or are quiet hours."""

log = structlog.get_logger()


class Pauses(Gate):
    """The pauses that this process knows. As a gate, it is closed while everything is paused."""

    def __init__(
        self,
        clock: Clock,
        *,
        every: float = 0.0,
        quiet_hours: Mapping[str, QuietHours] | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """`every`: seconds between two reads of the ledger; 0 for never, if it is not shared. `quiet_hours`: by provider."""
        self._clock = clock
        self._every = every
        self._wall_clock = wall_clock
        self._ledger: OptionalLedger | None = None
        self._pauses: dict[str, Pause] = {}
        self._hours: dict[str, QuietHours] = {}
        self._quiet: frozenset[str] = frozenset()
        self._waiting: Counter[Folder] = Counter()
        self._listeners: list[Callable[[], None]] = []
        self._changed = asyncio.Event()
        self._is_unwritten = False
        self._changes = 0
        self.is_any = False
        """Whether anything is held now. For callers that ask often."""
        self.reconfigure(quiet_hours or {})

    # What is held

    @property
    def reason(self) -> str:
        """Why no work is taken: a sentence for an operator. Empty if not everything is paused."""
        return self._pauses[EVERYTHING].sentence if self.is_any and EVERYTHING in self._pauses else ""

    async def passable(self) -> None:
        """Wait until not everything is paused."""
        while self.reason:
            await self._changed.wait()

    def held(self, folder: Folder, reason: RefreshReason = RefreshReason.EVENTS) -> RefreshPaused | None:
        """Why a refresh of this folder must wait. None if it may begin.

        An operator's own refresh of a tree does not wait for the end of quiet hours.
        """
        if not self.is_any:
            return None
        provider = provider_of(folder.path)
        pause = self._pauses.get(EVERYTHING) or self._pauses.get(provider)
        if pause is not None:
            return RefreshPaused(pause.sentence, pause.until - self._wall_clock())
        if folder.tree and provider in self._quiet and reason is not RefreshReason.OPERATOR:
            now, hours = self._wall_clock(), self._hours[provider]
            # They may have ended since the last look at the clock. Their next end would be a day away.
            if hours.contain(now):
                return RefreshPaused(f"{folder}: waits for the end of the quiet hours", hours.end_after(now) - now)
        return None

    async def released(self, folders: Collection[Folder]) -> None:
        """Wait until one of these folders may be refreshed."""
        with self.counted(folders):
            while all(self.held(folder) is not None for folder in folders):
                await self._changed.wait()

    @property
    def sentences(self) -> list[str]:
        """One sentence for each paused provider, for an operator. `reason` is that of everything."""
        return [pause.sentence for pause in self._pauses.values() if pause.provider]

    @property
    def status(self) -> list[PauseStatus]:
        """All pauses, for the status."""
        return [
            PauseStatus(
                provider=pause.provider,
                since=pause.since,
                until=pause.until,
                reason=pause.reason,
                waiting=sum(name in (EVERYTHING, provider_of(folder.path)) for folder in self._waiting),
            )
            for name, pause in self._pauses.items()
        ]

    @property
    def pauses(self) -> Sequence[Pause]:
        """All pauses that have not ended."""
        return list(self._pauses.values())

    @property
    def are_written(self) -> bool:
        """Whether the ledger has what this process knows. Else others do not, and it is written as soon as that is possible."""
        return not self._is_unwritten

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call the function whenever something else is held than before."""
        self._listeners.append(listener)

    # Changes

    async def pause(self, pause: Pause) -> bool:
        """Pause from now on, in place of an earlier pause of the same provider. False if the ledger cannot be written."""
        await self._catch_up()
        return await self._change({**self._pauses, provider_named(pause.provider): pause})

    async def resume(self, provider: str | None) -> list[Pause]:
        """End the pause of this provider (empty: of everything), or all pauses (None). Returns those that it has ended."""
        await self._catch_up()
        ended = [pause for name, pause in self._pauses.items() if provider is None or name == provider_named(provider)]
        if ended:
            await self._change({name: each for name, each in self._pauses.items() if each not in ended})
        return ended

    def reconfigure(self, quiet_hours: Mapping[str, QuietHours]) -> None:
        """Other quiet hours count from now on: by the names of providers."""
        self._hours = {provider_named(name): hours for name, hours in quiet_hours.items()}
        self._look_at_clock()

    # Over time

    async def read(self, ledger: OptionalLedger) -> None:
        """Read the pauses from this ledger, and keep them in it from now on."""
        self._ledger = ledger
        await self._read()

    async def run(self) -> None:
        """Follow the ledger and the clock, until cancelled."""
        read_at = self._clock.monotonic()
        while True:
            await self._sleep()
            self._look_at_clock()
            if self._every and self._clock.monotonic() - read_at >= self._every:
                read_at = self._clock.monotonic()
                await self._catch_up()

    async def _catch_up(self) -> None:
        """Make the ledger and this process agree."""
        if self._is_unwritten:
            await self._write()
        else:
            await self._read()

    async def _sleep(self) -> None:
        """Until the next look at the ledger or at the clock, or until something changes."""
        waits = [self._every] if self._every else []
        if self._pauses or self._hours:
            # The system's clock may be set meanwhile, so the wait for the end is not one sleep.
            first_end = min((pause.until for pause in self._pauses.values()), default=math.inf)
            waits.append(min(TICK, max(first_end - self._wall_clock(), MIN_TICK)))
        if waits:
            await first_of(self._clock.sleep(min(waits)), self._changed.wait())
        else:
            await self._changed.wait()

    async def _change(self, pauses: dict[str, Pause]) -> bool:
        self._set(pauses)
        self._changes += 1
        self._is_unwritten = True
        return await self._write()

    async def _write(self) -> bool:
        if self._ledger is None:
            return False
        changes = self._changes
        is_written = await self._ledger.note(NOTE, encoded(self._pauses.values()))
        if is_written and changes == self._changes:
            self._is_unwritten = False
        return is_written

    async def _read(self) -> None:
        if self._ledger is None:
            return
        changes = self._changes
        found = await self._ledger.noted([NOTE])
        # Without an answer, what is known stays. A change of this process may be newer than the answer.
        if found is None or changes != self._changes:
            return
        try:
            noted = decoded(found.get(NOTE, ""))
        except ValueError as error:
            log.warning("pauses_unreadable", reason=str(error), remedy="pause again, with this release")
            return
        self._set({provider_named(pause.provider): pause for pause in noted})

    def _look_at_clock(self) -> None:
        if not (self._pauses or self._hours or self._quiet):
            return
        now = self._wall_clock()
        quiet = frozenset(name for name, hours in self._hours.items() if hours.contain(now))
        if quiet != self._quiet or any(pause.until <= now for pause in self._pauses.values()):
            self._set(self._pauses, quiet)

    def _set(self, pauses: Mapping[str, Pause], quiet: frozenset[str] | None = None) -> None:
        now, before = self._wall_clock(), self._pauses
        left = {name: pause for name, pause in pauses.items() if pause.until > now}
        quiet = self._quiet if quiet is None else quiet
        if left == before and quiet == self._quiet:
            return
        self._pauses, self._quiet = left, quiet
        self.is_any = bool(left or quiet)
        for name in left.keys() - before.keys():
            _log_pause(left[name])
        for name in before.keys() - left.keys():
            log.info("resumed", provider=before[name].provider, seconds=round(now - before[name].since))
        self._changed.set()
        self._changed = asyncio.Event()
        for listener in self._listeners:
            listener()

    @contextmanager
    def counted(self, folders: Collection[Folder]) -> Iterator[None]:
        """Show these folders in the status, as waiting for the end of a pause, during the block."""
        self._waiting.update(folders)
        try:
            yield
        finally:
            for folder in folders:
                self._waiting[folder] -= 1
                if not self._waiting[folder]:
                    del self._waiting[folder]


def _log_pause(pause: Pause) -> None:
    log.warning(
        "paused",
        provider=pause.provider,
        reason=pause.sentence,
        consequence="its refreshes wait, and so do their messages" if pause.provider else "nothing is received",
        remedy="it ends by itself; to end it now, run: jibe-sqs resume",
    )
