"""Defects that `make fuzz` found. Each has a test so that it does not come back."""

import tracemalloc
from datetime import UTC, datetime

import pytest

from jibe_sqs.core.errors import LogCorrupt, LogMalformed, LogTruncated
from jibe_sqs.core.formats.decompressed import Decompressed
from jibe_sqs.core.formats.format import Format
from jibe_sqs.core.formats.limits import Limits
from jibe_sqs.core.formats.reader import LogReader
from jibe_sqs.core.model import UNKNOWN_TIME, Record

GOOD_ACCESS = b'o photos [31/Jan/2026:12:00:00 +0000] 1 r R1 REST.PUT.OBJECT k "PUT /k HTTP/1.1" 200 - - - 5 -'
GOOD_AUDIT = b'{"time":"2026-01-31T12:00:00Z","api":{"name":"PutObject","bucket":"photos","object":"k"}}'


def read(format_: Format, *lines: bytes) -> tuple[list[Record], int]:
    """The records of these lines, and the number of bad ones."""
    reader = LogReader("", Limits(), configured=format_)
    batches = [*reader.feed(b"\n".join(lines)), *reader.finish()]
    return [record for records in batches for record in records], reader.bad.count


@pytest.mark.parametrize(
    ("format_", "line"),
    [
        (Format.ACCESS_LOG, GOOD_ACCESS.replace(b"31/Jan/2026:12:00:00 +0000", b"01/Jan/0001:00:00:00 +2359")),
        (Format.ACCESS_LOG, GOOD_ACCESS.replace(b"31/Jan/2026:12:00:00 +0000", b"31/Dec/9999:23:59:59 -2359")),
        (Format.ACCESS_LOG, GOOD_ACCESS.replace(b" 5 -", b" 999999999999999 -")),
        (Format.AUDIT_LOG, GOOD_AUDIT.replace(b"2026-01-31T12:00:00Z", b"0001-01-01T00:00:00+23:59")),
        (Format.AUDIT_LOG, GOOD_AUDIT.replace(b"2026-01-31T12:00:00Z", b"9999-12-31T23:59:59-23:59")),
        (
            Format.AUDIT_LOG,
            GOOD_AUDIT.replace(b"2026-01-31T12:00:00Z", b"9999-12-31T23:59:59Z").replace(
                b'"object":"k"', b'"object":"k","timeToResponse":"999999999999999999ns"'
            ),
        ),
    ],
)
def test_a_request_with_a_time_outside_the_calendar_is_processed_as_new(format_: Format, line: bytes) -> None:
    records, skipped = read(format_, line)
    assert ([record.time for record in records], skipped) == ([UNKNOWN_TIME], 0)
    assert datetime.fromtimestamp(records[0].time, UTC).year == 9999


def _read_in_chunks(reader: LogReader, *chunks: bytes) -> None:
    for chunk in chunks:
        list(reader.feed(chunk))
    list(reader.finish())


@pytest.mark.parametrize("after", [b",]", b", "], ids=["the array's end", "space"])
def test_text_after_a_comma_after_the_last_record_is_not_kept(after: bytes) -> None:
    """All text after it was kept in memory until the end of the file: up to 2 GiB, several times."""
    reader = LogReader("", Limits(record_size=4096), configured=Format.CLOUDTRAIL)
    tracemalloc.start()
    try:
        with pytest.raises((LogMalformed, LogTruncated)):
            _read_in_chunks(reader, b'{"Records":[ {}', after, *[b" " * 65_536] * 100)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000


@pytest.mark.parametrize("at", range(1, 14))
@pytest.mark.parametrize(
    ("frame", "is_refused"),
    [
        (b"\x28\xb5\x2f\xfd\x20\x20\x01\x00\x00", True),
        (b"\x28\xb5\x2f\xfd\x20\x00\x05\x00\x00", False),
        (b"\x28\xb5\x2f\xfd\x20\x00\x01\x00\x00", False),
        (b"\x28\xb5\x2f\xfd\x23\x28\xb5\x2f\xfd\x00\x00\x01\x00\x00", True),
    ],
    ids=[
        "its header says 32 bytes, and it has 0",
        "an empty block that is called compressed",
        "empty",
        "a dictionary whose number is a frame",
    ],
)
def test_a_zstd_frame_is_read_the_same_with_any_cut(frame: bytes, at: int, is_refused: bool) -> None:
    """libzstd has other rules for a frame in one piece than for a frame in several. It accepted the first one in pieces."""

    def text(*chunks: bytes) -> bytes | None:
        stream = Decompressed(limit=1000)
        try:
            return b"".join([block for chunk in chunks for block in stream.feed(chunk)] + [*stream.finish()])
        except LogCorrupt:
            return None

    assert text(frame) == text(frame[:at], frame[at:]) == (None if is_refused else b"")
