"""The functions by which users change stored files: parameters and answers. `changes` makes the changes.

Sources: rclone and a Python client. Where their names differ (`doMoveFolders`, `doMoveFolder`), both are accepted.
"""

from collections.abc import Mapping

from jibe_sqs.sandbox.access_anywhere.changes import Changes
from jibe_sqs.sandbox.access_anywhere.functions import Answer, Call, Params, words
from jibe_sqs.sandbox.access_anywhere.index import Index
from jibe_sqs.sandbox.access_anywhere.items import File, Folder
from jibe_sqs.sandbox.access_anywhere.lookups import Lookups
from jibe_sqs.sandbox.access_anywhere.refusals import Refused
from jibe_sqs.sandbox.access_anywhere.shapes import Shapes, moment
from jibe_sqs.sandbox.access_anywhere.tasks import Task


class ChangeCalls:
    """Answers these calls. Every function raises only `Refused`."""

    def __init__(self, index: Index, lookups: Lookups, changes: Changes, shapes: Shapes) -> None:
        self._index = index
        self._lookups = lookups
        self._changes = changes
        self._shapes = shapes

    def table(self) -> Mapping[str, Call]:
        """Lower-case function name -> its handler."""
        return {
            "docreatenewfolder": Call(self._create_folder, lambda _: True),
            "domodifyfile": Call(self._modify_file, lambda _: True),
            "docopyfile": Call(self._copy_file, lambda p: "force" in p),
            "dorenamefile": Call(self._rename_file, lambda p: "overwrite" not in p),
            "domovefiles": Call(self._move_files, lambda _: True),
            "dorenamefolder": Call(self._rename_folder, lambda _: True),
            "domovefolders": Call(self._move_folders, lambda _: True),
            "domovefolder": Call(self._move_folders, lambda _: False),
            "dodeletefile": Call(self._delete_file, lambda p: "completedeletion" in p),
            "dodeletefolder": Call(self._delete_folder, lambda _: True),
            "emptytrash": Call(self._empty_trash, lambda _: True),
            "emptytrashinbackground": Call(self._empty_trash_in_background, lambda _: True),
        }

    async def _create_folder(self, params: Params, for_rclone: bool) -> Answer:
        above, name = self._lookups.folder(params.get("fi_pid", "")), params.get("fi_name", "")
        if not above.bucket or not name or "/" in name:
            raise Refused("invalid_name", "A folder has a name without a slash, and is in a bucket")
        self._changes.locks.check_free(above, name)
        return {"file": self._shapes.item(self._index.add_folder(above, name), None, for_rclone=for_rclone)}

    async def _modify_file(self, params: Params, for_rclone: bool) -> Answer:
        """`data` has one line `NAME=VALUE` for each field. Only the index changes, not S3."""
        file = self._lookups.file(params.get("fi_id", ""))
        fields = dict(line.partition("=")[::2] for line in params.get("data", "").splitlines())
        if "fi_localtime" in fields:
            file.local_time = moment(fields["fi_localtime"])
        if "fi_contenttype" in fields:
            file.content_type = fields["fi_contenttype"] or None
        return {"file": self._shapes.item(file, None, for_rclone=for_rclone)}

    async def _copy_file(self, params: Params, for_rclone: bool) -> Answer:
        file, target = self._lookups.file(params.get("fi_id", "")), self._lookups.folder(params.get("fi_pid", ""))
        name = params.get("fi_name") or file.name
        copy = await self._changes.files.copy(file, target, name, replace=params.get("force") == "y")
        return {"file": self._shapes.item(copy, None, for_rclone=for_rclone)}

    async def _rename_file(self, params: Params, for_rclone: bool) -> Answer:
        file, name = self._lookups.file(params.get("fi_id", "")), params.get("fi_name", "")
        moved = await self._changes.files.move(file, file.parent, name, replace=params.get("overwrite") == "y")
        return {"file": self._shapes.item(moved, None, for_rclone=for_rclone)}

    async def _move_files(self, params: Params, for_rclone: bool) -> Answer:
        """Within a bucket, files move at once. Between buckets, they move in the background."""
        target = self._lookups.folder(params.get("dir_id", ""))
        files = [self._lookups.file(fi_id) for fi_id in words(params, "fi_ids")]
        if not files:
            raise Refused("invalid_parameter", "fi_ids names no file")
        moved: list[File] = []
        task: Task | None = None
        for file in files:
            if file.parent.top is target.top:
                moved.append(await self._changes.files.move(file, target, file.name))
            else:
                task = self._changes.files.move_later(file, target, file.name)
        shown = [self._shapes.item(file, None, for_rclone=for_rclone) for file in moved or files]
        answer = {"file": shown[0], "movedobjects": shown[: len(moved)]}
        return answer | self._moved(target, files, len(moved), task)

    async def _move_folders(self, params: Params, for_rclone: bool) -> Answer:
        target = self._lookups.folder(params.get("dir_id", ""))
        folders = [self._lookups.folder(fi_id) for fi_id in words(params, "fi_ids")]
        if not folders:
            raise Refused("invalid_parameter", "fi_ids names no folder")
        for folder in folders:
            task = await self._changes.folders.move(folder, target, folder.name)
        file = self._shapes.item(folders[0], None, for_rclone=for_rclone)
        return {"file": file, "movedobjects": []} | self._moved(target, folders, 0, task)

    def _moved(self, target: Folder, items: list[File] | list[Folder], moved: int, task: Task | None) -> Answer:
        later = len(items) - moved
        return {
            "filesleft": str(later),
            "addedtobackground": str(later),
            "moved": str(moved),
            "fi_ids": [str(item.id) for item in items],
            "length": len(items),
            "dir_id": str(target.id),
        } | _task(task)

    async def _rename_folder(self, params: Params, for_rclone: bool) -> Answer:
        folder = self._lookups.folder(params.get("fi_id", ""))
        task = await self._changes.folders.move(folder, folder.parent or folder, params.get("fi_name", ""))
        return {"file": self._shapes.item(folder, None, for_rclone=for_rclone)} | _task(task)

    async def _delete_file(self, params: Params, _: bool) -> Answer:
        """`completedeletion=y` deletes without the trash. Files in the trash are always deleted."""
        file = self._lookups.file(params.get("fi_id", ""), in_trash=True)
        await self._changes.files.delete(file, complete=params.get("completedeletion") == "y")
        return {"fi_id": str(file.id), "deleted": [str(file.id)], "errors": [], "backgroundtask": 0}

    async def _delete_folder(self, params: Params, _: bool) -> Answer:
        folder = self._lookups.folder(params.get("fi_id", ""), in_trash=True)
        return {"fi_id": str(folder.id)} | _task(await self._changes.folders.delete(folder))

    async def _empty_trash(self, _: Params, __: bool) -> Answer:
        await self._changes.folders.empty_trash()
        await self._changes.background.wait()
        return {}

    async def _empty_trash_in_background(self, _: Params, __: bool) -> Answer:
        tasks = await self._changes.folders.empty_trash()
        return _task(tasks[-1] if tasks else None)


def _task(task: Task | None) -> Answer:
    """The fields of a background task: rclone waits for `taskid`, and expects `0` if there is no task.

    The Python client reads `backgroundtaskid`.
    """
    if task is None:
        return {"taskid": "0"}
    return {"taskid": str(task.id), "backgroundtaskid": str(task.id)}
