"""The parts of a status: minutes, folders, logged errors, and the status of several processes as one."""

import itertools

import msgspec
import pytest

from jibe_sqs.core.model import Folder
from jibe_sqs.ports import RefreshOutcome
from jibe_sqs.telemetry import merged_status
from jibe_sqs.telemetry.folder_times import MAX_FAILING, MAX_SLOW, FolderTimes
from jibe_sqs.telemetry.lag import Lag
from jibe_sqs.telemetry.logged_errors import MAX_DEAD_LETTERS, MAX_KINDS, LoggedErrors
from jibe_sqs.telemetry.minutes import KEPT, Minutes, Totals
from jibe_sqs.telemetry.status import (
    FolderStatus,
    LagStatus,
    LoggedError,
    Minute,
    PauseStatus,
    PrincipalStatus,
    QueueStatus,
    SkippedBucket,
    Status,
)


class Now:
    """A wall clock that the test sets."""

    def __init__(self, seconds: float = 6000.0) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        return self.seconds


class Work:
    """Counts that grow."""

    def __init__(self) -> None:
        self.totals = Totals()
        self.lag = Lag()

    def do(self, messages: int, lag: float = 1.0) -> None:
        self.totals = msgspec.structs.replace(self.totals, messages=self.totals.messages + messages)
        self.lag.add(lag, messages)


@pytest.fixture
def now() -> Now:
    return Now()


def test_each_minute_shows_the_work_that_was_done_in_it(now):
    work = Work()
    minutes = Minutes(lambda: work.totals, lambda: work.lag, now)
    work.do(3)
    now.seconds += 60
    minutes.look()
    work.do(5)
    assert [(each.at, each.messages) for each in minutes.shown] == [(6000.0, 3), (6060.0, 5)]


def test_minutes_in_which_nobody_looked_are_empty_and_an_hour_is_kept(now):
    work = Work()
    minutes = Minutes(lambda: work.totals, lambda: work.lag, now)
    work.do(3)
    now.seconds += 180
    assert [each.messages for each in minutes.shown] == [3, 0, 0, 0]
    now.seconds += 100 * 60
    shown = minutes.shown
    assert len(shown) == KEPT
    assert shown[-1].at == now.seconds // 60 * 60
    assert [later.at - earlier.at for earlier, later in itertools.pairwise(shown)] == [60.0] * (KEPT - 1)


def test_a_clock_that_is_set_back_ends_no_minute(now):
    minutes = Minutes(Totals, Lag, now)
    now.seconds -= 600
    assert len(minutes.shown) == 1


def test_minutes_and_the_lag_go_on_after_a_clock_that_was_far_ahead_is_set_right(now):
    work = Work()
    minutes = Minutes(lambda: work.totals, lambda: work.lag, now)
    now.seconds += 86_400
    work.do(3, lag=5000.0)
    minutes.look()
    now.seconds -= 86_400
    minutes.look()
    for _ in range(20):
        now.seconds += 60
        work.do(5)
        minutes.look()
    shown = minutes.shown
    assert shown[-1].at == now.seconds
    assert [each.messages for each in shown[-20:]] == [5] * 19 + [0]
    assert minutes.lag.longest is not None
    assert minutes.lag.longest < 2.0


def test_the_lag_is_that_of_the_last_quarter_of_an_hour(now):
    work = Work()
    minutes = Minutes(lambda: work.totals, lambda: work.lag, now)
    work.do(100, lag=5000.0)
    for _ in range(20):
        now.seconds += 60
        minutes.look()
    assert minutes.lag == LagStatus()
    work.do(10, lag=2.0)
    assert minutes.lag.p99 is not None
    assert 2.0 <= minutes.lag.p99 < 3.0


def outcome(path: str, *, seconds: float = 2.0, error: Exception | None = None, tree: bool = False) -> RefreshOutcome:
    return RefreshOutcome(Folder(path, tree=tree), seconds, waited=seconds + 1, error=error)


def test_a_folder_fails_from_its_first_failed_refresh_until_one_succeeds(now):
    times = FolderTimes(now)
    times.observe(outcome("/a", error=ValueError("no")))
    now.seconds += 100
    times.observe(outcome("/a", error=ValueError("still no")))
    (failing,) = times.failing
    assert failing.since == 5997.0
    assert failing.error == "ValueError: still no"
    times.observe(outcome("/a"))
    assert not times.failing


def test_the_refresh_of_a_tree_ends_the_failures_below_it(now):
    times = FolderTimes(now)
    for path in ("/a/b", "/ab"):
        times.observe(outcome(path, error=ValueError("no")))
    times.observe(outcome("/a", tree=True))
    assert [each.path for each in times.failing] == ["/ab"]


def test_a_folder_that_another_process_refreshed_later_fails_no_more(now):
    folders = FolderTimes(now)
    folders.observe(outcome("/a", seconds=2.0, error=ValueError("no")))
    folders.observe(outcome("/b", error=ValueError("no")))
    before, after = now() - 2.5, now() - 1.5
    assert folders.refreshed_elsewhere({Folder("/a"): before, Folder("/c"): after}) == []
    assert folders.refreshed_elsewhere({Folder("/a"): after}) == [Folder("/a")]
    assert [each.path for each in folders.failing] == ["/b"]
    folders.forget(folders.failing_folders)
    assert folders.failing == []


