"""After any changes and any faults, the index equals storage. In virtual time.

The real client, target and refreshes run against the sandbox's server. Its faults begin and end while objects are written
and deleted. Each change is a message, which refreshes its folders and is delivered again if that failed.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import httpx
import msgspec
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from tests.clocks import EPOCH, VirtualClock, virtually
from tests.examples import expensive
from tests.over_httpx import over_httpx

from jibe_sqs.adapters.access_anywhere import AccessAnywhere, RefreshTarget, connect
from jibe_sqs.adapters.ledgers.memory import MemoryLedger
from jibe_sqs.core.decisions import Decisions, Place
from jibe_sqs.core.errors import LoginFailed
from jibe_sqs.core.model import Folder, Kind, ObjectEvent
from jibe_sqs.core.model import Refresh as Stale
from jibe_sqs.sandbox.access_anywhere import (
    AccessAnywhereServer,
    Down,
    ErrorBackground,
    ExpiredTokens,
    Faults,
    FoldersTooLarge,
    InProcess,
    MemoryStorage,
    Provider,
    Resets,
    ServerError,
    Slow,
    SyncInProgress,
    TooManyRequests,
    create_app,
)
from jibe_sqs.syncing.pace import Costs
from jibe_sqs.syncing.refreshes import Refreshes

TURN = 1e-6
"""Seconds for each turn of the event loop. `VirtualLoop` gives the reason."""

PROVIDERS = (
    Provider("S3", buckets=("data", "other")),
    Provider("Team", buckets=("data",), is_bucket=True, prefix="a/"),
)
PLACES: Mapping[str, tuple[Place, ...]] = {
    "data": (Place("/S3/data"), Place("/Team", "a/")),
    "other": (Place("/S3/other"),),
}


@pytest.fixture(autouse=True)
def _no_logs():
    with structlog.testing.capture_logs():
        yield


# Time


class Ticking:
    """The server's clock. It never returns the same time twice, although virtual time may stand still."""

    def __init__(self) -> None:
        self._last = 0.0

    def __call__(self) -> float:
        self._last = max(self._last + 1e-6, VirtualClock().now())
        return self._last


# Steps


@dataclass(frozen=True)
class Change:
    """Deletes an object that exists, or overwrites it if `overwrites`; writes one that does not exist.

    `unlisted`: the event names no key. `pause`: seconds until the next step.
    """

    bucket: str
    key: str
    overwrites: bool = False
    unlisted: bool = False
    pause: float = 0.0


@dataclass(frozen=True)
class Wait:
    seconds: float


@dataclass(frozen=True)
class Abandon:
    """The handling of a message is cancelled. The message is delivered again at the end."""


Step = Change | Wait | Abandon | Faults


@dataclass(frozen=True)
class Setting:
    """The settings of a world. If `case_insensitive`, no two names differ only in case."""

    concurrency: int
    min_interval: float
    tree_interval: float
    recent_window: float
    refresh_seconds: float
    case_insensitive: bool
    calls_per_second: float | None


settings_of_worlds = st.builds(
    Setting,
    concurrency=st.integers(1, 16),
    min_interval=st.sampled_from([0.0, 5.0]),
    tree_interval=st.sampled_from([0.0, 30.0]),
    recent_window=st.sampled_from([0.0, 0.5, 3.0]),
    refresh_seconds=st.sampled_from([0.0, 0.05, 2.0]),
    case_insensitive=st.booleans(),
    calls_per_second=st.sampled_from([None, 40.0]),
)


def keys(*, case_insensitive: bool) -> st.SearchStrategy[str]:
    """Keys with unusual names too: empty, not ASCII, or different only in case; and folder markers."""
    names = st.sampled_from(["a", "b", "", "c d", "ä/ß", "日本%2F"] + ([] if case_insensitive else ["A", "Ä", "B"]))
    return st.lists(names, min_size=1, max_size=5).map("/".join).filter(bool)


rates = st.sampled_from([0.1, 0.25, 0.4])


