"""One message's story: DONE only when everything that it announced is read, refreshed and remembered."""

import asyncio
import gzip
import hashlib
import json
from collections import Counter
from contextlib import nullcontext

import pytest
from backports import zstd

from jibe_sqs.core import decisions
from jibe_sqs.core.decisions import Place, Seen
from jibe_sqs.core.errors import (
    AccessAnywhereUnavailable,
    AnnouncementForged,
    BucketNotAllowed,
    DigestInvalid,
    DigestMissing,
    KeysUnavailable,
    LogStoreUnavailable,
    LogTampered,
    SignatureUnavailable,
)
from jibe_sqs.core.formats.format import Format
from jibe_sqs.core.formats.limits import Limits
from jibe_sqs.core.model import Done, Folder, LogFile, Message, Reject, Retry
from jibe_sqs.core.sources import LogSource
from jibe_sqs.core.verdicts import RetryPolicy
from jibe_sqs.testing import InMemoryEventTarget


@pytest.fixture
def world(flow):
    return flow.World(retry=RetryPolicy(max_receives=5))


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


# A file that is announced twice at once


async def in_hand(flow, world, body):
    """A task that handles it, and has its file open."""
    opened = world.logs.opens.total()
    handling = asyncio.create_task(world.handle(body))
    await flow.until(lambda: world.logs.opens.total() > opened)
    return handling


async def test_a_file_announced_by_two_messages_at_once_is_opened_once_and_both_are_done(flow, world):
    """Swept and announced, or announced by CloudTrail and by S3."""
    world.logs.delay = 10.0
    world.target.takes = 60.0
    key = world.put("a")
    first = await in_hand(flow, world, flow.announcing(key))
    second = asyncio.create_task(world.handle(flow.s3_event(key, bucket=flow.LOG_BUCKET)))
    await asyncio.sleep(30)
    assert not second.done()  # read, but not refreshed
    assert await asyncio.gather(first, second) == [Done(), Done()]
    assert world.logs.opens[key] == 1
    assert len(world.target.runs) == 1
    assert (world.counters.files, world.counters.files_known, world.counters.events) == (1, 1, 1)
    assert not world.handler._in_hand


async def test_a_message_that_names_a_file_twice_has_it_read_once(flow, world):
    key = world.put("a")
    assert await world.handle(flow.announcing(key, key)) == Done()
    assert world.logs.opens[key] == 1


async def test_two_messages_that_name_two_files_crosswise_are_both_done(flow, world):
    world.logs.delay = 10.0
    one, two = world.put("one"), world.put("two")
    first = await in_hand(flow, world, flow.announcing(one, two))
    assert await world.handle(flow.announcing(two, one)) == Done()
    assert await first == Done()
    assert world.logs.opens == {one: 1, two: 1}


@pytest.mark.parametrize("when", ["while it is read", "while it is refreshed"])
async def test_if_the_first_is_given_up_the_second_is_tried_again_and_not_lost(flow, world, when):
    world.logs.delay = 10.0
    world.target.held = {"/data/a"}
    body = flow.announcing(world.put("a"))
    first = await in_hand(flow, world, body)
    if when == "while it is refreshed":
        await flow.until(lambda: world.target.runs)
    second = asyncio.create_task(world.handle(body))
    await flow.settled()
    first.cancel()
    await asyncio.wait([first])
    assert first.cancelled()
    verdict = await second
    assert isinstance(verdict, Retry)
    assert "another message" in verdict.reason
    assert not world.ledger.finished
    world.target.release()
    assert await world.handle(body, receive_count=2) == Done()
    assert not world.handler._in_hand


async def test_a_defect_in_the_first_leaves_the_second_to_be_tried_again(flow, world):
    world.logs.delay = 10.0
    key = world.put("a")
    world.logs.errors[key] = ZeroDivisionError("a bug")
    first = await in_hand(flow, world, flow.announcing(key))
    second = asyncio.create_task(world.handle(flow.announcing(key)))
    with pytest.raises(ZeroDivisionError):
        await first
    assert isinstance(await second, Retry)


