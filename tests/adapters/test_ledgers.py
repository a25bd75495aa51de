"""The same tests for every ledger, and tests of the SQLite file."""

import asyncio
import os
import random
import sqlite3
import subprocess
import sys
import threading
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.examples import expensive
from tests.processes import PATIENCE

from jibe_sqs.adapters.ledgers import sqlite
from jibe_sqs.adapters.ledgers.finished_files import MAX_LOOK_UP
from jibe_sqs.adapters.ledgers.memory import MemoryLedger
from jibe_sqs.adapters.ledgers.sqlite import SqliteLedger
from jibe_sqs.core.errors import LedgerError
from jibe_sqs.core.model import Actor, Folder, LogFile
from jibe_sqs.core.principals import Seen
from jibe_sqs.ports import Validity

LOG = LogFile("logs", "a/log.json.gz")
A, A_TREE, B = Folder("/data/a"), Folder("/data/a", tree=True), Folder("/data/b")

ODD = [
    "", " ", "/", "a//b", "ünï/cödé", "日本語/ファイル", "👩‍👩‍👧/🏳️‍🌈", "a\x00b", "a\nb\t\x7f", "'; DROP TABLE files; --", '"%_*?[',
    "é", "é", "A", "a", "ß", "ſ", "\u202ertl", "\ufeffbom", "\U0010ffff", "x" * 1024,
]  # fmt: skip
"""S3 keys are any UTF-8. Keys that look alike are different (é and é: one code point, and two)."""


SCHEMA_OF_VERSION_1 = """
CREATE TABLE files (
    bucket TEXT NOT NULL, key TEXT NOT NULL, version TEXT, etag TEXT NOT NULL, written REAL NOT NULL,
    PRIMARY KEY (bucket, key)
) WITHOUT ROWID;
CREATE INDEX files_written ON files (written);
CREATE TABLE folders (
    path TEXT NOT NULL, tree INTEGER NOT NULL, began REAL NOT NULL, written REAL NOT NULL,
    PRIMARY KEY (path, tree)
) WITHOUT ROWID;
CREATE INDEX folders_written ON folders (written);
CREATE TABLE principals (
    who TEXT NOT NULL PRIMARY KEY, first REAL NOT NULL, last REAL NOT NULL, count INTEGER NOT NULL, written REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX principals_written ON principals (written);
PRAGMA user_version = 1;
"""


class WallClock:
    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def wall_clock():
    return WallClock()


@pytest.fixture(params=["memory", "sqlite", "dynamodb"])
async def ledgers(request, tmp_path, wall_clock):
    """A function that opens the same ledger again, as a process with other settings does."""
    async with AsyncExitStack() as stack:
        kept = MemoryLedger(wall_clock)
        table = request.getfixturevalue("new_table")() if request.param == "dynamodb" else ""

        async def opened(validity):
            if request.param == "memory":
                kept.validity = validity
                return kept
            if request.param == "sqlite":
                return await stack.enter_async_context(
                    SqliteLedger(tmp_path / "ledger.db", wall_clock, validity=validity)
                )
            make = request.getfixturevalue("table_ledger")
            return await stack.enter_async_context(make(table, wall_clock, retain=500.0, validity=validity))

        yield opened


@pytest.fixture(params=["memory", "sqlite", "dynamodb"])
async def ledger(request, tmp_path, wall_clock):
    if request.param == "memory":
        yield MemoryLedger(wall_clock)
    elif request.param == "sqlite":
        async with SqliteLedger(tmp_path / "ledger.db", wall_clock) as opened:
            yield opened
    else:
        table = request.getfixturevalue("new_table")()
        # The other ledgers are pruned by the tests. This one expires its items after 500 seconds instead.
        async with request.getfixturevalue("table_ledger")(table, wall_clock, retain=500.0) as opened:
            yield opened


# Files


async def test_only_the_recorded_file_is_finished(ledger):
    assert not await ledger.is_finished(LOG)
    await ledger.finish(LOG, "etag")
    assert await ledger.is_finished(LOG)
    assert not await ledger.is_finished(LogFile("other", LOG.key))
    assert not await ledger.is_finished(LogFile(LOG.bucket, LOG.key + "x"))


