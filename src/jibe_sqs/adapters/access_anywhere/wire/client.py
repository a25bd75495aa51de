"""The functions of Access Anywhere that jibe-sqs uses.

Only `upload` writes, and only our own reports. jibe-sqs never changes the customer's data.
"""

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext

from jibe_sqs.adapters.access_anywhere.flow.circuit import Circuit
from jibe_sqs.adapters.access_anywhere.flow.concurrency import AdaptiveConcurrency
from jibe_sqs.adapters.access_anywhere.flow.patience import FirstPoll, Patience, unless_busy
from jibe_sqs.adapters.access_anywhere.flow.provider_limits import ProviderLimits
from jibe_sqs.adapters.access_anywhere.wire.answers import Item, Page, existing, page, refresh_state
from jibe_sqs.adapters.access_anywhere.wire.files import Download, Files
from jibe_sqs.adapters.access_anywhere.wire.reader import Answer
from jibe_sqs.adapters.access_anywhere.wire.session import Credentials, Renew, Session
from jibe_sqs.adapters.access_anywhere.wire.tasks import TaskList, task_list
from jibe_sqs.adapters.access_anywhere.wire.transport import BUDGET, NO_TOKEN, Transport
from jibe_sqs.adapters.access_anywhere.wire.tries import Tries
from jibe_sqs.core.errors import AnswerMalformed, CallFailed, RefreshTimedOut
from jibe_sqs.ports import Clock

GONE = frozenset({"not_found", "trashed"})
"""The codes for a file or folder that does not exist."""

PAGE = 1000

MAX_PAGES = 10_000
"""Pages of a folder that are read: ten million files, or a million if the server sends only 100 in each page."""

MAX_SUBFOLDERS_BYTES = 64 * 1024 * 1024
"""Memory of the subfolders of one folder: about 180,000 of them."""
ITEM_BYTES = 300
"""Memory of an item, without its name."""

LISTED_FIELDS = "filelist|fi_id|fi_pid|fi_name|fi_type|fi_size|fi_contenttype|fi_modified|fi_localtime|trash"
DETAILS = "|isbucket|fi_bname|fi_provider|fi_providerfolder"

SLOWEST_POLL = 2.0
"""Seconds between polls of a running refresh. A refresh that will probably take long is polled less often."""

SHORTEST_FIRST_POLL = 0.01
LONGEST_FIRST_POLL = 0.25
"""Seconds until the first poll. The durations of refreshes that take longer are remembered for each folder."""


