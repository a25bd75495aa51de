"""One thing that does not work, in words for an operator: what, since when, and why."""

import time
from collections.abc import Callable
from datetime import UTC, datetime


class Trouble:
    """`text` is empty while there is no trouble. Otherwise, for example: `Queue jibe … since 10:15 (UTC): HTTP 503`."""

    def __init__(self, what: str, monotonic: Callable[[], float]) -> None:
        """`what`: the beginning of the sentence, such as `Queue jibe cannot be received from`."""
        self._what = what
        self._monotonic = monotonic
        self._reason = ""
        self._began: float | None = None
        self._since = ""

    def begin(self, reason: str) -> None:
        """It does not work, for this reason. If that is known already, only the reason changes."""
        if self._began is None:
            self._began = self._monotonic()
            self._since = datetime.fromtimestamp(time.time(), UTC).strftime("%Y-%m-%d %H:%M (UTC)")
        self._reason = reason

    def end(self) -> None:
        """It works."""
        self._began, self._reason = None, ""

    @property
    def seconds(self) -> float:
        """How long it has not worked; 0 if it works."""
        return 0.0 if self._began is None else self._monotonic() - self._began

    @property
    def text(self) -> str:
        """The sentence. Empty if it works."""
        return "" if self._began is None else f"{self._what} since {self._since}: {self._reason}"