@pytest.mark.parametrize("where", ["in the file", "in its refresh"])
async def test_an_error_reaches_both(flow, world, where):
    world.logs.delay = 10.0
    key = world.put("a")
    if where == "in the file":
        world.logs.errors[key] = LogStoreUnavailable("503")
    else:
        world.target.errors["/data/a"] = [AccessAnywhereUnavailable("503")]
    first = await in_hand(flow, world, flow.announcing(key))
    verdicts = await asyncio.gather(first, world.handle(flow.announcing(key)))
    assert [(type(verdict), verdict.reason[-3:]) for verdict in verdicts] == [(Retry, "503")] * 2
    assert world.logs.opens[key] == 1


def told_of_version(flow, key, version):
    body = json.loads(flow.s3_event(key, bucket=flow.LOG_BUCKET))
    body["Records"][0]["s3"]["object"]["versionId"] = version
    return json.dumps(body)


async def test_a_version_other_than_the_one_that_was_finished_is_tried_again(flow, world):
    world.logs.delay = 10.0
    key = world.put("a")
    first = await in_hand(flow, world, told_of_version(flow, key, "v1"))
    same = asyncio.create_task(world.handle(told_of_version(flow, key, "v1")))
    verdict = await world.handle(told_of_version(flow, key, "v2"))
    assert isinstance(verdict, Retry)
    assert await asyncio.gather(first, same) == [Done(), Done()]
    assert await world.handle(told_of_version(flow, key, "v2"), receive_count=2) == Done()
    assert world.logs.opens[key] == 2


async def test_what_is_wrong_with_one_version_for_good_is_not_said_of_another(flow, verified):
    """Who mends a file puts a new version in its place, while the old one may be in hand."""
    verified.logs.delay = 10.0
    key = verified.put("a")
    verified.verifier.errors[key] = [LogTampered("changed")]
    first = await in_hand(flow, verified, told_of_version(flow, key, "v1"))
    mended = await verified.handle(told_of_version(flow, key, "v2"))
    assert isinstance(await first, Reject)
    assert isinstance(mended, Retry)
    assert await verified.handle(told_of_version(flow, key, "v2"), receive_count=2) == Done()


async def test_reading_is_over_once_every_file_is_read_or_waited_for(flow, world):
    world.logs.delay = 10.0
    world.target.held = {"/data/a", "/data/b"}
    a, b = world.put("a"), world.put("b")
    first = await in_hand(flow, world, flow.announcing(a))
    await asyncio.sleep(5)
    reading, waiting = flow.WatchedPlace(), flow.WatchedPlace()
    message = Message("id", "receipt", flow.announcing(a, b))
    second = asyncio.create_task(world.handler.handle(message, world.policy, reading))
    message = Message("id", "receipt", flow.announcing(a))
    third = asyncio.create_task(world.handler.handle(message, world.policy, waiting))
    await asyncio.sleep(100)
    # The third message reads nothing; the second reads only the file that no other message has in hand.
    assert (waiting.left, reading.left) == ([5.0], [15.0])
    world.target.release()
    assert await asyncio.gather(first, second, third) == [Done()] * 3


# Buckets that turn out to be shown


class FakeBuckets:
    """The `Buckets` port: what it is asked, and an answer that may be waited for."""

    def __init__(self):
        self.asked = []
        self.answer = asyncio.get_running_loop().create_future()

    async def appeared(self, unknown, latest):
        self.asked.append((sorted(unknown), latest))
        return await self.answer


def asking(world):
    world.handler._reading._decisions.places = {"data": [Place("/data")]}
    world.handler._buckets = FakeBuckets()
    return world.handler._buckets


async def test_a_bucket_that_is_shown_nowhere_is_asked_for_once_and_skipped(flow, world):
    buckets = asking(world)
    buckets.answer.set_result(False)
    key = world.put("a", flow.log_of("a/x", "b/y", bucket="elsewhere"))
    assert await world.handle(flow.announcing(key)) == Done()
    assert buckets.asked == [(["elsewhere"], flow.EPOCH)]
    assert world.logs.opens[key] == 1
    assert world.counters.skipped == {"not-mapped": 2}


async def test_where_all_buckets_are_known_nobody_is_asked(flow, world):
    buckets = asking(world)
    assert await world.handle(flow.announcing(world.put("a"))) == Done()
    assert not buckets.asked


