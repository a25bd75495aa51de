"""What is said of a ledger that fails: at once, seldom, and when it is over."""

import asyncio

import pytest

from jibe_sqs.core.errors import LedgerError, QueueUnavailable
from jibe_sqs.telemetry import optional_ledger
from jibe_sqs.telemetry.optional_ledger import CALM, EVERY


@pytest.fixture
def writing():
    return optional_ledger.unwritable()


def fail(writing, reason="disk full"):
    with writing:
        raise LedgerError(reason)


def succeed(writing):
    with writing:
        pass


def told(events):
    return [(event["event"], event["failures"]) for event in events]


async def test_nothing_is_said_of_a_ledger_that_is_well(writing, events):
    succeed(writing)
    assert not events


async def test_only_the_ledgers_errors_are_forgiven(writing, events):
    with pytest.raises(QueueUnavailable), writing:
        raise QueueUnavailable("503")
    assert not events


async def test_the_first_failure_is_told_at_once_with_its_reason_and_what_follows(writing, events):
    fail(writing)
    (event,) = events
    assert (event["event"], event["log_level"], event["reason"]) == ("ledger_unwritable", "warning", "disk full")
    assert event["consequence"]


async def test_those_after_it_are_told_once_a_minute_and_counted(writing, events):
    for _ in range(int(EVERY) + 1):
        fail(writing)
        await asyncio.sleep(1)
    assert told(events) == [("ledger_unwritable", 1), ("ledger_unwritable", EVERY + 1)]


async def test_a_ledger_that_fails_by_turns_is_not_well_by_turns(writing, events):
    for _ in range(20):
        fail(writing)
        succeed(writing)
        await asyncio.sleep(1)
    assert told(events) == [("ledger_unwritable", 1)]


async def test_it_is_well_again_after_a_while_without_a_failure_and_that_is_told_once(writing, events):
    fail(writing)
    fail(writing)
    await asyncio.sleep(CALM)
    succeed(writing)
    succeed(writing)
    assert told(events) == [("ledger_unwritable", 1), ("ledger_writable", 2)]
    fail(writing)
    assert told(events)[2:] == [("ledger_unwritable", 1)]
