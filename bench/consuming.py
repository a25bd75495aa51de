"""The consumer's own work: what a tiny message costs, and how many messages each call to SQS has."""

import asyncio
import cProfile
import gzip
import itertools
import json
import pstats
import random
import statistics
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from bench.logs import ACCOUNT, REGION, texts
from jibe_sqs.compose.engine import Engine, Inputs, Outputs, Policies
from jibe_sqs.core.decisions import Decisions
from jibe_sqs.core.model import Folder, LogFile, Message, Reject
from jibe_sqs.ports import OtherRefreshes, QueueDepth, QueueFacts
from jibe_sqs.telemetry import logs
from jibe_sqs.testing import InMemoryLedger

MESSAGES: Final = 5000
RUNS: Final = 5
BUCKET: Final = "example-trail"
ROUND_TRIP: Final = 0.003
"""Seconds of a call to SQS, and the mean of those of a GET."""
CASES: Final = (
    (1, 64, 10_000, 0.0),
    (4, 64, 10_000, 0.0),
    (34, 64, 10_000, 0.0),
    (1, 64, 100, 0.2),
    (4, 64, 100, 0.2),
    (34, 64, 100, 0.2),
)
"""Queues; messages that are read, and that are held, at the same time; and seconds of a refresh."""


def run(*, profile: bool = False, messages: int = MESSAGES) -> None:
    """The consumer's own work: what a tiny message costs, and how many messages each call to SQS has."""
    logs.configure("error", "json")
    print(
        f"{'queues':>8} {'reading':>8} {'held':>8} {'refresh':>8} {'us of CPU':>10} {'spread':>12} {'receives':>9} {'deletes':>8} a message"
    )
    for case in CASES:
        outcomes = [_measured(*case, messages, profile=profile) for _ in range(1 if profile else RUNS)]
        micros = sorted(each[0] for each in outcomes)
        _, receives, deletes = outcomes[-1]
        spread = f"{micros[0]:.0f} to {micros[-1]:.0f}"
        print("".join(f"{each:>8} " for each in case), end="")
        print(f"{statistics.median(micros):>10.0f} {spread:>12} {receives:>9.3f} {deletes:>8.3f}", flush=True)


def _measured(
    queues: int, reading: int, held: int, refresh: float, messages: int, *, profile: bool
) -> tuple[float, float, float]:
    """Microseconds of CPU, receives, and deletes: each for one message."""
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_drained(queues, reading, held, refresh, messages, profile=profile))


async def _drained(
    queues: int, reading: int, held: int, refresh: float, messages: int, *, profile: bool
) -> tuple[float, float, float]:
    store = _Store(messages)
    fleet = [_Queue(f"queue-{number}") for number in range(queues)]
    for queue, file in zip(itertools.cycle(fleet), store.files, strict=False):
        queue.send(_body(file))
    target = _Target(refresh)
    policies = Policies(messages_reading=reading, messages_held=held)
    engine = Engine(Outputs(clock=_Clock(), ledger=InMemoryLedger(), target=target, decisions=Decisions()), policies)
    service = engine.service(Inputs(queues=[(queue, await queue.facts()) for queue in fleet], logs=store))
    profiler = cProfile.Profile()
    serving = asyncio.create_task(service.run())
    began = time.process_time()
    if profile:
        profiler.enable()
    while sum(queue.deleted for queue in fleet) < messages:
        await asyncio.sleep(0.02)
    profiler.disable()
    micros = (time.process_time() - began) / messages * 1e6
    if profile:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(70)
    service.stop()
    for queue in fleet:
        queue.end_polls()
    await serving
    calls: Counter[str] = sum((queue.calls for queue in fleet), Counter())
    return micros, calls["receive"] / messages, calls["delete"] / messages


class _Target:
    """The `SyncTarget` port: refreshes take between nothing and twice the given seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._chance = random.Random(1)

    async def refresh(self, folder: Folder, began: Callable[[], None], others: OtherRefreshes) -> None:  # noqa: ARG002
        began()
        await asyncio.sleep(self._chance.random() * 2 * self._seconds)


class _Clock:
    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class _Store:
    """The `LogStore` port: tiny log files, each with its own name and a few records."""

    def __init__(self, messages: int) -> None:
        records = list(texts(500))
        sizes = itertools.cycle((1, 2, 3, 4, 5))
        self._chance = random.Random(1)
        self._contents = [gzip.compress(b'{"Records":[%s]}' % b",".join(each)) for each in _cut(records, sizes)]
        self.files = [_name(number) for number in range(messages)]
        self._numbers = {key: number for number, key in enumerate(self.files)}

    @asynccontextmanager
    async def open(self, file: LogFile) -> Any:
        await asyncio.sleep(self._chance.expovariate(1 / ROUND_TRIP))
        yield _Log(self._contents[self._numbers[file.key] % len(self._contents)])


class _Log:
    """The `Log` port: a file in one chunk."""

    def __init__(self, data: bytes) -> None:
        self.etag, self.size, self._data = "etag", len(data), data

    async def __aiter__(self) -> Any:
        yield self._data


def _cut(records: Sequence[bytes], sizes: Iterator[int]) -> Iterator[Sequence[bytes]]:
    first = 0
    while first < len(records):
        size = next(sizes)
        yield records[first : first + size]
        first += size


def _name(number: int) -> str:
    return f"AWSLogs/{ACCOUNT}/CloudTrail/{REGION}/2026/11/21/{ACCOUNT}_CloudTrail_{REGION}_20261121T1005Z_{number:x}.json.gz"


def _body(key: str) -> bytes:
    notice = json.dumps({"s3Bucket": BUCKET, "s3ObjectKey": [key]})
    topic = f"arn:aws:sns:{REGION}:{ACCOUNT}:trail"
    return json.dumps({"Type": "Notification", "TopicArn": topic, "Message": notice}).encode()


class _Queue:
    """The `Queue` port, as fast as it can be: nothing becomes visible again."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.calls: Counter[str] = Counter()
        self.deleted = 0
        self._waiting: deque[Message] = deque()
        self._ended = asyncio.Event()

    def send(self, body: bytes) -> None:
        id_ = f"{self.name}-{len(self._waiting)}"
        self._waiting.append(Message(id_, id_, body, 1, time.time()))

    def end_polls(self) -> None:
        self._ended.set()

    async def facts(self) -> QueueFacts:
        return QueueFacts(30.0)

    async def depth(self) -> QueueDepth:
        return QueueDepth(len(self._waiting), 0, 345_600.0)

    async def receive(self, limit: int, *, wait: float, visibility: float) -> Sequence[Message]:  # noqa: ARG002
        self.calls["receive"] += 1
        await asyncio.sleep(ROUND_TRIP)
        if not self._waiting and wait:
            await self._ended.wait()
        return [self._waiting.popleft() for _ in range(min(limit, len(self._waiting)))]

    async def delete(self, receipts: Sequence[str]) -> dict[str, Exception]:
        self.calls["delete"] += 1
        await asyncio.sleep(ROUND_TRIP)
        self.deleted += len(receipts)
        return {}

    async def show_after(self, delays: Sequence[tuple[str, float]]) -> dict[str, Exception]:  # noqa: ARG002
        self.calls["show_after"] += 1
        return {}

    async def reject(self, message: Message, why: Reject) -> bool:
        raise AssertionError(f"{message.id} was rejected: {why.reason}")


if __name__ == "__main__":
    import sys

    run(profile="--profile" in sys.argv)
