"""Alerts: soon, grouped, seldom, and none lost; and whoever logs notices nothing of them."""

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
from jibe_sqs.telemetry.alerts import (
    GATHER_TIME,
    LAST_SEND_TIMEOUT,
    MAX_GROUPS,
    MAX_MESSAGE_LENGTH,
    MAX_SHOWN_GROUPS,
    AlertFailed,
    Alerts,
    message_text,
)

INTERVAL = 300.0


class Channel:
    """Where people read: keeps the messages and when they came, unless something is wrong with it."""

    def __init__(self, flow) -> None:
        self.flow = flow
        self.messages: list[tuple[float, str]] = []
        self.tries: list[float] = []
        self.errors: list[Exception] = []
        self.takes = 0.0

    async def post(self, text: str) -> None:
        self.tries.append(self.flow.time())
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
def channel(flow):
    return Channel(flow)


@pytest.fixture
async def alerts(channel):
    return Alerts(channel.post, interval=INTERVAL)


def event(name="refresh_failed", level="warning", **fields):
    return {"event": name, "level": level, "timestamp": "2026-01-01T00:00:00Z", **fields}


def told(texts) -> int:
    """How many events the messages tell of, line by line."""
    number = 0
    for line in "\n".join(texts).split("\n"):
        if line.startswith("\N{BULLET}"):
            times = re.search(r": (?:(once)|(\d+) times, the last) at", line)
            number += int(times[2] or 1)
        elif line.startswith("and "):
            number += int(re.search(r"(\d+)(?: in all)?$", line)[1])
    return number


def headed(texts) -> Counter:
    """How many events of each level the headings tell of."""
    found = Counter()
    for text in texts:
        for number, level in re.findall(r"(\d+) (warning|error|critical)s?", text.split("\n")[0]):
            found[level] += int(number)
    return found


# When


async def test_the_first_comes_after_a_short_while_and_brings_what_came_meanwhile(alerts, channel):
    async with alerts.running():
        alerts.take(event(folder="/a"))
        await asyncio.sleep(1)
        alerts.take(event(folder="/b"))
        await asyncio.sleep(10)
        assert channel.times == pytest.approx([GATHER_TIME], abs=0.01)
        assert "2 times" in channel.texts[0]
        assert "folder=/b" in channel.texts[0]
        assert "folder=/a" not in channel.texts[0]


async def test_then_there_is_at_most_one_message_an_interval(alerts, channel):
    async with alerts.running():
        for _ in range(1000):
            alerts.take(event())
            await asyncio.sleep(1)
        at_end = list(channel.times)
    assert at_end == pytest.approx([2, 302, 602, 902], abs=0.1)
    assert told(channel.texts) == 1000


async def test_after_a_quiet_interval_the_next_comes_soon_again(alerts, channel):
    async with alerts.running():
        alerts.take(event())
        await asyncio.sleep(1000)
        alerts.take(event())
        await asyncio.sleep(10)
        assert channel.times == pytest.approx([2, 1002], abs=0.01)


async def test_where_nothing_happens_nothing_is_sent(alerts, channel):
    async with alerts.running():
        await asyncio.sleep(10_000)
    assert channel.messages == []


async def test_what_happened_before_it_ran_is_told_too(alerts, channel):
    alerts.take(event())
    async with alerts.running():
        await asyncio.sleep(5)
        assert told(channel.texts) == 1


# What


@pytest.mark.parametrize(
    ("least", "expected"),
    [("warning", {"warning": 1, "error": 1, "critical": 1}), ("error", {"error": 1, "critical": 1})],
)
async def test_only_what_is_bad_enough_is_told(channel, least, expected):
    alerts = Alerts(channel.post, level=least)
    async with alerts.running():
        for level in ("debug", "info", "warning", "error", "critical"):
            alerts.take(event(level=level))
        alerts.take({"event": "of no level"})
    assert headed(channel.texts) == expected


async def test_events_are_grouped_by_name_and_class_of_error_errors_first(alerts, channel):
    async with alerts.running():
        for _ in range(3):
            alerts.take(event(error="CallFailed", reason="no"))
        alerts.take(event(error="RefreshTimedOut", reason="slow"))
        alerts.take(event("message_rejected", "error", error="LogMissing"))
    (text,) = channel.texts
    lines = [line for line in text.split("\n") if line.startswith("\N{BULLET}")]
    assert [re.sub(" at .*", "", line) for line in lines] == [
        "\N{BULLET} error message_rejected (LogMissing): once",
        "\N{BULLET} warning refresh_failed (CallFailed): 3 times, the last",
        "\N{BULLET} warning refresh_failed (RefreshTimedOut): once",
    ]
    assert text.startswith("jibe-sqs: 1 error, 4 warnings\n")


async def test_it_says_who_speaks(channel):
    alerts = Alerts(channel.post, source="pod-1")
    async with alerts.running():
        alerts.take(event())
    assert channel.texts[0].startswith("jibe-sqs on pod-1: 1 warning\n")


