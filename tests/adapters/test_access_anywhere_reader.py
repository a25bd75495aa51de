"""The reader of answers: the same result as the whole decoder's, however the text arrives, and limits."""

import itertools
import json
import re
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.answers import answer_of
from tests.wire import cut

from jibe_sqs.adapters.access_anywhere.wire import reader as limits
from jibe_sqs.adapters.access_anywhere.wire.answers import FILES
from jibe_sqs.adapters.access_anywhere.wire.reader import AnswerReader, ListShape
from jibe_sqs.adapters.access_anywhere.wire.tasks import TASKS
from jibe_sqs.core.errors import AnswerMalformed

AS_IT_IS = ListShape("filelist", known_by="fi_id", kept=lambda value: value, max_entry=1000, inside="response")

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(), part, max_size=3),
    max_leaves=10,
)
entries = st.dictionaries(st.sampled_from(["fi_id", "fi_name", "n0"]), values, max_size=3)
lists = st.lists(entries | values, max_size=4) | st.dictionaries(
    st.sampled_from(["n0", "n1", "x"]), entries, max_size=3
)
answers = st.fixed_dictionaries(
    {"status": st.text()},
    optional={
        "filelist": lists | entries | values,
        "total": values,
        "response": st.fixed_dictionaries({}, optional={"filelist": lists, "response": values}) | values,
    },
)


def read(body: bytes, shape: ListShape | None = None, places=()) -> dict:
    return answer_of(cut(body, places), shape)


def expected(answer: dict) -> dict:
    """The answer with its lists in one form."""
    found = {
        name: expected(value) if name == "response" and isinstance(value, dict) else value
        for name, value in answer.items()
    }
    listed = found.get("filelist")
    if isinstance(listed, dict):
        found["filelist"] = [listed] if "fi_id" in listed else list(listed.values())
    return found


@pytest.fixture(params=[1, 16 * 1024])
def portion(request, monkeypatch):
    monkeypatch.setattr(limits, "PORTION", request.param)


@pytest.mark.usefixtures("portion")
def test_an_answer_is_the_same_wherever_it_is_cut():
    """Portions of one byte make the parser wait at every byte."""

    @settings(deadline=None)
    @given(answers, st.lists(st.integers(0, 10_000), max_size=8), st.sampled_from([None, 1]), st.booleans())
    def check(answer, places, indent, ascii_only):
        response = answer.get("response")
        if isinstance(response, dict) and isinstance(response.get("response"), dict):
            del response["response"]
        body = json.dumps(answer, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
        assert read(body, AS_IT_IS, places) == expected(answer)

    check()


def test_an_answer_is_the_same_if_each_byte_arrives_alone(monkeypatch):
    monkeypatch.setattr(limits, "PORTION", 1)
    body = b'{ "a" : "\\"]}" , "filelist":{"n0":{"fi_id":"1","x":[{"}":"]"}]},"n1":{"fi_id":2.5}} ,"n":-1.5e3,"status":"ok"} \n'
    found = read(body, AS_IT_IS, range(len(body)))
    assert found["filelist"] == [{"fi_id": "1", "x": [{"}": "]"}]}, {"fi_id": 2.5}]
    assert (found["a"], found["n"], found["status"]) == ('"]}', -1500.0, "ok")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"[]",
        b"{",
        b'{"status"',
        b'{"status":',
        b'{"status":"ok"',
        b'{"status":"ok",}',
        b'{"status":"ok"}}',
        b'{"status":"ok"} x',
        b'{"status":"ok" "a":1}',
        b'{"status" "ok"}',
        b'{status:"ok"}',
        b'{"status":"ok","filelist":[1,]}',
        b'{"status":"ok","filelist":[,1]}',
        b'{"status":"ok","filelist":[1 2]}',
        b'{"status":"ok","filelist":[{"a":1]}]}',
        b'{"status":"ok","filelist":[1}',
        b'{"status":"ok","filelist":[{"a":tru}]}',
        b'{"status":"ok","filelist":["\xff"]}',
        b'{"status":1}',
        b"{}",
    ],
)
def test_text_that_is_not_an_answer_is_malformed(body):
    with pytest.raises(AnswerMalformed):
        read(body, AS_IT_IS)


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (b'{"fi_name":"x"}', "without an `fi_id`"),
        (b'{"fi_id":"%s"}' % (b"1" * 129), "more than 128 characters"),
        (b'{"fi_id":"1","fi_name":"%s"}' % (b"x" * 4097), "more than 4,096 characters"),
    ],
)
def test_a_malformed_entry_fails_only_the_callers_that_need_the_list(entry, reason):
    found = read(b'{"status":"ok","filelist":[{"fi_id":"1"},%s],"total":2}' % entry, FILES)
    assert isinstance(found["filelist"], AnswerMalformed)
    assert reason in str(found["filelist"])
    assert found["total"] == 2


def test_an_object_of_many_entries_is_read_beyond_the_size_of_one_entry():
    listed = {f"n{n}": {"fi_id": str(n), "fi_name": "x" * 100} for n in range(100)}
    found = read(json.dumps({"status": "ok", "filelist": listed}).encode(), AS_IT_IS)
    assert found["filelist"] == list(listed.values())


