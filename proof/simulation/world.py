"""What all replicas have around them, and the classes that they are made of."""

from dataclasses import dataclass
from random import Random

from jibe_sqs.consuming.consumer import Consumer
from jibe_sqs.consuming.handler import Handler
from jibe_sqs.sweeping.sweeper import Sweeper
from jibe_sqs.syncing.bucket_map import BucketMap
from jibe_sqs.syncing.changes import Changes
from jibe_sqs.syncing.refreshes import Refreshes
from proof.simulation.access_anywhere import Index
from proof.simulation.judge import Judge
from proof.simulation.loop import SeededLoop
from proof.simulation.network import Network
from proof.simulation.providers import Discovery
from proof.simulation.sqs import Sqs
from proof.simulation.storage import Storage
from proof.simulation.sweeps import Sweeping


class Parts:
    """The classes of which a service is made; mutations put others in their place."""

    handler: type[Handler] = Handler
    refreshes: type[Refreshes] = Refreshes
    consumer: type[Consumer] = Consumer
    sweeper: type[Sweeper] = Sweeper
    changes: type[Changes] = Changes
    buckets: type[BucketMap] = BucketMap
    has_margin: bool = True


@dataclass(eq=False, kw_only=True, slots=True)
class World:
    """Everything that survives a replica, but for its ledger."""

    loop: SeededLoop
    chance: Random
    judge: Judge
    network: Network
    storage: Storage
    index: Index
    queues: list[Sqs]
    sweeping: Sweeping | None
    """How log files are swept, if they are."""
    batch: int
    """How many changes are told in a call, at most; 0 where folders are refreshed instead."""
    discovery: Discovery | None
    """How buckets are discovered; otherwise it is known from the start where they are shown."""
    parts: Parts

    def mend(self) -> None:
        """From now on nothing fails."""
        self.network.mend()
        self.index.mend()
        self.storage.is_quiet = True
        for sqs in self.queues:
            sqs.mend()
