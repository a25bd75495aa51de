"""The formulas: a load and the measured constants make a prediction. No I/O.

messages a second   events / events of a message
refreshes           folders / cycle: each folder is refreshed once in a cycle
cycle               max(delay - margin, pause, 2 * refresh) + the time until the next change
replicas            CPU seconds a second / the part of a core that may be busy
lag                 receive and read + wait in the queue + wait for Access Anywhere + refresh
"""

import math
from typing import Final

import msgspec

from bench.scale import prices
from bench.scale_constants import Constants, Measured

ROUNDS: Final = 4
"""More replicas refresh more folders twice, which needs more replicas. That settles at once."""
MARGIN: Final = 5.0
"""Seconds that a watermark is earlier than its refresh, as in `compose.engine.Policies`."""
HOUR: Final = 3600.0
MAY_BE_0: Final = {"refresh", "pause", "round_trip", "memory", "log_bytes"}
"""The numbers of `Site` that may be 0."""


class Workload(msgspec.Struct, frozen=True):
    """How changes arrive. `delay`: seconds from a change to its message. `records`: that CloudTrail delivers for one change.

    `every`: seconds between two bursts of messages; 0 if they come evenly.
    """

    name: str
    kind: str
    delay: float
    records: float
    every: float = 0.0


WORKLOADS: Final = (
    Workload("S3 events", "s3event", 1.0, 0.0),
    Workload("tiny", "tiny", 300.0, 1 / 0.3, 300.0),
    Workload("normal 1 %", "normal1", 300.0, 100.0, 300.0),
    Workload("normal 10 %", "normal10", 300.0, 10.0, 300.0),
    Workload("normal 90 %", "normal90", 300.0, 1 / 0.9, 300.0),
    Workload("huge", "huge", 300.0, 1 / 0.3, 300.0),
)


class Site(msgspec.Struct, frozen=True):
    """What the model cannot know; guesses that an operator replaces. Times in seconds.

    `folders`: in which changes happen, all alike. `refresh`: of Access Anywhere. `capacity`: its calls a second.
    `busy`: the part of a core that is used. `core`: how much faster a core is than the one of the measurement.
    `round_trip`: to receive and to GET. `trails`: that deliver their bursts at different times. `memory`: GB of a replica.
    """

    folders: int = 10_000
    refresh: float = 1.0
    capacity: float = 1_000.0
    pause: float = 5.0
    busy: float = 0.7
    core: float = 1.0
    round_trip: float = 0.1
    trails: int = 10
    memory: float = 2.0
    log_bytes: float = 100.0
    """Bytes of logs for a message: a guess. Progress and reports do not grow with the load."""

    def __post_init__(self) -> None:
        """Raises ValueError for a number that no site has."""
        for name, value in msgspec.structs.asdict(self).items():
            if not (0 < value < math.inf or (value == 0 and name in MAY_BE_0)):
                raise ValueError(f"Site.{name} is {value}: it must be above 0")
        if self.busy >= 1:
            raise ValueError(f"Site.busy is {self.busy}: it is a part of a core, such as 0.7")


class Prediction(msgspec.Struct, frozen=True):
    """What a load needs. Rates are for a second. `lag`: seconds, mean; `longest`: at the end of a burst."""

    events: float
    messages: float
    replicas: int
    refreshes: float
    calls: float
    held: float
    sqs: float
    gets: float
    reads: float
    writes: float
    lag: float
    longest: float
    dollars: dict[str, float]
    """For a million changes, by service."""
    limits: list[str]

    @property
    def price(self) -> float:
        """Dollars for a million changes."""
        return sum(self.dollars.values())


def refreshes(events: float, workload: Workload, site: Site) -> float:
    """Refreshes a second that are wanted. A refresh covers all changes before it, also those whose messages come later."""
    rate = events / site.folders
    quiet = max(site.pause, 2 * site.refresh)
    covered = max(0.0, workload.delay - MARGIN)
    # After a refresh, the next change comes after 1 / rate, and its message after `delay`.
    rest = math.exp(-rate * max(0.0, quiet - covered)) / rate
    return site.folders / (max(quiet, covered) + rest)


