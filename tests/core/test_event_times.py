"""The time of an event, in each form in which a source writes it."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jibe_sqs.core.event_times import EARLIEST, event_time, iso_time
from jibe_sqs.core.model import UNKNOWN_TIME

FIRST, LAST = datetime.fromisoformat("2006-01-02"), datetime.fromisoformat("9999-12-30")
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    "value",
    [
        "2026-01-31T12:00:00Z",
        "2026-01-31T12:00:00.000000000Z",
        "2026-01-31T14:00:00+02:00",
        "2026-01-31 12:00:00",
        " 2026-01-31T12:00:00Z ",
        "20260131T120000Z",
        "20260131T140000.0+0200",
        "2026-W05-6T12:00:00Z",
        NOON,
        int(NOON),
        int(NOON * 1e3),
        NOON * 1e3,
        int(NOON * 1e6),
        int(NOON * 1e9),
        str(int(NOON)),
        f"{NOON * 1e3:.1f}",
    ],
)
def test_each_form_of_a_time_is_read(value):
    assert event_time(value) == NOON


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        "",
        "soon",
        "2026-02-31T00:00:00Z",
        "10000-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "0001-01-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "1970-01-01T00:00:00Z",
        "2005-12-31T23:59:59Z",
        int(NOON - 21 * 365.25 * 86_400),
        "1900-01-01T00:00:00Z",
        "2026-01-31",
        "20260131",
        "2026-W05-6",
        "2026-01-31T12",
        "2026-01-31T12Z",
        "20260131T12Z",
        "2026-01-31T12:00",
        "2026-01-31T12:00Z",
        "2026-01-31 12:00+02:00",
        "2026-01-31T12:00+02:00:30",
        "20260131T1200Z",
        "20260131T12+020030",
        "2026-01-31T12+02:00",
        "2026-01-31T12:00+02:00",
        "20260131T1200",
        0,
        7,
        -1,
        float("nan"),
        float("inf"),
        10**400,
        "9" * 5000,
        [NOON],
        {},
    ],
)
def test_a_value_that_is_not_an_exact_time_is_unknown(value):
    assert event_time(value) == UNKNOWN_TIME


def test_a_time_before_the_launch_of_s3_is_unknown():
    assert event_time("2006-01-01T00:00:00Z") == EARLIEST
    assert event_time(EARLIEST - 1) == UNKNOWN_TIME


@given(st.datetimes(min_value=FIRST, max_value=LAST))
def test_every_iso_8601_time_to_the_second_is_read(moment):
    expected = moment.replace(tzinfo=UTC).timestamp()
    assert event_time(moment.isoformat()) == expected
    assert event_time(moment.isoformat(timespec="minutes")) == UNKNOWN_TIME
    assert event_time(f"{moment.isoformat()}Z") == expected


@given(st.none() | st.text() | st.integers() | st.floats() | st.lists(st.integers()))
def test_any_value_gives_a_time_that_can_be_formatted(value):
    datetime.fromtimestamp(event_time(value), UTC)


@pytest.mark.parametrize("text", ["20150817T1501Z", "2015-08-17T15:01", "2015-08-17T17:01:00+02:00"])
def test_an_iso_time_is_in_utc(text):
    assert iso_time(text) == datetime(2015, 8, 17, 15, 1, tzinfo=UTC)
    assert iso_time(text).tzinfo is UTC


@pytest.mark.parametrize(
    "text", ["", "soon", "20150817T9901Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-23:59"]
)
def test_an_iso_time_that_cannot_be_read_is_a_value_error(text):
    with pytest.raises(ValueError, match=r"."):
        iso_time(text)
