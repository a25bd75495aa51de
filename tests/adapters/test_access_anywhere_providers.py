"""The buckets in Access Anywhere's top-level folders, and their syncs in its background tasks."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.clocks import SystemClock

from jibe_sqs.adapters.access_anywhere import connect
from jibe_sqs.adapters.access_anywhere.uses import providers
from jibe_sqs.adapters.access_anywhere.uses.providers import (
    CLOCK_MARGIN,
    MAX_SECONDS_PER_FILE,
    MIN_SYNC_SECONDS,
    Providers,
    beginning,
    prefix_of,
    provider_of,
)
from jibe_sqs.adapters.access_anywhere.wire.answers import Item
from jibe_sqs.adapters.access_anywhere.wire.tasks import Task, TaskList, TaskStatus
from jibe_sqs.core.decisions import Decisions, Place
from jibe_sqs.core.errors import AnswerMalformed, CallFailed
from jibe_sqs.core.model import Folder, Kind, ObjectEvent, Skip
from jibe_sqs.syncing.bucket_map import BucketMap

sandbox = pytest.importorskip("jibe_sqs.sandbox.access_anywhere")
Provider, Synced = sandbox.Provider, sandbox.Synced

NOON = 1_700_000_000.0


# Buckets, with a double of the client


class ClientDouble:
    """The part of the client that is used: folders by id, and tasks. Each entry takes a turn of the event loop."""

    def __init__(self, folders: dict[str, Sequence[Item]], tasks: Sequence[Task] = ()) -> None:
        self.folders = folders
        self.tasks = tasks
        self.counts_tasks = True
        self.listed = 0

    async def list_folder(self, fi_id: str, *, details: bool = False) -> AsyncIterator[Item]:
        assert details
        if fi_id not in self.folders:
            raise CallFailed("getFolderContents: not there", code="not_found")
        for item in self.folders[fi_id]:
            self.listed += 1
            await asyncio.sleep(0)
            yield item

    async def background_tasks(self, *, kind: str, limit: int) -> TaskList:
        """As a server: tasks of exactly that type, the latest first, up to the limit."""
        chosen = [task for task in self.tasks if kind == task.type]
        return TaskList(chosen[:limit], len(chosen) if self.counts_tasks else None)


def folder(id_: str, name: str, **details) -> Item:
    return Item(id_, name, is_folder=True, **details)


def bucket(id_: str, name: str, **details) -> Item:
    return folder(id_, name, is_bucket=True, **details)


async def test_a_top_level_folder_is_a_bucket_or_contains_buckets_or_neither():
    client = ClientDouble(
        {
            "0": [
                folder("1", "Amazon S3"),
                bucket("2", "Archive", bucket="my-archive"),
                folder("3", "Share"),
                Item("4", "readme", is_folder=False),
            ],
            "1": [bucket("11", "photos", bucket="photos"), bucket("12", "films")],
            "2": [folder("21", "2026", bucket="my-archive", provider_folder="2026/")],
            "3": [folder("31", "photos"), Item("32", "photos", is_folder=False, is_bucket=True)],
        }
    )
    assert await Providers(client).places() == {
        "photos": (Place("/Amazon S3/photos"),),
        "films": (Place("/Amazon S3/films"),),
        "my-archive": (Place("/Archive"),),
    }


async def test_the_place_of_a_bucket_has_the_folders_name_not_the_buckets():
    client = ClientDouble({"0": [folder("1", "S3")], "1": [bucket("11", "Our photos", bucket="photos")]})
    assert await Providers(client).places() == {"photos": (Place("/S3/Our photos"),)}


async def test_several_providers_show_one_bucket():
    client = ClientDouble(
        {
            "0": [folder("1", "S3"), bucket("2", "Team", bucket="photos", provider_folder="team/a")],
            "1": [bucket("11", "photos", bucket="photos")],
        }
    )
    assert await Providers(client).places() == {
        "photos": (Place("/S3/photos"), Place("/Team", "team/a/"), Place("/Team"))
    }


async def test_a_provider_that_is_removed_during_the_look_shows_no_buckets():
    client = ClientDouble({"0": [folder("1", "Gone"), folder("2", "S3")], "2": [bucket("21", "photos")]})
    assert await Providers(client).places() == {"photos": (Place("/S3/photos"),)}


async def test_a_provider_that_cannot_be_listed_is_an_error_with_its_name():
    """If its buckets counted as unmapped, their events would be lost."""

    class Refusing(ClientDouble):
        async def list_folder(self, fi_id: str, *, details: bool = False) -> AsyncIterator[Item]:
            if fi_id == "1":
                raise CallFailed("getFolderContents: Access Anywhere answers 'odd'", code="odd")
            async for item in super().list_folder(fi_id, details=details):
                yield item

    with pytest.raises(CallFailed, match=r"^/Broken: .*odd") as caught:
        await Providers(Refusing({"0": [folder("1", "Broken")]})).places()
    assert caught.value.code == "odd"


async def test_a_huge_share_is_not_listed_to_its_end():
    files = [Item(f"f{n}", f"{n}", is_folder=False) for n in range(50_000)]
    client = ClientDouble({"0": [folder("1", "Share")], "1": files})
    assert await Providers(client).places() == {}
    assert client.listed < 2000


async def test_many_buckets_are_all_found():
    client = ClientDouble({"0": [folder("1", "S3")], "1": [bucket(f"b{n}", f"b{n}") for n in range(10_000)]})
    assert len(await Providers(client).places()) == 10_000


@pytest.mark.parametrize("name", ["x", "x" * 4096])
async def test_more_buckets_than_can_be_kept_are_an_error_not_a_part_of_them(monkeypatch, name):
    """Events of the others would be lost. The provider's name is in the path of each of its buckets."""
    monkeypatch.setattr(providers, "MAX_SHOWN_BYTES", 1_000_000)
    client = ClientDouble({"0": [folder("1", name)], "1": [bucket(f"b{n}", f"b{n}") for n in range(10_000)]})
    with pytest.raises(AnswerMalformed, match="more providers and buckets than can be kept"):
        await Providers(client).places()
    assert client.listed < 1_000_000 / (1000 + len(name))


