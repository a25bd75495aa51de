"""The world of the flow, in memory and in virtual time: it jumps to the next timer whenever all is waiting."""

import asyncio
import gzip
import itertools
import json
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from tests.clocks import EPOCH, VirtualClock, VirtualLoop, virtually

from jibe_sqs.adapters.ledgers.memory import MemoryLedger
from jibe_sqs.concurrency.budget import Budget
from jibe_sqs.consuming.consumer import Consumer
from jibe_sqs.consuming.handler import Handler
from jibe_sqs.core.decisions import Decisions, Seen
from jibe_sqs.core.errors import LedgerError, LogMissing, LogStoreError, QueueUnavailable, ReceiptLost
from jibe_sqs.core.formats.limits import Limits
from jibe_sqs.core.model import Folder, LogFile, Message, Reject
from jibe_sqs.core.sources import LogSource, Sources
from jibe_sqs.core.verdicts import RetryPolicy
from jibe_sqs.ports import Gate, QueueFacts, Verifier
from jibe_sqs.syncing.refreshes import Refreshes
from jibe_sqs.telemetry.activity import Activity
from jibe_sqs.telemetry.counters import Counters

LOG_BUCKET = "trail-logs"


# Time


async def until(condition: Callable[[], Any]) -> None:
    """Wait until it holds, at most two virtual hours."""
    for _ in range(50):
        if condition():
            return
        await asyncio.sleep(0)
    for _ in range(2 * 3600 * 20):
        if condition():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("this never comes")


async def settled() -> None:
    """Let everything run that can, without time passing."""
    for _ in range(50):
        await asyncio.sleep(0)


def is_past(moment: float) -> bool:
    """Timers of a loop may run a little early: by less than this."""
    return moment <= _time() + 1e-6


# SQS


@dataclass
class Stored:
    id: str
    body: str
    sent_at: float
    visible_at: float
    receive_count: int = 0
    receipt: str = ""

    @property
    def is_visible(self) -> bool:
        return is_past(self.visible_at)


@dataclass
class Call:
    at: float
    receipts: list[str]
    delays: list[float] = field(default_factory=list)


