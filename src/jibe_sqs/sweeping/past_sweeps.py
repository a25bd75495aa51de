"""When the last complete sweep of each source was: in memory, and as notes in the ledger.

A sweep is complete in the ledger only when all files that it found are done. Until then a kill would lose them: the next sweep
would look back to this one only.
"""

import json
from typing import Final, Protocol

import msgspec

from jibe_sqs.core.sources import LogSource
from jibe_sqs.telemetry.optional_ledger import OptionalLedger

DAY: Final = 86_400.0
MAX_LOOK_BACK: Final = 14
"""Days of failing sweeps that the next sweep makes up for: as long as SQS can keep a message. A folder that can never be listed
must not make each sweep longer."""
NOTE_INTERVAL: Final = 60.0
"""Seconds between two notes about one source."""


class Unfinished(Protocol):
    """The files that sweeps found, and that are not done."""

    newest: int
    """The number of the last file that was found."""

    def has_left(self, number: int) -> bool:
        """Whether all files up to this number are done."""


class _Past(msgspec.Struct):
    """Times in seconds since the epoch, local clock; 0.0 for never."""

    complete: float = 0.0
    failing_since: float = 0.0
    """The first sweep after `complete` that was not complete."""


class PastSweeps:
    """The past of all sources."""

    def __init__(self, ledger: OptionalLedger, unfinished: Unfinished | None) -> None:
        self._ledger = ledger
        self._unfinished = unfinished
        self._known: dict[LogSource, _Past] = {}
        self._read: set[LogSource] = set()
        self._first: dict[LogSource, float] = {}
        """When the first sweep of this process began."""
        self._unnoted: dict[LogSource, tuple[_Past, int]] = {}
        """The past to note when the queue has none of the files up to this number."""
        self._noted_at: dict[LogSource, float] = {}

    async def since(self, source: LogSource, now: float) -> float:
        """How far the next sweep must look back: to the last complete one, or `now` for the first."""
        self._first.setdefault(source, now)
        if source not in self._read:
            await self._read_note(source)
        past = self._known.get(source, _Past())
        if past.failing_since and now - past.failing_since > MAX_LOOK_BACK * DAY:
            return max(past.complete, now - MAX_LOOK_BACK * DAY)
        return past.complete or now

    async def ended(self, source: LogSource, now: float, *, is_complete: bool) -> None:
        """A sweep that began at `now` has ended."""
        past = self._known.setdefault(source, _Past())
        if is_complete:
            self._known[source] = _Past(now)
        else:
            # Without an earlier sweep, there is nothing to look back to.
            self._known[source] = _Past(past.complete or now, past.failing_since or now)
        await self._note(source, now)

    async def _note(self, source: LogSource, now: float) -> None:
        if self._unfinished is None:
            return
        past, number = self._unnoted.setdefault(source, (self._known[source], self._unfinished.newest))
        if source not in self._read or not self._unfinished.has_left(number):
            return
        del self._unnoted[source]
        if now - self._noted_at.get(source, float("-inf")) >= NOTE_INTERVAL:
            self._noted_at[source] = now
            await self._ledger.note(_name(source), json.dumps([past.complete, past.failing_since]))

    async def _read_note(self, source: LogSource) -> None:
        """Read the note. If the ledger cannot be read, the next sweep tries again, and nothing is noted before."""
        notes = await self._ledger.noted([_name(source)])
        if notes is None:
            return
        try:
            complete, failing_since = map(float, json.loads(notes.get(_name(source), "[0, 0]")))
        except (ValueError, TypeError):
            complete = failing_since = 0.0
        # Files that the first sweep finds may not be done before a long stop. Then the next one must look back as far.
        if not complete and not await self._ledger.note(_name(source), json.dumps([self._first[source], 0.0])):
            return
        self._read.add(source)
        if complete:
            # What this process has done meanwhile looked back too little.
            self._known[source] = _Past(complete, failing_since)


def _name(source: LogSource) -> str:
    return f"sweep {source.bucket}/{source.prefix}"
