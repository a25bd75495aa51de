"""Changes through the sandbox's Access Anywhere: S3 and the index change in the same way, and each call to S3 is
recorded.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest
from hypothesis import given
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
    create_app,
)

CONFIG = AccessAnywhereServer(
    login="jibe", password="p", permanent_token="permanent", recent_window=0, refresh_seconds=0
)
PROVIDERS = (Provider("P", buckets=("data",)), Provider("Q", buckets=("other",)))
KEYS = ("top.txt", "a/one.txt", "a/b/two.txt", "c/three.txt")


class Ticking(ServersClock):
    """A clock that never returns the same time twice."""

    def __call__(self) -> float:
        self.time += 0.001
        return self.time


class SlowStorage(MemoryStorage):
    """Can hold the listing of a folder's objects, and can refuse copies."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.free = asyncio.Event()
        self.free.set()
        self.refuses = False

    async def list_all(self, bucket: str, prefix: str) -> Sequence[StoredObject]:
        await self.free.wait()
        return await super().list_all(bucket, prefix)

    async def copy(self, source: tuple[str, str], place: tuple[str, str]) -> StoredObject:
        if self.refuses:
            raise StorageError("AccessDenied", "Access Denied")
        return await super().copy(source, place)


class JitteryStorage(MemoryStorage):
    """Every call takes some turns of the event loop, so that other tasks run in between."""

    pauses: Iterator[int] = itertools.cycle((0, 3, 1, 7, 2, 12, 0, 5, 20))

    async def _pause(self) -> None:
        for _ in range(next(self.pauses)):
            await asyncio.sleep(0)

    async def list(self, bucket: str, prefix: str) -> Listing:
        await self._pause()
        found = await super().list(bucket, prefix)
        await self._pause()
        return found

    async def list_all(self, bucket: str, prefix: str) -> Sequence[StoredObject]:
        await self._pause()
        found = await super().list_all(bucket, prefix)
        await self._pause()
        return found

    async def copy(self, source: tuple[str, str], place: tuple[str, str]) -> StoredObject:
        await self._pause()
        seen = await super().copy(source, place)
        await self._pause()
        return seen

    async def remove(self, bucket: str, keys: Sequence[str]) -> None:
        await self._pause()
        await super().remove(bucket, keys)
        await self._pause()

    async def write(self, bucket: str, key: str, body: bytes, content_type: str) -> StoredObject:
        await self._pause()
        seen = await super().write(bucket, key, body, content_type)
        await self._pause()
        return seen


class Client(Rpc):
    def __init__(self, http: httpx.AsyncClient, storage: Any) -> None:
        super().__init__(http)
        self.storage = storage

    async def item(self, path: str) -> dict[str, Any]:
        """An empty id if the path does not exist."""
        return (await self.call("checkPathExists", path=path)).get("file", {})

    async def id(self, path: str) -> str:
        item = await self.item(path)
        assert item, path
        return item["fi_id"]

    async def ok(self, function: str, **params: Any) -> dict[str, Any]:
        answer = await self.call(function, **params)
        assert answer["status"] == "ok", answer
        return answer

    async def done(self, function: str, **params: Any) -> dict[str, Any]:
        """The same, and wait for the background task."""
        answer = await self.ok(function, **params)
        await self.over(answer)
        return answer

    async def over(self, answer: dict[str, Any]) -> None:
        """Wait as rclone does."""

        async def is_over() -> bool:
            return (await self.task(answer))["bt_status"] not in {"a", "w"}

        if answer.get("taskid", "0") not in {"0", 0}:
            await once(is_over)

    async def task(self, answer: dict[str, Any]) -> dict[str, Any]:
        return (await self.call("getUserBackgroundTasks", taskid=answer["taskid"]))["tasks"][0]

    async def index(self) -> dict[str, tuple[int, str]]:
        """ "BUCKET/KEY" -> size and ETag."""
        shown = (await self.http.get("/sandbox/index")).json()
        return {f"{file['bucket']}/{file['key']}": (file["size"], file["etag"]) for file in shown}

    def stored(self, *buckets: str) -> dict[str, tuple[int, str]]:
        return {
            f"{bucket}/{key}": (seen.size, seen.etag)
            for bucket in buckets or ("data", "other")
            for key, seen in self.storage.objects(bucket).items()
        }

    async def keys(self) -> set[str]:
        """The keys in the bucket `data`. Asserts that S3 and the index agree."""
        shown = await self.index()
        assert shown == self.stored()
        return {place.removeprefix("data/") for place in shown if place.startswith("data/")}

    async def writes(self) -> list[tuple[str, str, list[str]]]:
        found = (await self.http.get("/sandbox/writes")).json()
        assert [write["n"] for write in found] == list(range(1, len(found) + 1))
        assert all(write["began"] <= write["at"] for write in found)
        return [(write["kind"], write["bucket"], write["keys"]) for write in found]

    async def ask_refresh(self, path: str) -> str:
        folder = await self.item(path)
        asked = {"fi_pid": folder.get("fi_id", "x"), "refresh": "y", "refreshtype": "a"}
        return ((await self.call("getFolderContents", **asked)).get("refreshresult") or {}).get("token", "")

    async def refresh(self, path: str) -> None:
        if token := await self.ask_refresh(path):
            await refreshed(lambda: self.call("getFolderContents", refreshtoken=token))

    async def sync(self) -> None:
        for provider in ("P", "Q"):
            await self.http.post("/sandbox/sync", json={"provider": provider})

        async def is_done() -> bool:
            return not (await self.call("getUserBackgroundTasks", statusfilter="a,w"))["response"]["tasks"]

        await once(is_done)

    async def upload(self, folder: str, name: str, body: bytes) -> dict[str, Any]:
        begun = await self.call("doInitUpload", fi_name=name, fi_pid=await self.id(folder))
        if begun["status"] != "ok":
            return begun
        await self.http.put(f"/cgi-bin/uploader/uploader1.cgi?{begun['uploadcode']}", content=body)
        return await self.call("doCompleteUpload", uploadcode=begun["uploadcode"])


