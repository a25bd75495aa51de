"""Locks for changes: one change at a time, and never in a folder while it is being refreshed.

A change holds the guards of all folders whose contents it changes. A refresh holds the guard of its folder. Without
this, a refresh could list S3 in the middle of a change and then show the state before it.
A change in the background keeps its guards until its end, and marks the names that it changes as busy. Calls that need
such a name are answered with `error_background`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager

from jibe_sqs.sandbox.access_anywhere.items import TRASH, Folder
from jibe_sqs.sandbox.access_anywhere.refusals import Refused

NameKey = tuple[int, str]
"""The id of a folder, and a case-folded name in it."""


class ChangeLocks:
    """`guard` returns the lock of one folder, which its refreshes hold as well."""

    def __init__(self, guard: Callable[[Folder], asyncio.Lock]) -> None:
        self.busy_names: set[NameKey] = set()
        self._guard = guard
        self._one_change = asyncio.Lock()

    def check_free(self, folder: Folder, name: str = "") -> None:
        """Raises `Refused` if a background task changes this folder, a folder above it, or this name in the folder."""
        ancestor: Folder | None = folder
        while ancestor is not None:
            if (ancestor.id, name.casefold()) in self.busy_names:
                raise Refused("error_background", f"A background task is at work on {name!r}. Please try again later")
            name, ancestor = ancestor.name, ancestor.parent

    async def acquire(self, folders: Iterable[Folder]) -> AsyncExitStack:
        """Acquire the change lock, and the guards of these folders and of their buckets' trash.

        The caller, or a background task, releases them. Only this method acquires several guards, and only under the
        change lock, so their order does not matter.
        """
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._one_change)
            wanted = list(folders)
            tops = [folder.top for folder in wanted]
            wanted += [top.folders[TRASH] for top in tops if top is not None and TRASH in top.folders]
            for folder in {folder.id: folder for folder in wanted}.values():
                await stack.enter_async_context(self._guard(folder))
            return stack.pop_all()

    @asynccontextmanager
    async def held(self, folders: Iterable[Folder]) -> AsyncIterator[None]:
        """The same, for the duration of a block."""
        async with await self.acquire(folders):
            yield


def name_key(folder: Folder) -> NameKey:
    """The key of this folder's name in its parent."""
    return folder.parent.id if folder.parent is not None else 0, folder.name.casefold()
