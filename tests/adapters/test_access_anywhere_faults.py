"""The client and its refreshes against the sandbox's server, while the server fails in each of its ways.

In virtual time, so that no test depends on the load of the machine. What only a connection can do is tested over a socket.
"""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import msgspec
import pytest
import structlog
from tests.clocks import VirtualClock, in_virtual_time
from tests.over_httpx import over_httpx

from jibe_sqs.adapters.access_anywhere import AccessAnywhere, Providers, RefreshTarget, connect
from jibe_sqs.adapters.ledgers.memory import MemoryLedger
from jibe_sqs.core.errors import AccessAnywhereUnavailable, CallFailed, DownloadTruncated, JibeError, LoginFailed
from jibe_sqs.core.model import Folder
from jibe_sqs.ports import Clock
from jibe_sqs.sandbox.access_anywhere import (
    AccessAnywhereServer,
    Down,
    ErrorBackground,
    ExpiredTokens,
    Faults,
    FoldersTooLarge,
    MemoryStorage,
    Provider,
    Resets,
    ServerError,
    Slow,
    Synced,
    SyncInProgress,
    TooManyRequests,
    TruncatedDownloads,
    create_app,
    serving,
)
from jibe_sqs.sandbox.access_anywhere.in_process import InProcess
from jibe_sqs.syncing.pace import Costs
from jibe_sqs.syncing.refreshes import Refreshes

ROOT = "/S3/data"
SYNCED = Synced(began=1_700_000_000.0, ended=1_700_000_100.0)


@pytest.fixture(autouse=True)
def logged():
    with structlog.testing.capture_logs() as found:
        yield found


@dataclass
class FastClock:
    """A clock that runs faster than the system's: a wait of 20 s takes one."""

    times: float = 20.0

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic() * self.times

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self.times)


@dataclass
class World:
    storage: MemoryStorage
    client: AccessAnywhere
    refreshes: Refreshes
    http: httpx.AsyncClient
    changes: Iterator[int] = field(default_factory=itertools.count)

    async def set_faults(self, wanted: Faults) -> None:
        (await self.http.put("/sandbox/faults", content=msgspec.json.encode(wanted))).raise_for_status()

    async def clear(self) -> None:
        await self.set_faults(Faults())

    async def stats(self) -> dict[str, Any]:
        return (await self.http.get("/sandbox/stats")).json()

    async def fault_count(self, kind: str) -> int:
        return (await self.stats())["faults"].get(kind, 0)

    async def is_true(self) -> bool:
        """Whether the index shows exactly the stored objects."""
        shown = {file["key"]: file["etag"] for file in (await self.http.get("/sandbox/index")).json()}
        return shown == {key: stored.etag for key, stored in self.storage.objects("data").items()}

    def change(self, folders: int = 10) -> list[Folder]:
        """Write an object in each of so many folders, and one at the top. Returns the stale folders."""
        for folder in [*(f"f{n:02}/" for n in range(folders)), ""]:
            self.storage.put("data", f"{folder}{next(self.changes)}")
        return [Folder(ROOT), *(Folder(f"{ROOT}/f{n:02}") for n in range(folders))]

    def asked(self, folders: Iterable[Folder]) -> "asyncio.Task[list[JibeError]]":
        return asyncio.create_task(self.refreshes.done(folders))

    async def recovered(self) -> bool:
        """Make one call. Returns whether the full number of refreshes may run again."""
        await self.client.version()
        return self.client.concurrency.limit == self.client.concurrency.most

    async def until(self, holds: Callable[[], Any]) -> None:
        """Wait until the condition holds. It may be a coroutine function."""
        async with asyncio.timeout(600):
            while not (await found if asyncio.iscoroutine(found := holds()) else found):
                await asyncio.sleep(0.005)

    async def until_faults(self, kind: str, times: int = 1) -> None:
        async def has_happened() -> bool:
            return await self.fault_count(kind) >= times

        await self.until(has_happened)


