"""The goals of the service's speed, and whether a run has reached them."""

from collections.abc import Callable
from typing import Final, NamedTuple

from bench import behaviour
from bench.contenders import AIOBOTOCORE, BOTO3, OURS, SQS_CONSUMER, WORKERS
from bench.results import Results
from bench.workloads import Measured

Value = float | None
"""`None` if the run has not measured it."""


class Goal(NamedTuple):
    """A goal. `is_floor`: the value must be at least so much; else at most."""

    what: str
    unit: str
    goal: float
    value: Callable[[Results], Value]
    is_floor: bool = False

    def is_reached(self, found: Results) -> bool:
        """Whether the run reached it. A value that was not measured does not reach a goal."""
        value = self.value(found)
        if value is None:
            return False
        return value >= self.goal if self.is_floor else value <= self.goal


def measured(found: Results, workload: str, contender: str) -> Measured | None:
    """What one contender needed in one workload. None if it was not measured."""
    return next((each.contenders.get(contender) for each in found.workloads if each.name == workload), None)


def fact(found: Results, what: str, contender: str = OURS.name) -> Value:
    """The median of a fact. None if it was not measured."""
    return next(
        (each.value.median for each in found.behaviour if (each.what, each.contender) == (what, contender)), None
    )


def _times(workload: str, other: str, ours: str = OURS.name) -> Callable[[Results], Value]:
    """The other one's CPU time as a multiple of ours."""

    def value(found: Results) -> Value:
        mine, theirs = measured(found, workload, ours), measured(found, workload, other)
        return theirs.cpu.median / mine.cpu.median if mine and theirs else None

    return value


def _of(workload: str, get: Callable[[Measured], float], contender: str = OURS.name) -> Callable[[Results], Value]:
    def value(found: Results) -> Value:
        each = measured(found, workload, contender)
        return get(each) if each else None

    return value


def _fact(what: str) -> Callable[[Results], Value]:
    return lambda found: fact(found, what)


def _start(found: Results) -> Value:
    mine, theirs = fact(found, behaviour.START_CPU), fact(found, behaviour.START_CPU, AIOBOTOCORE.name)
    return mine / theirs if mine and theirs else None


def _normal(other: str) -> Callable[[Results], Value]:
    """The lowest of the three workloads of normal files."""

    def value(found: Results) -> Value:
        each = [_times(f"normal {part} %", other)(found) for part in (1, 10, 90)]
        known = [ratio for ratio in each if ratio is not None]
        return min(known, default=None)

    return value


def _workers(found: Results) -> Value:
    one, two = (measured(found, "two workers", each.name) for each in (OURS, WORKERS))
    return one.wall.median / two.wall.median if one and two else None


def _parser(found: Results) -> Value:
    """The bare parser's CPU time as a part of ours, the lowest of the three workloads of normal files."""
    parts = [
        each.parser.median / mine.cpu.median * 100
        for each in found.workloads
        if each.name.startswith("normal ") and each.parser and (mine := each.contenders.get(OURS.name))
    ]
    return min(parts, default=None)


GOALS: Final = (
    Goal("tiny, against aiobotocore", "times", 5, _times("tiny", AIOBOTOCORE.name), is_floor=True),
    Goal("tiny, against boto3 in threads", "times", 5, _times("tiny", BOTO3.name), is_floor=True),
    Goal("tiny, against sqs-consumer", "times", 3, _times("tiny", SQS_CONSUMER.name), is_floor=True),
    Goal("normal, against aiobotocore", "times", 3, _normal(AIOBOTOCORE.name), is_floor=True),
    Goal("normal, of the bare parser", "%", 80, _parser, is_floor=True),
    Goal("huge, against aiobotocore", "times", 8, _times("huge", AIOBOTOCORE.name), is_floor=True),
    Goal("huge, peak memory", "MB", 150, _of("huge", lambda each: each.peak.median)),
    Goal("many folders, CPU time of a refresh", "ms", 2, _of("many folders", lambda each: each.refresh / 1e3)),
    Goal("many folders, AA calls an event", "", 2, _of("many folders", lambda each: each.calls)),
    Goal("memory, 1,000 messages in flight", "MB", 150, _fact(behaviour.IN_FLIGHT)),
    Goal("memory, idle", "MB", 70, _fact(behaviour.IDLE_MEMORY)),
    Goal("start, CPU time against aiobotocore's", "times", 1, _start),
    Goal("latency, sent to refresh asked, p50", "ms", 15, _fact(behaviour.LATENCY_REFRESH_P50)),
    Goal("latency, sent to refresh asked, p99", "ms", 60, _fact(behaviour.LATENCY_REFRESH_P99)),
    Goal("latency, sent to deleted, p50", "ms", 60, _fact(behaviour.LATENCY_DELETED_P50)),
    Goal("idle, share of a core", "%", 0.5, _fact(behaviour.IDLE_CPU)),
    Goal("idle, receives an hour and queue", "", 180, _fact(behaviour.IDLE_RECEIVES)),
    Goal("tiny, AWS requests a file", "", 1.25, _of("tiny", lambda each: each.requests)),
    Goal("two workers, files a second against one", "times", 1.7, _workers, is_floor=True),
    Goal("shutdown, idle", "s", 1, _fact(behaviour.SHUTDOWN)),
)
