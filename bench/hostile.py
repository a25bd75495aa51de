"""Peak memory of the service for hostile input, each case in a process of its own, while Access Anywhere does not answer.

Queue, log files and Access Anywhere are doubles, so only the service's own memory counts.
"""

import asyncio
import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from itertools import count, islice
from typing import Any

import structlog

from bench.memory import peak
from jibe_sqs.adapters.clock import S3Clock
from jibe_sqs.compose.engine import Engine, Inputs, Outputs, Policies
from jibe_sqs.core.decisions import Decisions, Place
from jibe_sqs.core.model import Message
from jibe_sqs.core.sources import LogSource, Sources
from jibe_sqs.ports import QueueFacts
from jibe_sqs.testing import InMemoryLedger

MIB = 1024 * 1024
QUIET = 50
"""Turns of a tenth of a second without a receive or a chunk, after which nothing more happens."""
LOGS = "logs"
_KEY = "AWSLogs/111122223333/CloudTrail/eu-west-1/2026/01/01/%s.json.gz"
_NUMBERS = count()


def run() -> None:
    """Peak memory of the service above its memory when idle, for hostile input while Access Anywhere does not answer."""
    print("  case                                                     in hand    MiB above idle")
    for name in CASES:
        command = [sys.executable, "-m", "bench.hostile", name]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            print(f"  {name:56} died ({done.returncode})")
            continue
        found = json.loads(done.stdout)
        each = f", {found['rise'] / found['held']:,.0f} bytes each" if found["held"] > 1000 else ""
        print(f"  {name:56} {found['held']:7,} {found['rise'] / MIB:12.0f}{each}", flush=True)


def _events(keys: Iterable[str], size: int = 0, further: Iterable[Any] = ()) -> str:
    named = [
        {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "data"}, "object": {"key": key}}} for key in keys
    ]
    text = json.dumps({"Records": [*named, *further]}, ensure_ascii=False, separators=(",", ":"))
    return text + " " * (size - len(text.encode()))


def _announcing(names: Iterable[str]) -> str:
    return json.dumps({"s3Bucket": LOGS, "s3ObjectKey": [_KEY % name for name in names]}, separators=(",", ":"))


def _log(records: Iterable[str]) -> bytes:
    return gzip.compress(('{"Records":[' + ",".join(records) + "]}").encode(), 1)


def _record(number: int, *, key: str = "a/b", id_: str = "", more: str = "") -> str:
    return (
        f'{{"eventVersion":"1.11","eventTime":"2026-01-01T00:00:00Z","eventSource":"s3.amazonaws.com",'
        f'"eventName":"PutObject","eventID":"{number}{id_}","requestParameters":{{"bucketName":"data","key":"{key}"}}{more}}}'
    )


Input = tuple[Iterable[str], Iterable[str]]
"""The bodies of the messages, and the records of each log file."""

CASES: dict[str, Callable[[], Input]] = {
    "20,000 small messages": lambda: (
        (_events([f"{n}/a"]) for n in range(20_000)),
        (),
    ),
    "500 messages of 1 MiB with an emoji": lambda: (
        (_events([f"{n}/😀"], MIB) for n in range(500)),
        (),
    ),
    "100 messages of 1 MiB with 8,000 folders": lambda: (
        (_events((f"{n} {i} {'f' * 50}/😀" for i in range(8000)), MIB) for n in range(100)),
        (),
    ),
    "20 messages with 250,000 unreadable records": lambda: (
        (_events([f"{n}/a"], further=[{}] * 250_000) for n in range(20)),
        (),
    ),
    "a message with 15,000 log files": lambda: (
        [_announcing(map(str, range(15_000)))],
        (_record(n, key=f"{n}/a") for n in range(2)),
    ),
    "a log file with 700,000 folders": lambda: (
        [_announcing(["a"])],
        (_record(n, key=f"folder {n}/a") for n in range(700_000)),
    ),
    "64 log files with ids of 2,000 characters": lambda: (
        (_announcing([str(n)]) for n in range(64)),
        (_record(n, id_="i" * 2000) for n in range(10_000)),
    ),
    "64 log files with records of 4 MB": lambda: (
        (_announcing([str(n)]) for n in range(64)),
        (_record(n, more=',"x":[' + ",".join(["{}"] * 1_300_000) + "]") for n in range(2)),
    ),
    "64 log files with many principals": lambda: (
        (_announcing([str(n)]) for n in range(64)),
        (_record(n, more=f',"userIdentity":{{"arn":"arn:aws:iam::1:user/{n}{"u" * 500}"}}') for n in range(20_000)),
    ),
}


