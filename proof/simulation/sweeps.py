"""The surroundings of sweeps: a listing that fails and lags, and a sweep queue whose deletes and rejects are checked."""

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import TypeVar

from jibe_sqs.core.errors import LogStoreUnavailable
from jibe_sqs.core.model import LogFile, Message, Reject
from jibe_sqs.core.sources import EVERY_BUCKET, LogSource
from jibe_sqs.ports import Found
from jibe_sqs.sweeping.sweep_queue import SweepQueue
from proof.simulation.judge import Judge
from proof.simulation.network import Network
from proof.simulation.outages import Outages
from proof.simulation.storage import BUCKET, EPOCH, LOGS, REGION, Storage

T = TypeVar("T")


@dataclass(eq=False)
class Sweeping:
    """How the replicas of a seed sweep."""

    source: LogSource
    interval: float
    page: int
    """The largest number of entries in one page of a listing."""
    max_entries: int
    """The largest number of files in the sweep queue."""

    @classmethod
    def draw(cls, chance: Random) -> "Sweeping":
        source = LogSource(*chance.choice([(LOGS, REGION), (LOGS, REGION), (LOGS, ""), (EVERY_BUCKET, "")]))
        return cls(source, chance.choice([15.0, 60.0, 180.0]), chance.choice([2, 10]), chance.choice([1, 5, 20_000]))


class SimulatedListing:
    """The `Listing` port. The bucket may change between two pages."""

    def __init__(self, storage: Storage, outages: Outages, network: Network, judge: Judge, page: int) -> None:
        self._storage = storage
        self._outages = outages
        self._network = network
        self._judge = judge
        self._page = page

    async def level(self, bucket: str, prefix: str) -> AsyncGenerator[Found | str, None]:
        after = ""
        while True:
            entries = await self._call(partial(self._entries, bucket, prefix, after))
            for each in entries[: self._page]:
                yield each
            if len(entries) <= self._page:
                return
            after = _name(entries[self._page - 1])

    async def has(self, bucket: str, prefix: str) -> bool:
        return bool(await self._call(partial(self._entries, bucket, prefix, "")))

    async def buckets(self) -> Sequence[str]:
        return await self._call(lambda: [BUCKET, LOGS])

    async def _call(self, effect: Callable[[], list[T]]) -> list[T]:
        return await self._network.call("s3 list", effect, LogStoreUnavailable)

    def _entries(self, bucket: str, prefix: str, after: str) -> list[Found | str]:
        """The entries of one level after the entry `after`, in order."""
        self._outages.check(bucket, None)
        found: dict[str, Found | str] = {}
        for key in self._keys(bucket):
            if key.startswith(prefix):
                name, slash, _ = key[len(prefix) :].partition("/")
                entry = prefix + name + slash
                if entry > after and entry not in found:
                    found[entry] = entry if slash else self._found(bucket, key)
        return [found[entry] for entry in sorted(found)]

    def _keys(self, bucket: str) -> list[str]:
        if bucket == LOGS:
            now = self._judge.time()
            return [file.key for file in self._storage.files.values() if file.listed_at <= now]
        return [key for objects in self._storage.folders.values() for key in objects]

    def _found(self, bucket: str, key: str) -> Found:
        if bucket != LOGS:
            return Found(LogFile(bucket, key, size=1))
        file = self._storage.files[key]
        return Found(LogFile(LOGS, key, etag=file.etag, size=len(file.content)), EPOCH + file.readable_at)


class JudgedSweepQueue(SweepQueue):
    """The real sweep queue, with a check of each delete and reject."""

    def __init__(
        self,
        max_entries: int,
        wall_clock: Callable[[], float],
        *,
        check_sweep_delete: Callable[[str], None],
        check_reject: Callable[[str, Message, Reject], None],
        on_reject: Callable[[LogFile, Reject], None],
    ) -> None:
        super().__init__(max_entries=max_entries, wall_clock=wall_clock, on_reject=on_reject)
        self._check_sweep_delete = check_sweep_delete
        self._check_reject = check_reject

    async def delete(self, receipts: Sequence[str]) -> dict[str, Exception]:
        for receipt in receipts:
            self._check_sweep_delete(_key(receipt.rpartition("#")[0]))
        return await super().delete(receipts)

    async def reject(self, message: Message, why: Reject) -> bool:
        self._check_reject(_key(message.id), message, why)
        return await super().reject(message, why)


def _name(entry: Found | str) -> str:
    return entry if isinstance(entry, str) else entry.file.key


def _key(id_: str) -> str:
    return id_.removeprefix(f"s3://{LOGS}/")
