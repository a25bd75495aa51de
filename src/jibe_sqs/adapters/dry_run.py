"""A sync target that calls nothing. It logs what would be refreshed."""

from collections.abc import Callable

import structlog

from jibe_sqs.core.model import Folder
from jibe_sqs.ports import OtherRefreshes, SyncTarget

log = structlog.get_logger()


class DryRunTarget(SyncTarget):
    """Reports success for every folder. It logs one warning, because messages that it acknowledges are lost."""

    def __init__(self) -> None:
        log.warning(
            "dry_run",
            consequence="messages are acknowledged, and nothing is refreshed",
            remedy="let it read queues of its own, or refresh everything afterwards",
        )

    async def refresh(self, folder: Folder, began: Callable[[], None], others: OtherRefreshes) -> None:  # noqa: ARG002
        """Log the folder that would be refreshed."""
        began()
        log.debug("would_refresh", folder=str(folder))