@pytest.mark.parametrize("through", ["a file", "the body"])
async def test_a_bucket_is_shown_nowhere_only_once_that_is_certain_of_its_newest_change(flow, world, through):
    """Meanwhile nothing else waits: not the folders of the same file, and no reader's place."""
    buckets = asking(world)
    strange = json.loads(flow.s3_event("a/x", bucket="strange", time="2026-01-01T00:00:07Z"))
    known = json.loads(flow.s3_event("b/x"))
    body = json.dumps({"Records": strange["Records"] + known["Records"]})
    if through == "a file":
        logs = [flow.log_of("a/x", bucket="strange", time="2026-01-01T00:00:07Z"), flow.log_of("b/x")]
        texts = [json.loads(gzip.decompress(log)) for log in logs]
        records = texts[0]["Records"] + texts[1]["Records"]
        body = flow.announcing(world.put("a", gzip.compress(json.dumps({"Records": records}).encode())))
    place = flow.WatchedPlace()
    message = Message("id", "receipt", body)
    handling = asyncio.create_task(world.handler.handle(message, world.policy, place))
    await flow.until(lambda: buckets.asked)
    assert len(place.left) == 1
    assert [run.folder.path for run in world.target.runs] == ["/data/b"]
    assert buckets.asked == [(["strange"], flow.EPOCH + 7)]
    assert not handling.done()
    assert not world.ledger.finished
    buckets.answer.set_result(False)
    assert await handling == Done()
    assert len(world.ledger.finished) == (through == "a file")


@pytest.mark.parametrize("answer", [True, AccessAnywhereUnavailable("503")])
async def test_a_bucket_that_appears_after_reading_or_may_have_is_tried_again(flow, world, answer):
    buckets = asking(world)
    (buckets.answer.set_result if answer is True else buckets.answer.set_exception)(answer)
    verdict = await world.handle(flow.announcing(world.put("a", flow.log_of("a/x", bucket="strange"))))
    assert isinstance(verdict, Retry)
    assert ("strange" if answer is True else "503") in verdict.reason
    assert not world.ledger.finished


async def test_what_fails_in_any_case_does_not_wait_for_certainty(flow, world):
    buckets = asking(world)
    records = [json.loads(flow.s3_event("x/y", bucket=bucket))["Records"][0] for bucket in ("strange", "data")]
    world.target.errors["/data/x"] = [AccessAnywhereUnavailable("503")]
    assert isinstance(await world.handle(json.dumps({"Records": records})), Retry)
    assert not buckets.asked


# Told object by object


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


# Every format


def audit_line(key="a/b.txt", **api):
    inside = {"name": "PutObject", "bucket": "data", "object": key, "statusCode": 200, **api}
    return json.dumps({"time": "2026-01-01T00:00:00Z", "api": inside, "parentUser": "ana"}).encode() + b"\n"


def access_line(key="a/b.txt"):
    who = f"0wner data [01/Jan/2026:00:00:00 +0000] 192.0.2.1 ana R-{key} REST.PUT.OBJECT {key}"
    return f'{who} "PUT /x HTTP/1.1" 200 - - 5 40 7 "-" "cli/1" - h= SigV4 c AuthHeader host TLSv1.3\n'.encode()


LYVE = "S3-data-2026-01-01-00-05-00.gz"
ACCESS = "2026-01-01-00-05-00-0123456789ABCDEF"


@pytest.mark.parametrize("compress", [gzip.compress, zstd.compress, bytes], ids=["gzip", "zstd", "plain"])
@pytest.mark.parametrize(("key", "text"), [(LYVE, audit_line()), (ACCESS, access_line())], ids=["audit", "access"])
async def test_a_log_of_any_format_is_read_refreshed_and_remembered(flow, world, key, text, compress):
    world.logs.objects[flow.LOG_BUCKET, key] = compress(text)
    assert await world.handle(flow.s3_event(key, bucket=flow.LOG_BUCKET)) == Done()
    assert [run.folder for run in world.target.runs] == [Folder("/data/a")]
    assert world.ledger.finished == [(flow.LOG_BUCKET, key)]
    assert set(await world.ledger.principals()) == {"ana"}


async def test_log_files_and_events_of_one_message_are_all_done(flow, world):
    records = [json.loads(flow.s3_event(key, bucket=bucket))["Records"][0] for key, bucket in
               (("x/1", "data"), (LYVE, flow.LOG_BUCKET), ("y/2", "data"))]  # fmt: skip
    world.logs.objects[flow.LOG_BUCKET, LYVE] = audit_line("z/3")
    assert await world.handle(json.dumps({"Records": records})) == Done()
    assert sorted(run.folder.path for run in world.target.runs) == ["/data/x", "/data/y", "/data/z"]


