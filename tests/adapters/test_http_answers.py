"""Bodies of limited size, and the times in an answer's headers."""

import time
from datetime import UTC, datetime

import pytest

from jibe_sqs.adapters.http_answers import MAX_RETRY_AFTER, http_date, read_body, retry_after


async def chunks_of(*chunks: bytes):
    for chunk in chunks:
        yield chunk


async def test_a_body_within_the_limit_is_read_whole():
    assert await read_body(chunks_of(b"ab", b"", b"cd"), 4) == b"abcd"


async def test_a_body_beyond_the_limit_is_read_no_further():
    chunks = chunks_of(b"abc", b"de", b"fg")
    assert await read_body(chunks, 4) == b"abcde"
    assert await anext(chunks) == b"fg"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        (" 7 ", 7.0),
        ("9" * 400, MAX_RETRY_AFTER),
        ("Wed, 01 Jan 2025 00:00:05 GMT", 5.0),
        ("Tue, 31 Dec 2024 00:00:00 GMT", 0.0),
        ("soon", None),
        ("-1", None),
        ("", None),
        (None, None),
    ],
)
def test_a_retry_after_header_is_seconds_or_a_date(header, seconds):
    assert retry_after(header, datetime(2025, 1, 1, tzinfo=UTC).timestamp()) == seconds


def test_a_retry_after_date_is_ignored_if_the_time_is_unknown():
    assert retry_after("Wed, 01 Jan 2025 00:00:05 GMT", 0.0) is None


@pytest.mark.parametrize(
    "form", ["Wed, 01 May 2030 10:00:05", "Wed May  1 10:00:05 2030", "Wed, 01 May 2030 10:00:05 -0000"]
)
def test_a_date_without_a_zone_is_utc_in_any_local_zone(form, monkeypatch):
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        assert http_date(form) == datetime(2030, 5, 1, 10, 0, 5, tzinfo=UTC).timestamp()
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("header", ["Mon, 99 Foo 2020 00:00:00 GMT", "Wed, 21 Oct 99999 07:28:00 GMT", "x", "", None])
def test_a_malformed_date_is_no_time(header):
    assert http_date(header) is None
