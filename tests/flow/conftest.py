"""The service with doubles, in virtual time: the time jumps to the next timer when every task waits."""

import asyncio
import gzip
import itertools
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from tests.clocks import EPOCH, VirtualClock, VirtualLoop, virtually

from jibe_sqs.compose.engine import Engine, Inputs, Outputs, Policies
from jibe_sqs.concurrency.budget import Budget, Place
from jibe_sqs.consuming.room import InHand, Room
from jibe_sqs.core.decisions import Decisions
from jibe_sqs.core.errors import AccessAnywhereUnavailable, QueueUnavailable
from jibe_sqs.core.model import LogFile, Message
from jibe_sqs.core.sources import LogSource, Sources
from jibe_sqs.ports import EventTarget, Gate, Signatures, Verifier
from jibe_sqs.syncing.pauses import Pauses
from jibe_sqs.telemetry.audit import Audit
from jibe_sqs.telemetry.health import Health
from jibe_sqs.telemetry.tracing import Tracer
from jibe_sqs.testing import InMemoryEventTarget, InMemoryLedger, InMemoryLogStore, InMemoryQueue, InMemorySyncTarget

LOG_BUCKET = "trail-logs"


# Time


async def until(condition: Callable[[], Any]) -> None:
    """Wait until the condition holds, at most two virtual hours."""
    for _ in range(50):
        if condition():
            return
        await asyncio.sleep(0)
    for _ in range(2 * 3600 * 20):
        if condition():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the condition did not hold within two virtual hours")


async def settled() -> None:
    """Let all ready tasks run, while no time passes."""
    for _ in range(50):
        await asyncio.sleep(0)


def _time() -> float:
    return asyncio.get_running_loop().time()


# Messages and log files


_event_ids = itertools.count(1)


def log_of(*keys: str, bucket: str = "data", time: str = "2026-01-01T00:00:00Z", name: str = "PutObject") -> bytes:
    """A CloudTrail log file that says that these keys were written."""
    records = [
        {
            "eventVersion": "1.11",
            "eventTime": time,
            "eventSource": "s3.amazonaws.com",
            "eventName": name,
            "eventID": f"event-{next(_event_ids)}",
            "requestID": f"request-{next(_event_ids)}",
            "awsRegion": "eu-west-1",
            "readOnly": False,
            "requestParameters": {"bucketName": bucket, "key": key} if key else {"bucketName": bucket},
        }
        for key in keys
    ]
    return gzip.compress(json.dumps({"Records": records}).encode())


def log_key(name: str) -> str:
    return f"AWSLogs/111122223333/CloudTrail/eu-west-1/2026/01/01/{name}.json.gz"


def announcing(*keys: str, bucket: str = LOG_BUCKET) -> str:
    """A message body of CloudTrail that announces log files."""
    return json.dumps({"s3Bucket": bucket, "s3ObjectKey": list(keys)})


def s3_event(key: str, *, bucket: str = "data", time: str = "2026-01-01T00:00:00Z") -> str:
    """A message body: an S3 event notification for one key."""
    return json.dumps(
        {
            "Records": [
                {
                    "eventVersion": "2.1",
                    "eventSource": "aws:s3",
                    "eventName": "ObjectCreated:Put",
                    "eventTime": time,
                    "s3": {"bucket": {"name": bucket}, "object": {"key": key, "sequencer": "01"}},
                }
            ]
        }
    )


