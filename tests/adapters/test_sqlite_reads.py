"""Reads of a SQLite ledger in the event loop's thread: what they see, and when they leave it to the ledger's thread."""

import asyncio
import sqlite3
import threading
from contextlib import asynccontextmanager, closing

import pytest

from jibe_sqs.adapters.ledgers.inline_reads import BLOCKED_AVERAGE, MIN_REST, SLOW_AVERAGE, InlineReads
from jibe_sqs.adapters.ledgers.sqlite import MAX_INLINE, SqliteLedger
from jibe_sqs.core.errors import LedgerError
from jibe_sqs.core.model import Folder, LogFile

LOG = LogFile("logs", "a/log.json.gz")
FOLDER = Folder("/data/a")


class Clock:
    """A clock that advances by `step` at each look."""

    def __init__(self, step=0.0):
        self.time, self.step = 0.0, step

    def __call__(self):
        self.time += self.step
        return self.time


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.db"


@asynccontextmanager
async def busy_thread(ledger):
    """The ledger's thread does nothing else meanwhile."""
    going_on = threading.Event()
    busy = asyncio.get_running_loop().run_in_executor(ledger._thread, going_on.wait)
    try:
        yield
    finally:
        going_on.set()
        await busy


async def test_reads_do_not_wait_for_the_ledgers_thread(path):
    async with SqliteLedger(path) as ledger:
        await ledger.finish(LOG, "e")
        await ledger.refreshed(FOLDER, 5.0)
        await ledger.note("a", "b")
        async with busy_thread(ledger):
            assert await ledger.is_finished(LOG)
            assert await ledger.unfinished([LOG, LogFile("logs", "b")]) == [LogFile("logs", "b")]
            assert await ledger.watermarks([FOLDER]) == {FOLDER: 5.0}
            assert await ledger.notes(["a"]) == {"a": "b"}


async def test_each_write_that_has_returned_is_seen_by_the_reads_that_follow(path):
    async with SqliteLedger(path) as ledger, SqliteLedger(path) as other:

        async def work(number):
            for step in range(20):
                file, folder = LogFile("logs", f"{number}-{step}"), Folder(f"/{number}")
                assert not await ledger.is_finished(file)
                await ledger.finish(file, "e")
                assert await ledger.is_finished(file)
                assert await other.is_finished(file)
                await other.refreshed(folder, float(step))
                assert (await ledger.watermarks([folder]))[folder] == step

        await asyncio.gather(*map(work, range(30)))


async def test_a_long_look_up_does_not_hold_up_the_event_loop(path):
    files = [LogFile("logs", str(number)) for number in range(MAX_INLINE + 1)]
    async with SqliteLedger(path) as ledger:
        async with busy_thread(ledger):
            assert await ledger.unfinished(files[1:]) == files[1:]
            long = asyncio.create_task(ledger.unfinished(files))
            await asyncio.sleep(0.05)
            assert not long.done()
        assert await long == files


async def test_while_the_disk_is_slow_reads_use_the_thread(path):
    clock = Clock()
    async with SqliteLedger(path, clock=clock) as ledger:
        await ledger.finish(LOG, "e")
        clock.step = 60 * BLOCKED_AVERAGE  # the first read takes so long
        assert await ledger.is_finished(LOG)
        clock.step = 0.0
        async with busy_thread(ledger):
            read = asyncio.create_task(ledger.is_finished(LOG))
            await asyncio.sleep(0.05)
            assert not read.done()
        assert await read
        clock.time += 60 * BLOCKED_AVERAGE * 50
        async with busy_thread(ledger):
            assert await ledger.is_finished(LOG)


@pytest.mark.parametrize(("blocks", "seconds", "stays"), [(1, 2 * SLOW_AVERAGE, False), (0, 2 * SLOW_AVERAGE, True),
    (0, 2 * BLOCKED_AVERAGE, False), (1, SLOW_AVERAGE / 2, True)])  # fmt: skip
def test_only_a_disk_or_a_very_long_time_makes_reads_slow(blocks, seconds, stays):
    """On a busy machine, a read may have waited for a processor. Then a thread would only add to the work."""
    clock, read = Clock(), 0

    def look_up(database):
        nonlocal read
        read += blocks
        clock.time += seconds

    reads = InlineReads(clock, lambda: read)
    with closing(sqlite3.connect(":memory:")) as database:
        for _ in range(200):
            if not reads.are_fast:
                break
            reads.find(database, look_up)
        assert reads.are_fast is stays
        clock.time += MIN_REST + 60.0
        assert reads.are_fast


async def test_damage_that_a_read_finds_sets_the_file_aside(path, events):
    files = [LogFile("logs", f"{number}" * 50) for number in range(500)]
    async with SqliteLedger(path) as ledger:
        await asyncio.gather(*(ledger.finish(file, "e") for file in files))
        for each in (ledger._connection, ledger._file.reader):
            each.execute("PRAGMA cache_size = 0")
        ledger._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        path.write_bytes(b"\0" * path.stat().st_size)
        with pytest.raises(LedgerError):
            await ledger.is_finished(files[0])
        assert [event["event"] for event in events] == ["ledger_set_aside"]
        async with busy_thread(ledger):
            assert not await ledger.is_finished(files[0])  # with a connection to the new file
        await ledger.finish(files[0], "e")
        assert await ledger.is_finished(files[0])


async def test_reads_work_while_another_process_writes(path):
    async with SqliteLedger(path) as ledger:
        await ledger.finish(LOG, "e")
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            other.execute("DELETE FROM finished")
            assert await ledger.is_finished(LOG)
            other.execute("COMMIT")
        assert not await ledger.is_finished(LOG)


async def test_the_connection_for_reads_is_closed_with_the_ledger(path):
    async with SqliteLedger(path) as ledger:
        await ledger.finish(LOG, "e")
        reader = ledger._file.reader
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        reader.execute("SELECT 1")
    assert [each.name for each in path.parent.iterdir()] == [
        "ledger.db"
    ]  # SQLite deletes its log with the last connection
