"""The client and the refresh target against the sandbox's server: over a socket, and in process for many cases."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.clocks import SleptClock, SystemClock
from tests.examples import expensive
from tests.other_refreshes import SerialRefreshes
from tests.over_httpx import over_httpx

from jibe_sqs.adapters.access_anywhere import AccessAnywhere, RefreshTarget, connect
from jibe_sqs.core.errors import AccessAnywhereUnavailable, CallFailed, LoginFailed
from jibe_sqs.core.model import Folder

sandbox = pytest.importorskip("jibe_sqs.sandbox.access_anywhere")

ROOT = "/Amazon S3/my-bucket"


def configured(**options):
    provider = sandbox.Provider("Amazon S3", buckets=("my-bucket",))
    return sandbox.AccessAnywhereServer(
        login="jibe", password="pass word", permanent_token="permanent", providers=(provider,), **options
    )


def storage(*keys: str):
    return sandbox.MemoryStorage({"my-bucket": {key: key.encode() for key in keys}})


def refreshes_of(client: AccessAnywhere, clock) -> SerialRefreshes:
    return SerialRefreshes(RefreshTarget(client, roots=lambda: [ROOT], clock=clock, slots=client.concurrency))


def folder_of(key: str) -> Folder:
    return Folder(f"{ROOT}/{key}".rpartition("/")[0])


async def index(url: str) -> set[str]:
    async with httpx.AsyncClient() as http:
        return {file["key"] for file in (await http.get(f"{url}/sandbox/index")).json()}


@pytest.mark.parametrize("credentials", [{"login": "jibe", "password": "pass word"}, {"permanent_token": "permanent"}])
async def test_changes_of_every_kind_end_in_a_true_index(credentials):
    bucket = storage("top", "a/1", "a/2", "gone/deep/er/1")
    clock = SystemClock()
    with sandbox.serving(sandbox.create_app(configured(recent_window=0.3, refresh_seconds=0.02), bucket)) as url:
        async with connect(endpoint=url, clock=clock, **credentials) as client:
            refreshes = refreshes_of(client, clock)
            await refreshes.refresh(Folder(ROOT, tree=True))
            assert await index(url) == set(bucket.objects("my-bucket"))
            changes = ["a/3", "new/deep/er/1", "ä & b/+ %2F/ü.txt", "x//y", "top2"]
            for key in changes:
                bucket.put("my-bucket", key, b"new")
            deletions = ["a/1", "gone/deep/er/1"]
            for key in deletions:
                bucket.delete("my-bucket", key)
            await asyncio.gather(*(refreshes.refresh(folder_of(key)) for key in [*changes, *deletions]))
            assert await index(url) == set(bucket.objects("my-bucket"))
            assert client.calls.total() > 0


async def test_a_folder_of_more_than_a_page_is_listed_whole():
    bucket = storage(*(f"many/{n:04}/x" for n in range(1203)))
    with sandbox.serving(sandbox.create_app(configured(refresh_seconds=0), bucket)) as url:
        async with connect(endpoint=url, permanent_token="permanent", clock=SystemClock()) as client:
            await refreshes_of(client, SystemClock()).refresh(Folder(f"{ROOT}/many"))
            many = await client.check_path(f"{ROOT}/many")
            names = [folder.name for folder in await client.subfolders(many.id)]
    assert sorted(names) == [f"{n:04}" for n in range(1203)]


async def test_a_session_that_the_server_forgot_is_renewed():
    now = 0.0
    app = sandbox.create_app(configured(token_ttl=60), storage(), clock=lambda: now)
    with sandbox.serving(app) as url:
        async with connect(endpoint=url, permanent_token="permanent", clock=SystemClock()) as client:
            assert await client.check_path(ROOT)
            now = 61.0
            found = await asyncio.gather(*(client.check_path(ROOT) for _ in range(50)))
            assert all(found)
            assert client.calls["getTokenByAuthToken"] == 2


async def test_wrong_credentials_are_a_failed_login():
    with sandbox.serving(sandbox.create_app(configured(), storage())) as url:
        async with connect(endpoint=url, login="jibe", password="wrong", clock=SystemClock()) as client:
            with pytest.raises(LoginFailed):
                await client.check_path(ROOT)


async def test_a_folder_of_an_unknown_id_is_not_found():
    with sandbox.serving(sandbox.create_app(configured(), storage())) as url:
        async with connect(endpoint=url, permanent_token="permanent", clock=SystemClock()) as client:
            with pytest.raises(CallFailed) as caught:
                await client.refresh_folder("999999")
    assert caught.value.code == "not_found"


async def test_a_server_that_is_not_there_is_unavailable():
    with sandbox.serving(sandbox.create_app(configured(), storage())) as url:
        pass
    async with connect(endpoint=url, permanent_token="permanent", clock=SleptClock()) as client:
        with pytest.raises(AccessAnywhereUnavailable):
            await client.check_path(ROOT)


async def test_the_version_is_read():
    with sandbox.serving(sandbox.create_app(configured(), storage())) as url:
        async with connect(endpoint=url, permanent_token="permanent", clock=SystemClock()) as client:
            assert await client.version()


@asynccontextmanager
async def at_hand(bucket, concurrency: int) -> AsyncIterator[tuple[SerialRefreshes, httpx.AsyncClient]]:
    app = httpx.ASGITransport(sandbox.create_app(configured(recent_window=0, refresh_seconds=0), bucket))
    clock = SleptClock()
    async with (
        httpx.AsyncClient(transport=app, base_url="http://aa") as http,
        connect(
            endpoint="http://aa",
            permanent_token="permanent",
            concurrency=concurrency,
            clock=clock,
            origin_of=over_httpx(app),
        ) as client,
    ):
        yield refreshes_of(client, clock), http


names = st.sampled_from(["a", "b", "A", "", "c d"])
keys = st.lists(names, min_size=1, max_size=5).map("/".join).filter(lambda key: key and not key.endswith("/"))


@expensive(60)
@given(st.sets(keys, max_size=10), st.lists(st.tuples(keys, st.integers(0, 40)), max_size=16), st.integers(1, 4))
async def test_changes_while_refreshes_run_end_in_a_true_index(before, changes, concurrency):
    """With unusual names too: empty, or different only in case."""
    bucket = storage(*before)
    async with at_hand(bucket, concurrency) as (refreshes, http):
        await refreshes.refresh(Folder(ROOT, tree=True))
        asked = []
        for key, pause in changes:
            if key in bucket.objects("my-bucket"):
                bucket.delete("my-bucket", key)
            else:
                bucket.put("my-bucket", key)
            asked.append(asyncio.create_task(refreshes.refresh(folder_of(key))))
            for _ in range(pause):
                await asyncio.sleep(0)
        await asyncio.gather(*asked)
        shown = {file["key"] for file in (await http.get("/sandbox/index")).json()}
    assert shown == set(bucket.objects("my-bucket"))
