"""The functions of Access Anywhere's API: their parameters and answers.

Functions that change stored files, except uploads, are in `change_calls`.
"""

from collections.abc import Callable

from jibe_sqs.sandbox.access_anywhere.change_calls import ChangeCalls
from jibe_sqs.sandbox.access_anywhere.changes import Changes
from jibe_sqs.sandbox.access_anywhere.config import AccessAnywhereServer, Synced
from jibe_sqs.sandbox.access_anywhere.events import Events, parse_events
from jibe_sqs.sandbox.access_anywhere.fault_plan import FaultPlan
from jibe_sqs.sandbox.access_anywhere.functions import Answer, Call, Params, integer, words
from jibe_sqs.sandbox.access_anywhere.index import Index
from jibe_sqs.sandbox.access_anywhere.items import File, Folder
from jibe_sqs.sandbox.access_anywhere.lookups import Lookups
from jibe_sqs.sandbox.access_anywhere.refreshing import Refresher
from jibe_sqs.sandbox.access_anywhere.refusals import Refused
from jibe_sqs.sandbox.access_anywhere.s3_writes import S3Writes
from jibe_sqs.sandbox.access_anywhere.sessions import Sessions
from jibe_sqs.sandbox.access_anywhere.shapes import ZERO_TIME, Shapes, moment, page, selection, types_of
from jibe_sqs.sandbox.access_anywhere.storage import Piece, Storage, StorageError
from jibe_sqs.sandbox.access_anywhere.syncs import Syncs
from jibe_sqs.sandbox.access_anywhere.tasks import Task, Tasks
from jibe_sqs.sandbox.access_anywhere.uploads import Upload, Uploads

RCLONE_FIELDS = selection(
    "filelist|fi_id|fi_pid|fi_name|fi_type|fi_size|fi_contenttype|fi_modified|fi_localtime|trash|subfolders"
)
VERSION = "2301.00"
DEFAULT_TASK_LIMIT = 20
"""How many background tasks are listed if the call has no `limit`."""


