"""Outages of log buckets: messages wait for the bucket in memory, and use up no receives meanwhile.

While a bucket cannot be read, one file at a time tries it, the newest first, with growing pauses. All others wait, and their
messages stay held. If too many wait, or if they need too much memory, the rest returns to the queue with long delays. So the
messages of other buckets go on, and the outage ends with the first answer of the bucket.

    readable ──an error of the store, or refusals of several files──> outage ──an answer to one of the tries──> readable

A refusal (403) may concern one file only: S3 answers so for a missing object if we may not list the bucket. So while files are
refused, each new file is tried at once: a thousand refused files must not hold up one that can be read.
"""

import asyncio
import math
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

import structlog

from jibe_sqs.concurrency.backoff import Backoff
from jibe_sqs.consuming.room import InHand
from jibe_sqs.consuming.waiting_room import WaitingRoom
from jibe_sqs.core.errors import JibeError, LogAccessDenied, LogBucketDown, LogBucketMissing, LogStoreUnavailable
from jibe_sqs.core.model import LogFile
from jibe_sqs.ports import Clock
from jibe_sqs.telemetry.trouble import Trouble

log = structlog.get_logger()

REFUSED_FILES: Final = 3
REFUSED_SECONDS: Final = 300.0
"""A bucket is in an outage if it refuses so many different files, or a file after so many seconds, and answers none."""
MAX_BUCKETS: Final = 1000
"""Buckets that are followed. Beyond this number, messages are retried and rejected as after any other error."""
PROBE_BACKOFF: Final = Backoff(first=1.5, longest=60.0, jitter=0.3)


class BucketOutages:
    """The outages of all log buckets, and the messages that wait for their end."""

    def __init__(self, clock: Clock, room: WaitingRoom) -> None:
        """`room`: for the messages that wait here. The others go back."""
        self._clock = clock
        self._room = room
        self._waiting: Counter[str] = Counter()
        self._answered: set[str] = set()
        self._refused: dict[str, _Refusals] = {}
        self._outages: dict[str, _Outage] = {}

    @property
    def reasons(self) -> list[str]:
        """One sentence for each outage, for an operator."""
        return [outage.trouble.text for outage in self._outages.values()]

    @property
    def refusals(self) -> list[str]:
        """One sentence for each bucket that has only refused files, but too few of them for an outage."""
        return [
            f"Log bucket {bucket} refuses files: {len(refused.keys)} so far, and it has answered none since"
            for bucket, refused in self._refused.items()
            if bucket not in self._outages
        ]

    def must_wait(self, file: LogFile, outcome: object) -> bool:
        """Whether this outcome of reading the file is due to an outage of its bucket."""
        may_be = isinstance(outcome, LogStoreUnavailable | LogBucketMissing | LogAccessDenied)
        return may_be and file.bucket in self._outages

    def may_try(self, bucket: str) -> bool:
        """Whether a new file may be opened without a wait: the bucket can be read, or only refuses files.

        Or no message waits to try it. Otherwise an outage would never end if there is no room to wait.
        """
        outage = self._outages.get(bucket)
        return outage is None or outage.is_refusal or not self._waiting[bucket]

    def answered(self, bucket: str) -> None:
        """The bucket has answered: it returned an object, or has none of this name."""
        self._refused.pop(bucket, None)
        if len(self._answered) < MAX_BUCKETS:
            self._answered.add(bucket)
        outage = self._outages.pop(bucket, None)
        if outage is not None:
            outage.end()
            log.info("log_bucket_readable", bucket=bucket, seconds=round(outage.trouble.seconds, 1))

    def failed(self, file: LogFile, error: JibeError) -> None:
        """A file could not be opened. Starts an outage if the bucket is the cause."""
        bucket = file.bucket
        outage = self._outages.get(bucket)
        if outage is not None:
            outage.failed(error)
            return
        if len(self._outages) >= MAX_BUCKETS or not self._is_of_bucket(file, error):
            return
        self._outages[bucket] = outage = _Outage(bucket, self._clock.monotonic)
        outage.failed(error)
        log.warning(
            "log_bucket_unreadable",
            bucket=bucket,
            reason=str(error),
            consequence="its messages wait, and use up no receives; other buckets go on",
        )

    @contextmanager
    def waiting(self, file: LogFile, in_hand: InHand) -> Iterator[None]:
        """Count a message that waits for this file's bucket. If several of its files wait, it counts as one message.

        Raises `LogBucketDown` if too many messages wait, and this one may go back to its queue.
        """
        with self.following(file, in_hand):
            self._waiting[file.bucket] += 1
            try:
                yield
            finally:
                self._waiting -= Counter({file.bucket: 1})

    @contextmanager
    def following(self, file: LogFile, in_hand: InHand) -> Iterator[None]:
        """Count a message that waits until another message has read the same file. Raises as `waiting` does.

        The message counts also while the bucket can be read: thousands may wait for one file before the outage is known.
        """
        if not self._room.has_room(in_hand):
            outage = self._outages.get(file.bucket)
            why = outage.trouble.text if outage else f"{file} is not read yet"
            raise LogBucketDown(
                f"{why}; too many messages wait for it, so this one waits in its queue", self._seconds(file.bucket)
            )
        with self._room.occupied(in_hand):
            yield

    @asynccontextmanager
    async def turn(self, bucket: str) -> AsyncIterator[None]:
        """Enter when the bucket may be tried: after the outage, or as the next one to try during it."""
        outage = self._outages.get(bucket)
        if outage is None or not await outage.turn():
            yield
            return
        try:
            yield
        finally:
            outage.tried()

    def _seconds(self, bucket: str) -> float:
        """How long the outage has lasted. Infinite if it may have begun before this process."""
        if bucket not in self._answered:
            return math.inf
        outage = self._outages.get(bucket)
        return outage.trouble.seconds if outage else 0.0

    def _is_of_bucket(self, file: LogFile, error: JibeError) -> bool:
        if isinstance(error, LogStoreUnavailable | LogBucketMissing):
            return True
        if not isinstance(error, LogAccessDenied):
            return False
        now = self._clock.monotonic()
        if len(self._refused) >= MAX_BUCKETS:
            self._refused.clear()
        refusals = self._refused.setdefault(file.bucket, _Refusals(now))
        refusals.keys.add(file.key)
        return len(refusals.keys) >= REFUSED_FILES or now - refusals.since >= REFUSED_SECONDS


