"""Alerts about states: when they begin, that they are resolved, and that flapping does not flood; several targets."""

import asyncio
import json

import pytest
import structlog
from tests.flow.alert_targets import KeptMessages, event, virtual_time
from tests.flow.test_alerts import configured

from jibe_sqs.telemetry.alert_groups import MAX_GROUPS
from jibe_sqs.telemetry.alert_messages import MAX_TITLE_LENGTH, Source, message_of
from jibe_sqs.telemetry.alert_outlet import AlertFailed
from jibe_sqs.telemetry.alert_sharing import REMINDER
from jibe_sqs.telemetry.alerts import FORGET_DELAY, Alerts
from jibe_sqs.telemetry.relayed_alerts import RelayedAlerts

INTERVAL = 300.0
DOWN, UP = event("circuit_opened", reason="HTTP 503"), event("circuit_closed", "info", seconds=180)


@pytest.fixture
def target():
    return KeptMessages()


@pytest.fixture
async def alerts(target):
    return Alerts([target], interval=INTERVAL, source=Source("pod-1"), wall_clock=virtual_time)


async def test_a_state_that_ends_is_sent_as_resolved_with_its_duration(alerts, target):
    async with alerts.running():
        alerts.take(DOWN)
        await asyncio.sleep(600)
        alerts.take(UP)
        await asyncio.sleep(10)
        assert target.times == pytest.approx([2, 602], abs=0.1)
    firing, resolved = target.messages
    assert firing.text() == (
        "jibe-sqs on pod-1: 1 warning\n\N{BULLET} warning circuit_opened: once at 00:00:00 UTC\n    reason=HTTP 503"
    )
    assert resolved.text() == (
        "jibe-sqs on pod-1: 1 resolved\n"
        "\N{BULLET} resolved circuit_opened: after 10 min, at 00:10:00 UTC\n    reason=HTTP 503"
    )
    assert (firing.level, resolved.level) == ("warning", "resolved")


async def test_a_short_state_is_sent_once_with_its_end(alerts, target):
    async with alerts.running():
        alerts.take(DOWN)
        await asyncio.sleep(1)
        alerts.take(UP)
        await asyncio.sleep(1000)
    (message,) = target.messages
    assert "warning circuit_opened: once at 00:00:00 UTC; resolved after 1 s" in message.text()
    assert target.states == [("circuit_opened", "resolved")]


async def test_an_end_of_which_no_beginning_was_seen_is_not_sent(alerts, target):
    async with alerts.running():
        alerts.take(UP)
        await asyncio.sleep(1000)
    assert not target.messages


async def test_a_state_below_the_level_is_not_sent_as_resolved(target):
    alerts = Alerts([target], level="error", wall_clock=virtual_time)
    async with alerts.running():
        alerts.take(DOWN)
        await asyncio.sleep(600)
        alerts.take(UP)
        await asyncio.sleep(600)
    assert not target.messages


async def test_flapping_causes_one_message_per_interval(alerts, target):
    async with alerts.running():
        for _ in range(150):
            alerts.take(DOWN)
            await asyncio.sleep(5)
            alerts.take(UP)
            await asyncio.sleep(5)
        at_end = list(target.times)
    assert at_end == pytest.approx([2, 302, 602, 902, 1202], abs=0.1)
    assert [each["count"] for each in target.alerts] == [1, 30, 30, 30, 30, 29]


async def test_each_subject_is_a_state_of_its_own(alerts, target):
    async with alerts.running():
        for queue in ("a", "b"):
            alerts.take(event("receive_failed", queue=queue, reason="HTTP 503"))
        await asyncio.sleep(400)
        alerts.take(event("queue_usable", "info", queue="a", seconds=400))
        await asyncio.sleep(400)
    assert [(each["subject"], each["state"]) for each in target.alerts] == [
        ("a", "firing"),
        ("b", "firing"),
        ("a", "resolved"),
    ]


async def test_a_state_that_is_logged_again_and_again_is_repeated_once_an_hour(alerts, target):
    async with alerts.running():
        for _ in range(150):
            alerts.take(event("ledger_unwritable", reason="disk full", failures=1))
            await asyncio.sleep(60)
        at_end = list(target.times)
    assert at_end == pytest.approx([2, 2 + REMINDER + 60, 2 + 2 * (REMINDER + 60)], abs=70)


