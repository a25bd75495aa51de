"""The functions of Access Anywhere that jibe-sqs uses. None of them writes: the customer's data is not ours to touch."""

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, nullcontext

from jibe_sqs.adapters.access_anywhere.answers import Answer, Item, Page, existing, page, refresh_state
from jibe_sqs.adapters.access_anywhere.session import Session
from jibe_sqs.adapters.access_anywhere.transport import Transport
from jibe_sqs.adapters.access_anywhere.waits import Patience
from jibe_sqs.core.errors import CallFailed, RefreshTimedOut
from jibe_sqs.ports import Clock

TOP = "0"
"""The `fi_id` of `/`."""

GONE = frozenset({"not_found", "trashed"})
"""The codes that say that a file or folder is not there."""

BUSY = "error_background"
BUSY_BUDGET = 120.0

PAGE = 1000
LISTED_FIELDS = "filelist|fi_id|fi_pid|fi_name|fi_type|fi_size|fi_contenttype|fi_modified|fi_localtime|trash"


def nothing() -> None:
    """For callers who need not know when a refresh begins."""


class AccessAnywhere:
    """A client. Every method raises only `AccessAnywhereError`s."""

    def __init__(self, transport: Transport, session: Session, clock: Clock, *, refresh_timeout: float = 600.0) -> None:
        self._transport = transport
        self._session = session
        self._clock = clock
        self._refresh_timeout = refresh_timeout

    @property
    def calls(self) -> Counter[str]:
        """How many calls were sent, by function."""
        return self._transport.calls

    async def version(self) -> str:
        """The server's name for its release; needs no login."""
        answer = await self._transport.call("getApplianceInfo", {"token": "*"})
        return str(answer.get("softwareversionlabel") or "")

    async def check_path(self, path: str, *, within: str = "") -> Item | None:
        """The file or folder of that path, from the top or `within` the folder of that `fi_id`; case does not matter.

        None for one that Access Anywhere does not know, or holds in the trash.
        """
        try:
            answer = await self._call("checkPathExists", path=path.removeprefix("/"), pid=within)
        except CallFailed as error:
            if error.code in GONE:
                return None
            raise
        return existing(answer)

    async def list_folder(self, fi_id: str) -> AsyncIterator[Item]:
        """Files and folders of one folder, what is in the trash left out."""
        async for part in self._pages(fi_id):
            for entry in part.items:
                if not entry.trashed:
                    yield entry

    async def subfolders(self, fi_id: str) -> list[Item]:
        """Every folder in one folder, also when the folder changes while it is listed."""
        found: dict[str, Item] = {}
        for _ in range(3):
            totals = set()
            async for part in self._pages(fi_id):
                totals.add(part.total)
                found |= {entry.id: entry for entry in part.items if entry.is_folder and not entry.trashed}
            # A removal shifts what follows by one: between two pages, something slips through.
            if len(totals) <= 1:
                break
        return list(found.values())

    async def refresh_folder(
        self,
        fi_id: str,
        *,
        began: Callable[[], None] = nothing,
        slot: AbstractAsyncContextManager[object] | None = None,
    ) -> bool:
        """Have a folder, not those below it, read anew from storage; returns when that is done.

        Calls `began` before each request that may start the refresh. Holds `slot` from there to the end, but not while
        waiting to ask again. Returns whether the folder turned out to be empty. Raises `RefreshTimedOut`; `CallFailed` with a code of `GONE` for a folder that is no more.
        """
        slot = slot or nullcontext()
        patience = None
        while True:
            async with slot:
                patience = patience or self._patience(first=0.1, factor=2.0)
                began()
                state = refresh_state(await self._ask_refresh(fi_id))
                if state.token:
                    return await self._refreshed(fi_id, state.token)
            # "Refreshed recently" is no refresh that began after we asked: whoever waits for one still waits.
            if not await patience.wait():
                raise RefreshTimedOut(
                    f"folder {fi_id}: for {self._refresh_timeout:g} s Access Anywhere has said that it was refreshed "
                    "recently, and has not refreshed it again"
                )

    async def _refreshed(self, fi_id: str, token: str) -> bool:
        patience = self._patience(first=0.05, factor=1.5)
        while await patience.wait():
            state = refresh_state(await self._ask_refresh(fi_id, refreshtoken=token))
            if not state.syncing:
                return state.empty
        raise RefreshTimedOut(
            f"folder {fi_id}: its refresh has not ended after {self._refresh_timeout:g} s; it is large, or the server "
            "is busy: raise the refresh timeout, or look at the server's background tasks"
        )

    async def _ask_refresh(self, fi_id: str, **parameters: str) -> Answer:
        return await self._call(
            "getFolderContents",
            fi_pid=fi_id,
            count="1",
            subfolders="y",
            options="basic_fields",
            refresh="y",
            refreshtype="a",
            **parameters,
        )

    async def _pages(self, fi_id: str) -> AsyncIterator[Page]:
        start = 0
        while True:
            part = page(
                await self._call(
                    "getFolderContents",
                    fi_pid=fi_id,
                    count=str(PAGE),
                    subfolders="y",
                    options=LISTED_FIELDS,
                    **{"from": str(start)},
                )
            )
            yield part
            start += len(part.items)
            is_last = len(part.items) < PAGE if part.total is None else start >= part.total
            if is_last or not part.items:
                return

    async def _call(self, function: str, **parameters: str) -> Answer:
        patience = Patience(self._clock, first=1.0, longest=30.0, factor=2.0, budget=BUSY_BUDGET)
        while True:
            try:
                return await self._session.call(function, **parameters)
            except CallFailed as error:
                # A task of the server's own is in the way: nothing is wrong, it takes a while.
                if error.code != BUSY or not await patience.wait():
                    raise

    def _patience(self, *, first: float, factor: float) -> Patience:
        return Patience(self._clock, first=first, longest=2.0, factor=factor, budget=self._refresh_timeout)
