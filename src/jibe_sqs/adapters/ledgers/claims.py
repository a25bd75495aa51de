"""Until when a claim holds."""


def claimed_until(now: float, seconds: float) -> float:
    """Seconds since the epoch. A claim of 0 seconds is one that has ended: also for owners whose clocks are behind."""
    return now + seconds if seconds else 0.0
