"""Stores reports as files in a folder of Access Anywhere. The operator creates the folder."""

from jibe_sqs.adapters.access_anywhere.wire.client import AccessAnywhere
from jibe_sqs.core.errors import FolderUnknown


class ReportFolder:
    """Stores reports in the folder of that path."""

    def __init__(self, client: AccessAnywhere, folder: str) -> None:
        self._client = client
        self._folder = folder

    async def store(self, name: str, body: bytes) -> None:
        """Upload a file. Raises `AccessAnywhereError`."""
        found = await self._client.check_path(self._folder)
        if found is None or not found.is_folder:
            raise FolderUnknown(
                f"{self._folder}: Access Anywhere has no such folder: create it, let the account write to it, "
                "or change report.folder"
            )
        await self._client.upload(found.id, name, body)
