"""Log files in S3. A file may come late, slowly or truncated, or may be refused."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

from jibe_sqs.concurrency.budget import Budget
from jibe_sqs.core.errors import BucketNotAllowed, LogMissing, LogStoreUnavailable
from jibe_sqs.core.model import LogFile
from proof.simulation.judge import Judge
from proof.simulation.loop import PROCESS
from proof.simulation.network import Network
from proof.simulation.outages import Outages
from proof.simulation.storage import File, Storage

WINDOW = 2000
"""Bytes that a download takes from the budget. When the size is known, it gives back the bytes beyond it."""


class _Open:
    def __init__(self, file: File, pause: float, *, is_cut: bool) -> None:
        self.etag = file.etag
        self.size = len(file.content)
        self._data = file.content
        self._pause = pause
        self._is_cut = is_cut

    async def __aiter__(self) -> AsyncIterator[bytes]:
        half = len(self._data) // 2
        yield self._data[:half]
        await asyncio.sleep(self._pause)
        if self._is_cut:
            raise LogStoreUnavailable("cut short")
        yield self._data[half:]


class SimulatedLogs:
    """The `LogStore` port. It takes bytes from the budget as the real store does."""

    def __init__(
        self, storage: Storage, outages: Outages, network: Network, judge: Judge, chance: Random, budget: Budget
    ) -> None:
        self._outages = outages
        self._process = PROCESS.get()
        self._storage = storage
        self._network = network
        self._judge = judge
        self._chance = chance
        self._budget = budget
        self._being_read: set[str] = set()
        self.in_flight = 0
        self.has_answered = False

    @asynccontextmanager
    async def open(self, file: LogFile) -> AsyncIterator[_Open]:
        self._judge.require(file.key not in self._being_read, "a file is read by one reader at a time", file.key)
        self._being_read.add(file.key)
        taken = 0
        try:
            taken = await self._budget.take(WINDOW)
            found = await self._network.call("s3", lambda: self._get(file), LogStoreUnavailable)
            self.has_answered = True
            if (excess := taken - len(found.content)) > 0:
                self._budget.give(excess)
                taken -= excess
            self.in_flight += taken
            try:
                pause = self._chance.choice([0.0, 0.1, 5.0])
                yield _Open(found, pause, is_cut=not self._storage.faults_are_over and self._chance.random() < 0.05)
            finally:
                self.in_flight -= taken
        finally:
            self._budget.give(taken)
            self._being_read.discard(file.key)

    def _get(self, file: LogFile) -> File:
        found = self._storage.files[file.key]
        self._outages.check(file.bucket, self._process)
        if self._judge.time() < found.readable_at:
            self._judge.record("log missing", file.key[-9:-5])
            raise LogMissing("404")
        if found.is_refused:
            raise BucketNotAllowed("not on the list")
        self._judge.record("log read", file.key[-9:-5])
        return found
