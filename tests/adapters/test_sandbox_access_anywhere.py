"""The sandbox's Access Anywhere over a real socket. S3 is in memory; the last tests use moto."""

import asyncio
import base64
import json
import signal
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest
from tests.clocks import ServersClock
from tests.processes import PATIENCE, children, eventually, is_alive, started
from tests.rpc import Rpc, refreshed

from jibe_sqs.sandbox.access_anywhere import (
    AccessAnywhereServer,
    Listing,
    MemoryStorage,
    Provider,
    S3Storage,
    create_app,
    serving,
)

PROVIDER = "Amazon S3 us-east-1"
CONFIG = AccessAnywhereServer(
    login="jibe",
    password="pass word",
    permanent_token="permanent",
    recent_window=0,
    refresh_seconds=0,
    providers=(Provider(PROVIDER, "us-east-1", ("data",)),),
)
ODD_KEYS = (
    "plain.txt",
    "a space.txt",
    "plus+plus.txt",
    "per%2Fcent %41.txt",
    "emoji 😀.txt",
    "ünïcödé/naïve é.txt",
    "folder with space/a+b/c%20d.txt",
    "quote\"'&<>?=;#.txt",
    "both",
    "both/inside",
    "Case.txt",
    "case.txt",
)


class Client(Rpc):
    """A minimal client that reads every shape of answers."""

    async def log_in(self) -> "Client":
        self.token = (await self.call("gettoken", us_login="jibe", us_pwd="pass word"))["token"]
        return self

    async def item(self, path: str) -> dict[str, Any] | None:
        return (await self.call("checkPathExists", path=path)).get("file")

    async def listing(self, path: str) -> list[str]:
        folder = await self.item(path)
        assert folder
        answer = await self.call("getFolderContents", fi_pid=folder["fi_id"])
        return [item["fi_name"] for item in items(answer["filelist"])]

    async def ask_refresh(self, path: str) -> Callable[[], Awaitable[dict[str, Any]]]:
        """Start a refresh. Returns the function that asks whether it has ended."""
        folder = await self.item(path)
        assert folder, path
        asking = {"fi_pid": folder["fi_id"], "refresh": "y", "refreshtype": "a", "options": "basic_fields", "count": 1}
        token = ((await self.call("getFolderContents", **asking)).get("refreshresult") or {}).get("token")
        assert token, "refreshed recently"
        return lambda: self.call("getFolderContents", **asking, refreshtoken=token)

    async def refresh(self, path: str) -> dict[str, Any]:
        return await refreshed(await self.ask_refresh(path))

    async def refresh_all(self, path: str = f"/{PROVIDER}/data") -> None:
        await self.refresh(path)
        for name in {f["path"] for f in await self.folders(path)}:
            await self.refresh_all(name)

    async def folders(self, path: str) -> list[dict[str, Any]]:
        folder = await self.item(path)
        assert folder
        answer = await self.call("getFolderContents", fi_pid=folder["fi_id"])
        found = [item for item in items(answer["filelist"]) if str(item["fi_type"]) == "1"]
        return [item | {"path": f"{path}/{item['fi_name']}"} for item in found]

    async def index(self) -> set[str]:
        return {file["key"] for file in (await self.http.get("/sandbox/index")).json()}


def items(filelist: Any) -> list[dict[str, Any]]:
    if isinstance(filelist, list):
        return filelist
    return [filelist] if "fi_id" in filelist else list(filelist.values())


@asynccontextmanager
async def access_anywhere(storage: Any, config: AccessAnywhereServer = CONFIG, **more: Any) -> AsyncIterator[Client]:
    with serving(create_app(config, storage, **more)) as url:
        async with httpx.AsyncClient(base_url=url, timeout=PATIENCE) as http:
            yield await Client(http).log_in()