def calls_at_once(concurrency: int) -> int:
    """How many calls may run at a time, if so many of them may be refreshes."""
    return concurrency + max(concurrency // 2, 1)


def nothing() -> None:
    """A `began` callback that does nothing."""


class AccessAnywhere:
    """A client. Every method raises only `AccessAnywhereError`s.

    `circuit` is the circuit breaker of all calls. `concurrency` has the slots for refreshes, and `provider_limits` those of
    single providers.
    """

    def __init__(
        self,
        transport: Transport,
        session: Session,
        files: Files,
        clock: Clock,
        *,
        circuit: Circuit,
        concurrency: AdaptiveConcurrency,
        provider_limits: ProviderLimits | None = None,
        refresh_timeout: float = 600.0,
    ) -> None:
        self.circuit = circuit
        self.concurrency = concurrency
        self.provider_limits = provider_limits or ProviderLimits(clock)
        self._transport = transport
        self._session = session
        self._files = files
        self._clock = clock
        self._refresh_timeout = refresh_timeout
        self._first_poll = FirstPoll(shortest=SHORTEST_FIRST_POLL, longest=LONGEST_FIRST_POLL)

    def change_limits(self, *, concurrency: int, calls_per_second: float | None) -> None:
        """Change how many refreshes may run at a time, and how many calls a second may be made."""
        self.concurrency.reconfigure(concurrency)
        self._transport.change_limits(at_once=calls_at_once(concurrency), calls_per_second=calls_per_second)

    def use(self, credentials: Credentials, renew: Renew | None = None) -> None:
        """Log in with these credentials from the next login on. `renew`: see `Session`."""
        self._session.use(credentials, renew)

    @property
    def calls(self) -> Counter[str]:
        """How many calls were sent, by function. Retries count."""
        return self._transport.calls

    @property
    def tries(self) -> Tries:
        """The outcomes and durations of the calls, by function."""
        return self._transport.tries

    @property
    def logins(self) -> Counter[str]:
        """How many logins were accepted (`ok`) and `refused`."""
        return self._session.logins

    @property
    def token_age(self) -> float | None:
        """Seconds since the token in use was issued. None without a token."""
        return self._session.token_age

    async def version(self, *, once: bool = False) -> str:
        """The server's name for its release. Needs no login. `once`: do not retry."""
        send = self._transport.call_once if once else self._transport.call
        answer = await send("getApplianceInfo", {"token": NO_TOKEN})
        return str(answer.get("softwareversionlabel") or "")

    async def call(self, function: str, parameters: Mapping[str, str]) -> Answer:
        """Call a function by its name: also one that only the operator's configuration names."""
        return await unless_busy(self._clock, lambda: self._session.call(function, parameters))

    async def check_path(self, path: str, *, within: str = "") -> Item | None:
        """The file or folder of that path, from the top or `within` the folder of that `fi_id`. Case does not matter.

        Returns None if Access Anywhere does not know it, or has it in the trash.
        """
        try:
            answer = await self.call("checkPathExists", {"path": path.removeprefix("/"), "pid": within})
        except CallFailed as error:
            if error.code in GONE:
                return None
            raise
        return existing(answer)

    async def list_folder(self, fi_id: str, *, details: bool = False) -> AsyncGenerator[Item, None]:
        """The files and folders in one folder, without those in the trash.

        With `details`, the items name their bucket and provider.
        """
        async for entry in self.list_everything(fi_id, LISTED_FIELDS + DETAILS if details else LISTED_FIELDS):
            if not entry.trashed:
                yield entry

    async def list_everything(self, fi_id: str, fields: str = LISTED_FIELDS) -> AsyncGenerator[Item, None]:
        """The files and folders in one folder, also those in the trash."""
        async for part in self._pages(fi_id, fields):
            for number, entry in enumerate(part.items):
                # One page may have all entries of the folder. Other tasks get their turn meanwhile.
                if number and not number % PAGE:
                    await asyncio.sleep(0)
                yield entry

    async def subfolders(self, fi_id: str) -> list[Item]:
        """Every folder in one folder, even if the folder changes while it is listed.

        Raises `AnswerMalformed` if they need more memory than `MAX_SUBFOLDERS_BYTES`.
        """
        found: dict[str, Item] = {}
        size = 0
        for _ in range(3):
            totals = set()
            async for part in self._pages(fi_id, LISTED_FIELDS):
                totals.add(part.total)
                new = {e.id: e for e in part.items if e.is_folder and not e.trashed and e.id not in found}
                size += sum(ITEM_BYTES + sys.getsizeof(entry.name) for entry in new.values())
                if size > MAX_SUBFOLDERS_BYTES:
                    raise AnswerMalformed(
                        f"folder {fi_id}: it has more folders than can be kept: more than {len(found):,}"
                    )
                found |= new
            # If an entry is removed between two pages, the later entries move by one and the next page misses one.
            if len(totals) <= 1:
                break
        return list(found.values())

    async def refresh_folder(
        self,
        fi_id: str,
        *,
        began: Callable[[], None] = nothing,
        slot: Callable[[], AbstractAsyncContextManager[object]] = nullcontext,
        expected: float = 0.0,
    ) -> bool:
        """Let the server read a folder from storage again, without the folders below it. Returns when it has done so.

        Calls `began` before each request that may start the refresh. Holds a `slot` from there to the end, but not while
        it waits to ask again. `expected`: how many seconds the refresh will probably take; fewer polls are then needed.
        Returns whether the folder is empty now. Raises `RefreshTimedOut`, and `CallFailed` with a code of `GONE` for a
        folder that does not exist any more.
        """
        patience = None
        while True:
            async with self.in_slot(slot):
                patience = patience or self._patience(first=0.1, factor=2.0)
                began()
                state = refresh_state(await self._ask_refresh(fi_id))
                if state.token:
                    return await self._refreshed(fi_id, state.token, expected)
            # "Refreshed recently" is not a refresh that began after this request, so the caller still waits for one.
            if not await patience.wait():
                raise RefreshTimedOut(
                    f"folder {fi_id}: for {self._refresh_timeout:g} s Access Anywhere has answered that it was refreshed "
                    "recently, and has not refreshed it again"
                )

    @asynccontextmanager
    async def in_slot(self, slot: Callable[[], AbstractAsyncContextManager[object]]) -> AsyncIterator[None]:
        """Hold a slot, but not while the server is down: slots are few then, and would be held for minutes.

        Raises `AccessAnywhereUnavailable` when the server has been down for as long as a call waits.
        """
        while True:
            await self.circuit.outlasted(BUDGET)
            async with slot():
                if not self.circuit.is_open:
                    yield
                    return

    async def background_tasks(self, *, kind: str, limit: int, status: str = "c,completed") -> TaskList:
        """The server's background tasks, running and finished: at most `limit` of them.

        `kind` is the exact `bt_type` (or `bt_subtype`) of the tasks. `status` lists the API's words for states, separated
        by commas: `a` queued, `w` working, `p` paused, `c` or `completed`.
        """
        wanted = {"typefilter": kind, "statusfilter": status, "limit": str(limit)}
        return task_list(await self.call("getUserBackgroundTasks", wanted))

    @asynccontextmanager
    async def download(self, fi_id: str) -> AsyncIterator[Download]:
        """A file, open for reading once: its `size`, and its bytes by `async for`.

        A failure before the first bytes is retried. A later failure raises `DownloadTruncated` in the reader.
        """
        async with self._files.download(fi_id) as download:
            yield download

    async def upload(self, folder_fi_id: str, name: str, body: bytes) -> Item:
        """Store a file in a folder. This is the only call that writes; it is for reports in their own folder."""
        return await self._files.upload(folder_fi_id, name, body)

    async def _refreshed(self, fi_id: str, token: str, expected: float) -> bool:
        first = self._first_poll.delay
        patience = self._patience(
            first=min(max(first, 0.1 * expected), SLOWEST_POLL),
            factor=1.5,
            head_start=min(0.7 * expected, self._refresh_timeout / 2),
        )
        learned = bool(expected)
        while await patience.wait():
            state = refresh_state(await self._ask_refresh(fi_id, refreshtoken=token))
            if not learned:
                learned = True
                (self._first_poll.came_too_early if state.syncing else self._first_poll.ended)(first)
            if not state.syncing:
                return state.empty
        raise RefreshTimedOut(
            f"folder {fi_id}: its refresh has not ended after {self._refresh_timeout:g} s; the folder is large, or the "
            "server is busy: raise the refresh timeout, or check the server's background tasks"
        )

    async def _ask_refresh(self, fi_id: str, **parameters: str) -> Answer:
        wanted = {"count": "1", "subfolders": "y", "options": "basic_fields", "refresh": "y", "refreshtype": "a"}
        return await self.call("getFolderContents", {"fi_pid": fi_id, **wanted, **parameters})

    async def _pages(self, fi_id: str, fields: str) -> AsyncIterator[Page]:
        wanted = {"count": str(PAGE), "subfolders": "y", "options": fields}
        start = 0
        begun: set[str] = set()
        while len(begun) < MAX_PAGES:
            part = page(await self.call("getFolderContents", {"fi_pid": fi_id, **wanted, "from": str(start)}))
            first = part.items[0].id if part.items else ""
            if first in begun:
                raise AnswerMalformed(f"folder {fi_id}: Access Anywhere answers the same page again and again")
            begun.add(first)
            yield part
            start += len(part.items)
            is_last = len(part.items) < PAGE if part.total is None else start >= part.total
            if is_last or not part.items:
                return
        raise AnswerMalformed(f"folder {fi_id}: its list has no end after {MAX_PAGES:,} pages and {start:,} entries")

    def _patience(self, *, first: float, factor: float, head_start: float = 0.0) -> Patience:
        return Patience(
            self._clock,
            first=first,
            longest=SLOWEST_POLL,
            factor=factor,
            budget=self._refresh_timeout,
            head_start=head_start,
        )
