"""All servers and the control path on one port.

POST /-/events   {"kind", "files"}: make the bodies of log files. Answers the number of object events
POST /-/load     {"queue", "kind", "first", "files"}: announce log files
POST /-/settings {"paused", "draining", "huge", "new_folders", "refresh_seconds"}; each is optional
POST /-/reset    empty all queues, zero all counts, forget all folders
GET  /-/counts   requests by operation
GET  /-/state    by queue: messages waiting, in flight and deleted, long polls; times; CPU time of this process
POST /-/wait     {"queue", "deleted"} or {"polls"}: answers when so many are deleted, or when so many polls wait
"""

import asyncio
import time
from collections import Counter
from typing import Any, Final

import msgspec

from bench.stub import access_anywhere, log_files
from bench.stub.dynamodb import DynamoDb
from bench.stub.http import Connection, Request, response
from bench.stub.s3 import S3
from bench.stub.sqs import Sqs

_LOOK: Final = 0.005
"""Seconds between two looks of a waiting control request."""


class Stub:
    """The servers. `handle` answers all requests."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._reset()

    def _reset(self) -> None:
        self.counts.clear()
        self._sqs = Sqs(self.counts)
        self._access_anywhere = access_anywhere.AccessAnywhere(self.counts)
        self._dynamodb = DynamoDb(self.counts)
        self._s3 = S3(self.counts, self._access_anywhere.create)

    def handle(self, request: Request, connection: Connection) -> bytes | None:
        if request.method == b"POST":
            if target := request.header(b"x-amz-target:"):
                service, _, operation = target.decode().rpartition(".")
                if service.startswith("DynamoDB"):
                    return self._dynamodb.answer(request, operation)
                return self._sqs.answer(request, operation, connection)
            if request.target.startswith(access_anywhere.PATH):
                return self._access_anywhere.answer(request)
        if request.target.startswith(b"/-/"):
            return self._control(request, connection)
        return self._s3.answer(request)

    def _control(self, request: Request, connection: Connection) -> bytes | None:
        asked = msgspec.json.decode(request.body or b"{}")
        match request.target:
            case b"/-/counts":
                return _json(dict(self.counts))
            case b"/-/state":
                return _json(self._state())
            case b"/-/reset":
                self._reset()
                return _json({})
            case b"/-/load":
                return _json(self._load(asked))
            case b"/-/events":
                return _json(self._prepare(asked["kind"], asked["files"]))
            case b"/-/settings":
                self._set(asked)
                return _json({})
            case b"/-/wait":
                self._wait(asked, connection)
                return None
        return response(b"{}", status=404)

    def _state(self) -> dict[str, Any]:
        queues = {
            name: {
                "waiting": queue.waiting,
                "in_flight": queue.in_flight,
                "deleted": queue.deleted,
                "polls": queue.polls,
                "last_sent": queue.last_sent,
                "last_deleted": queue.last_deleted,
            }
            for name, queue in self._sqs.queues.items()
        }
        return {"queues": queues, "last_refresh": self._access_anywhere.last_refresh, "cpu": time.process_time()}

    def _prepare(self, kind: str, files: int) -> dict[str, Any]:
        """Make the bodies of files that share them. Their folders have existed for long."""
        events = log_files.events(kind, files)
        for body in log_files.shared(kind, files):
            for folder in body.folders:
                self._access_anywhere.create(folder)
        return {"events": events}

    def _load(self, asked: dict[str, Any]) -> dict[str, Any]:
        kind: str = asked["kind"]
        numbers = range(asked.get("first", 0), asked.get("first", 0) + asked["files"])
        self._sqs.queue(asked["queue"]).send(numbers, lambda number: log_files.announcement(kind, number))
        return {}

    def _set(self, asked: dict[str, Any]) -> None:
        for queue in self._sqs.queues.values():
            if "paused" in asked:
                queue.pause(asked["paused"])
            if asked.get("draining"):
                queue.drain()
        log_files.SIZES.huge = asked.get("huge", log_files.SIZES.huge)
        self._access_anywhere.new_folders = asked.get("new_folders", self._access_anywhere.new_folders)
        self._access_anywhere.refresh_seconds = asked.get("refresh_seconds", self._access_anywhere.refresh_seconds)

    def _wait(self, asked: dict[str, Any], connection: Connection) -> None:
        sqs = self._sqs
        if "polls" in asked:
            done = sum(queue.polls for queue in sqs.queues.values()) >= asked["polls"]
        elif "in_flight" in asked:
            done = sqs.queue(asked["queue"]).in_flight >= asked["in_flight"]
        else:
            done = sqs.queue(asked["queue"]).deleted >= asked["deleted"]
        if done:
            # The request's handler has not returned yet, where this is the first look.
            asyncio.get_running_loop().call_soon(connection.answer, _json(self._state()))
        elif connection.is_open:
            asyncio.get_running_loop().call_later(_LOOK, self._wait, asked, connection)


def _json(value: object) -> bytes:
    return response(msgspec.json.encode(value))


async def serve() -> None:
    """Serve on a free port of loopback, and print the port."""
    stub = Stub()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(stub.handle), "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
