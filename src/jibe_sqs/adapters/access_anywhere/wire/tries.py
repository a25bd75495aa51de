"""The outcomes and durations of calls, by function."""

from collections import Counter
from typing import Final, Literal

from jibe_sqs.telemetry.lag import Durations
from jibe_sqs.telemetry.metrics import OTHER

MAX_FUNCTIONS: Final = 50
"""Functions with counts of their own."""

Outcome = Literal["ok", "retried", "refused", "failed"]


class Tries:
    """Counts each try of a call.

    `ok`; `retried`: no answer, and tried again; `refused`: the answer is an error; `failed`: no answer that can be used.
    """

    def __init__(self) -> None:
        self.outcomes: dict[str, Counter[str]] = {}
        self.seconds: dict[str, Durations] = {}

    def ended(self, function: str, outcome: Outcome, seconds: float) -> None:
        """Count a try that has ended."""
        durations = self.seconds.get(function)
        if durations is None:
            function = function if len(self.seconds) < MAX_FUNCTIONS else OTHER
            durations = self.seconds.setdefault(function, Durations())
            self.outcomes.setdefault(function, Counter())
        durations.add(seconds)
        self.outcomes[function][outcome] += 1
