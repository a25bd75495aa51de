"""SQLite ledgers that cannot be used: damaged, of another version, of another program, or damaged while they are open."""

import asyncio
import os
import random
import sqlite3
from contextlib import AsyncExitStack, closing
from pathlib import Path

import pytest

from jibe_sqs.adapters.ledgers import sqlite_file
from jibe_sqs.adapters.ledgers.finished_files import FinishedFiles
from jibe_sqs.adapters.ledgers.sqlite import SqliteLedger
from jibe_sqs.adapters.ledgers.sqlite_file import REOPEN_INTERVAL, REPAIR_INTERVAL, VERSION
from jibe_sqs.compose import stores
from jibe_sqs.core.errors import LedgerError
from jibe_sqs.core.model import Folder, LogFile
from jibe_sqs.core.principals import Seen
from jibe_sqs.ports import Validity
from jibe_sqs.settings import Rules, load

LOG = LogFile("logs", "a/log.json.gz")
MANY = [LogFile("logs", f"{n}" * 50) for n in range(500)]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.db"


def contents(path: Path) -> dict[str, bytes]:
    """All files beside the ledger, by name, without SQLite's index of the write-ahead log."""
    return {each.name: each.read_bytes() for each in path.parent.iterdir() if not each.name.endswith("-shm")}


def warnings(events) -> list[str]:
    return [event["event"] for event in events if event["log_level"] == "warning"]


def _garbage(path: Path) -> None:
    path.write_bytes(random.Random(1).randbytes(8192))


def _text(path: Path) -> None:
    path.write_text("not a database, and shorter than a page")


async def _used(path: Path) -> None:
    async with SqliteLedger(path) as ledger:
        await asyncio.gather(*(ledger.finish(file, "e") for file in MANY))


def _database(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as database:
        for statement in statements:
            database.execute(statement)
        database.commit()


def _cut_short(path: Path) -> None:
    _database(path, "CREATE TABLE files AS SELECT randomblob(9000) AS key")
    os.truncate(path, 5000)


def _overwrite_root_pages(path: Path) -> None:
    """The header is valid, and the pages of the tables are not."""
    _database(path, sqlite_file._SCHEMA.split(";")[0], f"PRAGMA user_version = {VERSION}")
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))


def _of_another_version(path: Path) -> None:
    _database(path, f"PRAGMA user_version = {VERSION + 1}")


def _with_other_columns(path: Path) -> None:
    _database(path, "CREATE TABLE files (name TEXT)")


def _with_another_key(path: Path) -> None:
    _database(path, sqlite_file._SCHEMA.split(";")[1].replace("(bucket, key)", "(key, bucket)"))


def _of_another_program(path: Path) -> None:
    _database(path, "CREATE TABLE accounts (name TEXT)", "INSERT INTO accounts VALUES ('ana')")


UNUSABLE = [
    _garbage, _text, _cut_short, _overwrite_root_pages, _of_another_version, _with_other_columns, _with_another_key,
    _of_another_program,
]  # fmt: skip


@pytest.mark.parametrize("spoil", UNUSABLE)
async def test_an_unusable_file_is_set_aside_unchanged_and_a_new_one_is_used(path, spoil, events):
    spoil(path)
    before = path.read_bytes()
    async with SqliteLedger(path) as ledger:
        assert not await ledger.is_finished(LOG)
        await ledger.finish(LOG, "e")
        await ledger.refreshed(Folder("/a"), 1.0)
        await ledger.observe({"ana": Seen(1.0, 1.0)})
    (warning,) = [event for event in events if event["log_level"] == "warning"]
    assert warning["event"] == "ledger_set_aside"
    assert Path(warning["set_aside"]).read_bytes() == before
    assert "done again" in warning["consequence"]
    async with SqliteLedger(path) as ledger:
        assert await ledger.is_finished(LOG)
    assert sorted(contents(path)) == ["ledger.db", Path(warning["set_aside"]).name]
    assert len(warnings(events)) == 1


@pytest.mark.parametrize(
    "schema", ["CREATE VIEW files AS SELECT 1 AS bucket", "CREATE TABLE files_written (x)"], ids=["view", "table"]
)
async def test_a_file_of_another_program_whose_names_are_in_the_way_is_set_aside(path, schema, events):
    with closing(sqlite3.connect(path)) as other:
        other.executescript(schema)
    async with SqliteLedger(path) as ledger:
        await ledger.finish(LOG, "etag")
        assert await ledger.is_finished(LOG)
    assert warnings(events) == ["ledger_set_aside"]