@asynccontextmanager
async def access_anywhere(
    storage: Any = None, providers: Collection[Provider] = PROVIDERS, **more: Any
) -> AsyncIterator[Client]:
    """A server whose index equals S3."""
    storage = storage or MemoryStorage({"data": {key: key.encode() for key in KEYS}, "other": {}})
    app = create_app(replace(CONFIG, providers=tuple(providers)), storage, clock=Ticking(), **more)
    async with httpx.AsyncClient(transport=InProcess(app), base_url="http://aa", timeout=60) as http:
        aa = await Client(http, storage).log_in()
        await aa.sync()
        yield aa


# Deletions and the trash


async def test_a_deleted_file_is_moved_to_the_trash_in_s3_and_in_the_index():
    async with access_anywhere() as aa:
        file = await aa.id("/P/data/a/one.txt")
        answer = await aa.ok("doDeleteFile", fi_id=file, completedeletion="n")
        assert answer == answer | {"fi_id": file, "deleted": [file], "errors": [], "backgroundtask": 0}
        assert await aa.keys() == {"top.txt", ".trash/one.txt", "a/b/two.txt", "c/three.txt"}
        assert await aa.writes() == [("copy", "data", [".trash/one.txt"]), ("delete", "data", ["a/one.txt"])]


async def test_paths_and_ids_of_items_in_the_trash_are_answered_with_trashed():
    async with access_anywhere() as aa:
        file, folder = await aa.id("/P/data/top.txt"), await aa.id("/P/data/a")
        await aa.ok("doDeleteFile", fi_id=file)
        await aa.done("doDeleteFolder", fi_id=folder)
        for path in ("top.txt", "TOP.txt", "a", "a/b", "a/b/two.txt", ".trash", ".trash/top.txt"):
            answers = [await aa.call("checkPathExists", path=f"/P/data/{path}", options="") for _ in range(2)]
            # rclone reads the word, other clients read the code.
            assert {answer.get("exists", answer["status"]) for answer in answers} == {"n", "trashed"}
            assert (await aa.call("checkPathExists", path=f"/P/data/{path}"))["exists"] == "n"
        for call in (
            {"function": "getFolderContents", "fi_pid": folder},
            {"function": "doRenameFile", "fi_id": file, "fi_name": "x"},
            {"function": "doMoveFolders", "fi_ids": folder, "dir_id": await aa.id("/P/data/c")},
            {"function": "doInitUpload", "fi_pid": folder, "fi_name": "x"},
        ):
            assert (await aa.call(**call))["status"] == "trashed"
        answer = await aa.call("checkPathExists", path="/P/data/never", options="")
        assert answer.get("exists", answer["status"]) in {"n", "not_found"}