class SimulatedQueue:
    """At-least-once SQS. Latencies (`latency[call]`, seconds) pass before the effect, as on the way to the server.

    Fails on demand: `errors[call]` holds errors, one for each call to come; `entry_errors[call][id]` the same for
    single entries of batches. `duplicates`: messages to be put twice into the next answer.
    """

    def __init__(
        self,
        name: str = "queue",
        *,
        visibility_timeout: float = 30.0,
        max_receives: int | None = None,
        dead_letters: bool = True,
    ) -> None:
        self.name = name
        self.visibility_timeout = visibility_timeout
        self.max_receives = max_receives
        self.has_dead_letters = dead_letters
        self.messages: dict[str, Stored] = {}
        self.deleted: list[tuple[str, float]] = []
        self.dead: list[tuple[str, Reject | None]] = []
        self.calls: defaultdict[str, list[Call]] = defaultdict(list)
        self.latency: Counter[str] = Counter()
        self.errors: defaultdict[str, list[Exception]] = defaultdict(list)
        self.entry_errors: defaultdict[str, dict[str, list[Exception]]] = defaultdict(dict)
        self.duplicates = 0
        self.receiving = 0
        self.cancelled_receives = 0
        self.deliveries: list[tuple[str, float]] = []
        self._ids = itertools.count(1)
        self._receipts = itertools.count(1)
        self._sent = asyncio.Event()

    # For tests

    def facts_now(self) -> QueueFacts:
        return QueueFacts(self.visibility_timeout, self.max_receives, "dlq" if self.has_dead_letters else None)

    def send(self, body: str) -> str:
        id_ = f"m{next(self._ids)}"
        self.messages[id_] = Stored(id_, body, _time() + EPOCH, _time())
        self._sent.set()
        return id_

    def show(self, id_: str) -> None:
        """Make it visible at once, as if its visibility had ended."""
        self.messages[id_].visible_at = _time()
        self._sent.set()

    def visible_in(self, id_: str) -> float:
        return self.messages[id_].visible_at - _time()

    @property
    def waiting(self) -> list[str]:
        return [each.id for each in self.messages.values() if each.is_visible]

    # The port

    async def facts(self) -> QueueFacts:
        return self.facts_now()

    async def receive(self, limit: int, *, wait: float) -> Sequence[Message]:
        assert 1 <= limit <= 10
        self.calls["receive"].append(Call(_time(), [], [float(limit)]))
        self.receiving += 1
        try:
            await self._called("receive")
            return await self._long_poll(limit, _time() + wait)
        except asyncio.CancelledError:
            self.cancelled_receives += 1
            raise
        finally:
            self.receiving -= 1

    async def delete(self, receipts: Sequence[str]) -> dict[str, Exception]:
        assert 1 <= len(receipts) <= 10
        self.calls["delete"].append(Call(_time(), list(receipts)))
        await self._called("delete")
        failed: dict[str, Exception] = {}
        for receipt in receipts:
            id_ = receipt.partition("#")[0]
            stored = self.messages.get(id_)
            if (error := self._entry_error("delete", id_)) is not None:
                failed[receipt] = error
            elif stored is not None and stored.receipt != receipt:
                failed[receipt] = ReceiptLost("stale receipt")
            elif stored is not None:
                del self.messages[id_]
                self.deleted.append((id_, _time()))
        return failed

    async def show_after(self, delays: Sequence[tuple[str, float]]) -> dict[str, Exception]:
        assert 1 <= len(delays) <= 10
        self.calls["show_after"].append(Call(_time(), [each[0] for each in delays], [each[1] for each in delays]))
        await self._called("show_after")
        failed: dict[str, Exception] = {}
        for receipt, delay in delays:
            assert 0 <= delay <= 43_200
            id_ = receipt.partition("#")[0]
            stored = self.messages.get(id_)
            if (error := self._entry_error("show_after", id_)) is not None:
                failed[receipt] = error
            elif stored is None or stored.receipt != receipt or stored.is_visible:
                failed[receipt] = ReceiptLost("not in flight")
            else:
                stored.visible_at = _time() + delay
                self._sent.set()
        return failed

    async def reject(self, message: Message, why: Reject) -> bool:
        await self._called("reject")
        if self.has_dead_letters:
            self.dead.append((message.id, why))
        return self.has_dead_letters

    # Inside

    async def _called(self, call: str) -> None:
        if self.latency[call]:
            await asyncio.sleep(self.latency[call])
        if self.errors[call]:
            raise self.errors[call].pop(0)

    def _entry_error(self, call: str, id_: str) -> Exception | None:
        errors = self.entry_errors[call].get(id_)
        return errors.pop(0) if errors else None

    async def _long_poll(self, limit: int, deadline: float) -> list[Message]:
        while True:
            if found := self._taken(limit):
                return found
            if is_past(deadline):
                return []
            self._sent.clear()
            next_visible = min((each.visible_at for each in self.messages.values()), default=deadline)
            try:
                async with asyncio.timeout_at(min(deadline, next_visible)):
                    await self._sent.wait()
            except TimeoutError:
                pass

    def _taken(self, limit: int) -> list[Message]:
        found: list[Message] = []
        for stored in list(self.messages.values()):
            if not stored.is_visible:
                continue
            if self.max_receives is not None and stored.receive_count >= self.max_receives:
                del self.messages[stored.id]
                self.dead.append((stored.id, None))
                continue
            found.append(self._delivered(stored))
            if self.duplicates and len(found) < limit:
                self.duplicates -= 1
                found.append(self._delivered(stored))
            if len(found) >= limit:
                break
        return found

    def _delivered(self, stored: Stored) -> Message:
        stored.receive_count += 1
        stored.receipt = f"{stored.id}#{next(self._receipts)}"
        stored.visible_at = _time() + self.visibility_timeout
        self.deliveries.append((stored.id, _time()))
        return Message(stored.id, stored.receipt, stored.body, stored.receive_count, stored.sent_at)


def _time() -> float:
    return asyncio.get_running_loop().time()


# Logs


class _Open:
    def __init__(self, data: bytes, broken: LogStoreError | None) -> None:
        self.etag = f"etag-{hash(data)}"
        self.size = len(data)
        self._data, self._broken = data, broken

    async def __aiter__(self) -> AsyncIterator[bytes]:
        half = len(self._data) // 2
        yield self._data[:half]
        await asyncio.sleep(0)
        if self._broken:
            raise self._broken
        yield self._data[half:]


