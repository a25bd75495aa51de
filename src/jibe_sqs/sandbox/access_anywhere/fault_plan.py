"""What befalls a call: chosen from the faults that are on, by seeded randoms, so that a run can be repeated."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Final, Literal

from jibe_sqs.sandbox.access_anywhere.faults import Faults, FoldersTooLarge

Kind = Literal["down", "too_many_requests", "server_error", "resets", "error_background", "expired_tokens"]
FAILURES: Final[tuple[Kind, ...]] = (
    "too_many_requests",
    "server_error",
    "resets",
    "error_background",
    "expired_tokens",
)
LOGGED_IN_ONLY: Final = frozenset({"error_background", "expired_tokens"})


@dataclass(frozen=True, slots=True)
class Fate:
    """What is to befall one call."""

    kind: Kind | None = None
    delay: float = 0.0
    """Seconds."""
    status: int | None = None
    """HTTP's, if that is how it fails."""
    retry_after: int | None = None
    has_effect: bool = False
    """The call is done all the same: only its answer is lost."""


class Fates:
    """Chooses. `dealt` counts, by fault, what befell."""

    def __init__(self, faults: Faults, clock: Callable[[], float]) -> None:
        self.dealt: Counter[str] = Counter()
        self._clock = clock
        self.replace(faults)

    def replace(self, faults: Faults) -> None:
        """Other faults, from their beginning."""
        self.faults = faults
        self._since = self._clock()
        self._randoms: dict[str, Random] = {}
        self._failures = itertools.cycle(FAILURES)
        self._statuses = itertools.cycle((500, 502, 503, 504))
        self._loses: dict[str, Iterator[bool]] = {
            kind: itertools.cycle((False, True)) for kind in ("server_error", "resets")
        }

    def of_call(self, *, logged_in: bool, is_download: bool = False) -> Fate:
        """`logged_in`: it bears a token. A lost answer to a download would be no different from a failed call."""
        faults = self.faults
        if (down := faults.down) and (down.seconds is None or self._clock() - self._since < down.seconds):
            self.dealt["down"] += 1
            return Fate("down", status=None if down.reset else 503)
        delay = faults.slow.seconds if faults.slow and self._draws("slow", faults.slow.rate) else 0.0
        self.dealt["slow"] += bool(delay)
        kind = self._failure(logged_in=logged_in)
        if kind is None:
            return Fate(delay=delay)
        self.dealt[kind] += 1
        status = retry_after = None
        if kind == "too_many_requests":
            status = 429
            retry_after = faults.too_many_requests.retry_after if faults.too_many_requests else None
        elif kind == "server_error":
            status = next(self._statuses)
            retry_after = faults.server_error.retry_after if faults.server_error and status == 503 else None
        has_effect = kind in self._loses and next(self._loses[kind]) and not is_download
        return Fate(kind, delay, status, retry_after, has_effect)

    def truncates(self) -> bool:
        """Whether the download that is about to begin is to end early."""
        mode = self.faults.truncated_downloads
        truncated = mode is not None and self._draws("truncated_downloads", mode.rate)
        self.dealt["truncated_downloads"] += truncated
        return truncated

    def of_refresh(self, entries: int) -> FoldersTooLarge | None:
        """What befalls the refresh of a folder of so many entries, if anything does."""
        mode = self.faults.folders_too_large
        if mode is None or entries <= mode.most or not self._draws("folders_too_large", mode.rate):
            return None
        self.dealt["folders_too_large"] += 1
        return mode

    def _failure(self, *, logged_in: bool) -> Kind | None:
        def concerned(kind: Kind) -> bool:
            return logged_in or kind not in LOGGED_IN_ONLY

        modes = ((kind, getattr(self.faults, kind)) for kind in FAILURES if concerned(kind))
        # All are drawn, also after a hit: so each mode hits the share that it was given of what it could.
        hits = [kind for kind, mode in modes if mode is not None and self._draws(kind, mode.rate)]
        if self._draws("failures", self.faults.failures):
            hits.append(next(kind for kind in self._failures if concerned(kind)))
        return hits[0] if hits else None

    def _draws(self, what: str, rate: float) -> bool:
        # Each has a random of its own: switching one on changes nothing of the others.
        if what not in self._randoms:
            self._randoms[what] = Random(f"{self.faults.seed} {what}")
        return self._randoms[what].random() < rate
