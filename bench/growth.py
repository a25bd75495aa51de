"""Growth: whether time and memory a file stay the same with more files, more folders, and a larger ledger."""

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from bench import ledger
from bench.contenders import OURS, QUEUE
from bench.drains import DRAIN_SECONDS, started
from bench.stub.process import StubProcess
from jibe_sqs.adapters.ledgers.sqlite import SqliteLedger
from jibe_sqs.core.model import LogFile

FIRST: Final = 1000
LOOK_UPS: Final = 500


class Point(msgspec.Struct, frozen=True):
    """One measurement. `size`: number of files, folders or rows."""

    size: int
    microseconds: float
    megabytes: float


class Curve(msgspec.Struct, frozen=True):
    """How a cost grows. `x`: what is counted; `y`: what takes the microseconds."""

    name: str
    x: str
    y: str
    points: list[Point]


def sizes(most: int) -> list[int]:
    """From a thousand to `most`: 1,000, 3,000, 10,000, …"""
    found = [FIRST * factor * 10**decade for decade in range(10) for factor in (1, 3)]
    return [size for size in found if size < most] + [most]


def run(stub: StubProcess, most: int, rows: int) -> list[Curve]:
    """Files from 1,000 to `most`, a tenth of that in folders, and a ledger of 1,000 to `rows` rows."""
    # A refresh costs far more than a file.
    folders = sizes(max(FIRST, most // 10))
    return [
        _printed("files", "tiny files drained", "CPU us a file", _drained(stub, "tiny", sizes(most))),
        _printed("folders", "folders refreshed", "CPU us an event", _drained(stub, "manyfolders", folders)),
        _printed("ledger", "rows in the ledger", "CPU us a look-up, a write", _ledgers(sizes(rows))),
    ]


def _printed(name: str, x: str, y: str, points: Iterator[Point]) -> Curve:
    print(f"\ngrowth, {name}\n{x:>40}{y:>26}{'MB':>8}")
    found = []
    for point in points:
        print(f"{point.size:>40,}{point.microseconds:>26,.0f}{point.megabytes:>8,.0f}", flush=True)
        found.append(point)
    return Curve(name, x, y, found)


def _drained(stub: StubProcess, kind: str, steps: Sequence[int]) -> Iterator[Point]:
    """One process drains more and more. A point shows the mean since the point before, and the memory at its own end."""
    stub.reset()
    stub.set(new_folders=True)
    stub.events(kind, FIRST)
    with started(OURS, stub) as process:
        done, cpu = 0, process.cpu_now()
        for size in steps:
            stub.load(QUEUE, kind, size - done, first=done)
            stub.wait(queue=QUEUE, deleted=size, timeout=DRAIN_SECONDS)
            now = process.cpu_now()
            yield Point(size, (now - cpu) / (size - done) * 1e6, process.memory() / 1e6)
            done, cpu = size, now
        process.stop()


def _ledgers(steps: Sequence[int]) -> Iterator[Point]:
    for rows in steps:
        with tempfile.TemporaryDirectory() as folder:
            yield asyncio.run(_ledger(Path(folder) / "ledger.sqlite", rows))


async def _ledger(path: Path, rows: int) -> Point:
    """A look-up and a write in a ledger of so many rows. `megabytes`: of the file."""
    async with SqliteLedger(path):
        pass
    some = ledger.some_files(rows)
    ledger.fill(path, rows, some)
    size = path.stat().st_size / 1e6
    async with SqliteLedger(path, max_bytes=ledger.NO_LIMIT, history=ledger.SECONDS) as opened:

        async def use(number: int) -> None:
            await opened.is_finished(some[number % len(some)])
            await opened.finish(LogFile("trail", f"{some[number % len(some)].key}-new-{number}"), "e")

        return Point(rows, await _cpu(use) * 1e6, size)


async def _cpu(use: Callable[[int], Awaitable[None]]) -> float:
    began = time.process_time()
    for first in range(0, LOOK_UPS, ledger.AT_ONCE):
        await asyncio.gather(*(use(number) for number in range(first, first + ledger.AT_ONCE)))
    return (time.process_time() - began) / LOOK_UPS