class MemoryLogStore:
    """Buckets and keys. `delay`: seconds until a file's first byte; `errors[key]`: raised by each open of it."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], bytes] = {}
        self.delay = 0.0
        self.errors: dict[str, Exception] = {}
        self.broken: dict[str, LogStoreError] = {}
        self.opens: Counter[str] = Counter()
        self.open_now = 0
        self.most_open = 0

    @asynccontextmanager
    async def open(self, file: LogFile) -> AsyncIterator[_Open]:
        self.opens[file.key] += 1
        self.open_now += 1
        self.most_open = max(self.most_open, self.open_now)
        try:
            await asyncio.sleep(self.delay)
            if error := self.errors.get(file.key):
                raise error
            data = self.objects.get((file.bucket, file.key))
            if data is None:
                raise LogMissing(f"s3://{file.bucket}/{file.key} is not there")
            yield _Open(data, self.broken.get(file.key))
        finally:
            self.open_now -= 1


_event_ids = itertools.count(1)


def log_of(*keys: str, bucket: str = "data", time: str = "2026-01-01T00:00:00Z", name: str = "PutObject") -> bytes:
    """A CloudTrail log file: these keys were written."""
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
    """A message body, as CloudTrail itself sends it."""
    return json.dumps({"s3Bucket": bucket, "s3ObjectKey": list(keys)})


def s3_event(key: str, *, bucket: str = "data", time: str = "2026-01-01T00:00:00Z") -> str:
    """A message body: an S3 event notification of a data bucket."""
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


# Access Anywhere


@dataclass
class Run:
    folder: Folder
    asked: float
    began: list[float] = field(default_factory=list)
    ended: float | None = None
    error: Exception | None = None


class FakeTarget:
    """The `SyncTarget` port. A refresh begins after `before` seconds and ends `takes` later, or as its test says.

    `held`: paths whose refreshes do not end until they are taken out and `go` is called. `errors[path]`: one for each
    refresh to come; `always[path]` for all of them.
    """

    def __init__(self, *, before: float = 0.0, takes: float = 0.0) -> None:
        self.before, self.takes = before, takes
        self.runs: list[Run] = []
        self.errors: defaultdict[str, list[Exception]] = defaultdict(list)
        self.always: dict[str, Exception] = {}
        self.held: set[str] = set()
        self.unbegun: set[str] = set()
        self.running: Counter[Folder] = Counter()
        self.most_running: Counter[Folder] = Counter()
        self._go = asyncio.Event()

    def go(self, *paths: str) -> None:
        self.held -= set(paths) or set(self.held)
        self.unbegun -= set(paths) or set(self.unbegun)
        self._go.set()

    def of(self, path: str) -> list[Run]:
        return [run for run in self.runs if run.folder.path == path]

    async def refresh(self, folder: Folder, began: Callable[[], None]) -> None:
        run = Run(folder, _time())
        self.runs.append(run)
        self.running[folder] += 1
        self.most_running[folder] = max(self.most_running[folder], self.running[folder])
        try:
            await asyncio.sleep(self.before)
            await self._while_in(self.unbegun, folder.path)
            began()
            run.began.append(_time())
            await asyncio.sleep(self.takes)
            await self._while_in(self.held, folder.path)
            if error := self.always.get(folder.path):
                raise error
            if self.errors[folder.path]:
                raise self.errors[folder.path].pop(0)
        except Exception as error:
            run.error = error
            raise
        finally:
            self.running[folder] -= 1
            run.ended = _time()

    async def _while_in(self, paths: set[str], path: str) -> None:
        while path in paths:
            self._go.clear()
            await self._go.wait()


class FlakyLedger(MemoryLedger):
    """A ledger that can be made unreadable or unwritable, or only unable to remember who changed things."""

    def __init__(self) -> None:
        super().__init__()
        self.unreadable = self.unwritable = self.unobserving = False

    def _check(self, broken: bool) -> None:
        if broken:
            raise LedgerError("disk I/O error")

    async def is_finished(self, file: LogFile) -> bool:
        self._check(self.unreadable)
        return await super().is_finished(file)

    async def watermarks(self, folders: Any) -> dict[Folder, float]:
        self._check(self.unreadable)
        return await super().watermarks(folders)

    async def finish(self, file: LogFile, etag: str) -> None:
        self._check(self.unwritable)
        await super().finish(file, etag)

    async def refreshed(self, folder: Folder, began: float) -> None:
        self._check(self.unwritable)
        await super().refreshed(folder, began)

    async def observe(self, principals: Mapping[str, Seen]) -> None:
        self._check(self.unwritable or self.unobserving)
        await super().observe(principals)


class FakeVerifier:
    """The `Verifier` port. `errors[key]`: one for each time that file is verified; then it is as CloudTrail delivered it.

    `when(file)` is called before each answer.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[LogFile, str]] = []
        self.errors: defaultdict[str, list[Exception]] = defaultdict(list)
        self.when: Callable[[LogFile], None] = lambda file: None

    async def verify(self, file: LogFile, sha256hex: str) -> None:
        self.asked.append((file, sha256hex))
        await asyncio.sleep(0)
        self.when(file)
        if self.errors[file.key]:
            raise self.errors[file.key].pop(0)


