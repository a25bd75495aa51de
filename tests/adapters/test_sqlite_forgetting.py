"""SQLite ledgers that forget: in short transactions, between other calls, and within the maximum size of the file."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from jibe_sqs.adapters.ledgers import forgetting
from jibe_sqs.adapters.ledgers.finished_files import FINISH, FinishedFiles
from jibe_sqs.adapters.ledgers.forgetting import RESERVED_BYTES, SLICE_ROWS
from jibe_sqs.adapters.ledgers.sqlite import SqliteLedger
from jibe_sqs.adapters.ledgers.warnings import WARNING_INTERVAL
from jibe_sqs.core.errors import LedgerError
from jibe_sqs.core.model import Folder, LogFile
from jibe_sqs.core.principals import Seen
from jibe_sqs.ports import Validity

SMALL = RESERVED_BYTES + (1 << 20)
"""A maximum size that leaves 1 MB for entries."""


class Clock:
    def __init__(self, time=0.0):
        self.time = time

    def __call__(self):
        return self.time


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.db"


@pytest.fixture
def wall_clock():
    return Clock(1000.0)


def files(number: int, name: str = "") -> list[LogFile]:
    """Each takes about 400 bytes, most of them for its version."""
    return [LogFile("logs", f"{name}-{n * 7919 % number:06}", version="x" * 350) for n in range(number)]


async def fill(ledger: SqliteLedger, some: list[LogFile]) -> None:
    await asyncio.gather(*(ledger.finish(file, "e") for file in some))


def size(path: Path) -> int:
    """Bytes of the file and its write-ahead log."""
    return sum(each.stat().st_size for each in path.parent.iterdir() if not each.name.endswith("-shm"))


class Deletes:
    """Counts the deleted rows of each transaction, with SQLite's trace."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.transactions: list[int] = []
        connection.set_trace_callback(self._on_statement)

    def _on_statement(self, statement: str) -> None:
        if statement.startswith("BEGIN"):
            self.transactions.append(0)
        elif statement.startswith("DELETE"):
            self.transactions[-1] += 1


async def test_no_transaction_of_a_pruning_deletes_more_than_a_slice(path, wall_clock):
    async with SqliteLedger(path, wall_clock) as ledger:
        await fill(ledger, files(3 * SLICE_ROWS + 1))
        await asyncio.gather(*(ledger.refreshed(Folder(f"/{n}"), 1.0) for n in range(50)))
        await ledger.observe({f"p{n}": Seen(1.0, 1.0) for n in range(50)})
        deletes = Deletes(ledger._connection)
        await ledger.prune(2000.0)
        # A principal has two rows: its counts, and who it is.
        assert sum(deletes.transactions) == 3 * SLICE_ROWS + 1 + 50 + 2 * 50
        assert max(deletes.transactions) <= SLICE_ROWS


async def test_a_slice_ends_after_its_time(path, wall_clock, monkeypatch):
    """A slow disk gets smaller slices."""
    monkeypatch.setattr(forgetting, "STEP_ROWS", 10)
    monkeypatch.setattr(forgetting, "SLICE_SECONDS", 0.0)
    monkeypatch.setattr(forgetting, "time", Ticking())
    async with SqliteLedger(path, wall_clock) as ledger:
        await fill(ledger, files(50))
        deletes = Deletes(ledger._connection)
        await ledger.prune(2000.0)
        assert deletes.transactions == [10] * 5 + [0]


class Ticking:
    """Time that passes between any two looks at it."""

    def __init__(self):
        self._looks = 0

    def monotonic(self):
        self._looks += 1
        return float(self._looks)


async def test_a_call_during_a_pruning_is_answered_before_its_end(path, wall_clock, monkeypatch):
    monkeypatch.setattr(forgetting, "SLICE_ROWS", 10)
    monkeypatch.setattr(forgetting, "STEP_ROWS", 10)
    old, kept = files(2000, "old"), files(1, "kept")
    async with SqliteLedger(path, wall_clock) as ledger:
        await fill(ledger, old)
        wall_clock.time = 3000.0
        await fill(ledger, kept)
        pruning = asyncio.create_task(ledger.prune(2000.0))
        await asyncio.sleep(0)
        for _ in range(5):
            assert await ledger.unfinished(kept) == []
            await ledger.finish(kept[0], "e")
            assert len(await ledger.unfinished(old)) < len(old)
        await pruning
        assert await ledger.unfinished([*kept, *old]) == old


