"""A message's log files are read, its folders refreshed, and only then its files remembered."""

import asyncio
import json
from collections import Counter
from contextlib import nullcontext

import pytest

from jibe_sqs.core.errors import (
    AccessAnywhereUnavailable,
    BucketNotAllowed,
    LogStoreUnavailable,
)
from jibe_sqs.core.model import Done, Folder, Message, Reject, Retry


async def test_a_log_file_is_read_refreshed_and_finished(flow, world):
    key = world.put("a")
    assert await world.handle(flow.announcing(key)) == Done()
    assert [run.folder for run in world.target.runs] == [Folder("/data/a")]
    assert await world.handle(flow.announcing(key)) == Done()
    assert world.logs.opens[key] == 1  # known: not opened again
    assert len(world.target.runs) == 1
    assert (world.counters.files, world.counters.files_known) == (1, 1)


async def test_a_message_is_not_done_before_its_refresh_has_ended_and_its_file_is_finished(flow, world):
    """elastic/beats #38961: an entry was deleted before its events were acknowledged."""
    key = world.put("a")
    world.target.held = {"/data/a"}
    handling = asyncio.create_task(world.handle(flow.announcing(key)))
    await flow.until(lambda: world.target.runs and world.target.runs[0].began)
    await asyncio.sleep(3600)
    assert not handling.done()
    assert not world.ledger.finished
    world.target.release()
    assert await handling == Done()
    assert world.ledger.finished == [(flow.LOG_BUCKET, key)]


async def test_the_place_is_left_before_the_message_waits_for_refreshes(flow, world):
    """beats #39414: a message that only waits must not use the reading budget."""
    world.target.held = {"/data/a"}
    place = flow.WatchedInHand()
    message = Message("id", "receipt", flow.announcing(world.put("a")).encode())
    handling = asyncio.create_task(world.handler.handle(message, world.policy, place))
    await flow.until(lambda: world.target.runs)
    assert len(place.left) == 1
    world.target.release()
    await handling


async def test_a_message_with_one_unreadable_file_of_two_is_retried_and_reads_only_that_file_again(flow, world):
    """otel-collector-contrib #45153: delete only when every record in the message succeeded."""
    good, bad = world.put("good"), world.put("bad", b"\x1f\x8bnot gzip at all")
    body = flow.announcing(good, bad)
    verdict = await world.handle(body)
    assert isinstance(verdict, Retry)
    assert "Log" in verdict.reason
    # The good file is done. When the bad file is replaced, only that one is read.
    assert [run.folder.path for run in world.target.runs] == ["/data/good"]
    world.put("bad", flow.log_of("bad/file"))
    assert await world.handle(body, receive_count=2) == Done()
    assert world.logs.opens == {good: 1, bad: 2}
    assert [run.folder.path for run in world.target.runs] == ["/data/good", "/data/bad"]


@pytest.mark.parametrize("first_error", ["broken in the middle", "cut short"])
async def test_a_truncated_file_refreshes_nothing_and_is_retried(flow, world, first_error):
    key = world.put("a")
    if first_error == "cut short":
        world.logs.objects[flow.LOG_BUCKET, key] = world.logs.objects[flow.LOG_BUCKET, key][:-10]
    else:
        world.logs.read_errors[key] = LogStoreUnavailable("connection reset")
    assert isinstance(await world.handle(flow.announcing(key)), Retry)
    assert not world.target.runs
    assert not world.ledger.finished


async def test_one_failed_folder_leaves_the_message_and_its_file_unfinished(flow, world):
    await asyncio.sleep(60)
    key = world.put("a", flow.log_of("one/file", "two/file"))
    world.target.errors["/data/two"] = [AccessAnywhereUnavailable("503")]
    assert isinstance(await world.handle(flow.announcing(key)), Retry)
    assert not world.ledger.finished
    assert await world.handle(flow.announcing(key)) == Done()
    # The folder that succeeded has a watermark, which is later than its event, so it is not refreshed again.
    assert sorted(run.folder.path for run in world.target.runs) == ["/data/one", "/data/two", "/data/two"]