# All of it


class World:
    """A consumer of one queue, with everything that it needs around it."""

    def __init__(
        self,
        *,
        queue: SimulatedQueue | None = None,
        reading: int = 16,
        held: int = 100,
        receivers: int = 2,
        wait: float = 20.0,
        tree_interval: float = 30.0,
        policy: RetryPolicy | None = None,
        share: "World | None" = None,
        sources: Sequence[LogSource] = (),
        limits: Limits | None = None,
        verifiers: Mapping[LogSource, Verifier] | None = None,
        gates: Sequence[Gate] = (),
    ) -> None:
        self.queue = queue or SimulatedQueue()
        self.clock = VirtualClock()
        self.logs = MemoryLogStore()
        self.target = FakeTarget()
        self.ledger = FlakyLedger()
        self.counters = Counters()
        self.refreshes = Refreshes(
            target=self.target, ledger=self.ledger, clock=self.clock, margin=5.0, tree_interval=tree_interval
        )
        self.handler = Handler(
            sources=Sources(sources),
            logs=self.logs,
            limits=limits or Limits(),
            decisions=Decisions(),
            ledger=self.ledger,
            refreshes=self.refreshes,
            counters=self.counters,
            activity=Activity(),
            verifiers=verifiers,
        )
        self.policy = policy or RetryPolicy()
        self.reading = share.reading if share else Budget(reading)
        self.held = share.held if share else Budget(held)
        self.consumer = Consumer(
            queue=self.queue,
            facts=self.queue.facts_now(),
            handler=self.handler,
            policy=self.policy,
            reading=self.reading,
            held=self.held,
            clock=self.clock,
            counters=self.counters,
            wait=wait,
            receivers=receivers,
            gates=gates,
        )

    def put(self, name: str, data: bytes | None = None) -> str:
        """Put a log file; returns its key. By default one key was written, in the folder /data/NAME."""
        key = log_key(name)
        self.logs.objects[LOG_BUCKET, key] = log_of(f"{name}/file") if data is None else data
        return key

    def send_log(self, name: str, data: bytes | None = None) -> str:
        """Put a log file and announce it; returns the message's id."""
        return self.queue.send(announcing(self.put(name, data)))

    async def handle(self, body: str, *, receive_count: int = 1) -> Any:
        """Have the handler handle it, and check that it says once, and only once, that it has read."""
        read: list[float] = []
        message = Message("id", "receipt", body, receive_count)
        verdict = await self.handler.handle(message, self.policy, lambda: read.append(_time()))
        assert len(read) == 1
        return verdict

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        """The consumer at work; stopped at the end. All its slots are back then, whatever happened."""
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

    def assert_given_back_but_for_polling(self) -> None:
        """Each receiver keeps room for what its receive may bring."""
        assert self.reading.free >= self.reading.size - 20
        assert self.held.free >= self.held.size - 20
        assert not self.consumer._tasks
        assert not len(self.consumer._holds)

    def assert_all_given_back(self) -> None:
        assert self.reading.free == self.reading.size
        assert self.held.free == self.held.size


@pytest.fixture(scope="session")
def flow() -> SimpleNamespace:
    """The doubles of this directory, and what makes their inputs."""
    return SimpleNamespace(
        EPOCH=EPOCH,
        LOG_BUCKET=LOG_BUCKET,
        FakeTarget=FakeTarget,
        FakeVerifier=FakeVerifier,
        FlakyLedger=FlakyLedger,
        MemoryLogStore=MemoryLogStore,
        SimulatedQueue=SimulatedQueue,
        VirtualClock=VirtualClock,
        World=World,
        announcing=announcing,
        log_key=log_key,
        log_of=log_of,
        s3_event=s3_event,
        settled=settled,
        time=_time,
        unavailable=lambda: QueueUnavailable("503"),
        until=until,
        virtually=virtually,
    )


@pytest.fixture
def events() -> Iterator[list[Any]]:
    """What is logged."""
    with structlog.testing.capture_logs() as found:
        yield found


@pytest.fixture(autouse=True)
def _quiet(events: list[Any]) -> None:
    """No log lines among the dots; a failing test may ask for `events`."""


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Every async test here runs in virtual time."""
    return {"virtual": VirtualLoop}
