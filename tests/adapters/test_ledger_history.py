"""The history in each ledger: what is found again, what it costs, and when it is forgotten."""

import asyncio
import sqlite3
from contextlib import asynccontextmanager, closing

import pytest

from jibe_sqs.adapters.ledgers.memory import MemoryLedger
from jibe_sqs.adapters.ledgers.sqlite import SqliteLedger
from jibe_sqs.core.errors import LedgerError
from jibe_sqs.core.history import FileRead, FolderRefreshed, HistoryQuestion
from jibe_sqs.core.model import Folder, LogFile

DAY = 86_400.0
A, B, TREE = Folder("/S3/médiä/a\"b\\c'%_"), Folder("/S3/médiä/b"), Folder("/S3", tree=True)
QUESTION = HistoryQuestion((A.path,))
READ = FileRead("s3://trail/1.gz", 3, 10.0, 20.0, (B, A), skipped={"media": {"own-write": 2}})
FAILED = FolderRefreshed(A, 1.5, "events", "CallFailed", "storage said nö")


class WallClock:
    time = 1_000_000.0

    def __call__(self):
        return self.time


@pytest.fixture
def clock():
    return WallClock()


@pytest.fixture(params=["sqlite", "memory"])
def opened(request, tmp_path, clock):
    @asynccontextmanager
    async def opened(**options):
        if request.param == "memory":
            yield MemoryLedger(clock)
        else:
            async with SqliteLedger(tmp_path / "ledger.sqlite", clock, history=7 * DAY, **options) as ledger:
                yield ledger

    return opened


async def test_entries_are_found_by_folder_in_the_order_of_time(opened, clock):
    async with opened() as ledger:
        for entry in (READ, FolderRefreshed(B), FAILED, FolderRefreshed(TREE), FolderRefreshed(Folder("/other"))):
            clock.time += 1
            await ledger.record(entry)
        found = await ledger.history(QUESTION)
        assert [each.entry for each in found] == [READ, FAILED, FolderRefreshed(TREE)]
        assert [each.at for each in found] == [1_000_001.0, 1_000_003.0, 1_000_004.0]
        assert [each.entry for each in await ledger.history(HistoryQuestion(bucket="media"))] == [READ]
        assert await ledger.history(HistoryQuestion(("/no",), "no")) == []


async def test_a_limit_keeps_the_newest_and_since_the_later(opened, clock):
    async with opened() as ledger:
        for number in range(10):
            clock.time = 100.0 + number
            await ledger.record(FolderRefreshed(A, float(number)))
        limited = await ledger.history(HistoryQuestion((A.path,), limit=3))
        assert [each.entry.seconds for each in limited] == [7.0, 8.0, 9.0]
        later = await ledger.history(HistoryQuestion((A.path,), since=108.0))
        assert [each.entry.seconds for each in later] == [8.0, 9.0]


async def test_folders_below_are_found_if_wanted(opened):
    async with opened() as ledger:
        await ledger.record(FAILED)
        assert await ledger.history(HistoryQuestion(("/S3/médiä",))) == []
        assert len(await ledger.history(HistoryQuestion(trees=("/S3/médiä",)))) == 1
        assert await ledger.history(HistoryQuestion(trees=("/S3/méd",))) == []


async def test_a_question_about_very_many_folders_is_answered(opened):
    async with opened() as ledger:
        await ledger.record(FAILED)
        paths = (*(f"/x/{number}/y" for number in range(2000)), A.path)
        assert len(await ledger.history(HistoryQuestion(paths))) == 1


# SQLite


def entries(path):
    with closing(sqlite3.connect(path)) as database:
        return database.execute("SELECT count(*) FROM history").fetchone()[0]


async def test_another_write_takes_entries_along(tmp_path):
    path = tmp_path / "ledger.sqlite"
    async with SqliteLedger(path, history=DAY) as ledger:
        await ledger.record(FAILED)
        assert entries(path) == 0
        await ledger.refreshed(A, 1.0)
        assert entries(path) == 1


