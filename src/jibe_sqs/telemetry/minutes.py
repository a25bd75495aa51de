"""The work of each of the last minutes, and the lag of the last quarter of an hour: differences of counts that only grow."""

import time
from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

from jibe_sqs.telemetry.lag import Lag
from jibe_sqs.telemetry.status import LagStatus, Minute

MINUTE: Final = 60.0
KEPT: Final = 60
"""Minutes that are shown."""
LAG_MINUTES: Final = 15


class Totals(msgspec.Struct, frozen=True):
    """Counts since the start."""

    messages: int = 0
    events: int = 0
    refreshes: int = 0
    failures: int = 0


class Minutes:
    """Remembers the totals at the beginning of each minute of the clock. `look` is called now and then."""

    def __init__(
        self, totals: Callable[[], Totals], lag: Callable[[], Lag], wall_clock: Callable[[], float] = time.time
    ) -> None:
        """`totals`, `lag`: since the start."""
        self._totals = totals
        self._lag = lag
        self._wall_clock = wall_clock
        self._began: deque[tuple[float, Totals]] = deque([(self._minute(), Totals())], maxlen=KEPT)
        self._lags: deque[list[int]] = deque([Lag().buckets], maxlen=LAG_MINUTES)

    def look(self) -> None:
        """Begin the minute of the clock, if it is a new one. Minutes without a call stay empty."""
        now = self._minute()
        if (set_back := self._began[-1][0] - now) > MINUTE:
            # Otherwise all work would count for one minute until the clock is there again.
            self._began = deque(((at - set_back, totals) for at, totals in self._began), maxlen=KEPT)
        if now <= self._began[-1][0]:
            return
        # All work since the last look counts for the minute of that look.
        totals, passed = self._totals(), round((now - self._began[-1][0]) / MINUTE)
        for ago in reversed(range(min(passed, KEPT))):
            self._began.append((now - ago * MINUTE, totals))
        self._lags.append(list(self._lag().buckets))

    @property
    def shown(self) -> list[Minute]:
        """The minutes, the oldest first. The last one is not over."""
        self.look()
        starts = list(self._began)
        ends = [totals for _, totals in starts[1:]] + [self._totals()]
        return [
            Minute(
                at=at,
                messages=end.messages - start.messages,
                events=end.events - start.events,
                refreshes=end.refreshes - start.refreshes,
                failures=end.failures - start.failures,
            )
            for (at, start), end in zip(starts, ends, strict=True)
        ]

    @property
    def lag(self) -> LagStatus:
        """The lag of the events whose refreshes ended in the last quarter of an hour."""
        self.look()
        recent, now = Lag(), self._lag()
        recent.buckets = [new - old for new, old in zip(now.buckets, self._lags[0], strict=True)]
        # The longest of all may be older than the quarter of an hour.
        recent.longest = now.longest
        p50, p99, longest = (recent.percentile(share) for share in (0.5, 0.99, 1.0))
        return LagStatus(p50=p50, p99=p99, longest=longest)

    def _minute(self) -> float:
        return self._wall_clock() // MINUTE * MINUTE
