"""What happened, in order; and what must not happen."""

import hashlib
import itertools
from collections import Counter
from collections.abc import Callable


class Violation(Exception):
    """A promise was broken."""


class Judge:
    """Keeps the trace, the totals, and the first promise that was broken."""

    def __init__(self) -> None:
        self.time: Callable[[], float] = lambda: 0.0
        self.trace: list[tuple[float, str, tuple[object, ...]]] = []
        self.totals: Counter[str] = Counter()
        self.broken: str | None = None
        self._moments = itertools.count(1)
        self._is_closed = False

    def moment(self) -> int:
        """Moments are in the order in which they are asked for, also where time stands still."""
        return next(self._moments)

    def record(self, what: str, *details: object) -> None:
        """Put it on the trace, and count it."""
        if not self._is_closed:
            self.note(what, *details)
            self.totals[what] += 1

    def note(self, what: str, *details: object) -> None:
        """Put it on the trace."""
        if not self._is_closed:
            self.trace.append((self.time(), what, details))

    def require(self, holds: bool, promise: str, *details: object) -> None:
        """Remember if it does not hold. The loop ends after this step."""
        if not holds and self.broken is None and not self._is_closed:
            self.broken = f"{promise}: {', '.join(map(str, details))}" if details else promise
            self.record("BROKEN", self.broken)

    def close(self) -> None:
        """Whatever comes now, of the dead who are buried, is not heard."""
        self._is_closed = True

    def check(self) -> None:
        """Raises `Violation`."""
        if self.broken is not None:
            raise Violation(self.broken)

    def lines(self) -> list[str]:
        """The trace, for people."""
        return [f"{at:10.3f}  {what:22} {'  '.join(map(str, details))}".rstrip() for at, what, details in self.trace]

    def digest(self) -> str:
        """Equal for equal runs."""
        return hashlib.sha256("\n".join(self.lines()).encode()).hexdigest()[:16]