async def test_nobody_is_called_by_what_a_key_holds(alerts, channel):
    async with alerts.running():
        alerts.take(event(key="<!channel> & <https://evil.example|click>"))
    assert "key=&lt;!channel&gt; &amp; &lt;https://evil.example|click&gt;" in channel.texts[0]
    assert "<" not in channel.texts[0]


async def test_long_values_are_cut_and_lines_stay_lines(alerts, channel):
    async with alerts.running():
        alerts.take(event(reason="x" * 10_000, key="a\nb\x1b[31m"))
    assert "x" * 150 in channel.texts[0]
    assert "x" * 250 not in channel.texts[0]
    assert "key=a b\N{REPLACEMENT CHARACTER}[31m" in channel.texts[0]


async def test_an_exception_names_its_class(alerts, channel):
    async with alerts.running():
        try:
            raise ZeroDivisionError
        except ZeroDivisionError as error:
            alerts.take(event("a", "error", exc_info=True))
            alerts.take(event("b", "error", exc_info=error))
            alerts.take(event("c", "error", exc_info=sys.exc_info()))
    assert channel.texts[0].count("(ZeroDivisionError)") == 3


@given(
    st.lists(
        st.tuples(st.integers(0, 300), st.sampled_from(["warning", "error"]), st.text(max_size=300), st.booleans()),
        max_size=400,
    ),
    st.lists(st.booleans(), max_size=5),
)
def test_as_many_events_come_out_as_went_in(flow, sequence, failures):
    """Whatever the order, the number of kinds and the failures of the channel."""
    channel = Channel(flow)
    channel.errors = [AlertFailed("503")] * sum(failures)

    async def check() -> None:
        alerts = Alerts(channel.post, interval=INTERVAL)
        async with alerts.running():
            for number, level, text, pauses in sequence:
                alerts.take(event(f"event-{number}", level, reason=text))
                if pauses:
                    await asyncio.sleep(20)
            await asyncio.sleep(INTERVAL)

    flow.virtually(check())
    assert told(channel.texts) == len(sequence)
    assert headed(channel.texts) == Counter(level for _, level, _, _ in sequence)
    assert all(len(text) <= MAX_MESSAGE_LENGTH for text in channel.texts)


# Memory


async def test_memory_is_bounded_and_the_rest_is_counted(alerts, channel):
    for number in range(5000):
        alerts.take(event(f"event-{number}", reason="x" * 10_000))
    assert len(alerts._groups.by_key) == MAX_GROUPS
    assert sum(len(group.example) for group in alerts._groups.by_key.values()) < MAX_GROUPS * 500
    text = message_text(alerts._groups)
    assert text.count("\N{BULLET}") <= MAX_SHOWN_GROUPS
    assert text.endswith(f"and events of other kinds: {5000 - MAX_GROUPS}")
    assert told([text]) == 5000
    assert len(text) <= MAX_MESSAGE_LENGTH


async def test_at_most_twenty_kinds_are_shown(alerts):
    for number in range(MAX_SHOWN_GROUPS + 5):
        alerts.take(event(f"e{number}"))
    text = message_text(alerts._groups)
    assert text.count("\N{BULLET}") == MAX_SHOWN_GROUPS
    assert text.endswith("and 5 more kinds of events, 5 in all")


# A webhook that fails


async def test_a_failure_is_tried_again_and_nothing_is_lost(alerts, channel, events):
    channel.errors = [AlertFailed("503")] * 3
    async with alerts.running():
        alerts.take(event(folder="/a"))
        await asyncio.sleep(10)
        alerts.take(event(folder="/b"))
        await asyncio.sleep(INTERVAL)
        assert channel.tries == pytest.approx([2, 7, 17, 37], abs=0.1)
        assert told(channel.texts) == 2
        assert "folder=/b" in channel.texts[0]
    failures = [each for each in events if each["event"] == "alerts_not_sent"]
    assert [(each["log_level"], each["reason"], each["pending"]) for each in failures] == [
        ("warning", "503", 1),
        ("warning", "503", 1),
        ("warning", "503", 2),
    ]


async def test_its_retries_grow_up_to_the_interval(alerts, channel):
    channel.errors = [AlertFailed("404")] * 20
    async with alerts.running():
        alerts.take(event())
        await asyncio.sleep(2000)
        pauses = [after - before for before, after in zip(channel.tries, channel.tries[1:], strict=False)]
    assert pauses[:9] == pytest.approx([5, 10, 20, 40, 80, 160, 300, 300, 300], abs=0.1)


@pytest.mark.parametrize(("asked", "pause"), [(60.0, 60.0), (1000.0, 1000.0), (10**9, 3600.0), (0.0, 5.0)])
async def test_it_waits_for_as_long_as_it_is_asked_to(alerts, channel, asked, pause):
    channel.errors = [AlertFailed("429", retry_after=asked)]
    async with alerts.running():
        alerts.take(event())
        await asyncio.sleep(4000)
        assert channel.tries == pytest.approx([2, 2 + pause], abs=0.1)