async def test_an_event_of_eventbridge_needs_no_file(flow, world):
    detail = {"version": "0", "bucket": {"name": "data"}, "object": {"key": "a/b c+"}, "requester": "111122223333"}
    event = {"source": "aws.s3", "detail-type": "Object Deleted", "time": "2026-01-01T00:00:00Z", "detail": detail}
    assert await world.handle(json.dumps(event)) == Done()
    assert [run.folder.path for run in world.target.runs] == ["/data/a"]
    assert not world.logs.opens


# What the operator says of the source


async def test_a_sources_format_tells_what_names_do_not(flow):
    world = flow.World(sources=[LogSource(flow.LOG_BUCKET, "audit/", Format.AUDIT_LOG)])
    # By its first bytes it would be an access log.
    world.logs.objects[flow.LOG_BUCKET, "audit/odd"] = access_line("by-bytes/x") + audit_line("by-setting/x")
    assert await world.handle(flow.announcing("audit/odd")) == Done()
    assert world.counters.bad_records == 1
    assert [run.folder.path for run in world.target.runs] == ["/data/by-setting"]


async def test_each_source_has_its_own_way_with_bad_records(flow):
    world = flow.World(
        sources=[LogSource(flow.LOG_BUCKET, "strict/", on_bad_record="reject"), LogSource(flow.LOG_BUCKET, "lax/")],
        retry=RetryPolicy(max_receives=5),
    )
    for prefix in ("strict/", "lax/"):
        world.logs.objects[flow.LOG_BUCKET, prefix + LYVE] = audit_line() + b"no line\n"
    assert await world.handle(flow.announcing("lax/" + LYVE)) == Done()
    verdict = await world.handle(flow.announcing("strict/" + LYVE))
    assert isinstance(verdict, Reject)
    assert verdict.error == "RecordMalformed"
    assert [run.folder.path for run in world.target.runs] == ["/data/a"] * len(world.target.runs)
    assert world.ledger.finished == [(flow.LOG_BUCKET, "lax/" + LYVE)]


async def test_the_limits_are_the_operators(flow):
    world = flow.World(limits=Limits(records=2))
    body = flow.announcing(
        world.put("two", flow.log_of("a/1", "a/2")), world.put("three", flow.log_of("b/1", "b/2", "b/3"))
    )
    verdict = await world.handle(body)
    assert isinstance(verdict, Reject)
    assert verdict.error == "LogLimitExceeded"
    assert [run.folder.path for run in world.target.runs] == ["/data/a"]


@pytest.mark.parametrize("key", ["trail/x", LYVE])
async def test_a_file_of_a_bucket_that_is_no_log_source_is_refused_and_never_fetched(flow, key):
    """Whoever can write to the queue does not choose which files are read."""
    world = flow.World(sources=[LogSource(flow.LOG_BUCKET, "trail/")])
    world.logs.objects["evil", key] = flow.log_of("a/file")
    verdict = await world.handle(flow.announcing(key, bucket="evil"))
    assert isinstance(verdict, Reject)
    assert verdict.error == "BucketNotAllowed"
    assert f"s3://evil/{key}" in verdict.reason
    assert not world.logs.opens
    assert not world.target.runs


@pytest.mark.parametrize("key", ["elsewhere/x", "trail", LYVE, "AWSLogs/111122223333/Config/x.json.gz", "trail/"])
async def test_other_files_of_a_log_bucket_are_nothing_to_do_and_never_fetched(flow, key):
    """Several services share one log bucket, and its notifications announce all that they write."""
    world = flow.World(sources=[LogSource(flow.LOG_BUCKET, "trail/")])
    world.logs.objects[flow.LOG_BUCKET, key] = flow.log_of("a/file")
    assert await world.handle(flow.announcing(key)) == Done()
    assert not world.logs.opens
    assert world.counters.nothing.total() == 1


def s3_events(flow, *keys):
    """An S3 event with a record for each key."""
    records = [json.loads(flow.s3_event(key))["Records"][0] for key in keys]
    return json.dumps({"Records": records})