async def test_the_trash_is_listed_with_its_flag():
    async with access_anywhere() as aa:
        await aa.ok("doDeleteFile", fi_id=await aa.id("/P/data/top.txt"))
        listed = await aa.ok("getFolderContents", fi_pid=await aa.id("/P/data"), count=0)
        flags = {item["fi_name"]: item["trash"] for item in listed["filelist"]}
        assert flags == {".trash": True, "a": False, "c": False}


async def test_a_name_that_was_deleted_is_free_again():
    async with access_anywhere() as aa:
        await aa.ok("doDeleteFile", fi_id=await aa.id("/P/data/top.txt"))
        assert (await aa.upload("/P/data", "top.txt", b"new"))["status"] == "ok"
        assert (await aa.item("/P/data/top.txt"))["fi_size"] == "3"
        await aa.ok("doDeleteFile", fi_id=await aa.id("/P/data/top.txt"))
        assert {".trash/top.txt", ".trash/top.txt (2)"} < await aa.keys()


@pytest.mark.parametrize("how", ["complete", "twice", "no trash"])
async def test_a_complete_deletion_does_not_use_the_trash(how):
    providers = [replace(provider, trash=how != "no trash") for provider in PROVIDERS]
    async with access_anywhere(providers=providers) as aa:
        file = await aa.id("/P/data/top.txt")
        await aa.ok("doDeleteFile", fi_id=file, completedeletion="y" if how == "complete" else "n")
        if how == "twice":
            await aa.ok("doDeleteFile", fi_id=file)
        assert await aa.keys() == set(KEYS) - {"top.txt"}
        assert (await aa.call("doDeleteFile", fi_id=file))["status"] in {"not_found", "trashed"}


async def test_a_file_that_is_gone_from_s3_can_be_deleted():
    async with access_anywhere() as aa:
        aa.storage.delete("data", "top.txt")
        await aa.ok("doDeleteFile", fi_id=await aa.id("/P/data/top.txt"))
        assert await aa.keys() == set(KEYS) - {"top.txt"}


async def test_a_deleted_folder_goes_to_the_trash_in_the_background():
    storage = SlowStorage({"data": {key: key.encode() for key in KEYS}, "other": {}})
    async with access_anywhere(storage) as aa:
        storage.put("data", "a/b/not known.txt", b"?")
        storage.free.clear()
        answer = await aa.ok("doDeleteFolder", fi_id=await aa.id("/P/data/a"))
        assert answer["backgroundtaskid"] == answer["taskid"]
        assert (await aa.task(answer))["bt_data"]["callback"] == "DeleteFileObjects"
        assert await aa.item("/P/data/a") == {}
        assert "data/a/one.txt" in aa.stored()
        for again in (
            {"function": "doCreateNewFolder", "fi_pid": await aa.id("/P/data"), "fi_name": "A"},
            {"function": "doInitUpload", "fi_pid": await aa.id("/P/data"), "fi_name": "a"},
            {"function": "doRenameFolder", "fi_id": await aa.id("/P/data/c"), "fi_name": "a"},
        ):
            assert (await aa.call(**again))["status"] == "error_background"
        storage.free.set()
        await aa.over(answer)
        assert (await aa.task(answer))["bt_status"] == "c"
        moved = {".trash/a/one.txt", ".trash/a/b/two.txt", ".trash/a/b/not known.txt"}
        assert await aa.keys() == {"top.txt", "c/three.txt"} | moved
        assert (await aa.writes())[-1] == ("delete-many", "data", ["a/b/not known.txt", "a/b/two.txt", "a/one.txt"])
        await aa.ok("doCreateNewFolder", fi_pid=await aa.id("/P/data"), fi_name="a")


@pytest.mark.parametrize("function", ["emptyTrash", "emptyTrashInBackground"])
async def test_an_emptied_trash_is_gone_in_s3_and_in_the_index(function):
    async with access_anywhere() as aa:
        file = await aa.id("/P/data/top.txt")
        await aa.ok("doDeleteFile", fi_id=file)
        await aa.done("doDeleteFolder", fi_id=await aa.id("/P/data/a"))
        await aa.done(function)
        assert await aa.keys() == {"c/three.txt"}
        answer = await aa.call("checkPathExists", path="/P/data/top.txt", options="")
        assert answer.get("exists", answer["status"]) in {"n", "not_found"}
        assert (await aa.done(function)).get("taskid", "0") in {"0", 0}


