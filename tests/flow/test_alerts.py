"""Alerts: the first one soon, the others grouped, no event lost, and no effect on the code that logs."""

import asyncio
import io
import json
import logging
import re
import sys
import threading
from collections import Counter
from contextlib import contextmanager

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from jibe_sqs.telemetry import logs
from jibe_sqs.telemetry.alert_groups import MAX_GROUPS
from jibe_sqs.telemetry.alert_messages import MAX_MESSAGE_LENGTH, MAX_SHOWN_GROUPS, Source, message_of
from jibe_sqs.telemetry.alert_outlet import GATHER_TIME, LAST_SEND_TIMEOUT, AlertFailed
from jibe_sqs.telemetry.alerts import Alerts
from jibe_sqs.telemetry.relayed_alerts import RelayedAlerts

INTERVAL = 300.0


class Webhook:
    """A target: keeps the texts of the messages and their times, or raises the next of its `errors`."""

    def __init__(self, flow, name="webhook") -> None:
        self.flow = flow
        self.name = name
        self.messages: list[tuple[float, str]] = []
        self.tries: list[float] = []
        self.tried: list[tuple[str, str]] = []
        self.errors: list[Exception] = []
        self.takes = 0.0

    async def send(self, message) -> None:
        text = message.text(markup=True)
        self.tries.append(self.flow.time())
        self.tried.append((message.id, text))
        await asyncio.sleep(self.takes)
        if self.errors:
            raise self.errors.pop(0)
        self.messages.append((self.flow.time(), text))

    @property
    def texts(self) -> list[str]:
        return [text for _, text in self.messages]

    @property
    def times(self) -> list[float]:
        return [moment for moment, _ in self.messages]


@pytest.fixture
def webhook(flow):
    return Webhook(flow)


@pytest.fixture
async def alerts(webhook):
    return Alerts([webhook], interval=INTERVAL)


def event(name="refresh_failed", level="warning", **fields):
    return {"event": name, "level": level, "timestamp": "2026-01-01T00:00:00Z", **fields}


def count_in_groups(texts) -> int:
    """The number of events in the messages, from the lines of the groups."""
    number = 0
    for line in "\n".join(texts).split("\n"):
        if line.startswith("\N{BULLET}"):
            times = re.search(r": (?:(once)|(\d+) times, the last) at", line)
            number += int(times[2] or 1)
        elif line.startswith("and "):
            number += int(re.search(r"(\d+)(?: in all)?$", line)[1])
    return number


def count_in_headings(texts) -> Counter:
    """The number of events of each level, from the headings."""
    found = Counter()
    for text in texts:
        for number, level in re.findall(r"(\d+) (warning|error|critical)s?", text.split("\n")[0]):
            found[level] += int(number)
    return found


# When messages are sent


async def test_the_first_message_comes_after_the_gather_time_with_all_events_until_then(alerts, webhook):
    async with alerts.running():
        alerts.take(event(folder="/a"))
        await asyncio.sleep(1)
        alerts.take(event(folder="/b"))
        await asyncio.sleep(10)
        assert webhook.times == pytest.approx([GATHER_TIME], abs=0.01)
        assert "2 times" in webhook.texts[0]
        assert "folder=/b" in webhook.texts[0]
        assert "folder=/a" not in webhook.texts[0]


async def test_after_the_first_there_is_at_most_one_message_per_interval(alerts, webhook):
    async with alerts.running():
        for _ in range(1000):
            alerts.take(event())
            await asyncio.sleep(1)
        at_end = list(webhook.times)
    assert at_end == pytest.approx([2, 302, 602, 902], abs=0.1)
    assert count_in_groups(webhook.texts) == 1000


async def test_after_an_interval_without_events_the_next_message_comes_soon(alerts, webhook):
    async with alerts.running():
        alerts.take(event())
        await asyncio.sleep(1000)
        alerts.take(event())
        await asyncio.sleep(10)
        assert webhook.times == pytest.approx([2, 1002], abs=0.01)


async def test_without_events_no_message_is_sent(alerts, webhook):
    async with alerts.running():
        await asyncio.sleep(10_000)
    assert webhook.messages == []


async def test_events_from_before_the_start_are_sent_too(alerts, webhook):
    alerts.take(event())
    async with alerts.running():
        await asyncio.sleep(5)
        assert count_in_groups(webhook.texts) == 1


# What messages contain


