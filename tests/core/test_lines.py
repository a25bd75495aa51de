"""Lines of text that comes in blocks, and what makes a file a log of lines."""

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.wire import cut

from jibe_sqs.core.errors import LogLimitExceeded, LogMalformed
from jibe_sqs.core.formats.bad_records import BadRecords
from jibe_sqs.core.formats.limits import Limits
from jibe_sqs.core.formats.lines import RECOGNISED_WITHIN, Line, LineLog, Lines
from jibe_sqs.core.model import SkipReason, Unchanged

CASES = {
    "nothing is no line": (b"", []),
    "a line ends with a newline": (b"a\n", [(1, 0, b"a")]),
    "or with the file": (b"a\nb", [(1, 0, b"a"), (2, 2, b"b")]),
    "a carriage return is of the end": (b"a\r\nb\r", [(1, 0, b"a"), (2, 3, b"b")]),
    "but not within the line": (b"a\rb\n", [(1, 0, b"a\rb")]),
    "empty lines count, and are not given": (b"\n\r\na\n\n", [(3, 3, b"a")]),
    "no other separator ends a line": (
        "a\x0bb\x0c\x1c\x85\u2028c\n".encode(),
        [(1, 0, "a\x0bb\x0c\x1c\x85\u2028c".encode())],
    ),
    "bytes are left as they are": (b"\xff\x00\n", [(1, 0, b"\xff\x00")]),
}


def lines(blocks, limit=100):
    reader = Lines(limit=limit)
    return [line for block in blocks for line in reader.feed(block)] + reader.finish()


def outcome(blocks, limit):
    try:
        return lines(blocks, limit)
    except LogLimitExceeded:
        return LogLimitExceeded


@pytest.mark.parametrize(("text", "expected"), CASES.values(), ids=CASES.keys())
def test_lines(text, expected):
    assert lines([text]) == expected


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([b"a", b"bcd", b"\n", b"\r", b"\r\n", b"\xff"])).map(b"".join),
    st.lists(st.integers(0, 1000)),
    st.integers(1, 12),
)
def test_cutting_the_text_anywhere_changes_nothing(text, places, limit):
    assert outcome(cut(text, places), limit) == outcome([text], limit)


@settings(deadline=None)
@given(st.binary())
def test_offsets_say_where_a_line_begins(text):
    assert all(text[line.offset :].startswith(line.text) for line in lines([text]))


@pytest.mark.parametrize("text", [b"x" * 11, b"x" * 11 + b"\n", b"ok\n" + b"x" * 11 + b"\nok"])
def test_a_line_longer_than_the_limit_is_refused(text):
    with pytest.raises(LogLimitExceeded, match="longer than 10 bytes"):
        lines([text], limit=10)


def test_a_line_as_long_as_the_limit_is_read():
    assert lines([b"x" * 10 + b"\n"], limit=10) == [(1, 0, b"x" * 10)]


def test_a_line_too_long_is_refused_as_soon_as_that_is_known():
    reader = Lines(limit=10)
    reader.feed(b"a\n" + b"x" * 10)
    with pytest.raises(LogLimitExceeded, match="line 2"):
        reader.feed(b"x")


class Words(LineLog):
    """A format for these tests: a line is one word; `!` in it is bad."""

    def read(self, line: Line):
        if b"!" in line.text:
            raise line.malformed("it has a '!'")
        return [Unchanged(SkipReason.READ_ONLY, name=line.text.decode())]


def read(text, policy="skip"):
    bad = BadRecords(policy)
    log = Words(Limits(), bad)
    return [record.name for record in log.feed(text) + log.finish()], bad


def test_a_bad_line_is_counted_and_the_others_are_read():
    names, bad = read(b"a\n!\n\nb")
    assert names == ["a", "b"]
    assert bad.count == 1
    assert str(bad.first[0]) == "line 2: it has a '!'"
    assert (bad.first[0].index, bad.first[0].offset) == (2, 2)


def test_a_bad_line_ends_no_reading_whatever_the_policy():
    names, bad = read(b"a\n!\nb", "reject")
    assert (names, bad.count) == (["a", "b"], 1)


def test_lines_of_spaces_are_as_good_as_empty():
    assert read(b" \t\na\n  ", "reject")[0] == ["a"]


def test_an_empty_file_holds_nothing():
    assert read(b"")[0] == []


@pytest.mark.parametrize("text", [b"!", b"!\n!\n", b"!\n" * (RECOGNISED_WITHIN - 1)])
def test_a_file_without_one_good_line_is_of_another_format_even_if_bad_lines_are_skipped(text):
    with pytest.raises(LogMalformed, match="line 1: it has a '!'"):
        read(text)


def test_that_is_said_after_the_first_lines_and_not_at_the_end_of_a_large_file():
    log = Words(Limits(), BadRecords("skip"))
    with pytest.raises(LogMalformed):
        log.feed(b"!\n" * RECOGNISED_WITHIN + b"a\n")


def test_one_good_line_among_the_first_is_enough():
    names, bad = read(b"!\n" * (RECOGNISED_WITHIN - 1) + b"a\n" + b"!\n" * 100)
    assert names == ["a"]
    assert bad.count == RECOGNISED_WITHIN - 1 + 100


def test_a_large_file_is_read_in_bounded_memory():
    log = Words(Limits(), BadRecords("skip"))
    block = b"".join(b"word%d\n" % n + b"!" * 500 + b"\n" for n in range(120))
    log.feed(block)
    tracemalloc.start()
    try:
        for _ in range(100):
            log.feed(block)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10 * len(block)