async def test_a_cancelled_pruning_stops_after_its_slice(path, wall_clock, monkeypatch):
    monkeypatch.setattr(forgetting, "SLICE_ROWS", 10)
    monkeypatch.setattr(forgetting, "STEP_ROWS", 10)
    async with SqliteLedger(path, wall_clock) as ledger:
        await fill(ledger, files(2000))
        pruning = asyncio.create_task(ledger.prune(2000.0))
        while await ledger.unfinished(files(2000)) == []:
            await asyncio.sleep(0)
        pruning.cancel()
        assert isinstance((await asyncio.gather(pruning, return_exceptions=True))[0], asyncio.CancelledError)
        left = await ledger.unfinished(files(2000))
        assert len(left) < 2000
        for _ in range(20):
            assert await ledger.unfinished(files(2000)) == left
        await ledger.finish(files(1, "more")[0], "e")


async def test_the_write_ahead_log_stays_short_while_much_is_pruned(path, wall_clock, monkeypatch):
    """One transaction for all of it would need as much as the file itself. SQLite empties the log at 4 MB."""
    monkeypatch.setattr(forgetting, "SLICE_ROWS", 200)
    sizes = []
    async with SqliteLedger(path, wall_clock) as ledger:
        with ledger._connection:
            ledger._connection.execute("BEGIN")
            ledger._connection.executemany(
                FINISH, [FinishedFiles(Validity()).row(file, "e", 1000.0) for file in files(30_000)]
            )
        ledger._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        pruning = asyncio.create_task(ledger.prune(2000.0))
        while not pruning.done():
            await asyncio.wait([pruning], timeout=0.01)
            sizes.append(path.with_name("ledger.db-wal").stat().st_size)
        await pruning
        assert path.stat().st_size > 8_000_000
    assert 0 < max(sizes) <= 6_000_000


async def test_the_space_of_pruned_entries_is_used_again(path, wall_clock):
    async with SqliteLedger(path, wall_clock) as ledger:
        pages = []
        for round_ in range(6):
            wall_clock.time += 1000.0
            await fill(ledger, files(1000, str(round_)))
            await ledger.prune(wall_clock.time + 1.0)
            pages.append(ledger._connection.execute("PRAGMA page_count").fetchone()[0])
        assert max(pages) <= pages[0] * 1.2


async def test_entries_of_a_wrong_clock_do_not_keep_those_that_follow(path, wall_clock):
    """Files are pruned in the order of their writes. A clock that was a year ahead would keep them all for a year."""
    async with SqliteLedger(path, wall_clock) as ledger:
        wall_clock.time += 366 * 86_400
        await fill(ledger, files(300, "ahead"))
        wall_clock.time -= 366 * 86_400
        await fill(ledger, files(300, "right"))
        wall_clock.time += 1000.0
        await fill(ledger, files(1, "kept"))
        await ledger.prune(wall_clock.time - 500.0)
        assert ledger._connection.execute("SELECT count(*) FROM finished").fetchone() == (1,)
        assert await ledger.unfinished(files(1, "kept")) == []


# The maximum size


async def test_the_file_never_exceeds_its_maximum_size(path, wall_clock, events):
    """However many entries are written: the oldest are forgotten, also between two prunings."""
    sizes, pages = [], []
    async with SqliteLedger(path, wall_clock, max_bytes=SMALL) as ledger:
        for round_ in range(24):
            wall_clock.time += 1.0
            await fill(ledger, files(500, str(round_)))
            await asyncio.gather(*(ledger.refreshed(Folder(f"/{round_}/{n}"), 1.0) for n in range(100)))
            sizes.append(size(path))
            pages.append(ledger._connection.execute("PRAGMA page_count").fetchone()[0])
        assert await ledger.unfinished(files(500, "23")) == []
        assert await ledger.unfinished(files(500, "0")) == files(500, "0")
        assert await ledger.watermarks([Folder("/0/0"), Folder("/23/0")]) == {Folder("/23/0"): 1.0}
    assert max(sizes) <= SMALL
    assert max(pages[12:]) <= max(pages[:12])  # it does not grow any more