@pytest.mark.parametrize("value", ["'text'", "x'00ff'", "9e999", "1e12"])
async def test_a_damaged_watermark_is_not_used(path, value):
    """A text failed each message of its folder, and an infinite time skipped all later changes."""
    folder = Folder("/data/a")
    async with SqliteLedger(path) as ledger:
        await ledger.refreshed(folder, 1000.0)
        with closing(sqlite3.connect(path)) as other, other:
            other.execute(f"UPDATE folders SET began = {value}")
        assert await ledger.watermarks([folder]) == {}
        await ledger.refreshed(Folder("/data/b"), 1000.0)
        assert await ledger.watermarks([Folder("/data/b")]) == {Folder("/data/b"): 1000.0}


async def test_an_earlier_file_that_was_set_aside_is_not_overwritten(path, events):
    """Two of them may be set aside in the same second."""
    for number in range(3):
        path.write_text(f"not a database: {number}")
        async with SqliteLedger(path):
            pass
    aside = [Path(event["set_aside"]).read_text() for event in events if event["event"] == "ledger_set_aside"]
    assert aside == [f"not a database: {number}" for number in range(3)]


async def test_entries_in_the_write_ahead_log_are_set_aside_with_their_file(path, events):
    """After a kill, the last entries are only there. The new file must not take them over."""
    async with SqliteLedger(path) as ledger:
        await ledger.finish(LOG, "e")
        ledger._connection.execute(f"PRAGMA user_version = {VERSION + 1}")
        killed = contents(path)
    assert "ledger.db-wal" in killed
    for name, content in killed.items():
        path.with_name(name).write_bytes(content)
    async with SqliteLedger(path) as ledger:
        assert not await ledger.is_finished(LOG)
    (warning,) = events
    with closing(sqlite3.connect(warning["set_aside"])) as aside:
        assert FinishedFiles(Validity()).unfinished(aside, [LOG, MANY[0]]) == [MANY[0]]


def test_a_write_ahead_log_is_renamed_with_its_file(path):
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).write_text(suffix)
    aside = sqlite_file._moved(path)
    assert {each.name: each.read_text() for each in path.parent.iterdir()} == {
        aside.name + suffix: suffix for suffix in ("", "-wal", "-shm")
    }


@pytest.mark.parametrize("spoil", [_garbage, _of_another_version, _cut_short])
async def test_a_command_that_reads_the_ledger_changes_nothing_and_says_what_is_wrong(path, spoil, monkeypatch, events):
    spoil(path)
    before = contents(path)
    monkeypatch.setenv("JIBE_LEDGER__PATH", str(path))
    with pytest.raises(LedgerError, match=r"ledger\.db.*sets such a file aside"):
        async with stores.ledger(load(Rules)):
            pass
    assert contents(path) == before
    assert warnings(events) == []


async def test_a_command_reads_the_ledger_of_a_running_service(path, monkeypatch):
    monkeypatch.setenv("JIBE_LEDGER__PATH", str(path))
    async with SqliteLedger(path) as running:
        await running.observe({"ana": Seen(1.0, 2.0, 3)})
        assert await running.principals() == {"ana": Seen(1.0, 2.0, 3)}
        async with stores.ledger(load(Rules)) as ledger:
            assert await ledger.principals() == {"ana": Seen(1.0, 2.0, 3)}
            with pytest.raises(LedgerError):
                await ledger.finish(LOG, "e")
        await running.finish(LOG, "e")
        assert await running.is_finished(LOG)


async def test_tables_of_a_later_release_with_the_same_version_are_kept(path, events):
    """A release that is rolled back keeps its ledger."""
    await _used(path)
    _database(path, "CREATE TABLE more (name TEXT)")
    async with SqliteLedger(path) as ledger:
        assert await ledger.unfinished(MANY) == []
    assert warnings(events) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
async def test_a_file_that_may_not_be_read_is_not_set_aside(path):
    _garbage(path)
    path.chmod(0)
    with pytest.raises(LedgerError, match="allow the service"):
        async with SqliteLedger(path):
            pass
    assert [each.name for each in path.parent.iterdir()] == ["ledger.db"]


# While the ledger is open


async def _damage(ledger: SqliteLedger, path: Path) -> None:
    """Overwrite the content, and let SQLite forget what it has read."""
    connection = ledger._connection
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for each in (connection, ledger._file.reader):
        each.execute("PRAGMA cache_size = 0")
    path.write_bytes(b"\0" * path.stat().st_size)


class Clock:
    def __init__(self):
        self.time = 0.0

    def __call__(self):
        return self.time