def now() -> float:
    return VirtualClock().monotonic()


@asynccontextmanager
async def a_world(*, concurrency: int = 8) -> AsyncIterator[World]:
    """A true index, in virtual time: the server runs in the test's event loop."""
    clock = ticking()
    storage = new_storage(clock)
    app = InProcess(create_app(CONFIG, storage, clock=clock))
    async with (
        httpx.AsyncClient(transport=app, base_url="http://aa") as http,
        connect(
            endpoint="http://aa",
            permanent_token="permanent",
            concurrency=concurrency,
            clock=VirtualClock(),
            origin_of=over_httpx(app),
        ) as client,
        refreshing(storage, client, http, VirtualClock()) as world,
    ):
        yield world


@asynccontextmanager
async def a_world_over_a_socket() -> AsyncIterator[World]:
    """A true index, in a server with a socket. Its waits take real time, so its tests wait for conditions alone."""
    clock, storage = FastClock(), new_storage(time.time)
    with serving(create_app(CONFIG, storage)) as url:
        async with (
            httpx.AsyncClient(base_url=url) as http,
            connect(endpoint=url, permanent_token="permanent", clock=clock) as client,
            refreshing(storage, client, http, clock) as world,
        ):
            yield world


CONFIG = AccessAnywhereServer(
    login="jibe",
    password="p",
    permanent_token="permanent",
    recent_window=0,
    refresh_seconds=0,
    providers=(Provider("S3", buckets=("data",), synced=SYNCED),),
)


def ticking() -> Callable[[], float]:
    """A server's clock in virtual time. It never shows the same moment twice."""
    ticks = itertools.count()
    return lambda: VirtualClock().now() + 1e-6 * next(ticks)


def new_storage(clock: Callable[[], float]) -> MemoryStorage:
    return MemoryStorage({"data": {f"f{n:02}/first": b"" for n in range(10)}}, clock=clock)


@asynccontextmanager
async def refreshing(
    storage: MemoryStorage, client: AccessAnywhere, http: httpx.AsyncClient, clock: Clock
) -> AsyncIterator[World]:
    costs = Costs()
    target = RefreshTarget(client, roots=lambda: [ROOT], clock=clock, slots=client.concurrency, costs=costs)
    refreshes = Refreshes(target=target, ledger=MemoryLedger(), clock=clock, costs=costs)
    world = World(storage, client, refreshes, http)
    assert await refreshes.done([Folder(ROOT, tree=True)]) == []
    assert await world.is_true()
    try:
        yield world
        assert not refreshes.pending()
        assert (client.concurrency.running, client.concurrency.waiting) == (0, 0)
    finally:
        await refreshes.stop()


def opened(logged: list[Any]) -> int:
    """How many times the circuit has opened."""
    return sum(event["event"] == "circuit_opened" for event in logged)


# Slow


@in_virtual_time
async def test_slow_calls_halve_the_concurrency_and_fast_calls_restore_it(logged):
    async with a_world() as world:
        for _ in range(40):
            await world.client.check_path(ROOT)
        await world.until(world.recovered)
        await world.set_faults(Faults(slow=Slow(seconds=8)))
        stale = world.asked(world.change())

        async def is_halved() -> bool:
            await asyncio.gather(*(world.client.check_path(ROOT) for _ in range(8)))
            return world.client.concurrency.limit <= 4

        await world.until(is_halved)
        await world.clear()
        assert await stale == []
        assert await world.is_true()
        await world.until(world.recovered)
        assert not opened(logged)


# Refusals and failures


@in_virtual_time
async def test_too_many_requests_cost_tries_and_concurrency_but_fail_no_refresh(logged):
    async with a_world() as world:
        await world.set_faults(Faults(too_many_requests=TooManyRequests(rate=0.3)))
        while await world.fault_count("too_many_requests") <= 5:
            assert await world.refreshes.done(world.change()) == []
            assert await world.is_true()
        assert any(event["event"] == "concurrency_reduced" for event in logged)
        await world.clear()
        await world.until(world.recovered)
        assert not opened(logged)


