"""Doubles of the ports that behave: an SQS queue, a log store, a sync target and a ledger, all in memory.

They are for tests of your own code, such as a sync target or a consumer, and this project's tests use them, too. Each can
be made slow and can be made to fail. Wait for their state (`queue.waiting`, `target.runs`); do not count calls.

    queue, logs, target = InMemoryQueue(), InMemoryLogStore(), InMemorySyncTarget()
    outputs = Outputs(clock=clock, ledger=InMemoryLedger(), target=target, decisions=Decisions())
    service = Engine(outputs, Policies()).service(Inputs(queues=[(queue, queue.facts_now())], logs=logs))

All times are of the running event loop, in seconds, so that they also work in a loop with virtual time.
"""

import asyncio
import itertools
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from jibe_sqs.adapters.ledgers.memory import MemoryLedger
from jibe_sqs.core.decisions import Seen
from jibe_sqs.core.errors import LedgerError, LogMissing, LogStoreError, ReceiptLost
from jibe_sqs.core.model import Folder, LogFile, Message, Reject
from jibe_sqs.ports import OtherRefreshes, QueueFacts

__all__ = ["InMemoryLedger", "InMemoryLogStore", "InMemoryQueue", "InMemorySyncTarget", "QueueCall", "Run"]

MAX_BATCH = 10
MAX_DELAY = 43_200
"""Seconds."""


@dataclass
class QueueCall:
    """One call of a queue: when, and the receipts with their delays, or the limit of a receive."""

    at: float
    receipts: list[str]
    delays: list[float] = field(default_factory=list)


@dataclass
class _Stored:
    id: str
    body: str
    sent_at: float
    visible_at: float
    receive_count: int = 0
    receipt: str = ""

    @property
    def is_visible(self) -> bool:
        return _is_past(self.visible_at)


class InMemoryQueue:
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
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """`visibility_timeout` in seconds. `wall_clock` gives the sent time of messages, in seconds since the epoch."""
        self.name = name
        self.visibility_timeout = visibility_timeout
        self.max_receives = max_receives
        self.has_dead_letters = dead_letters
        self.messages: dict[str, _Stored] = {}
        self.deleted: list[tuple[str, float]] = []
        self.dead: list[tuple[str, Reject | None]] = []
        self.calls: defaultdict[str, list[QueueCall]] = defaultdict(list)
        self.latency: Counter[str] = Counter()
        self.errors: defaultdict[str, list[Exception]] = defaultdict(list)
        self.entry_errors: defaultdict[str, dict[str, list[Exception]]] = defaultdict(dict)
        self.duplicates = 0
        self.receiving = 0
        self.cancelled_receives = 0
        self.deliveries: list[tuple[str, float]] = []
        self._wall_clock = wall_clock
        self._ids = itertools.count(1)
        self._receipts = itertools.count(1)
        self._sent = asyncio.Event()

    # For tests

    def facts_now(self) -> QueueFacts:
        return QueueFacts(self.visibility_timeout, self.max_receives, "dlq" if self.has_dead_letters else None)

    def send(self, body: str) -> str:
        id_ = f"m{next(self._ids)}"
        self.messages[id_] = _Stored(id_, body, self._wall_clock(), _time())
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
        _check_size(limit)
        self.calls["receive"].append(QueueCall(_time(), [], [float(limit)]))
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
        _check_size(len(receipts))
        self.calls["delete"].append(QueueCall(_time(), list(receipts)))
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
        _check_size(len(delays))
        self.calls["show_after"].append(QueueCall(_time(), [each[0] for each in delays], [each[1] for each in delays]))
        await self._called("show_after")
        failed: dict[str, Exception] = {}
        for receipt, delay in delays:
            if not 0 <= delay <= MAX_DELAY:
                raise AssertionError(f"SQS takes a delay of 0 to {MAX_DELAY} seconds, not {delay}")
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
            if _is_past(deadline):
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

    def _delivered(self, stored: _Stored) -> Message:
        stored.receive_count += 1
        stored.receipt = f"{stored.id}#{next(self._receipts)}"
        stored.visible_at = _time() + self.visibility_timeout
        self.deliveries.append((stored.id, _time()))
        return Message(stored.id, stored.receipt, stored.body, stored.receive_count, stored.sent_at)


class _OpenLog:
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


class InMemoryLogStore:
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
    async def open(self, file: LogFile) -> AsyncIterator[_OpenLog]:
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
            yield _OpenLog(data, self.broken.get(file.key))
        finally:
            self.open_now -= 1


@dataclass
class Run:
    folder: Folder
    asked: float
    began: list[float] = field(default_factory=list)
    ended: float | None = None
    error: Exception | None = None


class InMemorySyncTarget:
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

    async def refresh(self, folder: Folder, began: Callable[[], None], others: OtherRefreshes) -> None:  # noqa: ARG002
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


class InMemoryLedger(MemoryLedger):
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

    async def watermarks(self, folders: Iterable[Folder]) -> dict[Folder, float]:
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


def _check_size(size: int) -> None:
    if not 1 <= size <= MAX_BATCH:
        raise AssertionError(f"a call of SQS has 1 to {MAX_BATCH} messages, not {size}")


def _is_past(moment: float) -> bool:
    """Whether a time has come. The timers of a loop may fire early by less than a microsecond."""
    return moment <= _time() + 1e-6


def _time() -> float:
    return asyncio.get_running_loop().time()
