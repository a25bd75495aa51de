"""What is known of a queue: until when its messages were seen, whatever the notes and the clock say."""

import json
from types import SimpleNamespace

import pytest

from jibe_sqs.core.model import Message
from jibe_sqs.ports import QueueDepth
from jibe_sqs.telemetry.queue_activity import Gap, QueueActivity
from jibe_sqs.telemetry.queue_watch import LastFiles
from jibe_sqs.telemetry.silences import Silences, moment

NOW = 2e9
DAY = 86_400.0
RETENTION = 4 * DAY


@pytest.fixture
def clock():
    return SimpleNamespace(now=NOW)


@pytest.fixture
def activity(clock):
    return QueueActivity("queue", lambda: clock.now)


def sent(at, *, receive_count=1):
    return Message("m1", "r1", b"", receive_count, at)


def noted(**times):
    return json.dumps({"receive": NOW, "message": NOW, "seen": NOW, "events": False, "gap": None} | times)


def test_an_empty_receive_sees_everything(activity, clock):
    clock.now += DAY
    activity.received([])
    assert activity.seen_until == NOW + DAY


def test_an_empty_receive_of_a_fifo_queue_sees_nothing_while_messages_wait(clock):
    """They are behind a message of their group that is in flight, and expire there."""
    activity = QueueActivity("queue.fifo", lambda: clock.now)
    activity.received([sent(NOW - 3 * DAY)])
    activity.measured(QueueDepth(visible=5, hidden=1, retention=RETENTION))
    activity.received([])
    assert activity.seen_until == NOW - 3 * DAY
    activity.measured(QueueDepth(visible=0, hidden=1, retention=RETENTION))
    activity.received([])
    assert activity.seen_until == NOW


@pytest.mark.parametrize("time", [NOW + 365 * DAY, 1e18, float("inf"), float("nan")])
def test_a_note_from_the_future_hides_no_later_gap(activity, clock, time):
    """The clock was wrong when it was written, or something else has written it."""
    activity.restore(noted(receive=time, message=time, seen=time, gap=[time, time]))
    assert moment(activity.last_message) == moment(NOW)
    assert activity.gap == Gap(NOW, NOW)
    activity.caught_up(activity.gap)
    activity.received([sent(NOW)])
    clock.now += 2 * RETENTION
    activity.received([sent(clock.now)])
    assert activity.gap == Gap(NOW, clock.now)


def test_a_clock_that_was_ahead_for_a_while_hides_no_later_gap(activity, clock):
    clock.now = NOW + 365 * DAY
    activity.received([])
    clock.now = NOW
    activity.received([sent(NOW)])
    clock.now += 2 * RETENTION
    activity.received([sent(clock.now)])
    assert activity.gap == Gap(NOW, clock.now)


@pytest.mark.parametrize("time", [1e18, float("nan")])
def test_notes_of_silences_from_the_future_hide_no_silence(clock, time):
    files, silences = LastFiles(lambda: clock.now), Silences([], lambda: clock.now)
    files.restore(json.dumps({"logs": time}))
    silences.restore(json.dumps({"message queue": time}))
    assert files.of("logs") == NOW


@pytest.mark.parametrize(
    ("age", "visible_in", "is_lost"),
    [(RETENTION, 0.0, True), (RETENTION - 900.0, 0.0, True), (DAY, 3 * DAY, True), (DAY, 900.0, False)],
)
def test_a_message_that_expires_before_it_is_done_is_a_gap(activity, age, visible_in, is_lost):
    activity.not_done(sent(NOW - age, receive_count=9), visible_in)
    assert activity.gap == (Gap(NOW - age, NOW) if is_lost else None)
