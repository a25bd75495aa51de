"""A small file is read in one step. The result must be the same as if it came in pieces: records, bad records and errors."""

import gzip
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jibe_sqs.core.errors import LogError
from jibe_sqs.core.formats.decompressed import BLOCK, Decompressed, small_text
from jibe_sqs.core.formats.limits import Limits
from jibe_sqs.core.formats.loose_json import HIDDEN
from jibe_sqs.core.formats.reader import LogReader

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
TRAIL = "AWSLogs/111122223333/CloudTrail/eu-west-1/2026/01/31/x.json.gz"
AUDIT = "p/S3-photos-2026-01-31-12-00-00.gz"
ACCESS = "p/2026-01-31-12-00-00-0123456789ABCDEF"
LIMITS = Limits(record_size=4000, key_length=100, records=20)


def call(name: str = "PutObject", id_: str = "e", **changes: Any) -> bytes:
    record = {
        "eventVersion": "1.11",
        "userIdentity": {"arn": "arn:aws:iam::1:user/u", "accessKeyId": "AKIA"},
        "eventTime": "2026-01-31T12:00:00Z",
        "eventSource": "s3.amazonaws.com",
        "eventName": name,
        "eventID": id_,
        "requestParameters": {"bucketName": "photos", "key": f"a/{id_}"},
    }
    return json.dumps(record | changes, separators=(",", ":")).encode()


RECORDS = [
    call(),
    call(id_="other", readOnly=False, errorCode=""),
    call("GetObject", readOnly=True),
    call("DeleteObject", "d", errorCode="AccessDenied"),
    call("DeleteObject", "child", eventType="AwsServiceEvent", requestID="R"),
    call("DeleteObjects", "all", requestID="R"),
    call("RenameObject", "r"),
    call(id_="version", eventVersion="2.0"),
    call(id_="hidden", requestParameters={"bucketName": "photos", "key": HIDDEN}),
    call(id_="no bucket", requestParameters={"key": "k"}),
    call(id_="long", requestParameters={"bucketName": "photos", "key": "k" * 101}),
    call(id_="number", requestParameters={"bucketName": "photos", "key": 5, "Key": "k"}),
    call(id_="omitted", requestParameters={"bucketName": "photos", "key": "k", "omitted": True}),
    call(id_="text", requestParameters="none"),
    call(id_="agent", userAgent=7, readOnly="true"),
    call("GetItem", "table", eventSource="dynamodb.amazonaws.com", requestParameters={"key": {"id": {"S": "1"}}}),
    call(id_="surrogate", requestParameters={"bucketName": "photos", "key": "\ud800"}),
    call(id_="no number").replace(b'"AKIA"', b"NaN"),
    call(id_="bytes").replace(b"AKIA", b"\xff"),
    call(id_="broken")[:-1],
    b"7",
    b"{}",
]
ENDS = [b"]}", b"]}\n", b"]} ", b'],"more":1}', b'],"Records":[{}]}', b']}{"Records":[]}', b"]", b"", b"]}]}", b"],}"]
STARTS = [
    b'{"Records":[',
    b'{"Records": [',
    b'\xef\xbb\xbf{"Records":[',
    b'{"more":1,"Records":[',
    b'{"Records":[[',
    b"[",
]


def outcome(data: bytes, key: str, *cuts: int) -> object:
    """The records, the bad records and the hash of a file that comes in these pieces; or its error."""
    log = LogReader(key, LIMITS, hashed=True, on_bad_record="skip")
    try:
        found = [
            record
            for start, end in zip((0, *cuts), (*cuts, len(data)), strict=True)
            for records in log.feed(data[start:end])
            for record in records
        ]
        found += [record for records in log.finish() for record in records]
    except LogError as error:
        return type(error)
    bad = [(str(each), each.index, each.offset, each.field) for each in log.bad.first]
    return found, log.records, log.sha256, log.bad.count, bad


def check_pieces(text: bytes, key: str, cut: int) -> None:
    """Read the text whole and in pieces, plain and compressed. All must give the same."""
    stored = gzip.compress(text)
    whole = outcome(text, key)
    assert small_text(stored) == text
    assert outcome(stored, key) == whole
    assert outcome(text, key, cut) == whole
    assert outcome(stored, key, min(cut, len(stored))) == whole


@settings(UNHURRIED, max_examples=300)
@given(
    st.sampled_from([STARTS[0]] * 3 + STARTS),
    st.lists(st.sampled_from(RECORDS), max_size=6),
    st.sampled_from([ENDS[0]] * 3 + ENDS),
    st.integers(1, 5000),
)
def test_a_document_gives_the_same_whole_and_in_pieces(start, records, end, cut):
    text = start + b",".join(records) + end
    check_pieces(text, TRAIL, min(cut, len(text)))