class _Activity:
    """The number of turns since something was received or read."""

    turns = 0

    def seen(self) -> None:
        self.turns = 0


class _Queue:
    """The `Queue` port: gives each message once."""

    name = "queue"

    def __init__(self, bodies: Iterable[str], activity: _Activity) -> None:
        self._bodies = iter(bodies)
        self._activity = activity

    async def receive(self, limit: int, *, wait: float, visibility: float = 0.0) -> Sequence[Message]:  # noqa: ARG002
        found = [_message(body) for body in islice(self._bodies, limit)]
        if found:
            self._activity.seen()
        else:
            await asyncio.sleep(wait or 0.1)
        return found

    async def delete(self, receipts: Sequence[str]) -> dict[str, Exception]:  # noqa: ARG002
        return {}

    async def show_after(self, delays: Sequence[tuple[str, float]]) -> dict[str, Exception]:  # noqa: ARG002
        return {}

    async def reject(self, message: Message, why: object) -> bool:  # noqa: ARG002
        return True


def _message(body: str) -> Message:
    number = next(_NUMBERS)
    is_text = Message.__annotations__["body"] is str
    return Message(f"{number:036}", f"{number:0400}", body if is_text else body.encode())  # type: ignore[arg-type]


class _Logs:
    """The `LogStore` port: chunks of a MiB."""

    def __init__(self, contents: bytes, activity: _Activity) -> None:
        self._contents = contents
        self._activity = activity

    @asynccontextmanager
    async def open(self, file: object) -> Any:  # noqa: ARG002
        data = self._contents
        activity = self._activity

        class Log:
            etag = "etag"
            size = len(data)

            async def __aiter__(self) -> Any:
                for at in range(0, len(data), MIB):
                    await asyncio.sleep(0)
                    activity.seen()
                    yield data[at : at + MIB]

        yield Log()


class _Silent:
    """The `SyncTarget` port: no refresh ends."""

    async def refresh(self, folder: object, began: Callable[[], None], others: object) -> None:  # noqa: ARG002
        began()
        await asyncio.Event().wait()


async def _measured(name: str) -> dict[str, int]:
    bodies, _ = CASES[name]()
    # Made by another process, whose memory does not count.
    made = subprocess.run([sys.executable, "-m", "bench.hostile", name, "log"], stdout=subprocess.PIPE, check=True)
    activity = _Activity()
    decisions = Decisions({"data": (Place("/S3/data"),)})
    outputs = Outputs(clock=S3Clock(), ledger=InMemoryLedger(), target=_Silent(), decisions=decisions)
    engine = Engine(outputs, Policies(messages_reading=64, messages_held=20_000))
    queue: Any = _Queue(bodies, activity)
    engine.service(
        Inputs(
            queues=[(queue, QueueFacts(30.0, 10))],
            logs=_Logs(made.stdout, activity),
            sources=Sources([LogSource(LOGS)]),
        )
    )
    before = peak()
    consuming = asyncio.create_task(engine.consumers[0].run())
    while activity.turns < QUIET:
        await asyncio.wait([consuming], timeout=0.1)
        activity.turns += 1
    rise = peak() - before
    return {"rise": rise, "held": len(engine.consumers[0]._tasks)}  # noqa: SLF001


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    if sys.argv[2:]:
        sys.stdout.buffer.write(_log(CASES[sys.argv[1]]()[1]))
    else:
        print(json.dumps(asyncio.new_event_loop().run_until_complete(_measured(sys.argv[1]))), flush=True)
        # The refreshes never end.
        os._exit(0)
