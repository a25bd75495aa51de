"""How many refreshes are in flight, and who is next when more wait.

The limit is found as TCP finds its window: it is halved when Access Anywhere is strained (busy, failing, or twice as
slow as usual), and grows by one for as many good calls as it is. Those who wait are served in a fair order: each is due
when it has waited for as long as it will probably cost, and who is due first is next. So a cheap refresh overtakes costly
ones, and a costly one is overtaken only by those who come within its own cost after it, however many they are.
"""

import asyncio
import heapq
import itertools
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from statistics import median

import structlog

from jibe_sqs.ports import Clock

RECENT_CALLS = 9
USUAL_CALLS = 256
"""Calls that tell how long one takes lately, and usually."""

MIN_CALLS = 32
"""Calls before which nothing is known to be usual."""

MIN_LATENCY = 0.03
"""Seconds. Twice of less is noise."""

log = structlog.get_logger()


class Latency:
    """How long one kind of call takes: lately, by the median, which one slow call does not move; and usually."""

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=RECENT_CALLS)
        self._usual = 0.0
        self._seen = 0

    def has_doubled(self, seconds: float) -> bool:
        """Whether calls take twice as long as usual, now that one took so long."""
        self._seen += 1
        self._recent.append(seconds)
        self._usual += (seconds - self._usual) * max(1 / self._seen, 1 / USUAL_CALLS)
        if self._seen < MIN_CALLS or len(self._recent) < RECENT_CALLS:
            return False
        return median(self._recent) > 2 * max(self._usual, MIN_LATENCY)

    def start_anew(self) -> None:
        """What was seen lately tells nothing of what is now."""
        self._recent.clear()


class AdaptiveConcurrency:
    """Slots for refreshes: never more are given than `limit`, which is between 1 and `most`."""

    def __init__(self, most: int, *, clock: Clock) -> None:
        self._most = most
        self._limit = most
        self._clock = clock
        self._running = 0
        self._waiting = 0
        self._queue: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()
        self._latencies: dict[str, Latency] = {}
        self._halved_at = float("-inf")
        self._good = 0

    @property
    def most(self) -> int:
        """What the limit never exceeds."""
        return self._most

    @property
    def limit(self) -> int:
        """How many may be in flight now. After a halving more may be, until they end."""
        return self._limit

    @property
    def running(self) -> int:
        """How many are in flight."""
        return self._running

    @property
    def waiting(self) -> int:
        """How many wait for a slot."""
        return self._waiting

    @asynccontextmanager
    async def slot(self, cost: float = 0.0) -> AsyncIterator[None]:
        """Wait for a slot, and hold it. `cost`: seconds for which it will probably be held."""
        await self._enter(cost)
        try:
            yield
        finally:
            self._leave()

    def succeeded(self, function: str, latency: float) -> None:
        """A call ended well, in so many seconds. `function` is empty where they say nothing of the server's health."""
        began = self._clock.monotonic() - latency
        if began <= self._halved_at:
            return
        if function and self._latencies.setdefault(function, Latency()).has_doubled(latency):
            self.overloaded(f"{function} takes twice as long as usual", began=began)
            return
        self._good += 1
        if self._good >= self._limit:
            self._good = 0
            self._grow()

    def overloaded(self, why: str, *, began: float | None = None) -> None:
        """A call shows that the server has too much to do. `began`: when it was sent, by the clock's `monotonic`."""
        now = self._clock.monotonic()
        # What was sent before the last halving tells of the load before it.
        if (now if began is None else began) <= self._halved_at:
            return
        self._halved_at = now
        self._good = 0
        for latency in self._latencies.values():
            latency.start_anew()
        if self._limit > 1:
            self._limit //= 2
            log.info("concurrency_reduced", why=why, limit=self._limit)

    def _grow(self) -> None:
        if self._limit < self._most:
            self._limit += 1
            log.debug("concurrency_grown", limit=self._limit)
            self._hand_out()

    async def _enter(self, cost: float) -> None:
        turn = asyncio.get_running_loop().create_future()
        heapq.heappush(self._queue, (self._clock.monotonic() + cost, next(self._order), turn))
        self._waiting += 1
        self._hand_out()
        try:
            await turn
        except asyncio.CancelledError:
            # Both may happen in one turn of the loop: the slot given, and its taker cancelled.
            if turn.done() and not turn.cancelled():
                self._leave()
            else:
                self._waiting -= 1
            raise

    def _leave(self) -> None:
        self._running -= 1
        self._hand_out()

    def _hand_out(self) -> None:
        while self._queue and self._running < self._limit:
            _, _, turn = heapq.heappop(self._queue)
            if not turn.done():
                self._waiting -= 1
                self._running += 1
                turn.set_result(None)
