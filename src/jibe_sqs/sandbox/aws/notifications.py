"""Publishers that send S3's own events as messages, without log files: they collect events and send them on delivery.

Like S3's, the messages come late, in any order, and sometimes twice. Reads and failed calls cause no events.
"""

import json
import threading
import time
from abc import ABC, abstractmethod
from random import Random

from jibe_sqs.sandbox.aws.deployment import Deployment
from jibe_sqs.sandbox.aws.records import Record
from jibe_sqs.sandbox.aws.s3_calls import S3Call


class MessagePublisher(ABC):
    """The base class of these publishers. A subclass adds the format.

    A message holds up to `together` events of one region.
    """

    together = 1

    def __init__(self, deployment: Deployment, *, seed: int = 0) -> None:
        self.delivered: dict[int, float] = {}
        self.files: list[str] = []
        """Always empty."""
        self.messages = 0
        self._deployment = deployment
        self._random = Random(f"{type(self).__name__} {seed}")
        self._collected: list[tuple[str, Record, tuple[int, ...]]] = []
        self._lock = threading.Lock()

    @abstractmethod
    def events(self, call: S3Call) -> list[Record]:
        """The events that the format has for a call: usually one for each key."""

    @abstractmethod
    def message(self, events: list[Record]) -> Record:
        """The message that contains these events of one region."""

    @abstractmethod
    def send(self, region: str, message: Record) -> None:
        """Send the message through the topic or directly to the queue."""

    def start(self, buckets: list[str]) -> None:
        """By default, nothing is sent at the start."""
        del buckets

    def record(self, call: S3Call) -> None:
        """Collect the events of this call."""
        with self._lock:
            self._collected += ((call.region, event, call.changes) for event in self.events(call))

    def deliver(self) -> list[str]:
        """Send the collected events."""
        with self._lock:
            collected, self._collected = self._collected, []
            self._random.shuffle(collected)
            now = time.time()
            # Before the messages: a change must not be refreshed before its recorded time of delivery.
            self.delivered.update((change, now) for _, _, changes in collected for change in changes)
            for region in self._deployment.topics:
                self._send_all(region, [event for where, event, _ in collected if where == region])
        return []

    def _send_all(self, region: str, events: list[Record]) -> None:
        while events:
            count = self._random.randint(1, self.together)
            message, events = self.message(events[:count]), events[count:]
            for _ in range(2 if self._random.random() < 0.03 else 1):
                self.send(region, message)
                self.messages += 1


def compact(message: Record) -> str:
    """The message as JSON, without whitespace, non-ASCII characters unescaped."""
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False)
