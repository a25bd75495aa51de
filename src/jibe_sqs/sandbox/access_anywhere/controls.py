"""`/sandbox/…`: the state of the server, and controls for tests. No login is needed, and faults do not apply."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from jibe_sqs.sandbox.access_anywhere.calls import Calls
from jibe_sqs.sandbox.access_anywhere.config import AccessAnywhereServer, Provider, regions
from jibe_sqs.sandbox.access_anywhere.faults import Faults, SyncInProgress
from jibe_sqs.sandbox.access_anywhere.storage import StoredObject


class SyncRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `/sandbox/sync`. `seconds`: the minimum duration of the sync."""

    provider: str
    seconds: float = 0.0


class IndexChange(msgspec.Struct, forbid_unknown_fields=True):
    """A part of the body of `PUT /sandbox/index`: what the index shows of one key, whatever S3 has.

    `modified`: seconds since the epoch; None for now. Without a size, the key is not shown.
    """

    bucket: str
    key: str
    size: int | None = None
    modified: float | None = None


class NewCredentials(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `PUT /sandbox/credentials`. An empty text leaves what is there."""

    password: str = ""
    permanent_token: str = ""


class Controls:
    """`counts`: number of calls by function."""

    def __init__(self, config: AccessAnywhereServer, calls: Calls, counts: Mapping[str, int]) -> None:
        self._config = config
        self._calls = calls
        self._counts = counts
        self._cleared: asyncio.Event | None = None
        self._begun = False

    def routes(self) -> list[Route]:
        return [
            Route("/sandbox/index", self.index, methods=["GET", "PUT"]),
            Route("/sandbox/refreshes", self.refreshes),
            Route("/sandbox/events", self.events),
            Route("/sandbox/writes", self.writes),
            Route("/sandbox/tasks", self.tasks),
            Route("/sandbox/stats", self.stats),
            Route("/sandbox/faults", self.faults, methods=["GET", "PUT", "POST", "DELETE"]),
            Route("/sandbox/sync", self.sync, methods=["POST"]),
            Route("/sandbox/credentials", self.credentials, methods=["PUT"]),
            Route("/sandbox/providers", self.providers, methods=["GET", "PUT"]),
        ]

    def begin(self) -> None:
        """Start the syncs that the settings want from the start. Needs a running event loop; may be
        called repeatedly.
        """
        if not self._begun:
            self._begun = True
            self._start_syncs(self._config.faults.sync_in_progress)

    async def index(self, request: Request) -> Response:
        """All files in the index. A file of a bucket that is shown twice is listed twice. PUT makes parts of it wrong."""
        if request.method == "PUT":
            try:
                for change in await _body(request, list[IndexChange]):
                    self._change(change)
            except msgspec.DecodeError as e:
                return _refused(e)
        return _json(
            [
                {
                    "bucket": file.parent.bucket,
                    "key": file.seen.key,
                    "size": file.seen.size,
                    "etag": file.seen.etag,
                    "path": file.path,
                }
                for file in self._calls.index.files()
            ]
        )

    async def refreshes(self, request: Request) -> Response:
        """The completed refreshes whose `n` is greater than `since`."""
        return _json(self._calls.refresher.records(int(request.query_params.get("since", "0"))))

    async def events(self, request: Request) -> Response:
        """The handled provider events whose `n` is greater than `since`."""
        return _json(self._calls.events.records(int(request.query_params.get("since", "0"))))

    async def writes(self, request: Request) -> Response:
        """The server's own writes to S3 whose `n` is greater than `since`."""
        return _json(self._calls.writes.records(int(request.query_params.get("since", "0"))))

    async def tasks(self, _: Request) -> Response:
        """All listed background tasks, newest first."""
        return _json([asdict(task) for task in self._calls.tasks.chosen(None, ())])

    async def stats(self, _: Request) -> Response:
        """Counts of calls, refreshes, logins and injected faults."""
        return _json(
            {
                "calls": dict(self._counts),
                "refreshes": self._calls.refresher.completed,
                "logins": self._calls.sessions.logins,
                "refused_logins": self._calls.sessions.refused,
                "faults": +self._calls.fault_plan.counts,
            }
        )

    async def faults(self, request: Request) -> Response:
        """The current faults. PUT and POST replace all of them, DELETE clears them."""
        self.begin()
        if request.method != "GET":
            try:
                wanted = Faults() if request.method == "DELETE" else await _body(request, Faults)
            except msgspec.DecodeError as e:
                return _refused(e)
            self._calls.fault_plan.replace(wanted)
            self._start_syncs(wanted.sync_in_progress)
        return _json(self._calls.fault_plan.faults)

    async def sync(self, request: Request) -> Response:
        """Start a sync of a provider. Answers with the id of its background task."""
        try:
            wanted = await _body(request, SyncRequest)
        except msgspec.DecodeError as e:
            return _refused(e)
        if wanted.provider not in self._calls.index.providers:
            return _refused(f"There is no provider {wanted.provider!r}")
        task = self._calls.syncs.start("ReSync", wanted.provider, lambda: asyncio.sleep(wanted.seconds))
        return _json({"bt_id": task.id})

    async def credentials(self, request: Request) -> Response:
        """Replaces the password or the permanent token, and ends all sessions."""
        try:
            wanted = await _body(request, NewCredentials)
        except msgspec.DecodeError as e:
            return _refused(e)
        self._calls.sessions.replace_credentials(wanted.password, wanted.permanent_token)
        return _json({})

    async def providers(self, request: Request) -> Response:
        """The providers that are shown. PUT replaces them: new and changed providers are added again and synced."""
        if request.method == "PUT":
            try:
                wanted = {p.name: p for p in await _body(request, tuple[Provider, ...])}
            except msgspec.DecodeError as e:
                return _refused(e)
            self._show(wanted)
        return _json(list(self._calls.index.providers.values()))

    def _change(self, change: IndexChange) -> None:
        index, now = self._calls.index, time.time()
        for top in list(index.bucket_folders(change.bucket)):
            if not change.key.startswith(top.prefix):
                continue
            if change.size is not None:
                modified = now if change.modified is None else change.modified
                index.show_object(top, StoredObject(change.key, change.size, "planted", modified), at=now)
            elif (folder := index.folder_of(top, change.key)) is not None:
                index.remove_object(folder, change.key, at=now)

    def _show(self, wanted: Mapping[str, Provider]) -> None:
        index = self._calls.index
        self._calls.storage.set_regions(regions(wanted.values()))
        for name, provider in list(index.providers.items()):
            if wanted.get(name) != provider:
                index.remove(name)
        for name in wanted.keys() - index.providers.keys():
            index.add(wanted[name])
            self._calls.syncs.start("InitialSync", name, lambda: asyncio.sleep(self._config.refresh_seconds))

    def _start_syncs(self, wanted: SyncInProgress | None) -> None:
        """Start syncs that last until the next change of faults, and end those that were started in this way before."""
        if self._cleared is not None:
            self._cleared.set()
        self._cleared = cleared = asyncio.Event()
        known = self._calls.index.providers
        for name in (wanted.providers or known) if wanted else ():
            if name in known:
                self._calls.syncs.start("ReSync", name, cleared.wait)


T = TypeVar("T")


async def _body(request: Request, wanted: type[T]) -> T:
    """Decode the body. Raises `msgspec.DecodeError` with the name of the wrong field."""
    return msgspec.json.decode(await request.body(), type=wanted)


def _json(value: Any) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")


def _refused(why: object) -> Response:
    return JSONResponse({"error": str(why)}, status_code=400)
