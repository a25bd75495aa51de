"""A message with an unreadable record is rejected after all its other records are done."""

import asyncio
import json

from jibe_sqs.core.errors import (
    AccessAnywhereUnavailable,
)
from jibe_sqs.core.model import Done, Folder, Reject, Retry


def s3_events(flow, *keys):
    """An S3 event with a record for each key."""
    records = [json.loads(flow.s3_event(key))["Records"][0] for key in keys]
    return json.dumps({"Records": records})


async def test_an_unreadable_record_does_not_prevent_the_others(flow, world):
    verdict = await world.handle(s3_events(flow, "caf%E9/a", "good/b", ""))
    assert isinstance(verdict, Reject)
    assert (verdict.error, verdict.source) == ("AnnouncementMalformed", "message")
    assert "record 0 of the S3 event: s3.object.key 'caf%E9/a' is not percent-encoded UTF-8" in verdict.reason
    assert "record 2 of the S3 event has no s3.object.key" in verdict.reason
    # A write without a readable key makes all of its bucket stale.
    assert {run.folder for run in world.target.runs} == {Folder("/data/good"), Folder("/data", tree=True)}
    assert world.counters.errors == {"AnnouncementMalformed": 1}


async def test_a_message_with_an_unreadable_record_is_rejected_only_when_everything_else_is_done(flow, world):
    world.target.errors["/data/good"] = [AccessAnywhereUnavailable("503")]
    body = s3_events(flow, "good/b", "caf%E9")
    assert isinstance(await world.handle(body), Retry)
    verdict = await world.handle(body, receive_count=2)
    assert isinstance(verdict, Reject)
    assert verdict.error == "AnnouncementMalformed"
    assert world.counters.errors["AccessAnywhereUnavailable"] == 1


async def test_a_log_file_beside_an_unreadable_key_is_read_and_finished(flow, world):
    key = world.put("good")
    body = json.dumps({"s3Bucket": flow.LOG_BUCKET, "s3ObjectKey": [key, 7]})
    verdict = await world.handle(body)
    assert isinstance(verdict, Reject)
    assert "s3ObjectKey.1 is not a key: 7" in verdict.reason
    assert [run.folder.path for run in world.target.runs] == ["/data/good"]
    assert world.ledger.finished == [(flow.LOG_BUCKET, key)]


async def test_an_event_without_a_readable_time_is_always_refreshed(flow, world):
    await asyncio.sleep(1000)
    assert await world.handle(flow.s3_event("a/file", time="2026-01-01T00:00:00Z")) == Done()
    for _ in range(2):
        assert await world.handle(flow.s3_event("a/file", time="soon")) == Done()
    assert [run.folder.path for run in world.target.runs] == ["/data/a"] * 3
