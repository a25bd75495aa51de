"""When a queue was last received from, and whether it has deleted messages unseen.

SQS deletes a message when its retention is over. All messages that were sent before `seen_until` have been received: a receive
that brought nothing sees everything that was sent before it; a receive that brought messages sees, approximately, everything
before the oldest of them. If `seen_until` is older than the retention, messages may have been deleted that nobody has seen.
A message that was received may be deleted, too, before it is done: the outage of a log bucket may last longer than the retention.
"""

import json
import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from jibe_sqs.core.model import Message
from jibe_sqs.ports import QueueDepth

MAX_MARGIN: Final = 3600.0
"""Seconds before the end of the retention from which on messages count as deleted."""
FIFO_SUFFIX: Final = ".fifo"


class Gap(msgspec.Struct, frozen=True):
    """Messages that were sent in this time may have been deleted unseen. Seconds since the epoch, local clock."""

    start: float
    end: float


class _Noted(msgspec.Struct, frozen=True):
    """A note, parsed."""

    receive: float
    message: float
    seen: float
    gap: Gap | None
    brings_events: bool


class QueueActivity:
    """What is known of one queue. All times in seconds since the epoch, by the local clock; 0.0 for never.

    `brings_events`: a message named changes by itself, without a log file. `gap` stays until it is `caught_up`.
    """

    def __init__(self, name: str, wall_clock: Callable[[], float] = time.time) -> None:
        self.name = name
        self.is_fifo = name.endswith(FIFO_SUFFIX)
        self.retention = 345_600.0
        self.last_receive = self.last_message = self.seen_until = 0.0
        self.brings_events = False
        self.gap: Gap | None = None
        self.depth: QueueDepth | None = None
        self._first_receive = 0.0
        self._is_assumed = False
        """Whether `seen_until` is the first start, before which messages may be waiting."""
        self._wall_clock = wall_clock

    def received(self, messages: Sequence[Message]) -> None:
        """A receive has succeeded, perhaps without messages."""
        now = self._wall_clock()
        self._first_receive = self._first_receive or now
        self.seen_until = not_later(self.seen_until, now)
        self._look_for_gap(self.seen_until, now)
        self.last_receive = now
        if not messages:
            # A message in flight hides all later ones of its group in a FIFO queue.
            if not (self.is_fifo and self.depth and self.depth.visible):
                self.seen_until, self._is_assumed = now, False
            return
        self.last_message = now
        # A message that comes again was seen before.
        if sent := [message.sent_at for message in messages if message.receive_count == 1 and message.sent_at]:
            self.seen_until = max(0.0 if self._is_assumed else self.seen_until, min(sent))
            self._is_assumed = False

    def not_done(self, message: Message, visible_in: float) -> None:
        """A message that was received is not done, and is visible to others in so many seconds, if it is still there then."""
        now = self._wall_clock()
        if message.sent_at and now + visible_in - message.sent_at > self.retention - self._margin:
            self._add(Gap(message.sent_at, now))

    def brought_events(self) -> None:
        """A message named changes by itself."""
        self.brings_events = True

    def measured(self, depth: QueueDepth) -> None:
        """The queue has answered with its depth."""
        self.depth, self.retention = depth, depth.retention

    def caught_up(self, gap: Gap) -> None:
        """Everything in this gap is done. What became a gap meanwhile stays."""
        if self.gap is not None:
            self.gap = Gap(gap.end, self.gap.end) if self.gap.end > gap.end else None

    def note(self) -> str:
        """What must survive a restart."""
        return json.dumps(
            {
                "receive": self.last_receive,
                "message": self.last_message,
                "seen": self.seen_until,
                "events": self.brings_events,
                "gap": [self.gap.start, self.gap.end] if self.gap else None,
            }
        )

    def restore(self, note: str) -> None:
        """Take over what an earlier process noted. This one may have received already."""
        found = self._noted(note)
        if found is None:
            # A queue without a note is new. What is sent to it from now on must be seen.
            if not self.seen_until:
                self.seen_until, self._is_assumed = self._wall_clock(), True
            return
        self._add_noted(found)
        if self._first_receive:
            self._look_for_gap(found.seen, self._first_receive)
        else:
            self.seen_until = max(self.seen_until, found.seen)

    def merge(self, note: str) -> None:
        """Add what another process notes that receives from the queue at the same time."""
        if found := self._noted(note):
            self._add_noted(found)
            if found.seen > self.seen_until:
                self.seen_until, self._is_assumed = found.seen, False

    def _noted(self, note: str) -> "_Noted | None":
        """What is noted. None for a note that cannot be read."""
        try:
            found = json.loads(note)
            now = self._wall_clock()
            receive, message, seen = (not_later(float(found[name]), now) for name in ("receive", "message", "seen"))
            gap = Gap(*(not_later(float(each), now) for each in found["gap"])) if found["gap"] else None
            return _Noted(receive, message, seen, gap, bool(found["events"]))
        except (ValueError, TypeError, KeyError):
            return None

    def _add_noted(self, found: "_Noted") -> None:
        self.last_receive = max(self.last_receive, found.receive)
        self.last_message = max(self.last_message, found.message)
        self.brings_events = self.brings_events or found.brings_events
        if found.gap is not None:
            self._add(found.gap)

    def _look_for_gap(self, seen: float, now: float) -> None:
        if seen and now - seen > self.retention - self._margin:
            self._add(Gap(seen, now))
            # What was sent until now is part of the gap, so it need not be seen.
            self.seen_until = max(self.seen_until, now)

    @property
    def _margin(self) -> float:
        return min(MAX_MARGIN, self.retention / 10)

    def _add(self, gap: Gap) -> None:
        ours = self.gap or gap
        self.gap = Gap(min(ours.start, gap.start), max(ours.end, gap.end))


def not_later(moment: float, now: float) -> float:
    """The moment, or now if it is in the future: then the clock was wrong. Also now if it is not a number."""
    # The order counts: a comparison with NaN is false, so `min` keeps its first argument.
    return min(now, moment)
