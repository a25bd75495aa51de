"""Lists the letters in dead-letter queues, and redrives them.

SQS has no way to look at messages without receiving them. Received letters are hidden from other receivers, so every
letter that stays is made visible again at the end, also after an error or Ctrl-C. A redrive delivers at least once: a
letter is deleted only after its copy is in its own queue.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final, Protocol

import msgspec
import structlog

from jibe_sqs.core.errors import QueueError

log = structlog.get_logger()

VISIBILITY_TIMEOUT: Final = 600.0
"""Seconds until a received letter is visible again if this process dies. SQS hides at most 120,000 messages at a time."""
RECEIVE_WAIT: Final = 1.0
"""Seconds of a long poll. A short poll asks only some of SQS's servers, and may return nothing while letters remain."""
MAX_EMPTY_RECEIVES: Final = 2
"""After this number of receives in a row without a new letter, the queue counts as read to its end."""
BATCH_SIZE: Final = 10
"""Messages in one call. SQS allows no more."""
MAX_CONCURRENT_CALLS: Final = 8
UNKNOWN_ERROR: Final = "unknown"
"""The `error` of a message that SQS itself moved: SQS gives no reason."""
FORMER_UNKNOWN_ERROR: Final = "not-told"
"""Earlier versions printed this word, so scripts may still select by it."""


class DeadLetter(msgspec.Struct, frozen=True):
    """A rejected message, with the facts in its attributes. A fact that is missing is empty; `receives` is then 0."""

    id: str
    """The id of the copy in the dead-letter queue."""
    receipt: str
    body: str
    dead_letters: str
    """The dead-letter queue's name."""
    queue: str
    """The name of the queue that the message came from. A redrive sends it back there."""
    error: str
    """The error's class name, or `UNKNOWN_ERROR`."""
    reason: str
    source: str = ""
    time: str = ""
    first_error: str = ""
    message_id: str = ""
    """The id of the message in its own queue."""
    receives: int = 0
    sent_at: float = 0.0
    """When the copy was sent, or the message itself if SQS moved it. Seconds since the epoch, by SQS's clock."""

    def has_id(self, text: str) -> bool:
        """Whether the text is one of its two ids, or the beginning of one."""
        return bool(text) and (self.id.startswith(text) or self.message_id.startswith(text))

    def has_error(self, name: str) -> bool:
        """Whether the letter has this error. `not-told` still selects letters without a known error."""
        return self.error == (UNKNOWN_ERROR if name == FORMER_UNKNOWN_ERROR else name)


class DeadLetterQueue(Protocol):
    """One dead-letter queue. Every call raises only `QueueError`s."""

    name: str

    async def letters(self, limit: int, *, wait: float, hidden: float) -> Sequence[DeadLetter]:
        """Receive at most `limit` (1 to 10) letters. Waits up to `wait` seconds for the first.

        Other receivers do not see them for `hidden` seconds.
        """

    async def show_after(self, delays: Sequence[tuple[str, float]]) -> dict[str, Exception]:
        """Set the visibility timeout (seconds from now) of up to ten receipts. Returns the errors by receipt."""

    async def delete(self, receipts: Sequence[str]) -> dict[str, Exception]:
        """Delete up to ten letters. Returns the errors by receipt."""

    async def send_back(self, letter: DeadLetter) -> None:
        """Send a copy to the queue that the letter came from, as a new message."""


