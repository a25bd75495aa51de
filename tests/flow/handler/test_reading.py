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


async def test_a_log_is_read_refreshed_and_remembered(flow, world):
    key = world.put("a")
    assert await world.handle(flow.announcing(key)) == Done()
    assert [run.folder for run in world.target.runs] == [Folder("/data/a")]
    assert await world.handle(flow.announcing(key)) == Done()
    assert world.logs.opens[key] == 1  # known: not opened again
    assert len(world.target.runs) == 1
    assert (world.counters.files, world.counters.files_known) == (1, 1)


async def test_not_done_before_the_refresh_has_ended_and_the_ledger_knows(flow, world):
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


async def test_reading_is_over_before_refreshes_are_waited_for(flow, world):
    """beats #39414: a message that only waits holds no reader's place."""
    world.target.held = {"/data/a"}
    place = flow.WatchedPlace()
    message = Message("id", "receipt", flow.announcing(world.put("a")))
    handling = asyncio.create_task(world.handler.handle(message, world.policy, place))
    await flow.until(lambda: world.target.runs)
    assert len(place.left) == 1
    world.target.release()
    await handling


async def test_one_bad_file_of_two_leaves_the_message(flow, world):
    """otel-collector-contrib #45153: delete only when every record in the message succeeded."""
    good, bad = world.put("good"), world.put("bad", b"\x1f\x8bnot gzip at all")
    body = flow.announcing(good, bad)
    verdict = await world.handle(body)
    assert isinstance(verdict, Retry)
    assert "Log" in verdict.reason
    # What could be done is done; and when the bad one is replaced, only that is left.
    assert [run.folder.path for run in world.target.runs] == ["/data/good"]
    world.put("bad", flow.log_of("bad/file"))
    assert await world.handle(body, receive_count=2) == Done()
    assert world.logs.opens == {good: 1, bad: 2}
    assert [run.folder.path for run in world.target.runs] == ["/data/good", "/data/bad"]


@pytest.mark.parametrize("first_error", ["broken in the middle", "cut short"])
async def test_a_file_that_ends_in_the_middle_refreshes_nothing_and_is_tried_again(flow, world, first_error):
    key = world.put("a")
    if first_error == "cut short":
        world.logs.objects[flow.LOG_BUCKET, key] = world.logs.objects[flow.LOG_BUCKET, key][:-10]
    else:
        world.logs.read_errors[key] = LogStoreUnavailable("connection reset")
    assert isinstance(await world.handle(flow.announcing(key)), Retry)
    assert not world.target.runs
    assert not world.ledger.finished


async def test_one_folder_that_fails_leaves_the_message_and_its_file_unfinished(flow, world):
    await asyncio.sleep(60)
    key = world.put("a", flow.log_of("one/file", "two/file"))
    world.target.errors["/data/two"] = [AccessAnywhereUnavailable("503")]
    assert isinstance(await world.handle(flow.announcing(key)), Retry)
    assert not world.ledger.finished
    assert await world.handle(flow.announcing(key)) == Done()
    # The watermark of the one that went well spares it; the event is years older than that.
    assert sorted(run.folder.path for run in world.target.runs) == ["/data/one", "/data/two", "/data/two"]


async def test_an_unreadable_ledger_skips_nothing_and_stops_nothing(flow, world):
    key = world.put("a")
    await asyncio.sleep(1000)
    assert await world.handle(flow.announcing(key)) == Done()
    world.ledger.unreadable = True
    assert await world.handle(flow.announcing(key)) == Done()
    assert world.logs.opens[key] == 2
    assert len(world.target.runs) == 2


async def test_an_unwritable_ledger_holds_nothing_up_and_what_comes_again_is_done_again(flow, world):
    key = world.put("a")
    world.ledger.unwritable = True
    assert await world.handle(flow.announcing(key)) == Done()
    assert len(world.target.runs) == 1
    assert await world.handle(flow.announcing(key)) == Done()
    assert world.logs.opens[key] == 2
    assert len(world.target.runs) == 2


async def test_a_ledger_that_is_well_again_remembers_from_then_on(flow, world):
    key = world.put("a", flow.log_of())  # no events: only the file itself is to be remembered
    world.ledger.unwritable = True
    assert await world.handle(flow.announcing(key)) == Done()
    world.ledger.unwritable = False
    for _ in range(2):
        assert await world.handle(flow.announcing(key)) == Done()
    assert world.logs.opens[key] == 2


async def test_an_unwritable_ledger_does_not_make_a_failed_message_done(flow, world):
    world.ledger.unwritable = world.ledger.unreadable = True
    key = world.put("a")
    world.target.errors["/data/a"] = [AccessAnywhereUnavailable("503")]
    assert isinstance(await world.handle(flow.announcing(key)), Retry)


