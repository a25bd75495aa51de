"""How many examples hypothesis tries of a property whose examples are expensive: whole worlds, tens of milliseconds each.

Each run tries others, so few in each run become many. `make tests EXAMPLES=1` tries the whole number.
"""

import os

from hypothesis import settings

SHARE = float(os.environ.get("EXAMPLES", "0.35"))
"""The share of the whole number that is tried."""


def expensive(whole: int) -> settings:
    return settings(max_examples=max(1, round(SHARE * whole)), deadline=None)
