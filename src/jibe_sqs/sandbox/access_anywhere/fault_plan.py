"""Chooses the fault of each call by seeded random generators, so that a run can be repeated."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Final, Literal

from jibe_sqs.sandbox.access_anywhere.faults import Faults, FoldersTooLarge

Kind = Literal["down", "too_many_requests", "server_error", "resets", "error_background", "expired_tokens"]
FAILURE_KINDS: Final[tuple[Kind, ...]] = (
    "too_many_requests",
    "server_error",
    "resets",
    "error_background",
    "expired_tokens",
)
NEEDS_LOGIN: Final = frozenset({"error_background", "expired_tokens"})


@dataclass(frozen=True, slots=True)
class PlannedFault:
    """The fault of one call."""

    kind: Kind | None = None
    delay: float = 0.0
    """Seconds before the call is handled."""
    status: int | None = None
    """The HTTP status of a failed call. None: the connection is reset."""
    retry_after: int | None = None
    has_effect: bool = False
    """The call is carried out, and only its answer is lost."""


class FaultPlan:
    """Chooses faults. `counts`: number of injected faults by kind."""

    def __init__(self, faults: Faults, clock: Callable[[], float]) -> None:
        self.counts: Counter[str] = Counter()
        self._clock = clock
        self.replace(faults)

    def replace(self, faults: Faults) -> None:
        """Use other faults, and restart all generators and times."""
        self.faults = faults
        self._since = self._clock()
        self._randoms: dict[str, Random] = {}
        self._failures = itertools.cycle(FAILURE_KINDS)
        self._statuses = itertools.cycle((500, 502, 503, 504))
        self._loses_answer: dict[str, Iterator[bool]] = {
            kind: itertools.cycle((False, True)) for kind in ("server_error", "resets")
        }

    def for_call(self, *, logged_in: bool, is_download: bool = False) -> PlannedFault:
        """`logged_in`: the call has a token. `is_download`: the call changes nothing, so a lost answer has no effect."""
        faults = self.faults
        if (down := faults.down) and (down.seconds is None or self._clock() - self._since < down.seconds):
            self.counts["down"] += 1
            return PlannedFault("down", status=None if down.reset else 503)
        delay = faults.slow.seconds if faults.slow and self._draw("slow", faults.slow.rate) else 0.0
        self.counts["slow"] += bool(delay)
        kind = self._failure(logged_in=logged_in)
        if kind is None:
            return PlannedFault(delay=delay)
        self.counts[kind] += 1
        status = retry_after = None
        if kind == "too_many_requests":
            status = 429
            retry_after = faults.too_many_requests.retry_after if faults.too_many_requests else None
        elif kind == "server_error":
            status = next(self._statuses)
            retry_after = faults.server_error.retry_after if faults.server_error and status == 503 else None
        has_effect = kind in self._loses_answer and next(self._loses_answer[kind]) and not is_download
        return PlannedFault(kind, delay, status, retry_after, has_effect)

    def truncates(self) -> bool:
        """Whether the next download ends early."""
        mode = self.faults.truncated_downloads
        truncated = mode is not None and self._draw("truncated_downloads", mode.rate)
        self.counts["truncated_downloads"] += truncated
        return truncated

    def answer_size(self) -> int:
        """Bytes of a field that is added to the next answer. 0: the answer stays as it is."""
        mode = self.faults.huge_answers
        if mode is None or not self._draw("huge_answers", mode.rate):
            return 0
        self.counts["huge_answers"] += 1
        return mode.size

    def for_refresh(self, entries: int) -> FoldersTooLarge | None:
        """The fault of a refresh of a folder with so many entries. None: no fault."""
        mode = self.faults.folders_too_large
        if mode is None or entries <= mode.most or not self._draw("folders_too_large", mode.rate):
            return None
        self.counts["folders_too_large"] += 1
        return mode

    def _failure(self, *, logged_in: bool) -> Kind | None:
        def can_fail(kind: Kind) -> bool:
            return logged_in or kind not in NEEDS_LOGIN

        modes = ((kind, getattr(self.faults, kind)) for kind in FAILURE_KINDS if can_fail(kind))
        # Every mode is drawn, even after a hit, so that each mode hits exactly its share of the calls.
        hits = [kind for kind, mode in modes if mode is not None and self._draw(kind, mode.rate)]
        if self._draw("failures", self.faults.failures):
            hits.append(next(kind for kind in self._failures if can_fail(kind)))
        return hits[0] if hits else None

    def _draw(self, what: str, rate: float) -> bool:
        # Each mode has its own generator, so that switching one on does not change the others.
        if what not in self._randoms:
            self._randoms[what] = Random(f"{self.faults.seed} {what}")
        return self._randoms[what].random() < rate
