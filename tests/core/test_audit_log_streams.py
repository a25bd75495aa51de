"""Audit logs as streams of JSON objects: with every layout of the lines, and with damaged objects."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.wire import cut

from jibe_sqs.core.errors import RecordMalformed
from jibe_sqs.core.formats.audit_log import AuditLog
from jibe_sqs.core.formats.bad_records import BadRecords
from jibe_sqs.core.formats.limits import Limits
from jibe_sqs.core.formats.reader import LogReader
from jibe_sqs.core.model import Record

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
CASE = Path(__file__).parents[3] / "shared" / "cases" / "S3-bucket-1-2026-01-22-10-49-33.gz"


def put(number: int, key: str = "", **more: Any) -> dict[str, Any]:
    """A record of Lyve Cloud: a write to `k/NUMBER`."""
    api = {
        "name": "PutObject",
        "bucket": "b",
        "object": key or f"k/{number}",
        "statusCode": 200,
        "timeToResponse": "5ns",
    }
    entry = {"api": api, "time": "2026-01-22T10:49:30.6Z", "requestID": f"R{number}", "responseHeader": {}}
    return {"auditEntry": entry, "serviceAccountName": "svc", **more}


def line(number: int, **more: Any) -> str:
    return json.dumps(put(number, **more))


def tall(number: int, indent: int = 4, **more: Any) -> str:
    return json.dumps(put(number, **more), indent=indent)


def read(*blocks: bytes, limit: int = 100_000) -> tuple[list[Record], list[RecordMalformed]]:
    bad = BadRecords("reject")
    log = AuditLog(Limits(record_size=limit), bad)
    records = [record for block in blocks for record in log.feed(block)] + log.finish()
    assert bad.count == len(bad.first)
    return records, bad.first


def keys(text: str | bytes) -> list[str]:
    """The keys of the records. No record may be bad."""
    records, bad = read(text.encode() if isinstance(text, str) else text)
    assert not bad
    return [record.key for record in records]


LAYOUTS: dict[str, str] = {
    "an object a line": "\n".join(map(line, range(3))),
    "over several lines": "\n".join(map(tall, range(3))),
    "over several lines, without indentation": "\n".join(tall(n, 0) for n in range(3)),
    "several on one line": " ".join(map(line, range(3))),
    "without anything between": "".join(map(line, range(3))),
    "one ends and the next begins in one line": "".join(map(tall, range(3))),
    "blank lines between": "\n\n \n".join(map(tall, range(3))) + "\n\n",
    "a byte order mark first": "\ufeff" + "\n".join(map(tall, range(3))),
    "commas between": ",\n".join(map(line, range(3))) + ",\n",
    "an array": json.dumps([put(n) for n in range(3)]),
    "an array over several lines": json.dumps([put(n) for n in range(3)], indent=2),
    "Windows' line ends": "\n".join(map(tall, range(3))).replace("\n", "\r\n"),
    "of both kinds": f"{line(0)}\n{tall(1)}\n{line(2)}",
    "the other way round": f"{tall(0)}\n{line(1)}{tall(2)}\n",
}


@pytest.mark.parametrize("text", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_objects_are_found_in_every_layout_of_the_lines(text):
    assert keys(text) == ["k/0", "k/1", "k/2"]


@pytest.mark.parametrize("text", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_such_a_file_is_recognised_by_its_first_bytes(text):
    log = LogReader("some/log", Limits())
    batches = [*log.feed(gzip.compress(text.encode())), *log.finish()]
    assert [record.key for batch in batches for record in batch] == ["k/0", "k/1", "k/2"]


BROKEN: dict[str, tuple[str, list[str], int, str]] = {
    # The text, the keys that are found, the first line of the bad object, and the beginning of its text.
    "no commas": (f"{line(0)}\n{line(1).replace(', ', ' ')}\n{line(2)}", ["k/0", "k/2"], 2, line(1)[:9]),
    "no commas, over several lines": (
        f"{tall(0)}\n{tall(1).replace(f',{chr(10)}', chr(10))}\n{tall(2)}",
        ["k/0", "k/2"],
        tall(0).count("\n") + 2,
        tall(1)[:9],
    ),
    "the printed example, first": (
        f"{tall(0).replace(f',{chr(10)}', chr(10))}\n{tall(1)}\n{tall(2)}",
        ["k/1", "k/2"],
        1,
        "{\n",
    ),
    "cut in a text": (f"{line(0)}\n{line(1)[:50]}\n{line(2)}", ["k/0", "k/2"], 2, line(1)[:9]),
    "cut after a colon": (f'{line(0)}\n{{"auditEntry":\n{line(2)}\n{line(3)}', ["k/0", "k/2", "k/3"], 2, '{"a'),
    "cut after a comma": (f'{line(0)}\n{{"a": 1,\n{line(2)}\n{line(3)}', ["k/0", "k/2", "k/3"], 2, '{"a'),
    "cut, over several lines": (f"{tall(0)}\n{tall(1)[:150]}\n{tall(2)}", ["k/0", "k/2"], 16, "{\n"),
    "cut, in an array": (
        f"[\n  {line(0)},\n  {line(1)[:60]}\n  {line(2)}\n]",
        ["k/0", "k/2"],
        3,
        line(1)[:9],
    ),
    "cut at the end of the file": (f"{line(0)}\n{line(1)[:70]}", ["k/0"], 2, line(1)[:9]),
    "nested without an end": ("\n".join([line(0), '{"a":' * 3000, line(2), line(3)]), ["k/0", "k/2", "k/3"], 2, '{"a"'),
    "a line that is not an object": (f"{line(0)}\nno {{line}} of a log\n{line(2)}", ["k/0", "k/2"], 2, "no {line}"),
    "words between two objects": (f"{line(0)} and {line(2)}", ["k/0", "k/2"], 1, "and"),
    "a broken object before a good one, on one line": (f'{line(0)}{{"a":01}}{line(2)}', ["k/0", "k/2"], 1, '{"a":01}'),
    "cut, and a good object on the same line": (f"{line(0)}\n{line(1)[:70]}{line(2)}", ["k/0", "k/2"], 2, line(1)[:9]),
    "cut, and a good object that is indented deeper": (
        f"{line(0)}\n{line(1)[:70]}\n    {line(2)}",
        ["k/0", "k/2"],
        2,
        line(1)[:9],
    ),
    "cut, and a good object over several lines": (
        f"{line(0)}\n{line(1)[:70]}{tall(2)}",
        ["k/0", "k/2"],
        2,
        line(1)[:9],
    ),
    "one quote too many": (f'{line(0)}\n{{"a": "b"c", "d": "e"}}\n{line(2)}', ["k/0", "k/2"], 2, '{"a": "b"c"'),
}


@pytest.mark.parametrize(("text", "found", "number", "begins"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_object_is_one_bad_record_at_its_position(text, found, number, begins):
    records, [bad] = read(text.encode())
    assert [record.key for record in records] == found
    assert bad.index == number
    assert bad.offset is not None
    assert text.encode()[bad.offset :].startswith(begins.encode())


ALL = {**LAYOUTS, **{name: text for name, (text, *_) in BROKEN.items() if len(text) < 5000}}


def outcome(*blocks: bytes) -> Any:
    records, bad = read(*blocks)
    return records, [(str(each), each.index, each.offset) for each in bad]


@pytest.mark.parametrize("text", ALL.values(), ids=ALL.keys())
def test_a_cut_at_any_byte_changes_nothing(text):
    data = text.encode()
    whole = outcome(data)
    assert all(outcome(data[:at], data[at:]) == whole for at in range(1, len(data)))


LOOSE: dict[str, str] = {
    "half of a surrogate pair": '"\\udfff"',
    "NaN": "NaN",
    "infinity": "-Infinity",
    "control characters": '"\x00\x1b\t"',
    "a line end": '"a\nb"',
    "bytes that are not UTF-8": '"\udcff"',
    "deep nesting": "[" * 3000 + "]" * 3000,
    "an object that is nested deeply": '{"a":' * 3000 + "1" + "}" * 3000,
    "a number of 5,000 digits": "9" * 5000,
}


@pytest.mark.parametrize("write", [line, tall])
@pytest.mark.parametrize("value", LOOSE.values(), ids=LOOSE.keys())
def test_other_fields_may_have_values_that_the_strict_decoder_refuses(value, write):
    middle = write(1, pad="PAD").replace('"PAD"', value)
    assert keys(f"{write(0)}\n{middle}\n{write(2)}".encode("utf-8", "surrogateescape")) == ["k/0", "k/1", "k/2"]


def test_the_last_of_two_fields_with_the_same_name_counts():
    assert keys(line(0).replace('"object": "k/0"', '"object": "a", "object": "b"')) == ["b"]


@pytest.mark.parametrize("between", ["", "\n", " "])
def test_a_file_of_one_long_line_is_read_in_bounded_memory(between):
    log = AuditLog(Limits(record_size=2000), BadRecords("reject"))
    data = between.join(line(n, pad="é" * 50) for n in range(5000)).encode()
    found = 0
    for at in range(0, len(data), 10_007):
        found += len(log.feed(data[at : at + 10_007]))
        assert len(log._rest) + log._objects._size < 200_000
    assert found + len(log.finish()) == 5000


@pytest.mark.parametrize("size", [100, 1 << 30])
@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("after", [f"\n{line(2)}", f"\n{tall(2)}", ""])
def test_an_object_larger_than_the_limit_is_one_bad_record(size, indent, after):
    data = f"{line(0)}\n{json.dumps(put(1, pad=list(range(600))), indent=indent)}{after}".encode()
    blocks = [data[at : at + size] for at in range(0, len(data), size)]
    assert len(read(*blocks, limit=10_000)[0]) == 2 + bool(after)
    records, [bad] = read(*blocks, limit=2000)
    assert [record.key for record in records] == (["k/0", "k/2"] if after else ["k/0"])
    assert str(bad) == "line 2: a record of more than 2,000 bytes"
    assert bad.offset == len(line(0)) + 1


def test_an_object_without_an_end_takes_no_more_memory_than_the_limit():
    bad = BadRecords("skip")
    log = AuditLog(Limits(record_size=10_000), bad)
    log.feed(line(0).encode() + b'\n{"a": [\n')
    for _ in range(2_000):
        log.feed(b'"x",\n' * 100)
        assert log._objects._size < 50_000
    assert [record.key for record in log.feed(b"\n" + line(2).encode() + b"\n") + log.finish()] == ["k/2"]
    assert bad.count == 1


TEXTS = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('{}[]",:\\ \n/é'), min_size=1, max_size=9)
INDENTS = st.sampled_from([None, 0, 2])
BETWEEN = st.sampled_from(["", "\n", "\n\n", " ", ",\n", "\r\n"])


@UNHURRIED
@given(
    st.lists(st.tuples(TEXTS, INDENTS, st.booleans()), min_size=1, max_size=5),
    BETWEEN,
    st.lists(st.integers(0, 5000), max_size=6),
)
def test_any_keys_in_any_layout_are_read_exactly(objects, between, places):
    texts = [
        json.dumps(put(number, key), indent=indent, ensure_ascii=is_ascii)
        for number, (key, indent, is_ascii) in enumerate(objects)
    ]
    records, bad = read(*cut(between.join(texts).encode(), places))
    assert not bad
    assert [record.key for record in records] == [key for key, _, _ in objects]


@UNHURRIED
@given(st.data(), st.lists(st.integers(0, 3000), max_size=4), st.binary(max_size=3), st.integers(0, 3))
def test_damage_in_one_line_does_not_lose_another_line(data, places, damage, which):
    texts = [line(number).encode() for number in range(4)]
    at = data.draw(st.integers(1, len(texts[which]) - 1))
    damage = damage.replace(b"\n", b"").replace(b'"', b"").replace(b"\\", b"")
    texts[which] = texts[which][:at] + damage + texts[which][at + len(damage) :]
    records, bad = read(*cut(b"\n".join(texts), places))
    others = [f"k/{number}" for number in range(4) if number != which]
    assert [record.key for record in records if record.key in others] == others
    # The damage may cut the line into pieces. Each piece is reported.
    assert len(bad) <= 2 + len(damage)
    assert all(each.index == which + 1 for each in bad)


@pytest.mark.skipif(not CASE.is_file(), reason="the shared cases are not here")
def test_a_file_of_lyve_cloud_with_objects_over_several_lines_is_read():
    log = LogReader(CASE.name, Limits())
    batches = [*log.feed(CASE.read_bytes()), *log.finish()]
    found = [(record.kind, record.bucket, record.key) for batch in batches for record in batch]
    assert found == [("written", "bucket-1", "values-v2.yaml"), ("written", "bucket-1", "dir/second.yaml")]
