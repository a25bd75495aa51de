"""A ledger whose failures do not stop the work: what it answers then, and what is logged."""

import asyncio

import pytest

from jibe_sqs.core.errors import QueueUnavailable
from jibe_sqs.core.model import Folder, LogFile
from jibe_sqs.telemetry.optional_ledger import RECOVERY_TIME, REPEAT_INTERVAL, OptionalLedger

FILE = LogFile("logs", "a")
FOLDER = Folder("/data")


@pytest.fixture
def ledger(flow):
    return flow.InMemoryLedger()


@pytest.fixture
def optional(ledger):
    return OptionalLedger(ledger)


def logged(events):
    return [(event["event"], event["failures"]) for event in events]


async def fail(ledger, optional):
    ledger.unwritable = True
    assert not await optional.refreshed(FOLDER, 1.0)


async def succeed(ledger, optional):
    ledger.unwritable = False
    assert await optional.refreshed(FOLDER, 1.0)


async def test_a_working_ledger_answers_and_nothing_is_logged(optional, events):
    assert await optional.finish(FILE, "etag")
    assert await optional.is_finished(FILE)
    assert await optional.unfinished([FILE, LogFile("logs", "b")]) == [LogFile("logs", "b")]
    assert await optional.refreshed(FOLDER, 1.0)
    assert await optional.watermarks([FOLDER]) == {FOLDER: 1.0}
    assert await optional.observe({})
    assert not events


async def test_an_unreadable_ledger_knows_nothing(ledger, optional):
    await optional.finish(FILE, "etag")
    await optional.refreshed(FOLDER, 1.0)
    ledger.unreadable = True
    assert not await optional.is_finished(FILE)
    assert await optional.watermarks([FOLDER]) == {}


async def test_with_an_unreadable_ledger_every_file_is_unfinished(ledger, optional):
    await optional.finish(FILE, "etag")
    ledger.unreadable = True
    assert await optional.unfinished([FILE]) == [FILE]


async def test_an_unwritable_ledger_is_reported_to_the_caller(ledger, optional):
    ledger.unwritable = True
    assert not await optional.finish(FILE, "etag")
    assert not await optional.refreshed(FOLDER, 1.0)
    assert not await optional.observe({})


async def test_other_errors_are_raised(ledger, optional, events):
    async def refreshed(folder, began):
        raise QueueUnavailable("503")

    ledger.refreshed = refreshed
    with pytest.raises(QueueUnavailable):
        await optional.refreshed(FOLDER, 1.0)
    assert not events


async def test_the_first_failure_is_logged_at_once_with_its_reason_and_its_consequence(ledger, optional, events):
    await fail(ledger, optional)
    (event,) = events
    assert (event["event"], event["log_level"], event["reason"]) == ("ledger_unwritable", "warning", "disk I/O error")
    assert event["consequence"]


async def test_later_failures_are_counted_and_logged_once_a_minute(ledger, optional, events):
    for _ in range(int(REPEAT_INTERVAL) + 1):
        await fail(ledger, optional)
        await asyncio.sleep(1)
    assert logged(events) == [("ledger_unwritable", 1), ("ledger_unwritable", REPEAT_INTERVAL + 1)]


async def test_a_ledger_that_fails_and_succeeds_by_turns_is_still_failing(ledger, optional, events):
    for _ in range(20):
        await fail(ledger, optional)
        await succeed(ledger, optional)
        await asyncio.sleep(1)
    assert logged(events) == [("ledger_unwritable", 1)]


async def test_a_success_after_some_time_without_a_failure_is_logged_once(ledger, optional, events):
    await fail(ledger, optional)
    await fail(ledger, optional)
    await asyncio.sleep(RECOVERY_TIME)
    await succeed(ledger, optional)
    await succeed(ledger, optional)
    assert logged(events) == [("ledger_unwritable", 1), ("ledger_writable", 2)]
    await fail(ledger, optional)
    assert logged(events)[2:] == [("ledger_unwritable", 1)]


async def test_an_operation_that_works_does_not_hide_one_that_fails(ledger, optional, events):
    """A policy may deny one operation. The others succeed all the time."""
    ledger.refuses_principals = True
    for _ in range(40):
        assert not await optional.observe({})
        assert await optional.refreshed(FOLDER, 1.0)
        await asyncio.sleep(15)
    assert {event["event"] for event in events} == {"ledger_unwritable"}
    assert len(events) == 40 * 15 / REPEAT_INTERVAL


async def test_a_claim_succeeds_if_the_ledger_fails(ledger, optional, events):
    assert await optional.claim("report", "a", 60)
    assert not await optional.claim("report", "b", 60)
    ledger.unwritable = True
    assert await optional.claim("report", "b", 60)
    assert logged(events) == [("ledger_unwritable", 1)]
    ledger.unwritable = False
    assert not await optional.claim("report", "b", 60)