@in_virtual_time
async def test_a_server_that_always_answers_429_does_not_count_as_down_and_the_refresh_fails(logged):
    async with a_world() as world:
        await world.set_faults(Faults(too_many_requests=TooManyRequests()))
        errors = await world.refreshes.done(world.change())
        assert errors
        assert all(isinstance(error, AccessAnywhereUnavailable) and "429" in str(error) for error in errors)
        assert world.client.concurrency.limit == 1
        assert not opened(logged)
        await world.clear()
        assert await world.refreshes.done(world.change()) == []
        assert await world.is_true()


@pytest.mark.parametrize(
    ("kind", "faults"),
    [
        ("too_many_requests", Faults(too_many_requests=TooManyRequests(retry_after=5))),
        ("server_error", Faults(server_error=ServerError(retry_after=5))),
    ],
)
@in_virtual_time
async def test_no_call_is_retried_before_the_retry_after(logged, kind, faults):
    async with a_world() as world:
        await world.set_faults(faults)
        began = now()
        stale = world.asked([Folder(ROOT)])
        # Only a 503 has a Retry-After, and it is the third of the server's errors.
        await world.until_faults(kind, 1 if kind == "too_many_requests" else 3)
        await world.clear()
        assert await stale == []
        assert now() - began >= 5
        assert [event["retry_in"] for event in logged if event["event"] == "access_anywhere_retry"][-1] == 5


@in_virtual_time
async def test_a_long_retry_after_opens_the_circuit_and_no_call_is_sent_before_its_end(logged):
    async with a_world() as world:
        await world.set_faults(Faults(too_many_requests=TooManyRequests(retry_after=30)))
        stale = world.asked(world.change())
        await world.until(lambda: world.client.circuit.is_open)
        # The calls that were under way end.
        await world.until(lambda: world.client.concurrency.running + world.client.concurrency.waiting > 0)
        await world.clear()
        await asyncio.sleep(2)
        sent = world.client.calls.total()
        await asyncio.sleep(27)
        assert world.client.circuit.is_open
        assert world.client.calls.total() == sent
        assert await stale == []
        assert not world.client.circuit.is_open
        assert await world.is_true()


@pytest.mark.parametrize(
    ("kind", "faults"),
    [
        ("server_error", Faults(server_error=ServerError(rate=0.3))),
        ("server_error", Faults(server_error=ServerError(rate=0.3, retry_after=1))),
        ("resets", Faults(resets=Resets(rate=0.3))),
    ],
)
@in_virtual_time
async def test_occasional_failures_before_or_after_the_effect_are_retried(logged, kind, faults):
    async with a_world() as world:
        await world.set_faults(faults)
        # The statuses, before and after the effect, come in turns.
        while await world.fault_count(kind) < 8:
            assert await world.refreshes.done(world.change()) == []
            assert await world.is_true()
        await world.clear()
        await world.until(world.recovered)
        await world.until(lambda: not world.client.circuit.is_open)


@in_virtual_time
async def test_failures_of_every_kind_in_a_fifth_of_the_calls_fail_no_refresh():
    async with a_world() as world:
        await world.set_faults(Faults(failures=0.2))
        kinds = {"too_many_requests", "server_error", "resets", "error_background", "expired_tokens"}
        while not kinds <= (await world.stats())["faults"].keys():
            assert await world.refreshes.done(world.change()) == []
            assert await world.is_true()


# Busy


@in_virtual_time
async def test_refreshes_wait_for_a_busy_server_which_does_not_count_as_overloaded_or_down(logged):
    async with a_world() as world:
        await world.set_faults(Faults(error_background=ErrorBackground()))
        stale = world.asked(world.change())
        await world.until_faults("error_background", 5)
        assert not stale.done()
        await world.clear()
        assert await stale == []
        assert await world.is_true()
        assert not opened(logged)
        assert not any(event["event"] == "access_anywhere_retry" for event in logged)


