"""Several processes share a queue. The first one knows what all of them have seen, and does what only one may do."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from tests.flow.test_catch_up import RETENTION, Installation, a_stop_in_which_messages_expire, logged

from jibe_sqs.core.model import Folder

HOUR = 3600.0


@pytest.fixture
def installation(flow):
    return Installation(flow)


class Link:
    """Passes the notes of the second process on to the first. `is_read`: whether the first process reads them now."""

    def __init__(self, first):
        self._first = first
        self.is_read = True
        self.notes = []

    def __call__(self, notes):
        if self.is_read:
            self.notes.append(notes)
            self._first.watch.merge(notes)
        return self.is_read


@asynccontextmanager
async def two_processes(installation, **options):
    """Yields both engines and their link. They share the queue and the ledger."""
    async with installation.process(**options) as first:
        link = Link(first)
        async with installation.process(relay=link, **options) as second:
            yield first, second, link


def activity_of(engine):
    return next(each.activity for each in engine.consumers if each.name == "queue")


async def test_only_the_first_process_does_what_only_one_may_do(installation):
    async with two_processes(installation, sweep=60.0) as (first, second, _):
        assert {each.name for each in first.consumers} == {"queue", "sweeps"}
        assert {each.name for each in second.consumers} == {"queue"}
        await asyncio.sleep(200)
        assert first.sweeper.counts
        assert not any(second.sweeper.counts.values())


async def test_a_message_of_any_process_ends_the_silence(installation, events):
    """The first process may get no message for hours, because SQS gives each message to either."""
    async with two_processes(installation, expected={"queue": HOUR}) as (first, second, _):
        await asyncio.sleep(HOUR - 60)
        activity_of(second).received([installation.message()])
        await asyncio.sleep(300)
        assert activity_of(first).last_message == activity_of(second).last_message
        assert not logged(events, "nothing_received")


async def test_a_silence_is_reported_by_the_first_process_only(installation, events):
    async with two_processes(installation, expected={"queue": HOUR}):
        await asyncio.sleep(HOUR + 120)
    assert len(logged(events, "nothing_received")) == 1


async def test_a_gap_that_the_second_process_finds_is_caught_up_once_by_the_first(installation, events):
    async with two_processes(installation) as (_, second, _):
        installation.write("lost", is_announced=False)
        await asyncio.sleep(120)
        activity_of(second).not_done(installation.message(), RETENTION)
        await installation.until_refreshed("lost")
        await asyncio.sleep(RETENTION)
    assert activity_of(second).gap is None
    assert len(logged(events, "caught_up")) == 1


async def test_a_gap_stays_until_it_can_be_passed_on(installation, events):
    async with two_processes(installation) as (_, second, link):
        link.is_read = False
        await asyncio.sleep(120)
        activity_of(second).not_done(installation.message(), RETENTION)
        await asyncio.sleep(300)
        assert activity_of(second).gap is not None
        assert not logged(events, "caught_up")
        link.is_read = True
        await installation.until_logged(events, "caught_up")
        assert activity_of(second).gap is None


async def test_a_stop_is_caught_up_once(installation, events):
    """The second process reads no notes, so it finds no gap from before."""
    await a_stop_in_which_messages_expire(installation)
    async with two_processes(installation):
        await installation.until_logged(events, "caught_up")
        await asyncio.sleep(300)
    assert len(logged(events, "messages_expired")) == 1
    assert Folder("/S3/data/missed") in installation.refreshed


async def test_the_start_of_the_second_process_hides_no_gap(installation):
    """It has not seen the messages from before its start."""
    async with installation.process() as first:
        installation.gate.reason = "Access Anywhere is down"
        await asyncio.sleep(120)
        seen = activity_of(first).seen_until
        async with installation.process(relay=Link(first)):
            await asyncio.sleep(120)
        assert activity_of(first).seen_until == seen
        installation.gate.reason = ""


async def test_unchanged_notes_are_not_sent_again(installation):
    installation.gate.reason = "Access Anywhere is down"
    async with two_processes(installation) as (_, _, link):
        await asyncio.sleep(600)
        assert len(link.notes) == 1
