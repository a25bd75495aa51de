"""Room for messages that wait in memory for something that may take hours: a log bucket, or the end of a pause.

Half of the room for messages in hand may be used for this, so that all others go on. A message beyond that goes back to its
queue, except in its last receive: the queue would make it a dead letter.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from jibe_sqs.consuming.room import FILE, InHand


class WaitingRoom:
    """Counts the messages that wait, and their bytes."""

    def __init__(self, *, messages: int, waiting_bytes: int) -> None:
        self._messages = self._messages_left = messages
        self._bytes = self._bytes_left = waiting_bytes

    def resize(self, *, messages: int, waiting_bytes: int) -> None:
        """Change the size. Messages that wait go on waiting."""
        self._messages_left += messages - self._messages
        self._bytes_left += waiting_bytes - self._bytes
        self._messages, self._bytes = messages, waiting_bytes

    def has_room(self, in_hand: InHand) -> bool:
        """Whether the message may wait here. A message that waits already, for another of its files, needs only bytes."""
        messages, size = _needed(in_hand)
        return in_hand.is_last or (self._messages_left >= messages and self._bytes_left >= size)

    @contextmanager
    def occupied(self, in_hand: InHand) -> Iterator[None]:
        """Count the message during the block."""
        messages, size = _needed(in_hand)
        in_hand.files_waiting += 1
        self._messages_left -= messages
        self._bytes_left -= size
        try:
            yield
        finally:
            in_hand.files_waiting -= 1
            self._messages_left += messages
            self._bytes_left += size


def _needed(in_hand: InHand) -> tuple[int, int]:
    return (0, FILE) if in_hand.files_waiting else (1, in_hand.bytes)
