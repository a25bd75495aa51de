"""Which calls make a folder of Access Anywhere true again.

A refresh covers one folder, and Access Anywhere can only refresh a folder that it knows. So a folder that it does not
know, because it is new or because it is gone, is looked for by a refresh of its parent, which may need its own parent
first, up to the mapped folder. A folder waits only for folders above it, and a tree only for plain folders: nothing
waits in a circle. Nobody holds a slot while waiting for another folder, or for its turn.

    known               began, refresh; and the parent's, if it is empty now: storage has no empty folders
    unknown             if the parent's refresh runs already, its end, and then known perhaps; or else
                        began, the parent's refresh; then: found -> known, not found -> gone, and the parent shows it
    vanishes meanwhile  as unknown
    tree                began, each folder's refresh from the top down, following what each then shows; one that
                        cannot be refreshed fails the tree in the end, when the others are done
"""

from collections.abc import Callable, Collection, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from jibe_sqs.adapters.access_anywhere.uses.folder_ids import FolderIds
from jibe_sqs.adapters.access_anywhere.wire.client import GONE, AccessAnywhere
from jibe_sqs.adapters.access_anywhere.wire.paths import ROOT, is_below, parent
from jibe_sqs.concurrency.tree_walk import walk_tree
from jibe_sqs.core.errors import AccessAnywhereError, AnswerMalformed, CallFailed, FolderUnknown, RefreshTimedOut
from jibe_sqs.core.model import Folder
from jibe_sqs.ports import Clock, OtherRefreshes, SyncTarget
from jibe_sqs.syncing.pace import Costs

MAX_ROUNDS = 3
"""How often a folder may vanish between being found and being refreshed."""

ONE_FOLDER_ERRORS = (CallFailed, RefreshTimedOut, AnswerMalformed)
MAX_TREE_FAILURES = 10
"""What says nothing of other folders, and how often it may happen before the rest of a tree is given up, too."""


class Slots(Protocol):
    """How many refreshes may run at a time, and whose turn is next."""

    @property
    def most(self) -> int:
        """There are never more."""

    def slot(self, cost: float = 0.0) -> AbstractAsyncContextManager[None]:
        """One of them, for about `cost` seconds."""


class RefreshTarget(SyncTarget):
    """Refreshes folders of Access Anywhere, in `slots`.

    `roots` returns the mapped folders' paths, as known now; none is taken for gone, and only to find them is anything above them refreshed.
    `costs` learns what each refresh took.
    """

    def __init__(
        self,
        client: AccessAnywhere,
        *,
        roots: Callable[[], Collection[str]],
        clock: Clock,
        slots: Slots,
        costs: Costs | None = None,
    ) -> None:
        self._client = client
        self._clock = clock
        self._roots = roots
        self._slots = slots
        self._costs = costs or Costs()
        self._ids = FolderIds(client, clock, roots=roots)

    async def refresh(self, folder: Folder, began: Callable[[], None], others: OtherRefreshes) -> None:
        """Make the folder's index true again. Raises `AccessAnywhereError`; `FolderUnknown` for a mapping's mistake."""
        if folder.tree:
            await self._refresh_tree(folder, began, others)
        else:
            await self._refresh_folder(folder.path, began, others)

    async def _refresh_folder(self, path: str, began: Callable[[], None], others: OtherRefreshes) -> None:
        above = Folder(parent(path))
        has_been_refreshed = others.watch(above)
        fi_id = await self._ids.find(path)
        # Of a thousand new folders in a new one, most come while that one is being refreshed: it may show them all.
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
        raise CallFailed(f"{path}: Access Anywhere shows this folder, but cannot refresh it", code="not_found")

    async def _refresh_known(
        self, folder: Folder, fi_id: str, began: Callable[[], None], others: OtherRefreshes
    ) -> bool:
        """False if the folder is not there any more."""
        cost = self._costs.expected(folder)
        started = self._clock.monotonic()

        def on_began() -> None:
            nonlocal started
            started = self._clock.monotonic()
            began()

        try:
            is_empty = await self._client.refresh_folder(
                fi_id, began=on_began, slot=lambda: self._slots.slot(cost), expected=cost
            )
        except CallFailed as error:
            if error.code not in GONE:
                raise
            self._ids.forget(folder.path)
            return False
        self._ids.refreshed(fi_id)
        # Of the server's time alone: neither a slot's nor another folder's is waited for in between.
        self._costs.learn(folder, self._clock.monotonic() - started)
        if is_empty and is_below(folder.path, self._roots()):
            # `began` is not called: this says nothing of what appears in the folder itself from now on.
            await others.refresh(Folder(parent(folder.path)))
        return True

    async def _refresh_tree(self, tree: Folder, began: Callable[[], None], others: OtherRefreshes) -> None:
        began()
        started = self._clock.monotonic()
        failures: list[AccessAnywhereError] = []
        seen: set[str] = set()

        async def refresh_level(path: str) -> Iterable[str]:
            """Refresh one folder; returns the paths of its subfolders."""
            try:
                await others.refresh(Folder(path))
            except ONE_FOLDER_ERRORS as error:
                failures.append(error)
                if len(failures) == MAX_TREE_FAILURES:
                    raise
            # Each id once: a server may show folders within each other.
            below = {level: fi_id for level, fi_id in (await self._ids.below(path)).items() if fi_id not in seen}
            seen.update(below.values())
            return below

        await walk_tree(tree.path, refresh_level, most=self._slots.most)
        if failures:
            raise failures[0]
        self._costs.learn(tree, self._clock.monotonic() - started)


def folder_unknown(path: str) -> FolderUnknown:
    """The error, with its remedy."""
    return FolderUnknown(
        f"Access Anywhere has no folder {path!r}: check the spelling in the bucket mapping, that the provider is added "
        "and shows the bucket, and that the account may see it"
    )