async def test_a_record_that_cannot_be_read_costs_the_others_nothing(flow, world):
    verdict = await world.handle(s3_events(flow, "caf%E9/a", "good/b", ""))
    assert isinstance(verdict, Reject)
    assert (verdict.error, verdict.source) == ("AnnouncementMalformed", "message")
    assert "record 0 of the S3 event: s3.object.key 'caf%E9/a' is not percent-encoded UTF-8" in verdict.reason
    assert "record 2 of the S3 event has no s3.object.key" in verdict.reason
    # A write without a readable key makes all of its bucket stale.
    assert {run.folder for run in world.target.runs} == {Folder("/data/good"), Folder("/data", tree=True)}
    assert world.counters.errors == {"AnnouncementMalformed": 1}


async def test_a_message_with_an_unreadable_record_is_a_dead_letter_only_when_all_else_is_done(flow, world):
    world.target.errors["/data/good"] = [AccessAnywhereUnavailable("503")]
    body = s3_events(flow, "good/b", "caf%E9")
    assert isinstance(await world.handle(body), Retry)
    verdict = await world.handle(body, receive_count=2)
    assert isinstance(verdict, Reject)
    assert verdict.error == "AnnouncementMalformed"
    assert world.counters.errors["AccessAnywhereUnavailable"] == 1


async def test_a_log_file_beside_an_unreadable_key_is_read_and_remembered(flow, world):
    key = world.put("good")
    body = json.dumps({"s3Bucket": flow.LOG_BUCKET, "s3ObjectKey": [key, 7]})
    verdict = await world.handle(body)
    assert isinstance(verdict, Reject)
    assert "s3ObjectKey.1 is not a key: 7" in verdict.reason
    assert [run.folder.path for run in world.target.runs] == ["/data/good"]
    assert world.ledger.finished == [(flow.LOG_BUCKET, key)]


async def test_an_event_without_a_readable_time_is_never_already_refreshed(flow, world):
    await asyncio.sleep(1000)
    assert await world.handle(flow.s3_event("a/file", time="2026-01-01T00:00:00Z")) == Done()
    for _ in range(2):
        assert await world.handle(flow.s3_event("a/file", time="soon")) == Done()
    assert [run.folder.path for run in world.target.runs] == ["/data/a"] * 3


# Verification

VERIFIED = LogSource("trail-logs", "AWSLogs/", verify=True)
PLAIN = LogSource("trail-logs", "other/")
WAITING = RetryPolicy(first=10, longest=700, max_receives=5)


@pytest.fixture
def verified(flow):
    """A world whose trail is held against its digests, and another source's files are not."""
    verifier = flow.FakeVerifier()
    world = flow.World(sources=[VERIFIED, PLAIN], verifiers={VERIFIED: verifier}, retry=WAITING)
    world.verifier = verifier
    return world


@pytest.mark.parametrize("compress", [gzip.compress, zstd.compress, bytes], ids=["gzip", "zstd", "plain"])
async def test_a_file_is_verified_by_the_hash_of_its_text_before_anything_is_refreshed(flow, verified, compress):
    text = gzip.decompress(flow.log_of("a/file"))
    key = verified.put("a", compress(text))
    refreshed = []
    verified.verifier.when = lambda file: refreshed.append(len(verified.target.runs))
    assert await verified.handle(flow.announcing(key)) == Done()
    assert verified.verifier.asked == [(LogFile(flow.LOG_BUCKET, key), hashlib.sha256(text).hexdigest())]
    assert refreshed == [0]
    assert len(verified.target.runs) == 1
    assert await verified.handle(flow.announcing(key)) == Done()
    assert len(verified.verifier.asked) == 1  # known: nothing to verify


async def test_a_file_that_asks_for_nothing_is_verified_too(flow, verified):
    """Who took the records out of it would else have taken them out of sight."""
    key = verified.put("a", flow.log_of())
    verified.verifier.errors[key] = [LogTampered("changed")]
    assert isinstance(await verified.handle(flow.announcing(key)), Reject)


async def test_files_of_a_source_that_is_not_verified_are_not(flow, verified):
    verified.logs.objects[flow.LOG_BUCKET, "other/x"] = flow.log_of("a/file")
    assert await verified.handle(flow.announcing("other/x")) == Done()
    assert not verified.verifier.asked


