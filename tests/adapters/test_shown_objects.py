"""What Access Anywhere shows of an object, by its exact name, without a refresh."""

import pytest
from tests.clocks import SleptClock
from tests.other_refreshes import UncoalescedRefreshes, nothing

from jibe_sqs.adapters.access_anywhere import RefreshTarget, ShownObjects, connect
from jibe_sqs.core.model import Folder

sandbox = pytest.importorskip("jibe_sqs.sandbox.access_anywhere")

ROOT = "/Amazon S3/data"


class World:
    def __init__(self, client, storage, clock):
        self.storage = storage
        self._target = RefreshTarget(client, roots=lambda: {ROOT}, clock=clock, slots=client.concurrency)
        self.objects = ShownObjects(client, clock, roots=lambda: {ROOT})

    async def refresh(self, *paths):
        for path in paths:
            await self._target.refresh(Folder(path), nothing, UncoalescedRefreshes(self._target))

    async def entry(self, path, **options):
        return (await self.objects.find(path, **options)).entry


@pytest.fixture
async def world():
    storage, clock = sandbox.MemoryStorage(["data"]), SleptClock(1000.0)
    config = sandbox.AccessAnywhereServer(
        login="jibe",
        password="pass word",
        permanent_token="permanent",
        providers=(sandbox.Provider("Amazon S3", buckets=("data",)),),
        recent_window=0,
        refresh_seconds=0,
    )
    with sandbox.serving(sandbox.create_app(config, storage)) as url:
        async with connect(endpoint=url, permanent_token="permanent", clock=clock) as client:
            yield World(client, storage, clock)


async def test_an_object_is_shown_with_its_size_and_time_only_after_a_refresh(world):
    stored = world.storage.put("data", "a/b c/ü.txt", b"hello")
    path = f"{ROOT}/a/b c/ü.txt"
    assert await world.entry(path) is None
    await world.refresh(f"{ROOT}/a/b c")
    found = await world.entry(path)
    assert (found.name, found.size, found.is_folder) == ("ü.txt", 5, False)
    assert abs(found.modified - stored.modified) <= 1


async def test_a_folder_and_an_object_are_told_apart(world):
    world.storage.put("data", "a/b/x", b"x")
    await world.refresh(f"{ROOT}/a/b", f"{ROOT}/a")
    assert (await world.entry(f"{ROOT}/a/b", is_folder=True)).is_folder
    found = await world.objects.find(f"{ROOT}/a/b")
    assert (found.entry, found.alike) == (None, ["b/"])


async def test_a_name_that_differs_in_case_is_another_one(world):
    world.storage.put("data", "a/Report.txt", b"x")
    await world.refresh(f"{ROOT}/a")
    found = await world.objects.find(f"{ROOT}/a/report.TXT")
    assert (found.entry, found.alike) == (None, ["Report.txt"])