async def test_the_end_of_a_state_arrives_although_the_log_has_no_lines_of_level_info(target):
    with configured(lowest="error") as written:
        alerts = Alerts([target], interval=10, wall_clock=virtual_time)
        async with alerts.running():
            log = structlog.get_logger()
            log.warning("circuit_opened", reason="HTTP 503")
            await asyncio.sleep(20)
            log.info("circuit_closed", seconds=20)
            log.debug("not_even_listened_to")
            await asyncio.sleep(20)
    assert target.states == [("circuit_opened", "firing"), ("circuit_opened", "resolved")]
    assert not written.getvalue()


async def test_a_firing_message_that_fails_is_followed_by_the_resolved_one(alerts, target):
    target.errors = [AlertFailed("503")] * 3
    async with alerts.running():
        alerts.take(DOWN)
        await asyncio.sleep(20)
        alerts.take(UP)
        await asyncio.sleep(2 * INTERVAL)
        assert target.states == [("circuit_opened", "firing"), ("circuit_opened", "resolved")]


# Several targets


async def test_a_target_that_fails_or_hangs_does_not_delay_the_other(flow):
    good, failing, hanging = KeptMessages("good"), KeptMessages("failing"), KeptMessages("hanging")
    failing.errors = [AlertFailed("503")] * 1000
    hanging.takes = 10_000
    alerts = Alerts([failing, hanging, good], interval=INTERVAL, wall_clock=virtual_time)
    async with alerts.running():
        alerts.take(DOWN)
        await asyncio.sleep(400)
        alerts.take(UP)
        await asyncio.sleep(10)
        assert good.times == pytest.approx([2, 402], abs=0.1)
        assert not failing.messages
        failing.errors = []
        await asyncio.sleep(2 * INTERVAL)
        assert failing.states == good.states == [("circuit_opened", "firing"), ("circuit_opened", "resolved")]


# At run time


async def test_level_interval_and_targets_change_at_run_time(alerts, target):
    other = KeptMessages("topic")
    async with alerts.running():
        alerts.take(event("a"))
        await asyncio.sleep(10)
        alerts.take(event("b"))
        await alerts.reconfigure(level="error", interval=10, targets=[other], source=Source("pod-2"))
        # What waited for the removed target has been sent to it.
        assert target.states == [("a", "firing"), ("b", "firing")]
        alerts.take(event("c"))
        alerts.take(event("d", "error"))
        await asyncio.sleep(5)
        alerts.take(event("e", "error"))
        await asyncio.sleep(20)
        assert other.states == [("d", "firing"), ("e", "firing")]
        assert "pod-2" in other.messages[0].heading
        replaced = KeptMessages("topic")
        other.errors = [AlertFailed("404")] * 10
        alerts.take(event("f", "error"))
        await asyncio.sleep(10)
        await alerts.reconfigure(targets=[replaced])
        await asyncio.sleep(20)
        assert replaced.states == [("f", "firing")]
        await alerts.reconfigure(targets=[])
        alerts.take(event("g", "error"))
    assert len(target.messages) == len(other.messages) == 2
    assert len(replaced.messages) == 1


# Workers


async def test_a_state_ends_when_the_last_worker_that_sees_it_says_so(alerts, target):
    workers = [
        RelayedAlerts(lambda groups, index=index: alerts.merge(groups, str(index)) or True, wall_clock=virtual_time)
        for index in range(2)
    ]
    async with alerts.running(), workers[0].running(), workers[1].running():
        for worker in workers:
            worker.take(DOWN)
        await asyncio.sleep(600)
        workers[0].take(UP)
        await asyncio.sleep(600)
        assert target.states == [("circuit_opened", "firing")]
        workers[1].take(UP)
        await asyncio.sleep(10)
        assert target.states == [("circuit_opened", "firing"), ("circuit_opened", "resolved")]