# Moves and renames


async def test_a_renamed_file_keeps_its_id():
    async with access_anywhere() as aa:
        file = await aa.id("/P/data/a/one.txt")
        answer = await aa.ok("doRenameFile", fi_id=file, fi_name="uno é+%2B.txt")
        assert (answer["file"]["fi_id"], answer["file"]["fi_name"]) == (file, "uno é+%2B.txt")
        assert await aa.id("/P/data/a/uno é+%2B.txt") == file
        assert await aa.keys() == {"top.txt", "a/uno é+%2B.txt", "a/b/two.txt", "c/three.txt"}


async def test_names_are_not_case_sensitive():
    async with access_anywhere() as aa:
        file = await aa.id("/P/DATA/TOP.TXT")
        assert (await aa.call("doRenameFile", fi_id=file, fi_name="A"))["status"] == "already_exists"
        await aa.ok("doRenameFile", fi_id=file, fi_name="Top.txt")
        made = await aa.ok("doCreateNewFolder", fi_pid=await aa.id("/P/data"), fi_name="A")
        assert made["file"]["fi_id"] == await aa.id("/P/data/a")
        assert await aa.keys() == {"Top.txt", *KEYS} - {"top.txt"}


async def test_an_existing_file_is_replaced_only_on_request():
    async with access_anywhere() as aa:
        await aa.upload("/P/data", "two.txt", b"other")
        asked = {"fi_id": await aa.id("/P/data/top.txt"), "fi_name": "two.txt"}
        for refused in ({}, {"overwrite": "n"}):
            assert (await aa.call("doRenameFile", **asked, **refused))["status"] == "already_exists"
        await aa.ok("doRenameFile", **asked, overwrite="y")
        assert await aa.keys() == {"two.txt", ".trash/two.txt", *KEYS} - {"top.txt"}


async def test_moved_files_are_answered_one_by_one():
    async with access_anywhere() as aa:
        files = [await aa.id(f"/P/data/{key}") for key in ("top.txt", "a/one.txt")]
        target = await aa.id("/P/data/c")
        answer = await aa.ok("doMoveFiles", fi_ids=",".join(files), dir_id=target)
        assert answer == answer | {"fi_ids": files, "length": 2, "moved": "2", "filesleft": "0", "dir_id": target}
        assert [item["fi_id"] for item in answer["movedobjects"]] == files
        assert await aa.keys() == {"c/top.txt", "c/one.txt", "c/three.txt", "a/b/two.txt"}


async def test_between_buckets_a_file_is_moved_in_the_background():
    async with access_anywhere() as aa:
        file = await aa.id("/P/data/top.txt")
        answer = await aa.done("doMoveFiles", fi_ids=file, dir_id=await aa.id("/Q/other"))
        assert (await aa.task(answer))["bt_data"]["callback"] == "MoveFiles"
        assert await aa.keys() == set(KEYS) - {"top.txt"}
        assert (await aa.item("/Q/other/top.txt"))["fi_id"] == file
        assert "other/top.txt" in aa.stored()


@pytest.mark.parametrize("function", ["doMoveFolders", "doMoveFolder"])
@pytest.mark.parametrize("target", ["/P/data/c", "/Q/other"])
async def test_a_folder_is_moved_with_all_its_contents_and_their_ids(function, target):
    async with access_anywhere() as aa:
        ids = {path: await aa.id(f"/P/data/{path}") for path in ("a", "a/b", "a/one.txt", "a/b/two.txt")}
        answer = await aa.done(function, fi_ids=ids["a"], dir_id=await aa.id(target))
        assert (await aa.task(answer))["bt_data"]["callback"] == "MoveFolder"
        assert await aa.index() == aa.stored()
        assert {path: await aa.id(f"{target}/{path}") for path in ids} == ids
        assert await aa.item("/P/data/a") == {}