@pytest.mark.parametrize(
    ("level", "expected"),
    [("warning", {"warning": 1, "error": 1, "critical": 1}), ("error", {"error": 1, "critical": 1})],
)
async def test_only_events_of_the_configured_level_or_higher_are_sent(webhook, level, expected):
    alerts = Alerts([webhook], level=level)
    async with alerts.running():
        for each in ("debug", "info", "warning", "error", "critical"):
            alerts.take(event(level=each))
        alerts.take({"event": "without a level"})
    assert count_in_headings(webhook.texts) == expected


async def test_events_are_grouped_by_name_and_error_class_errors_first(alerts, webhook):
    async with alerts.running():
        for _ in range(3):
            alerts.take(event(error="CallFailed", reason="no"))
        alerts.take(event(error="RefreshTimedOut", reason="slow"))
        alerts.take(event("message_rejected", "error", error="LogMissing"))
    (text,) = webhook.texts
    lines = [line for line in text.split("\n") if line.startswith("\N{BULLET}")]
    assert [re.sub(" at .*", "", line) for line in lines] == [
        "\N{BULLET} error message_rejected (LogMissing): once",
        "\N{BULLET} warning refresh_failed (CallFailed): 3 times, the last",
        "\N{BULLET} warning refresh_failed (RefreshTimedOut): once",
    ]
    assert text.startswith("jibe-sqs: 1 error, 4 warnings\n")


async def test_a_message_names_its_source(webhook):
    alerts = Alerts([webhook], source=Source("pod-1"))
    async with alerts.running():
        alerts.take(event())
    assert webhook.texts[0].startswith("jibe-sqs on pod-1: 1 warning\n")


async def test_slack_markup_in_a_key_is_escaped(alerts, webhook):
    async with alerts.running():
        alerts.take(event(key="<!channel> & <https://evil.example|click>"))
    assert "key=&lt;!channel&gt; &amp; &lt;https://evil.example|click&gt;" in webhook.texts[0]
    assert "<" not in webhook.texts[0]


async def test_long_values_are_cut_and_line_breaks_are_removed(alerts, webhook):
    async with alerts.running():
        alerts.take(event(reason="x" * 10_000, key="a\nb\x1b[31m"))
    assert "x" * 150 in webhook.texts[0]
    assert "x" * 250 not in webhook.texts[0]
    assert "key=a b\N{REPLACEMENT CHARACTER}[31m" in webhook.texts[0]


async def test_an_exception_is_shown_with_its_class(alerts, webhook):
    async with alerts.running():
        try:
            raise ZeroDivisionError
        except ZeroDivisionError as error:
            alerts.take(event("a", "error", exc_info=True))
            alerts.take(event("b", "error", exc_info=error))
            alerts.take(event("c", "error", exc_info=sys.exc_info()))
    assert webhook.texts[0].count("(ZeroDivisionError)") == 3


@given(
    st.lists(
        st.tuples(st.integers(0, 300), st.sampled_from(["warning", "error"]), st.text(max_size=300), st.booleans()),
        max_size=400,
    ),
    st.lists(st.booleans(), max_size=5),
)
def test_every_event_is_counted_in_exactly_one_message(flow, sequence, failures):
    """For any order of events, any number of groups, and any failures of the webhook."""
    webhook = Webhook(flow)
    webhook.errors = [AlertFailed("503")] * sum(failures)

    async def check() -> None:
        alerts = Alerts([webhook], interval=INTERVAL)
        async with alerts.running():
            for number, level, text, pauses in sequence:
                alerts.take(event(f"event-{number}", level, reason=text))
                if pauses:
                    await asyncio.sleep(20)
            await asyncio.sleep(INTERVAL)

    flow.virtually(check())
    assert count_in_groups(webhook.texts) == len(sequence)
    assert count_in_headings(webhook.texts) == Counter(level for _, level, _, _ in sequence)
    assert all(len(text) <= MAX_MESSAGE_LENGTH for text in webhook.texts)


# Memory


def waiting(alerts):
    """The groups that wait for their message."""
    (outlet,) = alerts._outlets.values()
    return outlet._groups


async def test_memory_is_limited_and_further_events_are_counted(alerts, webhook):
    for number in range(5000):
        alerts.take(event(f"event-{number}", reason="x" * 10_000))
    groups = waiting(alerts)
    assert len(groups.by_kind) == MAX_GROUPS
    assert sum(len(group.example) for group in groups.by_kind.values()) < MAX_GROUPS * 500
    text = message_of(groups, Source(), 0.0).text()
    assert text.count("\N{BULLET}") <= MAX_SHOWN_GROUPS
    assert text.endswith(f"and events of other kinds: {5000 - MAX_GROUPS}")
    assert count_in_groups([text]) == 5000
    assert len(text) <= MAX_MESSAGE_LENGTH