async def test_a_state_that_only_a_worker_saw_that_is_gone_ends_if_it_does_not_see_it_again(alerts, target):
    worker = RelayedAlerts(lambda groups: alerts.merge(groups, "0") or True, wall_clock=virtual_time)
    async with alerts.running(), worker.running():
        worker.take(DOWN)
        await asyncio.sleep(400)
        alerts.forget("0")
        await asyncio.sleep(10)
        worker.take(DOWN)
        await asyncio.sleep(600)
        assert target.states == [("circuit_opened", "firing")]
        alerts.forget("0")
        await asyncio.sleep(FORGET_DELAY + 10)
        assert target.states == [("circuit_opened", "firing"), ("circuit_opened", "resolved")]


# For programs


async def test_the_end_of_a_state_arrives_also_among_hundreds_of_kinds_of_events(alerts, target):
    """A program that has opened an incident at its beginning would never close it."""
    async with alerts.running():
        alerts.take(DOWN)
        await asyncio.sleep(100)
        for number in range(2 * MAX_GROUPS):
            alerts.take(event(f"failed_{number}", "error"))
        alerts.take(UP)
        await asyncio.sleep(1000)
    assert [each for each in target.states if each[0] == "circuit_opened"] == [
        ("circuit_opened", "firing"),
        ("circuit_opened", "resolved"),
    ]
    assert "resolved circuit_opened" in target.messages[-1].text()


async def test_the_document_has_all_of_each_alert(alerts, target):
    async with alerts.running():
        await asyncio.sleep(60)
        alerts.take(event("message_rejected", "error", error="LogMissing", queue="q", reason="gone"))
        alerts.take(event("receive_failed", queue="q", reason="HTTP 503"))
        await asyncio.sleep(0.5)
        alerts.take(event("queue_usable", "info", queue="q"))
        await asyncio.sleep(10)
    (message,) = target.messages
    document = message.document()
    assert {**document, "alerts": None, "version": None} == {
        "service": "jibe-sqs",
        "id": message.id,
        "instance": "pod-1",
        "version": None,
        "title": "jibe-sqs on pod-1: 1 error, 1 warning",
        "level": "error",
        "alerts": None,
        "more": 0,
    }
    assert document["alerts"] == [
        {
            "event": "message_rejected",
            "level": "error",
            "error": "LogMissing",
            "subject": "",
            "state": "firing",
            "resolves": False,
            "count": 1,
            "first": "2026-01-01T00:01:00.000Z",
            "last": "2026-01-01T00:01:00.000Z",
            "seconds": None,
            "text": "queue=q, reason=gone",
            "runbook": "docs/reference/alerts.md#message_rejected",
        },
        {
            "event": "receive_failed",
            "level": "warning",
            "error": "",
            "subject": "q",
            "state": "resolved",
            "resolves": True,
            "count": 1,
            "first": "2026-01-01T00:01:00.000Z",
            "last": "2026-01-01T00:01:00.000Z",
            "seconds": 0.5,
            "text": "queue=q, reason=HTTP 503",
            "runbook": "docs/reference/alerts.md#receive_failed",
        },
    ]


async def test_a_document_of_many_long_alerts_fits_into_a_message_of_sns(alerts):
    for number in range(500):
        alerts.take(
            event(f"{number}" + "\N{SKULL}" * 500, "error", error="\N{SKULL}" * 500, reason="\N{SKULL}" * 10_000)
        )
    (outlet,) = alerts._outlets.values()
    message = message_of(outlet._groups, Source("\N{SKULL}" * 60), 0.0)
    document = message.document()
    assert len(json.dumps(document, ensure_ascii=False).encode()) < 256 * 1024
    assert len(document["alerts"]) + document["more"] == 500


async def test_a_title_is_short_ascii_and_names_the_first_alerts(alerts, target):
    async with alerts.running():
        alerts.take(event("receive_failed", queue="q-ü\n" * 100))
        alerts.take(DOWN)
        await asyncio.sleep(10)
    (message,) = target.messages
    assert message.title.startswith("jibe-sqs on pod-1: warning circuit_opened, warning receive_failed (q-? q-?")
    assert len(message.title) == MAX_TITLE_LENGTH
    assert message.title.isascii()
    assert message.title.isprintable()
