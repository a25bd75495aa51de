"""The places whose changes count, as notes of the ledger.

A place that is shown and is not here needs a refresh of its whole tree: its earlier changes were skipped. The places are in
several notes, by the hash of the bucket's name: a note has a limit, and a change writes only one of them.
"""

import asyncio
import json
from collections import defaultdict
from collections.abc import Collection
from hashlib import blake2b
from typing import Final

from jibe_sqs.syncing.bucket_map import Spot
from jibe_sqs.telemetry.optional_ledger import OptionalLedger

BEGUN: Final = "places"
"""This note says that there are notes of places, perhaps without any place."""
NOTES: Final = 64


class KnownPlaces:
    """The known places. They are read once, and written when they change."""

    def __init__(self, ledger: OptionalLedger) -> None:
        self._ledger = ledger
        self._parts: defaultdict[str, set[Spot]] = defaultdict(set)
        self._writing = asyncio.Lock()
        self._unwritten: set[str] = set()
        """The notes that are not in the ledger as they are here."""

    async def load(self) -> bool | None:
        """Read the notes. False if there are none yet: this is the first start. None if the ledger cannot be read."""
        names = [_name(number) for number in range(NOTES)]
        notes = await self._ledger.noted([BEGUN, *names])
        if notes is None:
            return None
        for name in names:
            self._parts[name] = _spots(notes.get(name, ""))
        return BEGUN in notes

    async def begin(self, spots: Collection[Spot]) -> bool:
        """Remember the places of the first start. False if the ledger cannot be written: then it is to be tried again."""
        return await self.change(added=spots) and await self._ledger.note(BEGUN, "1")

    def all(self) -> set[Spot]:
        """The known places."""
        return {spot for part in self._parts.values() for spot in part}

    async def change(self, *, added: Collection[Spot] = (), removed: Collection[Spot] = ()) -> bool:
        """Add and remove places, and write. See `write`."""
        for spot in added:
            self._parts[_part_of(spot)].add(spot)
        for spot in removed:
            self._parts[_part_of(spot)].discard(spot)
        self._unwritten.update(map(_part_of, (*added, *removed)))
        return await self.write()

    @property
    def is_written(self) -> bool:
        """Whether the ledger has the places as they are here."""
        return not self._unwritten

    async def write(self) -> bool:
        """Write what has changed. False if the ledger cannot be written: then it is to be tried again.

        A place that was added, and is not in the ledger, is imported once more. One that was removed, and is still in the
        ledger, would not be imported if it returned during a stop.
        """
        async with self._writing:
            for name in sorted(self._unwritten):
                self._unwritten.discard(name)
                if not await self._noted(name):
                    self._unwritten.add(name)
        return self.is_written

    async def _noted(self, name: str) -> bool:
        try:
            return await self._ledger.note(name, json.dumps(sorted(self._parts[name])))
        except asyncio.CancelledError:
            self._unwritten.add(name)
            raise


def _part_of(spot: Spot) -> str:
    return _name(blake2b(spot[0].encode("utf-8", "surrogatepass"), digest_size=1).digest()[0] % NOTES)


def _name(number: int) -> str:
    return f"{BEGUN}.{number:02x}"


def _spots(note: str) -> set[Spot]:
    """The places of a note. An illegible note has none: they are imported again."""
    try:
        return {(str(bucket), str(folder), str(prefix)) for bucket, folder, prefix in json.loads(note or "[]")}
    except (ValueError, TypeError):
        return set()
