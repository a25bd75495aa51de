"""Writes of a SQLite ledger: which of them share a transaction, and what is written within a second."""

import asyncio
import json
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from tests.adapters.test_sqlite_reads import busy_thread
from tests.processes import PATIENCE

from jibe_sqs.adapters.ledgers import sqlite
from jibe_sqs.adapters.ledgers.grouped_writes import GroupedWrites
from jibe_sqs.adapters.ledgers.sqlite import SqliteLedger
from jibe_sqs.core.errors import LedgerError
from jibe_sqs.core.history import HistoryQuestion
from jibe_sqs.core.model import Folder, LogFile
from jibe_sqs.core.principals import Seen

LOG = LogFile("logs", "a/log.json.gz")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.db"


def principals(path) -> dict[str, int]:
    with closing(sqlite3.connect(path)) as database:
        return dict(database.execute("SELECT who, count FROM principals").fetchall())


async def test_all_writes_that_come_during_a_transaction_share_the_next(path):
    async with SqliteLedger(path) as ledger:
        begun = []
        ledger._connection.set_trace_callback(
            lambda statement: begun.append(statement) if "BEGIN" in statement else None
        )
        async with busy_thread(ledger):
            first = asyncio.create_task(ledger.finish(LOG, "e"))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            others = [asyncio.create_task(ledger.finish(LogFile("logs", str(n)), "e")) for n in range(100)]
            others += [asyncio.create_task(ledger.refreshed(Folder(f"/{n}"), 1.0)) for n in range(100)]
            await asyncio.sleep(0.05)
        await asyncio.gather(first, *others)
        assert len(begun) == 2
        assert await ledger.unfinished([LOG, *(LogFile("logs", str(n)) for n in range(100))]) == []


async def test_a_failed_transaction_fails_its_writes_and_no_others():
    transactions, error = [], LedgerError("full")

    async def write(rows):
        transactions.append({statement: list(values) for statement, values in rows.items()})
        if len(transactions) == 1:
            raise error

    writes = GroupedWrites(write)
    first = [writes.add("a", (1,)), writes.add("b", (2,)), writes.add("a", (3,))]
    assert await asyncio.gather(*first, return_exceptions=True) == [error] * 3
    assert await writes.add("a", (4,)) is None
    assert transactions == [{"a": [(1,), (3,)], "b": [(2,)]}, {"a": [(4,)]}]
    assert writes.are_finished


async def test_a_cancelled_write_does_not_fail_its_neighbours():
    async def write(rows):
        await asyncio.sleep(0)

    writes = GroupedWrites(write)
    cancelled, other = writes.add("a", (1,)), writes.add("a", (2,))
    cancelled.cancel()
    await other
    assert cancelled.cancelled()


# Principals


async def test_principals_are_written_soon_without_another_write_and_at_the_latest_when_the_ledger_closes(
    path, monkeypatch
):
    async with SqliteLedger(path) as ledger:
        monkeypatch.setattr(sqlite, "DELAY", 0.0)
        await ledger.observe({"ana": Seen(1.0, 2.0, 3)})
        assert principals(path) == {}
        async with asyncio.timeout(PATIENCE):
            while not principals(path):
                await asyncio.sleep(0.01)
        monkeypatch.undo()
        await ledger.observe({"ana": Seen(1.0, 2.0, 4)})
        assert principals(path) == {"ana": 3}
    assert principals(path) == {"ana": 7}


async def test_principals_that_could_not_be_written_are_counted_once_later(path, monkeypatch):
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT", 0.0)
    async with SqliteLedger(path) as ledger:
        await ledger.observe({"ana": Seen(1.0, 2.0, 3), "bo": Seen(1.0, 1.0)})
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(LedgerError, match="locked"):
                await ledger.principals()
            await ledger.observe({"ana": Seen(0.5, 1.0, 4)})
            other.execute("ROLLBACK")
        assert await ledger.principals() == {"ana": Seen(0.5, 2.0, 7), "bo": Seen(1.0, 1.0)}


async def test_principals_that_cannot_be_written_do_not_fill_the_memory(path, monkeypatch):
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT", 0.0)
    monkeypatch.setattr(sqlite, "MAX_WAITING_PRINCIPALS", 10)
    async with SqliteLedger(path) as ledger:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            await ledger.observe({f"p{n}": Seen(1.0, 1.0) for n in range(10)})
            with pytest.raises(LedgerError, match="locked"):
                await ledger.observe({"one more": Seen(1.0, 1.0)})
            other.execute("ROLLBACK")
        await ledger.observe({"one more": Seen(1.0, 1.0)})
        assert len(await ledger.principals()) == 11


# Several processes


_WRITER = """
import asyncio, sys
from pathlib import Path
from jibe_sqs.adapters.ledgers.sqlite import SqliteLedger
from jibe_sqs.core.history import FolderRefreshed
from jibe_sqs.core.model import Folder, LogFile
from jibe_sqs.core.principals import Seen

async def main(path, name, number):
    async with SqliteLedger(Path(path), history=1e9) as ledger:
        async def write(n):
            await ledger.finish(LogFile("logs", f"{name}-{n}"), "e")
            await ledger.observe({"ana": Seen(float(n), float(n)), name: Seen(1.0, 1.0)})
            await ledger.record(FolderRefreshed(Folder("/data"), float(n), name))
        for first in range(0, int(number), 20):
            await asyncio.gather(*map(write, range(first, first + 20)))

asyncio.run(main(*sys.argv[1:]))
"""


async def test_processes_that_open_a_new_file_and_write_at_the_same_time_lose_nothing(path):
    """No call fails because the file is locked."""
    names, number = ["one", "two", "three"], 400
    processes = [
        subprocess.Popen([sys.executable, "-c", _WRITER, str(path), name, str(number)], stderr=subprocess.PIPE)
        for name in names
    ]
    outcomes = [await asyncio.to_thread(process.communicate, timeout=PATIENCE) for process in processes]
    assert [(process.returncode, errors) for process, (_, errors) in zip(processes, outcomes, strict=True)] == [
        (0, b"")
    ] * len(names)
    async with SqliteLedger(path, history=1e9) as ledger:
        assert await ledger.unfinished([LogFile("logs", f"{name}-{n}") for name in names for n in range(number)]) == []
        assert await ledger.principals() == {
            "ana": Seen(0.0, number - 1.0, number * len(names)),
            **{name: Seen(1.0, 1.0, number) for name in names},
        }
        history = await ledger.history(HistoryQuestion(("/data",), limit=10_000))
        assert sorted(json.dumps([each.entry.reason, each.entry.seconds]) for each in history) == sorted(
            json.dumps([name, float(n)]) for name in names for n in range(number)
        )
