"""The surroundings of all replicas, and the classes that the replicas are made of."""

from dataclasses import dataclass
from random import Random

from jibe_sqs.compose import engine
from jibe_sqs.syncing.bucket_map import BucketMap
from proof.simulation.access_anywhere import Index
from proof.simulation.judge import Judge
from proof.simulation.loop import SeededLoop
from proof.simulation.network import Network
from proof.simulation.providers import Discovery
from proof.simulation.sqs import Sqs
from proof.simulation.storage import Storage
from proof.simulation.sweeps import Sweeping


@dataclass(kw_only=True, slots=True)
class Parts(engine.Parts):
    """The classes of a service; mutations put defective ones in their place."""

    bucket_map: type[BucketMap] = BucketMap
    has_margin: bool = True


@dataclass(eq=False, kw_only=True, slots=True)
class World:
    """Everything that outlives a replica, except its ledger."""

    loop: SeededLoop
    chance: Random
    judge: Judge
    network: Network
    storage: Storage
    index: Index
    queues: list[Sqs]
    sweeping: Sweeping | None
    """How log files are swept; None if they are not."""
    batch: int
    """The largest number of changes in a report; 0 if folders are refreshed instead."""
    discovery: Discovery | None
    """How buckets are discovered; None if they are known from the start."""
    parts: Parts

    def stop_faults(self) -> None:
        """Stop all failures."""
        self.network.stop_faults()
        self.index.stop_faults()
        self.storage.is_quiet = True
        for sqs in self.queues:
            sqs.stop_faults()
