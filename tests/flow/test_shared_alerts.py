"""Replicas that share a ledger: each kind of alert is sent once for all of them, and nothing is lost if one of them dies."""

import asyncio
from contextlib import AsyncExitStack
from itertools import pairwise

import pytest
from tests.flow.alert_targets import KeptMessages, event, virtual_time

from jibe_sqs.telemetry.alert_groups import group_of, kind_of
from jibe_sqs.telemetry.alert_messages import Source
from jibe_sqs.telemetry.alert_outlet import AlertFailed
from jibe_sqs.telemetry.alert_sharing import CLAIM_TIME, KEPT, MAX_BOARD_BYTES, STALE
from jibe_sqs.telemetry.alerts import Alerts
from jibe_sqs.telemetry.optional_ledger import OptionalLedger

INTERVAL = 300.0
FIRING, RESOLVED = ("circuit_opened", "firing"), ("circuit_opened", "resolved")
DOWN, UP = event("circuit_opened", reason="HTTP 503"), event("circuit_closed", "info")


class Replicas:
    """Replicas with one ledger and one webhook."""

    def __init__(self, ledger) -> None:
        self.ledger = ledger
        self.target = KeptMessages()
        self.stacks: list[AsyncExitStack] = []

    async def add(self, wall_clock=virtual_time) -> Alerts:
        """Start a replica."""
        alerts = Alerts([self.target], interval=INTERVAL, source=Source("pod"), wall_clock=wall_clock)
        stack = AsyncExitStack()
        self.stacks.append(stack)
        await stack.enter_async_context(alerts.running())
        await stack.enter_async_context(alerts.shared(OptionalLedger(self.ledger)))
        return alerts

    async def stop(self, number: int) -> None:
        await self.stacks[number].aclose()

    @staticmethod
    async def kill(alerts) -> None:
        """End a replica without its last messages."""
        for task in alerts._tasks.values():
            task.cancel()
        await asyncio.gather(*alerts._tasks.values(), return_exceptions=True)


@pytest.fixture
async def replicas(flow):
    ledger = flow.InMemoryLedger()
    ledger._wall_clock = virtual_time
    found = Replicas(ledger)
    yield found
    for stack in found.stacks:
        await stack.aclose()


async def test_a_state_that_five_replicas_see_is_sent_once_and_resolved_once(replicas):
    five = [await replicas.add() for _ in range(5)]
    for alerts in five:
        alerts.take(DOWN)
        await asyncio.sleep(0.3)
    await asyncio.sleep(400)
    assert replicas.target.states == [FIRING]
    for alerts in five:
        alerts.take(UP)
        await asyncio.sleep(20)
    await asyncio.sleep(2 * INTERVAL)
    assert replicas.target.states == [FIRING, RESOLVED]


async def test_it_is_resolved_only_when_the_last_replica_does_not_see_it_any_more(replicas):
    one, other = [await replicas.add() for _ in range(2)]
    for alerts in (one, other):
        alerts.take(DOWN)
    await asyncio.sleep(1000)
    one.take(UP)
    await asyncio.sleep(5000)
    assert replicas.target.states == [FIRING]
    other.take(UP)
    await asyncio.sleep(30)
    assert replicas.target.states == [FIRING, RESOLVED]
    assert replicas.target.alerts[1]["seconds"] == pytest.approx(6000, abs=5)


async def test_events_of_the_same_kind_are_sent_once_per_interval_and_each_is_followed_by_a_message(replicas):
    pair = [await replicas.add() for _ in range(2)]
    for _ in range(100):
        for alerts in pair:
            alerts.take(event("refresh_failed", error="CallFailed"))
        await asyncio.sleep(10)
    await asyncio.sleep(2 * INTERVAL)
    assert replicas.target.times == pytest.approx([2, 302, 602, 902, 1202], abs=10)


@pytest.mark.parametrize("ahead", [3 * 3600.0, -3 * 3600.0])
async def test_a_replica_with_a_wrong_clock_hides_no_alerts_of_the_others(replicas, ahead):
    """What it has sent seems to know of all that happens in the hours by which its clock is ahead."""
    wrong = await replicas.add(wall_clock=lambda: virtual_time() + ahead)
    right = await replicas.add()
    wrong.take(event(reason="of the wrong one"))
    wrong.take(DOWN)
    await asyncio.sleep(60)
    wrong.take(UP)
    await asyncio.sleep(INTERVAL)
    right.take(event(reason="of the right one"))
    right.take(DOWN)
    await asyncio.sleep(60)
    right.take(UP)
    await asyncio.sleep(2 * INTERVAL)
    texts = [each["text"] for each in replicas.target.alerts if each["event"] == "refresh_failed"]
    assert texts == ["reason=of the wrong one", "reason=of the right one"]
    assert replicas.target.states[-1] == RESOLVED


async def test_what_concerns_one_process_is_sent_by_each_of_them(replicas):
    pair = [await replicas.add() for _ in range(2)]
    for alerts in pair:
        alerts.take(event("refresh_crashed", "error", error="ZeroDivisionError"))
    await asyncio.sleep(30)
    assert replicas.target.states == [("refresh_crashed", "firing")] * 2