async def test_a_message_shows_at_most_twenty_groups(alerts):
    for number in range(MAX_SHOWN_GROUPS + 5):
        alerts.take(event(f"e{number}"))
    text = message_of(waiting(alerts), Source(), 0.0).text()
    assert text.count("\N{BULLET}") == MAX_SHOWN_GROUPS
    assert text.endswith("and 5 more kinds of events, 5 in all")


# A webhook that fails


async def test_a_failed_message_is_sent_again_unchanged_and_later_events_have_a_message_of_their_own(
    alerts, webhook, events
):
    webhook.errors = [AlertFailed("503")] * 3
    async with alerts.running():
        alerts.take(event(folder="/a"))
        await asyncio.sleep(10)
        alerts.take(event(folder="/b"))
        await asyncio.sleep(2 * INTERVAL)
        assert webhook.tries == pytest.approx([2, 7, 17, 37, 337], abs=0.1)
    assert len(set(webhook.tried[:4])) == 1
    assert len({identity for identity, _ in webhook.tried}) == 2
    assert ["folder=/a" in text for text in webhook.texts] == [True, False]
    assert ["folder=/b" in text for text in webhook.texts] == [False, True]
    assert count_in_groups(webhook.texts) == 2
    failures = [each for each in events if each["event"] == "alerts_not_sent"]
    assert [(each["log_level"], each["reason"], each["pending"]) for each in failures] == [
        ("warning", "503", 1),
        ("warning", "503", 1),
        ("warning", "503", 2),
    ]


async def test_retry_delays_grow_up_to_the_interval(alerts, webhook):
    webhook.errors = [AlertFailed("404")] * 20
    async with alerts.running():
        alerts.take(event())
        await asyncio.sleep(2000)
        pauses = [after - before for before, after in zip(webhook.tries, webhook.tries[1:], strict=False)]
    assert pauses[:9] == pytest.approx([5, 10, 20, 40, 80, 160, 300, 300, 300], abs=0.1)


@pytest.mark.parametrize(("asked", "pause"), [(60.0, 60.0), (1000.0, 1000.0), (10**9, 3600.0), (0.0, 5.0)])
async def test_the_retry_after_of_the_webhook_is_respected_up_to_an_hour(alerts, webhook, asked, pause):
    webhook.errors = [AlertFailed("429", retry_after=asked)]
    async with alerts.running():
        alerts.take(event())
        await asyncio.sleep(4000)
        assert webhook.tries == pytest.approx([2, 2 + pause], abs=0.1)


async def test_log_events_about_alerts_cause_no_alert(alerts, webhook):
    """With the real logging configuration. Otherwise each failure would cause the next message."""
    webhook.errors = [AlertFailed("503")]
    with configured():
        async with alerts.running():
            structlog.get_logger().warning("refresh_failed")
            await asyncio.sleep(5000)
            assert len(webhook.tries) == 2
    assert "alerts_not_sent" not in webhook.texts[0]


async def test_an_unexpected_error_in_posting_is_logged_without_its_text(alerts, webhook, events):
    webhook.errors = [ValueError("https://hooks.example.com/SECRET")]
    async with alerts.running():
        alerts.take(event())
        await asyncio.sleep(20)
    assert [each["reason"] for each in events if each["event"] == "alerts_not_sent"] == ["ValueError"]
    assert count_in_groups(webhook.texts) == 1


# The end


async def test_at_the_end_remaining_events_are_sent_before_the_interval_is_over(alerts, webhook):
    async with alerts.running():
        alerts.take(event())
        await asyncio.sleep(10)
        alerts.take(event())
    assert count_in_groups(webhook.texts) == 2


async def test_a_message_in_flight_at_the_end_is_sent_again(alerts, webhook):
    webhook.takes = 3.0
    async with alerts.running():
        alerts.take(event())
        await asyncio.sleep(3)
    assert count_in_groups(webhook.texts) == 1


async def test_at_the_end_a_failed_message_is_sent_again_for_a_limited_time(flow, alerts, webhook, events):
    webhook.errors = [AlertFailed("503")] * 2
    async with alerts.running():
        alerts.take(event())
    assert count_in_groups(webhook.texts) == 1
    webhook.takes = 1000
    began = flow.time()
    async with alerts.running():
        alerts.take(event())
    assert flow.time() - began == pytest.approx(LAST_SEND_TIMEOUT, abs=0.1)
    assert [each["count"] for each in events if each["event"] == "alerts_lost"] == [1]


