"""Lines of text that comes in blocks, and when a file is refused because it has another format."""

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.wire import cut

from jibe_sqs.core.errors import LogMalformed
from jibe_sqs.core.formats.bad_records import BadRecords
from jibe_sqs.core.formats.json_log import JsonLog
from jibe_sqs.core.formats.limits import Limits
from jibe_sqs.core.formats.lines import Line
from jibe_sqs.core.model import SkipReason, Unchanged


class Words(JsonLog):
    """A format for these tests. A line is one word. A word with `!` is bad, and a word with `?` has no bucket."""

    def is_text(self, line, *, is_json, within):
        return True

    def read_text(self, line: Line):
        if b"!" in line.text:
            raise line.malformed("it has a '!'")
        if b"?" in line.text:
            raise self.without_bucket(line, "it has a '?'")
        return [Unchanged(SkipReason.READ_ONLY, name=line.text.decode())]

    def read_value(self, line, value):
        raise AssertionError

    read_refused = is_entry = read_value


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


def test_reading_continues_after_a_bad_line_with_every_policy():
    names, bad = read(b"a\n!\nb", "reject")
    assert (names, bad.count) == (["a", "b"], 1)


def test_lines_of_spaces_count_as_empty():
    assert read(b" \t\na\n  ", "reject")[0] == ["a"]


def test_an_empty_file_gives_no_records():
    assert read(b"")[0] == []


@pytest.mark.parametrize("text", [b"!", b"!\n!\n", b"!\n" * 100])
def test_a_file_without_a_good_line_is_refused_even_if_bad_lines_are_skipped(text):
    with pytest.raises(LogMalformed, match="line 1: it has a '!'"):
        read(text)


def test_one_good_line_after_many_bad_ones_is_enough():
    names, bad = read(b"!\n" * 100 + b"a\n" + b"!\n" * 100)
    assert names == ["a"]
    assert bad.count == 200


def test_one_line_without_its_bucket_is_enough():
    names, bad = read(b"!\n?\n!")
    assert names == []
    assert bad.count == 3


LINES = {
    "a line ends with a newline": (b"a\n", ["a"]),
    "the last line ends with the file": (b"a\nb", ["a", "b"]),
    "a carriage return belongs to the line end": (b"a\r\nb\r", ["a", "b"]),
    "a carriage return inside a line belongs to the line": (b"a\rb\n", ["a\rb"]),
    "no other separator ends a line": ("a\x0bb\x0c\x1c\u2028c\n".encode(), ["a\x0bb\x0c\x1c\u2028c"]),
}


@pytest.mark.parametrize(("text", "expected"), LINES.values(), ids=LINES.keys())
def test_lines_are_separated_by_newlines_only(text, expected):
    assert read(text)[0] == expected


def outcome(blocks, limit):
    bad = BadRecords("skip")
    log = Words(Limits(record_size=limit), bad)
    names = [record.name for block in blocks for record in log.feed(block)] + [each.name for each in log.drain()]
    return names, bad.count, [(str(each), each.offset) for each in bad.first]


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([b"a", b"bcd", b"\n", b"\r", b"\r\n", b"!"])).map(b"".join),
    st.lists(st.integers(0, 1000)),
    st.integers(1, 12),
)
def test_the_records_do_not_depend_on_how_the_text_is_cut(text, places, limit):
    assert outcome(cut(text, places), limit) == outcome([text], limit)


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