async def test_an_entry_is_written_soon_without_another_write_and_at_the_latest_when_the_ledger_closes(
    tmp_path, monkeypatch
):
    path = tmp_path / "ledger.sqlite"
    async with SqliteLedger(path, history=DAY) as ledger:
        monkeypatch.setattr("jibe_sqs.adapters.ledgers.sqlite.DELAY", 0.0)
        await ledger.record(FAILED)
        async with asyncio.timeout(60):
            while not entries(path):
                await asyncio.sleep(0.01)
        monkeypatch.undo()
        await ledger.record(FAILED)
        assert entries(path) == 1
    assert entries(path) == 2


async def test_entries_that_cannot_be_written_do_not_fill_the_memory(tmp_path, monkeypatch):
    path = tmp_path / "ledger.sqlite"
    monkeypatch.setattr("jibe_sqs.adapters.ledgers.unwritten.MAX_WAITING_HISTORY", 5)
    async with SqliteLedger(path, history=DAY) as ledger:
        for number in range(20):
            await ledger.record(FolderRefreshed(A, float(number)))
        found = await ledger.history(QUESTION)
        assert [each.entry.seconds for each in found] == [15.0, 16.0, 17.0, 18.0, 19.0]


async def test_entries_survive_a_restart_and_a_command_reads_them_while_the_service_runs(tmp_path):
    path = tmp_path / "ledger.sqlite"
    async with SqliteLedger(path, history=DAY) as ledger:
        await ledger.record(READ)
        await ledger.finish(LogFile("trail", "1.gz"), "")
        async with SqliteLedger(path, read_only=True) as command:
            assert [each.entry for each in await command.history(QUESTION)] == [READ]
    async with SqliteLedger(path, history=DAY) as ledger:
        assert [each.entry for each in await ledger.history(QUESTION)] == [READ]


async def test_the_history_is_forgotten_before_the_rest(tmp_path, clock):
    path = tmp_path / "ledger.sqlite"
    async with SqliteLedger(path, clock, history=7 * DAY) as ledger:
        await ledger.record(READ)
        await ledger.refreshed(A, 1.0)
        clock.time += 6 * DAY
        await ledger.record(FAILED)
        clock.time += 2 * DAY
        await ledger.prune(clock.time - 30 * DAY)
        assert [each.entry for each in await ledger.history(QUESTION)] == [FAILED]
        assert await ledger.watermarks([A]) == {A: 1.0}


async def test_without_days_nothing_is_recorded_and_what_was_is_forgotten(tmp_path, clock):
    path = tmp_path / "ledger.sqlite"
    async with SqliteLedger(path, clock, history=DAY) as ledger:
        await ledger.record(READ)
    clock.time += 1
    async with SqliteLedger(path, clock) as ledger:
        await ledger.record(FAILED)
        assert [each.entry for each in await ledger.history(QUESTION)] == [READ]
        await ledger.prune(0.0)
        assert await ledger.history(QUESTION) == []


async def test_the_file_of_a_release_without_a_history_has_none(tmp_path):
    path = tmp_path / "ledger.sqlite"
    async with SqliteLedger(path):
        pass
    with closing(sqlite3.connect(path)) as database:
        database.execute("DROP TABLE history")
    async with SqliteLedger(path, read_only=True) as ledger:
        assert await ledger.history(QUESTION) == []
    async with SqliteLedger(path, history=DAY) as ledger:
        await ledger.record(READ)
        assert len(await ledger.history(QUESTION)) == 1


async def test_an_entry_of_a_later_release_and_a_path_that_is_no_utf8_hide_no_others(tmp_path):
    path = tmp_path / "ledger.sqlite"
    async with SqliteLedger(path, history=DAY) as ledger:
        await ledger.record(FolderRefreshed(Folder("/S3/\ud800")))
        with closing(sqlite3.connect(path)) as database, database:
            database.execute(
                "INSERT INTO history (written, entry) VALUES (2e9, ?)", ('{"type":"new","folder":"/S3/médiä/b"}',)
            )
        await ledger.record(FolderRefreshed(B))
        found = await ledger.history(HistoryQuestion((B.path,)))
        assert [each.entry for each in found] == [FolderRefreshed(B)]


async def test_a_table_keeps_no_history(new_table, table_ledger):
    async with table_ledger(new_table()) as ledger:
        await ledger.record(READ)
        with pytest.raises(LedgerError, match="keeps no history"):
            await ledger.history(QUESTION)
