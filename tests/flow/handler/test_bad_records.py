"""Bad records of a log file are skipped or reject the message, and the good records are always done."""

import asyncio
import gzip
import json

from tests.flow.handler.log_files import (
    ACCESS_LOG_KEY,
    AUDIT_LOG_KEY,
    access_line,
    audit_line,
    with_bad_record,
)

from jibe_sqs.core.errors import (
    AccessAnywhereUnavailable,
)
from jibe_sqs.core.model import Done, Folder, Reject, Retry
from jibe_sqs.core.sources import LogSource

CANARY = "SECRET-CANARY"
HEADER = {"Authorization": f"AWS4-HMAC-SHA256 Signature={CANARY}", "X-Amz-Security-Token": CANARY}
WITH_SECRETS = [
    json.dumps({"api": {"name": "PutObject", "object": "a"}, "requestHeader": HEADER}),
    json.dumps({"api": {"name": "PutObject", "bucket": [CANARY], "object": "a"}, "requestHeader": HEADER}),
    json.dumps({"requestHeader": HEADER}),
    json.dumps({"requestHeader": HEADER})[:-3],
    json.dumps({"api": [CANARY], "requestHeader": HEADER}),
]


async def test_skipped_bad_records_are_counted_and_the_first_five_are_logged(flow, world, events):
    lines = [audit_line(), *(f"{line}\n".encode() for line in WITH_SECRETS * 3), audit_line("c/d")]
    world.logs.objects[flow.LOG_BUCKET, AUDIT_LOG_KEY] = b"".join(lines)
    assert await world.handle(flow.announcing(AUDIT_LOG_KEY)) == Done()
    assert (world.counters.bad_records, world.counters.records, world.counters.files) == (15, 2, 1)
    assert world.counters.as_dict()["bad_records"] == 15
    (logged,) = [event for event in events if event["event"] == "bad_records_skipped"]
    assert (logged["log_level"], logged["bucket"], logged["key"]) == ("warning", flow.LOG_BUCKET, AUDIT_LOG_KEY)
    assert (logged["format"], logged["count"], len(logged["first"])) == ("audit-log", 15, 5)
    assert logged["first"][0]["offset"] == len(lines[0])
    assert all(each["reason"].startswith("line ") and len(each["reason"]) < 200 for each in logged["first"])
    json.dumps(logged)
    assert CANARY not in str(events)


async def test_the_log_entry_of_a_bad_access_log_line_has_no_signature(flow, world, events):
    """The URL of a request may be presigned, and then contains a signature."""
    presigned = f"GET /data/a?X-Amz-Signature={CANARY} HTTP/1.1"
    bad = [access_line().replace(b"PUT /x HTTP/1.1", presigned.encode()).replace(b" data ", b" - ")]
    bad.append(f'"{presigned}" 200\n'.encode())
    world.logs.objects[flow.LOG_BUCKET, ACCESS_LOG_KEY] = b"".join([access_line(), *bad])
    assert await world.handle(flow.announcing(ACCESS_LOG_KEY)) == Done()
    assert world.counters.bad_records == 2
    assert CANARY not in str(events)


async def test_a_file_without_bad_records_logs_no_bad_records(flow, world, events):
    assert await world.handle(flow.announcing(world.put("a"))) == Done()
    assert not [event for event in events if event["event"] == "bad_records_skipped"]


async def test_the_good_records_of_a_file_are_refreshed_before_its_message_is_rejected(flow, world, events):
    data = with_bad_record(flow, "a/1", "?", "b/2")
    verdict = await world.handle(flow.announcing(world.put("bad", data)))
    assert sorted(run.folder.path for run in world.target.runs) == ["/data/a", "/data/b"]
    assert isinstance(verdict, Reject)
    offset = gzip.decompress(data).index(b'{"eventVersion"', 30)
    assert verdict.error == "RecordMalformed"
    assert "1 bad record, all others are done: record 1: requestParameters: a PutObject" in verdict.reason
    assert f"(offset {offset}, field requestParameters)" in verdict.reason
    assert verdict.source == f"s3://{flow.LOG_BUCKET}/{flow.log_key('bad')}"
    assert world.counters.bad_records == 1
    (logged,) = [event for event in events if event["event"] == "bad_records_rejected"]
    assert logged["first"][0] | {"reason": ""} == {
        "reason": "",
        "index": 1,
        "offset": offset,
        "field": "requestParameters",
    }


