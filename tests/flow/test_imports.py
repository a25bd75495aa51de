"""A place that appears gets a refresh of its whole tree, also if that was while the service was stopped."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from tests.flow.test_bucket_map import ONE, TWO, Shown

from jibe_sqs.core.decisions import Decisions, Place
from jibe_sqs.core.errors import AccessAnywhereUnavailable
from jibe_sqs.core.model import Folder
from jibe_sqs.syncing.bucket_map import INTERVAL, BucketMap
from jibe_sqs.syncing.imports import LEDGER_RETRY, Imports
from jibe_sqs.syncing.tree_refreshes import TreeRefreshes

PHOTOS, FILMS = Folder("/S3/photos", tree=True), Folder("/S3/films", tree=True)


@pytest.fixture
def importing(flow):
    """The imports of one ledger and one Access Anywhere, in process after process."""
    return Importing(flow)


class Importing:
    def __init__(self, flow):
        self.flow = flow
        self.ledger = flow.InMemoryLedger()
        self.providers = Shown(ONE)
        self.target = flow.InMemorySyncTarget()
        self.outcomes = []

    @asynccontextmanager
    async def process(self, *, configured=None, gates=(), most=4, **options):
        """A running process. It ends like a killed one: nothing is written at its end."""
        world = self.flow.World(ledger=self.ledger)
        world.refreshes._target, world.refreshes._observe = self.target, self.outcomes.append
        buckets = BucketMap(providers=self.providers, decisions=Decisions(configured), clock=world.clock)
        trees = TreeRefreshes(world.refreshes, gates, most=most)
        imports = Imports(buckets=buckets, trees=trees, ledger=world.engine.ledger, clock=world.clock, **options)
        tasks = [asyncio.create_task(buckets.run()), asyncio.create_task(imports.run())]
        try:
            yield imports
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await world.refreshes.stop()

    @property
    def refreshed(self):
        """The folders whose refresh has succeeded."""
        return [outcome.folder for outcome in self.outcomes if outcome.error is None]


async def test_the_first_start_imports_nothing(importing):
    """A service whose ledger does not survive a restart must not refresh everything at each start."""
    async with importing.process():
        await asyncio.sleep(INTERVAL * 2)
    assert importing.refreshed == []


async def test_a_bucket_that_appears_is_refreshed_as_a_whole(importing):
    async with importing.process() as imports:
        await asyncio.sleep(1)
        importing.providers.shown = TWO
        await asyncio.sleep(INTERVAL * 3)
        assert imports.counts == {"pending": 0, "done": 1}
    assert importing.refreshed == [FILMS]


async def test_a_bucket_that_appeared_during_a_stop_is_refreshed_once(importing):
    async with importing.process():
        await asyncio.sleep(1)
    importing.providers.shown = TWO
    for _ in range(2):
        async with importing.process():
            await asyncio.sleep(INTERVAL)
    assert importing.refreshed == [FILMS]


async def test_a_kill_does_not_lose_an_import(importing):
    async with importing.process():
        await asyncio.sleep(1)
    importing.providers.shown = TWO
    importing.target.held.add(FILMS.path)
    async with importing.process():
        await importing.flow.until(lambda: importing.target.runs)
    assert importing.refreshed == []
    importing.target.release()
    async with importing.process():
        await importing.flow.until(lambda: importing.refreshed == [FILMS])


async def test_a_bucket_that_returns_is_refreshed_again(importing):
    """Its changes were skipped meanwhile, also if it vanished in one process and returned while none ran."""
    importing.providers.shown = TWO
    async with importing.process():
        await asyncio.sleep(1)
        importing.providers.shown = ONE
        await asyncio.sleep(INTERVAL * 3)
    importing.providers.shown = TWO
    async with importing.process():
        await asyncio.sleep(INTERVAL)
    assert importing.refreshed == [FILMS]


async def test_a_bucket_that_vanishes_and_returns_all_the_time_is_refreshed_now_and_then(importing):
    """It may have millions of objects. The last return is not forgotten."""
    async with importing.process():
        await asyncio.sleep(1)
        for _ in range(12):
            for shown in (TWO, ONE):
                importing.providers.shown = shown
                await asyncio.sleep(INTERVAL * 2)
        assert 2 <= importing.refreshed.count(FILMS) <= 4
        before = len(importing.refreshed)
        importing.providers.shown = TWO
        await importing.flow.until(lambda: len(importing.refreshed) > before)


async def test_a_bucket_that_vanished_during_a_stop_is_no_longer_known(importing):
    importing.providers.shown = TWO
    for shown in (TWO, ONE, TWO):
        importing.providers.shown = shown
        async with importing.process():
            await asyncio.sleep(1)
    assert importing.refreshed == [FILMS]


async def test_a_new_entry_of_the_settings_is_imported(importing):
    """A new prefix of a known bucket is a new place, too."""
    new = {"photos": (*ONE["photos"], Place("/S3/raw", "raw/"))}
    for configured in (ONE, new):
        async with importing.process(configured=configured):
            await asyncio.sleep(1)
    assert importing.refreshed == [Folder("/S3/raw", tree=True)]


async def test_a_failed_import_is_tried_again(importing, events):
    importing.target.errors[FILMS.path] = [AccessAnywhereUnavailable("503"), AccessAnywhereUnavailable("503")]
    async with importing.process():
        await asyncio.sleep(1)
        importing.providers.shown = TWO
        await importing.flow.until(lambda: importing.refreshed == [FILMS])
    assert [event["failures"] for event in events if event["event"] == "import_failed"] == [1, 2]


async def test_few_trees_are_imported_at_a_time(importing):
    async with importing.process(most=2):
        await asyncio.sleep(1)
        importing.providers.shown = {f"b{n}": (Place(f"/S3/b{n}"),) for n in range(7)}
        importing.target.held |= {f"/S3/b{n}" for n in range(7)}
        await importing.flow.until(lambda: importing.target.runs)
        await asyncio.sleep(1)
        assert len(importing.target.runs) == 2
        importing.target.release()
        await importing.flow.until(lambda: len(importing.refreshed) == 7)


async def test_without_imports_only_later_changes_count(importing):
    async with importing.process():
        await asyncio.sleep(1)
    importing.providers.shown = TWO
    async with importing.process(refresh=False):
        await asyncio.sleep(1)
    async with importing.process():
        await asyncio.sleep(1)
    assert importing.refreshed == []


async def test_an_unreadable_ledger_is_not_an_empty_one(importing):
    async with importing.process():
        await asyncio.sleep(1)
    importing.providers.shown = TWO
    importing.ledger.unreadable = True
    async with importing.process():
        await asyncio.sleep(LEDGER_RETRY * 2)
        assert importing.refreshed == []
        importing.ledger.unreadable = False
        await importing.flow.until(lambda: importing.refreshed == [FILMS])


async def test_the_first_start_is_noted_as_soon_as_the_ledger_can_be_written(importing):
    """Otherwise the next start would be the first one again, and would not import what appeared meanwhile."""
    importing.ledger.unwritable = True
    async with importing.process():
        await asyncio.sleep(1)
        importing.ledger.unwritable = False
        await asyncio.sleep(2 * LEDGER_RETRY)
    importing.providers.shown = TWO
    async with importing.process():
        await asyncio.sleep(INTERVAL)
    assert importing.refreshed == [FILMS]


async def test_a_bucket_that_vanished_while_the_ledger_could_not_be_written_is_no_longer_known(importing):
    importing.providers.shown = TWO
    async with importing.process():
        await asyncio.sleep(1)
        importing.ledger.unwritable = True
        importing.providers.shown = ONE
        await asyncio.sleep(INTERVAL * 3)
        importing.ledger.unwritable = False
        await asyncio.sleep(LEDGER_RETRY * 2)
    importing.providers.shown = TWO
    async with importing.process():
        await asyncio.sleep(INTERVAL)
    assert importing.refreshed == [FILMS]
