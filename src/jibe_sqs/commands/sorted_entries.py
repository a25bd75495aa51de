"""The entries of one folder, sorted in bounded memory: a folder may have millions.

A few thousand are sorted in memory. More are written to temporary files, each sorted, which are merged while they are read.
A million entries need less than 100 MB of disk.
"""

import asyncio
import heapq
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from typing import IO, Final, Self

import msgspec

from jibe_sqs.core.comparison import Entry, order
from jibe_sqs.core.errors import ComparisonError

MOST_IN_MEMORY: Final = 20_000
"""Entries: about 5 MB."""
BATCH: Final = 500
"""Entries that are written and read at a time. So a merge has this many of each file in memory."""
LENGTH: Final = 4
"""Bytes of the number before a batch."""


class SortedEntries:
    """Add all entries, then iterate once. A context manager: at its end the temporary files are gone."""

    def __init__(self, most_in_memory: int = MOST_IN_MEMORY) -> None:
        self._most = most_in_memory
        self._entries: list[Entry] = []
        self._runs: list[IO[bytes]] = []
        self._files = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._entries.clear()
        self._files.close()

    async def add_all(self, entries: AsyncIterator[Entry]) -> None:
        """Add entries in any order. Other tasks get their turn meanwhile, also if the entries come without waiting."""
        count = 0
        async for entry in entries:
            self.add(entry)
            count += 1
            if not count % BATCH:
                await asyncio.sleep(0)

    def add(self, entry: Entry) -> None:
        """Add one entry."""
        self._entries.append(entry)
        if len(self._entries) >= self._most:
            self._write()

    def __iter__(self) -> Iterator[Entry]:
        self._entries.sort(key=order)
        if not self._runs:
            return iter(self._entries)
        return heapq.merge(*map(_read, self._runs), iter(self._entries), key=order)

    def _write(self) -> None:
        """Raises `ComparisonError` if the disk is full, or temporary files are not possible."""
        self._entries.sort(key=order)
        try:
            self._write_run()
        except OSError as error:
            raise ComparisonError(
                f"a folder with more than {self._most:,} entries needs temporary files: {error}: make room, or set TMPDIR"
            ) from error
        self._entries.clear()

    def _write_run(self) -> None:
        run = self._files.enter_context(tempfile.TemporaryFile(prefix="jibe-compare-"))  # noqa: SIM115 - closed in `__exit__`
        for start in range(0, len(self._entries), BATCH):
            batch = msgspec.msgpack.encode(self._entries[start : start + BATCH])
            run.write(len(batch).to_bytes(LENGTH, "big") + batch)
        run.seek(0)
        self._runs.append(run)


def _read(run: IO[bytes]) -> Iterator[Entry]:
    while length := run.read(LENGTH):
        yield from msgspec.msgpack.decode(run.read(int.from_bytes(length, "big")), type=list[Entry])
