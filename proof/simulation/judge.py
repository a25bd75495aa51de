"""Records what happens, and checks promises."""

import hashlib
import itertools
from collections import Counter
from collections.abc import Callable


class Violation(Exception):
    """A promise was broken."""


class Judge:
    """Keeps the trace, the counts of events (`totals`), and the first broken promise."""

    def __init__(self) -> None:
        self.time: Callable[[], float] = lambda: 0.0
        self.trace: list[tuple[float, str, tuple[object, ...]]] = []
        self.totals: Counter[str] = Counter()
        self.logged: Counter[str] = Counter()
        """How often the services logged each warning."""
        self.broken: str | None = None
        self._moments = itertools.count(1)
        self._is_closed = False

    def moment(self) -> int:
        """The next moment. Each call returns a larger number, also while the virtual time stands still."""
        return next(self._moments)

    def record(self, what: str, *details: object) -> None:
        """Add an event to the trace, and count it."""
        if not self._is_closed:
            self.note(what, *details)
            self.totals[what] += 1

    def note(self, what: str, *details: object) -> None:
        """Add an event to the trace, without counting it."""
        if not self._is_closed:
            self.trace.append((self.time(), what, details))

    def require(self, holds: bool, promise: str, *details: object) -> None:
        """Remember the first promise that does not hold. The loop then ends after this step."""
        if not holds and self.broken is None and not self._is_closed:
            self.broken = f"{promise}: {', '.join(map(str, details))}" if details else promise
            self.record("BROKEN", self.broken)

    def close(self) -> None:
        """Ignore all later events: they come from the cleanup of dead processes."""
        self._is_closed = True

    def check(self) -> None:
        """Raise `Violation` if a promise was broken."""
        if self.broken is not None:
            raise Violation(self.broken)

    def lines(self) -> list[str]:
        """The trace as text, one line for each event."""
        return [f"{at:10.3f}  {what:22} {'  '.join(map(str, details))}".rstrip() for at, what, details in self.trace]

    def digest(self) -> str:
        """A hash of the trace. Equal runs have equal hashes."""
        return hashlib.sha256("\n".join(self.lines()).encode()).hexdigest()[:16]
