"""The SQLite ledger with many entries: start, look-ups, writes, and the times of other calls while it is pruned.

`python -m bench ledger [--rows N] [--pruned PART]`. Ten million rows need 5 GB of disk (temporary files), 3 GB of memory, and several minutes.
"""

import asyncio
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

from jibe_sqs.adapters.ledgers.sqlite import MAX_LOOK_UP, SqliteLedger
from jibe_sqs.core.history import FileRead
from jibe_sqs.core.model import Folder, LogFile

ROWS = 100_000
PRUNED = 0.15
"""The part of the entries that is pruned."""
CALLS = 500
AT_ONCE = 50
ACCOUNTS, REGIONS = 50, 16
BEGAN = 1_790_000_000.0
SECONDS = 30 * 86_400.0
NO_LIMIT = 1 << 50
FOLDERS = [f"/Amazon S3/example-media/projects/2026/project {number}" for number in range(5)]
"""The folders of a log file in the history."""

_INSERT = "INSERT INTO files VALUES ('trail', ?, NULL, '9e107d9d372bb6826bd81d3542a419d6', ?, '')"


def run(rows: int = ROWS, pruned: float = PRUNED) -> None:
    """A file with 100,000 entries (or `--rows`), of which 15% (or `--pruned`) are pruned while other calls are made."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_measure(Path(folder) / "ledger.sqlite", rows, pruned))


async def _measure(path: Path, rows: int, pruned: float) -> None:
    async with SqliteLedger(path):
        pass
    began = time.perf_counter()
    fill(path, rows)
    print(f"  {rows:,} entries in {path.stat().st_size / 1e6:,.0f} MB, {path.stat().st_size / rows:.0f} bytes an entry")
    print(f"  filled in            {time.perf_counter() - began:8.1f} s", flush=True)
    some = some_files(rows)
    began = time.perf_counter()
    async with SqliteLedger(path, max_bytes=NO_LIMIT, history=SECONDS) as ledger:
        print(f"  start                {(time.perf_counter() - began) * 1e3:8.2f} ms")
        await _print_calls(ledger, some)
        await _print_pruning(ledger, path, some, pruned)


def fill(path: Path, rows: int) -> None:
    """In the order of the keys, and the index at the end: ten times as fast as in the order of time."""
    files = sorted((key, BEGAN + SECONDS * n / rows) for n, key in enumerate(_keys(rows)))
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode = OFF")
        database.execute("PRAGMA synchronous = OFF")
        index = database.execute("SELECT sql FROM sqlite_schema WHERE name = 'files_written'").fetchone()[0]
        database.execute("DROP INDEX files_written")
        with database:
            database.executemany(_INSERT, files)
        database.execute(index)


def _keys(rows: int) -> Iterator[str]:
    """Names as CloudTrail's, in the order of their delivery; the same ones for each call."""
    chance = random.Random(1)
    for n in range(rows):
        account, region = f"{chance.randrange(ACCOUNTS):012}", f"eu-west-{chance.randrange(REGIONS)}"
        day, minute = divmod(n * 30 * 1440 // rows, 1440)
        yield (
            f"AWSLogs/{account}/CloudTrail/{region}/2026/11/{day + 1:02}/{account}_CloudTrail_{region}_202611{day + 1:02}T"
            f"{minute // 60:02}{minute % 60:02}Z_{chance.getrandbits(64):016x}.json.gz"
        )


def some_files(rows: int) -> list[LogFile]:
    """Files of the younger half, which pruning leaves, in random order."""
    wanted = min(20_000, rows // 4)
    step = rows // 2 // wanted
    some = [LogFile("trail", key) for n, key in enumerate(_keys(rows)) if n >= rows // 2 and n % step == 0]
    random.Random(2).shuffle(some)
    return some


async def _print_calls(ledger: SqliteLedger, some: Sequence[LogFile]) -> None:
    absent = [LogFile("trail", f"{file.key}-absent") for file in some]
    assert await ledger.is_finished(some[0])
    assert not await ledger.is_finished(absent[0])
    calls: dict[str, Callable[[int], Awaitable[object]]] = {
        "a finished file": lambda n: ledger.is_finished(some[n % len(some)]),
        "an unknown file": lambda n: ledger.is_finished(absent[n % len(absent)]),
        f"{MAX_LOOK_UP} files": lambda n: ledger.unfinished(
            [some[(n * 7 + i) % len(some)] for i in range(MAX_LOOK_UP)]
        ),
        "a write": lambda n: ledger.finish(LogFile("trail", f"{some[n % len(some)].key}-new-{n}"), "e"),
    }
    for name, call in calls.items():
        _print_times(name, [await _timed(call(n)) for n in range(CALLS)])
    await _print_batches(ledger, calls["a write"])


async def _print_batches(ledger: SqliteLedger, write: Callable[[int], Awaitable[object]]) -> None:
    """Writes without and with an entry of the history, in turns: so a busy machine slows both alike."""
    entry = FileRead(f"s3://trail/{next(_keys(1))}", 100, BEGAN, BEGAN + 60, tuple(map(Folder, FOLDERS)))
    plain: list[float] = []
    with_history: list[float] = []

    async def recorded(n: int) -> None:
        await ledger.record(entry)
        await write(n)

    for first in range(0, 10 * CALLS, AT_ONCE):
        numbers = range(-first - AT_ONCE, -first)
        plain.append(await _timed(asyncio.gather(*map(write, numbers))))
        with_history.append(await _timed(asyncio.gather(*map(recorded, numbers))))
    for name, seconds in (("writes", plain), ("and history", with_history)):
        print(
            f"  {name}, {AT_ONCE} at once {AT_ONCE / statistics.median(seconds):12,.0f} a second (median)", flush=True
        )
    ratio = statistics.median(with_history) / statistics.median(plain)
    print(f"  time with the history {ratio:.2f} times that without", flush=True)


async def _print_pruning(ledger: SqliteLedger, path: Path, some: Sequence[LogFile], pruned: float) -> None:
    wal = path.with_name(path.name + "-wal")
    reads: list[float] = []
    writes: list[float] = []
    longest_wal = 0
    began = time.perf_counter()
    pruning = asyncio.create_task(ledger.prune(BEGAN + SECONDS * pruned))
    while not pruning.done():
        file = some[len(reads) % len(some)]
        reads.append(await _timed(ledger.is_finished(file)))
        writes.append(await _timed(ledger.finish(file, "e")))
        longest_wal = max(longest_wal, wal.stat().st_size)
    await pruning
    print(f"  pruned {pruned:.0%} in        {time.perf_counter() - began:8.1f} s")
    _print_times("a look-up meanwhile", reads)
    _print_times("a write meanwhile", writes)
    print(f"  write-ahead log      {longest_wal / 1e6:8.1f} MB at its longest")
    print(f"  the file             {path.stat().st_size / 1e6:8,.0f} MB")


async def _timed(call: Awaitable[object]) -> float:
    began = time.perf_counter()
    await call
    return time.perf_counter() - began


def _print_times(name: str, seconds: Sequence[float]) -> None:
    print(
        f"  {name:20} {statistics.median(seconds) * 1e3:8.2f} ms median, {max(seconds) * 1e3:.1f} ms at most, "
        f"{len(seconds):,} calls",
        flush=True,
    )