async def test_a_ledger_that_is_away_is_told_of_once_a_minute_not_for_each_message(flow, world, events):
    world.ledger.unwritable = world.ledger.unreadable = True
    began = flow.time()
    while flow.time() < began + 150:
        await asyncio.gather(*(world.handle(flow.announcing(world.put(f"{i}"))) for i in range(20)))
        await asyncio.sleep(5)
    warnings = Counter(event["event"] for event in events if event["log_level"] == "warning")
    assert warnings == {"ledger_unreadable": 3, "ledger_unwritable": 3}
    assert all("disk I/O error" in event["reason"] for event in events if event["log_level"] == "warning")


async def test_events_in_the_body_need_no_file(flow, world):
    assert await world.handle(flow.s3_event("a/b/file")) == Done()
    assert [run.folder.path for run in world.target.runs] == ["/data/a/b"]
    assert not world.logs.opens


async def test_an_event_older_than_its_folders_watermark_is_already_refreshed(flow, world):
    await asyncio.sleep(60)
    await world.refreshes.done([Folder("/data/a")])
    assert await world.handle(flow.s3_event("a/old", time="2026-01-01T00:00:50Z")) == Done()
    assert len(world.target.runs) == 1
    assert world.counters.skipped["already-refreshed"] == 1
    # Within the margin and CloudTrail's whole seconds nobody can know.
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
async def test_what_asks_for_nothing_is_done(world, body):
    """otel #47045, data-prepper #1924: these are to be deleted, quietly."""
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


async def test_a_missing_log_is_tried_again_and_rejected_at_the_last_receive(flow, world):
    """redpanda connect #1090, #4474: not silently done, not for ever retried."""
    body = flow.announcing(flow.log_key("gone"))
    for receive_count in range(1, 5):
        assert isinstance(await world.handle(body, receive_count=receive_count), Retry)
    verdict = await world.handle(body, receive_count=5)
    assert isinstance(verdict, Reject)
    assert verdict.error == "LogMissing"
    assert "gone" in verdict.reason
    assert verdict.source == f"s3://{flow.LOG_BUCKET}/{flow.log_key('gone')}"


async def test_a_bucket_that_is_not_allowed_is_rejected_at_once(flow, world):
    key = world.put("a")
    world.logs.errors[key] = BucketNotAllowed("evil is no log bucket")
    verdict = await world.handle(flow.announcing(key))
    assert isinstance(verdict, Reject)
    assert verdict.error == "BucketNotAllowed"


async def test_what_is_permanent_is_rejected_only_when_all_else_is_done(flow, world):
    denied, gone = world.put("denied"), flow.log_key("gone")
    world.logs.errors[denied] = BucketNotAllowed("no")
    body = flow.announcing(denied, gone)
    assert isinstance(await world.handle(body), Retry)
    world.put("gone", flow.log_of("gone/file"))
    verdict = await world.handle(body, receive_count=2)
    assert isinstance(verdict, Reject)
    assert verdict.source == f"s3://{flow.LOG_BUCKET}/{denied}"
    assert [run.folder.path for run in world.target.runs] == ["/data/gone"]


async def test_a_defect_in_one_file_ends_the_reading_of_the_others_first(flow):
    """When the message is given up, nothing goes on reading without a place in the budget."""
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
    message = Message("id", "receipt", flow.announcing(slow, crashing))
    with pytest.raises(ZeroDivisionError):
        await world.handler.handle(message, world.policy, flow.WatchedPlace())
    assert store.open_now == 0


async def test_deletes_that_name_no_key_refresh_the_tree(flow, world):
    key = world.put("a", flow.log_of("", name="DeleteObjects"))
    assert await world.handle(flow.announcing(key)) == Done()
    assert [run.folder for run in world.target.runs] == [Folder("/data", tree=True)]


async def test_ten_thousand_events_of_one_folder_cost_one_refresh(flow, world):
    key = world.put("many", flow.log_of(*(f"a/{i}" for i in range(10_000))))
    assert await world.handle(flow.announcing(key)) == Done()
    assert len(world.target.runs) == 1
    assert world.counters.events == 10_000


class Trickle:
    """A log file that sends something now and then, and never ends."""

    etag, size = "etag", 10**9

    async def __aiter__(self):
        while True:
            await asyncio.sleep(600)
            yield b" "


async def test_a_log_that_trickles_for_ever_is_given_up_and_tried_again(flow, world):
    world.logs.open = lambda _file: nullcontext(Trickle())
    began = asyncio.get_running_loop().time()
    verdict = await world.handle(flow.announcing(flow.log_key("a")))
    assert isinstance(verdict, Retry)
    assert "limits.read_seconds" in verdict.reason
    assert asyncio.get_running_loop().time() - began == pytest.approx(3600)