class Inspection:
    """Reads one dead-letter queue to its end. Returns each letter once, and keeps all of them until `close`."""

    def __init__(self, queue: DeadLetterQueue) -> None:
        self._queue = queue
        self._receipts: dict[str, str] = {}
        """The letters that are hidden now: id -> receipt."""
        self._seen: set[str] = set()

    async def letters(self) -> AsyncIterator[DeadLetter]:
        """All letters that no other receiver holds."""
        empty_receives = 0
        while empty_receives < MAX_EMPTY_RECEIVES:
            received = await self._receive()
            new = [letter for letter in received if letter.id not in self._seen]
            for letter in received:
                # If a letter is received twice, its last receipt is the valid one.
                self._receipts[letter.id] = letter.receipt
                self._seen.add(letter.id)
            for letter in new:
                yield letter
            empty_receives = 0 if new else empty_receives + 1

    async def send_back(self, letter: DeadLetter) -> None:
        """Send the letter to its own queue, and delete it here. After a `QueueError` it may be in both queues."""
        await self._queue.send_back(letter)
        receipt = self._receipts[letter.id]
        failed = await self._queue.delete([receipt])
        if receipt in failed:
            raise failed[receipt]
        del self._receipts[letter.id]

    async def close(self) -> None:
        """Make all hidden letters visible again. Raises nothing: after a failure, they are visible a little later."""
        receipts = list(self._receipts.values())
        self._receipts.clear()
        batches = [receipts[i : i + BATCH_SIZE] for i in range(0, len(receipts), BATCH_SIZE)]
        slots = asyncio.Semaphore(MAX_CONCURRENT_CALLS)

        async def show(batch: Sequence[str]) -> int:
            async with slots:
                try:
                    return len(await self._queue.show_after([(receipt, 0.0) for receipt in batch]))
                except QueueError:
                    return len(batch)

        if failed := sum(await asyncio.gather(*map(show, batches))):
            log.warning(
                "giving_back_failed", queue=self._queue.name, messages=failed, shown_again_in=VISIBILITY_TIMEOUT
            )

    async def _receive(self) -> Sequence[DeadLetter]:
        call = self._queue.letters(BATCH_SIZE, wait=RECEIVE_WAIT, hidden=VISIBILITY_TIMEOUT)
        receive = asyncio.ensure_future(call)
        try:
            return await asyncio.shield(receive)
        except asyncio.CancelledError:
            # A receive that is cancelled in flight would hide letters whose receipts are lost.
            await asyncio.wait([receive])
            if not receive.cancelled() and receive.exception() is None:
                self._receipts.update((letter.id, letter.receipt) for letter in receive.result())
            raise


@asynccontextmanager
async def inspecting(queue: DeadLetterQueue) -> AsyncIterator[Inspection]:
    """An inspection that makes its letters visible again at the end."""
    inspection = Inspection(queue)
    try:
        yield inspection
    finally:
        await inspection.close()


async def all_letters(queues: Sequence[DeadLetterQueue]) -> AsyncGenerator[DeadLetter, None]:
    """All letters in these queues, one queue after the other. Close the generator to make them visible again."""
    for queue in queues:
        async with inspecting(queue) as inspection:
            async for letter in inspection.letters():
                yield letter


class RedriveResult(msgspec.Struct):
    """What a redrive did. `failed`: the selected letters that could not be sent back, each with the reason."""

    letters: list[DeadLetter] = msgspec.field(default_factory=list)
    failed: list[tuple[DeadLetter, str]] = msgspec.field(default_factory=list)
    left: Counter[str] = msgspec.field(default_factory=Counter)
    """The number of letters that were not selected, per error."""

    def unknown_ids(self, ids: Sequence[str]) -> list[str]:
        """The given ids that belong to no selected letter."""
        selected = [*self.letters, *(letter for letter, _ in self.failed)]
        return [text for text in ids if not any(letter.has_id(text) for letter in selected)]


async def redrive(
    queues: Sequence[DeadLetterQueue], is_selected: Callable[[DeadLetter], bool], *, dry_run: bool = False
) -> RedriveResult:
    """Send the selected letters back to their queues. With `dry_run`, only return which letters these are."""
    result = RedriveResult()
    slots = asyncio.Semaphore(MAX_CONCURRENT_CALLS)
    for queue in queues:
        async with inspecting(queue) as inspection:
            selected = []
            async for letter in inspection.letters():
                if is_selected(letter):
                    selected.append(letter)
                else:
                    result.left[letter.error] += 1

            async def send(letter: DeadLetter, inspection: Inspection = inspection) -> None:
                async with slots:
                    try:
                        if not dry_run:
                            await inspection.send_back(letter)
                        result.letters.append(letter)
                    except QueueError as error:
                        result.failed.append((letter, f"{type(error).__name__}: {error}"))

            # Sending starts only after the whole queue is read: the service may reject a message again meanwhile, and
            # that new dead letter must not be redriven again.
            await asyncio.gather(*map(send, selected))
    return result