class _Refusals:
    def __init__(self, since: float) -> None:
        self.since = since
        self.keys: set[str] = set()


class _Outage:
    """One outage, and the files that wait for their turn to try the bucket."""

    def __init__(self, bucket: str, monotonic: Callable[[], float]) -> None:
        self.trouble = Trouble(f"Log bucket {bucket} cannot be read", monotonic)
        self.is_refusal = False
        """The bucket answers, and refuses files."""
        self._tries = 0
        self._line: list[asyncio.Future[bool]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._is_being_tried = False

    def failed(self, error: JibeError) -> None:
        """The bucket could not be read."""
        self.trouble.begin(str(error))
        self.is_refusal = isinstance(error, LogAccessDenied)
        self._tries += 1

    async def turn(self) -> bool:
        """Wait. True if this file shall try the bucket now: then call `tried` after the try. False if the outage is over."""
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._line.append(turn)
        self._set_timer()
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.result():
                self.tried()
            raise
        finally:
            if turn in self._line:
                self._line.remove(turn)
            if not self._line:
                self._stop_timer()

    def tried(self) -> None:
        """A try has ended."""
        self._is_being_tried = False
        self._set_timer()

    def end(self) -> None:
        """The outage is over: all that wait go on."""
        self._stop_timer()
        line, self._line = self._line, []
        for turn in line:
            if not turn.done():
                turn.set_result(False)

    def _set_timer(self) -> None:
        if self._timer is None and self._line and not self._is_being_tried:
            self._timer = asyncio.get_running_loop().call_later(PROBE_BACKOFF.delay(self._tries), self._let_one_try)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _let_one_try(self) -> None:
        self._timer = None
        while self._line and not self._is_being_tried:
            # The newest: a file that was just delivered can probably be read, when the bucket can.
            turn = self._line.pop()
            if not turn.done():
                self._is_being_tried = True
                turn.set_result(True)
