"""How many refreshes are in flight, and which one is next when more wait.

The limit is found as TCP finds its window. It is halved when Access Anywhere is overloaded: busy, failing, or twice as
slow as usual. It grows by one after as many good calls as the limit is.

Each waiting refresh is due when it has waited for as long as it will probably take. So a short refresh overtakes long ones, and
a long one is overtaken only by those that arrive within its own duration after it.

Three of four slots go to the refresh for the newest change, less the time that it will probably take. The fourth goes to the
refresh that is due first, so each is served in the end. Refreshes for which no change is known have the fourth slots only, and
all of them if nothing else waits.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from statistics import median

import structlog

from jibe_sqs.concurrency.newest_first import NewestFirst
from jibe_sqs.ports import Clock

RECENT_CALLS = 9
USUAL_CALLS = 256
"""Over how many calls the recent and the usual latency are measured."""

MIN_CALLS = 32
"""The usual latency is known after this many calls."""

MIN_LATENCY = 0.03
"""Seconds. A usual latency below this counts as this: double of it is only noise."""

log = structlog.get_logger()


class Latency:
    """The latency of one kind of call: recent, by the median, which one slow call does not move; and usual."""

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=RECENT_CALLS)
        self._usual = 0.0
        self._seen = 0

    def has_doubled(self, seconds: float) -> bool:
        """Record the latency of one call. Returns whether calls now take twice as long as usual."""
        self._seen += 1
        self._recent.append(seconds)
        self._usual += (seconds - self._usual) * max(1 / self._seen, 1 / USUAL_CALLS)
        if self._seen < MIN_CALLS or len(self._recent) < RECENT_CALLS:
            return False
        return median(self._recent) > 2 * max(self._usual, MIN_LATENCY)

    def start_anew(self) -> None:
        """Forget the recent latencies: the load has changed."""
        self._recent.clear()


class AdaptiveConcurrency:
    """Slots for refreshes. At most `limit` are given at a time; the limit is between 1 and `most`."""

    def __init__(self, most: int, *, clock: Clock) -> None:
        self._most = most
        self._limit = most
        self._clock = clock
        self._running = 0
        self._queue: NewestFirst[asyncio.Future[None]] = NewestFirst()
        self._latencies: dict[str, Latency] = {}
        self._halved_at = float("-inf")
        self._good = 0

    @property
    def most(self) -> int:
        """The largest possible limit."""
        return self._most

    @property
    def limit(self) -> int:
        """How many refreshes may be in flight. After a halving, more may still be in flight until they end."""
        return self._limit

    @property
    def running(self) -> int:
        """How many refreshes are in flight."""
        return self._running

    @property
    def waiting(self) -> int:
        """How many refreshes wait for a slot."""
        return len(self._queue)

    @asynccontextmanager
    async def slot(self, cost: float = 0.0, newest: float = 0.0) -> AsyncIterator[None]:
        """Wait for a slot, and hold it. `cost`: for how many seconds it will probably be held.

        `newest`: when the last change happened that the refresh is for (seconds since the epoch); 0 if that is not known.
        """
        await self._take(cost, newest)
        try:
            yield
        finally:
            self._give_back()

    def reconfigure(self, most: int) -> None:
        """Another largest limit counts from now on. What runs goes on to its end."""
        # A limit that was halved stays so, and grows again as after each halving.
        self._limit = most if self._limit == self._most else min(self._limit, most)
        self._most = most
        self._hand_out()

    def succeeded(self, function: str, began: float, latency: float) -> None:
        """Report that a call succeeded. `began`: when it was sent, by the clock's `monotonic`.

        `latency`: seconds that the server took. `function` is empty if they depend on more than the load of the server.
        """
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
        """Report that a call showed an overload of the server. `began`: when it was sent, by the clock's `monotonic`."""
        now = self._clock.monotonic()
        # A call that was sent before the last halving shows the load before it.
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

    async def _take(self, cost: float, newest: float) -> None:
        if self._running < self._limit and not self._queue:
            self._running += 1
            return
        turn = asyncio.get_running_loop().create_future()
        entry = self._queue.add(turn, due=self._clock.monotonic() + cost, newest=newest - cost if newest > 0 else None)
        self._hand_out()
        try:
            await turn
        except asyncio.CancelledError:
            # The slot may be given and the waiting task be cancelled in the same turn of the event loop.
            if turn.done() and not turn.cancelled():
                self._give_back()
            else:
                self._queue.remove(entry)
            raise

    def _give_back(self) -> None:
        self._running -= 1
        self._hand_out()

    def _hand_out(self) -> None:
        while self._queue and self._running < self._limit:
            turn = self._queue.pop()
            # A task that was cancelled has not removed its entry yet.
            if not turn.done():
                self._running += 1
                turn.set_result(None)