async def test_a_renamed_folder_is_renamed_in_the_background():
    async with access_anywhere() as aa:
        folder = await aa.id("/P/data/a")
        await aa.done("doRenameFolder", fi_id=folder, fi_name="z")
        assert await aa.keys() == {"top.txt", "z/one.txt", "z/b/two.txt", "c/three.txt"}
        assert await aa.id("/P/data/Z") == folder
        await aa.done("doRenameFolder", fi_id=folder, fi_name="Z")
        assert "Z/b/two.txt" in await aa.keys()


async def test_an_empty_folder_can_be_moved():
    async with access_anywhere() as aa:
        made = (await aa.ok("doCreateNewFolder", fi_pid=await aa.id("/P/data/c"), fi_name="empty"))["file"]["fi_id"]
        await aa.ok("doCreateNewFolder", fi_pid=made, fi_name="below")
        await aa.done("doMoveFolders", fi_ids=made, dir_id=await aa.id("/P/data/a"))
        assert await aa.id("/P/data/a/empty/below")


async def test_invalid_changes_are_refused_and_change_nothing():
    async with access_anywhere() as aa:
        a, b, data = [await aa.id(f"/P/data{path}") for path in ("/a", "/a/b", "")]
        top = await aa.id("/P/data/top.txt")
        for status, call in (
            ("invalid_parameter", {"function": "doMoveFolders", "fi_ids": a, "dir_id": b}),
            ("invalid_parameter", {"function": "doMoveFolders", "fi_ids": "", "dir_id": b}),
            ("invalid_parameter", {"function": "doMoveFiles", "fi_ids": "", "dir_id": b}),
            ("not_allowed", {"function": "doMoveFolders", "fi_ids": data, "dir_id": await aa.id("/Q/other")}),
            ("not_allowed", {"function": "doMoveFiles", "fi_ids": top, "dir_id": await aa.id("/Q")}),
            ("not_allowed", {"function": "doDeleteFolder", "fi_id": data}),
            ("not_allowed", {"function": "doDeleteFolder", "fi_id": 0}),
            ("not_allowed", {"function": "doRenameFolder", "fi_id": await aa.id("/P"), "fi_name": "x"}),
            ("invalid_name", {"function": "doRenameFile", "fi_id": top, "fi_name": "x/y"}),
            ("invalid_name", {"function": "doRenameFolder", "fi_id": a, "fi_name": ""}),
            ("already_exists", {"function": "doRenameFolder", "fi_id": a, "fi_name": "C"}),
        ):
            assert (await aa.call(**call))["status"] == status, call
        assert await aa.keys() == set(KEYS)


@pytest.mark.parametrize(
    ("function", "names"),
    [
        ("doDeleteFile", ["fi_id"]),
        ("doDeleteFolder", ["fi_id"]),
        ("doRenameFile", ["fi_id"]),
        ("doRenameFolder", ["fi_id"]),
        ("doModifyFile", ["fi_id"]),
        ("doCopyFile", ["fi_id", "fi_pid"]),
        ("doMoveFiles", ["fi_ids", "dir_id"]),
        ("doMoveFolders", ["fi_ids", "dir_id"]),
        ("doCreateNewFolder", ["fi_pid"]),
    ],
)
async def test_wrong_ids_are_not_found(function, names):
    async with access_anywhere() as aa:
        kind = "a" if "Folder" in function else "top.txt"
        right = {"fi_id": await aa.id(f"/P/data/{kind}"), "fi_pid": await aa.id("/P/data/c")}
        right |= {"fi_ids": right["fi_id"], "dir_id": right["fi_pid"]}
        for name in names:
            for wrong in ("99999", "x", "-1", "1.5"):
                answer = await aa.call(function, **right | {name: wrong, "fi_name": "n"})
                assert answer["status"] == "not_found", (name, wrong)
        assert await aa.keys() == set(KEYS)


async def test_a_file_is_not_a_folder_and_a_folder_is_not_a_file():
    async with access_anywhere() as aa:
        file, folder = await aa.id("/P/data/top.txt"), await aa.id("/P/data/a")
        assert (await aa.call("doDeleteFile", fi_id=folder))["status"] == "not_found"
        assert (await aa.call("doDeleteFolder", fi_id=file))["status"] == "not_found"
        assert (await aa.call("doMoveFiles", fi_ids=file, dir_id=file))["status"] == "not_found"


# Copies, uploads, descriptions


