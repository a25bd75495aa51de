"""Log files of every format, and events in the message body."""

import gzip
import json

import pytest
from backports import zstd
from tests.flow.handler.log_files import (
    ACCESS_LOG_KEY,
    AUDIT_LOG_KEY,
    access_line,
    audit_line,
)

from jibe_sqs.core.model import Done, Folder


@pytest.mark.parametrize("compress", [gzip.compress, zstd.compress, bytes], ids=["gzip", "zstd", "plain"])
@pytest.mark.parametrize(
    ("key", "text"), [(AUDIT_LOG_KEY, audit_line()), (ACCESS_LOG_KEY, access_line())], ids=["audit", "access"]
)
async def test_a_log_file_of_each_format_is_read_refreshed_and_finished(flow, world, key, text, compress):
    world.logs.objects[flow.LOG_BUCKET, key] = compress(text)
    assert await world.handle(flow.s3_event(key, bucket=flow.LOG_BUCKET)) == Done()
    assert [run.folder for run in world.target.runs] == [Folder("/data/a")]
    assert world.ledger.finished == [(flow.LOG_BUCKET, key)]
    assert set(await world.ledger.principals()) == {"ana"}


async def test_one_message_may_have_log_files_and_events(flow, world):
    records = [json.loads(flow.s3_event(key, bucket=bucket))["Records"][0] for key, bucket in
               (("x/1", "data"), (AUDIT_LOG_KEY, flow.LOG_BUCKET), ("y/2", "data"))]  # fmt: skip
    world.logs.objects[flow.LOG_BUCKET, AUDIT_LOG_KEY] = audit_line("z/3")
    assert await world.handle(json.dumps({"Records": records})) == Done()
    assert sorted(run.folder.path for run in world.target.runs) == ["/data/x", "/data/y", "/data/z"]


async def test_an_eventbridge_event_needs_no_log_file(flow, world):
    detail = {"version": "0", "bucket": {"name": "data"}, "object": {"key": "a/b c+"}, "requester": "111122223333"}
    event = {"source": "aws.s3", "detail-type": "Object Deleted", "time": "2026-01-01T00:00:00Z", "detail": detail}
    assert await world.handle(json.dumps(event)) == Done()
    assert [run.folder.path for run in world.target.runs] == ["/data/a"]
    assert not world.logs.opens
