"""Whether calls are let through to Access Anywhere, or wait until it is there again.

    closed  calls pass; the tries that fail in a row are counted. If they are all of one call or two, it may be these
            that the server cannot do: then the probe decides whether to open
    open    calls wait at the gate, and count no tries meanwhile; one probe at a time asks whether all is well again

Who opens it says how to probe: a server that is down is asked who it is, refused credentials are tried again.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from datetime import UTC, datetime

import structlog

from jibe_sqs.concurrency.backoff import Backoff
from jibe_sqs.concurrency.first_of import first_of
from jibe_sqs.core.errors import AccessAnywhereError, AccessAnywhereUnavailable
from jibe_sqs.ports import Clock

MIN_FAILURES = 8
MIN_FAILING_SECONDS = 2.0
"""So many tries in a row, over so many seconds at least, have to fail before the server is taken for down."""

MIN_DIFFERENT_CALLS = 3
"""Different calls that have to be among them for the server to be taken for down without asking the probe."""

MAX_WISH = 15 * 60.0
"""Seconds for which a server may have us not even probe it."""

SAME_OUTAGE_SECONDS = 60.0
"""Seconds within which opening again is the same trouble, not a new one."""

TIMER_PRECISION = 0.001
"""Seconds that are as good as none: less than timers are late by."""

Probe = Callable[[], Awaitable[object]]
"""One try. Raises `AccessAnywhereError` if all is not well."""

log = structlog.get_logger()


PROBE_BACKOFF = Backoff(first=1.25, longest=37.5, jitter=0.2)
"""Before a probe: from 1 s up to 30 s, and up to a quarter more."""


class Circuit:
    """A gate before Access Anywhere. Made, like all here, in the event loop that uses it; ended by `close`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._passable = asyncio.Event()
        self._passable.set()
        self._reason = ""
        self._failures = 0
        self._failing_since = 0.0
        self._failing: set[Hashable] = set()
        self.openings = 0
        """How often it has opened."""
        self._opened = 0.0
        self._closed = float("-inf")
        self._not_before = float("-inf")
        self._pauses = 0
        self._probing: asyncio.Task[None] | None = None
        self._checking: asyncio.Task[None] | None = None
        self._is_ended = False

    @property
    def is_open(self) -> bool:
        """Whether calls wait."""
        return not self._passable.is_set()

    @property
    def reason(self) -> str:
        """Why it is open, in an operator's words; empty if it is not."""
        return self._reason

    @property
    def opened_at(self) -> float | None:
        """Since when it has been open (seconds since the epoch, local clock); None if it is not."""
        return time.time() - (self._clock.monotonic() - self._opened) if self.is_open else None

    async def passable(self) -> None:
        """Return as soon as it is closed."""
        while self.is_open:
            await self._passable.wait()

    async def passed(self, deadline: float) -> None:
        """Wait at the gate. Raises `AccessAnywhereUnavailable` if it is still open then (by the clock's `monotonic`)."""
        while self.is_open:
            left = deadline - self._clock.monotonic()
            if left <= TIMER_PRECISION or self._not_before > deadline:
                raise self._unavailable()
            # Time is the clock's affair, so the loop's own timeouts won't do.
            await first_of(self._passable.wait(), self._clock.sleep(left))

    async def outlasted(self, budget: float) -> None:
        """Wait at the gate, for `budget` seconds since it opened. Raises as `passed` does."""
        while self.is_open:
            await self.passed(self._opened + budget)

    def answered(self) -> None:
        """A try was answered, be it by a refusal."""
        self._failures = 0
        self._failing.clear()

    def failed(self, reason: str, probe: Probe, about: Hashable) -> None:
        """A try was not answered. Opens after too many in a row. `about`: the same for each try of the same call."""
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

    def open(self, reason: str, probe: Probe, *, backoff: Backoff = PROBE_BACKOFF, wish: float = 0.0) -> None:
        """Let nothing through until `probe` succeeds, which is not asked for `wish` seconds."""
        if self._is_ended:
            return
        self._postpone(wish)
        if self.is_open:
            return
        self.openings += 1
        self._opened = self._clock.monotonic()
        is_again = self._opened - self._closed < SAME_OUTAGE_SECONDS
        self._pauses = self._pauses + 1 if is_again else 1
        self._reason = reason
        self._passable.clear()
        log.warning("circuit_opened", reason=reason)
        self._probing = asyncio.create_task(self._probe(probe, backoff))

    async def close(self) -> None:
        """Stop probing, for good."""
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
            # Which calls they were is not forgotten: were it everything but the probe that fails, others join them.
            self._failures = 0

    async def _probe(self, probe: Probe, backoff: Backoff) -> None:
        while True:
            await self._rest(backoff.delay(self._pauses))
            try:
                await probe()
            except AccessAnywhereError as error:
                self._reason = str(error)
                self._postpone(_wish(error))
            except Exception:
                # Were this the end of probing, nothing would be let through for ever.
                log.exception("circuit_probe_failed")
            else:
                break
            self._pauses += 1
        self._closed = self._clock.monotonic()
        self.answered()
        self._reason = ""
        self._passable.set()
        log.info("circuit_closed", seconds=round(self._closed - self._opened, 3))

    async def _rest(self, pause: float) -> None:
        until = self._clock.monotonic() + pause
        # A wish may come in meanwhile, from a call that was under way.
        while (left := max(until, self._not_before) - self._clock.monotonic()) > TIMER_PRECISION:
            await self._clock.sleep(left)

    def _postpone(self, wish: float) -> None:
        self._not_before = max(self._not_before, self._clock.monotonic() + min(wish, MAX_WISH))

    def _unavailable(self) -> AccessAnywhereUnavailable:
        now = self._clock.monotonic()
        since = datetime.fromtimestamp(self.opened_at or 0.0, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        wish = self._not_before - now
        return AccessAnywhereUnavailable(
            f"Access Anywhere has not been usable since {since} ({now - self._opened:.0f} s), and is asked now and then "
            f"whether it is again: {self._reason}",
            retry_after=wish if wish > 0 else None,
        )


def _wish(error: Exception) -> float:
    """The seconds for which the server asked not to be called again; 0 if it did not."""
    return (error.retry_after or 0.0) if isinstance(error, AccessAnywhereUnavailable) else 0.0
