"""One queue: receive, hold, handle, settle."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Final, TypeVar

import msgspec
import structlog

from jibe_sqs.concurrency.backoff import Backoff
from jibe_sqs.concurrency.budget import Budget, Place
from jibe_sqs.concurrency.first_of import first_of
from jibe_sqs.concurrency.gates import passable
from jibe_sqs.consuming.handler import Handler
from jibe_sqs.consuming.holds import Held, Holds
from jibe_sqs.consuming.settlements import Settlements
from jibe_sqs.core.errors import QueueError
from jibe_sqs.core.model import Message, Retry, Verdict
from jibe_sqs.core.verdicts import RetryPolicy
from jibe_sqs.ports import Clock, Gate, Queue, QueueFacts
from jibe_sqs.telemetry.counters import Counters

log = structlog.get_logger()

T = TypeVar("T")

RECEIVE_LIMIT: Final = 10
"""Messages in one receive: the most that SQS allows."""
RECEIVE_BACKOFF: Final = Backoff(first=1.0, longest=60.0)
LAST_RECEIVE, GIVING_BACK = 5.0, 10.0
"""Seconds after the drain deadline: for a receive that is still in flight, and then for giving messages back. Orchestrators
kill the process soon after the deadline, so a network that swallows answers must not use up that time."""


class Consumer:
    """Receives and settles the messages of one queue, until it is stopped."""

    def __init__(
        self,
        *,
        queue: Queue,
        facts: QueueFacts,
        handler: Handler,
        policy: RetryPolicy,
        reading: Budget,
        held: Budget,
        clock: Clock,
        counters: Counters,
        wait: float = 20.0,
        receivers: int = 2,
        gates: Sequence[Gate] = (),
    ) -> None:
        """`reading` and `held`: budgets of messages, which several consumers may share. `wait`: seconds of a long poll.

        `gates`: nothing is received while one of them has a reason against it. The messages then wait in the queue, and
        do not use up their receives here.
        """
        self._queue = queue
        self._handler = handler
        self._policy = policy
        if policy.max_receives is None:
            self._policy = msgspec.structs.replace(policy, max_receives=facts.max_receives)
        self._reading = reading
        self._in_hand = held
        self._clock = clock
        self._counters = counters
        self._wait = wait
        self._visibility = facts.visibility_timeout
        self._receivers = receivers
        self._gates = gates
        self._holds = Holds(queue=queue, clock=clock, visibility_timeout=facts.visibility_timeout)
        self._settlements = Settlements(queue=queue, policy=self._policy, clock=clock, counters=counters)
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()

    @property
    def name(self) -> str:
        """The name of its queue."""
        return self._queue.name

    def stop(self) -> None:
        """Stop receiving. `run` returns when the held messages are finished."""
        self._stopping.set()

    async def run(self) -> None:
        """Receive and settle, until stopped and all held messages are settled. If cancelled, give the held messages back."""
        extending = asyncio.create_task(self._holds.extend_forever(), name=f"hold {self._queue.name}")
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._receivers):
                    group.create_task(self._receive_forever(), name=f"receive {self._queue.name}")
            while self._tasks:
                await asyncio.wait(self._tasks)
        finally:
            try:
                async with asyncio.timeout(GIVING_BACK if self._stopping.is_set() else None):
                    await self._give_back_all()
                    # The tasks that settled were cancelled. Their calls must arrive before the process ends.
                    await self._settlements.finished()
            except TimeoutError:
                log.warning("giving_back_failed", queue=self._queue.name, reason=f"no answer within {GIVING_BACK:g} s")
            finally:
                extending.cancel()
                await asyncio.gather(extending, return_exceptions=True)

    async def _receive_forever(self) -> None:
        failures = 0
        found: Sequence[Message] = ()
        while await self._may_receive():
            # The room is kept while the receive runs. After an empty receive it is for one message only: the budgets
            # are shared, and the receivers of idle queues must not take them from the busy queues.
            room = await self._room(RECEIVE_LIMIT if found else 1)
            if not room:
                break
            started = 0
            try:
                found = await self._receive(room)
                # SQS may put a redelivered message into one answer twice. It is one message, and its last receipt counts.
                messages = list({message.id: message for message in found}.values())
                if self._stopping.is_set():
                    await self._hand_back(messages)
                    break
                started = sum(map(self._start, messages))
                failures = 0
            except Exception as error:  # noqa: BLE001 - logged and retried: no error stops a receiver
                failures += 1
                delay = RECEIVE_BACKOFF.delay(failures)
                report = log.warning if isinstance(error, QueueError) else log.exception
                report("receive_failed", queue=self._queue.name, reason=str(error), retry_in=round(delay, 1))
            finally:
                # The room of each started message is given back when its task ends.
                self._reading.give(room - started)
                self._in_hand.give(room - started)
            if failures:
                await self._unless_stopping(self._clock.sleep(delay))

    async def _may_receive(self) -> bool:
        """Wait until no gate has a reason against it. False when stopping."""
        await self._unless_stopping(passable(self._gates))
        return not self._stopping.is_set()

    async def _receive(self, limit: int) -> Sequence[Message]:
        """Receive. The receive itself is never cancelled: SQS would count its messages as delivered and hide them."""
        receive = asyncio.ensure_future(self._queue.receive(limit, wait=self._wait, visibility=self._visibility))
        try:
            return await asyncio.shield(receive)
        except asyncio.CancelledError:
            try:
                async with asyncio.timeout(LAST_RECEIVE if self._stopping.is_set() else None):
                    await asyncio.wait([receive])
                    if not receive.cancelled() and receive.exception() is None:
                        await self._hand_back(receive.result())
            except TimeoutError:
                # Messages that it may bring become visible again when their timeout ends.
                log.warning("receive_abandoned", queue=self._queue.name, after=LAST_RECEIVE)
                receive.cancel()
                await asyncio.wait([receive])
            raise

    async def _room(self, most: int) -> int:
        """Take room for up to `most` messages from both budgets. Waits for room for one. 0 when stopping."""
        held = await self._taken(self._in_hand, most)
        if not held:
            return 0
        room = 0
        try:
            room = await self._taken(self._reading, held)
        finally:
            self._in_hand.give(held - room)
        return room

    async def _taken(self, budget: Budget, most: int) -> int:
        take = asyncio.ensure_future(budget.take(most, least=1))
        try:
            return await self._unless_stopping(take) or 0
        except asyncio.CancelledError:
            if take.done() and not take.cancelled():
                budget.give(take.result())
            raise

    async def _unless_stopping(self, awaitable: "Awaitable[T]") -> T | None:
        return await first_of(awaitable, self._stopping.wait())

    def _start(self, message: Message) -> bool:
        held = self._holds.hold(message, self._clock.monotonic())
        if held is None:
            log.info("redelivered_while_held", queue=self._queue.name, message=message.id)
            return False
        self._counters.messages += 1
        self._counters.receives[message.receive_count] += 1
        self._counters.redelivered += message.receive_count > 1
        # From here on, the task's end gives back what the receiver took for this message.
        place = Place(self._reading)
        held.task = asyncio.create_task(self._process(held, place), name=f"message {message.id}")
        self._tasks.add(held.task)

        # A callback, because a task that is cancelled before its first step runs no `finally`.
        def give_back(task: "asyncio.Task[None]") -> None:
            self._tasks.discard(task)
            place.leave()
            self._in_hand.give()

        held.task.add_done_callback(give_back)
        return True

    async def _process(self, held: Held, place: Place) -> None:
        try:
            verdict = await self._verdict(held.message, place)
            await self._holds.settle(held)
            await self._settlements.settle(held, verdict)
        except asyncio.CancelledError:
            log.debug("message_abandoned", queue=self._queue.name, message=held.message.id, lost=held.lost)
            if not held.lost:
                raise  # the drain deadline is over: the caller gives the message back
        self._holds.let_go(held)

    async def _verdict(self, message: Message, place: Place) -> Verdict:
        try:
            return await self._handler.handle(message, self._policy, place)
        except Exception as error:
            # A defect of ours. It must cost neither the message nor the service.
            log.exception("handling_crashed", queue=self._queue.name, message=message.id)
            self._counters.errors[type(error).__name__] += 1
            return Retry(self._policy.delay(message.receive_count), f"{type(error).__name__}: {error}")

    async def _give_back_all(self) -> None:
        """Make the messages that are still held after the deadline visible to others at once."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        left = list(self._holds)
        for held in left:
            await self._holds.settle(held)
        if left:
            log.info("given_back", queue=self._queue.name, messages=len(left))
            await self._settlements.show_now([held.receipt for held in left])

    async def _hand_back(self, messages: Sequence[Message]) -> None:
        """Make the messages visible that a receive brought after the stop. Keep those that are held already."""
        now = self._clock.monotonic()
        unknown = [message for message in messages if not self._holds.renew(message, now)]
        if unknown:
            log.info("handed_back", queue=self._queue.name, messages=len(unknown))
            await self._settlements.show_now([message.receipt for message in unknown])
