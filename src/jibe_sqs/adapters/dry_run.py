"""A sync target that logs what would be refreshed, and calls nothing."""

from collections.abc import Callable

import structlog

from jibe_sqs.core.model import Folder
from jibe_sqs.ports import OtherRefreshes, SyncTarget

log = structlog.get_logger()


class DryRunTarget(SyncTarget):
    """Treats every folder as refreshed. Logs a warning at the start: messages are deleted without any refresh."""

    def __init__(self) -> None:
        log.warning(
            "dry_run",
            consequence="messages are deleted, and nothing is refreshed",
            remedy="use separate queues for a dry run, or refresh everything afterwards",
        )

    async def refresh(self, folder: Folder, began: Callable[[], None], others: OtherRefreshes) -> None:  # noqa: ARG002
        """Log the folder that would be refreshed."""
        began()
        log.debug("would_refresh", folder=str(folder))