async def test_more_providers_than_can_be_kept_are_an_error_not_a_part_of_them(monkeypatch):
    monkeypatch.setattr(providers, "MAX_SHOWN_BYTES", 1_000_000)
    client = ClientDouble({"0": [folder(f"{n}", f"{n}") for n in range(10_000)]})
    for wanted in (Providers(client).places(), Providers(client).synced({"/1"})):
        with pytest.raises(AnswerMalformed, match="more providers and buckets than can be kept"):
            await wanted
    assert client.listed < 2 * 1000


@pytest.mark.parametrize(
    ("provider_folder", "prefix"),
    [("", ""), ("/", ""), ("team", "team/"), ("team/", "team/"), ("/team/a", "team/a/"), ("a//", "a//"), (" ", " /")],
)
def test_a_prefix_ends_in_a_slash_and_does_not_start_with_one(provider_folder, prefix):
    assert prefix_of(bucket("1", "photos", provider_folder=provider_folder)) == prefix


# Tasks


def at(moment: float) -> datetime:
    return datetime.fromtimestamp(moment, UTC)


def task(**fields) -> Task:
    return Task(
        **{
            "id": "1",
            "type": "sync",
            "subtype": "",
            "status": TaskStatus.COMPLETED,
            "percent": None,
            "added": at(NOON),
            "completed": at(NOON + 600),
            "callback": "InitialSync",
            "provider": "",
            "files": None,
        }
        | fields
    )


@pytest.mark.parametrize("callback", ["InitialSync", "ReSync", "resync", "INITIALSYNC"])
def test_a_complete_sync_has_seen_all_changes_before_it_was_queued(callback):
    assert beginning(task(callback=callback)) == NOON - CLOCK_MARGIN


