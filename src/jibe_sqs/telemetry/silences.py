"""Warns when nothing came from a queue or a log source for longer than the operator expects."""

import json
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec
import structlog

from jibe_sqs.telemetry.queue_activity import not_later

log = structlog.get_logger()

REPEAT_INTERVAL: Final = 86_400.0
"""Seconds between two warnings about one silence."""


class Expected(msgspec.Struct, frozen=True):
    """Something should come at least every `seconds`. `last`: when it last came, in seconds since the epoch; 0.0 for never.

    `what`: a message or a log file. `source`: where it comes from, in words.
    """

    what: str
    source: str
    seconds: float
    last: Callable[[], float]

    @property
    def name(self) -> str:
        """Its name in the note."""
        return f"{self.what} {self.source}"


class Silences:
    """The silences now. A source that never sent anything is silent since it was first expected."""

    def __init__(self, expected: Sequence[Expected], wall_clock: Callable[[], float] = time.time) -> None:
        self._expected = expected
        self._wall_clock = wall_clock
        self._first: dict[str, float] = {}
        self._warned: dict[str, float] = {}

    def check(self) -> None:
        """Warn of new silences, and once a day of those that go on."""
        now = self._wall_clock()
        for each in self._expected:
            since = self._since(each)
            name = each.name
            if now - since <= each.seconds:
                if self._warned.pop(name, None) is not None:
                    log.info("received_again", what=each.what, source=each.source)
            elif now - self._warned.get(name, float("-inf")) >= REPEAT_INTERVAL:
                self._warned[name] = now
                log.warning(
                    "nothing_received",
                    what=each.what,
                    source=each.source,
                    since=moment(since),
                    expected_every=each.seconds,
                    remedy="check what sends to it: the trail, the topic and its subscription, the notifications of the "
                    "bucket, the queue's policy; run: jibe-sqs check",
                )

    @property
    def states(self) -> dict[tuple[str, str], bool]:
        """Whether each thing that is expected is missing now, by what it is and where it comes from."""
        return {(each.what, each.source): each.name in self._warned for each in self._expected}

    @property
    def sentences(self) -> list[str]:
        """One sentence for each silence."""
        return [
            f"No {each.what} from {each.source} since {moment(self._since(each))}"
            for each in self._expected
            if each.name in self._warned
        ]

    def note(self) -> str:
        """What must survive a restart: since when sources that never sent anything are expected to send."""
        return json.dumps(self._first)

    def restore(self, note: str) -> None:
        """Take over what an earlier process noted."""
        try:
            now = self._wall_clock()
            found = {str(name): not_later(float(time), now) for name, time in json.loads(note).items()}
        except (ValueError, TypeError, AttributeError):
            return
        known = {each.name for each in self._expected}
        self._first |= {name: time for name, time in found.items() if name in known}

    def _since(self, each: Expected) -> float:
        return each.last() or self._first.setdefault(each.name, self._wall_clock())


def moment(seconds: float) -> str:
    """A time, in seconds since the epoch, for people."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
