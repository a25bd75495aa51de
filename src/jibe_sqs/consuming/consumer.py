"""One queue: receive, hold, handle, settle."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Final, TypeVar

import msgspec
import structlog

from jibe_sqs.concurrency.backoff import Backoff
from jibe_sqs.concurrency.first_of import first_of
from jibe_sqs.concurrency.gates import passable
from jibe_sqs.consuming.handler import Handler
from jibe_sqs.consuming.holds import MIN_VISIBILITY, Held, Holds
from jibe_sqs.consuming.room import InHand, Room
from jibe_sqs.consuming.settlements import Settlements
from jibe_sqs.core.errors import QueueError
from jibe_sqs.core.model import Done, Message, Retry, Verdict
from jibe_sqs.core.verdicts import RetryPolicy
from jibe_sqs.ports import Clock, Gate, Queue, QueueFacts
from jibe_sqs.telemetry.audit import Audit
from jibe_sqs.telemetry.counters import Counters
from jibe_sqs.telemetry.queue_activity import QueueActivity
from jibe_sqs.telemetry.tracing import Tracer
from jibe_sqs.telemetry.trouble import Trouble

log = structlog.get_logger()

T = TypeVar("T")

RECEIVE_LIMIT: Final = 10
"""Messages in one receive: the most that SQS allows."""
RECEIVE_BACKOFF: Final = Backoff(first=1.0, longest=60.0)
IDLE_BACKOFF: Final = Backoff(first=0.25, longest=10.0)
"""The least time between the beginnings of two receives that bring nothing. Long polls take longer anyway."""
FULL_BATCH_PATIENCE: Final = 0.25
"""Seconds. A receiver waits for the room of a full batch while room becomes free at least so often. Then it takes what there
is: the messages in hand may wait for hours, for a log bucket or for refreshes."""
LAST_POLL: Final = 0.25
"""Seconds after the stop, and after the last held message, for which an idle long poll is waited for."""
SHORT_POLL: Final = 5.0
"""Seconds. The end of a long poll that is not longer is always waited for."""
SPARE_RECEIVES: Final = 3
"""Where a queue allows fewer receives, no long poll is abandoned: it may use up one receive of a message."""
LAST_RECEIVE, GIVING_BACK = 5.0, 10.0
"""Seconds after the drain deadline: for a receive that is still in flight, and then for giving messages back. Orchestrators
kill the process soon after the deadline, so a network that swallows answers must not use up that time."""


class Consumer:
    """Receives and settles the messages of one queue, until it is stopped."""

    def __init__(
        self,
        *,
        queue: Queue,
        facts: QueueFacts | None,
        handler: Handler,
        policy: RetryPolicy,
        room: Room,
        clock: Clock,
        counters: Counters,
        wait: float = 20.0,
        receivers: int = 2,
        gates: Sequence[Gate] = (),
        activity: QueueActivity | None = None,
        tracer: Tracer | None = None,
        audit: Audit | None = None,
    ) -> None:
        """`room`: for messages in hand, which several consumers may share. `wait`: seconds of a long poll.

        `activity`: learns when something was received.

        `facts`: None if the queue did not answer yet; then it is asked until it does. `gates`: nothing is received while
        one of them has a reason against it. The messages then wait in the queue, and do not use up their receives here.
        """
        self._queue = queue
        self._handler = handler
        self._policy = policy
        self._room = room
        self._clock = clock
        self._counters = counters
        self._wait = wait
        self._receivers = receivers
        self._gates = gates
        self._tracer = tracer
        self._audit = audit
        self.activity = activity or QueueActivity(queue.name)
        self._trouble = Trouble(f"Queue {queue.name} cannot be received from", clock.monotonic)
        self._failures = 0
        self._paused_until = float("-inf")
        self._visibility = MIN_VISIBILITY
        self._holds = Holds(queue=queue, clock=clock, visibility_timeout=self._visibility)
        self._settlements = self._new_settlements()
        self._may_abandon = False
        self._is_idle = True
        """The last long poll brought nothing, or there was none."""
        self._tasks: dict[asyncio.Task[None], InHand] = {}
        self._stopping = asyncio.Event()
        self._is_open = facts is not None
        if facts is not None:
            self._open(facts)
        else:
            self._trouble.begin("it has not answered yet")

    @property
    def name(self) -> str:
        """The name of its queue."""
        return self._queue.name

    @property
    def trouble(self) -> str:
        """Why nothing can be received from the queue, in words for an operator. Empty if it works."""
        return self._trouble.text

    @property
    def held(self) -> int:
        """How many messages are in hand."""
        return len(self._holds)

    def oldest_age(self, now: float) -> float | None:
        """The age (seconds) of the oldest message that is in hand, or that waits for its first receive. None without any.

        `now`: seconds since the epoch, local clock.
        """
        sent = [held.message.sent_at for held in self._holds if held.message.sent_at]
        if self.activity.depth is not None and self.activity.depth.visible and self.activity.seen_until:
            # All messages that were sent before have been received.
            sent.append(self.activity.seen_until)
        return max(0.0, now - min(sent)) if sent else None

    @property
    def max_receives(self) -> int | None:
        """The receives of a message before it becomes a dead letter. None if that is not limited, or not known yet."""
        return self._policy.max_receives

    def stop(self) -> None:
        """Stop receiving. `run` returns when the held messages are finished."""
        self._stopping.set()

    async def run(self) -> None:
        """Receive and settle, until stopped and all held messages are settled. If cancelled, give the held messages back."""
        await self._until_open()
        extending = asyncio.create_task(self._holds.extend_forever(), name=f"hold {self._queue.name}")
        try:
            await self._receive_forever()
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

    def _open(self, facts: QueueFacts) -> None:
        """Start with the settings of the queue."""
        self._is_open = True
        self.activity.retention = facts.retention
        self._visibility = max(facts.visibility_timeout, MIN_VISIBILITY)
        if self._policy.max_receives is None:
            self._policy = msgspec.structs.replace(self._policy, max_receives=facts.max_receives)
        self._holds = Holds(queue=self._queue, clock=self._clock, visibility_timeout=self._visibility)
        self._settlements = self._new_settlements()
        receives = [each for each in (facts.max_receives, self._policy.max_receives) if each is not None]
        self._may_abandon = min(receives, default=SPARE_RECEIVES) >= SPARE_RECEIVES

    def _new_settlements(self) -> Settlements:
        return Settlements(
            queue=self._queue,
            policy=self._policy,
            clock=self._clock,
            counters=self._counters,
            in_hand=lambda: len(self._holds),
            audit=self._audit,
        )

    async def _until_open(self) -> None:
        """Ask the queue for its settings until it answers. Returns also when stopping."""
        while not self._is_open and await self._may_receive():
            try:
                facts = await self._unless_stopping(self._queue.facts())
                if facts is not None:
                    self._open(facts)
                    self._succeeded()
            except Exception as error:  # noqa: BLE001 - logged and tried again
                delay = self._pause_after(error)
                log.warning("queue_unusable", queue=self._queue.name, reason=str(error), retry_in=round(delay, 1))

    async def _receive_forever(self) -> None:
        """Listen for a message. When one comes, receive batches as long as there are more."""
        empty = 0
        while await self._may_receive():
            began = self._clock.monotonic()
            if await self._listen():
                empty = 0
                # A gate may have been closed during the long poll.
                if await self._may_receive() and await self._batch():
                    await self._receive_backlog()
            else:
                empty += 1
                await self._sleep(began + IDLE_BACKOFF.delay(empty) - self._clock.monotonic())

    async def _receive_backlog(self) -> None:
        async def receive() -> None:
            while await self._may_receive() and await self._batch():
                pass

        async with asyncio.TaskGroup() as group:
            for _ in range(self._receivers):
                group.create_task(receive(), name=f"receive {self._queue.name}")

    async def _listen(self) -> int:
        """Wait for one message. No room is held meanwhile: an idle queue takes nothing from a busy one."""
        if not self._room.is_free():
            await self._unless_stopping(self._room.free())
        # Should the poll be abandoned, its message comes back soon.
        visibility = min(self._visibility, MIN_VISIBILITY)
        messages = [] if self._stopping.is_set() else await self._received(1, self._wait, visibility)
        self._is_idle = not messages
        for message in messages:
            self._room.overdraw()
            if not self._start(message, visibility):
                self._room.give(1)
        return len(messages)

    async def _batch(self) -> int:
        """Receive what is there now, at most a full batch. Returns the number of messages."""
        room = await self._taken_room()
        started = 0
        try:
            messages = await self._received(room, 0.0, self._visibility) if room else []
            started = sum(self._start(message, self._visibility) for message in messages)
        finally:
            # The room of each started message is given back when its task ends.
            self._room.give(room - started)
        return len(messages)

    async def _received(self, limit: int, wait: float, visibility: float) -> Sequence[Message]:
        """Receive, and return the messages to start. Returns none after a failure, which is logged."""
        try:
            found = await self._receive(limit, wait, visibility)
        except Exception as error:  # noqa: BLE001 - logged and retried: no error stops a receiver
            delay = self._pause_after(error)
            report = log.warning if isinstance(error, QueueError) else log.exception
            report("receive_failed", queue=self._queue.name, reason=str(error), retry_in=round(delay, 1))
            return []
        if found is None:
            return []
        self._succeeded()
        self.activity.received(found)
        # SQS may put a redelivered message into one answer twice. It is one message, and its last receipt counts.
        messages = list({message.id: message for message in found}.values())
        if self._stopping.is_set():
            await self._hand_back(messages, visibility)
            return []
        return messages

    def _succeeded(self) -> None:
        if self._trouble.text:
            log.info("queue_usable", queue=self._queue.name, seconds=round(self._trouble.seconds, 1))
        self._failures = 0
        self._trouble.end()

    def _pause_after(self, error: Exception) -> float:
        """Let all receivers of this queue pause after a failed call. Returns the seconds."""
        self._failures += 1
        delay = RECEIVE_BACKOFF.delay(self._failures)
        self._trouble.begin(str(error))
        self._paused_until = self._clock.monotonic() + delay
        return delay

    async def _may_receive(self) -> bool:
        """Wait until no gate has a reason against it, and the pause after a failure is over. False when stopping."""
        await self._sleep(self._paused_until - self._clock.monotonic())
        if any(gate.reason for gate in self._gates):
            await self._unless_stopping(passable(self._gates))
        return not self._stopping.is_set()

    async def _sleep(self, seconds: float) -> None:
        """Sleep, but not beyond the stop."""
        if seconds > 0:
            await self._unless_stopping(self._clock.sleep(seconds))

    async def _receive(self, limit: int, wait: float, visibility: float) -> Sequence[Message] | None:
        """Receive. Returns None if the receive was abandoned.

        Only the long poll of an idle queue is abandoned, after the stop: SQS does not notice it, and may deliver a message to
        nobody. Where messages come all the time, that is likely, and one of them ends the poll soon anyway.
        Then the message is hidden until its visibility timeout ends, and has one receive less. So no other receive is cancelled.
        """
        receive = asyncio.ensure_future(self._queue.receive(limit, wait=wait, visibility=visibility))
        try:
            if wait > SHORT_POLL and self._may_abandon and self._is_idle:
                await first_of(asyncio.wait([receive]), self._nothing_left())
                if not receive.done():
                    return await self._abandoned(receive)
            return await asyncio.shield(receive)
        except asyncio.CancelledError:
            try:
                async with asyncio.timeout(LAST_RECEIVE if self._stopping.is_set() else None):
                    await asyncio.wait([receive])
                    if not receive.cancelled() and receive.exception() is None:
                        await self._hand_back(receive.result(), visibility)
            except TimeoutError:
                log.warning("receive_abandoned", queue=self._queue.name, after=LAST_RECEIVE)
                await self._abandoned(receive)
            raise

    async def _nothing_left(self) -> None:
        """Return some time after the stop, when only a long poll is left."""
        await self._stopping.wait()
        while self._tasks:
            await asyncio.wait(self._tasks)
        await self._clock.sleep(LAST_POLL)

    @staticmethod
    async def _abandoned(receive: "asyncio.Future[Sequence[Message]]") -> Sequence[Message] | None:
        """Cancel a receive. Returns its messages if it has ended by itself at this moment."""
        receive.cancel()
        await asyncio.wait([receive])
        return None if receive.cancelled() or receive.exception() is not None else receive.result()

    async def _taken_room(self) -> int:
        """Take room for a full batch, or for a part of it if the rest does not become free. 0 when stopping."""
        if self._room.take_now(RECEIVE_LIMIT):
            return RECEIVE_LIMIT
        take = asyncio.ensure_future(self._room.take(RECEIVE_LIMIT, FULL_BATCH_PATIENCE))
        try:
            return await self._unless_stopping(take) or 0
        except asyncio.CancelledError:
            if take.done() and not take.cancelled():
                self._room.give(take.result())
            raise

    async def _unless_stopping(self, awaitable: "Awaitable[T]") -> T | None:
        return await first_of(awaitable, self._stopping.wait())

    def _start(self, message: Message, visibility: float) -> bool:
        held = self._holds.hold(message, self._clock.monotonic(), visibility)
        if held is None:
            log.info("redelivered_while_held", queue=self._queue.name, message=message.id)
            self._received_again(message)
            return False
        self._counters.messages += 1
        self._counters.receives[message.receive_count] += 1
        if message.receive_count > 1:
            self._counters.redelivered += 1
        elif message.sent_at and not message.ours:
            self._counters.stages.queued.add(self.activity.last_receive - message.sent_at)
        # From here on, the task's end gives back what the receiver took for this message.
        in_hand = self._room.admit(message, is_last=self._policy.is_last(message.receive_count))
        held.in_hand = in_hand
        in_hand.on_events = self.activity.brought_events
        work = self._process(held, in_hand) if self._tracer is None else self._traced(self._tracer, held, in_hand)
        task = held.task = asyncio.create_task(work)
        self._tasks[task] = in_hand
        # A callback, because a task that is cancelled before its first step runs no `finally`.
        task.add_done_callback(self._ended)
        return True

    def _received_again(self, message: Message) -> None:
        """The verdict on a held message must know of this receive: it may be the last one."""
        if (in_hand := self._holds[message.id].in_hand) is not None:
            in_hand.receive_count = message.receive_count
            in_hand.is_last = self._policy.is_last(message.receive_count)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.pop(task).leave()

    async def _traced(self, tracer: Tracer, held: Held, in_hand: InHand) -> None:
        with tracer.message(self._queue.name, held.message):
            await self._process(held, in_hand)

    async def _process(self, held: Held, in_hand: InHand) -> None:
        try:
            receives, received = held.message.receive_count, held.since
            verdict = await self._settled(held, in_hand)
            if isinstance(verdict, Retry) and receives < held.message.receive_count and in_hand.is_last:
                # While it was settled, it was received for the last time. This is its last try.
                self._holds.resume(held)
                with await in_hand.place_again():
                    await self._settled(held, in_hand)
            if isinstance(verdict, Done):
                self._counters.stages.message.add(self._clock.monotonic() - received)
        except asyncio.CancelledError:
            log.debug("message_abandoned", queue=self._queue.name, message=held.message.id, lost=held.lost)
            if not held.lost:
                raise  # the drain deadline is over: the caller gives the message back
            # Another consumer has it, or the queue has deleted it for its age.
            self.activity.not_done(held.message, 0.0)
        self._holds.let_go(held)

    async def _settled(self, held: Held, in_hand: InHand) -> Verdict:
        """Handle the message, and apply the verdict."""
        verdict = await self._verdict(held.message, in_hand)
        if self._tracer is not None:
            self._tracer.judged(verdict)
        await self._holds.settle(held)
        if isinstance(verdict, Retry):
            self.activity.not_done(held.message, verdict.delay)
        await self._settlements.settle(held, verdict)
        return verdict

    async def _verdict(self, message: Message, in_hand: InHand) -> Verdict:
        try:
            return await self._handler.handle(message, self._policy, in_hand)
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

    async def _hand_back(self, messages: Sequence[Message], visibility: float) -> None:
        """Make the messages visible that a receive brought after the stop. Keep those that are held already."""
        now = self._clock.monotonic()
        unknown = []
        for message in messages:
            if self._holds.renew(message, now, visibility):
                self._received_again(message)
            else:
                unknown.append(message)
        if unknown:
            log.info("handed_back", queue=self._queue.name, messages=len(unknown))
            await self._settlements.show_now([message.receipt for message in unknown])
