"""The room for messages in hand. Several consumers share it.

A message needs three things: a place while its log files are read, a place while it is held, and bytes for its body and
for what it asks for. Nothing is received that has no place. The size of a message is known only when it is here, so its
bytes may overdraw their budget; until they are given back, nothing more is received.

A receiver that listens to an idle queue holds no room. It receives one message at most, and that message may overdraw the
budgets. Then the receiver waits for room like all others before it receives again, so each queue overdraws by one message.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Final

from jibe_sqs.concurrency.budget import Budget, Place, Share
from jibe_sqs.core.model import Message

OVERHEAD: Final = 6400
"""Bytes of a held message beside its body and its plan: its tasks, its receipt, and its request for a refresh. Measured with
13,691 held messages of one folder each: 6,210 (`python -m bench hostile`: 9,875 each, with 3,660 for body and plan)."""
FILE: Final = 4096
"""Bytes of a log file that is read, or that waits for its refreshes, beside its plan. Estimated: 2,000 waiting files of one
folder each needed 5,600 with their plans, and 7,700 are counted."""
ANNOUNCED: Final = 256
"""Bytes of a log file that is not read yet. Measured with names of 65 characters: 207."""
SHARES: Final = 8
"""A message with many log files uses at most so much of the bytes before the refreshes of its first files are done."""
MIN_PLAN: Final = 1024 * 1024
"""Bytes that the plan of one log file may always have. Otherwise messages that only wait could coarsen every plan."""


class Room:
    """Budgets of places and bytes."""

    def __init__(self, *, reading: int, held: int, held_bytes: int, plan_bytes: int) -> None:
        """`reading`, `held`: messages. `held_bytes`: of all messages in hand. `plan_bytes`: the largest plan of one file.

        At most `reading` log files are read at the same time, too: one message may announce a hundred thousand.
        """
        self.reading = Budget(reading)
        self.files = Budget(reading)
        self.held = Budget(held)
        self.held_bytes = Budget(held_bytes)
        self._plan_bytes = plan_bytes

    def resize(self, *, reading: int, held: int, held_bytes: int, plan_bytes: int) -> None:
        """Change the sizes; see `__init__`. What is in hand stays in hand. A message keeps the plan size that it came with."""
        for budget, size in (
            (self.reading, reading),
            (self.files, reading),
            (self.held, held),
            (self.held_bytes, held_bytes),
        ):
            budget.resize(size)
        self._plan_bytes = plan_bytes

    def is_free(self) -> bool:
        """Whether one message more could be received now."""
        return all(budget.is_free for budget in (self.held, self.held_bytes, self.reading))

    async def free(self) -> None:
        """Wait until one message more could be received. Takes nothing."""
        for budget in (self.held, self.held_bytes, self.reading):
            budget.give(await budget.take(1))

    def take_now(self, messages: int) -> bool:
        """Take room for so many messages, if there is room for all of them and nobody waits for any."""
        if not self.held_bytes.is_free or not self.held.take_now(messages):
            return False
        if self.reading.take_now(messages):
            return True
        self.held.give(messages)
        return False

    async def take(self, most: int, patience: float) -> int:
        """Wait for room, and take it. Returns the number of messages: at most `most`.

        While messages that are done make room, the caller waits for all of it. If none does so for `patience` seconds, it
        gets what there is.
        """
        # Last the places for reading, because messages that are being read may wait for the others only.
        self.held_bytes.give(await self.held_bytes.take(1))
        held = await self.held.take(most, least=1, patience=patience)
        room = 0
        try:
            room = await self.reading.take(held, least=1, patience=patience)
        finally:
            self.held.give(held - room)
        return room

    def overdraw(self) -> None:
        """Take room for a message that is here already."""
        self.held.overdraw()
        self.reading.overdraw()

    def give(self, messages: int) -> None:
        """Give back room that was taken, and that no message has used."""
        self.reading.give(messages)
        self.held.give(messages)

    def admit(self, message: Message, *, is_last: bool = False) -> "InHand":
        """Use the room of one message for this message. `is_last`: see `InHand`."""
        return InHand(self, len(message.body), self._plan_bytes, receive_count=message.receive_count, is_last=is_last)


def _nothing() -> None:
    """What a message without a consumer does with its events."""


class InHand:
    """The room that one message uses. `place`: its place while it is read.

    `files_waiting`: the number of its files that wait for a bucket, or for another message that reads the same file.
    `is_last`: the message has no receive left. If it goes back to its queue, it becomes a dead letter. `receive_count` and
    `is_last` change if the message is delivered again while it is in hand. `on_events` is called if the message names changes
    by itself.
    """

    __slots__ = (
        "_bytes",
        "_has_left",
        "_plan_bytes",
        "_room",
        "files_waiting",
        "is_last",
        "on_events",
        "place",
        "receive_count",
    )

    def __init__(
        self, room: Room, body: int, plan_bytes: int, *, receive_count: int = 1, is_last: bool = False
    ) -> None:
        self.receive_count = receive_count
        self.is_last = is_last
        self.files_waiting = 0
        self.on_events: Callable[[], None] = _nothing
        self.place = Place(room.reading)
        self._room = room
        self._plan_bytes = plan_bytes
        self._bytes = Share(room.held_bytes, 0)
        self._bytes.grow(body + OVERHEAD)
        self._has_left = False

    @property
    def bytes(self) -> int:
        """The bytes that the message holds."""
        return self._bytes.amount

    def plan(self) -> "PlanRoom":
        """The bytes of a new plan of this message."""
        return PlanRoom(self._bytes, self._plan_bytes)

    @property
    def may_read_more(self) -> bool:
        """Whether it may begin a further log file while earlier ones wait for their refreshes."""
        return self._bytes.free > 0 and self._bytes.amount < self._room.held_bytes.size // SHARES

    def part(self, size: int) -> AbstractContextManager[None]:
        """Hold so many bytes more during the block."""
        return self._bytes.part(size)

    async def begin_file(self) -> None:
        """Take the place of a log file that is read, until `end_file`."""
        if not self._room.files.take_now(1):
            await self._room.files.take(1)

    def end_file(self) -> None:
        """Give the place of a log file back."""
        self._room.files.give()

    async def place_again(self) -> AbstractContextManager[None]:
        """A part of the place, which is taken again if it has been left."""
        if self.place.is_left():
            await self._room.reading.take(1)
            if self.place.is_left():
                self.place = Place(self._room.reading)
            else:
                # Another file of this message has taken one meanwhile.
                self._room.reading.give()
        return self.place.part()

    @asynccontextmanager
    async def reading_again(self) -> AsyncIterator[None]:
        """A place for reading during the block, for a message that has left its own."""
        taken = await self._room.reading.take(1)
        try:
            yield
        finally:
            self._room.reading.give(taken)

    def leave(self) -> None:
        """Give everything back."""
        if self._has_left:
            return
        self._has_left = True
        self.place.leave()
        self._bytes.reduce_to(0)
        self._room.held.give()


class PlanRoom:
    """The bytes of one plan: a part of those of its message."""

    __slots__ = ("_amount", "_most", "_share")

    def __init__(self, share: Share, most: int) -> None:
        self._share = share
        self._most = most
        self._amount = 0

    def limit(self) -> int:
        """The size in bytes that the plan may have now."""
        return min(self._most, max(MIN_PLAN, self._amount + max(0, self._share.free)))

    def resize(self, amount: int) -> None:
        """The plan has this size now. It may be more than the limit: it is in memory already."""
        if amount > self._amount:
            self._share.grow(amount - self._amount)
        else:
            self._share.reduce_to(self._share.amount - (self._amount - amount))
        self._amount = amount
