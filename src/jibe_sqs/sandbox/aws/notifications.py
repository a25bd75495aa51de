"""Changes told by messages that need no file: gathered, and sent when told to, as S3's own events are.

Late, in no order, now and then twice; and only of what changed objects or what hangs on them, never of reads and of
calls that failed.
"""

import json
import threading
import time
from abc import ABC, abstractmethod
from random import Random

from jibe_sqs.sandbox.aws.deployment import Deployment
from jibe_sqs.sandbox.aws.records import Record
from jibe_sqs.sandbox.aws.s3_calls import S3Call


class Notifications(ABC):
    """A publisher, but for the format. Of a region's events, up to `together` stand in one message."""

    together = 1

    def __init__(self, deployment: Deployment, *, seed: int = 0) -> None:
        self.delivered: dict[int, float] = {}
        self.files: list[str] = []
        """There are none."""
        self.messages = 0
        self._deployment = deployment
        self._random = Random(f"{type(self).__name__} {seed}")
        self._gathered: list[tuple[str, Record, tuple[int, ...]]] = []
        self._lock = threading.Lock()

    @abstractmethod
    def events(self, call: S3Call) -> list[Record]:
        """What the format tells of an act: an event for each key, or nothing."""

    @abstractmethod
    def message(self, events: list[Record]) -> Record:
        """The message that holds these events, which are of one region."""

    @abstractmethod
    def send(self, region: str, message: Record) -> None:
        """By the topic, or to the queue."""

    def start(self, buckets: list[str]) -> None:
        """Most formats' senders say nothing when they are set up."""
        del buckets

    def record(self, call: S3Call) -> None:
        """Gather what there is to tell of this act."""
        with self._lock:
            self._gathered += ((call.region, event, call.changes) for event in self.events(call))

    def deliver(self) -> list[str]:
        """Send all that was gathered."""
        with self._lock:
            gathered, self._gathered = self._gathered, []
            self._random.shuffle(gathered)
            now = time.time()
            # Before, not after: who hears of a change must not have heard of it before it was delivered.
            self.delivered.update((change, now) for _, _, changes in gathered for change in changes)
            for region in self._deployment.topics:
                self._send_all(region, [event for where, event, _ in gathered if where == region])
        return []

    def _send_all(self, region: str, events: list[Record]) -> None:
        while events:
            count = self._random.randint(1, self.together)
            message, events = self.message(events[:count]), events[count:]
            for _ in range(2 if self._random.random() < 0.03 else 1):
                self.send(region, message)
                self.messages += 1


def compact(message: Record) -> str:
    """As JSON, with all characters as they are."""
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False)