async def test_a_file_that_is_damaged_while_it_is_open_is_set_aside_once(path, events):
    """The call that finds the damage fails. The next ones use a new file."""
    clock = Clock()
    async with SqliteLedger(path, clock=clock) as ledger:
        await asyncio.gather(*(ledger.finish(file, "e") for file in MANY))
        await _damage(ledger, path)
        with pytest.raises(LedgerError):
            await ledger.unfinished(MANY)
        assert warnings(events) == ["ledger_set_aside"]
        assert await ledger.unfinished(MANY) == MANY
        await asyncio.gather(*(ledger.finish(file, "e") for file in MANY))
        assert await ledger.unfinished(MANY) == []

        await _damage(ledger, path)  # a disk that damages each file
        for _ in range(3):
            with pytest.raises(LedgerError):
                await ledger.unfinished(MANY)
        assert warnings(events) == ["ledger_set_aside"]
        clock.time += REPAIR_INTERVAL
        with pytest.raises(LedgerError):
            await ledger.unfinished(MANY)
        assert warnings(events) == ["ledger_set_aside"] * 2
        await ledger.finish(LOG, "e")
        assert await ledger.is_finished(LOG)


async def test_a_new_file_that_cannot_be_opened_after_damage_is_tried_again_later(path, monkeypatch):
    """For example while the disk is full."""
    clock, opened = Clock(), sqlite_file._opened
    async with SqliteLedger(path, clock=clock) as ledger:
        await asyncio.gather(*(ledger.finish(file, "e") for file in MANY))
        await _damage(ledger, path)

        def fails(path):
            raise sqlite3.OperationalError("database or disk is full")

        monkeypatch.setattr(sqlite_file, "_opened", fails)
        with pytest.raises(LedgerError, match="full"):
            await ledger.unfinished(MANY)
        monkeypatch.setattr(sqlite_file, "_opened", opened)
        with pytest.raises(LedgerError, match="not open"):
            await ledger.unfinished(MANY)
        clock.time += REOPEN_INTERVAL
        assert await ledger.unfinished(MANY) == MANY


async def test_a_running_process_is_not_hurt_when_another_sets_its_file_aside(path, monkeypatch, events):
    """A release with another version starts while the old one still runs. Each goes on with its own file."""
    async with AsyncExitStack() as stack:
        old = await stack.enter_async_context(SqliteLedger(path))
        await old.finish(LOG, "e")
        monkeypatch.setattr(sqlite_file, "VERSION", VERSION + 1)
        async with SqliteLedger(path) as new:
            assert warnings(events) == ["ledger_set_aside"]
            assert not await new.is_finished(LOG)
            await new.finish(MANY[0], "e")
            await old.finish(MANY[1], "e")
            assert await old.unfinished([LOG, MANY[0], MANY[1]]) == [MANY[0]]
            await stack.aclose()
            # SQLite deletes a write-ahead log by its name. The old process must not delete the new one's.
            assert path.with_name("ledger.db-wal").exists()
            with closing(sqlite3.connect(path)) as third:
                assert third.execute("SELECT count(*) FROM finished").fetchone() == (1,)


async def test_only_the_first_of_two_processes_sets_their_damaged_file_aside(path, events):
    async with SqliteLedger(path) as one, SqliteLedger(path) as other:
        await asyncio.gather(*(one.finish(file, "e") for file in MANY))
        assert await other.unfinished(MANY) == []
        for each in (other._connection, other._file.reader):
            each.execute("PRAGMA cache_size = 0")
        await _damage(one, path)
        for ledger in (one, other):
            with pytest.raises(LedgerError):
                await ledger.unfinished(MANY)
        assert warnings(events) == ["ledger_set_aside"]
        await one.finish(LOG, "e")
        assert await other.is_finished(LOG)


async def test_principals_of_a_file_without_their_callers_are_listed_and_counted(tmp_path):
    """Earlier releases of the same version of the file did not have the table."""
    path = tmp_path / "ledger.db"
    async with SqliteLedger(path) as ledger:
        await ledger.observe({"ana": Seen(1.0, 2.0, 3)})
    with closing(sqlite3.connect(path)) as database:
        database.execute("DROP TABLE callers")
    async with SqliteLedger(path, read_only=True) as ledger:
        assert await ledger.principals() == {"ana": Seen(1.0, 2.0, 3)}
    async with SqliteLedger(path) as ledger:
        await ledger.observe({"ana": Seen(1.0, 2.0, 0, 4)})
        assert await ledger.principals() == {"ana": Seen(1.0, 2.0, 3, 4)}


async def test_a_damaged_actor_hides_no_principal(tmp_path):
    path = tmp_path / "ledger.db"
    async with SqliteLedger(path) as ledger:
        await ledger.observe({"ana": Seen(1.0, 2.0, 3)})
    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE callers SET actor = '{'")
        database.commit()
    async with SqliteLedger(path, read_only=True) as ledger:
        assert await ledger.principals() == {"ana": Seen(1.0, 2.0, 3)}