@pytest.mark.parametrize("status", [status for status in TaskStatus if status is not TaskStatus.COMPLETED])
def test_a_sync_that_is_not_complete_does_not_count(status):
    assert beginning(task(status=status)) is None


@pytest.mark.parametrize("callback", ["FolderRefresh", "", "Sync", "Upload"])
def test_a_task_that_is_not_a_sync_does_not_count(callback):
    assert beginning(task(callback=callback)) is None


@pytest.mark.parametrize(
    ("files", "seconds"), [(0, MIN_SYNC_SECONDS), (10, MIN_SYNC_SECONDS), (1_000_000, 1_000_000 * MAX_SECONDS_PER_FILE)]
)
def test_a_missing_start_is_estimated_from_the_end_and_the_number_of_files(files, seconds):
    assert beginning(task(added=None, files=files)) == NOON + 600 - seconds - CLOCK_MARGIN


@pytest.mark.parametrize("missing", [{"files": None}, {"files": 10, "completed": None}])
def test_a_start_that_cannot_be_estimated_is_unknown(missing):
    assert beginning(task(added=None, **missing)) is None


TOPS = [folder("1", "Amazon S3", provider="p1"), folder("2", "Team", provider="p2")]


@pytest.mark.parametrize(
    ("provider", "found"),
    [("p1", "1"), ("p2", "2"), ("P2", "2"), ("Team", "2"), ("amazon s3", "1"), ("p3", None), ("", None), ("S3", None)],
)
def test_a_task_belongs_to_the_provider_that_it_names(provider, found):
    top = provider_of(task(provider=provider), TOPS)
    assert (top.id if top else None) == found


@pytest.mark.parametrize(
    "tops",
    [
        [folder("1", "A", provider="S3"), folder("2", "B", provider="S3")],
        [folder("1", "A", provider="S3"), folder("2", "S3", provider="p2")],
    ],
    ids=["of one kind", "one's kind is another's name"],
)
def test_a_task_that_matches_two_providers_does_not_count(tops):
    assert provider_of(task(provider="S3"), tops) is None


def test_a_task_without_a_provider_belongs_to_the_only_provider():
    assert provider_of(task(), TOPS[:1]) is TOPS[0]
    assert provider_of(task(provider="p9"), TOPS[:1]) is None


async def test_of_several_syncs_the_last_one_counts():
    tasks = [task(provider="p1", added=at(NOON + n)) for n in (10, 30, 20)]
    tasks.append(task(provider="p1", added=at(NOON + 99), status=TaskStatus.WORKING))
    tasks.append(task(provider="p2", added=at(NOON + 50)))
    client = ClientDouble({"0": TOPS}, tasks)
    assert await Providers(client).synced(["AMAZON S3", "Team", "Elsewhere", ""]) == {
        "AMAZON S3": NOON + 30 - CLOCK_MARGIN,
        "Team": NOON + 50 - CLOCK_MARGIN,
    }


def hidden(n: int, sync: Task) -> list[Task]:
    """A sync, followed by so many refreshes of folders."""
    return [*(task(id=f"r{i}", type=sync.type, callback="FolderRefresh") for i in range(n)), sync]


@pytest.mark.parametrize("counts", [True, False])
@pytest.mark.parametrize("kind", ["sync", "custom"])
@pytest.mark.parametrize("refreshes", [0, 999, 1000, 15_000])
async def test_a_sync_is_found_among_thousands_of_refreshes(kind, refreshes, counts):
    client = ClientDouble({"0": TOPS}, hidden(refreshes, task(type=kind, provider="p1")))
    client.counts_tasks = counts
    assert await Providers(client).synced(["Amazon S3"]) == {"Amazon S3": NOON - CLOCK_MARGIN}


async def test_a_sync_that_is_cut_off_from_the_list_is_unknown():
    client = ClientDouble({"0": TOPS}, hidden(25_000, task(type="custom", provider="p1")))
    assert await Providers(client).synced(["Amazon S3"]) == {}


