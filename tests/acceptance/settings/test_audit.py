"""The channel of CloudTrail Lake, and what is sent to it."""

from contextlib import AsyncExitStack

import pytest
from tests.acceptance.settings.minimal import MINIMAL, changed, problems
from tests.cloudtrail_lake import CHANNEL

from jibe_sqs.compose import stores
from jibe_sqs.compose.audit import opened_audit
from jibe_sqs.settings import Settings, load


async def _opened(write, **audit):
    settings = load(Settings, config=write(changed(audit=audit)))
    async with AsyncExitStack() as stack:
        aws = await stack.enter_async_context(stores.clients(settings))
        return settings, await opened_audit(settings, aws, "host", stack)


async def test_nothing_is_recorded_by_default(write):
    settings = load(Settings, config=write(MINIMAL))
    async with AsyncExitStack() as stack:
        aws = await stack.enter_async_context(stores.clients(settings))
        assert await opened_audit(settings, aws, "host", stack) is None


async def test_everything_is_sent_unless_it_is_chosen(write):
    _, audit = await _opened(write, channel=CHANNEL)
    assert (audit.takes_files, audit.takes_dead_letters, audit.takes_reports) == (True, True, True)
    _, audit = await _opened(write, channel=CHANNEL, events=["dead-letters"])
    assert (audit.takes_files, audit.takes_dead_letters, audit.takes_reports) == (False, True, False)


async def test_the_external_id_is_secret(write):
    settings, _ = await _opened(write, channel=CHANNEL, channel_external_id="EXTERNAL-CANARY")
    assert "EXTERNAL-CANARY" not in repr(settings)


@pytest.mark.parametrize(
    "audit",
    [
        {"channel": "EXAMPLE8-0558-4f7e-a06a-43969EXAMPLE"},
        {"channel": "arn:aws:cloudtrail:eu-west-1:111122223333:eventdatastore/x"},
        {"channel": CHANNEL, "channel_external_id": "x"},
        {"channel": CHANNEL, "channel_external_id": "with space"},
        {"channel": CHANNEL, "events": []},
        {"channel": CHANNEL, "events": ["everything"]},
    ],
)
def test_a_channel_that_cannot_be_used_is_a_mistake(write, audit):
    (problem,) = problems(Settings, config=write(changed(audit=audit)))
    assert problem.startswith("audit")
    assert "with space" not in problem
