"""What is in the dead-letter queues, and the way back from them.

Looking into an SQS queue means receiving: what is looked at is hidden from others meanwhile, and everything that stays
is shown again at the end, however that comes. Sending back is at least once: a letter is deleted only after its copy is
in its queue again.
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

HIDDEN: Final = 600.0
"""Seconds for which a letter that is looked at is hidden, should we die over it. SQS hides 120,000 at most at a time."""
WAIT: Final = 1.0
"""Seconds of a long poll. A short one asks some of SQS's servers only, and may bring nothing while letters remain."""
QUIET: Final = 2
"""So many receives in a row that bring nothing new are the end."""
BATCH: Final = 10
AT_A_TIME: Final = 8
"""Calls."""


class DeadLetter(msgspec.Struct, frozen=True):
    """One message that was given up, and what is told of that. What nobody told is empty; `receives` is 0 then."""

    id: str
    """Of the copy in the dead-letter queue."""
    receipt: str
    body: str
    dead_letters: str
    """The dead-letter queue's name."""
    queue: str
    """Where it came from, and goes back to: a queue's name."""
    error: str
    """The error's class name."""
    reason: str
    source: str = ""
    time: str = ""
    first_error: str = ""
    message_id: str = ""
    """Of the message in its own queue."""
    receives: int = 0
    sent_at: float = 0.0
    """Seconds since the epoch, by SQS's clock: of the copy, or of the message itself if the queue moved it."""

    def is_named(self, word: str) -> bool:
        """Whether the word is one of its ids, or the beginning of one."""
        return bool(word) and (self.id.startswith(word) or self.message_id.startswith(word))


class DeadLetterQueue(Protocol):
    """One dead-letter queue. Every call raises only `QueueError`s."""

    name: str

    async def letters(self, limit: int, *, wait: float, hidden: float) -> Sequence[DeadLetter]:
        """At most `limit` (1 to 10), waiting up to `wait` seconds for the first; nobody else sees them meanwhile."""

    async def show_after(self, delays: Sequence[tuple[str, float]]) -> dict[str, Exception]:
        """Set the visibility (seconds from now) of up to ten receipts; returns what failed, by receipt."""

    async def delete(self, receipts: Sequence[str]) -> dict[str, Exception]:
        """Delete up to ten; returns what failed, by receipt."""

    async def send_back(self, letter: DeadLetter) -> None:
        """Put a copy into the queue where it came from, as a new message."""


class Look:
    """A look into one dead-letter queue: each letter once."""

    def __init__(self, queue: DeadLetterQueue) -> None:
        self._queue = queue
        self._in_hand: dict[str, str] = {}
        """Id -> receipt."""
        self._seen: set[str] = set()

    async def letters(self) -> AsyncIterator[DeadLetter]:
        """All that nobody else holds."""
        quiet = 0
        while quiet < QUIET:
            found = await self._receive()
            new = [letter for letter in found if letter.id not in self._seen]
            for letter in found:
                # Of one that came twice, the last receipt counts.
                self._in_hand[letter.id] = letter.receipt
                self._seen.add(letter.id)
            for letter in new:
                yield letter
            quiet = 0 if new else quiet + 1

    async def send_back(self, letter: DeadLetter) -> None:
        """Return when it is in its own queue again, and here no more. Raises `QueueError`: then it may be in both."""
        await self._queue.send_back(letter)
        receipt = self._in_hand[letter.id]
        failed = await self._queue.delete([receipt])
        if receipt in failed:
            raise failed[receipt]
        del self._in_hand[letter.id]

    async def close(self) -> None:
        """Give back what is still in our hands. Raises nothing: what fails shows again by itself, later."""
        receipts = list(self._in_hand.values())
        self._in_hand.clear()
        batches = [receipts[i : i + BATCH] for i in range(0, len(receipts), BATCH)]
        room = asyncio.Semaphore(AT_A_TIME)

        async def show(batch: Sequence[str]) -> int:
            async with room:
                try:
                    return len(await self._queue.show_after([(receipt, 0.0) for receipt in batch]))
                except QueueError:
                    return len(batch)

        if failed := sum(await asyncio.gather(*map(show, batches))):
            log.warning("giving_back_failed", queue=self._queue.name, messages=failed, shown_again_in=HIDDEN)

    async def _receive(self) -> Sequence[DeadLetter]:
        receive = asyncio.ensure_future(self._queue.letters(BATCH, wait=WAIT, hidden=HIDDEN))
        try:
            return await asyncio.shield(receive)
        except asyncio.CancelledError:
            # Cancelled on its way, a receive would leave what it brings hidden, and nobody would know of what.
            await asyncio.wait([receive])
            if not receive.cancelled() and receive.exception() is None:
                self._in_hand.update((letter.id, letter.receipt) for letter in receive.result())
            raise


@asynccontextmanager
async def looking(queue: DeadLetterQueue) -> AsyncIterator[Look]:
    """A look, at whose end everything is given back."""
    look = Look(queue)
    try:
        yield look
    finally:
        await look.close()


async def listed(queues: Sequence[DeadLetterQueue]) -> AsyncGenerator[DeadLetter, None]:
    """Everything in these dead-letter queues, one queue after the other. Close it, and all is given back."""
    for queue in queues:
        async with looking(queue) as look:
            async for letter in look.letters():
                yield letter


class Redriven(msgspec.Struct):
    """What a redrive did. `failed`: the letters that it could not send back, and why."""

    letters: list[DeadLetter] = msgspec.field(default_factory=list)
    failed: list[tuple[DeadLetter, str]] = msgspec.field(default_factory=list)
    left: Counter[str] = msgspec.field(default_factory=Counter)
    """How many were not wanted, by their errors."""

    def unknown(self, words: Sequence[str]) -> list[str]:
        """Those of the words that none of the letters that were wanted is named by."""
        found = [*self.letters, *(letter for letter, _ in self.failed)]
        return [word for word in words if not any(letter.is_named(word) for letter in found)]


async def redriven(
    queues: Sequence[DeadLetterQueue], wanted: Callable[[DeadLetter], bool], *, dry_run: bool = False
) -> Redriven:
    """Send back those that are wanted. `dry_run`: only tell which these are."""
    done = Redriven()
    room = asyncio.Semaphore(AT_A_TIME)
    for queue in queues:
        async with looking(queue) as look:
            chosen = []
            async for letter in look.letters():
                if wanted(letter):
                    chosen.append(letter)
                else:
                    done.left[letter.error] += 1

            async def send(letter: DeadLetter, look: Look = look) -> None:
                async with room:
                    try:
                        if not dry_run:
                            await look.send_back(letter)
                        done.letters.append(letter)
                    except QueueError as error:
                        done.failed.append((letter, f"{type(error).__name__}: {error}"))

            # Not before all have been seen: the service may reject one anew while we look, and we must not meet it again.
            await asyncio.gather(*map(send, chosen))
    return done
