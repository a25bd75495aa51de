"""Rules change while work is in hand: no file that was decided under the old ones finishes under the new ones."""

import asyncio
import gzip
import json

import pytest

from jibe_sqs.core.decisions import Decisions, OwnWrites, Place
from jibe_sqs.core.formats.limits import Limits
from jibe_sqs.core.globs import KeyFilter
from jibe_sqs.core.model import Done, Folder, Retry
from jibe_sqs.syncing.bucket_map import BucketMap

SHOWN = {"data": (Place("/data"),)}


def change(world, fingerprint="new", *, places=SHOWN, own=None, ignore=None):
    world.engine.change_rules(
        places=places,
        own_writes=own or OwnWrites(),
        ignore=ignore,
        limits=Limits(),
        read_timeout=60.0,
        fingerprint=fingerprint,
    )


@pytest.fixture
def world(flow):
    return flow.World(decisions=Decisions(SHOWN))


async def test_a_file_that_waits_for_its_refresh_during_the_change_is_not_finished(flow, world):
    """It was read under the old rules. Its message is done: that is as it is before a restart."""
    world.target.held.add("/data/a")
    key = world.put("a")
    handling = asyncio.create_task(world.handle(flow.announcing(key)))
    await flow.until(lambda: world.target.runs)
    change(world)
    world.target.release()
    assert await handling == Done()
    assert world.ledger.finished == []
    assert await world.handle(flow.announcing(key)) == Done()
    assert world.logs.opens[key] == 2
    assert world.ledger.finished == [(flow.LOG_BUCKET, key)]


async def test_a_file_that_is_read_during_the_change_is_not_finished(flow, world):
    """A part of its records may have been decided under the old rules."""
    world.logs.delay = 10
    key = world.put("a")
    handling = asyncio.create_task(world.handle(flow.announcing(key)))
    await flow.until(lambda: world.logs.open_now)
    change(world)
    assert await handling == Done()
    assert world.ledger.finished == []


async def test_what_was_finished_under_other_rules_is_read_again_and_counts_again_when_they_return(flow, world):
    """A table keeps the marks of both; a file has the latest one."""
    key = world.put("a")
    await world.handle(flow.announcing(key))
    await world.handle(flow.announcing(key))
    assert world.logs.opens[key] == 1
    change(world, "new")
    await world.handle(flow.announcing(key))
    await world.handle(flow.announcing(key))
    assert world.logs.opens[key] == 2


async def test_decisions_on_folders_that_are_remembered_are_dropped(flow, world):
    """Most events are in a folder that had an event before, whose decision is not made again."""
    read = [world.put(name, flow.log_of("a/x", "a/y.tmp")) for name in ("1", "2", "3")]
    await world.handle(flow.announcing(read[0]))
    assert [run.folder for run in world.target.runs] == [Folder("/data/a")]
    change(world, ignore=KeyFilter(("a/*",)))
    await world.handle(flow.announcing(read[1]))
    assert len(world.target.runs) == 1
    change(world, places={"data": (Place("/elsewhere"),)})
    await world.handle(flow.announcing(read[2]))
    assert world.target.runs[-1].folder == Folder("/elsewhere/a")


async def test_a_bucket_that_is_configured_while_its_changes_are_in_hand_is_refreshed(flow):
    """They were skipped as not mapped a moment ago, so the file is read again."""

    class NoProviders:
        async def places(self):
            raise AssertionError

        async def synced(self, folders):
            return {}

    decisions = Decisions({"other": (Place("/other"),)})
    buckets = BucketMap(providers=NoProviders(), decisions=decisions, clock=flow.VirtualClock())
    world = flow.World(decisions=decisions, buckets=buckets)
    world.target.held.add("/other/a")
    records = [json.loads(gzip.decompress(flow.log_of("a/x", bucket=each)))["Records"] for each in ("other", "data")]
    key = world.put("a", gzip.compress(json.dumps({"Records": [each for some in records for each in some]}).encode()))
    handling = asyncio.create_task(world.handle(flow.announcing(key)))
    await flow.until(lambda: world.target.runs)
    change(world, places=SHOWN | {"other": (Place("/other"),)})
    world.target.release()
    verdict = await handling
    assert isinstance(verdict, Retry)
    assert "BucketAppeared" in verdict.reason
    assert await world.handle(flow.announcing(key)) == Done()
    assert world.target.runs[-1].folder == Folder("/data/a")