def test_the_slowest_folders_of_the_last_hour_are_kept_and_no_more(now):
    times = FolderTimes(now)
    times.observe(outcome("/old", seconds=100.0))
    now.seconds += 3601
    for number in range(3 * MAX_SLOW):
        times.observe(outcome(f"/{number}", seconds=2.0 + number))
        times.observe(outcome(f"/failing{number}", error=ValueError("no")))
    times.observe(outcome("/quick", seconds=0.1))
    assert [each.path for each in times.slowest[:2]] == [f"/{3 * MAX_SLOW - 1}", f"/{3 * MAX_SLOW - 2}"]
    assert len(times.slowest) == MAX_SLOW
    assert "/old" not in [each.path for each in times.slowest]
    for number in range(2 * MAX_FAILING):
        times.observe(outcome(f"/more{number}", error=ValueError("no")))
    assert len(times.failing) == MAX_FAILING


def test_warnings_and_errors_are_counted_by_kind_and_the_latest_comes_first(now):
    logged = LoggedErrors(now)
    for event in ("refresh_failed", "receive_failed", "refresh_failed"):
        logged.take({"level": "warning", "event": event, "error": "CallFailed", "reason": "no"})
    logged.take({"level": "info", "event": "started"})
    assert [(each.event, each.count) for each in logged.errors] == [("refresh_failed", 2), ("receive_failed", 1)]


def test_a_dead_letter_is_shown_with_its_reason(now):
    logged = LoggedErrors(now)
    event = {
        "level": "error",
        "event": "message_rejected",
        "queue": "jibe",
        "error": "LogMissing",
        "reason": "no object",
    }
    logged.take({**event, "dead_lettered": True})
    logged.take({**event, "dead_lettered": False})
    (letter,) = logged.dead_letters
    assert (letter.queue, letter.error, letter.reason, letter.at) == ("jibe", "LogMissing", "no object", 6000.0)


def test_a_flood_of_kinds_stays_bounded(now):
    class Odd:
        def __str__(self) -> str:
            raise ValueError

    logged = LoggedErrors(now)
    for number in range(10 * MAX_KINDS):
        logged.take({"level": "error", "event": f"event {number}", "error": Odd(), "reason": "x" * 10_000})
        logged.take({"level": "error", "event": "message_rejected", "queue": "q", "dead_lettered": True})
    assert len(logged.errors) == MAX_KINDS
    assert len(logged.dead_letters) == MAX_DEAD_LETTERS
    assert max(len(each.reason) for each in logged.errors) == 500


def test_the_status_of_several_processes_is_merged():
    first = Status(
        at=1.0,
        version="1",
        started=5.0,
        stage="running",
        held_up="Access Anywhere is down for 3 min",
        queues=[QueueStatus(name="jibe", visible=7, oldest=10.0, trouble="no answer"), QueueStatus(name="other")],
        lag=LagStatus(p50=1.0, p99=2.0, longest=2.0),
        minutes=[Minute(at=0.0, events=1), Minute(at=60.0, events=2)],
        messages_held=3,
        totals={"done": 2},
        slowest=[FolderStatus(path="/a", seconds=2.0)],
        unmapped=[SkippedBucket(bucket="b", count=3)],
        errors=[LoggedError(event="x", level="error", at=1.0)],
        pauses=[PauseStatus(provider="S3", since=1.0, until=9.0, waiting=1)],
        principals=[PrincipalStatus(name="ana", count=2, last=1.0)],
        failing=[FolderStatus(path="/a", at=5.0, since=1.0), FolderStatus(path="/b", at=5.0, since=3.0)],
    )
    second = msgspec.structs.replace(
        first,
        started=4.0,
        held_up="",
        queues=[QueueStatus(name="jibe", visible=7, oldest=90.0, last_message=3.0)],
        minutes=[Minute(at=60.0, events=5)],
        lag=LagStatus(p50=3.0),
        slowest=[FolderStatus(path="/b", seconds=9.0)],
        principals=[PrincipalStatus(name="ana", count=3, last=2.0), PrincipalStatus(name="bob", count=1, last=1.0)],
        failing=[FolderStatus(path="/a", at=9.0, since=2.0)],
    )
    whole = merged_status.merged([first, second])
    assert whole.queues == [
        QueueStatus(name="jibe", visible=7, oldest=90.0, last_message=3.0),
        QueueStatus(name="other"),
    ]
    assert [(each.at, each.events) for each in whole.minutes] == [(0.0, 1), (60.0, 7)]
    assert (whole.workers, whole.started, whole.held_up, whole.messages_held) == (2, 4.0, "", 6)
    assert (whole.totals, whole.lag) == ({"done": 4}, LagStatus(p50=3.0, p99=2.0, longest=2.0))
    assert [each.path for each in whole.slowest] == ["/b", "/a"]
    assert (whole.unmapped[0].count, whole.errors[0].count, whole.pauses[0].waiting) == (6, 2, 2)
    assert [(each.name, each.count) for each in whole.principals] == [("ana", 5), ("bob", 1)]
    assert [(each.path, each.at, each.since) for each in whole.failing] == [("/a", 9.0, 1.0), ("/b", 5.0, 3.0)]
    assert whole.sentence.startswith("Catching up: 13 messages wait, the oldest for 1 min")
