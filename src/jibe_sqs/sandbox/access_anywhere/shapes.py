"""The shapes of answers. Access Anywhere writes the same value in several shapes, and this server uses them in turn.

rclone decodes into typed fields: sizes and totals must be quoted, `subfolders` must not be, and `filelist` must be a
list. Therefore the answers to rclone's calls have fixed shapes. All other answers vary.
"""

import json
import mimetypes
from collections import Counter
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from jibe_sqs.sandbox.access_anywhere.config import TaskTypes
from jibe_sqs.sandbox.access_anywhere.items import File, Folder, Item
from jibe_sqs.sandbox.access_anywhere.tasks import Task

T = TypeVar("T")
ZERO_TIME = "0000-00-00 00:00:00"
BASIC_FIELDS = frozenset({"fi_id", "fi_pid", "fi_name", "fi_type", "fi_size", "fi_modified"})


class Shapes:
    """Chooses shapes. `for_rclone`: the call is rclone's. The next shape is chosen by counting, not randomly."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def variant(self, what: str, *choices: Any) -> Any:
        """The next of the choices. Each `what` has a counter of its own, so that it gets every shape."""
        self._counts[what] += 1
        return choices[(self._counts[what] - 1) % len(choices)]

    def number(self, what: str, value: int, *, for_rclone: bool) -> str | int:
        """Usually a quoted string."""
        quoted = str(value)
        return quoted if for_rclone else self.variant(what, quoted, quoted, value)

    def filelist(self, items: list[dict[str, Any]], *, for_rclone: bool, plain: bool) -> Any:
        """A list, a dict with the keys `n0`, `n1`, …, or a single item without a list. `plain`: no dict."""
        if for_rclone:
            return items
        bare: Any = items[0] if len(items) == 1 else items
        numbered = {f"n{i}": item for i, item in enumerate(items)}
        return self.variant("plain", items, bare) if plain else self.variant("filelist", items, bare, numbered)

    def item(self, item: Item, fields: Collection[str] | None, *, for_rclone: bool) -> dict[str, Any]:
        """An item with the requested fields. None requests all fields."""
        shown = (
            self._folder(item, for_rclone=for_rclone)
            if isinstance(item, Folder)
            else self._file(item, for_rclone=for_rclone)
        )
        return shown if fields is None else {name: value for name, value in shown.items() if name in fields}

    def task(self, task: Task, types: TaskTypes, *, for_rclone: bool, is_named: bool) -> dict[str, Any]:
        """A background task. No source documents the field that names the provider; here it is the same field as in
        items.

        With `sync` types, that field and the callback are at the top level. With `custom` types, they are in
        `bt_data`, which is an object or JSON text, and the callback may also be at the top level. rclone needs an
        object.
        """
        kind, subtype = type_and_subtype(task, types)
        callback = {"callback": task.callback}
        provider = {"fi_provider": task.provider} if is_named else {}
        data: dict[str, Any] = {"bt_data": callback | provider}
        text: dict[str, Any] = {"bt_data": json.dumps(callback | provider)}
        if types == "sync":
            more: dict[str, Any] = {"bt_data": callback} | callback | provider
        elif for_rclone:
            more = data | callback
        else:
            more = self.variant("bt_data", data | callback, data, text, text | callback)
        status = self.variant("bt_status", "c", "completed") if task.status == "c" and not for_rclone else task.status
        percent = {"a": 0, "w": 50}.get(task.status, 100)
        return more | {
            "bt_id": self.number("bt_id", task.id, for_rclone=for_rclone),
            "bt_type": kind,
            "bt_subtype": subtype,
            "bt_status": status,
            "bt_message": task.message,
            "bt_procent": self.number("bt_procent", percent, for_rclone=for_rclone),
            "bt_added": when(task.added),
            "bt_completed": ZERO_TIME if task.completed is None else when(task.completed),
            "bt_files": self.number("bt_files", task.files, for_rclone=for_rclone),
        }

    def _file(self, file: File, *, for_rclone: bool) -> dict[str, Any]:
        modified = when(file.seen.modified)
        # About half of the files have no local time; then the field is zero and clients use `fi_modified`.
        local = modified if file.id % 2 else ZERO_TIME
        return self._common(file, kind=0, size=file.seen.size, for_rclone=for_rclone) | {
            "fi_contenttype": file.content_type or mimetypes.guess_type(file.name)[0] or "application/octet-stream",
            "fi_created": modified,
            "fi_modified": modified,
            "fi_localtime": local if file.local_time is None else when(file.local_time),
            "fi_s3name": file.seen.key,
            "fi_provider": file.parent.provider,
            "trash": file.in_trash,
        }

    def _folder(self, folder: Folder, *, for_rclone: bool) -> dict[str, Any]:
        subfolders = len(folder.folders)
        return self._common(folder, kind=1, size=0, for_rclone=for_rclone) | {
            "fi_contenttype": "",
            "fi_created": ZERO_TIME,
            "fi_modified": when(folder.refreshed) if folder.refreshed else ZERO_TIME,
            "fi_localtime": ZERO_TIME,
            "fi_s3name": folder.prefix,
            "fi_provider": folder.provider,
            "fi_providerfolder": folder.prefix,
            "fi_bname": folder.bucket,
            "fi_structtype": "g",
            "isbucket": "y" if folder.is_bucket else "n",
            "trash": folder.in_trash,
            "subfolders": subfolders if for_rclone else self.number("subfolders", subfolders, for_rclone=False),
        }

    def _common(self, item: Item, *, kind: int, size: int, for_rclone: bool) -> dict[str, Any]:
        return {
            "fi_id": self.number("fi_id", item.id, for_rclone=for_rclone),
            "fi_pid": self.number("fi_pid", item.parent.id if item.parent else 0, for_rclone=for_rclone),
            "fi_name": item.name,
            "fi_type": self.number("fi_type", kind, for_rclone=for_rclone),
            "fi_size": self.number("fi_size", size, for_rclone=for_rclone),
        }


def type_and_subtype(task: Task, types: TaskTypes) -> tuple[str, str]:
    """`bt_type` and `bt_subtype`. With `sync` types, refreshes count as syncs."""
    if types == "custom":
        return "custom", ""
    is_sync = task.callback in {"InitialSync", "ReSync", "FolderRefresh"}
    return "sync" if is_sync else "custom", task.callback.lower()


def types_of(task: Task, types: TaskTypes) -> set[str]:
    """The values of `typefilter` that match the task: exactly its type or its subtype."""
    return {name for name in type_and_subtype(task, types) if name}


def selection(options: str) -> Collection[str] | None:
    """The fields that `options` requests; None: all fields. `filelist|a|b` lists fields;

    `basic_fields` stands for a fixed set.
    """
    names = [name for name in options.split("|") if name]
    if not names:
        return None
    if names == ["basic_fields"]:
        return BASIC_FIELDS
    return frozenset(names) - {"filelist", "folder"} or None


def page(items: Sequence[T], start: int, count: int) -> Sequence[T]:
    """One page of items. A count of 0 requests all."""
    return items[start : start + count] if count else items[start:]


def when(moment: float) -> str:
    """`YYYY-MM-DD HH:MM:SS`, UTC."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S")


def moment(text: str) -> float | None:
    """Parse `YYYY-MM-DD HH:MM:SS` as UTC. Returns None for any other text, and for the zero time."""
    try:
        return datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None
