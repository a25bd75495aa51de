"""Warnings about skipped changes: at once, then at most once a day for each bucket and each rule."""

import pytest
from structlog.testing import capture_logs

from jibe_sqs.core.decisions import Place
from jibe_sqs.core.plan import SkippedChanges
from jibe_sqs.telemetry.skip_warnings import INTERVAL, MAX_NAMES, OTHERS, SkipWarnings

RULE = "own_writes.user_agents: *"


class ManualClock:
    """Monotonic time that the test sets."""

    def __init__(self):
        self.time = 0.0

    def monotonic(self):
        return self.time


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def logged():
    with capture_logs() as found:
        yield found


def changes(bucket="stray", key="a/x", count=1, principal="arn:ann"):
    return SkippedChanges(bucket, key, principal, count)


def not_mapped(warnings, *buckets, count=1):
    warnings.not_mapped({bucket: changes(bucket, count=count) for bucket in buckets}, {})


def test_a_bucket_that_is_not_mapped_is_warned_of_at_once_with_an_example_and_a_remedy(clock, logged):
    places = {"stray": [Place("/S3/team", "team/"), Place("/Archive")]}
    SkipWarnings(clock).not_mapped({"stray": changes(count=3)}, places)
    [event] = logged
    assert (event["log_level"], event["event"]) == ("warning", "bucket_not_mapped")
    assert (event["bucket"], event["count"], event["key"]) == ("stray", 3, "a/x")
    assert event["shown"] == ["/S3/team shows team/", "/Archive shows all"]
    assert "ignore_buckets" in event["remedy"]


def test_a_rule_is_warned_of_at_once_with_the_principal_that_it_matched(clock, logged):
    SkipWarnings(clock).recognised_as_own({RULE: changes(count=2)})
    [event] = logged
    assert (event["log_level"], event["event"]) == ("warning", "own_write_skipped")
    assert (event["rule"], event["bucket"], event["key"], event["principal"]) == (RULE, "stray", "a/x", "arn:ann")
    assert event["count"] == 2


def test_each_bucket_is_warned_of_once_a_day_with_the_changes_since_the_last_warning(clock, logged):
    warnings = SkipWarnings(clock)
    for clock.time in (0.0, 60.0, INTERVAL - 1, INTERVAL, INTERVAL + 1):
        not_mapped(warnings, "one", count=2)
    not_mapped(warnings, "two")
    assert [(event["bucket"], event["count"]) for event in logged] == [("one", 2), ("one", 6), ("two", 1)]


def test_each_rule_is_warned_of_once_a_day(clock, logged):
    warnings = SkipWarnings(clock)
    for clock.time in (0.0, INTERVAL - 1, INTERVAL):
        warnings.recognised_as_own({RULE: changes(), "own_writes.principals: a": changes()})
    assert [event["rule"] for event in logged] == [RULE, "own_writes.principals: a"] * 2


def test_ignored_buckets_and_log_buckets_cause_no_warning(clock, logged):
    warnings = SkipWarnings(clock, ignore_buckets=["scratch-*", "old"], log_buckets=["trail"])
    not_mapped(warnings, "scratch-1", "old", "trail", "older")
    assert [event["bucket"] for event in logged] == ["older"]
    assert list(warnings.unmapped) == ["older"]


def test_an_own_write_in_an_ignored_bucket_does_not_use_up_the_warning_of_its_rule(clock, logged):
    warnings = SkipWarnings(clock, ignore_buckets=["stray"])
    for bucket in ("stray", "other"):
        warnings.recognised_as_own({RULE: changes(bucket)})
    assert [event["bucket"] for event in logged] == ["other"]


def test_an_own_write_in_a_log_bucket_is_warned_of(clock, logged):
    """Only there the first change of a rule may be visible."""
    SkipWarnings(clock, log_buckets=["stray"]).recognised_as_own({RULE: changes()})
    assert [event["event"] for event in logged] == ["own_write_skipped"]


def test_many_buckets_take_little_memory_and_few_warnings(clock, logged):
    warnings = SkipWarnings(clock)
    for number in range(3 * MAX_NAMES):
        not_mapped(warnings, f"b{number}")
    assert len(warnings.unmapped) == MAX_NAMES + 1
    assert len(logged) == MAX_NAMES + 1
    assert logged[-1]["bucket"] == OTHERS
    assert warnings.unmapped[OTHERS].count == 2 * MAX_NAMES


def test_what_was_skipped_since_the_start_can_be_read(clock, logged):
    warnings = SkipWarnings(clock)
    for key in ("a", "b"):
        warnings.not_mapped({"stray": changes(key=key)}, {})
        warnings.recognised_as_own({RULE: changes(key=key, count=2)})
    assert (warnings.unmapped["stray"].count, warnings.unmapped["stray"].example.key) == (2, "b")
    assert (warnings.own_writes[RULE].count, warnings.own_writes[RULE].example.key) == (4, "b")
    assert len(logged) == 2
