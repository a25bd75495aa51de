"""The configured sources decide which files are read, and how."""

import pytest
from tests.flow.handler.log_files import (
    AUDIT_LOG_KEY,
    access_line,
    audit_line,
)

from jibe_sqs.core.decisions import Decisions
from jibe_sqs.core.formats.format import Format
from jibe_sqs.core.formats.limits import Limits
from jibe_sqs.core.globs import KeyFilter
from jibe_sqs.core.model import Done, Reject
from jibe_sqs.core.sources import LogSource
from jibe_sqs.core.verdicts import RetryPolicy


async def test_the_format_of_a_source_is_used_for_files_whose_names_do_not_show_it(flow):
    world = flow.World(sources=[LogSource(flow.LOG_BUCKET, "audit/", Format.AUDIT_LOG)])
    # Its first bytes look like an access log.
    world.logs.objects[flow.LOG_BUCKET, "audit/odd"] = access_line("by-bytes/x") + audit_line("by-setting/x")
    assert await world.handle(flow.announcing("audit/odd")) == Done()
    assert world.counters.bad_records == 1
    assert [run.folder.path for run in world.target.runs] == ["/data/by-setting"]


async def test_each_source_has_its_own_setting_for_bad_records(flow):
    world = flow.World(
        sources=[LogSource(flow.LOG_BUCKET, "strict/", on_bad_record="reject"), LogSource(flow.LOG_BUCKET, "lax/")],
        retry=RetryPolicy(max_receives=5),
    )
    for prefix in ("strict/", "lax/"):
        world.logs.objects[flow.LOG_BUCKET, prefix + AUDIT_LOG_KEY] = audit_line() + b"no line\n"
    assert await world.handle(flow.announcing("lax/" + AUDIT_LOG_KEY)) == Done()
    verdict = await world.handle(flow.announcing("strict/" + AUDIT_LOG_KEY))
    assert isinstance(verdict, Reject)
    assert verdict.error == "RecordMalformed"
    assert [run.folder.path for run in world.target.runs] == ["/data/a"] * len(world.target.runs)
    assert world.ledger.finished == [(flow.LOG_BUCKET, "lax/" + AUDIT_LOG_KEY)]


async def test_the_configured_limits_are_used(flow):
    world = flow.World(limits=Limits(records=2))
    body = flow.announcing(
        world.put("two", flow.log_of("a/1", "a/2")), world.put("three", flow.log_of("b/1", "b/2", "b/3"))
    )
    verdict = await world.handle(body)
    assert isinstance(verdict, Reject)
    assert verdict.error == "LogLimitExceeded"
    assert [run.folder.path for run in world.target.runs] == ["/data/a"]


@pytest.mark.parametrize("key", ["trail/x", AUDIT_LOG_KEY])
async def test_a_file_of_a_bucket_that_is_not_a_log_source_is_rejected_and_never_fetched(flow, key):
    """A sender who can write to the queue must not choose which files are read."""
    world = flow.World(sources=[LogSource(flow.LOG_BUCKET, "trail/")])
    world.logs.objects["evil", key] = flow.log_of("a/file")
    verdict = await world.handle(flow.announcing(key, bucket="evil"))
    assert isinstance(verdict, Reject)
    assert verdict.error == "BucketNotAllowed"
    assert f"s3://evil/{key}" in verdict.reason
    assert not world.logs.opens
    assert not world.target.runs


@pytest.mark.parametrize(
    "key", ["elsewhere/x", "trail", AUDIT_LOG_KEY, "AWSLogs/111122223333/Config/x.json.gz", "trail/"]
)
async def test_files_of_a_log_bucket_that_are_not_log_files_are_done_and_never_fetched(flow, key):
    """Several services may share one log bucket, and its notifications announce all their files."""
    world = flow.World(sources=[LogSource(flow.LOG_BUCKET, "trail/")])
    world.logs.objects[flow.LOG_BUCKET, key] = flow.log_of("a/file")
    assert await world.handle(flow.announcing(key)) == Done()
    assert not world.logs.opens
    assert world.counters.nothing.total() == 1


async def test_an_ignored_file_is_done_without_being_read(flow):
    """The other files of its message are read."""
    ignore = KeyFilter((flow.log_key("ignored"),))
    world = flow.World(sources=[LogSource(flow.LOG_BUCKET, ignore=ignore)])
    ignored, read = world.put("ignored", b"not a log file"), world.put("read")
    assert await world.handle(flow.announcing(ignored, read)) == Done()
    assert world.logs.opens == {read: 1}
    assert world.counters.nothing == {"an ignored file": 1}


async def test_without_the_pattern_the_same_file_is_a_dead_letter(flow):
    world = flow.World(sources=[LogSource(flow.LOG_BUCKET)], retry=RetryPolicy(max_receives=1))
    assert isinstance(await world.handle(flow.announcing(world.put("ignored", b"not a log file"))), Reject)


async def test_an_ignored_file_of_an_s3_event_is_done_without_being_read(flow):
    world = flow.World(sources=[LogSource(flow.LOG_BUCKET, ignore=KeyFilter(("AWSLogs/",)))])
    assert await world.handle(flow.s3_event(world.put("ignored"), bucket=flow.LOG_BUCKET)) == Done()
    assert not world.logs.opens
    assert world.counters.nothing == {"an ignored file": 1}


async def test_ignored_keys_are_counted_and_not_refreshed(flow):
    world = flow.World(decisions=Decisions(ignore=KeyFilter(("_temporary/",))))
    key = world.put("a", flow.log_of("a/_temporary/0/x", "a/_temporary/1/x", "b/x"))
    assert await world.handle(flow.announcing(key)) == Done()
    assert [run.folder.path for run in world.target.runs] == ["/data/b"]
    assert world.counters.skipped == {"ignored": 2}
    assert world.activity.since_start().total.skipped == {"ignored": 2}
    assert world.ledger.finished == [(flow.LOG_BUCKET, key)]
