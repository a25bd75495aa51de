"""Quiet hours by the clock of a place: over midnight, and on the days when the clocks change."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jibe_sqs.core.quiet_hours import MAX_HOURS, QuietHours

BERLIN = ZoneInfo("Europe/Berlin")
HOUR = 3600.0


def at(text: str, zone=UTC) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


@pytest.mark.parametrize(
    ("hours", "moment", "is_quiet"),
    [
        ("22:00-06:00", "2026-01-01T21:59:59", False),
        ("22:00-06:00", "2026-01-01T22:00:00", True),
        ("22:00-06:00", "2026-01-02T00:00:00", True),
        ("22:00-06:00", "2026-01-02T05:59:59", True),
        ("22:00-06:00", "2026-01-02T06:00:00", False),
        ("08:00-17:30", "2026-01-02T08:00:00", True),
        ("08:00-17:30", "2026-01-02T17:30:00", False),
        ("08:00-17:30", "2026-01-02T07:59:00", False),
    ],
)
def test_the_begin_is_quiet_and_the_end_is_not(hours, moment, is_quiet):
    assert QuietHours.parsed(hours, UTC).contain(at(moment)) is is_quiet


@pytest.mark.parametrize(
    ("moment", "end"),
    [
        ("2026-01-01T22:00:00", "2026-01-02T06:00:00"),
        ("2026-01-02T03:00:00", "2026-01-02T06:00:00"),
        # Summer time begins and ends at night: the hours have another length, and end by the clock.
        ("2026-03-28T23:00:00", "2026-03-29T06:00:00"),
        ("2026-10-24T23:00:00", "2026-10-25T06:00:00"),
    ],
)
def test_they_end_by_the_clock_of_the_place(moment, end):
    hours = QuietHours.parsed("22:00-06:00", BERLIN)
    assert hours.end_after(at(moment, BERLIN)) == at(end, BERLIN)
    assert not hours.contain(at(end, BERLIN))


def test_an_end_that_exists_twice_is_ahead_also_between_the_two():
    """Else a message would wait for a time that has passed, and come back again and again."""
    hours = QuietHours.parsed("22:00-02:30", BERLIN)
    between = at("2026-10-25T01:10:00")
    assert hours.contain(between)
    assert hours.end_after(between) == at("2026-10-25T01:30:00")


@given(
    start=st.integers(0, 1439),
    length=st.integers(1, MAX_HOURS * 60),
    moment=st.floats(at("2026-01-01T00:00:00"), at("2027-12-31T00:00:00")),
    zone=st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"]),
)
def test_nothing_waits_for_longer_than_the_hours_and_one_change_of_the_clock(start, length, moment, zone):
    end = (start + length) % 1440
    hours = QuietHours.parsed(f"{start // 60:02}:{start % 60:02}-{end // 60:02}:{end % 60:02}", ZoneInfo(zone))
    if hours.contain(moment):
        longest = moment + length * 60 + HOUR
        assert any(not hours.contain(moment + minutes * 60) for minutes in range(0, length + 61, 1))
        assert moment < hours.end_after(moment) <= longest + timedelta(hours=1).total_seconds()


@pytest.mark.parametrize("text", ["", "22-06", "24:00-06:00", "22:00", "22:00-22:00", "06:00-22:00", "22:60-23:00"])
def test_other_texts_are_mistakes(text):
    with pytest.raises(ValueError, match="hours"):
        QuietHours.parsed(text, UTC)