async def test_a_file_with_another_etag_is_not_finished(ledger):
    """The file was replaced, and its new content was not read."""
    await ledger.finish(LOG, "e1")
    assert await ledger.is_finished(LogFile(LOG.bucket, LOG.key, etag="e1"))
    assert not await ledger.is_finished(LogFile(LOG.bucket, LOG.key, etag="e2"))
    await ledger.finish(LOG, "e2")
    assert await ledger.is_finished(LogFile(LOG.bucket, LOG.key, etag="e2"))
    assert not await ledger.is_finished(LogFile(LOG.bucket, LOG.key, etag="e1"))


async def test_a_file_with_another_version_is_not_finished(ledger):
    await ledger.finish(LogFile(LOG.bucket, LOG.key, version="v1"), "e")
    assert await ledger.is_finished(LogFile(LOG.bucket, LOG.key, version="v1"))
    assert await ledger.is_finished(LogFile(LOG.bucket, LOG.key, version="v1", etag="e"))
    assert not await ledger.is_finished(LogFile(LOG.bucket, LOG.key, version="v1", etag="f"))
    assert not await ledger.is_finished(LogFile(LOG.bucket, LOG.key, version="v2", etag="e"))
    assert await ledger.is_finished(LOG)  # without a version, any version of the key matches


async def test_a_version_that_was_not_recorded_is_not_finished(ledger):
    await ledger.finish(LOG, "e")
    assert not await ledger.is_finished(LogFile(LOG.bucket, LOG.key, version="v1"))


async def test_the_announced_size_is_ignored(ledger):
    await ledger.finish(LOG, "e")
    assert await ledger.is_finished(LogFile(LOG.bucket, LOG.key, size=5))


async def test_equal_etags_are_the_same_file_with_or_without_a_version(ledger):
    """A sweep does not know the version; a notification of the same file names it."""
    await ledger.finish(LOG, "e")
    assert await ledger.is_finished(LogFile(LOG.bucket, LOG.key, version="v1", etag="e"))
    assert not await ledger.is_finished(LogFile(LOG.bucket, LOG.key, version="v1", etag="f"))


async def test_a_file_recorded_without_an_etag_matches_any_announced_etag(ledger):
    """Log files are written once: a file that is swept through Access Anywhere and announced is not read twice."""
    await ledger.finish(LOG, "")
    for version in (None, "v1"):
        for etag in (None, "e"):
            assert await ledger.is_finished(LogFile(LOG.bucket, LOG.key, version, etag))
    await ledger.finish(LogFile(LOG.bucket, LOG.key, version="v1"), "")
    assert await ledger.is_finished(LogFile(LOG.bucket, LOG.key, "v1", "e"))
    assert not await ledger.is_finished(LogFile(LOG.bucket, LOG.key, "v2", "e"))


@pytest.mark.parametrize("etag", ["9e107d9d372bb6826bd81d3542a419d6", "9E107D9D372BB6826BD81D3542A419D6", "0" * 31 + " ",
    "9e107d9d372bb6826bd81d3542a419d6-12", "ü" * 32, "9e 07d9d372bb6826bd81d3542a419d 6"])  # fmt: skip
async def test_etags_of_any_form_are_distinguished(ledger, etag):
    """Most are hexadecimal digits, and take half the room in a SQLite file."""
    await ledger.finish(LOG, etag)
    assert await ledger.is_finished(LogFile(LOG.bucket, LOG.key, etag=etag))
    for other in {etag.lower(), etag.upper(), etag + "0", etag[:-1], etag.replace(" ", "0")} - {etag}:
        assert not await ledger.is_finished(LogFile(LOG.bucket, LOG.key, etag=other))


@pytest.mark.parametrize(
    "name",
    ["1_CloudTrail_eu-west-1_20261130T0005Z_{}.json.gz", "2026-11-30-00-05-00-{}", "S3-media-2026-99-99-99-99-99{}.gz"],
)
async def test_files_of_the_same_minute_are_distinguished(ledger, name):
    files = [LogFile(bucket, f"a/2026/11/{name.format(number)}") for number in range(100) for bucket in ("logs", "b")]
    await asyncio.gather(*(ledger.finish(file, "e") for file in files[::3]))
    assert await ledger.unfinished(files) == [file for number, file in enumerate(files) if number % 3]


async def test_without_the_stores_etag_the_announced_one_is_recorded(ledger):
    await ledger.finish(LogFile(LOG.bucket, LOG.key, etag="e"), "")
    assert await ledger.is_finished(LogFile(LOG.bucket, LOG.key, etag="e"))
    assert await ledger.is_finished(LOG)
    assert not await ledger.is_finished(LogFile(LOG.bucket, LOG.key, etag="f"))
    await ledger.finish(LogFile(LOG.bucket, LOG.key, etag="e"), "f")  # the store's etag counts
    assert await ledger.is_finished(LogFile(LOG.bucket, LOG.key, etag="f"))


