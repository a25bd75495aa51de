"""What a SQLite ledger warns of: files that were set aside, and entries that are forgotten early."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from jibe_sqs.adapters.ledgers.forgetting import Forgotten

log = structlog.get_logger()

WARNING_INTERVAL: Final = 3600.0
"""Seconds between two warnings that entries are forgotten early."""


class LedgerWarnings:
    """Collects in the ledger's thread, and logs in the event loop's."""

    def __init__(self, path: Path, max_bytes: int, clock: Callable[[], float]) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._clock = clock
        self.unusable: list[tuple[Path, str]] = []
        """The new path of each file that was set aside, and the reason."""
        self._early = 0
        self._warned_at = float("-inf")

    def set_aside(self) -> None:
        """Warn of the files that were set aside."""
        while self.unusable:
            aside, reason = self.unusable.pop()
            log.warning(
                "ledger_set_aside",
                path=str(self._path),
                set_aside=str(aside),
                reason=reason,
                consequence="the ledger begins empty: work that is announced again is done again",
            )

    def forgotten(self, forgotten: Forgotten) -> None:
        """Warn of entries that were forgotten early, once in an hour."""
        self._early += forgotten.early
        if not self._early or self._clock() - self._warned_at < WARNING_INTERVAL:
            return
        log.warning(
            "ledger_full",
            path=str(self._path),
            max_bytes=self._max_bytes,
            entries=self._early,
            consequence="entries are forgotten before ledger.retain_days: work that is announced again is done again",
        )
        self._warned_at, self._early = self._clock(), 0