async def test_a_dead_letter_names_each_of_the_first_bad_records(flow, world):
    verdict = await world.handle(flow.announcing(world.put("bad", with_bad_record(flow, *["?"] * 7, "a/1"))))
    assert verdict.reason.startswith("RecordMalformed: 7 bad records")
    assert all(f"record {index}: " in verdict.reason for index in range(5))
    assert verdict.reason.endswith("and 2 more")


async def test_a_redriven_message_has_its_file_with_the_bad_record_read_again(flow, world):
    key = world.put("bad", with_bad_record(flow, "a/1", "?"))
    for _ in range(2):
        assert isinstance(await world.handle(flow.announcing(key)), Reject)
        assert not world.ledger.finished
    assert world.logs.opens.total() == 2
    world.put("bad", flow.log_of("a/1", "b/2"))
    assert await world.handle(flow.announcing(key), receive_count=6) == Done()
    assert "/data/b" in [run.folder.path for run in world.target.runs]


async def test_a_message_with_a_bad_record_is_retried_until_all_transient_errors_are_gone_and_then_rejected(
    flow, world
):
    body = flow.announcing(world.put("bad", with_bad_record(flow, "a/1", "?")), flow.log_key("missing"))
    verdict = await world.handle(body)
    assert isinstance(verdict, Retry)
    assert "LogMissing" in verdict.reason
    world.put("missing", flow.log_of("c/1"))
    verdict = await world.handle(body, receive_count=2)
    assert isinstance(verdict, Reject)
    assert verdict.error == "RecordMalformed"
    assert {run.folder.path for run in world.target.runs} == {"/data/a", "/data/c"}


async def test_a_failed_refresh_is_retried_before_a_bad_record_rejects_the_message(flow, world):
    world.target.errors["/data/a"] = [AccessAnywhereUnavailable("503")]
    body = flow.announcing(world.put("bad", with_bad_record(flow, "a/1", "?")))
    assert isinstance(await world.handle(body), Retry)
    assert isinstance(await world.handle(body, receive_count=2), Reject)
    assert [run.folder.path for run in world.target.runs][-1] == "/data/a"


async def test_a_bad_record_rejects_both_messages_that_announce_its_file_at_the_same_time(flow, world):
    body = flow.announcing(world.put("bad", with_bad_record(flow, "a/1", "?")))
    verdicts = await asyncio.gather(world.handle(body), world.handle(body))
    assert [type(verdict) for verdict in verdicts] == [Reject, Reject]
    assert world.logs.opens.total() == 1


async def test_a_file_is_finished_if_its_source_skips_bad_records(flow):
    world = flow.World(sources=[LogSource(flow.LOG_BUCKET, on_bad_record="skip")])
    key = world.put("bad", with_bad_record(flow, "a/1", "?"))
    assert await world.handle(flow.announcing(key)) == Done()
    assert world.ledger.finished == [(flow.LOG_BUCKET, key)]


async def test_a_write_with_an_unreadable_time_is_refreshed_also_if_its_folder_was_refreshed_just_before(flow, world):
    key = world.put("a")
    assert await world.handle(flow.announcing(key)) == Done()
    text = json.loads(gzip.decompress(flow.log_of("a/file")))
    text["Records"][0]["eventTime"] = None
    text["Records"][0]["userIdentity"] = {"arn": "ana"}
    other = world.put("b", gzip.compress(json.dumps(text).encode()))
    assert await world.handle(flow.announcing(other)) == Done()
    assert [run.folder.path for run in world.target.runs] == ["/data/a"] * 2


async def test_a_write_with_an_unreadable_key_refreshes_the_whole_bucket(flow, world):
    text = json.loads(gzip.decompress(flow.log_of("a/file")))
    text["Records"][0]["requestParameters"]["key"] = None
    assert await world.handle(flow.announcing(world.put("b", gzip.compress(json.dumps(text).encode())))) == Done()
    assert [run.folder for run in world.target.runs] == [Folder("/data", tree=True)]