class HeldStorage(MemoryStorage):
    """Lists at once, but can hold back the result for a bucket's top folder."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.listed = threading.Event()
        self.released = threading.Event()
        self.released.set()

    def hold(self) -> None:
        self.listed.clear()
        self.released.clear()

    async def list(self, bucket: str, prefix: str) -> Listing:
        found = await super().list(bucket, prefix)
        if prefix == "":
            self.listed.set()
            assert await asyncio.to_thread(self.released.wait, PATIENCE), "the test did not release the listing"
        return found


@pytest.fixture
def storage() -> HeldStorage:
    return HeldStorage({"data": {"top.txt": b"top", "a/one.txt": b"one", "a/b/two.txt": b"two"}})


async def test_the_index_changes_only_by_a_refresh(storage):
    async with access_anywhere(storage) as aa:
        assert await aa.index() == set()
        assert await aa.listing(f"/{PROVIDER}/data") == []
        await aa.refresh(f"/{PROVIDER}/data")
        assert await aa.index() == {"top.txt"}
        storage.put("data", "late.txt")
        storage.delete("data", "top.txt")
        assert await aa.index() == {"top.txt"}
        await aa.refresh(f"/{PROVIDER}/data")
        assert await aa.index() == {"late.txt"}


async def test_a_refresh_shows_one_folder_and_the_names_of_its_subfolders(storage):
    async with access_anywhere(storage) as aa:
        await aa.refresh(f"/{PROVIDER}/data")
        assert await aa.listing(f"/{PROVIDER}/data") == ["a", "top.txt"]
        assert await aa.listing(f"/{PROVIDER}/data/a") == []
        await aa.refresh(f"/{PROVIDER}/data/a")
        assert await aa.listing(f"/{PROVIDER}/data/a") == ["b", "one.txt"]
        assert await aa.index() == {"top.txt", "a/one.txt"}


async def test_a_folder_that_is_gone_is_removed_with_all_its_contents(storage):
    async with access_anywhere(storage) as aa:
        await aa.refresh_all()
        below = await aa.item(f"/{PROVIDER}/data/a/b")
        assert below
        storage.delete("data", "a/one.txt")
        storage.delete("data", "a/b/two.txt")
        await aa.refresh(f"/{PROVIDER}/data")
        assert await aa.index() == {"top.txt"}
        assert await aa.item(f"/{PROVIDER}/data/a/b") is None
        gone = await aa.call("getFolderContents", fi_pid=below["fi_id"])
        assert gone["status"] in {"not_found", "trashed"}


async def test_an_earlier_listing_does_not_remove_what_was_seen_later(storage):
    """The bucket was listed before folder `a` existed; folder `a` was listed after it had been created again."""
    async with access_anywhere(storage) as aa:
        await aa.refresh(f"/{PROVIDER}/data")
        storage.delete("data", "a/one.txt")
        storage.delete("data", "a/b/two.txt")
        storage.hold()
        earlier = await aa.ask_refresh(f"/{PROVIDER}/data")
        assert await asyncio.to_thread(storage.listed.wait, PATIENCE)
        storage.put("data", "a/three.txt")
        await aa.refresh(f"/{PROVIDER}/data/a")
        storage.released.set()
        await refreshed(earlier)
        assert await aa.index() == {"top.txt", "a/three.txt"}


async def test_an_earlier_listing_removes_all_but_what_was_seen_later(storage):
    async with access_anywhere(storage) as aa:
        await aa.refresh_all()
        for key in ("a/one.txt", "a/b/two.txt"):
            storage.delete("data", key)
        storage.hold()
        earlier = await aa.ask_refresh(f"/{PROVIDER}/data")
        assert await asyncio.to_thread(storage.listed.wait, PATIENCE)
        storage.put("data", "a/b/three.txt")
        await aa.refresh(f"/{PROVIDER}/data/a/b")
        storage.released.set()
        await refreshed(earlier)
        assert await aa.index() == {"top.txt", "a/b/three.txt"}


async def test_a_refresh_lists_s3_after_the_request_and_shows_the_result_at_its_end(storage):
    async with access_anywhere(storage) as aa:
        storage.hold()
        after = await aa.ask_refresh(f"/{PROVIDER}/data")
        assert await asyncio.to_thread(storage.listed.wait, PATIENCE)
        storage.put("data", "late.txt")
        for _ in range(3):
            assert (await after())["stillsyncing"] in {"y", 1}
        assert await aa.index() == set()
        storage.released.set()
        await refreshed(after)
        assert await aa.index() == {"top.txt"}


async def test_completed_refreshes_are_recorded(storage):
    async with access_anywhere(storage, replace(CONFIG, refresh_seconds=0.05)) as aa:
        await aa.refresh(f"/{PROVIDER}/data")
        await aa.refresh(f"/{PROVIDER}/data/a")
        first, second = (await aa.http.get("/sandbox/refreshes")).json()
        assert first["asked"] <= first["listed"] <= first["done"] - 0.04
        assert (first["n"], first["folder"], first["bucket"], first["prefix"]) == (1, f"/{PROVIDER}/data", "data", "")
        assert (second["n"], second["folder"], second["prefix"]) == (2, f"/{PROVIDER}/data/a", "a/")
        assert (await aa.http.get("/sandbox/refreshes", params={"since": 1})).json() == [second]


async def test_a_request_during_a_refresh_gets_a_later_refresh(storage):
    async with access_anywhere(storage) as aa:
        storage.hold()
        first = await aa.ask_refresh(f"/{PROVIDER}/data")
        assert await asyncio.to_thread(storage.listed.wait, PATIENCE)
        storage.put("data", "late.txt")
        second = await aa.ask_refresh(f"/{PROVIDER}/data")
        third = await aa.ask_refresh(f"/{PROVIDER}/data")
        storage.released.set()
        for job in (first, second, third):
            await refreshed(job)
        assert "late.txt" in await aa.index()
        # The third request came while the second one waited, and shares its refresh.
        one, other = (await aa.http.get("/sandbox/refreshes")).json()
        assert one["done"] <= other["listed"]


async def test_a_folder_refreshed_recently_is_not_refreshed_again(storage):
    clock = ServersClock()
    async with access_anywhere(storage, replace(CONFIG, recent_window=0.5), clock=clock) as aa:
        await aa.refresh(f"/{PROVIDER}/data")
        folder = await aa.item(f"/{PROVIDER}/data")
        storage.put("data", "late.txt")
        for _ in range(4):
            answer = await aa.call("getFolderContents", fi_pid=folder["fi_id"], refresh="y", refreshtype="a")
            assert answer["status"] == "ok"
            assert not (answer["refreshresult"] or {}).get("token")
        assert await aa.index() == {"top.txt"}
        clock.time += 0.5
        await aa.refresh(f"/{PROVIDER}/data")
        assert "late.txt" in await aa.index()


async def test_a_refresh_that_s3_refuses_fails_and_leaves_the_index_unchanged(storage):
    async with access_anywhere(storage) as aa:
        await aa.refresh(f"/{PROVIDER}/data")
        storage.delete_bucket("data")
        answer = await aa.refresh(f"/{PROVIDER}/data")
        assert answer["status"] == "provider_error"
        assert "NoSuchBucket" in answer["statusmessage"]
        assert await aa.index() == {"top.txt"}
        assert (await aa.call("getFolderContents", refreshtoken="unheard-of"))["status"] == "refresh_not_found"


async def test_a_refreshed_provider_shows_the_buckets_that_exist(storage):
    config = replace(CONFIG, providers=(Provider(PROVIDER, buckets=("data", "other")),))
    async with access_anywhere(storage, config) as aa:
        assert await aa.listing(f"/{PROVIDER}") == ["data", "other"]
        await aa.refresh(f"/{PROVIDER}")
        assert await aa.listing(f"/{PROVIDER}") == ["data"]
        storage.create_bucket("other")
        await aa.refresh(f"/{PROVIDER}")
        assert [(f["fi_name"], f["isbucket"]) for f in await aa.folders(f"/{PROVIDER}")] == [
            ("data", "y"),
            ("other", "y"),
        ]


async def test_a_bucket_in_two_providers_is_refreshed_in_each(storage):
    config = replace(CONFIG, providers=(Provider("One", buckets=("data",)), Provider("Two", buckets=("data",))))
    async with access_anywhere(storage, config) as aa:
        await aa.refresh("/Two/data")
        paths = [file["path"] for file in (await aa.http.get("/sandbox/index")).json()]
        assert paths == ["/Two/data/top.txt"]


async def test_odd_keys_keep_their_names():
    storage = MemoryStorage({"data": dict.fromkeys(ODD_KEYS, b"x")})
    async with access_anywhere(storage) as aa:
        await aa.refresh_all()
        assert await aa.index() == set(ODD_KEYS)
        for file in (await aa.http.get("/sandbox/index")).json():
            item = await aa.item(file["path"])
            assert item
            assert item["fi_name"] == file["key"].rpartition("/")[2]


async def test_empty_names_and_folder_markers_are_folders():
    storage = MemoryStorage({"data": dict.fromkeys(("a/", "a//b", "/c"), b"")})
    async with access_anywhere(storage) as aa:
        await aa.refresh_all()
        assert await aa.index() == {"a//b", "/c"}
        item = await aa.item(f"/{PROVIDER}/data/a//b")
        assert item
        assert item["fi_name"] == "b"


async def test_paths_are_found_in_any_case_and_the_exact_case_first():
    storage = MemoryStorage({"data": dict.fromkeys(("Case.txt", "case.txt", "Dir/File", "x", "x/y"), b"")})
    async with access_anywhere(storage) as aa:
        await aa.refresh_all()
        found = {
            name: await aa.item(f"/amazon s3 US-EAST-1/DATA/{name}") for name in ("case.txt", "Case.txt", "DIR/file")
        }
        assert [item["fi_name"] for item in found.values() if item] == ["case.txt", "Case.txt", "File"]
        folder = await aa.item(f"/{PROVIDER}/data/x")
        assert folder
        assert folder["fi_type"] == "1"


async def test_a_path_is_looked_up_below_any_folder(storage):
    async with access_anywhere(storage) as aa:
        await aa.refresh_all()
        bucket = await aa.item(f"{PROVIDER}/data/")
        assert bucket
        below = await aa.call("checkPathExists", path="a/one.txt", pid=bucket["fi_id"])
        assert below["exists"] == "y"
        assert below["file"]["fi_name"] == "one.txt"
        root = await aa.call("checkPathExists", path="", pid=0)
        assert root["file"]["fi_id"] == "0"


async def test_a_missing_path_has_two_kinds_of_answers(storage):
    async with access_anywhere(storage) as aa:
        answers = [await aa.call("checkPathExists", path="/nowhere", options="basic_fields") for _ in range(4)]
        assert {a.get("exists") or a["status"] for a in answers} == {"n", "not_found"}


async def test_paging_reaches_every_item_once():
    names = {f"{n:04}" for n in range(1203)}
    async with access_anywhere(MemoryStorage({"data": dict.fromkeys(names, b"")})) as aa:
        await aa.refresh(f"/{PROVIDER}/data")
        folder = await aa.item(f"/{PROVIDER}/data")
        seen: list[str] = []
        while True:
            page = await aa.call(
                "getFolderContents",
                fi_pid=folder["fi_id"],
                options="filelist|fi_id|fi_name",
                **{"from": len(seen)},
                count=500,
            )
            seen += [item["fi_name"] for item in items(page["filelist"])]
            if len(seen) >= int(page["total"]):
                break
        assert len(seen) == 1203
        assert set(seen) == names
        everything = await aa.call("getFolderContents", fi_pid=folder["fi_id"], count=0)
        assert len(items(everything["filelist"])) == 1203


async def test_the_same_value_comes_in_every_shape(storage):
    async with access_anywhere(storage) as aa:
        await aa.refresh_all()
        folder = await aa.item(f"/{PROVIDER}/data/a/b")
        asked = {"fi_pid": folder["fi_id"], "options": "filelist|fi_id|fi_name|fi_size"}
        answers = [await aa.call("getFolderContents", **asked) for _ in range(12)]
        assert {json.dumps(items(a["filelist"])).replace('"', "") for a in answers} == {
            json.dumps(items(answers[0]["filelist"])).replace('"', "")
        }
        shapes = {"list" if isinstance(f := a["filelist"], list) else next(iter(f)) for a in answers}
        assert shapes == {"list", "n0", "fi_id"}
        for name in ("total", "from"):
            assert {type(a[name]) for a in answers} == {str, int}
        assert {type(a.get("taskid")) for a in answers} == {str, int, type(None)}
        assert {type(items(a["filelist"])[0]["fi_size"]) for a in answers} == {str, int}


async def test_only_the_requested_fields_are_returned(storage):
    async with access_anywhere(storage) as aa:
        await aa.refresh(f"/{PROVIDER}/data")
        folder = await aa.item(f"/{PROVIDER}/data")
        answer = await aa.call("getFolderContents", fi_pid=folder["fi_id"], options="filelist|fi_id|fi_name")
        assert all(item.keys() == {"fi_id", "fi_name"} for item in items(answer["filelist"]))
        assert "folder" not in answer
        answer = await aa.call("getFolderContents", fi_pid=folder["fi_id"], options="basic_fields")
        assert answer["folder"]["fi_name"] == "data"


async def test_times_are_utc_and_sometimes_zero():
    storage = MemoryStorage({"data": {"a": b"", "b": b""}}, clock=ServersClock(0.0))
    async with access_anywhere(storage) as aa:
        await aa.refresh(f"/{PROVIDER}/data")
        found = [await aa.item(f"/{PROVIDER}/data/{name}") for name in "ab"]
        assert {item["fi_modified"] for item in found} == {"1970-01-01 00:00:00"}
        assert {item["fi_localtime"] for item in found} == {"1970-01-01 00:00:00", "0000-00-00 00:00:00"}


async def test_function_names_ignore_case_and_unknown_functions_are_refused(storage):
    async with access_anywhere(storage) as aa:
        assert (await aa.call("GETFOLDERCONTENTS"))["status"] == "ok"
        assert (await aa.call("getApplianceInfo", token="*"))["softwareversionlabel"]
        assert (await aa.call("nonsense"))["status"] == "unknown_function"


async def test_only_the_password_and_the_permanent_token_log_in(storage):
    async with access_anywhere(storage) as aa:
        permanent = await aa.call("getTokenByAuthToken", token="*", authtoken="permanent")
        assert permanent["userid"]
        assert (await aa.call("getFolderContents", token=permanent["token"]))["status"] == "ok"
        for wrong in (
            await aa.call("getToken", us_login="jibe", us_pwd="wrong"),
            await aa.call("getToken", us_login="Jibe\u00e9", us_pwd="pass word"),
            await aa.call("getTokenByAuthToken", authtoken=""),
            await aa.call("getTokenByAuthToken", authtoken="wrong"),
            await aa.call("getFolderContents", token="*"),
            await aa.call("getFolderContents", token=""),
        ):
            assert wrong["status"] == "login_fail"
        assert (await aa.http.get("/sandbox/stats")).json() == {
            "calls": {"gettoken": 3, "gettokenbyauthtoken": 3, "getfoldercontents": 3},
            "refreshes": 0,
            "logins": 2,
            "refused_logins": 4,
            "faults": {},
        }


async def test_an_unset_permanent_token_is_never_accepted(storage):
    async with access_anywhere(storage, replace(CONFIG, permanent_token="")) as aa:
        assert (await aa.call("getTokenByAuthToken", authtoken=""))["status"] == "login_fail"


async def test_a_token_expires_an_hour_after_its_last_use(storage):
    clock = ServersClock()
    async with access_anywhere(storage, clock=clock) as aa:
        for _ in range(3):
            clock.time += 3600
            assert (await aa.call("getFolderContents"))["status"] == "ok"
        clock.time += 3601
        for _ in range(2):
            assert (await aa.call("getFolderContents"))["status"] == "login_token_expired"
        await aa.log_in()
        assert (await aa.call("getFolderContents"))["status"] == "ok"


def test_secrets_are_not_in_the_settings_repr():
    assert "pass word" not in repr(CONFIG)
    assert "permanent'" not in repr(CONFIG)


@pytest.mark.parametrize(
    ("span", "status", "body", "content_range"),
    [
        (None, 200, b"0123456789", None),
        ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=8-99", 206, b"89", "bytes 8-9/10"),
    ],
)
async def test_a_file_is_read_whole_or_in_part(span, status, body, content_range):
    async with access_anywhere(MemoryStorage({"data": {"f": b"0123456789"}})) as aa:
        await aa.refresh(f"/{PROVIDER}/data")
        file = await aa.item(f"/{PROVIDER}/data/f")
        form = {"function": "getFile", "token": aa.token, "fi_id": file["fi_id"]}
        headers = {"Range": span} if span else {}
        posted = await aa.http.post("/api/rpc.php", data=form, headers=headers)
        got = await aa.http.get("/api/rpc.php", params=form, headers=headers)
        for answer in (posted, got):
            assert (answer.status_code, answer.content) == (status, body)
            assert answer.headers.get("content-range") == content_range
            assert answer.headers["content-length"] == str(len(body))


async def test_a_failed_download_has_the_error_in_its_headers(storage):
    async with access_anywhere(storage) as aa:
        await aa.refresh(f"/{PROVIDER}/data")
        file = await aa.item(f"/{PROVIDER}/data/top.txt")
        storage.delete("data", "top.txt")
        form = {"function": "getFile", "token": aa.token, "fi_id": file["fi_id"]}
        answer = await aa.http.post("/api/rpc.php", data=form)
        assert "NoSuchKey" in base64.b64decode(answer.headers["X-NAA-DOWNLOAD-ERROR"]).decode()
        assert answer.headers["X-NAA-DOWNLOAD-ERROR-STATUS"] == answer.headers["X-SME-DOWNLOAD-ERROR-STATUS"]
        assert answer.headers["X-PROVIDER-DOWNLOAD-ERROR-CODE"] == "NoSuchKey"
        answer = await aa.http.post("/api/rpc.php", data=form | {"token": "forgotten"})
        assert answer.headers["X-NAA-DOWNLOAD-ERROR-STATUS"] == "login_token_expired"
        assert answer.json()["status"] == "login_token_expired"


async def test_an_upload_is_in_s3_and_in_the_index_at_once(storage):
    async with access_anywhere(storage) as aa:
        folder = await aa.item(f"/{PROVIDER}/data")
        name = "report é+%2B.csv"
        begun = await aa.call("doInitUpload", fi_name=name, fi_filename=name, fi_pid=folder["fi_id"], fi_size=5)
        early = await aa.call("doCompleteUpload", uploadcode=begun["uploadcode"], fi_size=5)
        assert early["status"] == "upload_incomplete"
        where = f"/cgi-bin/uploader/uploader1.cgi?{begun['uploadcode']}"
        sent = (await aa.http.post(where, files={"datafile": (name, b"a,b\r\n")})).json()
        assert (int(sent["filesize"]), sent["success"]) == (5, "y")
        done = await aa.call("doCompleteUpload", uploadcode=begun["uploadcode"], fi_size=5)
        assert done["file"]["fi_name"] == name
        assert await aa.index() == {name}
        assert await (await storage.read("data", name)).body() == b"a,b\r\n"
        assert (await aa.call("doCompleteUpload", uploadcode=begun["uploadcode"]))["status"] == "upload_not_found"


async def test_a_refresh_that_began_before_an_upload_does_not_remove_it(storage):
    async with access_anywhere(storage) as aa:
        folder = await aa.item(f"/{PROVIDER}/data")
        begun = await aa.call("doInitUpload", fi_name="new", fi_pid=folder["fi_id"])
        await aa.http.put(f"/cgi-bin/uploader/uploader1.cgi/bmV3?{begun['uploadcode']}", content=b"new")
        storage.hold()
        refresh = await aa.ask_refresh(f"/{PROVIDER}/data")
        assert await asyncio.to_thread(storage.listed.wait, PATIENCE)
        upload = asyncio.create_task(aa.call("doCompleteUpload", uploadcode=begun["uploadcode"]))
        while "docompleteupload" not in (await aa.http.get("/sandbox/stats")).json()["calls"]:
            await asyncio.sleep(0)
        storage.released.set()
        await refreshed(refresh)
        assert (await upload)["status"] == "ok"
        assert await aa.index() == {"top.txt", "new"}


async def test_uploads_outside_of_buckets_are_refused(storage):
    async with access_anywhere(storage) as aa:
        assert (await aa.call("doInitUpload", fi_name="x", fi_pid=0))["status"] == "upload_not_allowed"
        assert (await aa.http.post("/cgi-bin/uploader/uploader1.cgi?unheard-of")).json()["success"] == "n"


async def test_moto_and_memory_give_the_same_results(new_aws):
    s3 = S3Storage(new_aws, {"data": "us-east-1", "missing": "eu-west-1"})
    await asyncio.to_thread(s3._clients["data"].create_bucket, Bucket="data")
    for key in ODD_KEYS:
        await s3.write("data", key, b"0123456789", "text/plain")
    memory = MemoryStorage({"data": dict.fromkeys(ODD_KEYS, b"0123456789")})
    for prefix in ("", "folder with space/", "folder with space/a+b/", "both/", "ünïcödé/", "none/"):
        real, double = await s3.list("data", prefix), await memory.list("data", prefix)
        assert sorted((f.key, f.size, f.etag) for f in real.files) == [(f.key, f.size, f.etag) for f in double.files]
        assert sorted(real.prefixes) == list(double.prefixes)
    real, double = [await s.read("data", "emoji 😀.txt", "bytes=1-2") for s in (s3, memory)]
    assert (real.size, real.content_range) == (double.size, double.content_range)
    assert await real.body() == await double.body() == b"12"
    assert await s3.exists("data")
    assert not await s3.exists("missing")
    assert not await memory.exists("missing")
    for storage in (s3, memory):
        for call in (storage.list("missing", ""), storage.read("data", "none")):
            with pytest.raises(Exception, match=r"NoSuch(Bucket|Key)"):
                await call


@pytest.fixture
def command(tmp_path):
    config = {
        "login": "jibe",
        "password": "p",
        "providers": [{"name": PROVIDER, "region": "us-east-1", "buckets": ["b"]}],
    }
    (tmp_path / "aa.json").write_text(json.dumps(config))
    return [
        *(sys.executable, "-m", "jibe_sqs.sandbox.access_anywhere"),
        *("--aws-endpoint", "http://127.0.0.1:9", "--config", str(tmp_path / "aa.json"), "--exit-with-parent"),
    ]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_process_prints_its_endpoint_and_stops_on_a_signal(command, tmp_path, number):
    with started(command, tmp_path) as process:
        with httpx.Client(base_url=json.loads(process.line())["endpoint"], timeout=PATIENCE) as http:
            body = {"function": "gettoken", "us_login": "jibe", "us_pwd": "p"}
            assert http.post("/api/rpc.php", data=body).json()["status"] == "ok"
            assert process.stop(number) == 0
        assert (process.said.count("\n"), process.output) == (1, "")


def test_the_process_ends_with_its_parent(command, tmp_path):
    parent_that_waits = "import subprocess, sys; subprocess.run(sys.argv[1:])"
    with started([sys.executable, "-c", parent_that_waits, *command], tmp_path) as parent:
        endpoint = json.loads(parent.line())["endpoint"]
        (process,) = children(parent.process.pid)
        parent.process.kill()
        eventually(lambda: not is_alive(process), "its end")
    with pytest.raises(httpx.ConnectError):
        httpx.get(endpoint)
