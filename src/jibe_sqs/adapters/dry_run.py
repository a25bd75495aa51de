"""Nobody's index: for seeing what would be refreshed, without anything being called."""

from collections.abc import Callable

import structlog

from jibe_sqs.core.model import Folder
from jibe_sqs.ports import SyncTarget

log = structlog.get_logger()


class DryRunTarget(SyncTarget):
    """Takes every folder for refreshed. Says so once, loudly: what is acknowledged for it is gone."""

    def __init__(self) -> None:
        log.warning(
            "dry_run",
            consequence="messages are acknowledged, and nothing is refreshed",
            remedy="let it read queues of its own, or refresh everything afterwards",
        )

    async def refresh(self, folder: Folder, began: Callable[[], None]) -> None:
        """Say what would be refreshed."""
        began()
        log.debug("would_refresh", folder=str(folder))