def entry(id_: str = "R", **api: Any) -> bytes:
    inside = {"name": "PutObject", "bucket": "photos", "object": f"a/{id_}", "statusCode": 200, **api}
    return json.dumps({"time": "2026-01-31T12:00:00.5Z", "api": inside, "requestID": id_}).encode()


LINES = [
    entry(),
    entry("other", timeToResponse="17ns"),
    b'{"auditEntry":' + entry("wrapped") + b"}",
    entry("read", name="GetObject"),
    entry("failed", statusCode=404),
    entry("no bucket", bucket=None),
    entry("no object", object=None),
    entry("hidden", object=HIDDEN),
    entry("long", object="k" * 101),
    entry("list", objects=[{"objectName": "a"}, {"objectName": "b"}]),
    entry("type", statusCode="200"),
    entry("two") + entry("in one line"),
    b'{"time":"2026-01-31T12:00:00Z","requestID":"x"}',
    json.dumps(json.loads(entry("indented")), indent=1).encode(),
    entry("cut off")[:-9],
    entry("large", pad="x" * 4000),
    b"[",
    b"],",
    b"",
    b"  \r",
]
_TAIL = b'"PUT /x HTTP/1.1" 200 - - 5 40 7 "-" "cli/1" v1 h= SigV4'
_HEAD = b"0wner photos [31/Jan/2026:12:00:00 +0000] 192.0.2.1 me R"
TEXT_LINES = [
    _HEAD + b"1 REST.PUT.OBJECT a/1 " + _TAIL,
    _HEAD + b"1 REST.PUT.OBJECT a/1 " + _TAIL + b"\r",
    _HEAD + b"2 REST.DELETE.OBJECT a%252F2+x " + _TAIL,
    _HEAD + b"3 REST.GET.OBJECT a/3 " + _TAIL,
    _HEAD + b"4 REST.PUT.OBJECT a/{4} " + _TAIL,
    _HEAD + b"5 REST.PUT.OBJECT " + b"k" * 101 + b" " + _TAIL,
    _HEAD + b"6 REST.PUT.OBJECT a/6 " + _TAIL.replace(b" 200 ", b" 404 "),
    _HEAD.replace(b"photos", b"-") + b"7 REST.PUT.OBJECT a/7 " + _TAIL,
    _HEAD.replace(b" me ", b" m e ") + b"8 REST.PUT.OBJECT a/8 " + _TAIL,
    _HEAD + b"9 REST.PUT.OBJECT a/9 " + _TAIL + b"x" * 4000,
    _HEAD.replace(b" ", b"  ") + b"10 REST.PUT.OBJECT a/10 " + _TAIL,
    b"nothing of a log",
    b'{"operation":"REST.PUT.OBJECT","bucket_name":"photos","key_name":"j"}',
    b'{"operation":"REST.PUT.OBJECT",',
    b" ",
]


@settings(UNHURRIED, max_examples=300)
@given(
    st.one_of(
        st.tuples(st.just(AUDIT), st.lists(st.sampled_from(LINES), max_size=6)),
        st.tuples(st.just(ACCESS), st.lists(st.sampled_from(TEXT_LINES), max_size=6)),
    ),
    st.sampled_from([b"\n", b""]),
    st.integers(1, 5000),
)
def test_lines_give_the_same_whole_and_in_pieces(file, end, cut):
    key, lines = file
    text = b"\n".join(lines) + end
    if text:
        check_pieces(text, key, min(cut, len(text)))


NOT_SMALL = {
    "nothing": b"",
    "the beginning of a magic number": b"\x28",
    "two members": gzip.compress(b"a") + gzip.compress(b"b"),
    "an end that is missing": gzip.compress(b"a")[:-1],
    "zeros after the end": gzip.compress(b"a") + b"\0",
    "a wrong checksum": gzip.compress(b"a")[:-8] + bytes(4) + gzip.compress(b"a")[-4:],
    "a large text": gzip.compress(bytes(BLOCK + 1)),
    "a large text with another size in its trailer": gzip.compress(bytes(BLOCK + 1))[:-4] + bytes(4),
    "a large text that is not compressed": b"{" * (BLOCK + 1),
}


@pytest.mark.parametrize("stored", NOT_SMALL.values(), ids=NOT_SMALL.keys())
def test_a_file_that_is_not_small_and_whole_is_left_to_the_stream(stored):
    assert small_text(stored) is None


@settings(UNHURRIED)
@given(st.binary(max_size=300), st.sampled_from([0, 1, 100]), st.integers(0, 400), st.booleans())
def test_a_small_text_is_what_the_stream_gives(text, repeated, at, is_damaged):
    """If the file is damaged in any byte, the stream decides."""
    text = text * repeated
    stored = bytearray(gzip.compress(text))
    if is_damaged:
        stored[at % len(stored)] ^= 0x55
    found = small_text(bytes(stored))
    if found is not None:
        stream = Decompressed(limit=BLOCK)
        assert b"".join([*stream.feed(bytes(stored)), *stream.finish()]) == found
    assert is_damaged or found == text
