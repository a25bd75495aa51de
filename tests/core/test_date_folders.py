"""Which folders and files are recent, by the dates in their names."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jibe_sqs.core.date_folders import (
    Days,
    Window,
    days_of,
    is_recent,
    is_within,
    may_hold_recent,
    recent,
    shows_today,
)

NOW = datetime(2026, 3, 1, 0, 5, tzinfo=UTC).timestamp()
"""Five minutes after the end of a month."""
OLD = datetime(2026, 1, 5, tzinfo=UTC).timestamp()
WINDOW = recent(NOW, 2)


def days(first, last=None):
    return Days(date.fromisoformat(first), date.fromisoformat(last or first))


def test_two_recent_days_are_yesterday_today_and_tomorrow():
    assert recent(NOW, 2) == days("2026-02-28", "2026-03-02")
    assert recent(NOW, 1) == days("2026-03-01", "2026-03-02")


def test_the_days_since_the_last_search_are_recent():
    day = 86_400.0
    assert recent(NOW, 2, since=NOW - 60) == recent(NOW, 2)
    assert recent(NOW, 1, since=NOW - 600) == days("2026-02-28", "2026-03-02")
    assert recent(NOW, 2, since=NOW - 3 * day) == days("2026-02-25", "2026-03-02")
    assert recent(NOW, 2, since=NOW + 3 * day) == recent(NOW, 2)


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("2026/01/31/", days("2026-01-31")),
        ("AWSLogs/111122223333/CloudTrail/eu-west-1/2026/01/31/", days("2026-01-31")),
        ("a/2026-01-31/b/", days("2026-01-31")),
        ("20260131/", days("2026-01-31")),
        ("2026/", days("2026-01-01", "2026-12-31")),
        ("2024/02/", days("2024-02-01", "2024-02-29")),
        ("year=2026/month=01/day=31/", days("2026-01-31")),
        ("dt=2026-01-31/", days("2026-01-31")),
        ("2026/01/31/13/", days("2026-01-31")),
        ("2026/x/", days("2026-01-01", "2026-12-31")),
        ("2026/13/", days("2026-01-01", "2026-12-31")),
        ("2026/02/31/", days("2026-02-01", "2026-02-28")),
        ("2025/2026-01-31/", days("2026-01-31")),
        ("", None),
        ("/", None),
        ("AWSLogs/111122223333/CloudTrail/", None),
        ("2026-13-01/", None),
        ("20261301/", None),
        ("2026-0131/", None),
        ("12026/", None),
        ("0131/", None),
        ("3026/01/31/", None),
        ("\u0662\u0660\u0662\u0666/", None),
    ],
)
def test_the_days_of_a_folder_are_its_deepest_date(folder, expected):
    assert days_of(folder) == expected


@pytest.mark.parametrize("folder", ["2026/", "2026/02/", "2026/02/28/", "2026/03/01/", "20260302/", "x/", "", "a//b/"])
def test_a_folder_of_recent_days_or_without_a_date_may_hold_recent_files(folder):
    assert may_hold_recent(folder, WINDOW)


@pytest.mark.parametrize("folder", ["2025/", "2026/01/", "2026/02/27/", "2026/03/03/", "2027/", "a/2026-02-01/b/"])
def test_a_folder_of_other_days_holds_no_recent_files(folder):
    assert not may_hold_recent(folder, WINDOW)


@pytest.mark.parametrize(
    ("key", "modified", "expected"),
    [
        ("2026/02/28/file.gz", OLD, True),
        ("2026/02/28/late_20260105T0000Z.gz", OLD, True),
        ("2026/01/05/file.gz", NOW, False),
        ("S3-data-2026-02-28-23-55-00.gz", OLD, True),
        ("S3-data-2020-01-01-2026-02-28-23-55-00.gz", OLD, True),
        ("S3-data-2026-01-05-00-00-00.gz", NOW, True),
        ("S3-data-2026-01-05-00-00-00.gz", OLD, False),
        ("S3-data-2026-01-05-00-00-00.gz", None, False),
        ("x/custom", NOW, True),
        ("x/custom", OLD, False),
        ("x/custom", None, True),
        ("2026/custom", OLD, False),
        ("2026/custom", NOW, True),
        ("x/120260228", OLD, False),
        ("x/2026-02-31", None, True),
    ],
)
def test_a_file_is_recent_by_one_recent_date(key, modified, expected):
    assert is_recent(key, modified, WINDOW) is expected


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


MORNING = Window(at("2026-01-10T08:00"), at("2026-01-10T12:00"))
BEFORE, DURING, AFTER = at("2026-01-10T07:59"), at("2026-01-10T09:00"), at("2026-02-01")


def test_the_days_of_a_window_include_the_days_before_it_and_the_day_after_it():
    assert MORNING.days(0) == days("2026-01-10", "2026-01-11")
    assert Window(at("2026-01-10T08:00"), at("2026-01-12")).days(2) == days("2026-01-08", "2026-01-13")


@pytest.mark.parametrize(
    ("key", "modified", "expected"),
    [
        ("2026/01/10/file.gz", DURING, True),
        ("2026/01/09/late.gz", DURING, True),
        ("2026/01/10/file.gz", BEFORE, False),
        ("2026/01/10/file.gz", MORNING.start - 0.5, True),
        ("2026/01/10/file.gz", MORNING.end + 1, True),
        ("2026/01/10/copied.gz", AFTER, True),
        ("2026/01/08/copied.gz", AFTER, False),
        ("2026/01/11/copied.gz", AFTER, False),
        ("2026/01/10/file.gz", None, True),
        ("2026/01/08/file.gz", None, False),
        ("2026/01/10/1_CloudTrail_eu-west-1_20260110T0759Z_a.json.gz", BEFORE, False),
        ("2026/01/10/1_CloudTrail_eu-west-1_20260110T0800Z_a.json.gz", BEFORE, True),
        ("2026/01/10/1_CloudTrail_eu-west-1_20260110T1200Z_a.json.gz", AFTER, True),
        ("2026/01/10/1_CloudTrail_eu-west-1_20260110T1201Z_a.json.gz", AFTER, False),
        ("2026/01/10/1_CloudTrail_eu-west-1_20260110T1201Z_a.json.gz", DURING, True),
        ("S3-data-2026-01-10-08-00-00.gz", AFTER, True),
        ("S3-data-2026-01-10-12-00-01.gz", AFTER, False),
        ("S3-data-2020-01-01-2026-01-10-08-00-00.gz", AFTER, True),
        ("S3-data-2026-01-10.gz", AFTER, True),
        ("S3-data-2026-01-09.gz", None, False),
        ("S3-data-2026-01-10-99-00-00.gz", AFTER, True),
        ("2026-02-31/custom", None, True),
        ("x/custom", DURING, True),
        ("x/custom", AFTER, False),
        ("x/custom", BEFORE, False),
        ("x/custom", None, True),
    ],
)
def test_a_file_is_of_a_window_by_its_modification_or_by_the_time_in_its_name(key, modified, expected):
    assert is_within(key, modified, MORNING) is expected


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        (["a/2026/02/", "a/2026/03/"], True),
        (["a/2026/02/"], False),
        (["eu-west-1/", "us-east-1/"], True),
        (["eu-west-1/", "2025/"], False),
        ([], True),
    ],
)
def test_folders_with_dates_show_today_if_one_of_them_contains_it(folders, expected):
    assert shows_today(folders, NOW) is expected


@given(st.text(alphabet="0129-/=ab", max_size=40), st.none() | st.floats(0, 4e9))
def test_any_names_give_an_answer(key, modified):
    window = recent(NOW, 2)
    may_hold_recent(key, window)
    assert is_recent(key, modified, window) in (True, False)
    assert is_within(key, modified, MORNING) in (True, False)


STYLES = ["%Y/%m/%d/", "%Y-%m-%d/", "%Y%m%d/"]


@given(st.integers(86_400, 4_000_000_000), st.integers(1, 90), st.sampled_from(STYLES))
def test_a_folder_above_a_recent_day_is_always_searched(now, number, style):
    moment = datetime.fromtimestamp(now, UTC)
    window = recent(now, number)
    for back in range(-1, number):
        whole = "x/" + (moment - timedelta(back)).strftime(style)
        parts = whole.split("/")
        assert all(may_hold_recent("/".join(parts[:length]) + "/", window) for length in range(1, len(parts)))
        assert is_recent(f"{whole}file", 0.0, window)
    for outside in (-2, number):
        assert not is_recent("x/" + (moment - timedelta(outside)).strftime(style) + "file", None, window)