async def test_a_copy_has_an_id_of_its_own():
    async with access_anywhere() as aa:
        file = await aa.id("/P/data/top.txt")
        asked = {"fi_id": file, "fi_pid": await aa.id("/P/data/c")}
        copy = (await aa.ok("doCopyFile", **asked))["file"]
        assert str(copy["fi_id"]) != file
        assert copy["fi_name"] == "top.txt"
        assert (await aa.call("doCopyFile", **asked))["status"] == "already_exists"
        await aa.ok("doCopyFile", **asked, fi_name="other", force="y", options="allownoextension", unknown="ignored")
        assert await aa.keys() == {"c/top.txt", "c/other", *KEYS}


async def test_a_copy_that_replaces_leaves_the_old_file_in_the_trash():
    async with access_anywhere() as aa:
        asked = {"fi_id": await aa.id("/P/data/top.txt"), "fi_pid": await aa.id("/P/data/c")}
        await aa.ok("doCopyFile", **asked, fi_name="three.txt", force="y")
        assert await aa.keys() == {".trash/three.txt", *KEYS}
        assert aa.stored()["data/c/three.txt"] == aa.stored()["data/top.txt"]


async def test_an_upload_that_overwrites_leaves_the_old_file_in_the_trash():
    async with access_anywhere() as aa:
        assert (await aa.upload("/P/data", "top.txt", b"new"))["status"] == "ok"
        assert await aa.keys() == {".trash/top.txt", *KEYS}
        assert aa.stored()["data/top.txt"][0] == 3
        assert (await aa.upload("/P/data", "top.txt", b"new"))["status"] == "ok"
        assert await aa.keys() == {".trash/top.txt", *KEYS}


async def test_an_uploaders_details_stay_with_the_file():
    async with access_anywhere() as aa:
        file = await aa.id("/P/data/top.txt")
        data = "fi_localtime=2001-02-03 04:05:06\nfi_contenttype=text/x-mine\nfi_tags=x\n"
        modified = (await aa.ok("doModifyFile", fi_id=file, data=data))["file"]
        said = {"fi_localtime": "2001-02-03 04:05:06", "fi_contenttype": "text/x-mine"}
        assert modified == modified | said
        await aa.ok("doMoveFiles", fi_ids=file, dir_id=await aa.id("/P/data/a"))
        await aa.done("doRenameFolder", fi_id=await aa.id("/P/data/a"), fi_name="z")
        await aa.refresh("/P/data/z")
        shown = await aa.item("/P/data/z/top.txt")
        assert shown == shown | said


# Errors of S3


async def test_a_change_that_s3_refuses_is_not_shown():
    storage = SlowStorage({"data": {key: key.encode() for key in KEYS}, "other": {}})
    async with access_anywhere(storage) as aa:
        storage.refuses = True
        file = await aa.id("/P/data/top.txt")
        for call in (
            {"function": "doRenameFile", "fi_name": "x"},
            {"function": "doDeleteFile"},
            {"function": "doCopyFile", "fi_pid": await aa.id("/P/data/a")},
        ):
            answer = await aa.call(**call, fi_id=file)
            assert (answer["status"], "AccessDenied" in answer["statusmessage"]) == ("provider_error", True)
        assert await aa.keys() == set(KEYS)
        assert await aa.writes() == []


async def test_a_folder_that_s3_refuses_to_move_ends_its_task_in_error_and_can_be_refreshed():
    storage = SlowStorage({"data": {key: key.encode() for key in KEYS}, "other": {}})
    async with access_anywhere(storage) as aa:
        storage.refuses = True
        answer = await aa.done("doRenameFolder", fi_id=await aa.id("/P/data/a"), fi_name="z")
        task = await aa.task(answer)
        assert (task["bt_status"], "AccessDenied" in task["bt_message"]) == ("error", True)
        await aa.sync()
        assert await aa.keys() == set(KEYS)
        assert (await aa.upload("/P/data/a", "new", b""))["status"] == "ok"


# Concurrent calls

ids = st.integers(2, 26)
"""The ids of the bucket's folder, of items below it, of later items, or of no item."""


