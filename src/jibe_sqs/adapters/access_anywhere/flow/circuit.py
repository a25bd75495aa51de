"""A circuit breaker: calls to Access Anywhere pass, or wait until the server can be used again.

    closed  calls pass, and the tries that fail in a row are counted. If all failures are of one or two different calls,
            only these may fail. Then the probe decides whether to open the circuit
    open    calls wait, and count no tries meanwhile. One probe at a time checks whether the server can be used again

The code that opens the circuit chooses the probe: a call that needs no login if the server is down, a new login if the
credentials were refused.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from datetime import UTC, datetime

import structlog

from jibe_sqs.concurrency.backoff import Backoff
from jibe_sqs.concurrency.first_of import first_of
from jibe_sqs.core.errors import AccessAnywhereError, AccessAnywhereUnavailable, LoginFailed
from jibe_sqs.ports import Clock

MIN_FAILURES = 8
MIN_FAILING_SECONDS = 2.0
"""The server counts as down after this many failed tries in a row, over this many seconds or more."""

MIN_DIFFERENT_CALLS = 3
"""If this many different calls are among the failed tries, the circuit opens without a probe."""

MAX_WISH = 15 * 60.0
"""Seconds. A longer Retry-After counts as this one: the server may be usable before."""

SAME_OUTAGE_SECONDS = 60.0
"""If the circuit opens again within this many seconds, the pauses between probes go on growing."""

TIMER_PRECISION = 0.001
"""Seconds. Timers are late by more than this, so a shorter wait counts as over."""

DOWN = "is down"
REFUSES = "refuses the credentials or the account"
PAUSES = "asks for a pause in calls"
"""What an operator reads of a circuit that is open. After each comes the time since when, and the last error."""

Probe = Callable[[], Awaitable[object]]
"""One try. Raises `AccessAnywhereError` if the server cannot be used."""

log = structlog.get_logger()


PROBE_BACKOFF = Backoff(first=1.25, longest=37.5, jitter=0.2)
"""The pauses before probes: from 1 s up to 30 s, and up to a quarter more."""


class Circuit:
    """The circuit breaker, a `Gate`. Create it in the event loop that uses it, and end it with `close`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._passable = asyncio.Event()
        self._passable.set()
        self._hastened = asyncio.Event()
        self._state = DOWN
        self._reason = ""
        self._failures = 0
        self._failing_since = 0.0
        self._failing: set[Hashable] = set()
        self.openings = 0
        """How often the circuit has opened."""
        self._opened = 0.0
        self._closed = float("-inf")
        self._not_before = float("-inf")
        self._pauses = 0
        self._probing: asyncio.Task[None] | None = None
        self._checking: asyncio.Task[None] | None = None
        self._is_ended = False

    @property
    def is_open(self) -> bool:
        """Whether calls have to wait."""
        return not self._passable.is_set()

    @property
    def state(self) -> str:
        """What is wrong, if the circuit is open: `is down`, for example."""
        return self._state

    @property
    def reason(self) -> str:
        """Why the circuit is open: a sentence for an operator. Empty if it is closed."""
        if self.opened_at is None:
            return ""
        since, today = datetime.fromtimestamp(self.opened_at, UTC), datetime.now(UTC).date()
        shown = since.strftime("%H:%M" if since.date() == today else "%Y-%m-%d %H:%M")
        return f"Access Anywhere {self._state} since {shown} (UTC): {self._reason}"

    @property
    def opened_at(self) -> float | None:
        """When the circuit opened (seconds since the epoch, local clock). None if it is closed."""
        return time.time() - (self._clock.monotonic() - self._opened) if self.is_open else None

    async def passable(self) -> None:
        """Return as soon as the circuit is closed."""
        while self.is_open:
            await self._passable.wait()

    async def passed(self, deadline: float) -> None:
        """Wait until the circuit is closed.

        Raises `AccessAnywhereUnavailable` if it is still open at the deadline (by the clock's `monotonic`).
        """
        while self.is_open:
            left = deadline - self._clock.monotonic()
            if left <= TIMER_PRECISION or self._not_before > deadline:
                raise self._unavailable()
            # Only the clock measures time here, so the event loop's own timeouts cannot be used.
            await first_of(self._passable.wait(), self._clock.sleep(left))

    async def outlasted(self, budget: float) -> None:
        """Wait until the circuit is closed, for up to `budget` seconds after it opened. Raises as `passed` does."""
        while self.is_open:
            await self.passed(self._opened + budget)

    def answered(self) -> None:
        """Report that a try was answered. A refusal is an answer, too."""
        self._failures = 0
        self._failing.clear()

    def failed(self, reason: str, probe: Probe, about: Hashable) -> None:
        """Report that a try was not answered. Too many in a row open the circuit.

        `about` identifies the call: equal for each try of the same call.
        """
        now = self._clock.monotonic()
        if not self._failures:
            self._failing_since = now
        self._failures += 1
        if len(self._failing) < MIN_DIFFERENT_CALLS:
            self._failing.add(about)
        if self._failures < MIN_FAILURES or now - self._failing_since < MIN_FAILING_SECONDS or self._is_ended:
            return
        if len(self._failing) == MIN_DIFFERENT_CALLS:
            self.open(reason, probe)
        elif self._checking is None or self._checking.done():
            self._checking = asyncio.create_task(self._open_unless_well(reason, probe))

    def open(
        self, reason: str, probe: Probe, *, backoff: Backoff = PROBE_BACKOFF, wish: float = 0.0, state: str = DOWN
    ) -> None:
        """Let calls wait until `probe` succeeds. The first probe is sent after `wish` seconds or more.

        `state`: one of `DOWN`, `REFUSES`, `PAUSES`.
        """
        if self._is_ended:
            return
        self._postpone(wish)
        if self.is_open:
            return
        self.openings += 1
        self._opened = self._clock.monotonic()
        is_again = self._opened - self._closed < SAME_OUTAGE_SECONDS
        self._pauses = self._pauses + 1 if is_again else 1
        self._state, self._reason = state, reason
        self._passable.clear()
        log.warning("circuit_opened", reason=reason)
        self._probing = asyncio.create_task(self._probe(probe, backoff))

    def hasten(self) -> None:
        """Probe at once, if the circuit is open: the reason for it may be over. A Retry-After is still respected."""
        self._hastened.set()

    async def close(self) -> None:
        """Stop probing. The circuit does not open again."""
        self._is_ended = True
        for task in (self._probing, self._checking):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])

    async def _open_unless_well(self, reason: str, probe: Probe) -> None:
        try:
            await probe()
        except Exception as error:
            if not isinstance(error, AccessAnywhereError):
                log.exception("circuit_probe_failed")
            self.open(reason, probe, wish=_wish(error))
        else:
            # The failed calls are still remembered. If everything but the probe fails, other calls will join them.
            self._failures = 0

    async def _probe(self, probe: Probe, backoff: Backoff) -> None:
        while True:
            await self._pause(backoff.delay(self._pauses))
            try:
                await probe()
            except AccessAnywhereError as error:
                self._state, self._reason = _state(error), str(error)
                self._postpone(_wish(error))
            except Exception:
                # A defect must not end the probing: calls would wait for ever.
                log.exception("circuit_probe_failed")
            else:
                break
            self._pauses += 1
        self._closed = self._clock.monotonic()
        self.answered()
        self._reason = ""
        self._passable.set()
        log.info("circuit_closed", seconds=round(self._closed - self._opened, 3))

    async def _pause(self, pause: float) -> None:
        until = self._clock.monotonic() + pause
        self._hastened.clear()
        # A call that was under way may be answered meanwhile, with a longer Retry-After.
        while (left := max(until, self._not_before) - self._clock.monotonic()) > TIMER_PRECISION:
            await first_of(self._hastened.wait(), self._clock.sleep(left))
            if self._hastened.is_set():
                until = self._clock.monotonic()

    def _postpone(self, wish: float) -> None:
        self._not_before = max(self._not_before, self._clock.monotonic() + min(wish, MAX_WISH))

    def _unavailable(self) -> AccessAnywhereUnavailable:
        now = self._clock.monotonic()
        since = datetime.fromtimestamp(self.opened_at or 0.0, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        wish = self._not_before - now
        return AccessAnywhereUnavailable(
            f"Access Anywhere has not been usable since {since} ({now - self._opened:.0f} s); it is probed until it is "
            f"usable again: {self._reason}",
            retry_after=wish if wish > 0 else None,
        )


def _state(error: AccessAnywhereError) -> str:
    if isinstance(error, LoginFailed):
        return REFUSES
    return PAUSES if _wish(error) else DOWN


def _wish(error: Exception) -> float:
    """The seconds for which the server asked not to be called again; 0 if it did not."""
    return (error.retry_after or 0.0) if isinstance(error, AccessAnywhereUnavailable) else 0.0