def endless(*, before: bytes, again: bytes, shape: ListShape | None) -> tuple[str, int]:
    """Feed without end. Returns the error, and how many bytes were fed."""
    reader = AnswerReader(shape)
    try:
        for piece in itertools.chain([before], itertools.repeat(again)):
            reader.feed(piece)
            while reader.parse():
                pass
    except AnswerMalformed as error:
        return str(error), reader.fed
    raise AssertionError("the answer has ended")


MIB = 1024 * 1024
OPEN = b'{"status":"ok","filelist":['


@pytest.mark.parametrize(
    ("before", "again", "shape", "reason", "most"),
    [
        (b'{"a":"', b"x" * 9000, None, "more than 1,048,576 bytes", MIB),
        (b"{", b" " * 9000, None, "more than 1,048,576 bytes", MIB),
        (OPEN, b" " * 90_000, FILES, "more than 67,108,864 bytes", 64 * MIB),
        (OPEN + b'"', b"x" * 9000, FILES, "a value of more than 65,536 bytes", MIB // 4),
        (OPEN, b"[" * 9000, FILES, "a value of more than 65,536 bytes", MIB // 4),
        (OPEN, b'{"a":' * 2000, FILES, "a value of more than 65,536 bytes", MIB // 4),
        (OPEN, b'{"fi_id":"1"},' * 900, FILES, "more than 9,000 entries", MIB // 4),
        (b'{"filelist":{', b'"a":{"fi_id":"1"},' * 900, FILES, "more than 9,000 entries", MIB // 4),
        (b"{", b'"a":"%s",' % (b"x" * 9000), FILES, "more than 1,048,576 bytes of fields", 2 * MIB),
        (b'{"response":{', b'"a":"%s",' % (b"x" * 9000), TASKS, "more than 1,048,576 bytes of fields", 2 * MIB),
        (b'{"tasks":[{"bt_id":"', b"x" * 9000, TASKS, "a value of more than 1,048,576 bytes", 4 * MIB),
    ],
)
def test_an_endless_answer_is_refused_at_a_limit_of_its_own(monkeypatch, before, again, shape, reason, most):
    monkeypatch.setattr(limits, "MAX_ENTRIES", 9000)
    error, fed = endless(before=before, again=again, shape=shape)
    assert reason in error
    assert fed <= most + 90_000


def test_an_incomplete_value_is_searched_again_only_when_its_text_has_doubled(monkeypatch):
    """Each byte arrives alone. To search the value at each portion would take a time that is quadratic in its size."""
    searched = []
    pattern = limits._TO_BRACKET

    class Counted:
        def match(self, text: bytes, at: int) -> re.Match[bytes] | None:
            searched.append(len(text) - at)
            return pattern.match(text, at)

    monkeypatch.setattr(limits, "_TO_BRACKET", Counted())
    pieces = [b'{"status":"ok","tasks":[{"bt_id":"1","bt_data":"', *[b"x"] * 500_000, b'"}]}']
    [found] = answer_of(pieces, TASKS)["tasks"]
    assert found.id == "1"
    assert 500_000 < sum(searched) < 2_000_000


def turns(*pieces: bytes, shape: ListShape | None = FILES) -> int:
    """How many turns it takes to read this answer without its end."""
    reader, count = AnswerReader(shape), 0
    with suppress(AnswerMalformed):
        for piece in pieces:
            reader.feed(piece)
            while reader.parse():
                count += 1
        reader.end()
        while reader.parse():
            count += 1
    return count


@pytest.mark.parametrize(
    "text",
    [
        OPEN + b'{"fi_id":"1"},' * 4000,
        b'{"filelist":{' + b'"a":{"fi_id":"1"},' * 3000,
        OPEN + b"[" * 50_000,
        OPEN + b'{"a":' * 10_000,
        OPEN + b"{},[]," * 10_000,
        b"{" + b'"a":1,' * 10_000,
    ],
)
@pytest.mark.parametrize("size", [1000, 16 * 1024, 1_000_000])
def test_many_small_values_are_read_in_many_turns(text, size):
    """A turn of so many bytes would have thousands of values, and take a tenth of a second."""
    pieces = (text[at : at + size] for at in range(0, len(text), size))
    assert turns(*pieces) > 20


def test_an_object_of_many_small_entries_is_kept_in_many_turns():
    """Until there is too much text for one entry, it may be one. After that, all entries are kept at once."""
    text = b",".join(b'"%d":{"bt_id":"1"}' % number for number in range(70_000))
    assert len(text) > TASKS.max_entry
    assert turns(b'{"tasks":{', text, shape=TASKS) > 1000


def test_texts_that_need_much_more_memory_than_they_have_bytes_are_refused(monkeypatch):
    """One emoji makes each character of its text take four bytes."""
    monkeypatch.setattr(limits, "MAX_KEPT_BYTES", 1_000_000)
    entry = json.dumps({"fi_id": "1", "fi_name": "\N{PILE OF POO}" + "x" * 4000}).encode() + b","
    error, fed = endless(before=OPEN, again=entry, shape=FILES)
    assert "more than 1,000,000 bytes of text" in error
    assert fed < 300_000


def test_a_text_that_all_entries_share_counts_once(monkeypatch):
    monkeypatch.setattr(limits, "MAX_KEPT_BYTES", 150_000)
    entries = [{"fi_id": str(number), "fi_name": "x", "fi_bname": "b" * 1000} for number in range(1000)]
    found = read(json.dumps({"status": "ok", "filelist": entries}).encode(), FILES)
    assert len(found["filelist"]) == 1000
