"""The registry of formats: each format has one row, and each file is recognised as one format."""

from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jibe_sqs.core.formats.format import Format
from jibe_sqs.core.formats.limits import GiB, Limits
from jibe_sqs.core.formats.reader import LogReader
from jibe_sqs.core.formats.registry import BEGINNING_SIZE, FORMATS, Rank, format_of, format_of_text
from jibe_sqs.core.model import Kind

DOCS = Path(__file__).parents[2] / "docs"
ACCOUNT = "AWSLogs/111122223333"


class Samples(NamedTuple):
    """Keys and beginnings of real files, and a small file. A new format adds an entry to `SAMPLES`."""

    keys: list[str]
    beginnings: list[bytes]
    file: bytes
    """The text of a file with two writes: of the keys `a/0` and `a/1`, in the bucket `photos`."""


SAMPLES = {
    Format.CLOUDTRAIL: Samples(
        keys=[
            f"{ACCOUNT}/CloudTrail/eu-west-1/2026/01/31/111122223333_CloudTrail_eu-west-1_20260131T2355Z_a.json.gz",
            "p/AWSLogs/o-exampleorgid/111122223333/CloudTrail/eu-west-1/2026/01/31/x.json",
        ],
        beginnings=[
            b'{"Records":[{"eventVersion":"1.11"',
            b'\xef\xbb\xbf { "Records" : []}',
            b'{"Records": [{"operation": "REST.PUT.OBJECT", "bucket_name": "photos"}]}',
            b'{"Records": [{"api": {"bucket": "photos"}}]}',
            b'{"x": NaN, "Records": [{"eventVersion": "1.11"}]}',
        ],
        file=b'{"Records":[{"eventVersion":"1.11","eventSource":"s3.amazonaws.com","eventName":"PutObject",'
        b'"requestParameters":{"bucketName":"photos","key":"a/0"}},{"eventVersion":"1.11",'
        b'"eventSource":"s3.amazonaws.com","eventName":"PutObject",'
        b'"requestParameters":{"bucketName":"photos","key":"a/1"}}]}',
    ),
    Format.AUDIT_LOG: Samples(
        keys=["S3-photos-2026-01-31-12-00-00.gz", "p/S3-a-b-2026-01-31-12-00-00.gz"],
        beginnings=[
            b'{"version":"1","deploymentid":"d","time":"2026-01-31T12:00:00Z","api":{"name":"PutObject"',
            b'{"auditEntry":{"api":{"name":"PutObject","bucket":"photos"}},"operation":"x"}',
            b'\n\x1e[{"api": {"name": "PutObject"}, "tags": {"Records": []}}]',
            b"{}",
        ],
        file=b'{"version":"1","api":{"name":"PutObject","bucket":"photos","object":"a/0","statusCode":200}}\n'
        b'{"version":"1","api":{"name":"PutObject","bucket":"photos","object":"a/1","statusCode":200}}\n',
    ),
    Format.ACCESS_LOG: Samples(
        keys=[
            "logs/2026-01-31-12-00-00-0123456789ABCDEF",
            f"{ACCOUNT}/S3_SERVER_ACCESS_LOGS/photos/2026/01/31/x.json.gz",
        ],
        beginnings=[
            b"0wner photos [31/Jan/2026:12:00:00 +0000] 192.0.2.1 me R1 REST.PUT.OBJECT a",
            b"-\tphotos\t[31/Jan/2026:12:00:00 +0000]",
            b'{"bucket_name":"photos","operation":"REST.PUT.OBJECT","key_name":"a"}',
            b'{"message": "{\\"Operation\\": \\"REST.PUT.OBJECT\\", \\"Source-Bucket\\": \\"photos\\"}"}',
            b'{"operation": "REST.PUT.OBJECT", "bucket": "photos", "Records": [1]}',
            b"PAR1\x15\x04",
        ],
        file=b'o photos [31/Jan/2026:12:00:00 +0000] - - R0 REST.PUT.OBJECT a/0 "PUT /" 200 - - 5 40 7 "-" "cli" -\n'
        b'o photos [31/Jan/2026:12:00:00 +0000] - - R1 REST.PUT.OBJECT a/1 "PUT /" 200 - - 5 40 7 "-" "cli" -\n',
    ),
}
KEYS = [(format_, key) for format_, samples in SAMPLES.items() for key in samples.keys]
BEGINNINGS = [(format_, text) for format_, samples in SAMPLES.items() for text in samples.beginnings]