def modes(of: type, **values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | st.builds(of, rate=rates, **values)


faults = st.one_of(
    st.just(Faults()),
    st.builds(Faults, seed=st.integers(0, 99), failures=st.floats(0.05, 0.4)),
    st.builds(Faults, down=st.builds(Down, seconds=st.floats(1, 60), reset=st.booleans())),
    st.builds(
        Faults,
        seed=st.integers(0, 99),
        slow=modes(Slow, seconds=st.sampled_from([0.2, 5.0, 20.0])),
        too_many_requests=modes(TooManyRequests, retry_after=st.sampled_from([None, 0, 3, 20])),
        server_error=modes(ServerError, retry_after=st.sampled_from([None, 2])),
        resets=modes(Resets),
        error_background=modes(ErrorBackground),
        expired_tokens=modes(ExpiredTokens),
        folders_too_large=modes(FoldersTooLarge, most=st.integers(0, 3), refuse=st.booleans()),
        sync_in_progress=st.none() | st.builds(SyncInProgress, providers=st.sampled_from([(), ("S3",), ("Team",)])),
    ),
)


@st.composite
def histories(draw: st.DrawFn) -> tuple[Setting, list[tuple[str, str]], list[Step]]:
    """A world, its first objects, and the steps that follow."""
    setting = draw(settings_of_worlds)
    buckets, names = st.sampled_from(["data", "data", "other"]), keys(case_insensitive=setting.case_insensitive)
    before = draw(st.lists(st.tuples(buckets, names), max_size=8))
    known = st.sampled_from(before) if before else st.tuples(buckets, names)
    changes = st.builds(
        lambda at, overwrites, unlisted, pause: Change(*at, overwrites, unlisted == 9, pause),
        st.tuples(buckets, names) | known | known,
        st.booleans(),
        st.integers(0, 9),
        st.sampled_from([0.0, 0.0, 0.02, 0.06, 0.5, 2.5]),
    )
    kinds: list[st.SearchStrategy[Step]] = [
        *[changes] * 6,
        *[faults] * 2,
        st.sampled_from([0.01, 0.3, 4.0, 31.0]).map(Wait),
        st.just(Abandon()),
    ]
    # Not `one_of`: it would make each kind of fault as likely as a change.
    return setting, before, draw(st.lists(st.sampled_from(kinds).flatmap(lambda kind: kind), min_size=5, max_size=25))


# The world


@dataclass
class World:
    storage: MemoryStorage
    client: AccessAnywhere
    refreshes: Refreshes
    http: httpx.AsyncClient
    again: set[Folder] = field(default_factory=set)
    """The folders of messages that are delivered again."""
    changed: dict[tuple[str, str], int] = field(default_factory=dict)
    """The number of each object's last change."""

    def __post_init__(self) -> None:
        self._numbers = itertools.count(1)
        self._decisions = Decisions(PLACES)

    def change(self, change: Change) -> tuple[Folder, ...]:
        """Make the change. Returns the folders that it makes stale."""
        number = next(self._numbers)
        is_there = change.key in self.storage.objects(change.bucket)
        self.changed[change.bucket, change.key] = number
        if is_there and not change.overwrites:
            self.storage.delete(change.bucket, change.key)
        else:
            self.storage.put(change.bucket, change.key, str(number).encode())
        kind = Kind.DELETED if is_there and not change.overwrites else Kind.WRITTEN
        if change.unlisted:
            kind = Kind.DELETED_UNLISTED
        event = ObjectEvent(
            kind=kind, bucket=change.bucket, key="" if change.unlisted else change.key, time=EPOCH, event_id=str(number)
        )
        decision = self._decisions.decide(event)
        assert isinstance(decision, Stale)
        return decision.folders

    async def message(self, folders: Iterable[Folder]) -> None:
        """Handle a message. Each folder that is refreshed without an error must be true."""
        asked = next(self._numbers)
        try:
            errors = await self.refreshes.done(folders)
        except asyncio.CancelledError:
            self.again.update(folders)
            raise
        if errors:
            self.again.update(folders)
            return
        shown = await self.shown()
        # A later change may be in the index, or not, or in part.
        unsettled = self.expected([at for at, number in self.changed.items() if number > asked], also_deleted=True)
        true = self.expected(
            [(bucket, key) for bucket in PLACES for key in self.storage.objects(bucket)], also_deleted=False
        )
        for folder in folders:
            assert covered(folder, shown, unsettled) == covered(folder, true, unsettled), folder

    def expected(self, objects: Iterable[tuple[str, str]], *, also_deleted: bool) -> dict[str, str]:
        """The etags of the objects by the paths where Access Anywhere must show them. A marker shows only as its folder."""
        found = {}
        for bucket, key in objects:
            stored = self.storage.objects(bucket).get(key)
            for place in PLACES[bucket]:
                if key.startswith(place.prefix) and not key.endswith("/") and (stored or also_deleted):
                    found[f"{place.folder}/{key.removeprefix(place.prefix)}"] = stored.etag if stored else ""
        return found

    async def shown(self) -> dict[str, str]:
        """The etags in the index, by path."""
        return {file["path"]: file["etag"] for file in (await self.http.get("/sandbox/index")).json()}

    async def folders(self) -> set[str]:
        """The paths of all folders that are listed, from the mapped folders down."""
        found = set()
        tops = [place.folder for places in PLACES.values() for place in places]
        waiting = [(path, (await self.client.check_path(path)).id) for path in tops]
        while waiting:
            path, fi_id = waiting.pop()
            found.add(path)
            waiting += [(f"{path}/{item.name}", item.id) for item in await self.client.subfolders(fi_id)]
        return found

    async def set_faults(self, wanted: Faults) -> None:
        (await self.http.put("/sandbox/faults", content=msgspec.json.encode(wanted))).raise_for_status()


def folders_of(objects: Iterable[tuple[str, str]]) -> set[str]:
    """The paths of the mapped folders and of the folders that contain these objects."""
    found = {place.folder for places in PLACES.values() for place in places}
    for bucket, key in objects:
        for place in PLACES[bucket]:
            if key.startswith(place.prefix):
                names = key.removeprefix(place.prefix).split("/")[:-1]
                found |= {"/".join([place.folder, *names[: n + 1]]) for n in range(len(names))}
    return found


def covered(folder: Folder, files: Mapping[str, str], unsettled: Mapping[str, str]) -> dict[str, str]:
    """The files that a refresh of the folder makes true, without the unsettled ones."""

    def is_covered(path: str) -> bool:
        return path.startswith(f"{folder.path}/") if folder.tree else path.rpartition("/")[0] == folder.path

    return {path: etag for path, etag in files.items() if is_covered(path) and path not in unsettled}


@asynccontextmanager
async def a_world(setting: Setting) -> AsyncIterator[World]:
    clock, ticking = VirtualClock(), Ticking()
    storage = MemoryStorage(PLACES.keys(), clock=ticking)
    config = AccessAnywhereServer(
        login="jibe",
        password="p",
        permanent_token="permanent",
        providers=PROVIDERS,
        recent_window=setting.recent_window,
        refresh_seconds=setting.refresh_seconds,
        case_insensitive=setting.case_insensitive,
    )
    app = InProcess(create_app(config, storage, clock=ticking))
    async with (
        httpx.AsyncClient(transport=app, base_url="http://aa") as http,
        connect(
            endpoint="http://aa",
            permanent_token="permanent",
            concurrency=setting.concurrency,
            calls_per_second=setting.calls_per_second,
            clock=clock,
            origin_of=over_httpx(app),
        ) as client,
    ):
        roots = [place.folder for places in PLACES.values() for place in places]
        costs = Costs()
        target = RefreshTarget(client, roots=lambda: roots, clock=clock, slots=client.concurrency, costs=costs)
        refreshes = Refreshes(
            target=target,
            ledger=MemoryLedger(),
            clock=clock,
            min_interval=setting.min_interval,
            tree_interval=setting.tree_interval,
            costs=costs,
        )
        yield World(storage, client, refreshes, http)


async def run_history(setting: Setting, before: Iterable[tuple[str, str]], steps: Iterable[Step]) -> None:
    async with a_world(setting) as world:
        for bucket, key in dict.fromkeys(before):
            world.storage.put(bucket, key, b"before")
        roots = {Folder(place.folder, tree=True) for places in PLACES.values() for place in places}
        await world.message(roots)
        assert not world.again
        messages: list[asyncio.Task[None]] = []
        for step in steps:
            match step:
                case Change():
                    messages.append(asyncio.create_task(world.message(world.change(step))))
                    # A task that is cancelled before its first step runs no code, so it cannot do this itself.
                    await asyncio.sleep(step.pause)
                case Wait(seconds):
                    await asyncio.sleep(seconds)
                case Abandon():
                    for message in messages[-1:]:
                        message.cancel()
                case Faults():
                    await world.set_faults(step)
        await asyncio.sleep(1)
        await world.set_faults(Faults())
        for outcome in await asyncio.gather(*messages, return_exceptions=True):
            if isinstance(outcome, BaseException) and not isinstance(outcome, asyncio.CancelledError):
                raise outcome
        again, world.again = world.again, set()
        await world.message(again)
        assert not world.again
        # Abandoned refreshes and the server's own tasks end.
        await asyncio.sleep(600)
        everything = [(bucket, key) for bucket in PLACES for key in world.storage.objects(bucket)]
        assert await world.shown() == world.expected(everything, also_deleted=False)
        assert await world.folders() == folders_of(everything)
        assert not world.refreshes.pending()
        assert not world.client.circuit.is_open
        slots = world.client.concurrency
        assert (slots.running, slots.waiting) == (0, 0)
        assert asyncio.all_tasks() == {asyncio.current_task()}


@expensive(100)
@given(histories())
def test_after_any_changes_and_any_faults_the_index_equals_storage(history):
    virtually(run_history(*history), turn=TURN)


async def many_calls_lose_tokens() -> None:
    async with a_world(Setting(16, 0.0, 0.0, 0.0, 0.0, case_insensitive=False, calls_per_second=None)) as world:
        await world.set_faults(Faults(expired_tokens=ExpiredTokens(rate=0.05), slow=Slow(seconds=0.05)))
        places = asyncio.Semaphore(16)

        async def look() -> None:
            async with places:
                assert await world.client.check_path("/S3/data")

        await asyncio.gather(*(look() for _ in range(600)))


def test_sixteen_calls_at_a_time_succeed_although_every_twentieth_loses_the_token():
    """All calls share the token, so every second call is refused, and many calls more than once."""
    virtually(many_calls_lose_tokens(), turn=TURN)


async def one_function_is_refused_with_every_token() -> None:
    refused = 0

    def handle(request: httpx.Request) -> httpx.Response:
        nonlocal refused
        form = dict(parse_qsl(request.content.decode()))
        if form["function"] == "forbidden":
            refused += 1
            return httpx.Response(200, json={"status": "login_fail"})
        return httpx.Response(200, json={"status": "ok", "token": f"{refused}", "exists": "n"})

    async with connect(
        endpoint="http://aa",
        permanent_token="p",
        clock=VirtualClock(),
        origin_of=over_httpx(httpx.MockTransport(handle)),
    ) as client:

        async def look() -> None:
            while True:
                await client.check_path("/a")
                await asyncio.sleep(0.001)

        others = asyncio.create_task(look())
        with pytest.raises(LoginFailed, match="role"):
            await client.call("forbidden", {})
        others.cancel()
    assert refused <= 20


def test_a_call_that_is_refused_with_each_token_fails_although_other_calls_succeed():
    virtually(one_function_is_refused_with_every_token(), turn=TURN)
