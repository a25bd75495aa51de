"""The buckets that Access Anywhere shows. The bucket is added after a while, and calls that list buckets fail."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import inf
from random import Random

from jibe_sqs.core.decisions import Place, Places
from jibe_sqs.core.errors import AccessAnywhereUnavailable
from proof.simulation.access_anywhere import ROOT, Index
from proof.simulation.network import Network, later
from proof.simulation.storage import BUCKET, EPOCH, Storage

SKEW = 2.0
"""The largest error of a clock here, in seconds. `jibe_sqs.syncing.bucket_map` allows ten between two clocks."""


@dataclass(eq=False)
class Discovery:
    """How the replicas of a seed discover buckets."""

    interval: float
    has_others: bool
    """Whether another bucket is shown from the start."""

    @classmethod
    def draw(cls, chance: Random) -> "Discovery":
        return cls(chance.choice([20.0, 60.0, 300.0]), chance.random() < 0.7)

    def plan(self, index: Index, chance: Random) -> None:
        """Plan when the bucket is added, and when it is synchronised once or twice."""
        index.synced_at = inf
        added = chance.random() * 100
        later(added, index.add)
        later(added + chance.random() * 20, index.sync)
        if chance.random() < 0.5:
            later(added + 20 + chance.random() * 60, index.sync)

    def list_late(self, index: Index, chance: Random) -> None:
        """Let the server list the bucket only some time after its last sync."""
        index.listed_at = inf
        later(180 + chance.random() * 100, index.list_bucket)


class SimulatedProviders:
    """The `Providers` port, for one process."""

    def __init__(self, index: Index, storage: Storage, network: Network, discovery: Discovery) -> None:
        self._index = index
        self._storage = storage
        self._network = network
        self._discovery = discovery

    async def places(self) -> Places:
        return await self._network.call("aa places", self._places, AccessAnywhereUnavailable)

    async def synced(self, folders: Collection[str]) -> Mapping[str, float]:
        synced = await self._network.call("aa tasks", self._synced, AccessAnywhereUnavailable)
        return {folder: began for folder, began in synced.items() if folder in folders}

    def _places(self) -> Places:
        self._check()
        shown = {"other": (Place("/other"),)} if self._discovery.has_others else {}
        is_listed = ROOT in self._index.shown and self._index.listed_at < inf
        return shown | ({BUCKET: (Place(ROOT),)} if is_listed else {})

    def _synced(self) -> dict[str, float]:
        self._check()
        began = self._index.sync_began
        # Report a time that is too early rather than too late: the server's clock may differ from S3's.
        return {} if began is None else {BUCKET: EPOCH + began - 2 * self._storage.skew}

    def _check(self) -> None:
        if self._index.gate.reason:
            raise AccessAnywhereUnavailable("the server is down")
