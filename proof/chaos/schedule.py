"""What befalls whom, and when: the same for the same seed."""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from random import Random
from typing import Final

import msgspec

from proof.chaos.proxy import Fault

VISIBILITY_TIMEOUT: Final = 5
"""Seconds. A replica hangs for longer, so that it comes back with receipts that others have had since."""


class System(StrEnum):
    """What a replica talks to."""

    ACCESS_ANYWHERE = "Access Anywhere"
    S3 = "S3"
    SQS = "SQS"
    DYNAMODB = "DynamoDB"


class Kind(StrEnum):
    KILL = "kill"
    """SIGKILL, and a new start."""
    HANG = "hang"
    """SIGSTOP, and later SIGCONT."""
    TERM = "term"
    """SIGTERM, and a new start."""
    PARTITION = "partition"
    """One replica, from one system."""
    AA_FAILS = "aa-fails"
    """A tenth of all calls fail, in one way or another."""
    AA_DOWN = "aa-down"
    CLOCK = "clock"
    """A replica's wall clock is stepped, and stays so."""
    FULL_DISK = "full-disk"
    """A replica's ledger can write nothing."""


class Disturbance(msgspec.Struct, frozen=True, kw_only=True):
    """Times in seconds. `at`: since the beginning."""

    at: float
    kind: Kind
    replica: int
    """Whom it is for, if that one can suffer it then; else the next."""
    seconds: float
    """How long it lasts or, where a replica ends by it, until it is started again."""
    system: System = System.SQS
    fault: Fault = Fault.CUT
    ahead: float = 0.0
    """Of true time, that the clock is from then on."""


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
"""The last is longer than ledgers remember."""


def disturbances(seed: int, replicas: int, seconds: float, systems: Sequence[System]) -> list[Disturbance]:
    """A kill every three to five seconds, and something else every one or two."""
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