@pytest.mark.parametrize("number", [0, 1, MAX_LOOK_UP, 2 * MAX_LOOK_UP + 1])
async def test_the_unfinished_files_are_returned_in_their_order(ledger, number):
    files = [LogFile("logs", f"{i * 7 % (number + 1)}-{i}") for i in range(number)]
    await asyncio.gather(*(ledger.finish(file, "e") for file in files[::3]))
    assert await ledger.unfinished(files) == [file for i, file in enumerate(files) if i % 3]


async def test_versions_of_one_key_are_distinguished_in_one_look_up(ledger):
    await ledger.finish(LOG, "e")
    same, other = LogFile(LOG.bucket, LOG.key, etag="e"), LogFile(LOG.bucket, LOG.key, etag="f")
    elsewhere = LogFile("other", LOG.key)
    assert await ledger.unfinished([other, same, LOG, elsewhere, other]) == [other, elsewhere, other]
    odd = [LogFile("logs", each) for each in ODD]
    await ledger.finish(odd[4], "e")
    assert await ledger.unfinished(odd) == odd[:4] + odd[5:]


# Which finished files count


async def test_a_file_that_was_finished_under_other_rules_is_not_finished(ledgers):
    """Its records may have been skipped by a setting that has been corrected since."""
    await (await ledgers(Validity("old"))).finish(LOG, "e")
    assert await (await ledgers(Validity("old"))).is_finished(LOG)
    assert not await (await ledgers(Validity("new"))).is_finished(LOG)
    await (await ledgers(Validity("new"))).finish(LOG, "e")
    assert await (await ledgers(Validity("new"))).unfinished([LOG]) == []


async def test_rules_that_change_while_it_is_open_count_from_then_on(ledgers):
    """Files of the old rules are not finished, and new ones finish under the new rules."""
    ledger = await ledgers(Validity("old"))
    other = LogFile("logs", "another.json.gz")
    await ledger.finish(LOG, "e")
    ledger.change_rules("new")
    assert await ledger.unfinished([LOG]) == [LOG]
    await ledger.finish(other, "e")
    assert await ledger.is_finished(other)
    again = await ledgers(Validity("new"))
    assert await again.unfinished([LOG, other]) == [LOG]


async def test_a_file_that_was_finished_too_long_ago_is_not_finished(ledgers, wall_clock):
    """A backfill reads files again that were finished before it began, and each only once."""
    await (await ledgers(Validity("r"))).finish(LOG, "e")
    wall_clock.time += 100
    again = Validity("r", since=wall_clock.time)
    assert await (await ledgers(again)).unfinished([LOG]) == [LOG]
    await (await ledgers(again)).finish(LOG, "e")
    assert await (await ledgers(again)).unfinished([LOG]) == []


async def test_a_file_that_an_earlier_release_finished_is_not_finished(tmp_path, wall_clock):
    """Its entry says nothing about the rules. The other entries of that ledger stay."""
    path = tmp_path / "ledger.db"
    with closing(sqlite3.connect(path)) as database:
        database.executescript(SCHEMA_OF_VERSION_1)
        database.execute("INSERT INTO files VALUES (?, ?, ?, ?, ?)", (LOG.bucket, LOG.key, None, "e", 1000.0))
        database.execute("INSERT INTO folders VALUES (?, ?, ?, ?)", (A.path, False, 900.0, 1000.0))
        database.commit()
    async with SqliteLedger(path, wall_clock, validity=Validity("rules")) as upgraded:
        assert not await upgraded.is_finished(LOG)
        assert await upgraded.watermarks([A]) == {A: 900.0}
        await upgraded.finish(LOG, "e")
    async with SqliteLedger(path, wall_clock, validity=Validity("rules")) as again:
        assert await again.is_finished(LOG)
    assert [each.name for each in tmp_path.iterdir() if "set-aside" in each.name] == []