class FakeVerifier:
    """The `Verifier` port. `errors[key]` lists errors, one for each of the next verifications of that file.

    `on_verify(file)` is called before each answer.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[LogFile, str]] = []
        self.errors: defaultdict[str, list[Exception]] = defaultdict(list)
        self.on_verify: Callable[[LogFile], None] = lambda file: None

    async def verify(self, file: LogFile, sha256hex: str) -> None:
        self.calls.append((file, sha256hex))
        await asyncio.sleep(0)
        self.on_verify(file)
        if self.errors[file.key]:
            raise self.errors[file.key].pop(0)


# The service


class WatchedPlace(Place):
    """A place in the reading budget that records in `left` when it is given back."""

    def __init__(self) -> None:
        self.left: list[float] = []
        budget = Budget(1)
        budget.give = lambda amount=1: self.left.append(_time())  # type: ignore[method-assign]
        super().__init__(budget)


class WatchedInHand(InHand):
    """The room of a message that no consumer has received. `left`: see `WatchedPlace`."""

    def __init__(self, *, receive_count: int = 1, is_last: bool = False) -> None:
        self.room = Room(reading=1, held=1, held_bytes=2**30, plan_bytes=2**24)
        super().__init__(self.room, 0, 2**24, receive_count=receive_count, is_last=is_last)
        self.place = self._watched = WatchedPlace()

    @property
    def left(self) -> list[float]:
        return self._watched.left


class World:
    """A service that the engine builds from doubles. `queue` and `consumer` are the first of them.

    `share`: another world whose budgets this one shares.
    """

    def __init__(
        self,
        *,
        queue: InMemoryQueue | None = None,
        queues: Sequence[InMemoryQueue] = (),
        logs: InMemoryLogStore | None = None,
        ledger: InMemoryLedger | None = None,
        decisions: Decisions | None = None,
        buckets: Any = None,
        events: EventTarget | None = None,
        signatures: Signatures | None = None,
        sources: Sequence[LogSource] = (),
        verifiers: Mapping[LogSource, Verifier] | None = None,
        gates: Sequence[Gate] = (),
        pauses: Pauses | None = None,
        share: "World | None" = None,
        reading: int = 16,
        held: int = 100,
        opened: bool = True,
        tracer: Tracer | None = None,
        audit: Audit | None = None,
        **policies: Any,
    ) -> None:
        self.queues = queues or [queue or InMemoryQueue()]
        self.queue = self.queues[0]
        self.clock = VirtualClock()
        self.logs = logs or InMemoryLogStore()
        self.target = InMemorySyncTarget()
        self.ledger = ledger or InMemoryLedger()
        self.health = Health()
        outputs = Outputs(
            clock=self.clock,
            ledger=self.ledger,
            target=self.target,
            decisions=decisions or Decisions(),
            events=events,
            buckets=buckets,
            gates=gates,
            pauses=pauses,
            health=self.health,
            tracer=tracer,
            audit=audit,
        )
        self.policies = Policies(messages_reading=reading, messages_held=held, **policies)
        self.policy = self.policies.retry
        self.engine = Engine(outputs, self.policies)
        if share:
            self.engine.room = share.engine.room
        inputs = Inputs(
            queues=[(each, each.facts_now() if opened else None) for each in self.queues],
            logs=self.logs,
            sources=Sources(sources),
            verifiers=verifiers or {},
            signatures=signatures,
        )
        self.service = self.engine.service(inputs)
        self.reading, self.held = self.engine.room.reading, self.engine.room.held
        self.counters, self.activity = self.engine.counters, self.engine.activity
        self.refreshes, self.handler = self.engine.refreshes, self.engine.handler
        self.consumer = self.engine.consumers[0]

    def put(self, name: str, data: bytes | None = None) -> str:
        """Store a log file, by default with one write in the folder /data/NAME. Returns its key."""
        key = log_key(name)
        self.logs.objects[LOG_BUCKET, key] = log_of(f"{name}/file") if data is None else data
        return key

    def send_log(self, name: str, data: bytes | None = None) -> str:
        """Store a log file and send a message that announces it. Returns the id of the message."""
        return self.queue.send(announcing(self.put(name, data)))

    async def handle(self, body: str, *, receive_count: int = 1) -> Any:
        """Handle a message, and check that its place in the reading budget is given back exactly once."""
        in_hand = WatchedInHand(receive_count=receive_count, is_last=self.policy.is_last(receive_count))
        verdict = await self.handler.handle(
            Message("id", "receipt", body.encode(), receive_count), self.policy, in_hand
        )
        assert len(in_hand.left) == 1
        return verdict

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        """Run the consumer and stop it at the end. Then check that all units of the budgets are given back."""
        task = asyncio.create_task(self.consumer.run())
        try:
            yield task
            self.consumer.stop()
            await asyncio.wait([task])
            if not task.cancelled():
                task.result()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self.refreshes.stop()
            self.assert_all_given_back()

    def assert_given_back_except_for_receives(self, *, held: int = 0) -> None:
        """Each receiver keeps room for the messages that its receive may return. `held`: messages that are still held."""
        assert self.reading.free >= self.reading.size - 20
        assert self.held.free >= self.held.size - 20
        assert not self.consumer._tasks
        assert len(self.consumer._holds) == held

    def assert_all_given_back(self) -> None:
        assert self.reading.free == self.reading.size
        assert self.held.free == self.held.size
        assert self.engine.room.files.free == self.engine.room.files.size
        assert self.engine.room.held_bytes.free == self.engine.room.held_bytes.size


@pytest.fixture(scope="session")
def flow() -> SimpleNamespace:
    """The doubles, and functions that make messages and log files."""
    return SimpleNamespace(
        EPOCH=EPOCH,
        LOG_BUCKET=LOG_BUCKET,
        InMemorySyncTarget=InMemorySyncTarget,
        FakeVerifier=FakeVerifier,
        InMemoryEventTarget=InMemoryEventTarget,
        InMemoryLedger=InMemoryLedger,
        InMemoryLogStore=InMemoryLogStore,
        InMemoryQueue=InMemoryQueue,
        VirtualClock=VirtualClock,
        WatchedInHand=WatchedInHand,
        World=World,
        announcing=announcing,
        log_key=log_key,
        log_of=log_of,
        s3_event=s3_event,
        settled=settled,
        time=_time,
        refresh_failed=lambda: AccessAnywhereUnavailable("503"),
        unavailable=lambda: QueueUnavailable("503"),
        until=until,
        virtually=virtually,
    )


@pytest.fixture
def events() -> Iterator[list[Any]]:
    """The log entries of the test."""
    with structlog.testing.capture_logs() as found:
        yield found


@pytest.fixture(autouse=True)
def _quiet(events: list[Any]) -> None:
    """Capture the log, so that it is not printed between the results of the tests."""


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Every async test here runs in virtual time."""
    return {"virtual": VirtualLoop}
