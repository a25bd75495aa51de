"""Says at the start that the settings are others than at the last start, and how to repair what the old ones decided."""

import json
import math
from typing import Any, Final

import structlog

from jibe_sqs.compose.fingerprint import Fingerprint
from jibe_sqs.telemetry.optional_ledger import OptionalLedger

log = structlog.get_logger()

NOTE: Final = "settings"
MAX_SHOWN: Final = 20
"""Names of changed settings in one log line."""
DAY: Final = 86_400.0


async def log_settings_changes(
    settings: Fingerprint, ledger: OptionalLedger, *, now: float, at_most: float = 30 * DAY
) -> None:
    """Compare the settings with those of the last start. Then note them: a process that is killed before says it again.

    `now`: seconds since the epoch. The old settings decided since they were noted. `at_most`: seconds before now from which
    on it is sensible to repair.
    """
    noted = await ledger.noted([NOTE])
    if noted is None:
        # The note must stay: the next start compares with it.
        return
    before = _before(noted.get(NOTE))
    if before is not None:
        names, began = before
        changed = settings.changed(names)
        if not changed:
            return
        days = max(1, math.ceil(min(now - began, at_most) / DAY))
        log.warning(
            "settings_changed",
            changed=[*changed[:MAX_SHOWN], *([f"and {more} more"] if (more := len(changed) - MAX_SHOWN) > 0 else [])],
            consequence="from now on, log files that are announced or swept again are read again under the new settings; "
            "changes that the old settings skipped stay skipped until then",
            remedy=f"jibe-sqs backfill --since {days}d; for changes that came without log files: jibe-sqs compare --repair",
        )
    note = {"names": settings.names, "since": now}
    await ledger.note(NOTE, json.dumps(note))


def _before(note: str | None) -> tuple[dict[str, str], float] | None:
    """The names of the noted settings, and since when they were in force. None without a legible note."""
    try:
        found: Any = json.loads(note or "null")
        since = float(found["since"])
        return (dict(found["names"]), since) if math.isfinite(since) else None
    except (ValueError, TypeError, KeyError):
        return None
