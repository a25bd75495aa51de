"""A ledger that fails holds nobody up: what it would have known is done once more. Said, but not ten thousand times."""

import asyncio
from types import TracebackType
from typing import Final

import structlog

from jibe_sqs.core.errors import LedgerError

log = structlog.get_logger()

EVERY: Final = 60.0
"""Seconds between two lines about one ledger that fails."""
CALM: Final = 10.0
"""Seconds without a failure, and then a success: it is well again."""


class Lapses:
    """A context, for any number at a time, that is left after a `LedgerError` as if nothing had been.

    Says so at the first, then once a minute, and when it is over: every message may meet the same full disk.
    """

    def __init__(self, failing: str, well: str, *, consequence: str) -> None:
        """`failing`, `well`: the names of the events that say so."""
        self._failing = failing
        self._well = well
        self._consequence = consequence
        self._failures = 0
        self._last = 0.0
        self._said: float | None = None

    def __enter__(self) -> None:
        """Nothing is to be done before."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """True after a `LedgerError`."""
        if isinstance(error, LedgerError):
            self._failed(error)
            return True
        if error is None:
            self._went_well()
        return False

    def _failed(self, error: LedgerError) -> None:
        self._failures += 1
        self._last = _now()
        if self._said is None or self._last - self._said >= EVERY:
            self._said = self._last
            log.warning(self._failing, reason=str(error), consequence=self._consequence, failures=self._failures)

    def _went_well(self) -> None:
        # A ledger that is throttled fails and succeeds by turns.
        if self._said is not None and _now() - self._last >= CALM:
            log.info(self._well, failures=self._failures)
            self._said, self._failures = None, 0


def unreadable() -> Lapses:
    """Of reads: then nothing is known."""
    return Lapses("ledger_unreadable", "ledger_readable", consequence="nothing is skipped: more is refreshed")


def unwritable() -> Lapses:
    """Of writes about what was really done."""
    return Lapses("ledger_unwritable", "ledger_writable", consequence="what is announced again is done again")


def _now() -> float:
    return asyncio.get_running_loop().time()
