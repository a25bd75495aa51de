"""The records of one large document: the same as the standard library finds, with any cuts of the text."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from jibe_sqs.core.errors import LogError, LogLimitExceeded, LogMalformed, LogTruncated
from jibe_sqs.core.formats.json_records import HEAD_LIMIT, Batch, JsonRecords, RecordShape

LIMIT = 1024 * 1024
ANY = RecordShape(msgspec.Raw, array="Records", first_field="eventVersion")


class Typed(msgspec.Struct):
    eventVersion: str = ""
    n: int = -1


TYPED = RecordShape(Typed, array="Records", first_field="eventVersion")


def read(document: bytes, *sizes: int, shape: Any = ANY, limit: int = LIMIT) -> list[Any]:
    """The records of a document that is fed in chunks of `sizes`. The last size is repeated. Refused records are bytes."""
    reader = JsonRecords(shape, record_limit=limit)
    batches, at, rest = [], 0, list(sizes or (len(document) or 1,))
    while at < len(document):
        size = rest.pop(0) if len(rest) > 1 else rest[0]
        batches += reader.feed(document[at : at + size])
        at += size
    batches += reader.finish()
    found: list[Any] = []
    for batch in batches:
        assert batch.first == len(found)
        for index, each in enumerate(batch.records):
            text = bytes(each) if isinstance(each, msgspec.Raw) else each if isinstance(each, bytes) else b""
            assert document[batch.offset(index) :].startswith(text)
            found.append(json.loads(text) if isinstance(each, msgspec.Raw) else each)
    assert reader.count == len(found)
    return found


def outcome(document: bytes, *sizes: int, **how: Any) -> Any:
    """The records, or the class of the error."""
    try:
        return read(document, *sizes, **how)
    except LogError as error:
        return type(error)


def written(*records: Any, **how: Any) -> bytes:
    return json.dumps({"Records": records}, **{"separators": (",", ":"), **how}).encode()


def usual(**fields: Any) -> dict[str, Any]:
    return {"eventVersion": "1.11", **fields}


PLAIN = [usual(n=n) for n in range(5)]
NESTED = usual(requestParameters={"list": [{"a": 1}, {"eventVersion": "1.0"}, {"eventVersion": "1.1", "b": [{}]}]})
TEXTS = usual(a='},{"eventVersion":"1.0"}', b="]}", c='\\"', d="\\", e='"Records":[', f="é🌊\u2028", g="\n\t\0")

DOCUMENTS: dict[str, bytes] = {
    "plain records": written(*PLAIN),
    "no records": written(),
    "one record": written(usual()),
    "an empty record": written({}),
    "indented": written(*PLAIN, NESTED, TEXTS, indent=4),
    "spaces everywhere": b' \n{ "Records" :\t[ {"eventVersion" : "1" } ,\r\n { } , {"a": [ ] }\n]\n}\n ',
    "space only between records": written(*PLAIN).replace(b"},{", b"} , {"),
    "a boundary inside a record": written(usual(), NESTED, usual(), NESTED, NESTED),
    "a boundary inside the last record": written(usual(), NESTED),
    "boundaries nested in boundaries": written(usual(x=[{}, usual(y=[{}, usual(z=[{}, usual()])])]), *PLAIN),
    "brackets, braces and quotes in strings": written(TEXTS, usual(), TEXTS),
    "the same, not escaped to ASCII": written(TEXTS, usual(), TEXTS, ensure_ascii=False),
    "another order of fields": written({"n": 1, "eventVersion": "1"}, {"n": 2, "eventVersion": "1"}),
    "orders of fields mixed": written(usual(n=1), {"n": 2}, usual(n=3), {"n": 4}),
    "keys before the array": b'{"a":{"Records":[1,2]},"b":"\\"Records\\":[","c":[[]],' + written(*PLAIN)[1:],
    "keys after the array": written(*PLAIN)[:-1] + b',"next":[{"a":1},{"eventVersion":"1"}],"s":"]}"}',
    "keys before and after the array": b'{"a":[],' + written(*PLAIN, TEXTS)[1:-1] + b',"z":null}',
    "a byte order mark": b"\xef\xbb\xbf" + written(*PLAIN),
    "a byte order mark and spaces": b"\xef\xbb\xbf \n" + written(*PLAIN, indent=1),
    "numbers of every kind": written(usual(a=[0, -1, 1.5, -2e-9, 1e300, 10**400])),
    "a large record between small ones": written(usual(), usual(x="y" * 300_000), usual(), usual()),
    "a large record of nothing but nesting": written(usual(), usual(x=[{"a": n} for n in range(40_000)]), usual()),
    "more records than a block": written(*(usual(n=n, pad="p" * 900) for n in range(600))),
    "more records than a block, indented": written(*(usual(n=n, pad="p" * 900) for n in range(600)), indent=1),
}


def plainly(document: bytes) -> list[Any]:
    return json.loads(document.removeprefix(b"\xef\xbb\xbf"))["Records"]


@pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS.keys())
@pytest.mark.parametrize("sizes", [(1 << 30,), (64 * 1024,), (1000,), (997, 31, 4096)], ids=str)
def test_the_records_are_the_same_as_the_standard_library_finds(document, sizes):
    assert read(document, *sizes) == plainly(document)


SMALL = {name: document for name, document in DOCUMENTS.items() if len(document) < 2500}


@pytest.mark.parametrize("document", SMALL.values(), ids=SMALL.keys())
def test_single_bytes_give_the_same_records(document):
    assert read(document, 1) == plainly(document)


@pytest.mark.parametrize("document", SMALL.values(), ids=SMALL.keys())
def test_a_cut_at_any_byte_changes_nothing(document):
    expected = plainly(document)
    assert all(read(document, at, 1 << 30) == expected for at in range(1, len(document)))


@pytest.mark.parametrize("document", SMALL.values(), ids=SMALL.keys())
@pytest.mark.parametrize("size", [17, 1 << 30])
def test_a_document_that_ends_early_at_any_byte_is_truncated(document, size):
    whole = document.rstrip()
    first = whole.index(b"{") + 1
    found = {outcome(whole[:end], size) for end in range(first, len(whole))}
    assert found == {LogTruncated}


@pytest.mark.parametrize("size", [50, 1 << 30])
@pytest.mark.parametrize("before", [b"", b'{"x":[{},{"eventVersion":1}]},'], ids=["fast", "slow"])
def test_a_number_of_five_thousand_digits_is_not_an_error(before, size):
    """Python refuses to convert such a number. The parser does not convert it."""
    document = b'{"Records":[' + before + b'{"x":' + b"9" * 5000 + b'},{"n":1}]}'
    assert read(document, size, shape=TYPED)[-1] == Typed(n=1)


def test_records_are_returned_before_the_document_ends():
    reader = JsonRecords(ANY, record_limit=LIMIT)
    document = written(*PLAIN)
    assert sum(len(batch.records) for batch in reader.feed(document[:-10])) == len(PLAIN) - 1


@pytest.mark.parametrize("indent", [None, 1], ids=["fast", "slow"])
def test_the_memory_does_not_grow_with_the_document(indent):
    record = usual(pad="p" * 1000, list=[{"a": 1}, {"b": "},{"}])
    piece = json.dumps(record, indent=indent, separators=(",", ":")).encode()
    reader = JsonRecords(ANY, record_limit=LIMIT)
    reader.feed(b'{"Records":[' + piece)
    held = []
    for _ in range(150):
        reader.feed((b"," + piece) * 60)
        held.append(len(reader._buffer) + (len(reader._slow.rest) if reader._slow else 0))
    assert reader.count > 150 * 60 - 400
    assert max(held) <= 5 * HEAD_LIMIT


# Wrong documents

MALFORMED: dict[str, bytes] = {
    "text": b"hello",
    "a list": b"[]",
    "a number": b"5",
    "an object without the array": b'{"a": 1}',
    "an array of another name": b'{"records": []}',
    "the array one level down": b'{"a": {"Records": []}}',
    "null for the array": b'{"Records": null}',
    "an object for the array": b'{"Records": {}}',
    "a key before it that is not JSON": b'{"a": x, "Records": []}',
    "text after the document": written(*PLAIN) + b" x",
    "one bracket too many": written(*PLAIN)[:-1] + b"]}",
    "another closing bracket": b'{"Records":[{}}]',
    "zeros after the document": written(*PLAIN) + b"\0",
    "a comment": b'{"Records":[/* x */]}',
}


@pytest.mark.parametrize("document", MALFORMED.values(), ids=MALFORMED.keys())
@pytest.mark.parametrize("size", [1, 3, 1 << 30])
def test_another_document_is_malformed(document, size):
    assert outcome(document, size) is LogMalformed


ARRAYS: dict[str, tuple[bytes, int]] = {
    "a second document": (written(*PLAIN) * 2, 10),
    "a second document in a new line, with a byte order mark": (written(*PLAIN) + b"\n\xef\xbb\xbf" + written({}), 6),
    "an indented document, and one that is not": (written(*PLAIN, indent=1) + written(*PLAIN), 10),
    "three documents, the middle one empty": (written({}) + written() + written({}), 2),
    "the array twice": (written(*PLAIN)[:-1] + b',"Records":[{"eventVersion":"2"},{}]}', 7),
    "the array twice, and fields between": (written({})[:-1] + b',"x":[{"Records":[1]}],"Records" : [{}],"y":1}', 2),
    "the array twice, indented": (written(*PLAIN, indent=1).rstrip(b"}") + b',"Records":[{ }]}', 6),
    "null, and the array": (b'{"Records":null,"Records":[{}]}', 1),
    "one comma too many": (b'{"Records":[{},]}', 1),
    "one comma too many before the first record": (b'{"Records":[,{}]}', 1),
    "two commas": (b'{"Records":[{}, ,{}]}', 2),
    "no comma": (b'{"Records":[{}{}]}', 2),
    "no comma, with a boundary": (
        b'{"Records":[{"eventVersion":1}{"eventVersion":2},{"eventVersion":3}]}',
        3,
    ),
}


@pytest.mark.parametrize(("document", "count"), ARRAYS.values(), ids=ARRAYS.keys())
@pytest.mark.parametrize("size", [1, 3, 50, 1 << 30])
def test_every_record_is_read_with_any_number_of_arrays_and_commas(document, count, size):
    assert len(read(document, size)) == count


@pytest.mark.parametrize("size", [1, 50, 1 << 30])
def test_a_second_document_that_ends_early_is_truncated(size):
    document = written(*PLAIN) + b"\n" + written(*PLAIN)
    first = len(written(*PLAIN)) + 2
    assert {outcome(document[:end], size) for end in range(first, len(document))} == {LogTruncated}


@pytest.mark.parametrize(
    "value",
    [b"NaN", b"-Infinity", b'"\\udfff"', b'"\xff\xc3"', b"9" * 5000, b"[" * 5000 + b"]" * 5000, b'"\n\0"', b"[NaN]"],
    ids=["NaN", "infinity", "half a character", "not UTF-8", "digits", "lists", "controls", "a list of NaN"],
)
@pytest.mark.parametrize("size", [7, 1 << 30])
def test_a_field_beside_the_array_may_be_loose_json(value, size):
    assert read(b'{"meta":%s,' % value + written(*PLAIN)[1:], size) == PLAIN
    assert read(written(*PLAIN)[:-1] + b',"meta":%s}' % value, size) == PLAIN


UNPAIRED: dict[str, tuple[bytes, bytes]] = {
    "one quote too many": (b'"GONE"', b'"a"b"'),
    "one quote too few": (b'"GONE"', b'"abc'),
    "braces in a text with one quote too many": (b'"GONE"', b'"a"},{"b"'),
    "one brace too many": (b'"GONE"', b"{}}"),
    "one brace too few": (b'"GONE"', b'{"a":{"b":1}'),
    "one bracket too many": (b'"GONE"', b"[]]"),
    "a cut in a text": (b'"GONE","z":{"y":1}}', b'"abc'),
    "a cut after a value": (b'"GONE","z":{"y":1}}', b"1"),
    "a cut after a colon": (b'"GONE","z":{"y":1}}', b""),
    "a cut in an object": (b'"GONE","z":{"y":1}}', b'1,"z":{"y":1'),
    "one brace too many at the end": (b'"GONE","z":{"y":1}}', b'1,"z":{"y":1}}}'),
}


@pytest.mark.parametrize("style", [{}, {"separators": (", ", ": ")}], ids=["fast", "slow"])
@pytest.mark.parametrize("size", [1, 64, 1000, 1 << 30])
@pytest.mark.parametrize(("gone", "damage"), UNPAIRED.values(), ids=UNPAIRED.keys())
def test_a_record_with_unmatched_quotes_or_brackets_does_not_lose_another(gone, damage, size, style):
    good = [usual(n=n, x={"y": "z"}) for n in range(8)]
    # If a text in the last record has no end, the file is truncated.
    for at in (0, 3) if damage == b'"abc' else (0, 3, 8):
        records = [*good[:at], usual(n="GONE", z={"y": 1}), *good[at:]]
        text = written(*records, **style)
        gone_here = gone.replace(b",", b", ").replace(b":", b": ") if style else gone
        assert gone_here in text
        found = read(text.replace(gone_here, damage), size, shape=TYPED)
        assert [each for each in found if isinstance(each, Typed)] == [Typed("1.11", n) for n in range(8)]
        assert [isinstance(each, bytes) for each in found].count(True) >= 1
        assert isinstance(found[at], bytes)


@pytest.mark.parametrize("size", [1000, 1 << 30])
def test_many_consecutive_broken_records_do_not_lose_another(size):
    broken = [b'{"eventVersion":"1","x":"a"b"}'] * 301
    document = b'{"Records":[' + b",".join([*broken, *[b'{"eventVersion":"1","n":%d}' % n for n in range(4)]]) + b"]}"
    found = read(document, size, shape=TYPED)
    assert [each.n for each in found if isinstance(each, Typed)] == list(range(4))


def test_many_records_with_unmatched_quotes_do_not_lose_another():
    records = [usual(n=n, ua="DAMAGE" if n % 3 else "") for n in range(3000)]
    found = read(written(*records).replace(b'"DAMAGE"', b'"DA"MAGE"'), 64 * 1024, shape=TYPED)
    assert [each.n for each in found if isinstance(each, Typed)] == list(range(0, 3000, 3))


def test_a_large_record_that_is_not_json_is_malformed_and_not_too_large():
    document = b'{"Records":[{"a":x' + b"y" * 400_000 + b"}]}"
    assert {outcome(document, size, limit=100_000) for size in (5000, 1 << 30)} == {LogMalformed}


@pytest.mark.parametrize("document", [b"", b" \n", b"{", b'{"Recor'], ids=repr)
def test_a_document_that_ends_before_its_array_is_truncated(document):
    assert outcome(document) is LogTruncated


@pytest.mark.parametrize(
    "number", [b"-", b"1.", b"1e", b"1e-", b"-0", b"tru", b'"\\u12', b'"\\', b'"\xe2\x82'], ids=repr
)
def test_a_document_that_ends_inside_a_value_is_truncated(number):
    assert outcome(b'{"Records":[{"eventVersion":"1"},{"a":' + number) is LogTruncated


def test_the_text_after_the_array_is_inspected_up_to_a_limit():
    document = written(*PLAIN)[:-1] + b',"x":"%s"}' % (b"y" * HEAD_LIMIT)
    assert {outcome(document, size) for size in (999, 1 << 30)} == {LogMalformed}


def test_the_array_must_begin_within_a_limit():
    document = b'{"x":"%s",' % (b"y" * HEAD_LIMIT) + written(*PLAIN)[1:]
    assert {outcome(document, size) for size in (999, 1 << 30)} == {LogMalformed}


# Records that the typed decoder refuses

LOOSE: dict[str, bytes] = {
    "half of a surrogate pair": b'{"eventVersion":"1","x":"\\udfff"}',
    "NaN": b'{"eventVersion":"1","x":NaN}',
    "infinity": b'{"x":-Infinity}',
    "control characters": b'{"eventVersion":"1","x":"\n\x00\x1b"}',
    "bytes that are not UTF-8, in a field that is read": b'{"eventVersion":"\xff"}',
    "an unknown escape": b'{"x":"\\q"}',
    "a number with a leading zero": b'{"x":01}',
    "single quotes": b"{'x':1}",
    "no commas": b'{"x":1 "y":{"z":2}}',
    "deep nesting": b'{"eventVersion":"1","x":' + b'{"a":' * 30_000 + b"1" + b"}" * 30_000 + b"}",
    "deep nesting of lists": b'{"x":' + b"[" * 30_000 + b"]" * 30_000 + b"}",
    "a field of another type": b'{"eventVersion":1.11}',
    "null": b"null",
    "a number": b"-7.5e3",
    "a text": b'"},{\\""',
    "a list": b'[{"eventVersion":"1"}]',
    "a word": b"nothing",
}


@pytest.mark.parametrize("around", [b"%s", b" \n%s\t "], ids=["fast", "slow"])
@pytest.mark.parametrize("size", [700, 64 * 1024, 1 << 30])
@pytest.mark.parametrize("text", LOOSE.values(), ids=LOOSE.keys())
def test_a_refused_record_is_returned_as_its_text_and_the_others_are_decoded(text, size, around):
    good = [b'{"eventVersion":"1","n":%d}' % n for n in range(4)]
    for at in range(3):
        texts = [*good[:at], text, *good[at:]]
        found = read(b'{"Records":[%s]}' % b",".join(around % each for each in texts), size, shape=TYPED)
        assert found == [*(Typed("1", n) for n in range(at)), text, *(Typed("1", n) for n in range(at, 4))]


@pytest.mark.parametrize("text", [text for text in LOOSE.values() if len(text) < 100])
def test_single_bytes_give_the_same_refused_records(text):
    document = b'{"Records":[{"n":1},%s, %s,{"n":2}]}' % (text, text)
    assert read(document, 1, shape=TYPED) == [Typed(n=1), text, text, Typed(n=2)]


def test_a_refused_record_has_its_index_and_offset_after_any_number_of_records():
    records = [usual(n=n) for n in range(5000)]
    records[4321]["n"] = "bad"
    for document in (written(*records), written(*records, indent=1)):
        reader = JsonRecords(TYPED, record_limit=LIMIT)
        batches = [each for at in range(0, len(document), 4096) for each in reader.feed(document[at : at + 4096])]
        found = [
            (batch.first + index, batch.offset(index))
            for batch in (*batches, *reader.finish())
            for index, record in enumerate(batch.records)
            if isinstance(record, bytes)
        ]
        assert found == [(4321, document.rindex(b"{", 0, document.index(b'"bad"')))]


def test_the_offsets_of_a_batch_are_found_only_once():
    searches = []

    def find_offsets() -> list[int]:
        searches.append(1)
        return [10, 20]

    batch = Batch(0, [b"{}", b"{}"], find_offsets)
    assert searches == []
    assert [batch.offset(at) for at in (0, 1, 0)] == [10, 20, 10]
    assert searches == [1]


@pytest.mark.parametrize("indent", [None, 1], ids=["fast", "slow"])
def test_a_truncated_document_is_truncated_with_any_last_record(indent):
    document = written(*PLAIN, usual(x="ODD", y=1), indent=indent).replace(b'"ODD"', b'"\\udfff \n", "z": NaN')
    assert outcome(document[: document.index(b'"y"')], shape=TYPED) is LogTruncated


@pytest.mark.parametrize("document", [written({"x": "A"}), written({"x": "A"}, indent=1)], ids=["fast", "slow"])
def test_a_field_that_is_not_read_may_have_bytes_that_are_not_utf8(document):
    assert read(document.replace(b"A", b"\xff\xc3"), 3, shape=TYPED) == [Typed()]


# Limits


@pytest.mark.parametrize("indent", [None, 1], ids=["fast", "slow"])
@pytest.mark.parametrize("size", [1, 100, 777, 1 << 30])
@pytest.mark.parametrize("letter", ["y", "é"], ids=["ascii", "two bytes"])
def test_a_record_with_the_size_of_the_limit_passes_and_one_more_byte_does_not(size, indent, letter):
    records = [usual(n=1), usual(x=letter * 700), usual(n=3)]
    document = written(*records, indent=indent, ensure_ascii=False)
    end = document.index(b"}", document.index(b'"x"')) + 1
    length = end - document.rindex(b"{", 0, end)
    assert read(document, size, limit=length) == records
    assert outcome(document, size, limit=length - 1) is LogLimitExceeded


@pytest.mark.parametrize("size", [10_000, 64 * 1024, 1 << 30])
def test_a_huge_record_is_refused_with_and_without_an_end(size):
    huge = b'{"Records":[{"eventVersion":"1","x":"' + b"y" * 3_000_000
    assert outcome(huge, size) is LogLimitExceeded
    assert outcome(huge + b'"}]}', size) is LogLimitExceeded


def test_a_huge_record_is_refused_before_it_is_complete():
    reader = JsonRecords(ANY, record_limit=LIMIT)
    reader.feed(b'{"Records":[{"eventVersion":"1","x":"')
    fed = 0

    def feed_without_end() -> None:
        nonlocal fed
        while fed < 100 * LIMIT:
            fed += HEAD_LIMIT
            reader.feed(b"y" * HEAD_LIMIT)

    with pytest.raises(LogLimitExceeded):
        feed_without_end()
    assert fed <= 3 * LIMIT


# Random records, cut anywhere

LETTERS = st.text(alphabet=st.sampled_from('{}[]",:\\ \n/é🌊aR01'), max_size=12)
KEYS = st.sampled_from(["eventVersion", "Records", "a", "", "},{"]) | LETTERS
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | LETTERS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
RECORDS = st.lists(
    st.dictionaries(KEYS, VALUES, max_size=4)
    | st.builds(lambda fields: usual(**fields), st.dictionaries(st.just("a"), VALUES)),
    max_size=6,
)
SIZES = st.lists(st.integers(1, 60), min_size=1, max_size=6)
STYLES = st.sampled_from([{}, {"indent": 2}, {"ensure_ascii": False}, {"separators": (", ", ": ")}])


@given(RECORDS, STYLES, SIZES)
@settings(max_examples=300)
def test_any_records_cut_anywhere_are_read_exactly(records, style, sizes):
    document = written(*records, **style)
    assert read(document, *sizes) == json.loads(document)["Records"]


@given(RECORDS, st.dictionaries(KEYS.filter(lambda key: key != "Records"), VALUES, max_size=3), st.booleans(), SIZES)
@settings(max_examples=150)
def test_any_keys_around_the_array_change_nothing(records, others, after, sizes):
    array = {"Records": records}
    document = json.dumps({**array, **others} if after else {**others, **array}).encode()
    assert read(document, *sizes) == json.loads(document)["Records"]


@given(RECORDS, STYLES, SIZES, st.data())
@settings(max_examples=200)
def test_a_changed_byte_gives_the_same_outcome_with_any_cuts(records, style, sizes, data):
    """Not for a text value that holds `},{`: in a damaged document it may be taken for the end of a record, or not."""
    assume("},{" not in json.dumps(records))
    document = written(*records, **style)
    at = data.draw(st.integers(0, len(document) - 1))
    damaged = document[:at] + data.draw(st.binary(max_size=2)) + document[at + 1 :]
    whole, pieces = outcome(damaged, shape=TYPED), outcome(damaged, *sizes, shape=TYPED)
    assert pieces == whole or (isinstance(pieces, type) and isinstance(whole, type))