def formats_with_key(key: str) -> set[Format]:
    """Every format with a pattern that matches the key."""
    return {format_ for format_, spec in FORMATS.items() if any(each.pattern.search(key) for each in spec.keys)}


def formats_with_beginning(rank: Rank, text: bytes) -> set[Format]:
    """Every format with a beginning of this rank that matches the text."""
    return {
        format_
        for format_, spec in FORMATS.items()
        for each in spec.beginnings
        if each.rank is rank and each.pattern.match(text, 0, BEGINNING_SIZE)
    }


def test_every_format_has_one_row_and_samples():
    assert set(FORMATS) == set(SAMPLES) == set(Format)


@pytest.mark.parametrize(("format_", "key"), KEYS)
def test_a_key_is_recognised_as_one_format(format_, key):
    assert format_of(key) is format_
    assert formats_with_key(key) == {format_}


@pytest.mark.parametrize(("format_", "text"), BEGINNINGS)
def test_a_beginning_is_recognised_as_one_format(format_, text):
    assert format_of_text(text) is format_


@pytest.mark.parametrize("rank", Rank)
@pytest.mark.parametrize(("format_", "text"), BEGINNINGS)
def test_two_formats_do_not_claim_a_beginning_at_the_same_rank(rank, format_, text):
    assert len(formats_with_beginning(rank, text)) <= 1


FRAGMENTS = (
    *(b"\xef\xbb\xbf", b" ", b"\t", b"\x1e", b"[", b"{", b"}", b",", b"1", b"photos ", b"[31/Jan/2026:", b"PAR1"),
    *(b'"Records":', b'"Records": [', b'"api":', b'"auditEntry":', b'"operation":', b'"Operation":', b'"bucket_name":'),
)


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=10).map(b"".join), st.sampled_from(Rank))
def test_two_formats_do_not_claim_any_text_at_the_same_rank(text, rank):
    assert len(formats_with_beginning(rank, text)) <= 1


@pytest.mark.parametrize("format_", Format)
def test_every_pattern_of_a_row_matches_one_of_its_samples(format_):
    """A pattern without a sample is not tested."""
    spec, samples = FORMATS[format_], SAMPLES[format_]
    assert all(any(each.pattern.search(key) for key in samples.keys) for each in spec.keys)
    assert all(any(each.pattern.match(text) for text in samples.beginnings) for each in spec.beginnings)


@pytest.mark.parametrize("format_", Format)
def test_a_file_gives_the_same_records_when_it_is_cut_in_two_at_any_byte(format_):
    text = SAMPLES[format_].file
    for at in range(len(text)):
        log = LogReader("unnamed", Limits())
        batches = [*log.feed(text[:at]), *log.feed(text[at:]), *log.finish()]
        assert [(each.kind, each.bucket, each.key) for batch in batches for each in batch] == [
            (Kind.WRITTEN, "photos", "a/0"),
            (Kind.WRITTEN, "photos", "a/1"),
        ]
        assert (log.format, log.bad.count) == (format_, 0)


@pytest.mark.parametrize("text", [b"", b"\n", b"<!DOCTYPE html>", b"\xff\xd8\xff\xe0", b"[31/Jan/2026:12:00:00 +0000]"])
def test_other_text_is_not_recognised(text):
    assert format_of_text(text) is None


@pytest.mark.parametrize("format_", Format)
def test_the_defaults_of_every_row_are_documented(format_):
    """docs/reference/formats.md is generated from these rows, by `make docs`."""
    spec, document = FORMATS[format_], next(DOCS.rglob("formats.md")).read_text(encoding="utf-8")
    assert f"| `{format_}` | `{spec.on_bad_record}` | {spec.on_bad_record_reason} |" in document
    assert f"{spec.decompressed_size // GiB} GiB for `{format_}`" in document
    source = next(DOCS.rglob("formats.in.md")).read_text(encoding="utf-8")
    assert {name for name in ("{{formats}}", "{{bad}}", "{{limits}}") if name not in source} == set()
