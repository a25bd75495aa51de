"""The cost of refreshing the folders of many events: calls to Access Anywhere, time, CPU time, memory.

The server is the sandbox's, in another process, with storage in memory. Each measurement is a process of its own, so its
memory can be measured. `python -m bench refreshes [--folders N]`.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx

from bench import memory
from jibe_sqs.adapters.access_anywhere import RefreshTarget, connect
from jibe_sqs.adapters.clock import S3Clock
from jibe_sqs.adapters.ledgers.memory import MemoryLedger
from jibe_sqs.core.model import Folder
from jibe_sqs.ports import OtherRefreshes
from jibe_sqs.sandbox.access_anywhere import AccessAnywhereServer, MemoryStorage, Provider, create_app, serving
from jibe_sqs.syncing.pace import Costs
from jibe_sqs.syncing.refreshes import Refreshes
from jibe_sqs.telemetry import logs
from jibe_sqs.telemetry.optional_ledger import OptionalLedger

FOLDERS = 100_000
BUCKET = "data"
TOP = f"/S3/{BUCKET}"
TOKEN = "permanent"
REFRESH_SECONDS = 0.02
CONCURRENCY = 32
HELD = 10_000
"""Messages held at the same time."""
NAIVE = 1000
"""Events in the comparison without coalescing, which would take hours with all events."""


def run(folders: int = FOLDERS) -> None:
    """100,000 events in one folder, and in 100,000 new folders; then 1,000 events with and without coalescing."""
    print(f"  the server takes {REFRESH_SECONDS:g} s a refresh, {CONCURRENCY} at a time")
    for shape, group in (("one", 1), ("tree", 200)):
        _report(_EVENTS_IN[shape], folders, _measured(shape, folders, group, naive=False))
    few = min(folders, NAIVE)
    for shape, group in (("one", 1), ("tree", 200)):
        ours, naive = (_measured(shape, few, group, naive=naive) for naive in (False, True))
        _report(_EVENTS_IN[shape], few, ours)
        _report(f"{_EVENTS_IN[shape]}, one refresh for each event", few, naive)
        ratio = sum(naive["calls"].values()) / sum(ours["calls"].values())
        print(f"    calls, as a multiple of ours  {ratio:8,.1f}")


_EVENTS_IN = {"one": "all in one folder", "tree": "each in a new folder of a tree"}


def _report(what: str, events: int, found: dict[str, Any]) -> None:
    print(f"  {events:,} events, {what}: {found['refreshes']:,} refreshes", flush=True)
    for function, count in sorted(found["calls"].items()):
        print(f"    {function:28}  {count:8,} calls, {count / events:.4f} an event")
    print(f"    time                          {found['seconds']:8.1f} s, of it {found['cpu']:.1f} s of our CPU")
    print(f"    peak memory                   {found['peak'] / 1e6:8.1f} MB, {found['before'] / 1e6:.1f} MB before")
    print(f"    index                         {found['shown']:8,} objects shown of {found['stored']:,}")


def keys(shape: str, events: int) -> Iterator[str]:
    """One key for each event. `one`: all in one folder. `tree`: each in its own folder, at the third level of a tree."""
    for n in range(events):
        yield f"all/{n:06}" if shape == "one" else f"{n // 1000:03}/{n // 100 % 10}/{n % 100:02}/object"


# The processes


@contextmanager
def _server(shape: str, events: int) -> Iterator[str]:
    server = subprocess.Popen(
        [sys.executable, "-m", "bench.refreshes", "serve", shape, str(events)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with server:
        assert server.stdout
        yield server.stdout.readline().strip()
        server.communicate()


def _serve(shape: str, events: int) -> None:
    """Serve until standard input ends."""
    config = AccessAnywhereServer(
        login="",
        password="",
        permanent_token=TOKEN,
        providers=(Provider("S3", buckets=(BUCKET,)),),
        recent_window=0.0,
        refresh_seconds=REFRESH_SECONDS,
    )
    storage = MemoryStorage({BUCKET: dict.fromkeys(keys(shape, events), b"")})
    with serving(create_app(config, storage)) as url:
        print(url, flush=True)
        sys.stdin.read()


def _measured(shape: str, events: int, group: int, *, naive: bool) -> dict[str, Any]:
    with _server(shape, events) as url:
        arguments = ["measure", shape, str(events), url, str(group), str(int(naive))]
        done = subprocess.run(
            [sys.executable, "-m", "bench.refreshes", *arguments], stdout=subprocess.PIPE, check=True, text=True
        )
        shown = httpx.get(f"{url}/sandbox/index", timeout=60).json()
    found: dict[str, Any] = json.loads(done.stdout)
    return found | {"shown": len(shown), "stored": events}


async def _measure(shape: str, events: int, url: str, group: int, *, naive: bool) -> dict[str, Any]:
    clock, costs = S3Clock(), Costs()
    folders = [Folder(f"{TOP}/{key}".rpartition("/")[0]) for key in keys(shape, events)]
    messages = [folders[start : start + group] for start in range(0, events, group)]
    before, began, used = memory.peak(), time.monotonic(), time.process_time()
    async with connect(endpoint=url, permanent_token=TOKEN, concurrency=CONCURRENCY, clock=clock) as client:
        target = RefreshTarget(client, roots=lambda: [TOP], clock=clock, slots=client.concurrency, costs=costs)
        refreshes = Refreshes(
            target=target, ledger=OptionalLedger(MemoryLedger()), clock=clock, min_interval=5.0, costs=costs
        )
        if naive:
            await _held(messages, lambda message: _each_by_itself(target, message))
            count = events
        else:
            await _held(messages, lambda message: _together(refreshes, message))
            count = refreshes.counts.total()
    return {
        "refreshes": count,
        "calls": dict(client.calls),
        "seconds": time.monotonic() - began,
        "cpu": time.process_time() - used,
        "peak": memory.peak(),
        "before": before,
    }


async def _held(messages: Sequence[Sequence[Folder]], handle: Any) -> None:
    """Handle all messages, as many at the same time as a consumer holds."""
    waiting = iter(messages)

    async def hold() -> None:
        for message in waiting:
            await handle(message)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(min(HELD, len(messages))):
            tasks.create_task(hold())


async def _together(refreshes: Refreshes, message: Sequence[Folder]) -> None:
    errors = await refreshes.done(message)
    if errors:
        raise errors[0]


async def _each_by_itself(target: RefreshTarget, message: Sequence[Folder]) -> None:
    for folder in message:
        await _Uncoalesced(target).refresh(folder)


class _Uncoalesced(OtherRefreshes):
    """Refreshes a folder anew for each call."""

    def __init__(self, target: RefreshTarget) -> None:
        self._target = target

    async def refresh(self, folder: Folder) -> None:
        await self._target.refresh(folder, lambda: None, self)

    def watch(self, _: Folder) -> Callable[[], Awaitable[bool]]:
        return _has_not_ended


async def _has_not_ended() -> bool:
    return False


def _main(command: str, shape: str, events: str, *rest: str) -> None:
    if command == "serve":
        _serve(shape, int(events))
    else:
        url, group, naive = rest
        logs.configure("warning", "json")
        print(json.dumps(asyncio.run(_measure(shape, int(events), url, int(group), naive=bool(int(naive))))))


if __name__ == "__main__":
    _main(*sys.argv[1:])