@in_virtual_time
async def test_a_refresh_fails_after_two_minutes_of_a_busy_server():
    async with a_world() as world:
        await world.set_faults(Faults(error_background=ErrorBackground()))
        (error,) = await world.refreshes.done([Folder(ROOT)])
        assert isinstance(error, CallFailed)
        assert error.code == "error_background"


# Tokens


@in_virtual_time
async def test_sixteen_calls_at_a_time_survive_that_every_twentieth_loses_the_token():
    async with a_world(concurrency=16) as world:
        await world.set_faults(Faults(expired_tokens=ExpiredTokens(rate=0.05)))
        while await world.fault_count("expired_tokens") <= 3:
            assert all(await asyncio.gather(*(world.client.check_path(ROOT) for _ in range(60))))
            assert await world.refreshes.done(world.change()) == []
            assert await world.is_true()


@in_virtual_time
async def test_refreshes_fail_with_a_failed_login_while_all_tokens_are_refused(logged):
    async with a_world() as world:
        await world.set_faults(Faults(expired_tokens=ExpiredTokens()))
        errors = await world.refreshes.done(world.change(2))
        assert errors
        assert all(isinstance(error, LoginFailed) and "role" in str(error) for error in errors)
        await world.clear()
        assert await world.refreshes.done(world.change()) == []
        assert await world.is_true()
        assert not opened(logged)


# Folders too large


@in_virtual_time
async def test_a_folder_that_is_too_large_does_not_block_the_other_folders():
    async with a_world() as world:
        for n in range(30):
            world.storage.put("data", f"f00/{n}")
        stale = world.change()
        await world.set_faults(Faults(folders_too_large=FoldersTooLarge(most=25, refuse=True)))
        results = await asyncio.gather(*(world.refreshes.done([folder]) for folder in stale))
        failed = {folder.path: errors for folder, errors in zip(stale, results, strict=True) if errors}
        assert failed.keys() == {f"{ROOT}/f00"}
        (error,) = failed[f"{ROOT}/f00"]
        assert isinstance(error, CallFailed)
        assert error.code == "folder_too_large"
        await world.clear()
        assert await world.refreshes.done([Folder(f"{ROOT}/f00")]) == []
        assert await world.is_true()


@in_virtual_time
async def test_the_other_folders_are_refreshed_while_one_takes_long():
    async with a_world(concurrency=2) as world:
        for n in range(30):
            world.storage.put("data", f"f00/{n}")
        stale = world.change()
        await world.set_faults(Faults(folders_too_large=FoldersTooLarge(most=25, seconds_per_thousand=500)))
        large = world.asked([Folder(f"{ROOT}/f00")])
        assert await world.refreshes.done(folder for folder in stale if folder.path != f"{ROOT}/f00") == []
        assert not large.done()
        assert await large == []
        assert await world.is_true()


# Syncs


@in_virtual_time
async def test_refreshes_go_on_during_a_sync_and_the_last_complete_sync_counts_until_its_end():
    async with a_world() as world:
        providers = Providers(world.client)
        before = await providers.synced(["S3"])
        assert SYNCED.began - 120 < before["S3"] <= SYNCED.began
        await world.set_faults(Faults(sync_in_progress=SyncInProgress()))

        async def is_syncing() -> bool:
            listed = await world.client.background_tasks(kind="custom", limit=100, status="w")
            return any(task.callback == "ReSync" for task in listed.tasks)

        await world.until(is_syncing)
        assert await world.refreshes.done(world.change()) == []
        assert await world.is_true()
        assert await providers.synced(["S3"]) == before
        await world.clear()

        async def has_moved() -> bool:
            return (await providers.synced(["S3"]))["S3"] > before["S3"]

        await world.until(has_moved)
        # The sync has not undone the refreshes that ran meanwhile.
        assert await world.is_true()