@st.composite
def calls(draw: st.DrawFn) -> dict[str, Any]:
    """A call that may change something, a refresh, or a sync of the provider."""
    one, two, name = draw(ids), draw(ids), draw(st.sampled_from(["n1", "n2", "N2", "1", "b"]))
    return draw(
        st.sampled_from(
            [
                {"function": "doRenameFile", "fi_id": one, "fi_name": name},
                {"function": "doRenameFile", "fi_id": one, "fi_name": name, "overwrite": "y"},
                {"function": "doMoveFiles", "fi_ids": one, "dir_id": two},
                {"function": "doCopyFile", "fi_id": one, "fi_pid": two, "fi_name": name, "force": "y"},
                {"function": "doDeleteFile", "fi_id": one, "completedeletion": "n"},
                {"function": "doDeleteFile", "fi_id": one, "completedeletion": "y"},
                {"function": "doCreateNewFolder", "fi_pid": one, "fi_name": name},
                {"function": "doRenameFolder", "fi_id": one, "fi_name": name},
                {"function": "doMoveFolders", "fi_ids": one, "dir_id": two},
                {"function": "doDeleteFolder", "fi_id": one},
                {"function": "emptyTrashInBackground"},
                {"function": "getFolderContents", "fi_pid": one, "refresh": "y", "refreshtype": "a"},
                {"function": "upload", "fi_pid": one, "fi_name": name},
                {"function": "sync"},
            ]
        )
    )


@expensive(150)
@given(st.lists(st.tuples(calls(), st.integers(0, 40)), max_size=25))
async def test_after_changes_refreshes_and_syncs_in_any_order_the_index_equals_s3(planned_calls):
    """No folder is refreshed afterwards: the server's own changes need no refresh."""
    keys = ("t", "a/1", "a/2", "a/b/3", "c/4", "c/d/e/5")
    async with access_anywhere(JitteryStorage({"data": dict.fromkeys(keys, b"x"), "other": {"o/6": b"y"}})) as aa:

        async def make_call(function: str, **params: Any) -> None:
            if function == "sync":
                await aa.http.post("/sandbox/sync", json={"provider": "P"})
            elif function == "upload":
                begun = await aa.call("doInitUpload", **params)
                if begun["status"] == "ok":
                    await aa.http.put(f"/cgi-bin/uploader/uploader1.cgi?{begun['uploadcode']}", content=b"up")
                    await aa.call("doCompleteUpload", uploadcode=begun["uploadcode"])
            else:
                await aa.call(function, **params)

        running = []
        for call, pause in planned_calls:
            running.append(asyncio.create_task(make_call(**call)))
            for _ in range(pause):
                await asyncio.sleep(0)
        await asyncio.gather(*running)

        async def is_over() -> bool:
            return not (await aa.call("getUserBackgroundTasks", statusfilter="a,w"))["response"]["tasks"]

        await once(is_over)
        assert await aa.index() == aa.stored()


async def test_changes_work_with_moto(new_aws):
    s3 = S3Storage(new_aws, {"data": "us-east-1", "other": "eu-west-1"})
    where = {"LocationConstraint": "eu-west-1"}
    await asyncio.to_thread(s3._clients["data"].create_bucket, Bucket="data")
    await asyncio.to_thread(s3._clients["other"].create_bucket, Bucket="other", CreateBucketConfiguration=where)
    for key in (*KEYS, "a/ü+%41 b"):
        await s3.write("data", key, key.encode(), "text/x-mine")
    async with access_anywhere(s3) as aa:
        await aa.ok("doDeleteFile", fi_id=await aa.id("/P/data/top.txt"))
        await aa.ok("doRenameFile", fi_id=await aa.id("/P/data/c/three.txt"), fi_name="drei é+%2B")
        await aa.done("doMoveFolders", fi_ids=await aa.id("/P/data/a"), dir_id=await aa.id("/Q/other"))
        stored = {
            f"{bucket}/{seen.key}": (seen.size, seen.etag)
            for bucket in ("data", "other")
            for seen in await s3.list_all(bucket, "")
        }
        assert await aa.index() == stored
        assert stored.keys() == {
            *("data/.trash/top.txt", "data/c/drei é+%2B"),
            *("other/a/one.txt", "other/a/b/two.txt", "other/a/ü+%41 b"),
        }
        piece = await s3.read("other", "a/one.txt")
        assert await piece.body() == b"a/one.txt"
        with pytest.raises(StorageError, match="NoSuchKey"):
            await s3.copy(("data", "gone"), ("data", "x"))
        await s3.remove("data", ["gone", "gone too"])
