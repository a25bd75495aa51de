"""What a SQLite ledger writes within a second, because nothing depends on it: the history, and the principals."""

from collections import deque
from collections.abc import Mapping
from typing import Final

import msgspec

from jibe_sqs.core.history import HistoryEntry
from jibe_sqs.core.principals import Seen

MAX_WAITING_HISTORY: Final = 10_000
"""Entries of the history that wait for a write. Beyond it, the oldest are lost."""

_encode: Final = msgspec.json.Encoder().encode


class Unwritten:
    """Entries and sums in memory. They are taken to be written; sums that could not be written can be put back."""

    def __init__(self) -> None:
        self.history: deque[tuple[float, str]] = deque(maxlen=MAX_WAITING_HISTORY)
        self.principals: dict[str, tuple[Seen, float]] = {}
        """Principal -> its changes, and when they were last observed."""

    def __bool__(self) -> bool:
        return bool(self.history or self.principals)

    def record(self, entry: HistoryEntry, now: float) -> None:
        """Keep an entry of the history, unless it has a path that is not UTF-8: nobody can ask about it."""
        try:
            self.history.append((now, _encode(entry).decode()))
        except UnicodeEncodeError:
            return

    def observe(self, principals: Mapping[str, Seen], now: float) -> None:
        """Add to the sums."""
        for who, seen in principals.items():
            if (known := self.principals.get(who)) is None:
                both = msgspec.structs.replace(seen)
            else:
                both, _ = known
                both.merge(seen)
            self.principals[who] = both, now

    def take_history(self) -> list[tuple[float, str]]:
        """The entries, which are not kept any more."""
        taken = list(self.history)
        self.history.clear()
        return taken

    def take_principals(self) -> dict[str, tuple[Seen, float]]:
        """The sums, which begin anew."""
        taken, self.principals = self.principals, {}
        return taken

    def put_back(self, principals: Mapping[str, tuple[Seen, float]]) -> None:
        """Add sums that were taken, and not written."""
        later, self.principals = self.principals, dict(principals)
        for who, (seen, now) in later.items():
            self.observe({who: seen}, now)