async def test_files_that_the_release_before_finished_stay_finished_until_they_are_pruned(tmp_path, wall_clock):
    """They stay in a table of their own, so the start takes no longer for ten million of them."""
    path = tmp_path / "ledger.db"
    files = [LogFile("logs", str(number), etag="e") for number in range(4)]
    with closing(sqlite3.connect(path)) as database:
        database.executescript(SCHEMA_OF_VERSION_1)
        database.execute("ALTER TABLE files ADD COLUMN rules TEXT NOT NULL DEFAULT ''")
        database.executescript(
            "CREATE TABLE history (id INTEGER PRIMARY KEY, written REAL NOT NULL, entry TEXT NOT NULL);"
            "CREATE INDEX history_written ON history (written); PRAGMA user_version = 2;"
        )
        for file, rules in zip(files, ["rules", "rules", "others", "rules"], strict=True):
            database.execute("INSERT INTO files VALUES ('logs', ?, NULL, 'e', 1000.0, ?)", (file.key, rules))
        database.commit()
    async with SqliteLedger(path, wall_clock, validity=Validity("rules")) as ledger:
        assert await ledger.unfinished(files) == [files[2]]
        assert [await ledger.is_finished(file) for file in files] == [True, True, False, True]
        assert not await ledger.is_finished(LogFile("logs", "0", etag="f"))
        wall_clock.time += 100
        await ledger.finish(files[0], "f")  # the newer entry counts
        await ledger.finish(files[2], "e")
        assert await ledger.unfinished(files) == [files[0]]
        await ledger.prune(1050.0)
        assert await ledger.unfinished(files) == [files[0], files[1], files[3]]
        assert await ledger.is_finished(LogFile("logs", "0", etag="f"))
        assert not ledger._finished.asks_earlier
    assert [each.name for each in tmp_path.iterdir()] == ["ledger.db"]


async def test_a_command_reads_the_ledger_of_an_earlier_release(tmp_path, wall_clock):
    path = tmp_path / "ledger.db"
    with closing(sqlite3.connect(path)) as database:
        database.executescript(SCHEMA_OF_VERSION_1)
        database.execute("INSERT INTO folders VALUES (?, ?, ?, ?)", (A.path, False, 900.0, 1000.0))
        database.commit()
    async with SqliteLedger(path, wall_clock, read_only=True) as ledger:
        assert await ledger.watermarks([A]) == {A: 900.0}


# Notes


async def test_a_note_replaces_the_one_before_and_is_never_pruned(ledger, wall_clock):
    assert await ledger.notes(["queue:a", "queue:b"]) == {}
    await ledger.note("queue:a", "1")
    await ledger.note("queue:b", '{"received": 2.0, "name": "ü 日本"}')
    await ledger.note("queue:a", "3")
    wall_clock.time += 10_000_000
    await ledger.prune(wall_clock.time)
    assert await ledger.notes(["queue:a", "queue:b", "queue:c"]) == {
        "queue:a": "3",
        "queue:b": '{"received": 2.0, "name": "ü 日本"}',
    }


# Claims


async def test_a_claim_holds_against_other_owners_until_its_time_is_over(ledger, wall_clock):
    assert await ledger.claim("report", "a", 10)
    assert not await ledger.claim("report", "b", 10)
    assert await ledger.claim("other", "b", 10)
    wall_clock.time += 9
    assert not await ledger.claim("report", "b", 10)
    wall_clock.time += 1
    assert await ledger.claim("report", "b", 10)
    assert not await ledger.claim("report", "a", 10)


async def test_an_owner_prolongs_and_ends_its_own_claim_only(ledger, wall_clock):
    assert await ledger.claim("report", "a b", 10)
    wall_clock.time += 9
    assert await ledger.claim("report", "a b", 10)
    assert not await ledger.claim("report", "b", 0)
    wall_clock.time += 9
    assert not await ledger.claim("report", "b", 10)
    assert await ledger.claim("report", "a b", 0)
    assert await ledger.claim("report", "b", 10)


async def test_a_claim_that_was_ended_holds_back_no_owner_whose_clock_is_behind(ledger, wall_clock):
    """Replicas have clocks of their own, and one that is hours ahead must not keep all turns for itself."""
    assert await ledger.claim("report", "a", 10)
    assert await ledger.claim("report", "a", 0)
    wall_clock.time -= 100
    assert await ledger.claim("report", "b", 10)
    assert not await ledger.claim("report", "a", 10)


async def test_one_of_many_owners_gets_a_claim(ledger):
    claimed = await asyncio.gather(*(ledger.claim("report", f"owner-{number}", 10) for number in range(20)))
    assert sum(claimed) == 1


async def test_processes_that_share_a_file_share_its_claims(path, wall_clock):
    async with SqliteLedger(path, wall_clock) as one, SqliteLedger(path, wall_clock) as other:
        claimed = await asyncio.gather(*(each.claim("report", str(id(each)), 10) for each in (one, other)))
        assert sorted(claimed) == [False, True]


