"""Growing delays between the tries of something that fails."""

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delays that double from `first` up to `longest`, both in seconds.

    `jitter`: the part of each delay that is random, from 0 (none of it) to 1 (all of it). Clients that failed together
    then do not return together.
    """

    first: float
    longest: float
    jitter: float = 0.5

    def delay(self, failures: int) -> float:
        """Seconds to wait after this many failures in a row; 1 or more."""
        # The exponent is limited: a float overflows after a thousand doublings.
        delay = min(self.longest, self.first * 2.0 ** min(failures - 1, 64))
        return delay * (1.0 - self.jitter * random.random())  # noqa: S311 - it spreads load, it guards nothing
