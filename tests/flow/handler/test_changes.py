"""With an event target, each change is reported by itself, in the order of time."""

import gzip
import json

import pytest

from jibe_sqs.core import plan
from jibe_sqs.core.errors import AccessAnywhereUnavailable
from jibe_sqs.core.model import Done, Folder, Retry
from jibe_sqs.testing import InMemoryEventTarget


@pytest.fixture
def reporting(flow):
    events = InMemoryEventTarget()
    world = flow.World(events=events)
    world.events = events
    return world


def log_of_times(flow, key, *times):
    text = json.loads(gzip.decompress(flow.log_of(*[key] * len(times))))
    for record, time in zip(text["Records"], times, strict=True):
        record["eventTime"] = f"2026-01-01T00:00:{time:02}Z"
    return gzip.compress(json.dumps(text).encode())


async def test_changes_are_reported_in_the_order_of_their_times_and_no_folder_is_refreshed(flow, reporting):
    key = reporting.put("a", log_of_times(flow, "a/x", 3, 1, 2))
    assert await reporting.handle(flow.announcing(key)) == Done()
    assert [change.event.time - flow.EPOCH for change in reporting.events.accepted] == [1, 2, 3]
    assert [change.folders for change in reporting.events.accepted] == [(Folder("/data/a"),)] * 3
    assert not reporting.target.runs
    assert reporting.ledger.finished == [(flow.LOG_BUCKET, key)]


async def test_a_change_that_cannot_be_reported_leaves_the_message_and_its_file_unfinished(flow, reporting):
    key = reporting.put("a")
    reporting.events.errors["a/file"] = [AccessAnywhereUnavailable("503")]
    assert isinstance(await reporting.handle(flow.announcing(key)), Retry)
    assert not reporting.ledger.finished
    assert await reporting.handle(flow.announcing(key), receive_count=2) == Done()
    assert len(reporting.events.accepted) == 1


async def test_a_delete_without_keys_refreshes_the_tree_also_with_an_event_target(flow, reporting):
    body = flow.announcing(reporting.put("a", flow.log_of("", name="DeleteObjects")), reporting.put("b"))
    assert await reporting.handle(body) == Done()
    assert [run.folder for run in reporting.target.runs] == [Folder("/data", tree=True)]
    assert [change.event.key for change in reporting.events.accepted] == ["b/file"]


async def test_all_changes_of_a_file_with_too_many_refresh_their_folders(flow, reporting, monkeypatch):
    """Not only the last ones: the report of an object's earlier change would come after the refresh for its later one."""
    monkeypatch.setattr(plan, "MAX_CHANGES", 3)
    key = reporting.put("a", flow.log_of(*(f"{n}/x" for n in range(5))))
    assert await reporting.handle(flow.announcing(key)) == Done()
    assert not reporting.events.accepted
    assert sorted(run.folder.path for run in reporting.target.runs) == [f"/data/{n}" for n in range(5)]
    assert reporting.counters.events == 5