@pytest.mark.parametrize(
    "error", [LogTampered("changed"), DigestInvalid("forged", fault="signature")], ids=["log", "digest"]
)
async def test_a_file_that_was_tampered_with_is_rejected_and_nothing_refreshed(flow, verified, error):
    key = verified.put("a")
    verified.verifier.errors[key] = [error]
    verdict = await verified.handle(flow.announcing(key))
    assert isinstance(verdict, Reject)
    assert verdict.error == type(error).__name__
    assert not verified.target.runs
    assert not verified.ledger.finished
    assert await verified.ledger.principals() == {}
    assert (verified.counters.files, verified.counters.events) == (0, 0)
    assert verified.counters.errors == {type(error).__name__: 1}


async def test_a_file_whose_digest_is_not_there_yet_waits_the_longest_and_is_done_when_it_comes(flow, verified):
    key = verified.put("a")
    verified.verifier.errors[key] = [DigestMissing("not yet")] * 2
    for receive_count in (1, 2):
        verdict = await verified.handle(flow.announcing(key), receive_count=receive_count)
        assert verdict == Retry(WAITING.longest, "DigestMissing: not yet")
        assert not verified.target.runs
    assert await verified.handle(flow.announcing(key), receive_count=3) == Done()
    assert [run.folder.path for run in verified.target.runs] == ["/data/a"]


async def test_keys_that_cannot_be_had_are_asked_for_again_soon(flow, verified):
    key = verified.put("a")
    verified.verifier.errors[key] = [KeysUnavailable("503")]
    assert await verified.handle(flow.announcing(key)) == Retry(WAITING.first, "KeysUnavailable: 503")
    assert not verified.target.runs


async def test_one_tampered_file_of_two_keeps_the_other_from_nothing(flow, verified):
    good, bad = verified.put("good"), verified.put("bad")
    verified.verifier.errors[bad] = [LogTampered("changed")]
    assert isinstance(await verified.handle(flow.announcing(good, bad)), Reject)
    assert [run.folder.path for run in verified.target.runs] == ["/data/good"]
    assert verified.ledger.finished == [(flow.LOG_BUCKET, good)]


async def test_a_file_that_ends_in_the_middle_is_not_held_against_anything(flow, verified):
    key = verified.put("a", flow.log_of("a/file")[:-10])
    assert isinstance(await verified.handle(flow.announcing(key)), Retry)
    assert not verified.verifier.asked


# Bad records

CANARY = "SECRET-CANARY"
HEADER = {"Authorization": f"AWS4-HMAC-SHA256 Signature={CANARY}", "X-Amz-Security-Token": CANARY}
WITH_SECRETS = [
    json.dumps({"api": {"name": "PutObject", "object": "a"}, "requestHeader": HEADER}),
    json.dumps({"api": {"name": "PutObject", "bucket": [CANARY], "object": "a"}, "requestHeader": HEADER}),
    json.dumps({"requestHeader": HEADER}),
    json.dumps({"requestHeader": HEADER})[:-3],
    json.dumps({"api": [CANARY], "requestHeader": HEADER}),
]


async def test_bad_records_that_are_skipped_are_counted_and_the_first_few_are_told(flow, world, events):
    lines = [audit_line(), *(f"{line}\n".encode() for line in WITH_SECRETS * 3), audit_line("c/d")]
    world.logs.objects[flow.LOG_BUCKET, LYVE] = b"".join(lines)
    assert await world.handle(flow.announcing(LYVE)) == Done()
    assert (world.counters.bad_records, world.counters.records, world.counters.files) == (15, 2, 1)
    assert world.counters.as_dict()["bad_records"] == 15
    (told,) = [event for event in events if event["event"] == "bad_records_skipped"]
    assert (told["log_level"], told["bucket"], told["key"]) == ("warning", flow.LOG_BUCKET, LYVE)
    assert (told["format"], told["count"], len(told["first"])) == ("audit-log", 15, 5)
    assert told["first"][0]["offset"] == len(lines[0])
    assert all(each["reason"].startswith("line ") and len(each["reason"]) < 200 for each in told["first"])
    json.dumps(told)
    assert CANARY not in str(events)


