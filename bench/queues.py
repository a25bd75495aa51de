"""Messages in one of many queues: how soon they are done, and how many messages each receive brings."""

import asyncio
import json
import os
import sys
import tempfile
import time
from collections import Counter, deque
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final

from aiohttp import web

MESSAGES: Final = 200
QUEUES: Final = (2, 34, 100)
"""34: one queue in each region of AWS."""
PATIENCE: Final = 60.0
"""Seconds. After these, the messages that are not done are counted."""


def run() -> None:
    """Messages in one of many queues: how soon they are done, and how many messages each receive brings."""
    print(f"{'queues':>8} {'done':>8} {'seconds':>8} {'messages a receive':>20}")
    for number in QUEUES:
        done, seconds, batch = asyncio.run(_measured(number))
        print(f"{number:>8} {done:>8} {seconds:>8.1f} {batch:>20.1f}")


async def _measured(number: int) -> tuple[int, float, float]:
    """The messages done, the seconds from the first poll of the busy queue to the last message, and the mean batch."""
    sqs = _Sqs(number)
    runner = web.AppRunner(sqs.app())
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port: int = runner.addresses[0][1]
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        config, log = Path(folder) / "config.json", stack.enter_context((Path(folder) / "log").open("wb"))
        config.write_text(json.dumps(_settings(f"http://127.0.0.1:{port}", number)))
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "jibe_sqs", "run", "--config", str(config)),
            cwd=folder,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", "")},
            stderr=log,
        )
        try:
            # All queues are idle, and each has a poll in flight, when the messages come.
            if await _ends(process, sqs.all_polled):
                raise SystemExit(Path(log.name).read_text())
            sqs.send(MESSAGES)
            began = time.monotonic()
            await _ends(process, sqs.all_deleted)
            seconds = time.monotonic() - began
        finally:
            with suppress(ProcessLookupError):
                process.kill()  # nothing is lost, and a stop would wait for the long polls
            await process.wait()
            await runner.cleanup()
    batches = sqs.batches.total()
    return sqs.deleted, seconds, sum(size * count for size, count in sqs.batches.items()) / max(1, batches)


async def _ends(process: asyncio.subprocess.Process, event: asyncio.Event) -> bool:
    """Wait for the event, up to `PATIENCE`. Returns whether the process has ended instead."""
    await asyncio.wait(
        [asyncio.ensure_future(event.wait()), ending := asyncio.ensure_future(process.wait())],
        timeout=PATIENCE,
        return_when=asyncio.FIRST_COMPLETED,
    )
    return ending.done()


def _settings(endpoint: str, number: int) -> dict[str, Any]:
    keys = {"region": "us-east-1", "access_key_id": "AKIA", "secret_access_key": "secret"}
    return {
        "aws": keys | {"endpoint": endpoint},
        "queues": [{"url": f"{endpoint}/111122223333/q{index}"} for index in range(number)],
        "access_anywhere": {"endpoint": "https://localhost", "login": "nobody", "password": "none"},
        "buckets": {"data": "/data"},
        "sync": {"strategy": "dry-run"},
    }


class _Sqs:
    """SQS with many queues. Only the first one, `q0`, gets messages."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._polled: set[str] = set()
        self._waiting: deque[dict[str, Any]] = deque()
        self._sent = asyncio.Event()
        self.all_polled = asyncio.Event()
        self.all_deleted = asyncio.Event()
        self.deleted = 0
        self.batches: Counter[int] = Counter()

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/{path:.*}", self._answer)
        return app

    def send(self, number: int) -> None:
        for index in range(number):
            s3 = {"bucket": {"name": "data"}, "object": {"key": f"folder/{index}", "size": 1}}
            event = {"eventVersion": "2.1", "eventSource": "aws:s3", "eventName": "ObjectCreated:Put"}
            record = event | {"eventTime": "2026-01-01T00:00:00Z", "s3": s3}
            attributes = {"ApproximateReceiveCount": "1", "SentTimestamp": "1767225600000"}
            body = json.dumps({"Records": [record]})
            message = {"MessageId": f"m{index}", "ReceiptHandle": f"r{index}", "Body": body, "Attributes": attributes}
            self._waiting.append(message)
        self._sent.set()

    async def _answer(self, request: web.Request) -> web.Response:
        call = request.headers["X-Amz-Target"].rpartition(".")[2]
        asked = json.loads(await request.read())
        answer = await getattr(self, f"_{call}")(asked)
        return web.Response(body=json.dumps(answer).encode(), content_type="application/x-amz-json-1.0")

    async def _GetQueueAttributes(self, _: dict[str, Any]) -> dict[str, Any]:  # noqa: N802 - the API's name
        return {"Attributes": {"VisibilityTimeout": "30"}}

    async def _ReceiveMessage(self, asked: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        name = asked["QueueUrl"].rpartition("/")[2]
        self._polled.add(name)
        # An older version keeps room for each long poll, so that only some queues are polled at a time.
        if len(self._polled) >= min(self._number, 32):
            self.all_polled.set()
        deadline = time.monotonic() + asked.get("WaitTimeSeconds", 0)
        while name != "q0" or not self._waiting:
            left = deadline - time.monotonic()
            if left <= 0:
                return {}
            if name != "q0":
                await asyncio.sleep(left)
                return {}
            self._sent.clear()
            try:
                async with asyncio.timeout(left):
                    await self._sent.wait()
            except TimeoutError:
                return {}
        found = [self._waiting.popleft() for _ in range(min(asked["MaxNumberOfMessages"], len(self._waiting)))]
        self.batches[len(found)] += 1
        return {"Messages": found}

    async def _DeleteMessageBatch(self, asked: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        self.deleted += len(asked["Entries"])
        if self.deleted >= MESSAGES:
            self.all_deleted.set()
        return self._successful(asked)

    async def _ChangeMessageVisibilityBatch(self, asked: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return self._successful(asked)

    @staticmethod
    def _successful(asked: dict[str, Any]) -> dict[str, Any]:
        return {"Successful": [{"Id": entry["Id"]} for entry in asked["Entries"]], "Failed": []}
