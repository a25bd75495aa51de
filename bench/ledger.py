"""The SQLite ledger with many entries: start, look-ups, writes, CPU of a message, and the times of other calls while it is pruned.

`python -m bench ledger [--rows N] [--pruned PART]`. Ten million rows need 1 GB of disk (temporary files) and several minutes.
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

from jibe_sqs.adapters.ledgers.finished_files import FINISH, MAX_LOOK_UP, FinishedFiles
from jibe_sqs.adapters.ledgers.sqlite import SqliteLedger
from jibe_sqs.core.history import FileRead
from jibe_sqs.core.model import Folder, LogFile
from jibe_sqs.core.principals import Seen
from jibe_sqs.ports import Validity
from jibe_sqs.telemetry.optional_ledger import OptionalLedger

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
IN_FLIGHT = 64
"""Messages that are handled at the same time."""
MESSAGES = 5000
ROUNDS = 5
MESSAGES_PER_REFRESH = 10
ETAG = "9e107d9d372bb6826bd81d3542a419d6"

_FILL = """
WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < :rows - 1),
    times (n, minute) AS (SELECT n, n * 43200 / :rows FROM numbers)
INSERT OR IGNORE INTO finished (name, hash, etag, written)
SELECT ((((26 * 12 + 11) * 31 + 1 + minute / 1440) * 1440 + minute % 1440) << 37) | (random() & ((1 << 37) - 1)),
    random(), randomblob(16), :began + :seconds * n / :rows
FROM times
"""
"""The names have the minutes of November 2026, as those of `_keys`."""


def run(rows: int = ROWS, pruned: float = PRUNED) -> None:
    """A file with 100,000 entries (or `--rows`), of which 15% (or `--pruned`) are pruned while other calls are made."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_measure(Path(folder) / "ledger.sqlite", rows, pruned))


async def _measure(path: Path, rows: int, pruned: float) -> None:
    async with SqliteLedger(path):
        pass
    began = time.perf_counter()
    some = some_files(rows)
    fill(path, rows, some)
    print(f"  {rows:,} entries in {path.stat().st_size / 1e6:,.0f} MB, {path.stat().st_size / rows:.0f} bytes an entry")
    print(f"  filled in            {time.perf_counter() - began:8.1f} s", flush=True)
    began = time.perf_counter()
    async with SqliteLedger(path, max_bytes=NO_LIMIT, history=SECONDS) as ledger:
        print(f"  start                {(time.perf_counter() - began) * 1e3:8.2f} ms")
        await _print_calls(ledger, some)
        await _print_messages(ledger)
        await _print_pruning(ledger, path, some, pruned)


def fill(path: Path, rows: int, some: Sequence[LogFile]) -> None:
    """Some entries of real names, and others like them, in the order of time, as a service writes them."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode = OFF")
        database.execute("PRAGMA synchronous = OFF")
        with database:
            database.execute(_FILL, {"rows": rows - len(some), "began": BEGAN, "seconds": SECONDS})
            finished = FinishedFiles(Validity())
            database.executemany(FINISH, [finished.row(file, ETAG, BEGAN + SECONDS) for file in some])


def _keys(rows: int, *, seed: int = 1) -> Iterator[str]:
    """Names as CloudTrail's, in the order of their delivery; the same ones for each call with the same seed."""
    chance = random.Random(seed)
    for n in range(rows):
        account, region = f"{chance.randrange(ACCOUNTS):012}", f"eu-west-{chance.randrange(REGIONS)}"
        day, minute = divmod(n * 30 * 1440 // rows, 1440)
        yield (
            f"AWSLogs/{account}/CloudTrail/{region}/2026/11/{day + 1:02}/{account}_CloudTrail_{region}_202611{day + 1:02}T"
            f"{minute // 60:02}{minute % 60:02}Z_{chance.getrandbits(64):016x}.json.gz"
        )


def some_files(rows: int) -> list[LogFile]:
    """Files of the younger half, in random order."""
    wanted = min(20_000, rows // 4)
    some = [LogFile("trail", key) for key in list(_keys(2 * wanted))[wanted:]]
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


async def _print_messages(ledger: SqliteLedger) -> None:
    """CPU of all that the ledger does for a small log file, as the service calls it. The least busy round counts."""
    seconds = [
        await _cpu_of_messages(OptionalLedger(ledger), range(number * MESSAGES, (number + 1) * MESSAGES))
        for number in range(ROUNDS)
    ]
    print(
        f"  CPU of a message, {IN_FLIGHT} at once {min(seconds) * 1e6:7.1f} us at least, "
        f"{statistics.median(seconds) * 1e6:.1f} us median of {ROUNDS} rounds",
        flush=True,
    )


async def _cpu_of_messages(ledger: OptionalLedger, numbers: Sequence[int]) -> float:
    keys = iter(list(zip(numbers, _keys(len(numbers), seed=numbers[0] + 3), strict=True)))

    async def work() -> None:
        for number, key in keys:
            await _message(ledger, number, key)

    began = time.process_time()
    await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))
    return (time.process_time() - began) / len(numbers)


async def _message(ledger: OptionalLedger, number: int, key: str) -> None:
    file, folder = LogFile("trail", key, etag=ETAG), Folder(f"{FOLDERS[0]}/{number % 50}")
    assert not await ledger.is_finished(file)
    await ledger.watermarks([folder])
    if number % MESSAGES_PER_REFRESH == 0:
        await ledger.refreshed(folder, BEGAN + number)
    await ledger.record(FileRead(str(file), 2, BEGAN, BEGAN + 60, (folder,)))
    await ledger.finish(file, ETAG)
    await ledger.observe({f"arn:aws:iam::123456789012:user/{number % 5}": Seen(BEGAN, BEGAN + 60, 2)})


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