async def test_what_it_says_of_its_own_failures_is_no_alert(alerts, channel):
    """Over the logs as they are configured, or it would go on for ever."""
    channel.errors = [AlertFailed("503")]
    with configured():
        async with alerts.running():
            structlog.get_logger().warning("refresh_failed")
            await asyncio.sleep(5000)
            assert len(channel.tries) == 2
    assert "alerts_not_sent" not in channel.texts[0]


async def test_a_defect_in_posting_is_told_without_its_text(alerts, channel, events):
    channel.errors = [ValueError("https://hooks.example.com/SECRET")]
    async with alerts.running():
        alerts.take(event())
        await asyncio.sleep(20)
    assert [each["reason"] for each in events if each["event"] == "alerts_not_sent"] == ["ValueError"]
    assert told(channel.texts) == 1


# The end


async def test_at_the_end_what_is_left_is_sent_whatever_the_interval(alerts, channel):
    async with alerts.running():
        alerts.take(event())
        await asyncio.sleep(10)
        alerts.take(event())
    assert told(channel.texts) == 2


async def test_a_message_in_flight_at_the_end_is_sent_again_rather_than_lost(alerts, channel):
    channel.takes = 3.0
    async with alerts.running():
        alerts.take(event())
        await asyncio.sleep(3)
    assert told(channel.texts) == 1


async def test_at_the_end_it_tries_again_but_not_for_long(flow, alerts, channel, events):
    channel.errors = [AlertFailed("503")] * 2
    async with alerts.running():
        alerts.take(event())
    assert told(channel.texts) == 1
    channel.takes = 1000
    began = flow.time()
    async with alerts.running():
        alerts.take(event())
    assert flow.time() - began == pytest.approx(LAST_SEND_TIMEOUT, abs=0.1)
    assert [each["count"] for each in events if each["event"] == "alerts_lost"] == [1]


async def test_what_ended_the_service_is_told(alerts, channel):
    with pytest.raises(ZeroDivisionError):
        async with alerts.running():
            raise ZeroDivisionError("a bug")
    assert "error service_failed (ZeroDivisionError): once" in channel.texts[0]
    assert "a bug" in channel.texts[0]


# Among the logs


@contextmanager
def configured():
    """The logs as the service has them, on standard error; and as they were, afterwards."""
    root = logging.getLogger()
    handlers, level, error = root.handlers[:], root.level, sys.stderr
    before = structlog.get_config()
    sys.stderr = io.StringIO()
    try:
        logs.configure("info", "json")
        yield sys.stderr
    finally:
        sys.stderr = error
        root.handlers[:] = handlers
        root.setLevel(level)
        structlog.configure(**before)


async def test_warnings_and_errors_are_heard_as_they_are_logged_and_not_changed(alerts, channel):
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
    assert headed(channel.texts) == {"warning": 1, "error": 1}
    assert "refresh_crashed (ZeroDivisionError)" in channel.texts[0]
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["nothing", "refresh_failed", "refresh_crashed", "too_late"]
    assert lines[1]["folder"] == "/a"
    assert "ZeroDivisionError" in lines[2]["exception"]


async def test_what_libraries_log_is_heard_by_the_name_of_their_logger(alerts, channel):
    with configured():
        async with alerts.running():
            for number in range(3):
                logging.getLogger("some.library").warning("connection %d is gone", number)
            logging.getLogger("some.library").info("fine")
    assert "warning some.library: 3 times" in channel.texts[0]
    assert "connection 2 is gone" in channel.texts[0]


async def test_a_listener_that_breaks_does_not_break_who_logs():
    def breaks(_):
        raise ZeroDivisionError

    with configured() as written, logs.listening(breaks):
        structlog.get_logger().warning("still_written")
    assert "still_written" in written.getvalue()


async def test_a_field_that_cannot_be_told_does_not_hide_its_event(alerts, channel):
    class Unspeakable:
        def __str__(self) -> str:
            raise ZeroDivisionError

        __repr__ = object.__repr__

    with configured() as written:
        async with alerts.running():
            structlog.get_logger().warning("unspeakable", value=Unspeakable(), folder="/a")
    assert "unspeakable" in written.getvalue()
    assert "value=?, folder=/a" in channel.texts[0]


async def test_threads_may_log_and_wake_it(flow, alerts, channel):
    async with alerts.running():
        threads = [
            threading.Thread(target=lambda: [alerts.take(event(number=n)) for n in range(500)]) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        await asyncio.sleep(10)
        assert channel.times == pytest.approx([2], abs=0.1)
    assert told(channel.texts) == 2000


def test_logging_after_the_loop_has_closed_harms_nobody(flow, channel):
    made = []

    async def run() -> None:
        made.append(Alerts(channel.post))
        async with made[0].running():
            pass

    flow.virtually(run())
    made[0].take(event())