async def test_with_an_unreadable_ledger_nothing_is_skipped_and_messages_are_still_done(flow, world):
    key = world.put("a")
    await asyncio.sleep(1000)
    assert await world.handle(flow.announcing(key)) == Done()
    world.ledger.unreadable = True
    assert await world.handle(flow.announcing(key)) == Done()
    assert world.logs.opens[key] == 2
    assert len(world.target.runs) == 2


async def test_with_an_unwritable_ledger_messages_are_done_and_done_again_when_they_come_again(flow, world):
    key = world.put("a")
    world.ledger.unwritable = True
    assert await world.handle(flow.announcing(key)) == Done()
    assert len(world.target.runs) == 1
    assert await world.handle(flow.announcing(key)) == Done()
    assert world.logs.opens[key] == 2
    assert len(world.target.runs) == 2


async def test_a_ledger_that_can_be_written_again_finishes_files_from_then_on(flow, world):
    key = world.put("a", flow.log_of())  # no events: only the file itself is to be remembered
    world.ledger.unwritable = True
    assert await world.handle(flow.announcing(key)) == Done()
    world.ledger.unwritable = False
    for _ in range(2):
        assert await world.handle(flow.announcing(key)) == Done()
    assert world.logs.opens[key] == 2


async def test_a_failed_message_is_retried_also_with_an_unwritable_ledger(flow, world):
    world.ledger.unwritable = world.ledger.unreadable = True
    key = world.put("a")
    world.target.errors["/data/a"] = [AccessAnywhereUnavailable("503")]
    assert isinstance(await world.handle(flow.announcing(key)), Retry)


async def test_a_failing_ledger_is_logged_once_a_minute_and_not_for_each_message(flow, world, events):
    world.ledger.unwritable = world.ledger.unreadable = True
    began = flow.time()
    while flow.time() < began + 150:
        await asyncio.gather(*(world.handle(flow.announcing(world.put(f"{i}"))) for i in range(20)))
        await asyncio.sleep(5)
    warnings = Counter(event["event"] for event in events if event["log_level"] == "warning")
    assert warnings == {"ledger_unreadable": 3, "ledger_unwritable": 3}
    assert all("disk I/O error" in event["reason"] for event in events if event["log_level"] == "warning")


async def test_events_in_the_body_need_no_log_file(flow, world):
    assert await world.handle(flow.s3_event("a/b/file")) == Done()
    assert [run.folder.path for run in world.target.runs] == ["/data/a/b"]
    assert not world.logs.opens


async def test_an_event_older_than_the_watermark_of_its_folder_is_skipped(flow, world):
    await asyncio.sleep(60)
    await world.refreshes.done([Folder("/data/a")])
    assert await world.handle(flow.s3_event("a/old", time="2026-01-01T00:00:50Z")) == Done()
    assert len(world.target.runs) == 1
    assert world.counters.skipped["already-refreshed"] == 1
    # Within the margin and CloudTrail's whole seconds, the order is not certain.
    assert await world.handle(flow.s3_event("a/new", time="2026-01-01T00:00:55Z")) == Done()
    assert len(world.target.runs) == 2


@pytest.mark.parametrize(
    "body",
    [
        "CloudTrail validation message.",
        json.dumps({"Event": "s3:TestEvent", "Bucket": "data"}),
        json.dumps({"Type": "SubscriptionConfirmation", "Message": "confirm", "TopicArn": "arn:aws:sns:::t"}),
    ],
)
async def test_a_message_without_work_is_done(world, body):
    """otel #47045, data-prepper #1924: such messages must be deleted without an error."""
    assert await world.handle(body) == Done()
    assert not world.counters.errors
    assert world.counters.nothing.total() == 1


