"""What Access Anywhere shows: the bucket is added to it only after a while, and looks at its folders fail."""

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
"""Seconds by which clocks differ here from the truth, at most: `jibe_sqs.syncing.bucket_map` counts on ten between two of them."""


@dataclass(eq=False)
class Discovery:
    """How a seed's replicas find out where buckets are shown."""

    interval: float
    has_others: bool
    """Another bucket is shown from the start."""

    @classmethod
    def draw(cls, chance: Random) -> "Discovery":
        return cls(chance.choice([20.0, 60.0, 300.0]), chance.random() < 0.7)

    def plan(self, index: Index, chance: Random) -> None:
        """When the bucket is added, and read as a whole; and perhaps once more."""
        index.synced_at = inf
        added = chance.random() * 100
        later(added, index.add)
        later(added + chance.random() * 20, index.sync)
        if chance.random() < 0.5:
            later(added + 20 + chance.random() * 60, index.sync)


class SimulatedProviders:
    """The `Providers` port: one process's way to the server."""

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
        return shown | ({BUCKET: (Place(ROOT),)} if ROOT in self._index.shown else {})

    def _synced(self) -> dict[str, float]:
        self._check()
        began = self._index.sync_began
        # Too early is right: its clock is not S3's.
        return {} if began is None else {BUCKET: EPOCH + began - 2 * self._storage.skew}

    def _check(self) -> None:
        if self._index.gate.reason:
            raise AccessAnywhereUnavailable("away")