async def test_the_later_of_two_syncs_with_different_types_counts():
    """A server may have been upgraded from one set of type names to the other."""
    old = task(type="sync", provider="p1")
    new = task(id="2", type="custom", provider="p1", added=at(NOON + 100))
    for tasks in ([old, new], [new, old]):
        assert await Providers(ClientDouble({"0": TOPS}, tasks)).synced(["Amazon S3"]) == {
            "Amazon S3": NOON + 100 - CLOCK_MARGIN
        }


async def test_the_syncs_of_two_providers_whose_names_differ_only_in_case_are_unknown():
    tops = [folder("1", "Team", provider="p1"), folder("2", "team", provider="p2")]
    client = ClientDouble({"0": tops}, [task(provider="p1"), task(provider="p2")])
    assert await Providers(client).synced(["Team"]) == {}


seconds = st.floats(0, 10_000)


@given(
    began=seconds,
    queued=seconds,
    skew=st.floats(-CLOCK_MARGIN, CLOCK_MARGIN),
    files=st.integers(0, 1_000_000),
    speed=st.floats(0, 1),
    fields=st.sets(st.sampled_from(["added", "files", "provider"])),
    status=st.sampled_from(TaskStatus),
    older=seconds,
    late=seconds,
)
def test_no_event_at_or_after_the_start_of_a_sync_is_ever_skipped(
    began, queued, skew, files, speed, fields, status, older, late
):
    """For a wrong clock of Access Anywhere, times in whole seconds, and missing fields; and the same for the log."""
    began += NOON + queued
    took = speed * max(MIN_SYNC_SECONDS, files * MAX_SECONDS_PER_FILE)

    def sync(began: float, status: TaskStatus) -> Task:
        return task(
            status=status,
            added=at(int(began - queued + skew)) if "added" in fields else None,
            completed=at(int(began + took + skew)),
            files=files if "files" in fields else None,
            provider="p1" if "provider" in fields else "",
        )

    client = ClientDouble({"0": TOPS[:1]}, [sync(began - older, TaskStatus.COMPLETED), sync(began, status)])
    synced = asyncio.run(Providers(client).synced(["Amazon S3"]))
    decisions = Decisions({"photos": [Place("/Amazon S3/photos", synced=synced.get("Amazon S3", float("-inf")))]})
    seen_until = began if status is TaskStatus.COMPLETED else began - older
    event = ObjectEvent(Kind.WRITTEN, "photos", "a", float(int(seen_until + late)))
    assert not isinstance(decisions.decide(event), Skip)


# The sandbox's server


@asynccontextmanager
async def serving(*providers, **options) -> AsyncIterator[tuple[Providers, httpx.AsyncClient]]:
    config = sandbox.AccessAnywhereServer(
        login="jibe", password="p", permanent_token="permanent", refresh_seconds=0, providers=providers, **options
    )
    storage = sandbox.MemoryStorage({"photos": {"team/a/b": b""}, "films": {}})
    with sandbox.serving(sandbox.create_app(config, storage)) as url:
        async with (
            httpx.AsyncClient(base_url=url) as http,
            connect(endpoint=url, permanent_token="permanent", clock=SystemClock()) as client,
        ):
            yield Providers(client), http


@pytest.fixture(params=["custom", "sync"])
def types(request) -> dict[str, str]:
    """For both sets of type names that servers use."""
    return {"task_types": request.param}


S3 = Provider("Amazon S3", buckets=("photos", "films"), synced=Synced(NOON, NOON + 600, 100))
TEAM = Provider("Team", buckets=("photos",), is_bucket=True, prefix="team/", synced=Synced(NOON + 50, NOON + 60, 1))


