"""All kinds of providers in the sandbox, their syncs and background tasks, and provider events."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.clocks import ServersClock
from tests.examples import expensive
from tests.rpc import Rpc, once, refreshed

from jibe_sqs.sandbox.access_anywhere import (
    AccessAnywhereServer,
    InProcess,
    Listing,
    MemoryStorage,
    Provider,
    S3Storage,
    StorageError,
    StoredObject,
    Synced,
    create_app,
)

CONFIG = AccessAnywhereServer(
    login="jibe",
    password="p",
    permanent_token="permanent",
    recent_window=0,
    refresh_seconds=0,
    providers=(Provider("P", buckets=("data",)),),
)


class Ticking(ServersClock):
    """A clock that never returns the same time twice."""

    def __call__(self) -> float:
        self.time += 0.001
        return self.time


class JitteryStorage(MemoryStorage):
    """Every call takes some turns of the event loop before and after it reads, so that other tasks run in between."""

    pauses: Iterator[int] = itertools.cycle((0, 3, 1, 7, 2, 12, 0, 5, 20))

    async def list_all(self, bucket: str, prefix: str) -> Sequence[StoredObject]:
        await self._pause()
        found = await super().list_all(bucket, prefix)
        await self._pause()
        return found

    async def head(self, bucket: str, key: str) -> StoredObject | None:
        await self._pause()
        found = await super().head(bucket, key)
        await self._pause()
        return found

    async def list(self, bucket: str, prefix: str) -> Listing:
        await self._pause()
        found = await super().list(bucket, prefix)
        await self._pause()
        return found

    async def _pause(self) -> None:
        for _ in range(next(self.pauses)):
            await asyncio.sleep(0)


class Client(Rpc):
    async def item(self, path: str) -> dict[str, Any]:
        """An empty id if the path does not exist."""
        return (await self.call("checkPathExists", path=path)).get("file", {})

    async def ask_refresh(self, path: str) -> Callable[[], Awaitable[dict[str, Any]]]:
        asking = {"fi_pid": (await self.item(path))["fi_id"], "refresh": "y", "refreshtype": "a"}
        token = (await self.call("getFolderContents", **asking))["refreshresult"]["token"]
        return lambda: refreshed(lambda: self.call("getFolderContents", refreshtoken=token))

    async def refresh(self, path: str) -> dict[str, Any]:
        return await (await self.ask_refresh(path))()

    async def paths(self) -> set[str]:
        return {file["path"] for file in (await self.http.get("/sandbox/index")).json()}

    async def names(self, path: str) -> list[str]:
        answer = await self.call("getFolderContents", fi_pid=(await self.item(path))["fi_id"], options=RCLONE_OPTIONS)
        return [item["fi_name"] for item in answer["filelist"]]

    async def tasks(self, **filters: Any) -> list[dict[str, Any]]:
        """The tasks, each with the fields of its `bt_data`, which may be an object or a text."""
        listed = (await self.call("getUserBackgroundTasks", **filters))["response"]["tasks"]
        return [(json.loads(data) if isinstance(data := task["bt_data"], str) else data) | task for task in listed]

    async def start_sync(self, provider: str = "P", seconds: float = 0) -> int:
        answer = await self.http.post("/sandbox/sync", json={"provider": provider, "seconds": seconds})
        assert answer.status_code == 200, answer.text
        return answer.json()["bt_id"]

    async def hold_sync(self) -> None:
        """Start a sync that has listed its buckets when this returns, and that ends on release."""
        await self.http.put("/sandbox/faults", json={"sync_in_progress": {}})

        async def waits() -> bool:
            return bool(await self.tasks(statusfilter="w"))

        await once(waits)

    async def release_sync(self) -> None:
        await self.http.delete("/sandbox/faults")

    async def synced(self) -> list[dict[str, Any]]:
        """Return when no sync is running."""

        async def is_done() -> bool:
            return not await self.tasks(statusfilter="a,w")

        await once(is_done)
        return await self.tasks()

    async def show(self, *providers: dict[str, Any]) -> None:
        answer = await self.http.put("/sandbox/providers", json=providers)
        assert answer.status_code == 200, answer.text

    async def event(self, key: str, bucket: str = "data", **more: Any) -> int:
        answer = await self.call("syncOnProviderEvent", bucket=bucket, key=key, **more)
        assert answer["status"] == "ok", answer
        return int(answer["updated"])


RCLONE_OPTIONS = (
    "filelist|fi_id|fi_pid|fi_name|fi_type|fi_size|fi_contenttype|fi_modified|fi_localtime|trash|subfolders"
)


@asynccontextmanager
async def access_anywhere(
    storage: Any, providers: Collection[Provider] | None = None, **options: Any
) -> AsyncIterator[Client]:
    clock = options.pop("clock", None)
    config = replace(CONFIG, providers=CONFIG.providers if providers is None else tuple(providers), **options)
    app = create_app(config, storage, **({"clock": clock} if clock else {}))
    async with httpx.AsyncClient(transport=InProcess(app), base_url="http://aa") as http:
        yield await Client(http).log_in()


async def test_a_providers_folder_can_show_its_bucket_directly():
    storage = MemoryStorage({"data": {"top": b"", "a/one": b""}})
    async with access_anywhere(storage, [Provider("Photos", buckets=("data",), is_bucket=True)]) as aa:
        top = await aa.item("/Photos")
        assert (top["isbucket"], top["fi_bname"], top["fi_provider"]) == ("y", "data", "Photos")
        await aa.refresh("/Photos")
        await aa.refresh("/Photos/a")
        assert await aa.paths() == {"/Photos/top", "/Photos/a/one"}
        assert (await aa.item("/Photos/a"))["isbucket"] == "n"


async def test_a_provider_can_show_only_keys_with_a_prefix():
    storage = MemoryStorage({"data": dict.fromkeys(("top", "part/x", "part/a/y", "party"), b"12")})
    async with access_anywhere(storage, [Provider("P", buckets=("data",), prefix="part/")]) as aa:
        bucket = await aa.item("/P/data")
        assert (bucket["isbucket"], bucket["fi_bname"], bucket["fi_providerfolder"]) == ("y", "data", "part/")
        await aa.refresh("/P/data")
        await aa.refresh("/P/data/a")
        assert await aa.paths() == {"/P/data/x", "/P/data/a/y"}
        file = await aa.item("/P/data/a/y")
        body = {"function": "getFile", "token": aa.token, "fi_id": file["fi_id"]}
        assert (await aa.http.post("/api/rpc.php", data=body)).content == b"12"
        code = (await aa.call("doInitUpload", fi_name="new", fi_pid=bucket["fi_id"]))["uploadcode"]
        await aa.http.put(f"/cgi-bin/uploader/uploader1.cgi?{code}", content=b"new")
        await aa.call("doCompleteUpload", uploadcode=code)
        assert "part/new" in storage.objects("data")
        assert "/P/data/new" in await aa.paths()


async def test_a_sync_shows_everything_for_each_kind_of_provider():
    storage = MemoryStorage(
        {"data": dict.fromkeys(("top", "part/x", "part/a//y", "part/b/"), b""), "other": {"z": b""}}
    )
    providers = [
        Provider("All", buckets=("data", "other", "missing")),
        Provider("Is", buckets=("data",), is_bucket=True),
        Provider("Part", buckets=("data",), prefix="part/"),
        Provider("Both", buckets=("data",), prefix="part/a/", is_bucket=True),
    ]
    async with access_anywhere(storage, providers) as aa:
        for provider in providers:
            await aa.start_sync(provider.name)
        await aa.synced()
        assert await aa.paths() == {
            *("/All/data/top", "/All/data/part/x", "/All/data/part/a//y", "/All/other/z"),
            *("/Is/top", "/Is/part/x", "/Is/part/a//y"),
            *("/Part/data/x", "/Part/data/a//y"),
            "/Both//y",
        }
        assert await aa.names("/All") == ["data", "other"]
        assert await aa.names("/Part/data") == ["a", "b", "x"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "a/b"},
        {"name": "a", "prefix": "part"},
        {"name": "a", "is_bucket": True, "buckets": ["x", "y"]},
    ],
)
async def test_an_invalid_provider_is_refused(wrong):
    async with access_anywhere(MemoryStorage()) as aa:
        assert (await aa.http.put("/sandbox/providers", json=[wrong])).status_code == 400
        assert [p["name"] for p in (await aa.http.get("/sandbox/providers")).json()] == ["P"]


async def test_an_added_provider_is_synced_and_a_removed_one_is_gone():
    storage = MemoryStorage({"data": {"a/one": b""}, "more": {"b/two": b""}})
    async with access_anywhere(storage) as aa:
        await aa.start_sync("P")
        await aa.synced()
        old = await aa.item("/P/data/a")
        await aa.show({"name": "P", "buckets": ["data"]}, {"name": "New", "buckets": ["more"]})
        assert await aa.names("/") == ["New", "P"]
        latest = (await aa.synced())[0]
        assert (latest["callback"], latest["fi_provider"]) == ("InitialSync", "New")
        assert await aa.paths() == {"/P/data/a/one", "/New/more/b/two"}
        assert await aa.item("/P/data/a") == old
        await aa.show({"name": "New", "buckets": ["more"]})
        assert await aa.paths() == {"/New/more/b/two"}
        assert await aa.item("/P") == {}
        assert (await aa.call("getFolderContents", fi_pid=old["fi_id"]))["status"] in {"not_found", "trashed"}


async def test_a_changed_provider_shows_its_new_buckets():
    storage = MemoryStorage({"data": {"one": b""}, "more": {"two": b""}})
    async with access_anywhere(storage) as aa:
        await aa.show({"name": "P", "buckets": ["more"]})
        await aa.synced()
        assert await aa.paths() == {"/P/more/two"}


async def test_a_provider_that_is_removed_during_its_sync_stays_removed():
    async with access_anywhere(MemoryStorage({"data": {"one": b""}})) as aa:
        await aa.hold_sync()
        await aa.show()
        await aa.release_sync()
        assert (await aa.synced())[0]["bt_status"] == "error"
        assert await aa.names("/") == []


async def test_of_two_names_that_differ_only_in_case_the_later_one_is_shown():
    storage = MemoryStorage({"data": dict.fromkeys(("A/x", "a/y", "File", "file"), b"")})
    async with access_anywhere(storage, case_insensitive=True) as aa:
        await aa.start_sync()
        await aa.synced()
        assert await aa.paths() == {"/P/data/file", "/P/data/a/y"}
        assert await aa.event("FILE") == 1
        assert "/P/data/file" in await aa.paths()
        storage.put("data", "FILE")
        await aa.event("FILE")
        assert await aa.paths() == {"/P/data/FILE", "/P/data/a/y"}
        # Only the provider that was shown is removed, not the new one with its name.
        storage.delete("data", "file")
        await aa.event("file")
        assert "/P/data/FILE" in await aa.paths()
        await aa.refresh("/P/data")
        assert "/P/data/File" in await aa.paths()


async def test_a_sync_lists_at_its_start_and_shows_the_result_at_its_end():
    storage = MemoryStorage({"data": {"old": b"", "a/b/one": b""}})
    async with access_anywhere(storage) as aa:
        await aa.refresh("/P/data")
        storage.delete("data", "old")
        await aa.hold_sync()
        storage.put("data", "late")
        assert await aa.paths() == {"/P/data/old"}
        await aa.release_sync()
        await aa.synced()
        assert await aa.paths() == {"/P/data/a/b/one"}


async def test_a_sync_that_s3_refuses_fails_and_leaves_the_index_unchanged():
    class Failing(MemoryStorage):
        async def list_all(self, bucket: str, prefix: str) -> Sequence[StoredObject]:
            raise StorageError("AccessDenied", "Access Denied")

    async with access_anywhere(Failing({"data": {"one": b""}})) as aa:
        await aa.refresh("/P/data")
        await aa.start_sync()
        assert (await aa.synced())[0]["bt_status"] == "error"
        assert await aa.paths() == {"/P/data/one"}


async def test_a_sync_of_an_unknown_provider_is_refused():
    async with access_anywhere(MemoryStorage()) as aa:
        answer = await aa.http.post("/sandbox/sync", json={"provider": "Q"})
        assert (answer.status_code, answer.json()) == (400, {"error": "There is no provider 'Q'"})


async def test_syncs_of_one_provider_wait_for_each_other():
    async with access_anywhere(MemoryStorage({"data": {}})) as aa:
        await aa.hold_sync()
        queued = await aa.start_sync()
        assert [t["bt_id"] for t in await aa.tasks(statusfilter="a")] == [str(queued)]
        await aa.release_sync()
        assert [t["callback"] for t in await aa.synced()] == ["ReSync", "ReSync", "InitialSync"]


async def test_a_sync_keeps_newer_observations_and_shows_the_rest():
    keys = ("refreshed/old", "uploaded/one", "event/one", "event/gone", "new/one")
    storage = MemoryStorage({"data": dict.fromkeys(keys, b"")})
    async with access_anywhere(storage, clock=Ticking()) as aa:
        await aa.refresh("/P/data")
        await aa.hold_sync()
        storage.delete("data", "refreshed/old")
        storage.put("data", "refreshed/new")
        await aa.refresh("/P/data/refreshed")
        folder = (await aa.item("/P/data/uploaded"))["fi_id"]
        code = (await aa.call("doInitUpload", fi_name="two", fi_pid=folder))["uploadcode"]
        await aa.http.put(f"/cgi-bin/uploader/uploader1.cgi?{code}", content=b"new")
        await aa.call("doCompleteUpload", uploadcode=code)
        storage.put("data", "event/two")
        storage.delete("data", "event/gone")
        for key in ("event/two", "event/gone"):
            await aa.event(key)
        await aa.release_sync()
        await aa.synced()
        assert await aa.paths() == {f"/P/data/{key}" for key in storage.objects("data")}


COMPLETED = {
    "bt_status": "c",
    "bt_procent": "100",
    "bt_added": "2023-11-14 22:13:20",
    "bt_completed": "2023-11-14 22:13:20",
    "bt_files": "1",
}


async def test_all_tasks_have_the_type_custom_and_a_callback_in_their_data():
    async with access_anywhere(MemoryStorage({"data": {"one": b""}}), clock=ServersClock()) as aa:
        task = await aa.start_sync()
        await aa.synced()
        for_rclone = await aa.call("getUserBackgroundTasks", taskid=task)
        assert for_rclone["total"] == "1"
        listed = for_rclone["tasks"][0]
        assert listed == listed | COMPLETED | {
            "bt_id": str(task),
            "bt_type": "custom",
            "bt_subtype": "",
            "callback": "ReSync",
        }
        assert listed["bt_data"] == {"callback": "ReSync", "fi_provider": "P"}
        answers = [await aa.call("getUserBackgroundTasks", bt_id=task) for _ in range(12)]
        assert all("tasks" not in answer for answer in answers)
        shown = [answer["response"]["tasks"][0] for answer in answers]
        assert {t["bt_status"] for t in shown} == {"c", "completed"}
        assert {type(t["bt_id"]) for t in shown} == {str, int}
        assert {(type(t["bt_data"]), "callback" in t) for t in shown} == {
            (form, on_top) for form in (dict, str) for on_top in (True, False)
        }
        assert await aa.tasks(bt_id=99) == []


async def test_with_a_setting_syncs_and_refreshes_have_the_type_sync():
    async with access_anywhere(MemoryStorage({"data": {"one": b""}}), clock=ServersClock(), task_types="sync") as aa:
        task = await aa.start_sync()
        await aa.synced()
        listed = (await aa.call("getUserBackgroundTasks", taskid=task))["tasks"][0]
        assert listed == listed | COMPLETED | {"bt_type": "sync", "bt_subtype": "resync", "callback": "ReSync"}
        assert listed == listed | {"bt_data": {"callback": "ReSync"}, "fi_provider": "P"}


@pytest.mark.parametrize(
    ("types", "found"),
    [
        ("custom", {"custom": 3, "sync": 0, "ReSync": 0, "resync": 0, "cust": 0}),
        ("sync", {"custom": 0, "sync": 3, "Sync": 0, "ReSync": 0, "resync": 1, "folderrefresh": 1}),
    ],
)
async def test_a_type_filter_matches_type_or_subtype_exactly(types, found):
    async with access_anywhere(MemoryStorage({"data": {}}), task_types=types) as aa:
        await aa.refresh("/P/data")
        await aa.start_sync()
        await aa.synced()
        assert {name: len(await aa.tasks(typefilter=name)) for name in found} == found


async def test_tasks_are_chosen_by_status_and_limited_and_the_total_counts_all():
    async with access_anywhere(MemoryStorage({"data": {}})) as aa:
        await aa.refresh("/P/data")
        await aa.hold_sync()
        assert [t["callback"] for t in await aa.tasks(statusfilter="a,w,p")] == ["ReSync"]
        assert [t["callback"] for t in await aa.tasks(statusfilter="c,completed")] == ["FolderRefresh", "InitialSync"]
        assert [t["callback"] for t in await aa.tasks(limit=1)] == ["ReSync"]
        assert int((await aa.call("getUserBackgroundTasks", limit=1))["response"]["total"]) == 3
        await aa.release_sync()


async def test_many_refreshes_hide_a_sync_unless_the_limit_is_high():
    async with access_anywhere(MemoryStorage({"data": {}})) as aa:
        for _ in range(120):
            await aa.refresh("/P/data")
        assert {t["callback"] for t in await aa.tasks()} == {"FolderRefresh"}
        listed = [t["callback"] for t in await aa.tasks(limit=1000)]
        assert (listed.count("FolderRefresh"), listed[-1]) == (120, "InitialSync")


async def test_initial_syncs_have_the_times_in_the_settings():
    provider = Provider("P", buckets=("data",), synced=Synced(0, 3600, files=7))
    async with access_anywhere(MemoryStorage({"data": {}}), [provider, Provider("Q")], clock=ServersClock()) as aa:
        second, first = await aa.tasks()
        assert [first["bt_added"], first["bt_completed"], int(first["bt_files"])] == [
            "1970-01-01 00:00:00",
            "1970-01-01 01:00:00",
            7,
        ]
        assert second["bt_completed"] == "2023-11-14 22:13:20"


async def test_with_settings_tasks_show_neither_provider_nor_start():
    options = {"unnamed_tasks": True, "tasks_without_start": True}
    async with access_anywhere(MemoryStorage({"data": {"one": b"", "a/two": b""}}), **options) as aa:
        await aa.start_sync()
        latest = (await aa.synced())[0]
        assert "fi_provider" not in latest
        assert latest["bt_added"] == "0000-00-00 00:00:00"
        assert int(latest["bt_files"]) == 2


async def test_an_event_updates_its_object_in_every_folder_that_shows_it():
    storage = MemoryStorage({"data": {"part/a/new": b"12", "part/a/other": b""}})
    providers = [
        Provider("P", buckets=("data",)),
        Provider("Part", buckets=("data",), prefix="part/"),
        Provider("Is", buckets=("data",), is_bucket=True),
        Provider("Else", buckets=("data",), prefix="else/"),
    ]
    async with access_anywhere(storage, providers) as aa:
        assert await aa.event("part/a/new", event="ObjectCreated:Put") == 3
        assert await aa.paths() == {"/P/data/part/a/new", "/Part/data/a/new", "/Is/part/a/new"}
        storage.delete("data", "part/a/new")
        assert await aa.event("part/a/new") == 3
        assert await aa.paths() == set()
        # The folder's other file exists in S3, but is not in the index yet.
        assert await aa.item("/Is/part/a")
        storage.delete("data", "part/a/other")
        await aa.event("part/a/other")
        assert await aa.item("/Is/part") == {}
        first, *_, last = (await aa.http.get("/sandbox/events")).json()
        assert (first["n"], first["bucket"], first["key"]) == (1, "data", "part/a/new")
        assert (first["event"], first["exists"]) == ("ObjectCreated:Put", True)
        assert first["places"] == ["/P/data", "/Part/data", "/Is"]
        assert first["asked"] <= first["looked"] <= first["done"]
        assert not last["exists"]
        assert (await aa.http.get("/sandbox/events", params={"since": 2})).json() == [last]


async def test_a_call_can_contain_many_events():
    storage = MemoryStorage({"data": {"one": b"", "a/two": b"", "b/": b""}})
    async with access_anywhere(storage) as aa:
        events = [{"bucket": "data", "key": key} for key in ("one", "a/two", "gone", "b/")]
        events += [{"bucket": "elsewhere", "key": "x", "event": "ObjectRemoved:Delete"}]
        answer = await aa.call("syncOnProviderEvent", events=json.dumps(events))
        assert int(answer["updated"]) == 4
        assert await aa.paths() == {"/P/data/one", "/P/data/a/two"}
        assert await aa.names("/P/data") == ["a", "b", "one"]


@pytest.mark.parametrize("wrong", [{}, {"bucket": "data"}, {"events": "[{}]"}, {"events": "x"}])
async def test_an_event_without_bucket_or_key_is_refused(wrong):
    async with access_anywhere(MemoryStorage({"data": {}})) as aa:
        assert (await aa.call("syncOnProviderEvent", **wrong))["status"] == "invalid_parameter"


async def test_an_event_fails_if_s3_fails():
    storage = MemoryStorage({"data": {}})
    async with access_anywhere(storage) as aa:
        storage.delete_bucket("data")
        answer = await aa.call("syncOnProviderEvent", bucket="data", key="x")
        assert answer["status"] == "provider_error"
        assert (await aa.http.get("/sandbox/events")).json() == []


keys = st.lists(st.sampled_from("ab"), min_size=1, max_size=4).map("/".join)


@expensive(60)
@given(
    st.sets(keys, max_size=8),
    st.lists(st.tuples(st.sampled_from(["change", "refresh", "sync"]), keys, st.integers(0, 30)), max_size=25),
)
async def test_with_an_event_after_each_change_the_index_equals_s3_despite_refreshes_and_syncs(before, actions):
    storage = JitteryStorage({"data": dict.fromkeys(before, b"")})
    async with access_anywhere(storage, clock=Ticking()) as aa:
        await aa.start_sync()
        await aa.synced()

        async def refresh(path: str) -> None:
            if folder := await aa.item(path):
                await aa.call("getFolderContents", fi_pid=folder["fi_id"], refresh="y", refreshtype="a")

        running = []
        for action, key, pause in actions:
            if action == "sync":
                await aa.start_sync()
            elif action == "refresh":
                running.append(asyncio.create_task(refresh(f"/P/data/{key}".rpartition("/")[0])))
            else:
                change = storage.delete if key in storage.objects("data") else storage.put
                change("data", key)
                running.append(asyncio.create_task(aa.event(key)))
            for _ in range(pause):
                await asyncio.sleep(0)
        await asyncio.gather(*running)
        await aa.synced()
        assert await aa.paths() == {f"/P/data/{key}" for key in storage.objects("data")}


@settings(deadline=None)
@given(
    st.sets(st.text("ab/0.-é😀\U0010fffe", min_size=1, max_size=6), max_size=20),
    st.sampled_from(["", "a", "a/", "/", "é/", "b//", "none/"]),
)
async def test_memory_storage_lists_as_s3_does(keys, prefix):
    storage = MemoryStorage({"data": dict.fromkeys(keys, b"")})
    for extra in ("a/x", "zzz"):
        storage.put("data", extra)
        storage.delete("data", extra)
    below = sorted((key for key in keys - {"a/x", "zzz"} if key.startswith(prefix)), key=str.encode)
    assert [o.key for o in await storage.list_all("data", prefix)] == below
    heads = {key: key[len(prefix) :].partition("/") for key in below}
    listed = await storage.list("data", prefix)
    assert [o.key for o in listed.files] == [key for key, (_, slash, _) in heads.items() if not slash]
    assert list(listed.prefixes) == list(
        dict.fromkeys(f"{prefix}{head}/" for head, slash, _ in heads.values() if slash)
    )


async def test_with_moto_an_added_provider_shows_its_buckets(new_aws):
    s3 = S3Storage(new_aws, {})
    async with access_anywhere(s3, []) as aa:
        await aa.show({"name": "P", "region": "eu-west-1", "buckets": ["added", "missing"]})
        await aa.synced()
        assert await aa.names("/P") == []
        where = {"LocationConstraint": "eu-west-1"}
        client = s3._clients["added"]
        await asyncio.to_thread(client.create_bucket, Bucket="added", CreateBucketConfiguration=where)
        for key in ("one", "a/ü+%41 b", "big"):
            await s3.write("added", key, b"x" * (3_000_000 if key == "big" else 1), "text/plain")
        await aa.start_sync()
        await aa.synced()
        assert await aa.paths() == {"/P/added/one", "/P/added/a/ü+%41 b", "/P/added/big"}
        await asyncio.to_thread(client.delete_object, Bucket="added", Key="a/ü+%41 b")
        assert await aa.event("a/ü+%41 b", "added") == 1
        assert await aa.paths() == {"/P/added/one", "/P/added/big"}
        seen, listed = await s3.head("added", "one"), (await s3.list("added", "o")).files[0]
        assert (seen.key, seen.size, seen.etag) == (listed.key, listed.size, listed.etag)
        file = await aa.item("/P/added/big")
        body = {"function": "getFile", "token": aa.token, "fi_id": file["fi_id"]}
        assert len((await aa.http.post("/api/rpc.php", data=body)).content) == 3_000_000