async def test_an_access_logs_bad_lines_tell_no_signature(flow, world, events):
    """A request's address may be a presigned one."""
    presigned = f"GET /data/a?X-Amz-Signature={CANARY} HTTP/1.1"
    bad = [access_line().replace(b"PUT /x HTTP/1.1", presigned.encode()).replace(b" data ", b" - ")]
    bad.append(f'"{presigned}" 200\n'.encode())
    world.logs.objects[flow.LOG_BUCKET, ACCESS] = b"".join([access_line(), *bad])
    assert await world.handle(flow.announcing(ACCESS)) == Done()
    assert world.counters.bad_records == 2
    assert CANARY not in str(events)


async def test_a_file_without_bad_records_tells_of_none(flow, world, events):
    assert await world.handle(flow.announcing(world.put("a"))) == Done()
    assert not [event for event in events if event["event"] == "bad_records_skipped"]


def with_bad_record(flow, *keys):
    """A CloudTrail log in which the record of each key starting with `?` does not say of which bucket it is."""
    text = json.loads(gzip.decompress(flow.log_of(*keys)))
    for record in text["Records"]:
        if record["requestParameters"]["key"].startswith("?"):
            record["requestParameters"] = {"omitted": True, "reasonCode": "FIELD_SIZE_EXCEEDED"}
    return gzip.compress(json.dumps(text, separators=(",", ":")).encode())


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


async def test_a_message_that_was_rejected_for_a_bad_record_has_its_file_read_again_when_it_is_redriven(flow, world):
    key = world.put("bad", with_bad_record(flow, "a/1", "?"))
    for _ in range(2):
        assert isinstance(await world.handle(flow.announcing(key)), Reject)
        assert not world.ledger.finished
    assert world.logs.opens.total() == 2
    world.put("bad", flow.log_of("a/1", "b/2"))
    assert await world.handle(flow.announcing(key), receive_count=6) == Done()
    assert "/data/b" in [run.folder.path for run in world.target.runs]


