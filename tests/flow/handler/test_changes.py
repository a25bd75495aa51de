"""With an event target, each change is reported by itself, in the order of time."""

import gzip
import json

import pytest

from jibe_sqs.core import decisions
from jibe_sqs.core.errors import (
    AccessAnywhereUnavailable,
)
from jibe_sqs.core.model import Done, Folder, Retry
from jibe_sqs.testing import InMemoryEventTarget


@pytest.fixture
def telling(flow):
    events = InMemoryEventTarget()
    world = flow.World(events=events)
    world.events = events
    return world


def log_of_times(flow, key, *times):
    text = json.loads(gzip.decompress(flow.log_of(*[key] * len(times))))
    for record, time in zip(text["Records"], times, strict=True):
        record["eventTime"] = f"2026-01-01T00:00:{time:02}Z"
    return gzip.compress(json.dumps(text).encode())


async def test_changes_are_told_in_the_order_of_their_times_and_no_folder_is_refreshed(flow, telling):
    key = telling.put("a", log_of_times(flow, "a/x", 3, 1, 2))
    assert await telling.handle(flow.announcing(key)) == Done()
    assert [change.event.time - flow.EPOCH for change in telling.events.accepted] == [1, 2, 3]
    assert [change.folders for change in telling.events.accepted] == [(Folder("/data/a"),)] * 3
    assert not telling.target.runs
    assert telling.ledger.finished == [(flow.LOG_BUCKET, key)]


async def test_a_change_that_cannot_be_told_leaves_the_message_and_its_file_unfinished(flow, telling):
    key = telling.put("a")
    telling.events.errors["a/file"] = [AccessAnywhereUnavailable("503")]
    assert isinstance(await telling.handle(flow.announcing(key)), Retry)
    assert not telling.ledger.finished
    assert await telling.handle(flow.announcing(key), receive_count=2) == Done()
    assert len(telling.events.accepted) == 1


async def test_deletes_that_name_no_key_refresh_the_tree_also_where_changes_are_told(flow, telling):
    body = flow.announcing(telling.put("a", flow.log_of("", name="DeleteObjects")), telling.put("b"))
    assert await telling.handle(body) == Done()
    assert [run.folder for run in telling.target.runs] == [Folder("/data", tree=True)]
    assert [change.event.key for change in telling.events.accepted] == ["b/file"]


async def test_what_is_beyond_the_changes_of_one_file_is_refreshed_by_folders(flow, telling, monkeypatch):
    monkeypatch.setattr(decisions, "MAX_CHANGES", 3)
    key = telling.put("a", flow.log_of(*(f"{n}/x" for n in range(5))))
    assert await telling.handle(flow.announcing(key)) == Done()
    assert sorted(change.event.key for change in telling.events.accepted) == ["0/x", "1/x", "2/x"]
    assert sorted(run.folder.path for run in telling.target.runs) == ["/data/3", "/data/4"]
    assert telling.counters.events == 5
