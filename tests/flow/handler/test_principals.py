"""The principals that changed or read objects are recorded once for each finished file."""

import gzip
import json

import pytest

from jibe_sqs.core.errors import (
    AccessAnywhereUnavailable,
)
from jibe_sqs.core.model import Actor, Done, Retry
from jibe_sqs.core.principals import Seen


def log_by(flow, *principals):
    text = json.loads(gzip.decompress(flow.log_of(*(f"a/{n}" for n in range(len(principals))))))
    for record, who in zip(text["Records"], principals, strict=True):
        record["userIdentity"] = {"arn": who}
    return gzip.compress(json.dumps(text).encode())


async def test_principals_are_recorded_once_for_each_finished_file(flow, world):
    key = world.put("a", log_by(flow, "ana", "bo", "ana"))
    world.target.errors["/data/a"] = [AccessAnywhereUnavailable("503")]
    body = flow.announcing(key)
    assert isinstance(await world.handle(body), Retry)
    assert await world.ledger.principals() == {}
    for _ in range(3):
        assert await world.handle(body) == Done()
    assert await world.ledger.principals() == {
        "ana": Seen(flow.EPOCH, flow.EPOCH, 2, actor=Actor("ana")),
        "bo": Seen(flow.EPOCH, flow.EPOCH, 1, actor=Actor("bo")),
    }


async def test_principals_are_not_counted_twice_if_the_ledger_could_not_finish_the_file(flow, world):
    """Once, principals were recorded before the file was finished."""
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


async def test_principals_of_events_in_the_body_are_recorded(flow, world):
    body = json.loads(flow.s3_event("a/b"))
    body["Records"][0]["userIdentity"] = {"principalId": "AWS:AIDA1"}
    assert await world.handle(json.dumps(body)) == Done()
    assert await world.ledger.principals() == {"AWS:AIDA1": Seen(flow.EPOCH, flow.EPOCH, 1, actor=Actor("AWS:AIDA1"))}


async def test_a_ledger_that_refuses_principals_is_only_a_warning(flow, world, events):
    world.ledger.refuses_principals = True
    key = world.put("a", log_by(flow, "ana"))
    assert await world.handle(flow.announcing(key)) == Done()
    assert world.ledger.finished == [(flow.LOG_BUCKET, key)]
    assert not world.counters.errors
    assert [event["log_level"] for event in events if event["event"] == "ledger_unwritable"] == ["warning"]


async def test_a_file_without_principals_writes_no_principals(flow, world, events):
    world.ledger.refuses_principals = True
    assert await world.handle(flow.announcing(world.put("a"))) == Done()
    assert not [event for event in events if event["event"] == "ledger_unwritable"]


async def test_readers_are_recorded_if_they_are_wanted(flow):
    """The sessions of a role are one principal. A read of another service, or without a bucket, counts for nobody."""
    world = flow.World(principals="readers")
    session = {
        "arn": "arn:aws:sts::111122223333:assumed-role/viewer/s1",
        "sessionContext": {"sessionIssuer": {"arn": "arn:aws:iam::111122223333:role/viewer"}},
    }
    world.put("a", reads_by(flow, session, {"arn": session["arn"] + "2"}, {"arn": "ana"}))
    assert await world.handle(flow.announcing(flow.log_key("a"))) == Done()
    seen = await world.ledger.principals()
    assert {who: (each.count, each.reads) for who, each in seen.items()} == {
        "arn:aws:iam::111122223333:role/viewer": (0, 2),
        "ana": (0, 1),
    }
    assert seen["ana"].first == seen["ana"].last == flow.EPOCH


@pytest.mark.parametrize(("wanted", "expected"), [("writers", {"ana"}), ("off", set())])
async def test_readers_are_not_recorded_otherwise(flow, wanted, expected):
    world = flow.World(principals=wanted)
    world.put("a", reads_by(flow, {"arn": "viewer"}))
    world.put("b", log_by(flow, "ana"))
    for name in "ab":
        assert await world.handle(flow.announcing(flow.log_key(name))) == Done()
    assert (await world.ledger.principals()).keys() == expected


def reads_by(flow, *identities):
    """A log file with a read of an object by each of the identities, and reads that concern no object."""
    text = json.loads(gzip.decompress(flow.log_of(*(f"a/{n}" for n in range(len(identities))), name="GetObject")))
    for record, identity in zip(text["Records"], identities, strict=True):
        record |= {"userIdentity": identity, "readOnly": True}
    other = text["Records"][0] | {"userIdentity": {"arn": "other"}}
    text["Records"] += [
        other | {"eventSource": "ec2.amazonaws.com", "eventName": "DescribeInstances"},
        other | {"eventName": "ListBuckets", "requestParameters": None},
    ]
    return gzip.compress(json.dumps(text).encode())