async def test_a_claim_is_no_note(ledger):
    await ledger.note("report", "text")
    assert await ledger.claim("report", "a", 10)
    assert await ledger.notes(["report"]) == {"report": "text"}


# Folders


async def test_unknown_folders_have_no_watermark(ledger):
    assert await ledger.watermarks([A, B]) == {}
    assert await ledger.watermarks([]) == {}


async def test_a_folder_and_its_tree_have_separate_watermarks(ledger):
    await ledger.refreshed(A, 5.0)
    await ledger.refreshed(A_TREE, 7.0)
    assert await ledger.watermarks([A, A_TREE, B]) == {A: 5.0, A_TREE: 7.0}


async def test_an_earlier_refresh_never_replaces_a_later_one(ledger):
    for began in (5.0, 9.25, 7.0):
        await ledger.refreshed(A, began)
    assert await ledger.watermarks([A]) == {A: 9.25}


async def test_a_watermark_keeps_its_fraction(ledger):
    """If it were rounded up, a change would be skipped."""
    began = 1_767_225_599.123457
    await ledger.refreshed(A, began)
    assert await ledger.watermarks([A]) == {A: began}


async def test_watermarks_accepts_any_iterable(ledger):
    await ledger.refreshed(A, 5.0)
    assert await ledger.watermarks(folder for folder in (A, B)) == {A: 5.0}
    assert await ledger.watermarks({A: "any", B: "thing"}) == {A: 5.0}


# Principals


async def test_a_new_ledger_has_no_principals(ledger):
    assert await ledger.principals() == {}
    await ledger.observe({})
    assert await ledger.principals() == {}


async def test_observations_of_a_principal_are_merged(ledger):
    await ledger.observe({"ana": Seen(50.25, 60.5, 3), "bo": Seen(1.0, 1.0)})
    await ledger.observe({"ana": Seen(55.0, 58.0, 2)})
    await ledger.observe({"ana": Seen(40.0, 70.75, 5)})
    assert await ledger.principals() == {"ana": Seen(40.0, 70.75, 10), "bo": Seen(1.0, 1.0, 1)}


async def test_reads_are_added_and_the_last_known_actor_is_kept(ledger):
    actor = Actor("ana", "AKIA1", "", "192.0.2.7", "agent ünï")
    await ledger.observe({"ana": Seen(5.0, 6.0, 0, 3, Actor("ana"))})
    await ledger.observe({"ana": Seen(1.0, 2.0, 0, 3, actor)})
    assert await ledger.principals() == {"ana": Seen(1.0, 6.0, 0, 6, actor)}
    await ledger.observe({"ana": Seen(3.0, 7.0, 1, 2)})
    assert await ledger.principals() == {"ana": Seen(1.0, 7.0, 1, 8, actor)}


async def test_changing_the_returned_principals_does_not_change_the_ledger(ledger):
    seen = Seen(1.0, 2.0)
    await ledger.observe({"ana": seen})
    seen.count, seen.last = 9, 9.0
    assert await ledger.principals() == {"ana": Seen(1.0, 2.0)}


async def test_pruning_deletes_principals_that_were_not_seen_recently(ledger, wall_clock):
    """By the time when they were written, not by the time of their calls: logs may be late."""
    await ledger.observe({"ana": Seen(9e9, 9e9), "bo": Seen(1.0, 1.0)})
    wall_clock.time = 1400.0
    await ledger.observe({"bo": Seen(2.0, 2.0), "cy": Seen(3.0, 3.0)})
    wall_clock.time = 1700.0
    await ledger.prune(1200.0)
    assert await ledger.principals() == {"bo": Seen(1.0, 2.0, 2), "cy": Seen(3.0, 3.0)}


async def test_similar_principals_are_distinguished(ledger):
    everybody = {f"arn:{odd}": Seen(float(n), float(n), n + 1) for n, odd in enumerate(ODD)}
    await ledger.observe(everybody)
    assert await ledger.principals() == everybody


async def test_concurrent_observations_are_all_counted(ledger):
    await asyncio.gather(
        *(ledger.observe({"ana": Seen(float(i), float(i)), f"p{i}": Seen(0.0, 0.0)}) for i in range(50))
    )
    found = await ledger.principals()
    assert found.pop("ana") == Seen(0.0, 49.0, 50)
    assert len(found) == 50


# All ledgers