async def test_the_error_that_ends_the_service_is_an_alert(alerts, webhook):
    with pytest.raises(ZeroDivisionError):
        async with alerts.running():
            raise ZeroDivisionError("a bug")
    assert "error service_failed (ZeroDivisionError): once" in webhook.texts[0]
    assert "a bug" in webhook.texts[0]


# With the logs


@contextmanager
def configured(lowest="info"):
    """Configure logging as the service does, with a buffer as standard error. Restored at the end."""
    root = logging.getLogger()
    handlers, level, error = root.handlers[:], root.level, sys.stderr
    before = structlog.get_config()
    sys.stderr = io.StringIO()
    try:
        logs.configure(lowest, "json")
        yield sys.stderr
    finally:
        sys.stderr = error
        root.handlers[:] = handlers
        root.setLevel(level)
        structlog.configure(**before)


async def test_logged_warnings_and_errors_are_taken_and_not_changed(alerts, webhook):
    with configured() as written:
        async with alerts.running():
            log = structlog.get_logger()
            log.info("nothing")
            log.warning("refresh_failed", folder="/a", error="CallFailed")
            try:
                raise ZeroDivisionError
            except ZeroDivisionError:
                log.exception("refresh_crashed", folder="/b")
        log.warning("too_late")
    assert count_in_headings(webhook.texts) == {"warning": 1, "error": 1}
    assert "refresh_crashed (ZeroDivisionError)" in webhook.texts[0]
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["nothing", "refresh_failed", "refresh_crashed", "too_late"]
    assert lines[1]["folder"] == "/a"
    assert "ZeroDivisionError" in lines[2]["exception"]


async def test_log_lines_of_libraries_are_grouped_by_logger_name(alerts, webhook):
    with configured():
        async with alerts.running():
            for number in range(3):
                logging.getLogger("some.library").warning("connection %d is gone", number)
            logging.getLogger("some.library").info("fine")
    assert "warning some.library: 3 times" in webhook.texts[0]
    assert "connection 2 is gone" in webhook.texts[0]


async def test_an_error_in_a_listener_does_not_reach_the_log_call():
    def fail(_):
        raise ZeroDivisionError

    with configured() as written, logs.listening(fail):
        structlog.get_logger().warning("still_written")
    assert "still_written" in written.getvalue()


async def test_a_field_that_cannot_be_printed_does_not_hide_its_event(alerts, webhook):
    class Unprintable:
        def __str__(self) -> str:
            raise ZeroDivisionError

        __repr__ = object.__repr__

    with configured() as written:
        async with alerts.running():
            structlog.get_logger().warning("unprintable", value=Unprintable(), folder="/a")
    assert "unprintable" in written.getvalue()
    assert "value=?, folder=/a" in webhook.texts[0]


async def test_events_of_other_threads_are_sent(flow, alerts, webhook):
    async with alerts.running():
        threads = [
            threading.Thread(target=lambda: [alerts.take(event(number=n)) for n in range(500)]) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        await asyncio.sleep(10)
        assert webhook.times == pytest.approx([2], abs=0.1)
    assert count_in_groups(webhook.texts) == 2000


def test_logging_after_the_loop_has_closed_raises_nothing(flow, webhook):
    made = []

    async def run() -> None:
        made.append(Alerts([webhook]))
        async with made[0].running():
            pass

    flow.virtually(run())
    made[0].take(event())


# Several processes


async def test_alerts_of_a_worker_are_passed_on_and_sent_once_by_the_other_process(flow, webhook, alerts):
    taken = []

    def relay(groups):
        taken.append(groups)
        alerts.merge(groups, "0")
        return True

    relayed = RelayedAlerts(relay)
    async with alerts.running(), relayed.running():
        for _ in range(3):
            relayed.take(event("ledger_write_failed", reason="disk full"))
        relayed.take(event(level="info"))
        await flow.until(lambda: webhook.texts)
    # The other process listens to its own log lines only, so here nothing is counted twice.
    assert len(taken) == 1
    assert count_in_groups(webhook.texts) == 3


async def test_alerts_that_cannot_be_passed_on_are_kept(flow):
    taken, answers = [], [False, False, True]

    def relay(groups):
        taken.append(groups.levels["warning"])
        return answers.pop(0)

    relayed = RelayedAlerts(relay)
    async with relayed.running():
        relayed.take(event())
        await flow.until(lambda: taken)
        relayed.take(event("late"))
        await flow.until(lambda: not answers)
    assert taken == [1, 2, 2]
