"""The surroundings of all replicas, and the classes of their services."""

from dataclasses import dataclass, field
from random import Random

from jibe_sqs.compose import engine
from jibe_sqs.syncing.bucket_map import BucketMap
from proof.simulation.access_anywhere import Index
from proof.simulation.judge import Judge
from proof.simulation.kinds import Kind
from proof.simulation.loop import SeededLoop
from proof.simulation.network import Network
from proof.simulation.outages import Outages
from proof.simulation.pauses import OperatorPause
from proof.simulation.providers import Discovery
from proof.simulation.settings import Configuration
from proof.simulation.sqs import Sqs
from proof.simulation.storage import Event, Storage
from proof.simulation.sweeps import Sweeping


@dataclass(kw_only=True, slots=True)
class Parts(engine.Parts):
    """The classes of a service. Mutations replace some of them by defective ones."""

    bucket_map: type[BucketMap] = BucketMap
    has_margin: bool = True
    has_fingerprint: bool = True
    """Whether a finished file counts only under the rules under which it was finished."""


@dataclass(eq=False, kw_only=True, slots=True)
class World:
    """Everything around the replicas, except their ledgers."""

    loop: SeededLoop
    chance: Random
    judge: Judge
    network: Network
    storage: Storage
    index: Index
    queues: list[Sqs]
    sweeping: Sweeping | None
    """How log files are swept; None if they are not swept."""
    batch: int
    """The largest number of changes in one report; 0 if folders are refreshed instead."""
    discovery: Discovery | None
    """How buckets are discovered; None if all buckets are known from the start."""
    configuration: Configuration | None
    """The settings of the replicas; None if they need none."""
    parts: Parts
    kind: Kind
    outages: Outages
    bytes_held: int
    """Bytes of all messages in hand of one replica."""
    has_big_room: bool
    """Whether a replica has room for many full batches."""
    unlisted: dict[Event, None] = field(default_factory=dict)
    """Changes that were skipped because their bucket was not listed yet. They must be shown in the end."""
    pause: OperatorPause | None = None
    """The pause of an operator, if there is one."""
    aa_away_until: float = 0.0
    calm_at: float = 0.0
    """When nothing is away any more."""

    def stop_faults(self) -> None:
        """Stop all faults."""
        self.network.stop_faults()
        self.index.stop_faults()
        self.storage.faults_are_over = True
        for sqs in self.queues:
            sqs.stop_faults()
