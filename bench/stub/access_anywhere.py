"""Access Anywhere: the calls of a service that refreshes folders, with answers at once or after a time.

One provider, `/S3`, shows one bucket, and every folder that is asked for exists. With `new_folders`, only those exist that were
created, and Access Anywhere knows a folder only after a refresh of the folder above that began after the creation.
"""

import time
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from bench.stub.http import Request, response
from bench.stub.log_files import DATA_BUCKET

PATH: Final = b"/api/rpc.php"
TOKEN: Final = "0123456789abcdef0123456789abcdef"
PROVIDER: Final = "S3"
_KIND: Final = b"application/json"


class Folder(msgspec.Struct, eq=False):
    """A folder. `refreshed`: when its last refresh began, as far as it has ended."""

    id: int
    parent: int
    name: str
    created: float = 0.0
    known: bool = False
    refreshed: float = float("-inf")


class AccessAnywhere:
    """`refresh_seconds`: how long a refresh takes. `new_folders`: folders are unknown at first."""

    def __init__(self, counts: Counter[str]) -> None:
        self._counts = counts
        self.refresh_seconds = 0.0
        self.new_folders = False
        self.last_refresh = 0.0
        self._folders: list[Folder] = []
        self._ids: dict[tuple[int, str], Folder] = {}
        self._children: dict[int, list[Folder]] = {}
        self._refreshes: dict[str, tuple[Folder, float, float]] = {}
        self._number = 0
        top = self._new(0, "")
        self._bucket = self._new(self._new(top.id, PROVIDER).id, DATA_BUCKET)
        for folder in self._folders:
            folder.known = True

    def answer(self, request: Request) -> bytes:
        """Answer a call."""
        called = dict(parse_qsl(request.body.decode(), keep_blank_values=True))
        function = called.get("function", "")
        self._counts[f"aa {function}"] += 1
        answer = self._answer(function.lower(), called)
        return response(msgspec.json.encode({"status": "ok", "statusmessage": "Success"} | answer), kind=_KIND)

    def _answer(self, function: str, called: Mapping[str, str]) -> dict[str, Any]:
        match function:
            case "getfoldercontents":
                return self._contents(called)
            case "checkpathexists":
                return self._exists(called)
            case "gettoken" | "gettokenbyauthtoken":
                return {"token": TOKEN, "userid": "1"}
            case "getapplianceinfo":
                return {"sitetitle": "Access Anywhere", "isappliance": "y", "softwareversionlabel": "2301.00"}
            case "getuserbackgroundtasks":
                return {"response": {"tasks": [], "total": "0"}}
        return {"status": "unknown_function", "statusmessage": "There is no such function"}

    def _exists(self, called: Mapping[str, str]) -> dict[str, Any]:
        folder = self._folder(called.get("pid", ""))
        for name in called.get("path", "").strip("/").split("/"):
            if folder is None:
                break
            folder = self._below(folder, name)
        return {"exists": "n"} if folder is None else {"exists": "y", "file": _item(folder)}

    def create(self, path: str) -> None:
        """Create a folder of the bucket in storage, with the folders above it."""
        above = self._bucket
        for name in path.split("/"):
            above = self._ids.get((above.id, name)) or self._new(above.id, name)

    def _below(self, above: Folder, name: str) -> Folder | None:
        """The folder of this name, if Access Anywhere knows it."""
        found = self._ids.get((above.id, name))
        if found is None:
            if self.new_folders:
                return None
            found = self._new(above.id, name)
        if not found.known:
            found.known = not self.new_folders or above.refreshed > found.created
        return found if found.known else None

    def _contents(self, called: Mapping[str, str]) -> dict[str, Any]:
        folder = self._folder(called.get("fi_pid", ""))
        if folder is None:
            return {"status": "not_found", "statusmessage": "This does not exist"}
        if called.get("refresh") == "y":
            return _of_refresh(folder) | self._refresh(folder, called.get("refreshtoken", ""))
        start, count = int(called.get("from") or 0), int(called.get("count") or 0)
        known = [child for child in self._children.get(folder.id, ()) if self._below(folder, child.name)]
        part = known[start : start + count] if count else known[start:]
        listed = [_item(child) for child in part]
        return {"total": str(len(known)), "from": str(start), "filelist": listed, "pid": str(folder.id)}

    def _refresh(self, folder: Folder, token: str) -> dict[str, Any]:
        now = time.monotonic()
        if token:
            self._counts["aa refreshes polled"] += 1
            refreshed, began, end = self._refreshes[token]
            if now < end:
                return {"stillsyncing": "y"}
            refreshed.refreshed = max(refreshed.refreshed, began)
            del self._refreshes[token]
            return {}
        self._number += 1
        self.last_refresh = now
        self._counts["aa refreshes asked"] += 1
        token = f"{self._number:024x}"
        self._refreshes[token] = folder, now, now + self.refresh_seconds
        return {"refreshresult": {"status": "ok", "statusmessage": "", "token": token}}

    def _folder(self, text: str) -> Folder | None:
        number = int(text) if text.isdecimal() else 0
        return self._folders[number] if number < len(self._folders) else None

    def _new(self, parent: int, name: str) -> Folder:
        folder = Folder(len(self._folders), parent, name, created=time.monotonic())
        self._folders.append(folder)
        self._ids[parent, name] = folder
        if folder.id:
            self._children.setdefault(parent, []).append(folder)
        return folder


def _item(folder: Folder) -> dict[str, Any]:
    is_bucket = folder.name == DATA_BUCKET
    return {
        "fi_id": str(folder.id),
        "fi_pid": str(folder.parent),
        "fi_name": folder.name,
        "fi_type": "1",
        "fi_size": "0",
        "fi_contenttype": "",
        "fi_created": "0000-00-00 00:00:00",
        "fi_modified": "0000-00-00 00:00:00",
        "fi_localtime": "0000-00-00 00:00:00",
        "fi_s3name": "",
        "fi_provider": PROVIDER,
        "fi_providerfolder": "",
        "fi_bname": DATA_BUCKET if folder.id >= 2 else "",
        "fi_structtype": "g",
        "isbucket": "y" if is_bucket else "n",
        "trash": False,
        "subfolders": "0",
    }


_FILE: Final = {
    "fi_id": "999999999",
    "fi_name": "frame-00000001.exr",
    "fi_type": "0",
    "fi_size": "3000000",
    "fi_modified": "2026-11-21 10:00:00",
}


def _of_refresh(folder: Folder) -> dict[str, Any]:
    return {"total": "1", "from": "0", "filelist": [_FILE | {"fi_pid": str(folder.id)}], "pid": str(folder.id)}