async def test_pruning_deletes_what_was_written_before(ledger, wall_clock):
    await ledger.finish(LOG, "e")
    await ledger.refreshed(A, 5.0)
    wall_clock.time = 2000.0
    await ledger.finish(LogFile("logs", "late"), "e")
    await ledger.refreshed(B, 5.0)
    await ledger.prune(1500.0)
    assert not await ledger.is_finished(LOG)
    assert await ledger.is_finished(LogFile("logs", "late"))
    assert await ledger.watermarks([A, B]) == {B: 5.0}


async def test_an_entry_that_is_written_again_is_kept_by_pruning(ledger, wall_clock):
    await ledger.finish(LOG, "e")
    await ledger.refreshed(A, 5.0)
    wall_clock.time = 1400.0
    await ledger.finish(LOG, "e")
    await ledger.refreshed(A, 4.0)
    wall_clock.time = 1700.0
    await ledger.prune(1200.0)
    assert await ledger.is_finished(LOG)
    assert await ledger.watermarks([A]) == {A: 5.0}


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
async def test_similar_keys_are_distinguished(ledger, odd):
    others = [each for each in ODD if each != odd]
    await asyncio.gather(*(ledger.finish(LogFile("logs", each), "e") for each in others))
    await asyncio.gather(*(ledger.refreshed(Folder("/" + each), 1.0) for each in others))
    assert not await ledger.is_finished(LogFile("logs", odd))
    assert await ledger.watermarks([Folder("/" + odd)]) == {}
    await ledger.finish(LogFile("logs", odd), "odd")
    await ledger.refreshed(Folder("/" + odd), 2.0)
    assert await ledger.is_finished(LogFile("logs", odd, etag="odd"))
    assert await ledger.watermarks([Folder("/" + odd)]) == {Folder("/" + odd): 2.0}


async def test_concurrent_writes_are_all_recorded(ledger):
    files = [LogFile("logs", str(i)) for i in range(1000)]
    await asyncio.gather(
        *(ledger.finish(file, "e") for file in files), *(ledger.refreshed(A, float(i)) for i in range(100))
    )
    assert await ledger.unfinished(files) == []
    assert all(await asyncio.gather(*(ledger.is_finished(file) for file in files[:100])))
    assert await ledger.watermarks([A]) == {A: 99.0}


async def test_reads_pruning_and_cancelled_writes_work_concurrently(ledger, wall_clock):
    chance = random.Random(1)

    async def busy(i):
        file = LogFile("logs", str(i))
        await ledger.finish(file, "e")
        await ledger.refreshed(Folder(f"/{i % 10}"), float(i))
        assert await ledger.is_finished(file)
        await ledger.prune(500.0)

    tasks = [asyncio.create_task(busy(i)) for i in range(300)]
    await asyncio.sleep(0)
    for task in chance.sample(tasks, 50):
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        assert outcome is None or isinstance(outcome, asyncio.CancelledError)


_calls = st.lists(
    st.one_of(
        st.tuples(
            st.just("finish"), st.integers(0, 2), st.sampled_from([None, "v1", "v2"]), st.sampled_from(["e1", "e2", ""])
        ),
        st.tuples(st.just("refreshed"), st.integers(0, 2), st.booleans(), st.floats(-10, 2e9)),
        st.tuples(st.just("observe"), st.integers(0, 2), st.integers(1, 9), st.floats(-10, 2e9)),
        st.tuples(st.just("prune"), st.integers(0, 20), st.none(), st.none()),
    ),
    max_size=20,
)


@expensive(40)
@given(calls=_calls)
def test_all_ledgers_give_the_same_answers(tmp_path_factory, calls):
    async def main() -> None:
        wall_clock = WallClock()
        wall_clock.time = 0.0
        memory = MemoryLedger(wall_clock)
        async with SqliteLedger(tmp_path_factory.mktemp("both") / "ledger.db", wall_clock) as sqlite:
            for what, number, third, last in calls:
                wall_clock.time += 1.0
                for ledger in (memory, sqlite):
                    if what == "finish":
                        await ledger.finish(LogFile("logs", str(number), third), last)
                    elif what == "refreshed":
                        await ledger.refreshed(Folder(f"/{number}", tree=third), last)
                    elif what == "observe":
                        await ledger.observe({f"p{number}": Seen(last - third, last, third)})
                    else:
                        await ledger.prune(float(number))
            folders = [Folder(f"/{i}", tree=tree) for i in range(3) for tree in (False, True)]
            assert await memory.watermarks(folders) == await sqlite.watermarks(folders)
            assert await memory.principals() == await sqlite.principals()
            for i in range(3):
                for version in (None, "v1", "v2"):
                    for etag in (None, "e1", "e2"):
                        file = LogFile("logs", str(i), version, etag)
                        assert await memory.is_finished(file) == await sqlite.is_finished(file)

    asyncio.run(main())


