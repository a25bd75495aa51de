"""Whether the index is true: what the continuous comparison has found so far."""

from collections import Counter
from collections.abc import Mapping
from typing import Final

import msgspec

MAX_REASONS: Final = 5
"""Buckets whose reasons are shown."""


class Round(msgspec.Struct, frozen=True):
    """One comparison of all folders. `began`, `ended`: seconds since the epoch; `ended` is 0 while it lasts.

    `wrong`: differences that were found; `unrepaired`: those of them that a refresh did not repair. `failed`: folders that
    could not be compared.
    """

    began: float
    folders: int = 0
    objects: int = 0
    wrong: int = 0
    unrepaired: int = 0
    failed: int = 0
    ended: float = 0.0

    @property
    def ratio(self) -> float | None:
        """The share of the compared objects that were right when they were looked at. None without objects."""
        # What is extra is no object of S3, so there may be more differences than objects.
        return max(1 - self.wrong / self.objects, 0.0) if self.objects else None


class Truth:
    """The state of the continuous comparison, for health, logs and reports."""

    def __init__(self) -> None:
        self.current: Round | None = None
        self.last: Round | None = None
        """The last complete round."""
        self.repairs = True
        self.repaired = 0
        """Differences that a refresh repaired, since the start."""
        self._totals: Counter[str] = Counter()
        self._not_compared: dict[str, str] = {}

    @property
    def true_ratio(self) -> float | None:
        """`jibe_index_true_ratio`: of the last complete round; of the first one while it lasts."""
        chosen = self.last or self.current
        return chosen.ratio if chosen else None

    @property
    def oldest_check(self) -> float | None:
        """No folder was compared longer ago than this (seconds since the epoch). None until all were compared once."""
        return self.last.began if self.last else None

    @property
    def counts(self) -> Mapping[str, float]:
        """For the progress log."""
        if self.current is None and self.last is None:
            return {}
        found = self.current or self.last or Round(0.0)
        shown: dict[str, float] = {
            "folders": found.folders,
            "objects": found.objects,
            "wrong": found.wrong,
            "unrepaired": found.unrepaired,
        }
        if self.true_ratio is not None:
            shown["true_ratio"] = round(self.true_ratio, 6)
        if self.oldest_check is not None:
            shown["oldest_check"] = round(self.oldest_check)
        return shown

    @property
    def totals(self) -> Mapping[str, int]:
        """Counts since the start, which only grow, for the report."""
        return self._totals

    @property
    def warnings(self) -> list[str]:
        """What an operator should look at: sentences for `/readyz`."""
        found = [
            f"{bucket} is not compared with S3: {reason}"
            for bucket, reason in list(self._not_compared.items())[:MAX_REASONS]
        ]
        worst = max(filter(None, (self.current, self.last)), key=lambda each: each.unrepaired, default=None)
        if worst is not None and worst.unrepaired:
            remedy = "a refresh did not repair them" if self.repairs else "compare.repair is off"
            differ = "1 object differs" if worst.unrepaired == 1 else f"{worst.unrepaired:,} objects differ"
            found.append(f"{differ} between S3 and Access Anywhere: {remedy}: run jibe-sqs compare")
        return found

    def counted(self, current: Round, *, objects: int, wrong: int, repaired: int = 0) -> None:
        """Report that a folder was compared. `wrong`: all differences, with those that were `repaired`."""
        self.current = current
        self.repaired += repaired
        self._totals += Counter(folders=1, objects=objects, wrong=wrong)

    def not_compared(self, bucket: str, reason: str) -> None:
        """Report that a bucket cannot be compared."""
        self._not_compared[bucket] = reason

    def compared(self, bucket: str) -> None:
        """Report that a bucket was compared."""
        self._not_compared.pop(bucket, None)
