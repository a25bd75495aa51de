"""A bucket that is not mapped is skipped only when it is certain that Access Anywhere does not show it."""

import asyncio
import gzip
import json
from ipaddress import ip_network

import pytest
from structlog.testing import capture_logs

from jibe_sqs.core.decisions import Decisions, OwnWrites, Place
from jibe_sqs.core.errors import (
    AccessAnywhereUnavailable,
)
from jibe_sqs.core.model import Done, Message, Retry
from jibe_sqs.core.sources import LogSource


class FakeBuckets:
    """The `Buckets` port. It records the questions; the test sets the `answer`."""

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


async def test_changes_in_a_bucket_that_is_not_shown_are_skipped_after_one_question(flow, world):
    buckets = asking(world)
    buckets.answer.set_result(False)
    key = world.put("a", flow.log_of("a/x", "b/y", bucket="elsewhere"))
    assert await world.handle(flow.announcing(key)) == Done()
    assert buckets.asked == [(["elsewhere"], flow.EPOCH)]
    assert world.logs.opens[key] == 1
    assert world.counters.skipped == {"not-mapped": 2}


async def test_if_all_buckets_are_mapped_there_is_no_question(flow, world):
    buckets = asking(world)
    assert await world.handle(flow.announcing(world.put("a"))) == Done()
    assert not buckets.asked


@pytest.mark.parametrize("through", ["a file", "the body"])
async def test_a_message_waits_until_it_is_certain_that_its_bucket_was_not_shown_at_its_newest_change(
    flow, world, through
):
    """Meanwhile, the other folders of the file are refreshed, and the place in the reading budget is left."""
    buckets = asking(world)
    strange = json.loads(flow.s3_event("a/x", bucket="strange", time="2026-01-01T00:00:07Z"))
    known = json.loads(flow.s3_event("b/x"))
    body = json.dumps({"Records": strange["Records"] + known["Records"]})
    if through == "a file":
        logs = [flow.log_of("a/x", bucket="strange", time="2026-01-01T00:00:07Z"), flow.log_of("b/x")]
        texts = [json.loads(gzip.decompress(log)) for log in logs]
        records = texts[0]["Records"] + texts[1]["Records"]
        body = flow.announcing(world.put("a", gzip.compress(json.dumps({"Records": records}).encode())))
    place = flow.WatchedInHand()
    message = Message("id", "receipt", body.encode())
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
async def test_a_message_is_retried_if_its_bucket_appeared_after_reading_or_if_the_question_fails(flow, world, answer):
    buckets = asking(world)
    (buckets.answer.set_result if answer is True else buckets.answer.set_exception)(answer)
    verdict = await world.handle(flow.announcing(world.put("a", flow.log_of("a/x", bucket="strange"))))
    assert isinstance(verdict, Retry)
    assert ("strange" if answer is True else "503") in verdict.reason
    assert not world.ledger.finished


async def test_a_message_with_a_failed_refresh_does_not_ask_about_buckets(flow, world):
    buckets = asking(world)
    records = [json.loads(flow.s3_event("x/y", bucket=bucket))["Records"][0] for bucket in ("strange", "data")]
    world.target.errors["/data/x"] = [AccessAnywhereUnavailable("503")]
    assert isinstance(await world.handle(json.dumps({"Records": records})), Retry)
    assert not buckets.asked


async def test_a_bucket_that_is_not_mapped_is_warned_of_when_that_is_certain(flow, world):
    buckets = asking(world)
    body = flow.announcing(world.put("a", flow.log_of("a/x", "b/y", bucket="strange")))
    with capture_logs() as events:
        handling = asyncio.create_task(world.handle(body))
        await flow.until(lambda: buckets.asked)
        assert not named(events, "bucket_not_mapped")
        buckets.answer.set_result(False)
        await handling
    [event] = named(events, "bucket_not_mapped")
    assert (event["bucket"], event["count"], event["key"]) == ("strange", 2, "a/x")
    assert world.engine.skip_warnings.unmapped["strange"].count == 2


async def test_a_bucket_that_has_just_appeared_is_not_warned_of(flow, world):
    asking(world).answer.set_result(True)
    with capture_logs() as events:
        await world.handle(flow.announcing(world.put("a", flow.log_of("a/x", bucket="strange"))))
    assert not named(events, "bucket_not_mapped")


async def test_the_configured_log_bucket_is_not_warned_of(flow):
    """A trail that logs every bucket also logs the delivery of its own files."""
    world = flow.World(sources=[LogSource(flow.LOG_BUCKET)], decisions=Decisions({"data": (Place("/data"),)}))
    with capture_logs() as events:
        await world.handle(flow.announcing(world.put("a", flow.log_of("a/x", bucket=flow.LOG_BUCKET))))
    assert world.counters.skipped == {"not-mapped": 1}
    assert not named(events, "bucket_not_mapped")


@pytest.mark.parametrize("through", ["a file", "the body"])
async def test_the_first_own_write_of_a_rule_is_warned_of(flow, through):
    own = OwnWrites(source_addresses=(ip_network("0.0.0.0/0"),), user_agents=("*",), principals=("*",))
    world = flow.World(decisions=Decisions(own=own))
    record = json.loads(gzip.decompress(flow.log_of("a/x")))["Records"][0]
    record["userIdentity"] = {"type": "IAMUser", "arn": "arn:aws:iam::111122223333:user/ann"}
    body = flow.announcing(world.put("a", gzip.compress(json.dumps({"Records": [record]}).encode())))
    if through == "the body":
        event = json.loads(flow.s3_event("a/x"))
        event["Records"][0]["userIdentity"] = {"principalId": "arn:aws:iam::111122223333:user/ann"}
        body = json.dumps(event)
    with capture_logs() as events:
        for _ in range(2):
            assert await world.handle(body) == Done()
    [event] = named(events, "own_write_skipped")
    assert event["rule"] == "own_writes.principals: *"
    assert (event["bucket"], event["key"]) == ("data", "a/x")
    assert event["principal"] == "arn:aws:iam::111122223333:user/ann"


def named(events, name):
    return [event for event in events if event["event"] == name]