# SQLite


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "down" / "ledger.db"


async def test_the_ledger_survives_a_restart(path):
    async with SqliteLedger(path) as ledger:
        await ledger.finish(LOG, "e")
        await ledger.refreshed(A, 5.5)
        await ledger.observe({"ana": Seen(1.5, 2.5, 3)})
    for _ in range(2):
        async with SqliteLedger(path) as ledger:
            assert await ledger.is_finished(LOG)
            assert await ledger.principals() == {"ana": Seen(1.5, 2.5, 3)}
            assert await ledger.watermarks([A]) == {A: 5.5}


_WRITER = """
import asyncio, sys
from pathlib import Path
from jibe_sqs.adapters.ledgers.sqlite import SqliteLedger
from jibe_sqs.core.model import Actor, Folder, LogFile

async def write(ledger, number):
    i = 0
    while True:
        await ledger.finish(LogFile("logs", f"{number}-{i}"), "e")
        await ledger.refreshed(Folder(f"/{number}"), float(i))
        print(number, i, flush=True)
        i += 1

async def main():
    async with SqliteLedger(Path(sys.argv[1])) as ledger:
        await asyncio.gather(*(write(ledger, number) for number in range(20)))

asyncio.run(main())
"""


@pytest.mark.parametrize("lines", [1, 37, 400])
async def test_acknowledged_writes_survive_a_kill_at_any_moment(path, lines):
    process = subprocess.Popen([sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE)
    too_late = threading.Timer(PATIENCE, process.kill)
    too_late.start()
    try:
        assert process.stdout is not None
        acknowledged = [process.stdout.readline().split() for _ in range(lines)]
        process.kill()
        # The output before its end that was not read yet.
        acknowledged += [line.split() for line in process.stdout.read().splitlines() if len(line.split()) == 2]
    finally:
        too_late.cancel()
        process.kill()
        process.communicate()
    assert all(acknowledged), f"not within {PATIENCE:g} s: {lines} lines, only {acknowledged}"
    assert len(acknowledged) >= lines
    last: dict[int, int] = {}
    async with SqliteLedger(path) as ledger:
        for number, i in ((int(number), int(i)) for number, i in acknowledged):
            assert await ledger.is_finished(LogFile("logs", f"{number}-{i}"))
            last[number] = max(i, last.get(number, 0))
        marks = await ledger.watermarks(Folder(f"/{number}") for number in last)
        for number, i in last.items():
            assert marks[Folder(f"/{number}")] >= i
        await ledger.finish(LOG, "e")


async def test_a_ledger_without_the_principals_table_gets_it(path):
    """The version stays the same, so finished files stay finished after an update."""
    async with SqliteLedger(path) as ledger:
        await ledger.finish(LOG, "e")
        ledger._connection.execute("DROP TABLE principals")
    async with SqliteLedger(path) as ledger:
        assert await ledger.is_finished(LOG)
        assert await ledger.principals() == {}
        await ledger.observe({"ana": Seen(1.0, 1.0)})
        assert set(await ledger.principals()) == {"ana"}


async def test_if_one_principal_cannot_be_written_all_of_its_file_are_refused(path):
    async with SqliteLedger(path) as ledger:
        with pytest.raises(LedgerError):
            await ledger.observe({"ana": Seen(1.0, 1.0), "\ud800": Seen(1.0, 1.0)})
        assert await ledger.principals() == {}
        await ledger.finish(LOG, "e")


async def test_each_write_is_on_the_disk_before_it_is_acknowledged(path):
    """A test cannot cut the power. FULL is 2 in SQLite; with less, a power cut loses the last transactions."""
    async with SqliteLedger(path) as ledger:
        pragmas = [
            ledger._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")
        ]
    assert pragmas == ["wal", 2]


async def test_two_processes_may_share_the_file(path):
    """This happens while a new deployment replaces the old one."""
    async with SqliteLedger(path) as one, SqliteLedger(path) as other:
        await asyncio.gather(
            *(each.finish(LogFile("logs", f"{i}"), "e") for i in range(200) for each in (one, other)),
            *(each.refreshed(A, float(i)) for i in range(200) for each in (one, other)),
        )
        await one.finish(LOG, "e")
        assert await other.is_finished(LOG)
        assert await one.watermarks([A]) == {A: 199.0}


def _directory(path: Path) -> None:
    path.mkdir(parents=True)


def _below_a_file(path: Path) -> None:
    path.parent.parent.mkdir(parents=True)
    path.parent.write_text("a file, where a directory should be")


@pytest.mark.parametrize("spoil", [_directory, _below_a_file])
async def test_a_path_that_cannot_be_a_file_is_a_ledger_error_that_names_it(path, spoil):
    """It is a mistake of the configuration, so nothing is set aside."""
    spoil(path)
    before = sorted(path.parent.parent.rglob("*"))
    with pytest.raises(LedgerError, match=str(path.parent)):
        async with SqliteLedger(path):
            pass
    assert sorted(path.parent.parent.rglob("*")) == before


async def test_a_file_that_cannot_be_written_is_a_ledger_error_and_can_be_read(path):
    async with SqliteLedger(path) as ledger:
        await ledger.finish(LOG, "e")
        ledger._connection.execute("PRAGMA query_only = 1")
        for write in (
            ledger.finish(LOG, "f"),
            ledger.refreshed(A, 1.0),
            ledger.note("a", "b"),
            ledger.claim("a", "b", 1),
            ledger.prune(9e9),
        ):
            with pytest.raises(LedgerError):
                await write
        assert await ledger.is_finished(LOG)
        ledger._connection.execute("PRAGMA query_only = 0")
        await ledger.refreshed(A, 1.0)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only to root")
async def test_a_read_only_directory_is_a_ledger_error(path):
    path.parent.mkdir(parents=True)
    path.parent.chmod(0o500)
    with pytest.raises(LedgerError):
        async with SqliteLedger(path):
            pass


async def test_a_full_disk_is_a_ledger_error_and_earlier_writes_are_kept(path):
    async with SqliteLedger(path) as ledger:
        await ledger.finish(LOG, "e")
        pages = ledger._connection.execute("PRAGMA page_count").fetchone()[0]
        ledger._connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(LedgerError, match="full"):
            await asyncio.gather(*(ledger.finish(LogFile("logs", f"{i}" * 100), "e") for i in range(1000)))
        assert await ledger.is_finished(LOG)


async def test_a_permanently_locked_file_does_not_delay_all_writes_and_reads(path, monkeypatch):
    """Found by this test: each write waited its full time, one after the other, and reads waited for all of them."""
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT", 1.0)
    async with SqliteLedger(path) as ledger:
        await ledger.finish(LOG, "e")
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            for number in range(400):  # if each waited its second, the test would time out
                with pytest.raises(LedgerError, match="locked"):
                    await ledger.refreshed(A, float(number))
            assert await ledger.is_finished(LOG)
            other.execute("ROLLBACK")
        await ledger.refreshed(A, 1.0)
        assert await ledger.watermarks([A]) == {A: 1.0}


async def test_a_row_that_cannot_be_written_does_not_fail_its_batch(path):
    """Writes share a transaction; a lone surrogate cannot be encoded as UTF-8."""
    async with SqliteLedger(path) as ledger:
        bad, good = await asyncio.gather(
            ledger.finish(LogFile("logs", "\ud800"), "e"), ledger.finish(LOG, "e"), return_exceptions=True
        )
        assert isinstance(bad, LedgerError)
        assert good is None
        assert await ledger.is_finished(LOG)
        with pytest.raises(LedgerError):
            await ledger.is_finished(LogFile("logs", "\ud800"))


@asynccontextmanager
async def _closed(path):
    async with SqliteLedger(path) as ledger:
        pass
    yield ledger


@asynccontextmanager
async def _unopened(path):
    ledger = SqliteLedger(path)
    try:
        yield ledger
    finally:
        ledger._thread.shutdown()


@pytest.mark.parametrize("state", [_unopened, _closed])
async def test_a_closed_ledger_raises_a_ledger_error(path, state):
    async with state(path) as ledger:
        for call in (
            ledger.is_finished(LOG), ledger.unfinished([LOG]), ledger.finish(LOG, "e"), ledger.watermarks([A]),
            ledger.refreshed(A, 1.0),
            ledger.observe({"ana": Seen(1.0, 1.0)}), ledger.principals(), ledger.prune(0.0),
        ):  # fmt: skip
            with pytest.raises(LedgerError, match="not open"):
                await call
