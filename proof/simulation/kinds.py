"""The kinds of worlds. The kind of a seed, and what is drawn for it, do not change what else is drawn for the seed."""

from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from random import Random

HOUR = 3600.0
DAY = 24 * HOUR


class Kind(Enum):
    """What a world has in addition to the faults that all worlds have."""

    PLAIN = "nothing"
    OUTAGE = "a log bucket, or Access Anywhere, is away for minutes, an hour or a day"
    REFUSING = "queues do not exist, or refuse everything, for a while"
    SHORT = "the queues hide messages for 0, 1 or 5 seconds"
    IDLE = "one busy queue and many idle ones"
    SETTINGS = "the settings are wrong at first"
    LONG_STOP = "the replicas, or Access Anywhere, are away for longer than the queues keep messages"
    BYTES = "message bodies of different sizes, and room for few of them"


@dataclass
class Kinds:
    """Draws the kind of a seed, and its details from `chance`."""

    seed: int

    @cached_property
    def chance(self) -> Random:
        return Random(f"kind {self.seed}")

    def chance_of(self, what: str) -> Random:
        """A chance of its own, for what was added later: so all else of the seed stays as it was."""
        return Random(f"{what} {self.seed}")

    @cached_property
    def kind(self) -> Kind:
        rare = (Kind.OUTAGE, Kind.REFUSING, Kind.SHORT, Kind.IDLE, Kind.BYTES, Kind.SETTINGS, Kind.LONG_STOP)
        luck = int(self.chance.random() * 100)
        return rare[luck // 8] if luck < 8 * len(rare) else Kind.PLAIN


def kind_of(seed: int) -> Kind:
    """The kind of the world of a seed."""
    return Kinds(seed).kind
