"""At the start, the service says once which settings changed since the last start."""

import pytest

from jibe_sqs.compose.fingerprint import Fingerprint
from jibe_sqs.compose.settings_changes import MAX_SHOWN, NOTE, log_settings_changes
from jibe_sqs.telemetry.optional_ledger import OptionalLedger

DAY = 86_400.0
NOW = 2e9


@pytest.fixture
def started(flow, events):
    """Starts with these settings, and returns what was logged about changes."""
    ledger = flow.InMemoryLedger()

    async def started(now=NOW, **settings):
        events.clear()
        await log_settings_changes(Fingerprint(settings), OptionalLedger(ledger), now=now)
        return [event for event in events if event["event"] == "settings_changed"]

    started.ledger = ledger
    return started


async def test_the_first_start_logs_nothing(started):
    assert not await started(a="1")


async def test_a_change_is_logged_once_with_its_remedy(started):
    await started(a="1", b="1", c="1")
    (event,) = await started(NOW + 3.5 * DAY, a="1", b="2", d="1")
    assert event["changed"] == ["b", "c", "d"]
    assert event["remedy"].startswith("jibe-sqs backfill --since 4d; ")
    assert event["log_level"] == "warning"
    assert not await started(NOW + 4 * DAY, a="1", b="2", d="1")


async def test_the_past_to_repair_begins_when_the_old_settings_came_into_force(started):
    """A restart with the same settings does not shorten it, and no service repairs longer than the ledger remembers."""
    await started(a="1")
    await started(NOW + 10 * DAY, a="1")
    (event,) = await started(NOW + 12 * DAY, a="2")
    assert " 12d; " in event["remedy"]
    (event,) = await started(NOW + 400 * DAY, a="3")
    assert " 30d; " in event["remedy"]


async def test_very_many_changes_are_not_all_listed(started):
    await started()
    (event,) = await started(**{f"n{number:03}": "1" for number in range(MAX_SHOWN + 5)})
    assert event["changed"][-2:] == [f"n{MAX_SHOWN - 1:03}", "and 5 more"]


@pytest.mark.parametrize(
    "note", ["[]", "", "{", "7", '{"names": {"a": "0"}, "since": NaN}', '{"names": 1, "since": 0}']
)
async def test_a_note_that_cannot_be_read_counts_as_a_first_start(started, note):
    await started.ledger.note(NOTE, note)
    assert not await started(a="1")
    assert await started(a="2")


async def test_a_note_that_cannot_be_read_now_is_compared_at_the_next_start(started):
    """To replace it would hide the change for ever."""
    await started(a="1")
    started.ledger.unreadable = True
    assert not await started(a="2")
    started.ledger.unreadable = False
    assert await started(a="2")