async def test_another_replica_sends_what_one_that_was_killed_in_its_turn_did_not(replicas):
    one, other = [await replicas.add() for _ in range(2)]
    replicas.target.takes = 10_000
    one.take(DOWN)
    await asyncio.sleep(3)  # it has claimed its turn, and sends
    replicas.target.takes = 0.0
    other.take(DOWN)
    # A kill: its claim stays.
    one._outlets["webhook"].shared = None
    await replicas.kill(one)
    one._outlets["webhook"]._message = None
    await asyncio.sleep(CLAIM_TIME + 10)
    assert replicas.target.states == [FIRING]


async def test_a_state_that_only_a_killed_replica_saw_is_resolved_by_another(replicas):
    one = await replicas.add()
    one.take(DOWN)
    await asyncio.sleep(100)
    await replicas.kill(one)
    await asyncio.sleep(100)
    await replicas.add()
    await asyncio.sleep(INTERVAL + STALE + 100)
    assert replicas.target.states == [FIRING, RESOLVED]


async def test_a_replica_that_restarts_in_an_outage_neither_repeats_nor_resolves_it(replicas):
    one = await replicas.add()
    one.take(DOWN)
    await asyncio.sleep(400)
    await replicas.stop(0)
    other = await replicas.add()
    other.take(DOWN)
    await asyncio.sleep(2000)
    assert replicas.target.states == [FIRING]
    other.take(UP)
    await asyncio.sleep(10)
    assert replicas.target.states == [FIRING, RESOLVED]


async def test_flapping_seen_by_two_replicas_causes_one_message_per_interval(replicas):
    pair = [await replicas.add() for _ in range(2)]
    for _ in range(100):
        for alerts in pair:
            alerts.take(DOWN)
        await asyncio.sleep(6)
        for alerts in pair:
            alerts.take(UP)
        await asyncio.sleep(6)
    await asyncio.sleep(3 * INTERVAL)
    times = replicas.target.times
    assert len(times) <= 1 + (1200 + 2 * INTERVAL) / INTERVAL
    assert all(after - before >= INTERVAL - 1 for before, after in pairwise(times))
    assert replicas.target.states[-1] == RESOLVED


@pytest.mark.parametrize("fault", ["unreadable", "unwritable"])
async def test_if_the_ledger_fails_every_replica_sends(replicas, fault):
    pair = [await replicas.add() for _ in range(2)]
    setattr(replicas.ledger, fault, True)
    for alerts in pair:
        alerts.take(DOWN)
    await asyncio.sleep(60)
    # A claim that cannot be written is no claim, so at worst both send.
    assert replicas.target.states.count(FIRING) == 2
    setattr(replicas.ledger, fault, False)
    await asyncio.sleep(400)
    for alerts in pair:
        alerts.take(UP)
    await asyncio.sleep(2 * INTERVAL)
    assert 1 <= replicas.target.states.count(RESOLVED) <= 2


async def test_a_webhook_that_fails_gets_the_message_when_it_answers_again(replicas):
    pair = [await replicas.add() for _ in range(2)]
    replicas.target.errors = [AlertFailed("503")] * 5
    for alerts in pair:
        alerts.take(DOWN)
    await asyncio.sleep(400)
    assert replicas.target.states == [FIRING]


async def test_at_the_stop_only_what_no_other_replica_has_sent_is_sent(replicas):
    pair = [await replicas.add() for _ in range(2)]
    pair[0].take(DOWN)
    await asyncio.sleep(5)
    pair[1]._outlets["webhook"].add(*gathered_before(DOWN))
    pair[1].take(event("refresh_failed"))
    await replicas.stop(1)
    assert replicas.target.states == [FIRING, ("refresh_failed", "firing")]


def gathered_before(found):
    """This event, as another replica gathered it before the message was sent."""
    group = group_of(found, virtual_time() - 4)
    group.began = group.first
    return kind_of(found), group


async def test_the_board_stays_small_and_forgets_what_is_old(replicas):
    alerts = await replicas.add()
    for first in range(0, 1000, 100):
        for number in range(first, first + 100):
            alerts.take(event("receive_failed", queue=f"{number}-" + "x" * 200))
            alerts.take(event(f"event-{number}"))
        await asyncio.sleep(INTERVAL)
    (board,) = (await replicas.ledger.notes(["alerts/webhook"])).values()
    assert len(board) <= MAX_BOARD_BYTES
    await asyncio.sleep(1.2 * KEPT)
    alerts.take(event("last"))
    await asyncio.sleep(10)
    (board,) = (await replicas.ledger.notes(["alerts/webhook"])).values()
    assert "event-1" not in board
    assert '"last"' in board


async def test_a_board_of_another_release_is_replaced(replicas):
    await replicas.ledger.note("alerts/webhook", '{"other": 1}')
    alerts = await replicas.add()
    alerts.take(DOWN)
    await asyncio.sleep(10)
    assert replicas.target.states == [FIRING]


async def test_without_alerts_a_replica_soon_leaves_the_ledger_alone(replicas, monkeypatch):
    await replicas.add()
    await asyncio.sleep(1000)
    calls = []

    async def claim(*_arguments):
        calls.append(1)
        return True

    monkeypatch.setattr(replicas.ledger, "claim", claim)
    await asyncio.sleep(100_000)
    assert not calls
