"""`syncOnProviderEvent`: look at one object in S3, and update the index accordingly.

Only the name and the purpose of this call are public: "the server verifies the object status on S3 and updates
metadata". The parameters are the sandbox's own:

    bucket, key    the object; the key is not encoded
    event          what happened to it; only recorded, because the server looks at S3 itself
    events         in place of these: a JSON list of objects with these fields

`updated` in the answer is the number of folders that show, or would show, the objects. It is 0 for a bucket that no
provider shows.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass
from typing import Any
from weakref import WeakValueDictionary

import msgspec

from jibe_sqs.sandbox.access_anywhere.index import Index
from jibe_sqs.sandbox.access_anywhere.items import Folder
from jibe_sqs.sandbox.access_anywhere.refusals import Refused
from jibe_sqs.sandbox.access_anywhere.storage import Storage, StorageError

MAX_RECORDS = 200_000


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """An event in a call."""

    bucket: str
    key: str
    event: str = ""


@dataclass(slots=True)
class HandledEvent:
    """The record of a handled event. Times: seconds since the epoch. `n` counts from 1."""

    n: int
    bucket: str
    key: str
    event: str
    asked: float
    looked: float
    """The time before S3 was last asked."""
    done: float
    exists: bool
    places: list[str]
    """The providers' folders that show, or would show, the object."""


def parse_events(params: Mapping[str, str]) -> Sequence[Event]:
    """The events in a call's parameters. Raises `Refused`."""
    try:
        if "events" in params:
            return msgspec.json.decode(params["events"], type=list[Event])
        return [Event(bucket=params["bucket"], key=params["key"], event=params.get("event", ""))]
    except (msgspec.MsgspecError, KeyError) as e:
        raise Refused("invalid_parameter", f"The call needs bucket and key, or a list of events: {e}") from e


class Events:
    """Handles provider events."""

    def __init__(
        self,
        index: Index,
        storage: Storage,
        guard: Callable[[Folder], AbstractAsyncContextManager[Any]],
        clock: Callable[[], float],
    ) -> None:
        self._index = index
        self._storage = storage
        self._guard = guard
        self._clock = clock
        self._records: deque[HandledEvent] = deque(maxlen=MAX_RECORDS)
        self._handled = 0
        self._locks: WeakValueDictionary[tuple[int, str], asyncio.Lock] = WeakValueDictionary()

    async def handle(self, event: Event) -> int:
        """Look at the object and update the index. Returns the number of folders that show its bucket.

        Raises `Refused`.
        """
        asked = looked = self._clock()
        exists = False
        places = []
        try:
            for top in list(self._index.bucket_folders(event.bucket)):
                if event.key.startswith(top.prefix):
                    # One event at a time for each key; otherwise an older observation could overwrite a newer one.
                    async with self._locks.setdefault((top.id, event.key), asyncio.Lock()):
                        looked, exists = await self._verify(top, event.key)
                    places.append(top.path)
        except StorageError as e:
            raise Refused.by_provider(e) from e
        self._handled += 1
        self._records.append(
            HandledEvent(
                self._handled, event.bucket, event.key, event.event, asked, looked, self._clock(), exists, places
            )
        )
        return len(places)

    def records(self, since: int) -> list[dict[str, Any]]:
        return [asdict(r) for r in self._records if r.n > since]

    async def _verify(self, top: Folder, key: str) -> tuple[float, bool]:
        """Returns when S3 was asked, and whether the object existed."""
        bucket = top.bucket
        while (holder := self._index.folder_of(top, key)) is None:
            looked = self._clock()
            seen = await self._storage.head(bucket, key)
            # The folder may have been created since. Then its refresh may have listed S3 before this look, and end
            # later: look again with the guard.
            if self._index.folder_of(top, key) is None:
                self._index.journals.note(bucket, key, seen, at=looked)
                if seen is not None and self._index.shows(top):
                    self._index.show_object(top, seen, at=looked)
                return looked, seen is not None
        async with self._guard(holder):
            looked = self._clock()
            seen = await self._storage.head(bucket, key)
            if not self._index.shows(holder):
                # The folder was removed while this call waited for the guard.
                return await self._verify(top, key) if self._index.shows(top) else (looked, seen is not None)
            if seen is not None:
                self._index.show_object(top, seen, at=looked)
                return looked, True
            self._index.remove_object(holder, key, at=looked)
        await self._clear(holder, top)
        return looked, False

    async def _clear(self, folder: Folder, top: Folder) -> None:
        """Remove empty folders, because S3 has none.

        A folder may also be empty because it was not refreshed yet: ask S3.
        """
        while folder is not top and folder.parent is not None and not folder.contents():
            # With the guard: otherwise a refresh of the parent that began earlier would show the folder again.
            async with self._guard(folder.parent):
                level = await self._storage.list(folder.bucket, folder.prefix)
                if level.files or level.prefixes:
                    return
                self._index.remove_empty_folder(folder)
            folder = folder.parent
