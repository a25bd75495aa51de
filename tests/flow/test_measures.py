"""What is counted for the metrics alone: the delay of the event loop, log lines, failures of the ledger, and waiting folders."""

import asyncio
import io
import logging
import sys

import pytest
import structlog

from jibe_sqs.core.model import Folder, LogFile, RefreshReason
from jibe_sqs.ports import RefreshOutcome
from jibe_sqs.syncing import refreshes as refreshes_module
from jibe_sqs.telemetry import logs
from jibe_sqs.telemetry.loop_delay import INTERVAL, LoopDelay
from jibe_sqs.telemetry.optional_ledger import RECOVERY_TIME, OptionalLedger
from jibe_sqs.telemetry.stages import Stages


async def test_the_event_loop_is_measured_once_a_second_while_it_is_watched(flow):
    """In virtual time, no timer is late."""
    measured = LoopDelay()
    with measured.running():
        await asyncio.sleep(10.5 * INTERVAL)
    await asyncio.sleep(10 * INTERVAL)
    assert measured.delays.count == 10
    assert measured.delays.longest < 0.001


def test_each_written_line_counts_by_its_level_also_those_of_libraries(monkeypatch):
    """A line below the level of the log is not written, and not counted."""
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    logs.configure("info", "json")
    before = logs.lines.copy()
    log = structlog.get_logger()
    log.debug("invisible")
    log.info("one")
    log.warning("two")
    log.warning("three")
    logging.getLogger("a library").error("four")
    logs.configure("info", "auto")
    assert logs.lines - before == {"info": 1, "warning": 2, "error": 1}


async def test_failures_of_the_ledger_are_counted_and_seen_until_it_works_again(flow):
    """The total stays when it works again; an alert looks at the present."""
    ledger = flow.InMemoryLedger()
    optional = OptionalLedger(ledger)
    ledger.unwritable = True
    for _ in range(3):
        assert not await optional.finish(LogFile("logs", "a"), "")
    assert optional.failures == {"read": 0, "write": 3}
    assert optional.failing == {"read": False, "write": True}
    ledger.unwritable = False
    await asyncio.sleep(RECOVERY_TIME + 1)
    assert await optional.finish(LogFile("logs", "a"), "")
    assert optional.failures == {"read": 0, "write": 3}
    assert optional.failing == {"read": False, "write": False}


def test_the_wait_for_a_refresh_ends_where_the_refresh_begins():
    """A request that waited for ten seconds, of which the refresh took four."""
    stages = Stages()
    stages.refreshed(RefreshOutcome(Folder("/data"), 4.0, 10.0, RefreshReason.EVENTS))
    assert (stages.refresh.sum, stages.refresh_wait.sum) == (4.0, 6.0)


@pytest.mark.parametrize("looked_at", [1, 1000])
async def test_the_folders_that_wait_are_counted_without_a_look_at_all_of_them(flow, monkeypatch, looked_at):
    """The first folder is the oldest, also if only a few are looked at."""
    monkeypatch.setattr(refreshes_module, "MOST_LOOKED_AT", looked_at)
    target = flow.InMemorySyncTarget(takes=100.0)
    clock = flow.VirtualClock()
    refreshes = refreshes_module.Refreshes(target=target, ledger=OptionalLedger(flow.InMemoryLedger()), clock=clock)
    assert refreshes.waiting == (0, None)
    began = clock.monotonic()
    for number in range(5):
        refreshes.ask(Folder(f"/data/{number}"))
        refreshes.ask(Folder(f"/data/{number}"))
        await asyncio.sleep(1)
    assert refreshes.waiting == (5, began)
    assert refreshes.requests == 10
    await refreshes.stop()
