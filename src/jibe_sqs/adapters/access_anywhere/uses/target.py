"""Refreshes folders of Access Anywhere, as a `SyncTarget`.

A refresh covers one folder, and Access Anywhere can only refresh a folder that it knows. A folder may be unknown because
it is new or because it was deleted. Then its parent is refreshed, which may need a refresh of its own parent first, up
to the mapped folder. A folder waits only for folders above it, and a tree only for single folders, so there is no
deadlock. No slot is held while a refresh waits for another folder or for its turn.

    known folder     `began`; refresh. If it is empty now, refresh the parent: storage has no empty folders.
    unknown folder   If a refresh of the parent is running, wait for its end and look again. If still unknown: `began`;
                     refresh the parent; look again. Found: as a known folder. Not found: it was deleted, and the
                     parent shows that.
    folder vanishes  As an unknown folder.
    tree             `began`; refresh each folder from the top down, with the subfolders that it then shows. If a folder
                     cannot be refreshed, the tree fails after all others are done.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from jibe_sqs.adapters.access_anywhere.flow.provider_limits import ProviderLimits
from jibe_sqs.adapters.access_anywhere.uses.folder_ids import FolderIds
from jibe_sqs.adapters.access_anywhere.wire.client import GONE, AccessAnywhere
from jibe_sqs.adapters.access_anywhere.wire.paths import ROOT, is_below, parent
from jibe_sqs.concurrency.tree_walk import walk_tree
from jibe_sqs.core.errors import (
    AccessAnywhereError,
    AnswerMalformed,
    CallFailed,
    FolderUnknown,
    RefreshPaused,
    RefreshTimedOut,
)
from jibe_sqs.core.model import Folder
from jibe_sqs.ports import Clock, OtherRefreshes, SyncTarget
from jibe_sqs.syncing.pace import Costs

MAX_ROUNDS = 3
"""How many times a folder may vanish between its look-up and its refresh."""

ONE_FOLDER_ERRORS = (CallFailed, RefreshTimedOut, AnswerMalformed)
"""Errors that concern one folder: the rest of a tree is still refreshed."""
MAX_TREE_FAILURES = 10
"""After this many of them, the refresh of a tree stops."""


class Slots(Protocol):
    """Limits how many refreshes run at a time, and chooses the next one."""

    @property
    def most(self) -> int:
        """The most slots that there ever are."""

    def slot(self, cost: float = 0.0, newest: float = 0.0) -> AbstractAsyncContextManager[None]:
        """Hold a slot, for about `cost` seconds. `newest`: when the last change happened that it is for; 0 if unknown."""


def never(_folder: Folder) -> None:
    """No folder is ever paused."""


class RefreshTarget(SyncTarget):
    """Refreshes folders of Access Anywhere, in `slots`.

    `roots` returns the paths of the mapped folders, as known now. A mapped folder never counts as deleted. Folders above
    the mapped ones are refreshed only to find these.
    `costs` learns how long each refresh took. `limits`: of single providers. `paused` returns why a folder's refresh must not
    begin now: it may have waited for its slot since the pause began.
    """

    def __init__(
        self,
        client: AccessAnywhere,
        *,
        roots: Callable[[], Collection[str]],
        clock: Clock,
        slots: Slots,
        costs: Costs | None = None,
        limits: ProviderLimits | None = None,
        paused: Callable[[Folder], RefreshPaused | None] = never,
    ) -> None:
        self._client = client
        self._clock = clock
        self._roots = roots
        self._slots = slots
        self._costs = costs or Costs()
        self._limits = limits or ProviderLimits(clock)
        self._paused = paused
        self._ids = FolderIds(client, clock, roots=roots)

    async def refresh(self, folder: Folder, began: Callable[[], None], others: OtherRefreshes) -> None:
        """Bring the index of this folder up to date.

        Raises `AccessAnywhereError`, of which `FolderUnknown` is for a mapped folder that does not exist.
        """
        with self._limits.paced(folder.path):
            if folder.tree:
                await self._refresh_tree(folder, began, others)
            else:
                await self._refresh_folder(folder.path, began, others)

    async def _refresh_folder(self, path: str, began: Callable[[], None], others: OtherRefreshes) -> None:
        above = Folder(parent(path))
        has_been_refreshed = others.watch(above)
        fi_id = await self._ids.find(path)
        # If one folder has a thousand new folders, most of them arrive while it is being refreshed for the first one. That
        # refresh may show them all.
        if fi_id is None and await has_been_refreshed():
            fi_id = await self._ids.find(path)
        for _ in range(MAX_ROUNDS):
            if fi_id is not None and await self._refresh_known(Folder(path), fi_id, began, others):
                return
            if above.path == ROOT:
                raise folder_unknown(path)
            began()
            await others.refresh(above)
            fi_id = await self._ids.find(path, exact=False)
            if fi_id is None:
                if not is_below(path, self._roots()):
                    raise folder_unknown(path)
                return
        raise CallFailed(
            f"{path}: Access Anywhere shows this folder, but does not find it for a refresh", code="not_found"
        )

    async def _refresh_known(
        self, folder: Folder, fi_id: str, began: Callable[[], None], others: OtherRefreshes
    ) -> bool:
        """Returns False if the folder does not exist any more."""
        cost = self._costs.expected(folder)
        started = self._clock.monotonic()

        def on_began() -> None:
            nonlocal started
            started = self._clock.monotonic()
            began()

        try:
            is_empty = await self._client.refresh_folder(
                fi_id, began=on_began, slot=lambda: self._slot(folder, cost, others.newest), expected=cost
            )
        except CallFailed as error:
            if error.code not in GONE:
                raise
            self._ids.forget(folder.path)
            return False
        self._ids.refreshed(fi_id)
        # This is the time of the server alone: since `started`, nothing waited for a slot or for another folder.
        self._costs.learn(folder, self._clock.monotonic() - started)
        if is_empty and is_below(folder.path, self._roots()):
            # `began` is not called: the refresh of the parent does not cover later changes in this folder.
            await others.refresh(Folder(parent(folder.path)))
        return True

    @asynccontextmanager
    async def _slot(self, folder: Folder, cost: float, newest: float) -> AsyncIterator[None]:
        """Hold a slot of the provider, and one of the server."""
        async with self._limits.slot(folder.path, cost, newest), self._slots.slot(cost, newest):
            if paused := self._paused(folder):
                raise paused
            yield

    async def _refresh_tree(self, tree: Folder, began: Callable[[], None], others: OtherRefreshes) -> None:
        began()
        started = self._clock.monotonic()
        failures: list[AccessAnywhereError] = []
        seen: set[str] = set()

        async def refresh_level(path: str) -> AsyncGenerator[Iterable[str], None]:
            """Refresh one folder; yields the paths of its subfolders."""
            try:
                await others.refresh(Folder(path))
            except ONE_FOLDER_ERRORS as error:
                failures.append(error)
                if len(failures) == MAX_TREE_FAILURES:
                    raise
            # Each id only once: a server may show folders inside each other.
            below = {level: fi_id for level, fi_id in (await self._ids.below(path)).items() if fi_id not in seen}
            seen.update(below.values())
            yield below

        await walk_tree(tree.path, refresh_level, most=self._slots.most)
        if failures:
            raise failures[0]
        self._costs.learn(tree, self._clock.monotonic() - started)


def folder_unknown(path: str) -> FolderUnknown:
    """The error for a mapped folder that does not exist, with its remedy."""
    return FolderUnknown(
        f"Access Anywhere has no folder {path!r}: check the spelling in the bucket mapping, that the provider is added "
        "and shows the bucket, and that the account may see it"
    )
