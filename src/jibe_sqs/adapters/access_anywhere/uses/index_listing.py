"""What Access Anywhere shows now, without a refresh: for the comparison of its index with S3."""

from collections.abc import AsyncGenerator, Callable, Collection

from jibe_sqs.adapters.access_anywhere.uses.folder_ids import FolderIds
from jibe_sqs.adapters.access_anywhere.wire.client import GONE, AccessAnywhere
from jibe_sqs.core.comparison import Entry
from jibe_sqs.core.errors import CallFailed
from jibe_sqs.ports import Clock, Index


class IndexListing(Index):
    """The `Index` port. `roots` returns the paths of the mapped folders, as known now."""

    def __init__(self, client: AccessAnywhere, clock: Clock, *, roots: Callable[[], Collection[str]]) -> None:
        self._client = client
        self._ids = FolderIds(client, clock, roots=roots)

    async def folder(self, path: str) -> str | None:
        """The id of the folder. None if Access Anywhere does not show it."""
        # A refresh may just have made the folder, so what is known about absent folders does not count.
        self._ids.forget(path)
        return await self._ids.find(path, exact=False)

    async def entries(self, folder: str) -> AsyncGenerator[Entry, None]:
        """What the folder of that id shows, in any order, with what is in the trash. Nothing if the folder is gone."""
        try:
            async for item in self._client.list_everything(folder):
                yield Entry(
                    name=item.name,
                    is_folder=item.is_folder,
                    size=item.size,
                    modified=item.seen.timestamp() if item.seen else None,
                    id=item.id if item.is_folder else "",
                    trashed=item.trashed,
                )
        except CallFailed as error:
            if error.code not in GONE:
                raise
