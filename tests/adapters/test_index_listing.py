"""What Access Anywhere shows, over a socket to the sandbox's server, for a comparison."""

from datetime import UTC, datetime

import httpx
import pytest
from tests.clocks import SystemClock

from jibe_sqs.adapters.access_anywhere import IndexListing, connect
from jibe_sqs.adapters.access_anywhere.wire.answers import item

sandbox = pytest.importorskip("jibe_sqs.sandbox.access_anywhere")

TOP = "/S3/media"
MANY = 2500


@pytest.fixture
async def server():
    """A bucket whose top folder is shown, and the address of the server."""
    provider = sandbox.Provider("S3", buckets=("media",))
    config = sandbox.AccessAnywhereServer(
        login="", password="", permanent_token="permanent", providers=(provider,), refresh_seconds=0, recent_window=0
    )
    keys = ["a.txt", "x/b.txt", "X/c.txt", ".trash/old.txt", *(f"many/{n:04}" for n in range(MANY))]
    storage = sandbox.MemoryStorage({"media": dict.fromkeys(keys, b"four")})
    with sandbox.serving(sandbox.create_app(config, storage)) as url:
        async with connect(endpoint=url, permanent_token="permanent", clock=SystemClock()) as client:
            for path in (TOP, f"{TOP}/many"):
                await client.refresh_folder((await client.check_path(path)).id)
            yield IndexListing(client, SystemClock(), roots=lambda: [TOP]), client, url


async def entries(index, path):
    return [each async for each in index.entries(await index.folder(path))]


async def test_it_lists_files_and_folders_with_their_ids(server):
    """Also what is in the trash: S3 may have it, too."""
    index, *_ = server
    found = {each.name: each for each in await entries(index, TOP)}
    assert set(found) == {"a.txt", "x", "X", ".trash", "many"}
    assert (found["a.txt"].is_folder, found["a.txt"].size, found["a.txt"].id) == (False, 4, "")
    assert found["a.txt"].modified == pytest.approx(datetime.now(UTC).timestamp(), abs=600)
    assert (found[".trash"].trashed, found["x"].trashed) == (True, False)
    assert found["many"].is_folder
    assert len([each async for each in index.entries(found["many"].id)]) == MANY


async def test_it_makes_no_refresh(server):
    index, _, url = server
    before = httpx.get(f"{url}/sandbox/stats").json()["refreshes"]
    assert await entries(index, f"{TOP}/x") == []
    assert httpx.get(f"{url}/sandbox/stats").json()["refreshes"] == before


async def test_a_folder_that_appeared_just_now_is_found(server):
    """A refresh of the folder above made it, which this listing does not know of."""
    index, _, url = server
    assert await index.folder(f"{TOP}/new") is None
    httpx.put(f"{url}/sandbox/index", json=[{"bucket": "media", "key": "new/a", "size": 1}]).raise_for_status()
    assert [each.name for each in await entries(index, f"{TOP}/new")] == ["a"]


async def test_a_folder_that_is_gone_shows_nothing(server):
    index, *_ = server
    assert [each async for each in index.entries("999999")] == []


@pytest.mark.parametrize(
    ("own", "entrys", "seen"),
    [
        ("2001-01-01 00:00:00", "2026-01-01 00:00:00", 2026),
        ("2026-01-01 00:00:00", "2001-01-01 00:00:00", 2026),
        ("0000-00-00 00:00:00", "2026-01-01 00:00:00", 2026),
        ("0000-00-00 00:00:00", "0000-00-00 00:00:00", None),
    ],
)
def test_the_later_of_a_files_two_times_counts(own, entrys, seen):
    """The uploader's time may be years older than the object."""
    found = item({"fi_id": "1", "fi_name": "a", "fi_localtime": own, "fi_modified": entrys}).seen
    assert (found.year if found else None) == seen