async def test_a_bucket_that_seems_to_be_shown_in_part_is_mapped_as_a_whole():
    """The meaning of `fi_providerfolder` is not documented. If it were the bucket's name, all changes would be unmapped."""
    client = ClientDouble({"0": [bucket("1", "photos", provider_folder="photos")]})
    decisions = Decisions(await Providers(client).places())
    decided = decisions.decide(ObjectEvent(Kind.WRITTEN, "photos", "a/b", NOON))
    assert decided.folders == (Folder("/photos/a"),)


async def test_over_a_socket_every_shape_of_provider_is_found():
    async with serving(S3, TEAM, Provider("Empty")) as (providers, _):
        # Several times, because each answer has another shape.
        for _ in range(4):
            assert await providers.places() == {
                "photos": (Place("/Amazon S3/photos"), Place("/Team", "team/"), Place("/Team")),
                "films": (Place("/Amazon S3/films"),),
            }


async def test_over_a_socket_the_start_of_each_providers_sync_is_read(types):
    async with serving(S3, TEAM, **types) as (providers, _):
        for _ in range(4):
            synced = await providers.synced(["Amazon S3", "Team"])
            assert synced == {"Amazon S3": NOON - CLOCK_MARGIN, "Team": NOON + 50 - CLOCK_MARGIN}


async def test_over_a_socket_a_missing_start_is_estimated(types):
    async with serving(S3, tasks_without_start=True, **types) as (providers, _):
        assert await providers.synced(["Amazon S3"]) == {"Amazon S3": NOON + 600 - MIN_SYNC_SECONDS - CLOCK_MARGIN}


async def test_over_a_socket_tasks_without_a_provider_count_for_a_single_provider_only(types):
    async with serving(S3, unnamed_tasks=True, **types) as (providers, _):
        assert await providers.synced(["Amazon S3"]) == {"Amazon S3": NOON - CLOCK_MARGIN}
    async with serving(S3, TEAM, unnamed_tasks=True, **types) as (providers, _):
        assert await providers.synced(["Amazon S3", "Team"]) == {}


async def test_the_previous_sync_counts_while_a_sync_is_running(types):
    faults = sandbox.Faults(sync_in_progress=sandbox.SyncInProgress())
    async with serving(S3, faults=faults, **types) as (providers, http):
        assert await providers.synced(["Amazon S3"]) == {"Amazon S3": NOON - CLOCK_MARGIN}
        await http.delete("/sandbox/faults")
        started = time.time()
        async with asyncio.timeout(60):
            while (synced := await providers.synced(["Amazon S3"]))["Amazon S3"] == NOON - CLOCK_MARGIN:
                await asyncio.sleep(0.01)
        assert started - 60 <= synced["Amazon S3"] + CLOCK_MARGIN <= time.time()


async def test_over_a_socket_refreshes_and_other_tasks_do_not_hide_a_sync(types):
    async with serving(S3, recent_window=0, **types) as (providers, http):
        for _ in range(25):
            item = await providers._client.check_path("/Amazon S3/films")
            await providers._client.refresh_folder(item.id)
        assert (await http.get("/sandbox/stats")).json()["refreshes"] == 25
        assert await providers.synced(["Amazon S3"]) == {"Amazon S3": NOON - CLOCK_MARGIN}


async def test_providers_that_come_and_go_while_the_service_runs_are_noticed():
    async with serving(S3) as (providers, http):
        decisions = Decisions()
        buckets = BucketMap(providers=providers, decisions=decisions, clock=SystemClock(), interval=0.02)
        running = asyncio.create_task(buckets.run())

        async def shown(*folders: str) -> None:
            async with asyncio.timeout(60):
                while {place.folder for place in decisions.places.get("photos", ())} != set(folders):
                    await asyncio.sleep(0.01)

        try:
            await shown("/Amazon S3/photos")
            await http.put("/sandbox/providers", content=msgspec.json.encode([S3, TEAM]))
            await shown("/Amazon S3/photos", "/Team")
            await http.put("/sandbox/providers", content=msgspec.json.encode([TEAM]))
            await shown("/Team")
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