class Calls:
    """Answers calls. Refreshes, syncs, events, uploads and changes update the index."""

    def __init__(self, config: AccessAnywhereServer, storage: Storage, clock: Callable[[], float]) -> None:
        self._config = config
        self.storage = storage
        self.fault_plan = FaultPlan(config.faults, clock)
        self.index = Index(config.providers, case_insensitive=config.case_insensitive)
        self.sessions = Sessions(config, clock)
        self.tasks = Tasks(clock)
        self.refresher = Refresher(config, self.index, storage, self.fault_plan, self.tasks, clock)
        self.syncs = Syncs(self.index, storage, self.tasks, clock)
        self.events = Events(self.index, storage, self.refresher.guard, clock)
        self.writes = S3Writes(storage, clock)
        self.changes = Changes(self.index, storage, self.writes, self.refresher.guard, self.tasks, clock)
        self.uploads = Uploads(self.index, self.writes, self.changes, self.refresher.guard, clock)
        self.shapes = Shapes()
        self._lookups = Lookups(self.index)
        for provider in config.providers:
            synced = provider.synced or Synced(clock(), clock())
            task = self.tasks.add("InitialSync", provider.name, added=synced.began)
            self.tasks.end(task, at=synced.ended, files=synced.files)
        self._table = {
            "gettoken": Call(self._get_token, lambda _: False, needs_login=False),
            "gettokenbyauthtoken": Call(self._get_token_by_auth_token, lambda _: True, needs_login=False),
            "getapplianceinfo": Call(self._get_appliance_info, lambda _: True, needs_login=False),
            "checkpathexists": Call(self._check_path_exists, lambda p: "options" not in p),
            "getfoldercontents": Call(
                self._get_folder_contents, lambda p: selection(p.get("options", "")) == RCLONE_FIELDS
            ),
            "doinitupload": Call(self._do_init_upload, lambda p: "directuploadsupport" in p),
            "docompleteupload": Call(self._do_complete_upload, lambda p: "remotetime" in p),
            "doabortupload": Call(self._do_abort_upload, lambda _: True),
            "getuserbackgroundtasks": Call(self._get_user_background_tasks, lambda p: "taskid" in p),
            "synconproviderevent": Call(self._sync_on_provider_event, lambda _: False),
            **ChangeCalls(self.index, self._lookups, self.changes, self.shapes).table(),
        }

    async def answer(self, function: str, params: Params) -> Answer:
        """The body of the answer to a call. `function`: in lower case. Raises `Refused`."""
        call = self._table.get(function)
        if call is None:
            raise Refused("unknown_function", "There is no such function")
        if call.needs_login:
            self.sessions.use(params.get("token", ""))
        for_rclone = call.for_rclone(params)
        answer = await call.answer(params, for_rclone)
        task: Answer = self.shapes.variant("taskid", {"taskid": "0"}, {"taskid": 0}, {})
        return {"status": "ok", "statusmessage": "Success"} | task | answer

    async def file(self, params: Params) -> tuple[File, Piece]:
        """The answer to `getFile`: bytes that are read from S3 now, without an envelope. `range`: the HTTP header.

        Raises `Refused`.
        """
        self.sessions.use(params.get("token", ""))
        file = self._lookups.file(params.get("fi_id", ""))
        try:
            piece = await self.storage.read(file.parent.bucket, file.seen.key, params.get("range") or None)
        except StorageError as e:
            raise Refused.by_provider(e) from e
        return file, piece

    async def _get_token(self, params: Params, _: bool) -> Answer:
        return {"token": self.sessions.by_password(params.get("us_login", ""), params.get("us_pwd", ""))}

    async def _get_token_by_auth_token(self, params: Params, _: bool) -> Answer:
        token = self.sessions.by_permanent_token(params.get("authtoken", ""))
        return {"token": token, "userid": "1", "allowloginremember": "y", "lastlogin": "0000-00-00 00:00:00"}

    async def _get_appliance_info(self, _: Params, __: bool) -> Answer:
        return {
            "sitetitle": "Access Anywhere",
            "isappliance": "y",
            "oauthloginsupport": "n",
            "softwareversion": VERSION.partition(".")[0],
            "softwareversionlabel": VERSION,
        }

    async def _check_path_exists(self, params: Params, for_rclone: bool) -> Answer:
        path, start = params.get("path", ""), self._lookups.folder(params.get("pid", ""))
        found = self.index.find(path, start)
        if found is None or found.in_trash:
            # Clients document both answers. rclone 1.60, before an upload, understands only `exists: n`, not the error
            # code.
            if for_rclone or self.shapes.variant("missing", True, False):
                return {"exists": "n"}
            if self.changes.trash.contains_path(path, start):
                raise Refused("trashed", "This is in the trash")
            raise Refused("not_found", "The path does not exist")
        return {"exists": "y", "file": self.shapes.item(found, None, for_rclone=for_rclone)}

    async def _get_folder_contents(self, params: Params, for_rclone: bool) -> Answer:
        folder = self._lookups.folder(params.get("fi_pid", ""))
        refreshing = self._refreshing(folder, params)
        options = params.get("options", "")
        fields = selection(options)
        contents = folder.contents()
        start = integer(params, "from") or 0
        items = [
            self.shapes.item(item, fields, for_rclone=for_rclone)
            for item in page(contents, start, integer(params, "count") or 0)
        ]
        answer: Answer = {
            "total": self.shapes.number("total", len(contents), for_rclone=for_rclone),
            "from": self.shapes.number("from", start, for_rclone=for_rclone),
            "filelist": self.shapes.filelist(items, for_rclone=for_rclone, plain=fields is None),
            "pid": str(folder.id),
        }
        if "filelist" not in options.split("|"):
            answer["folder"] = self.shapes.item(folder, fields, for_rclone=for_rclone)
        return answer | refreshing

    def _refreshing(self, folder: Folder, params: Params) -> Answer:
        """The first call requests a refresh. The same call with the refresh token asks whether it has ended."""
        if token := params.get("refreshtoken"):
            if self.refresher.still_syncing(token):
                return {"stillsyncing": self.shapes.variant("syncing", "y", 1, True)}
            answer: Answer = self.shapes.variant("synced", {}, {"stillsyncing": 0}, {"stillsyncing": ""})
            return answer
        if params.get("refresh") != "y" or params.get("refreshtype") != "a":
            return {}
        token = self.refresher.request(folder)
        if token is None:
            return {"refreshresult": self.shapes.variant("recently", {"status": "ok"}, {"token": ""}, None, [])}
        return {"refreshresult": {"status": "ok", "statusmessage": "", "token": token}}

    async def _do_init_upload(self, params: Params, _: bool) -> Answer:
        folder = self._lookups.folder(params.get("fi_pid", ""))
        name = params.get("fi_name") or params.get("fi_filename", "")
        content_type = params.get("fi_contenttype", "")
        code = self.uploads.begin(Upload(folder, name, content_type, moment(params.get("fi_localtime", ""))))
        return {"uploadcode": code, "providerid": "1", "directuploadsupport": "n", "resumeallowed": "n"}

    async def _do_complete_upload(self, params: Params, for_rclone: bool) -> Answer:
        file = await self.uploads.complete(params.get("uploadcode", ""), integer(params, "fi_size"))
        return {
            "uploadedsize": self.shapes.number("uploadedsize", file.seen.size, for_rclone=for_rclone),
            "uploadedname": file.name,
            "file": self.shapes.item(file, None, for_rclone=for_rclone),
        }

    async def _do_abort_upload(self, params: Params, _: bool) -> Answer:
        self.uploads.abort(params.get("uploadcode", ""))
        return {}

    async def _get_user_background_tasks(self, params: Params, for_rclone: bool) -> Answer:
        """`typefilter` matches a task's type or subtype exactly."""
        task_id = integer(params, "taskid" if for_rclone else "bt_id")
        types, statuses = words(params, "typefilter"), words(params, "statusfilter")
        chosen = [
            task
            for task in self.tasks.chosen(task_id, statuses)
            if not types or not types_of(task, self._config.task_types).isdisjoint(types)
        ]
        listed = [
            self._task(task, for_rclone=for_rclone)
            for task in page(chosen, 0, integer(params, "limit") or DEFAULT_TASK_LIMIT)
        ]
        answer: Answer = {"tasks": listed, "total": self.shapes.number("tasks", len(chosen), for_rclone=for_rclone)}
        # rclone and the Python client read the tasks from different places.
        return answer if for_rclone else {"response": answer}

    def _task(self, task: Task, *, for_rclone: bool) -> Answer:
        shown = self.shapes.task(
            task, self._config.task_types, for_rclone=for_rclone, is_named=not self._config.unnamed_tasks
        )
        return shown | {"bt_added": ZERO_TIME} if self._config.tasks_without_start else shown

    async def _sync_on_provider_event(self, params: Params, for_rclone: bool) -> Answer:
        updated = [await self.events.handle(event) for event in parse_events(params)]
        return {"updated": self.shapes.number("updated", sum(updated), for_rclone=for_rclone)}