def copies(messages: float, events: float, replicas: int, site: Site) -> float:
    """How many replicas refresh one folder at the same time: each that has a message about it before the first one ends."""
    naming = messages * -math.expm1(-events / site.folders)
    return 1 + (replicas - 1) * -math.expm1(-naming * site.refresh / replicas)


def waiting(load: float, replicas: int, service: float) -> float:
    """Seconds in the queue for even arrivals: Allen and Cunneen's formula for M/D/N. `load`: busy part of all replicas."""
    return service / replicas * math.pow(load, math.sqrt(2 * (replicas + 1)) - 1) / (1 - load) / 2


def predicted(events: float, workload: Workload, site: Site, measured: Measured) -> Prediction:
    """What so many changes a second need. Raises ValueError if there are none."""
    if not 0 < events < math.inf:
        raise ValueError(f"{events} changes a second: the number must be above 0")
    each = measured.kinds[workload.kind]
    messages = events / each.events
    wanted = refreshes(events, workload, site)
    replicas = 1
    for _ in range(ROUNDS):
        asked = wanted * copies(messages, each.events, replicas, site)
        done = min(asked, site.capacity / measured.refresh_calls)
        work = (messages * each.cpu + done * measured.refresh_cpu) / site.core
        replicas = max(1, math.ceil(work / site.busy))
    load = work / replicas
    wait = waiting(load, replicas, work / messages)
    burst = load * workload.every / site.trails
    behind = site.folders * (asked / wanted) / done if asked > done else 0.0
    base = site.round_trip + each.cpu / site.core + site.refresh + wait
    lag, longest = base + burst / 2 + behind / 2, base + burst + behind
    rates = {
        "sqs": messages * (each.receives + each.deletes + each.changes),
        "gets": messages * each.gets,
        "reads": messages * each.reads,
        "writes": messages * each.writes + done,
    }
    prediction = Prediction(
        events=events,
        messages=messages,
        replicas=replicas,
        refreshes=done,
        calls=done * measured.refresh_calls,
        held=messages * lag,
        lag=lag,
        longest=longest,
        dollars=_dollars(events, messages, workload, replicas, site, rates),
        limits=[],
        **rates,
    )
    return msgspec.structs.replace(prediction, limits=limits(prediction, asked, workload, each))


def limits(found: Prediction, wanted: float, workload: Workload, each: Constants) -> list[str]:
    """The limits that are exceeded, in short words."""
    publishes = found.messages if workload.records else 0.0
    checked = {
        "AA": wanted > found.refreshes,
        "flight": found.held > prices.SQS_IN_FLIGHT,
        "SNS": publishes > prices.SNS_PUBLISHES,
        "S3": found.gets > prices.S3_GETS,
        "table": max(found.reads, found.writes) > prices.TABLE_UNITS,
        # The finished file is the first write of a message; all others count principals, which may be one.
        "item": found.messages * (each.writes - each.gets) > prices.PARTITION_WRITES,
    }
    return [name for name, is_exceeded in checked.items() if is_exceeded]


def _dollars(
    events: float, messages: float, workload: Workload, replicas: int, site: Site, rates: dict[str, float]
) -> dict[str, float]:
    """Dollars for a million changes."""
    million = 1e6 / events
    hours = million / HOUR
    publishes = messages if workload.records else 0.0
    return {
        "CloudTrail": 1e6 * workload.records * prices.CLOUDTRAIL_DATA_EVENT,
        "SNS": publishes * million * prices.SNS_PUBLISH,
        "SQS": rates["sqs"] * million * prices.SQS_REQUEST,
        "S3": rates["gets"] * million * (prices.S3_GET + prices.S3_PUT),
        "DynamoDB": million * (rates["reads"] * prices.READ_UNIT + rates["writes"] * prices.WRITE_UNIT),
        "Fargate": hours * replicas * (prices.VCPU_HOUR + site.memory * prices.GB_HOUR),
        "logs": messages * million * site.log_bytes / 1e9 * prices.LOG_GB,
    }
