"""What a backlog does not show: start, memory, idleness, latency, and how soon it stops."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Final

import msgspec

from bench.contenders import AIOBOTOCORE, BOTO3, OURS, QUEUE, SQS_CONSUMER, Contender, ours
from bench.drains import Running, started
from bench.spreads import Spread, quantile, spread
from bench.stub.process import StubProcess

QUEUES: Final = 4
"""The queues of the idle service."""
HELD: Final = 1000
"""Messages in flight while Access Anywhere is slow."""
MESSAGES: Final = 200
"""Messages of the latency, each sent when the one before is done."""
WARM_UP: Final = 10
PATIENCE: Final = 120.0
NEVER: Final = 3600.0

# What the facts are called.
START: Final = "start, to the first receive"
START_CPU: Final = "start, CPU time"
START_MEMORY: Final = "start, memory"
IDLE_CPU: Final = "idle, share of a core"
IDLE_RECEIVES: Final = "idle, receives an hour and queue"
IDLE_MEMORY: Final = "idle, memory"
SHUTDOWN: Final = "shutdown, idle"
LATENCY_REFRESH_P50: Final = "latency, sent to refresh asked, p50"
LATENCY_REFRESH_P99: Final = "latency, sent to refresh asked, p99"
LATENCY_DELETED_P50: Final = "latency, sent to deleted, p50"
LATENCY_DELETED_P99: Final = "latency, sent to deleted, p99"
IN_FLIGHT: Final = f"in flight, {HELD:,} messages"


class Fact(msgspec.Struct, frozen=True):
    """One measured value. `what` begins with the name of the workload."""

    what: str
    contender: str
    unit: str
    value: Spread


def start(stub: StubProcess, rounds: int, _: "Lengths") -> Iterator[Fact]:
    """From the start of the process to the first receive: seconds, CPU time, memory."""
    contenders = [each for each in (OURS, AIOBOTOCORE, BOTO3, SQS_CONSUMER) if not each.missing()]
    found: dict[str, list[tuple[float, float, float]]] = {each.name: [] for each in contenders}
    for _round in range(rounds):
        for each in contenders:
            with _started(each, stub) as running:
                found[each.name].append((running.start, running.cpu_now(), running.memory() / 1e6))
                running.stop()
    for name, values in found.items():
        seconds, cpu, memory = zip(*values, strict=True)
        yield Fact(START, name, "s", spread(seconds))
        yield Fact(START_CPU, name, "s", spread(cpu))
        yield Fact(START_MEMORY, name, "MB", spread(memory))


def idle(stub: StubProcess, _rounds: int, lengths: "Lengths") -> Iterator[Fact]:
    """Four empty queues: share of a core, and receives an hour and queue, extrapolated."""
    with _started(ours(queues=QUEUES)._replace(polls=QUEUES), stub) as running:
        time.sleep(2.0)
        receives, cpu, began = stub.counts()["sqs ReceiveMessage"], running.cpu_now(), time.monotonic()
        time.sleep(lengths.idle)
        seconds = time.monotonic() - began
        used = running.cpu_now() - cpu
        hourly = (stub.counts()["sqs ReceiveMessage"] - receives) / seconds * 3600 / QUEUES
        memory = running.memory() / 1e6
        running.stop()
    yield Fact(IDLE_CPU, OURS.name, "%", spread([used / seconds * 100]))
    yield Fact(IDLE_RECEIVES, OURS.name, "", spread([hourly]))
    yield Fact(IDLE_MEMORY, OURS.name, "MB", spread([memory]))


def latency(stub: StubProcess, _rounds: int, lengths: "Lengths") -> Iterator[Fact]:
    """A quiet queue: one message at a time, each about a known folder of its own."""
    asked: list[float] = []
    deleted: list[float] = []
    chance = random.Random(1)
    with _started(OURS, stub) as running:
        for number in range(WARM_UP + lengths.messages):
            time.sleep(chance.random() / 10)
            stub.load(QUEUE, "manyfolders", 1, first=number)
            state = stub.wait(queue=QUEUE, deleted=number + 1, timeout=PATIENCE)
            queue = state["queues"][QUEUE]
            if number >= WARM_UP:
                asked.append((state["last_refresh"] - queue["last_sent"]) * 1e3)
                deleted.append((queue["last_deleted"] - queue["last_sent"]) * 1e3)
        running.stop()
    for what, values, part in (
        (LATENCY_REFRESH_P50, asked, 0.5),
        (LATENCY_REFRESH_P99, asked, 0.99),
        (LATENCY_DELETED_P50, deleted, 0.5),
        (LATENCY_DELETED_P99, deleted, 0.99),
    ):
        yield Fact(what, OURS.name, "ms", Spread(quantile(values, part), min(values), max(values), values))


def shutdown(stub: StubProcess, rounds: int, _: "Lengths") -> Iterator[Fact]:
    """From SIGTERM to the end, while the queue is empty and a long poll waits."""
    values = []
    for _round in range(rounds):
        with _started(OURS, stub) as running:
            time.sleep(1.0)
            running.stop(drain=False)
            values.append(running.stop_seconds)
    yield Fact(SHUTDOWN, OURS.name, "s", spread(values))


def in_flight(stub: StubProcess, rounds: int, _: "Lengths") -> Iterator[Fact]:
    """Memory with messages that wait for a slow Access Anywhere, each for a folder of its own."""
    values = []
    for _round in range(min(rounds, 3)):
        with _started(OURS, stub, refresh_seconds=NEVER) as running:
            stub.load(QUEUE, "manyfolders", HELD)
            _wait_for_gets(stub)
            values.append(running.memory(peak=True) / 1e6)
    yield Fact(IN_FLIGHT, OURS.name, "MB", spread(values))


class Lengths(msgspec.Struct, frozen=True):
    """`idle`: seconds of idleness. `messages`: of the latency."""

    idle: float = 60.0
    messages: int = MESSAGES


BEHAVIOUR: Final[dict[str, Callable[[StubProcess, int, Lengths], Iterator[Fact]]]] = {
    "start": start,
    "idle": idle,
    "latency": latency,
    "shutdown": shutdown,
    "inflight": in_flight,
}


def _started(
    contender: Contender, stub: StubProcess, *, refresh_seconds: float = 0.0
) -> AbstractContextManager[Running]:
    stub.reset()
    stub.set(refresh_seconds=refresh_seconds)
    return started(contender, stub)


def _wait_for_gets(stub: StubProcess) -> None:
    deadline = time.monotonic() + PATIENCE
    while stub.counts().get("s3 GET", 0) < HELD:
        if time.monotonic() > deadline:
            raise SystemExit(f"in flight: {stub.counts()}")
        time.sleep(0.1)
    time.sleep(1.0)