async def test_a_message_is_tried_again_while_something_may_pass_and_rejected_for_its_bad_record_after_that(
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


async def test_a_refresh_that_fails_is_tried_again_before_a_bad_record_rejects_the_message(flow, world):
    world.target.errors["/data/a"] = [AccessAnywhereUnavailable("503")]
    body = flow.announcing(world.put("bad", with_bad_record(flow, "a/1", "?")))
    assert isinstance(await world.handle(body), Retry)
    assert isinstance(await world.handle(body, receive_count=2), Reject)
    assert [run.folder.path for run in world.target.runs][-1] == "/data/a"


async def test_a_file_with_a_bad_record_that_is_in_hand_twice_rejects_both_messages(flow, world):
    body = flow.announcing(world.put("bad", with_bad_record(flow, "a/1", "?")))
    verdicts = await asyncio.gather(world.handle(body), world.handle(body))
    assert [type(verdict) for verdict in verdicts] == [Reject, Reject]
    assert world.logs.opens.total() == 1


async def test_bad_records_of_a_source_that_skips_them_finish_the_file(flow):
    world = flow.World(sources=[LogSource(flow.LOG_BUCKET, on_bad_record="skip")])
    key = world.put("bad", with_bad_record(flow, "a/1", "?"))
    assert await world.handle(flow.announcing(key)) == Done()
    assert world.ledger.finished == [(flow.LOG_BUCKET, key)]


async def test_a_write_whose_time_cannot_be_read_is_refreshed_however_lately_its_folder_was(flow, world):
    key = world.put("a")
    assert await world.handle(flow.announcing(key)) == Done()
    text = json.loads(gzip.decompress(flow.log_of("a/file")))
    text["Records"][0]["eventTime"] = None
    text["Records"][0]["userIdentity"] = {"arn": "ana"}
    other = world.put("b", gzip.compress(json.dumps(text).encode()))
    assert await world.handle(flow.announcing(other)) == Done()
    assert [run.folder.path for run in world.target.runs] == ["/data/a"] * 2


async def test_a_write_whose_key_cannot_be_read_refreshes_all_of_its_bucket(flow, world):
    text = json.loads(gzip.decompress(flow.log_of("a/file")))
    text["Records"][0]["requestParameters"]["key"] = None
    assert await world.handle(flow.announcing(world.put("b", gzip.compress(json.dumps(text).encode())))) == Done()
    assert [run.folder for run in world.target.runs] == [Folder("/data", tree=True)]


# Who changed things


def log_by(flow, *principals):
    text = json.loads(gzip.decompress(flow.log_of(*(f"a/{n}" for n in range(len(principals))))))
    for record, who in zip(text["Records"], principals, strict=True):
        record["userIdentity"] = {"arn": who}
    return gzip.compress(json.dumps(text).encode())


async def test_who_changed_things_is_remembered_once_for_each_finished_file(flow, world):
    key = world.put("a", log_by(flow, "ana", "bo", "ana"))
    world.target.errors["/data/a"] = [AccessAnywhereUnavailable("503")]
    body = flow.announcing(key)
    assert isinstance(await world.handle(body), Retry)
    assert await world.ledger.principals() == {}
    for _ in range(3):
        assert await world.handle(body) == Done()
    assert await world.ledger.principals() == {
        "ana": Seen(flow.EPOCH, flow.EPOCH, 2),
        "bo": Seen(flow.EPOCH, flow.EPOCH, 1),
    }


async def test_who_changed_things_is_not_counted_twice_where_the_file_could_not_be_finished(flow, world):
    """Found by this test: it was remembered before the file was."""
    key = world.put("a", log_by(flow, "ana"))
    finish = world.ledger.finish

    async def failing(file, etag):
        world.ledger.finish = finish
        world.ledger.unwritable = True
        try:
            await finish(file, etag)
        finally:
            world.ledger.unwritable = False

    world.ledger.finish = failing
    assert await world.handle(flow.announcing(key)) == Done()
    assert await world.handle(flow.announcing(key)) == Done()
    assert (await world.ledger.principals())["ana"].count == 1


async def test_who_changed_things_is_remembered_of_events_in_the_body(flow, world):
    body = json.loads(flow.s3_event("a/b"))
    body["Records"][0]["userIdentity"] = {"principalId": "AWS:AIDA1"}
    assert await world.handle(json.dumps(body)) == Done()
    assert await world.ledger.principals() == {"AWS:AIDA1": Seen(flow.EPOCH, flow.EPOCH, 1)}


async def test_a_ledger_that_cannot_remember_who_changed_things_is_only_a_warning(flow, world, events):
    world.ledger.refuses_principals = True
    key = world.put("a", log_by(flow, "ana"))
    assert await world.handle(flow.announcing(key)) == Done()
    assert world.ledger.finished == [(flow.LOG_BUCKET, key)]
    assert not world.counters.errors
    assert [event["log_level"] for event in events if event["event"] == "ledger_unwritable"] == ["warning"]


async def test_a_file_of_which_nobody_is_known_writes_nothing_of_anybody(flow, world, events):
    world.ledger.refuses_principals = True
    assert await world.handle(flow.announcing(world.put("a"))) == Done()
    assert not [event for event in events if event["event"] == "ledger_unwritable"]


# Signatures, and time


class Forgeries:
    """Refuses every body but the good ones."""

    def __init__(self, error=None):
        self.error = error
        self.checked = []

    async def check(self, body):
        self.checked.append(body)
        if self.error:
            raise self.error


async def test_what_sns_did_not_sign_is_rejected_before_it_is_read(flow):
    world = flow.World(signatures=Forgeries(AnnouncementForged("not SNS's")))
    verdict = await world.handle(flow.announcing(world.put("a")))
    assert isinstance(verdict, Reject)
    assert (verdict.error, verdict.source) == ("AnnouncementForged", "message")
    assert not world.logs.opens


async def test_a_message_waits_while_its_signature_cannot_be_checked(flow):
    world = flow.World(signatures=Forgeries(SignatureUnavailable("no certificate")))
    verdict = await world.handle(flow.announcing(world.put("a")))
    assert isinstance(verdict, Retry)
    assert "SignatureUnavailable" in verdict.reason
    assert not world.logs.opens


async def test_what_sns_signed_is_done(flow):
    signatures = Forgeries()
    world = flow.World(signatures=signatures)
    body = flow.announcing(world.put("a"))
    assert await world.handle(body) == Done()
    assert signatures.checked == [body]


async def test_what_a_sweep_found_needs_no_signature(flow):
    world = flow.World(signatures=Forgeries(AnnouncementForged("not SNS's")))
    body = json.dumps({"swept": {"bucket": flow.LOG_BUCKET, "key": world.put("a")}})
    message = Message("id", "receipt", body, ours=True)
    assert await world.handler.handle(message, world.policy, flow.WatchedPlace()) == Done()


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
