"""What `jibe-sqs check` asks Access Anywhere for. It writes nothing; one folder is refreshed."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing

from jibe_sqs.adapters.access_anywhere.uses.folder_ids import FolderIds
from jibe_sqs.adapters.access_anywhere.uses.providers import TASK_TYPES, Providers
from jibe_sqs.adapters.access_anywhere.uses.target import folder_unknown
from jibe_sqs.adapters.access_anywhere.wire.client import AccessAnywhere
from jibe_sqs.adapters.access_anywhere.wire.paths import TOP
from jibe_sqs.core.decisions import Places
from jibe_sqs.ports import Clock


class InspectedServer:
    """Access Anywhere, for its checks. Raises `AccessAnywhereError`s only."""

    def __init__(self, client: AccessAnywhere, clock: Clock, places: Places | None) -> None:
        """`places`: the configured ones; None to ask the server."""
        self._client = client
        self._places = places
        self._asking = asyncio.Lock()
        self._ids = FolderIds(client, clock, roots=lambda: ())

    async def version(self) -> str:
        """Ask once: a server that is down must not delay the report by two minutes."""
        return await self._client.version(once=True)

    async def log_in(self) -> None:
        """Log in, and list the top."""
        async with aclosing(self._client.list_folder(TOP)) as entries:
            async for _ in entries:
                break

    async def folders(self) -> Mapping[str, Sequence[str]]:
        """Bucket -> its folders. The server is asked once."""
        async with self._asking:
            if self._places is None:
                self._places = await Providers(self._client).places()
        return {bucket: list(dict.fromkeys(place.folder for place in shown)) for bucket, shown in self._places.items()}

    def known_places(self) -> Places:
        """The places, as far as they are known: all of them after `folders`."""
        return self._places or {}

    async def has_folder(self, folder: str) -> bool:
        """Whether the server has this folder, in any case of its name."""
        return await self._ids.find(folder, exact=False) is not None

    async def refresh(self, folder: str) -> None:
        """Refresh one folder, as the service does."""
        found = await self._ids.find(folder, exact=False)
        if found is None:
            raise folder_unknown(folder)
        await self._client.refresh_folder(found)

    async def read_tasks(self) -> None:
        """Ask for one background task of each type that syncs may have."""
        for kind in TASK_TYPES:
            await self._client.background_tasks(kind=kind, limit=1)