# Down


@pytest.mark.parametrize("reset", [False, True])
@in_virtual_time
async def test_all_calls_wait_while_the_server_is_down_and_only_probes_are_sent(logged, reset):
    async with a_world() as world:
        await world.set_faults(Faults(down=Down(reset=reset)))
        stale = world.asked(world.change())
        await world.until(lambda: world.client.circuit.is_open)
        assert world.client.circuit.reason
        assert world.client.circuit.opened_at is not None
        sent, probes = world.client.calls.copy(), world.client.calls["getApplianceInfo"]
        # The tries that were under way when the circuit opened have ended when the third probe is sent.
        await world.until(lambda: world.client.calls["getApplianceInfo"] >= probes + 3)
        assert (world.client.calls - sent).keys() == {"getApplianceInfo"}
        assert not stale.done()
        assert world.client.concurrency.limit < world.client.concurrency.most
        await world.clear()
        assert await stale == []
        assert not world.client.circuit.is_open
        assert await world.is_true()
        assert opened(logged) == 1
        await world.until(world.recovered)


@in_virtual_time
async def test_no_login_is_sent_while_the_server_is_down():
    async with a_world() as world:
        # The token is then an hour old.
        await asyncio.sleep(3600)
        await world.set_faults(Faults(down=Down()))
        stale = world.asked(world.change())
        await world.until(lambda: world.client.circuit.is_open)
        sent, probes = world.client.calls.copy(), world.client.calls["getApplianceInfo"]
        await world.until(lambda: world.client.calls["getApplianceInfo"] >= probes + 3)
        assert (world.client.calls - sent).keys() == {"getApplianceInfo"}
        assert not stale.done()
        await world.clear()
        assert await stale == []
        assert await world.is_true()


@in_virtual_time
async def test_calls_resume_by_themselves_after_the_server_was_down(logged):
    async with a_world() as world:
        await world.set_faults(Faults(down=Down(seconds=10)))
        assert await world.refreshes.done(world.change()) == []
        assert await world.is_true()
        assert opened(logged) >= 1
        assert not world.client.circuit.is_open


@in_virtual_time
async def test_a_refresh_fails_after_two_minutes_with_the_start_of_the_outage():
    async with a_world() as world:
        await world.set_faults(Faults(down=Down()))
        errors = await world.refreshes.done(world.change(2))
        assert errors
        assert all(isinstance(error, AccessAnywhereUnavailable) for error in errors)
        assert any("not been usable since" in str(error) for error in errors)
        assert world.client.circuit.is_open
        await world.clear()
        assert await world.refreshes.done(world.change()) == []
        assert await world.is_true()


# Over a socket


async def test_connections_that_are_reset_fail_no_refresh():
    async with a_world_over_a_socket() as world:
        await world.set_faults(Faults(resets=Resets(rate=0.3)))
        # A reset comes before the effect or after it, in turns.
        while await world.fault_count("resets") < 8:
            assert await world.refreshes.done(world.change()) == []
            assert await world.is_true()
        await world.clear()
        await world.until(world.recovered)
        await world.until(lambda: not world.client.circuit.is_open)


async def test_a_truncated_download_is_an_error_and_the_server_does_not_count_as_down(logged):
    body = bytes(range(256)) * 1200
    async with a_world_over_a_socket() as world:
        world.storage.put("data", "large", body)
        assert await world.refreshes.done([Folder(ROOT)]) == []
        large = await world.client.check_path(f"{ROOT}/large")

        async def read() -> bytes:
            async with world.client.download(large.id) as download:
                assert download.size == len(body)
                return b"".join([chunk async for chunk in download])

        await world.set_faults(Faults(truncated_downloads=TruncatedDownloads()))
        for _ in range(10):
            with pytest.raises(DownloadTruncated):
                await read()
        assert not opened(logged)
        assert await world.client.version()
        await world.clear()
        assert await read() == body