async def test_a_file_below_its_maximum_size_forgets_nothing_early(path, wall_clock, events):
    async with SqliteLedger(path, wall_clock, max_bytes=1 << 30) as ledger:
        for round_ in range(10):
            await fill(ledger, files(500, str(round_)))
        await ledger.prune(0.0)
        for round_ in range(10):
            assert await ledger.unfinished(files(500, str(round_))) == []
    assert events == []


async def test_a_file_that_is_already_too_large_is_emptied_in_slices_and_does_not_grow(path, wall_clock, events):
    """It does not shrink on the disk: its free pages are filled first."""
    async with SqliteLedger(path, wall_clock) as ledger:
        for round_ in range(20):
            wall_clock.time += 1.0
            await fill(ledger, files(500, str(round_)))
    before = path.stat().st_size
    async with SqliteLedger(path, wall_clock, max_bytes=SMALL) as ledger:
        deletes = Deletes(ledger._connection)
        await ledger.prune(0.0)
        assert max(deletes.transactions) <= SLICE_ROWS
        free, page = (
            ledger._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("freelist_count", "page_size")
        )
        assert before - free * page <= SMALL - RESERVED_BYTES
        assert await ledger.unfinished(files(500, "19")) == []
        for round_ in range(20, 30):
            await fill(ledger, files(500, str(round_)))
    assert path.stat().st_size == before


async def test_entries_forgotten_early_are_a_warning_once_an_hour(path, wall_clock, events):
    clock = Clock()
    async with SqliteLedger(path, wall_clock, max_bytes=SMALL, clock=clock) as ledger:
        for round_ in range(20):
            await fill(ledger, files(500, str(round_)))
        (warning,) = events
        assert (warning["event"], warning["log_level"], warning["max_bytes"]) == ("ledger_full", "warning", SMALL)
        assert warning["entries"] > 0
        clock.time += WARNING_INTERVAL
        await fill(ledger, files(500, "more"))
    assert [event["event"] for event in events] == ["ledger_full"] * 2
    assert sum(event["entries"] for event in events) > 1000


async def test_old_entries_that_are_forgotten_are_not_a_warning(path, wall_clock, events):
    """They are only forgotten an hour before the next pruning would do it."""
    async with SqliteLedger(path, wall_clock, max_bytes=SMALL) as ledger:
        await ledger.prune(5000.0)
        for round_ in range(20):
            await fill(ledger, files(500, str(round_)))
        assert await ledger.unfinished(files(500, "0")) == files(500, "0")
    assert events == []


async def test_a_full_disk_ends_the_pruning_and_nothing_else(path, wall_clock):
    async with SqliteLedger(path, wall_clock) as ledger:
        await fill(ledger, files(3000))
        connection, deletes = ledger._connection, []

        class Full:
            """A connection whose deletes fail, as when the write-ahead log cannot grow."""

            def __getattr__(self, name):
                return getattr(connection, name)

            def __enter__(self):
                return connection.__enter__()

            def __exit__(self, *error):
                return connection.__exit__(*error)

            def executemany(self, statement, values):
                deletes.append(statement)
                connection.executemany(statement, values)
                raise sqlite3.OperationalError("database or disk is full")

        ledger._file._database = Full()
        with pytest.raises(LedgerError, match="full"):
            await ledger.prune(2000.0)
        ledger._file._database = connection
        assert len(deletes) == 1
        assert await ledger.unfinished(files(3000)) == []
        await ledger.prune(2000.0)
        assert await ledger.unfinished(files(3000)) == files(3000)
