"""An operator learns that nothing comes any more, also if the silence began before a restart."""

import asyncio

import pytest
from tests.flow.test_catch_up import Installation, logged

from jibe_sqs.core.errors import QueueUnavailable
from jibe_sqs.telemetry.silences import REPEAT_INTERVAL

HOUR = 3600.0


@pytest.fixture
def installation(flow):
    found = Installation(flow)
    found.queue.retention = 14 * 86_400.0
    return found


async def test_a_queue_without_messages_is_reported_once_and_then_daily(installation, events):
    async with installation.process(sources=False, expected={"queue": HOUR}) as engine:
        installation.write("one")
        await asyncio.sleep(HOUR)
        assert not logged(events, "nothing_received")
        await asyncio.sleep(120)
        (event,) = logged(events, "nothing_received")
        assert (event["what"], event["source"], event["log_level"]) == ("message", "queue", "warning")
        assert event["since"] == "2026-01-01T00:00:00Z"
        assert engine._outputs.health.warnings == ["No message from queue since 2026-01-01T00:00:00Z"]
        await asyncio.sleep(REPEAT_INTERVAL)
        assert len(logged(events, "nothing_received")) == 2


async def test_the_end_of_a_silence_is_logged(installation, events):
    async with installation.process(expected={"queue": HOUR}) as engine:
        await asyncio.sleep(HOUR + 120)
        installation.write("one")
        await installation.until_logged(events, "received_again")
        assert engine._outputs.health.warnings == []


async def test_the_time_before_a_restart_counts(installation, events):
    """Also if nothing ever came."""
    for _ in range(2):
        async with installation.process(expected={"queue": HOUR}):
            await asyncio.sleep(300)
        assert not logged(events, "nothing_received")
        await asyncio.sleep(HOUR / 2)
    async with installation.process(expected={"queue": HOUR}):
        await asyncio.sleep(60)
    assert len(logged(events, "nothing_received")) == 1


async def test_a_log_source_has_its_own_expectation(installation, events):
    """One of several trails may stop, while others fill the same queue."""
    expected = {installation.source: HOUR, "queue": HOUR}
    async with installation.process(expected=expected):
        installation.write("one")
        for _ in range(5):
            await asyncio.sleep(1000)
            installation.queue.send(installation.flow.s3_event("some/file"))
    (event,) = logged(events, "nothing_received")
    assert (event["what"], event["source"]) == ("log file", "s3://trail-logs/")


async def test_the_depth_is_known_and_a_failing_queue_disturbs_nothing(installation, events):
    async with installation.process() as engine:
        (activity,) = (each.activity for each in engine.consumers if each.name == "queue")
        installation.gate.reason = "Access Anywhere is down"
        await asyncio.sleep(30)
        for name in "abc":
            installation.write(name)
        await asyncio.sleep(60)
        assert activity.depth.visible + activity.depth.hidden == 3
        installation.queue.errors["depth"] = [QueueUnavailable("503")]
        await asyncio.sleep(60)
        assert activity.depth is None
        await asyncio.sleep(60)
        assert activity.depth is not None
    assert not logged(events, "queue_watch_crashed")


async def test_the_progress_line_has_the_depth_and_the_last_message(installation, events):
    async with installation.process(progress_interval=100.0) as engine:
        installation.write("one")
        await asyncio.sleep(90)
        found = engine.watch.counts
    assert found == {"queue": {"visible": 0, "hidden": 0, "last_message": "2026-01-01T00:00:00Z"}}