@pytest.mark.parametrize("body", ["", "{", "[]", '{"hello": 1}', json.dumps({"s3Bucket": "b", "s3ObjectKey": []})])
async def test_an_unknown_body_is_rejected_at_once_with_its_reason(world, body):
    verdict = await world.handle(body)
    assert isinstance(verdict, Reject)
    assert verdict.error.startswith("Announcement")
    assert verdict.reason
    assert verdict.source == "message"


async def test_a_missing_log_file_is_retried_and_rejected_at_the_last_receive(flow, world):
    """redpanda connect #1090, #4474: such a message must not be dropped silently, and not be retried for ever."""
    body = flow.announcing(flow.log_key("gone"))
    for receive_count in range(1, 5):
        assert isinstance(await world.handle(body, receive_count=receive_count), Retry)
    verdict = await world.handle(body, receive_count=5)
    assert isinstance(verdict, Reject)
    assert verdict.error == "LogMissing"
    assert "gone" in verdict.reason
    assert verdict.source == f"s3://{flow.LOG_BUCKET}/{flow.log_key('gone')}"


async def test_a_message_with_a_bucket_that_is_not_allowed_is_rejected_at_once(flow, world):
    key = world.put("a")
    world.logs.errors[key] = BucketNotAllowed("evil is no log bucket")
    verdict = await world.handle(flow.announcing(key))
    assert isinstance(verdict, Reject)
    assert verdict.error == "BucketNotAllowed"


async def test_a_permanent_error_rejects_the_message_only_when_everything_else_is_done(flow, world):
    denied, gone = world.put("denied"), flow.log_key("gone")
    world.logs.errors[denied] = BucketNotAllowed("no")
    body = flow.announcing(denied, gone)
    assert isinstance(await world.handle(body), Retry)
    world.put("gone", flow.log_of("gone/file"))
    verdict = await world.handle(body, receive_count=2)
    assert isinstance(verdict, Reject)
    assert verdict.source == f"s3://{flow.LOG_BUCKET}/{denied}"
    assert [run.folder.path for run in world.target.runs] == ["/data/gone"]


async def test_after_an_unexpected_exception_in_one_file_the_other_files_are_closed_before_handle_returns(flow):
    """When `handle` returns, no file is being read without a place in the reading budget."""
    crashing, slow = flow.log_key("crashing"), flow.log_key("slow")

    class Store(flow.InMemoryLogStore):
        def open(self, file):
            self.delay = 0.0 if file.key == crashing else 100.0
            return super().open(file)

    store = Store()
    store.errors[crashing] = ZeroDivisionError("a bug")
    world = flow.World(logs=store)
    world.put("crashing")
    world.put("slow")
    message = Message("id", "receipt", flow.announcing(slow, crashing).encode())
    with pytest.raises(ZeroDivisionError):
        await world.handler.handle(message, world.policy, flow.WatchedInHand())
    assert store.open_now == 0


async def test_a_delete_without_keys_refreshes_the_tree(flow, world):
    key = world.put("a", flow.log_of("", name="DeleteObjects"))
    assert await world.handle(flow.announcing(key)) == Done()
    assert [run.folder for run in world.target.runs] == [Folder("/data", tree=True)]


async def test_ten_thousand_events_in_one_folder_need_one_refresh(flow, world):
    key = world.put("many", flow.log_of(*(f"a/{i}" for i in range(10_000))))
    assert await world.handle(flow.announcing(key)) == Done()
    assert len(world.target.runs) == 1
    assert world.counters.events == 10_000


class Trickle:
    """A log file that sends a byte every ten minutes and never ends."""

    etag, size = "etag", 10**9

    async def __aiter__(self):
        while True:
            await asyncio.sleep(600)
            yield b" "


async def test_a_log_file_that_never_ends_is_given_up_and_retried(flow, world):
    world.logs.open = lambda _file: nullcontext(Trickle())
    began = asyncio.get_running_loop().time()
    verdict = await world.handle(flow.announcing(flow.log_key("a")))
    assert isinstance(verdict, Retry)
    assert "limits.read_seconds" in verdict.reason
    assert asyncio.get_running_loop().time() - began == pytest.approx(3600)
