"""The plan of disturbances. The same seed gives the same plan."""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from random import Random
from typing import Final

import msgspec

from proof.chaos.proxy import Fault

VISIBILITY_TIMEOUT: Final = 5
"""Seconds. A hung replica hangs longer, so that other replicas have received its messages when it continues."""


class System(StrEnum):
    """The systems to which a replica connects."""

    ACCESS_ANYWHERE = "Access Anywhere"
    S3 = "S3"
    SQS = "SQS"
    DYNAMODB = "DynamoDB"


class Kind(StrEnum):
    KILL = "kill"
    """SIGKILL, then a new start."""
    HANG = "hang"
    """SIGSTOP, later SIGCONT."""
    TERM = "term"
    """SIGTERM, then a new start."""
    PARTITION = "partition"
    """One replica cannot reach one system."""
    AA_FAILS = "aa-fails"
    """A tenth of all calls fail."""
    AA_DOWN = "aa-down"
    CLOCK = "clock"
    """A replica's wall clock is stepped, and stays wrong."""
    FULL_DISK = "full-disk"
    """A replica's ledger cannot write."""


class Disturbance(msgspec.Struct, frozen=True, kw_only=True):
    """A planned disturbance. Times: seconds. `at`: since the start of the run."""

    at: float
    kind: Kind
    replica: int
    """The number of the replica. If it is not suitable at that time, the next one is used."""
    seconds: float
    """The duration; or, if the replica ends, the time until it is started again."""
    system: System = System.SQS
    fault: Fault = Fault.CUT
    ahead: float = 0.0
    """Seconds by which the clock is ahead of true time afterwards."""


_WEIGHTS: Final = {
    Kind.HANG: 3,
    Kind.TERM: 3,
    Kind.PARTITION: 12,
    Kind.AA_FAILS: 1,
    Kind.AA_DOWN: 1,
    Kind.CLOCK: 3,
    Kind.FULL_DISK: 2,
}
_DURATIONS: Final = {
    Kind.KILL: (0.0, 1.0),
    Kind.HANG: (VISIBILITY_TIMEOUT + 1.0, VISIBILITY_TIMEOUT + 4.0),
    Kind.TERM: (0.0, 1.0),
    Kind.PARTITION: (1.0, 6.0),
    Kind.AA_FAILS: (5.0, 10.0),
    Kind.AA_DOWN: (2.0, 5.0),
    Kind.CLOCK: (0.0, 0.0),
    Kind.FULL_DISK: (2.0, 6.0),
}
_CLOCK_STEPS: Final = (-86_400.0, -900.0, -60.0, 60.0, 900.0, 86_400.0, 60 * 86_400.0)
"""The last step is longer than the ledger's retention."""


def disturbances(seed: int, replicas: int, seconds: float, systems: Sequence[System]) -> list[Disturbance]:
    """Plan a kill every three to five seconds, and another disturbance about every 1.5 seconds."""
    random = Random(f"chaos {seed}")
    kills = (_disturbance(random, at, Kind.KILL, replicas, systems) for at in _times(random, 3.0, 5.0, seconds))
    found = list(kills)
    kinds, weights = list(_WEIGHTS), list(_WEIGHTS.values())
    for at in _times(random, 0.8, 2.2, seconds):
        (kind,) = random.choices(kinds, weights)
        found.append(_disturbance(random, at, kind, replicas, systems))
    return sorted(found, key=lambda disturbance: disturbance.at)


def _times(random: Random, least: float, most: float, end: float) -> Iterator[float]:
    at = random.uniform(0, most)
    while at < end:
        yield at
        at += random.uniform(least, most)


def _disturbance(random: Random, at: float, kind: Kind, replicas: int, systems: Sequence[System]) -> Disturbance:
    return Disturbance(
        at=at,
        kind=kind,
        replica=random.randrange(replicas),
        seconds=random.uniform(*_DURATIONS[kind]),
        system=random.choice(systems),
        fault=random.choice(list(Fault)),
        ahead=random.choice(_CLOCK_STEPS),
    )
