"""The time of the running event loop."""

import asyncio


def loop_time() -> float:
    """Seconds, from a moment that the loop chooses."""
    return asyncio.get_running_loop().time()


def has_come(moment: float) -> bool:
    """Whether a moment is over. A loop may call its timers up to a microsecond early."""
    return moment <= loop_time() + 1e-6
