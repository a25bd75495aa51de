"""Reports, as files in a folder of Access Anywhere. The folder is the operator's: we make none."""

from jibe_sqs.adapters.access_anywhere.wire.client import AccessAnywhere
from jibe_sqs.core.errors import FolderUnknown


class ReportFolder:
    """Stores reports. `folder` is its path."""

    def __init__(self, client: AccessAnywhere, folder: str) -> None:
        self._client = client
        self._folder = folder

    async def store(self, name: str, body: bytes) -> None:
        """Upload a file. Raises `AccessAnywhereError`."""
        found = await self._client.check_path(self._folder)
        if found is None or not found.is_folder:
            raise FolderUnknown(
                f"{self._folder}: Access Anywhere has no such folder: make it, give the account the right to write "
                "there, or change report.folder"
            )
        await self._client.upload(found.id, name, body)
