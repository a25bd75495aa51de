"""Whole log files: how the format is recognised, the limits, and the same records with any cuts of the file."""

import gzip
import hashlib
import json
import random
import tracemalloc
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from backports import zstd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jibe_sqs.core.errors import LogCorrupt, LogError, LogLimitExceeded, LogMalformed, LogTruncated
from jibe_sqs.core.formats import reader
from jibe_sqs.core.formats.bad_records import MAX_SHOWN, OnBadRecord
from jibe_sqs.core.formats.decompressed import BLOCK
from jibe_sqs.core.formats.format import Format
from jibe_sqs.core.formats.limits import GiB, Limits, MiB
from jibe_sqs.core.formats.reader import RATIO_CHECKED_FROM, LogReader
from jibe_sqs.core.formats.registry import FORMATS
from jibe_sqs.core.model import ObjectEvent

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
NAMELESS = "some/log"
KEYS = {
    Format.CLOUDTRAIL: "AWSLogs/111122223333/CloudTrail/eu-west-1/2026/01/31/x.json.gz",
    Format.AUDIT_LOG: "p/S3-photos-2026-01-31-12-00-00.gz",
    Format.ACCESS_LOG: "p/2026-01-31-12-00-00-0123456789ABCDEF",
}


def trail_record(n: int = 0, name: str = "PutObject", **changes: Any) -> dict[str, Any]:
    return {
        "eventVersion": "1.11",
        "eventTime": "2026-01-31T12:00:00Z",
        "eventSource": "s3.amazonaws.com",
        "eventName": name,
        "eventID": f"e{n}",
        "requestParameters": {"bucketName": "photos", "key": f"a/{n}"},
        **changes,
    }


def trail(*records: dict[str, Any], indent: int | None = None) -> bytes:
    return json.dumps({"Records": records}, indent=indent).encode()


def audit_record(n: int = 0, **api: Any) -> dict[str, Any]:
    inside = {"name": "PutObject", "bucket": "photos", "object": f"a/{n}", "statusCode": 200, **api}
    return {"version": "1", "time": "2026-01-31T12:00:00Z", "api": inside, "requestID": f"R{n}"}


def audit(*records: Any) -> bytes:
    return b"".join((each if isinstance(each, bytes) else json.dumps(each).encode()) + b"\n" for each in records)


def access_record(n: int = 0, key: str | None = None) -> bytes:
    rest = '"PUT /x HTTP/1.1" 200 - - 5 40 7 "-" "cli/1" - h= SigV4 cipher AuthHeader photos.s3.amazonaws.com TLSv1.3'
    line = f"0wner photos [31/Jan/2026:12:00:00 +0000] 192.0.2.1 me R{n} REST.PUT.OBJECT {key or f'a/{n}'} {rest}"
    return line.encode()


def access(*records: bytes) -> bytes:
    return b"".join(each + b"\n" for each in records)


def many(format_: Format, count: int) -> bytes:
    """The text of a file with this number of writes."""
    if format_ is Format.CLOUDTRAIL:
        return trail(*map(trail_record, range(count)))
    if format_ is Format.AUDIT_LOG:
        return audit(*map(audit_record, range(count)))
    return access(*map(access_record, range(count)))


def halves(compress: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    return lambda text: compress(text[: len(text) // 2]) + compress(text[len(text) // 2 :])


STORED: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda text: text,
    "gzip": gzip.compress,
    "zstd": zstd.compress,
    "two members of gzip": halves(gzip.compress),
    "two frames of zstd": halves(zstd.compress),
    "an empty member first": lambda text: gzip.compress(b"") + gzip.compress(text),
    "an empty frame first": lambda text: zstd.compress(b"") + zstd.compress(text),
    "a byte a member": lambda text: b"".join(gzip.compress(text[at : at + 1]) for at in range(len(text))),
}


def read(data: bytes, key: str = NAMELESS, *sizes: int, limits: Limits | None = None, **more: Any) -> LogReader:
    """Read a file in chunks of these sizes. The last size is repeated. The records are in `found`."""
    log = LogReader(key, limits or Limits(), **more)
    rest, at, found = list(sizes) or [len(data) or 1], 0, []
    while at < len(data):
        size = rest.pop(0) if len(rest) > 1 else rest[0]
        found += [record for batch in log.feed(data[at : at + size]) for record in batch]
        at += size
    found += [record for batch in log.finish() for record in batch]
    log.found = found
    return log


def keys_of(log: LogReader) -> list[str]:
    return [record.key for record in log.found]


# Recognition of the format


@pytest.mark.parametrize("store", STORED.values(), ids=STORED.keys())
@pytest.mark.parametrize("format_", KEYS)
@pytest.mark.parametrize("by", ["name", "setting", "first bytes"])
def test_each_format_is_recognised_by_key_by_setting_and_by_first_bytes(format_, by, store):
    key = KEYS[format_] if by == "name" else NAMELESS
    log = read(store(many(format_, 3)), key, configured=format_ if by == "setting" else None)
    assert log.format is format_
    assert keys_of(log) == ["a/0", "a/1", "a/2"]
    assert (log.records, log.bad.count) == (3, 0)


@pytest.mark.parametrize("named", KEYS)
@pytest.mark.parametrize("configured", KEYS)
@pytest.mark.parametrize("written", KEYS)
def test_the_key_decides_before_the_setting_and_the_setting_before_the_first_bytes(named, configured, written):
    """The content of the file does not overrule them. A file of another format is an error."""
    for key, expected in ((KEYS[named], named), (NAMELESS, configured)):
        log = LogReader(key, Limits(), configured=configured)
        assert log.format is expected
        text = many(written, 3)
        if expected is written:
            assert sum(len(batch) for batch in log.feed(text)) + sum(len(batch) for batch in log.finish()) == 3
        else:
            with pytest.raises(LogMalformed):
                read(text, key, configured=configured)


BEGINNINGS = {
    "CloudTrail with a byte order mark": (b"\xef\xbb\xbf" + trail(trail_record()), Format.CLOUDTRAIL),
    "CloudTrail with white space": (b" \r\n\t" + trail(trail_record(), indent=2), Format.CLOUDTRAIL),
    "CloudTrail without records": (trail(), Format.CLOUDTRAIL),
    "CloudTrail with another field first": (b'{"x": NaN, ' + trail(trail_record())[1:], Format.CLOUDTRAIL),
    "an audit log with a list named Records": (audit(audit_record() | {"tags": {"Records": []}}), Format.AUDIT_LOG),
    "an audit log after empty lines": (b"\n\n" + audit(audit_record()), Format.AUDIT_LOG),
    "a wrapped audit log": (audit({"auditEntry": audit_record()}), Format.AUDIT_LOG),
    "an access log without an owner": (b"- " + access_record().partition(b" ")[2], Format.ACCESS_LOG),
    "an access log of one line without a line end": (access_record(), Format.ACCESS_LOG),
}


@pytest.mark.parametrize(("text", "format_"), BEGINNINGS.values(), ids=BEGINNINGS.keys())
def test_a_beginning_is_recognised_in_one_piece_and_in_single_bytes(text, format_):
    assert read(text).format is read(text, NAMELESS, 1).format is format_


def test_no_record_is_lost_before_the_format_is_recognised():
    text = many(Format.ACCESS_LOG, 100)
    log = LogReader(NAMELESS, Limits())
    assert not any(log.feed(text[:4000]))
    assert log.format is None
    assert sum(len(batch) for batch in log.feed(text[4000:])) == 100
    assert log.format is Format.ACCESS_LOG


@pytest.mark.parametrize("gap", range(4070, 4110))
def test_the_recognised_format_does_not_depend_on_the_size_of_the_chunks(gap):
    """Found by this test: bytes after the first 4,096 counted if they came in the same chunk."""
    text = b"{" + b" " * gap + trail(trail_record())[1:]
    assert read_or_error(text, NAMELESS, 1) == read_or_error(text, NAMELESS)


NO_LOGS = {
    "binary": random.Random(1).randbytes(10_000),
    "a picture": b"\x89PNG\r\n\x1a\n" + bytes(500),
    "an archive": b"PK\x03\x04" + bytes(500),
    "zeros": bytes(10_000),
    "HTML": b"<!DOCTYPE html><html><body>403 Forbidden</body></html>",
    "an XML error of S3's": b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
    "CSV": b"eventTime,eventName,bucket,key\n2026-01-31T12:00:00Z,PutObject,photos,a\n",
    "an ELB's log": b"https 2026-01-31T12:00:00.000000Z app/lb/1 192.0.2.1:1 - 0 0 0 200 200 0 0\n",
    "text": b"hello world\n",
    "JSON of something else": b"[1, 2, 3]",
    "a number": b"7",
    "white space": b" \n" * 5000,
    "UTF-16": '{"Records": []}'.encode("utf-16"),
    "half a line of JSON": b'"Records": []',
}


@pytest.mark.parametrize("store", [STORED["plain"], gzip.compress, zstd.compress], ids=["plain", "gzip", "zstd"])
@pytest.mark.parametrize("data", NO_LOGS.values(), ids=NO_LOGS.keys())
def test_a_file_of_another_kind_is_not_recognised(data, store):
    with pytest.raises(LogMalformed, match="the format is not recognised: the file begins with b"):
        read(store(data))


@pytest.mark.parametrize("on_bad_record", ["skip", "reject"])
@pytest.mark.parametrize("format_", KEYS)
@pytest.mark.parametrize("name", ["binary", "HTML", "CSV", "text", "JSON of something else"])
def test_a_file_of_another_kind_with_the_key_of_a_format_is_refused(name, format_, on_bad_record):
    """If each line were skipped, the file would look like a log that was read."""
    with pytest.raises(LogMalformed):
        read(gzip.compress(NO_LOGS[name]), KEYS[format_], on_bad_record=on_bad_record)


def test_other_json_is_not_an_audit_log():
    with pytest.raises(LogMalformed, match="0 of 1 lines are records"):
        read(json.dumps({"s3Bucket": "b", "s3ObjectKey": ["k"]}).encode())


def test_the_error_shows_only_the_beginning_of_a_file():
    with pytest.raises(LogMalformed) as raised:
        read(b"x" * 100_000)
    assert len(str(raised.value)) < 150


# Compression and truncation


@pytest.mark.parametrize("format_", KEYS)
@pytest.mark.parametrize("by_name", [True, False])
@pytest.mark.parametrize("compress", [gzip.compress, zstd.compress], ids=["gzip", "zstd"])
def test_a_compressed_file_that_ends_early_at_any_byte_is_an_error(format_, by_name, compress):
    data = compress(many(format_, 2))
    for end in range(1, len(data)):
        with pytest.raises(LogTruncated):
            read(data[:end], KEYS[format_] if by_name else NAMELESS, 7)


@pytest.mark.parametrize("key", [NAMELESS, *KEYS.values()])
def test_an_empty_file_is_truncated(key):
    with pytest.raises(LogTruncated, match="empty"):
        read(b"", key)


@pytest.mark.parametrize("compress", [gzip.compress, zstd.compress], ids=["gzip", "zstd"])
def test_an_empty_compressed_file_has_no_format_unless_the_key_shows_it(compress):
    with pytest.raises(LogMalformed):
        read(compress(b""))
    with pytest.raises(LogTruncated):
        read(compress(b""), KEYS[Format.CLOUDTRAIL])
    for format_ in (Format.AUDIT_LOG, Format.ACCESS_LOG):
        assert read(compress(b""), KEYS[format_]).records == 0


@pytest.mark.parametrize("compress", [gzip.compress, zstd.compress], ids=["gzip", "zstd"])
def test_junk_after_the_end_is_corrupt(compress):
    with pytest.raises(LogCorrupt):
        read(compress(many(Format.CLOUDTRAIL, 1)) + b"junk", KEYS[Format.CLOUDTRAIL])


# Limits


@pytest.mark.parametrize("store", STORED.values(), ids=STORED.keys())
def test_the_stored_bytes_are_limited(store):
    data = store(many(Format.CLOUDTRAIL, 3))
    assert read(data, limits=Limits(compressed_size=len(data))).stored == len(data)
    with pytest.raises(LogLimitExceeded, match=f"more than {len(data) - 1:,} bytes stored"):
        read(data, NAMELESS, 5, limits=Limits(compressed_size=len(data) - 1))


@pytest.mark.parametrize("format_", KEYS)
@pytest.mark.parametrize("compress", [STORED["plain"], gzip.compress, zstd.compress], ids=["plain", "gzip", "zstd"])
@pytest.mark.parametrize("by_name", [True, False])
def test_the_bytes_of_text_are_limited_by_the_setting(format_, compress, by_name):
    text, key = many(format_, 100), KEYS[format_] if by_name else NAMELESS
    assert read(compress(text), key, limits=Limits(decompressed_size=len(text))).records == 100
    with pytest.raises(LogLimitExceeded, match="decompressed"):
        read(compress(text), key, limits=Limits(decompressed_size=len(text) - 1))


@pytest.mark.parametrize("format_", KEYS)
@pytest.mark.parametrize("by_name", [True, False])
def test_the_bytes_of_text_are_limited_by_the_default_of_the_format(format_, by_name, monkeypatch):
    """The test makes the defaults small, because reading 16 GiB takes too long."""

    def set_default(size: int) -> None:
        monkeypatch.setitem(FORMATS, format_, msgspec.structs.replace(FORMATS[format_], decompressed_size=size))

    text = many(format_, 100)
    key = KEYS[format_] if by_name else NAMELESS
    set_default(len(text))
    assert read(text, key).records == 100
    set_default(len(text) - 1)
    with pytest.raises(LogLimitExceeded, match="decompressed"):
        # In pieces: until the format is recognised, the largest limit of all formats applies.
        read(text, key, 500)


def test_the_defaults_of_the_formats_allow_their_largest_real_files():
    """Compressed, the files of CloudTrail have up to 50 MB and of Lyve up to 500 MB. Both expand about tenfold."""
    sizes = {format_: FORMATS[format_].decompressed_size // GiB for format_ in KEYS}
    assert sizes == {Format.CLOUDTRAIL: 2, Format.AUDIT_LOG: 16, Format.ACCESS_LOG: 16}


BOMBS = {"gzip": gzip.compress, "zstd": zstd.compress}


def padded(format_: Format, count: int) -> bytes:
    """A file of equal records of 1 MiB. No record is too large."""
    pad = "x" * MiB
    if format_ is Format.CLOUDTRAIL:
        return trail(*[trail_record(pad=pad)] * count)
    if format_ is Format.AUDIT_LOG:
        return audit(*[audit_record(object="a", pad=pad)] * count)
    return access(*[access_record() + pad.encode()] * count)


@pytest.mark.parametrize("format_", KEYS)
@pytest.mark.parametrize("compress", BOMBS.values(), ids=BOMBS.keys())
def test_a_bomb_is_stopped_by_its_expansion_ratio(format_, compress):
    """fluent-plugin-s3 #294: 7 GB of memory for a file of 70 MB."""
    bomb = compress(padded(format_, 32))
    log = LogReader(KEYS[format_], Limits())
    with pytest.raises(LogLimitExceeded, match="expands to more than 500 times its"):
        list(log.feed(bomb))
    assert log._text.size <= max(RATIO_CHECKED_FROM, 500 * len(bomb)) + BLOCK


@pytest.mark.parametrize("format_", KEYS)
@pytest.mark.parametrize("compress", BOMBS.values(), ids=BOMBS.keys())
def test_a_bomb_is_stopped_in_bounded_memory(format_, compress, monkeypatch):
    monkeypatch.setattr(reader, "RATIO_CHECKED_FROM", MiB)  # tracing the memory makes reading slow
    bomb = compress(padded(format_, 32))
    tracemalloc.start()
    try:
        with pytest.raises(LogLimitExceeded):
            read(bomb, KEYS[format_], 1000)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 16 * MiB


def test_the_expansion_ratio_can_be_configured():
    text = padded(Format.AUDIT_LOG, 20)
    data = gzip.compress(text)
    assert 600 < len(text) / len(data) < 1100
    assert read(data, limits=Limits(ratio=2000)).records == 20
    with pytest.raises(LogLimitExceeded, match="expands to more than 600 times"):
        read(data, limits=Limits(ratio=600))


def test_a_small_file_is_not_a_bomb_at_any_expansion_ratio():
    text = padded(Format.AUDIT_LOG, 15)
    assert len(zstd.compress(text)) * 500 < len(text)
    assert read(zstd.compress(text)).records == 15


def test_a_real_log_is_not_a_bomb():
    text = many(Format.CLOUDTRAIL, 20_000)
    for compress in BOMBS.values():
        assert len(text) / len(compress(text)) < Limits().ratio / 5
        assert read(compress(text), NAMELESS, 4096).records == 20_000


LARGE = {
    Format.CLOUDTRAIL: trail(trail_record(), trail_record(1, pad="x" * 3000)),
    Format.AUDIT_LOG: audit(audit_record(), audit_record(1, pad="x" * 3000)),
    Format.ACCESS_LOG: access(access_record(), access_record(1) + b"x" * 3000),
}


@pytest.mark.parametrize("sizes", [(), (100,), (1,)], ids=["whole", "in pieces", "in bytes"])
@pytest.mark.parametrize("format_", KEYS)
def test_the_bytes_of_a_record_are_limited(format_, sizes):
    text = LARGE[format_]
    assert read(text, KEYS[format_], *sizes, limits=Limits(record_size=4000)).records == 2
    limits = Limits(record_size=2000)
    if format_ is Format.CLOUDTRAIL:
        with pytest.raises(LogLimitExceeded, match=r"2,000 bytes"):
            read(text, KEYS[format_], *sizes, limits=limits, on_bad_record="skip")
    else:
        log = read(text, KEYS[format_], *sizes, limits=limits, on_bad_record="skip")
        assert (log.records, log.bad.count) == (1, 1)
        assert "2,000 bytes" in str(log.bad.first[0])


@pytest.mark.parametrize("sizes", [(), (100,)], ids=["whole", "in pieces"])
@pytest.mark.parametrize("format_", KEYS)
def test_the_number_of_records_is_limited(format_, sizes):
    text = many(format_, 50)
    assert read(text, KEYS[format_], *sizes, limits=Limits(records=50)).records == 50
    with pytest.raises(LogLimitExceeded, match="more than 49 records"):
        read(text, KEYS[format_], *sizes, limits=Limits(records=49))


LONG = "k" * 41
LONG_KEYS = {
    Format.CLOUDTRAIL: trail(
        trail_record(), trail_record(1, requestParameters={"bucketName": "photos", "key": LONG}), trail_record(2)
    ),
    Format.AUDIT_LOG: audit(audit_record(), audit_record(1, object=LONG), audit_record(2)),
    Format.ACCESS_LOG: access(access_record(), access_record(1, LONG), access_record(2)),
}


@pytest.mark.parametrize("format_", KEYS)
def test_an_event_with_a_key_that_is_too_long_is_a_bad_record(format_):
    text = LONG_KEYS[format_]
    # The empty key means the whole bucket.
    expected = ["a/0", "", "a/2"]
    assert read(text, KEYS[format_], limits=Limits(key_length=41)).bad.count == 0
    log = read(text, KEYS[format_], limits=Limits(key_length=40), on_bad_record="skip")
    assert (keys_of(log), log.bad.count) == (expected, 1)
    assert "a key of 41 characters" in str(log.bad.first[0])
    assert log.bad.rejection is None
    log = read(text, KEYS[format_], limits=Limits(key_length=40), on_bad_record="reject")
    assert (keys_of(log), log.bad.count) == (expected, 1)
    begins = text.rindex(b'{"eventV' if format_ is Format.CLOUDTRAIL else b"\n", 0, text.index(LONG.encode()))
    assert log.bad.first[0].offset == begins + (format_ is not Format.CLOUDTRAIL)
    assert "a key of 41 characters" in str(log.bad.rejection)


def test_a_record_that_needs_no_refresh_may_have_a_key_of_any_length():
    """Found by this test: one request with a key that is too long for every store rejected the whole file."""
    parameters = {"bucketName": "photos", "key": "k" * 10_000}
    text = trail(
        trail_record(0, "GetObject", requestParameters=parameters),
        trail_record(1, requestParameters=parameters, errorCode="KeyTooLongError"),
        trail_record(2),
    )
    log = read(text)
    assert (len(log.found), log.bad.count) == (3, 0)


def test_the_error_of_a_bad_record_is_short_even_if_its_fields_are_long():
    parameters = {"bucketName": "photos", "key": "k" * 10_000}
    text = trail(trail_record(0, "PutObject" + "x" * 10_000, requestParameters=parameters), trail_record(1))
    log = read(text, on_bad_record="skip")
    assert log.bad.count == 1
    assert len(str(log.bad.first[0])) < 200


DEEP = b"[" * 100_000 + b"]" * 100_000
NESTED = {
    Format.CLOUDTRAIL: trail(trail_record(), trail_record(1, pad="PAD"), trail_record(2)).replace(b'"PAD"', DEEP),
    Format.AUDIT_LOG: audit(audit_record(), audit_record(1, pad="PAD"), audit_record(2)).replace(b'"PAD"', DEEP),
}


@pytest.mark.parametrize("spaces", [False, True], ids=["as AWS writes it", "with spaces between"])
def test_a_cloudtrail_record_with_a_deeply_nested_field_is_read(spaces):
    text = NESTED[Format.CLOUDTRAIL].replace(b", {", b"\n,\n{" if spaces else b",{")
    log = read(text, KEYS[Format.CLOUDTRAIL])
    assert (keys_of(log), log.bad.count) == (["a/0", "a/1", "a/2"], 0)


def test_an_audit_record_with_a_deeply_nested_field_is_read():
    log = read(NESTED[Format.AUDIT_LOG])
    assert (keys_of(log), log.bad.count) == (["a/0", "a/1", "a/2"], 0)


# Bad records

WITH_BAD = {
    Format.CLOUDTRAIL: trail(trail_record(), trail_record(1, requestParameters=None), trail_record(2)),
    Format.AUDIT_LOG: audit(audit_record(), b"no JSON", audit_record(2)),
    Format.ACCESS_LOG: access(access_record(), b"no line of a log", access_record(2)),
}


@pytest.mark.parametrize("by", ["name", "setting", "first bytes"])
@pytest.mark.parametrize("on_bad_record", ["skip", "reject", None])
@pytest.mark.parametrize("format_", KEYS)
def test_records_beside_a_bad_one_are_read_and_the_policy_decides_about_the_message(format_, on_bad_record, by):
    key = KEYS[format_] if by == "name" else NAMELESS
    more: dict[str, Any] = {"configured": format_ if by == "setting" else None, "on_bad_record": on_bad_record}
    expected: OnBadRecord = on_bad_record or FORMATS[format_].on_bad_record
    log = read(WITH_BAD[format_], key, **more)
    assert (keys_of(log), log.bad.count, len(log.bad.first)) == (["a/0", "a/2"], 1, 1)
    assert (log.bad.rejection is not None) == (expected == "reject")


def test_by_default_bad_records_of_cloudtrail_reject_a_message_and_bad_lines_are_skipped():
    assert {format_: FORMATS[format_].on_bad_record for format_ in KEYS} == {
        Format.CLOUDTRAIL: "reject",
        Format.AUDIT_LOG: "skip",
        Format.ACCESS_LOG: "skip",
    }


def test_the_first_few_of_many_bad_records_are_kept():
    log = read(audit(audit_record(), *[b"{}"] * 1000))
    assert (log.bad.count, len(log.bad.first)) == (1000, MAX_SHOWN)
    assert [error.index for error in log.bad.first] == list(range(2, 2 + MAX_SHOWN))


# The hash


@pytest.mark.parametrize("sizes", [(), (1,), (100,)], ids=["whole", "in bytes", "in pieces"])
@pytest.mark.parametrize("by_name", [True, False])
@pytest.mark.parametrize("store", STORED.values(), ids=STORED.keys())
def test_the_hash_is_of_the_decompressed_text(store, by_name, sizes):
    text = many(Format.CLOUDTRAIL, 3)
    log = read(store(text), KEYS[Format.CLOUDTRAIL] if by_name else NAMELESS, *sizes, hashed=True)
    assert log.sha256 == hashlib.sha256(text).hexdigest()


def test_the_hash_includes_white_space():
    """No byte of the file is left out."""
    text = b" \n" + trail(trail_record(), indent=3) + b"\n\n"
    assert read(gzip.compress(text), NAMELESS, 3, hashed=True).sha256 == hashlib.sha256(text).hexdigest()


def test_without_the_option_nothing_is_hashed():
    assert read(many(Format.CLOUDTRAIL, 1)).sha256 == ""


# Random files and random cuts


def read_or_error(data: bytes, key: str, *sizes: int) -> Any:
    try:
        log = read(data, key, *sizes, hashed=True)
    except LogError as error:
        return type(error)
    return log.found, log.format, log.bad.count, log.sha256


TEXTS = [*(many(format_, 40) for format_ in KEYS), *WITH_BAD.values(), *LONG_KEYS.values()]
TEXTS.append(trail(*map(trail_record, range(40)), indent=1))


@settings(UNHURRIED, max_examples=150)
@given(
    st.sampled_from(TEXTS),
    st.sampled_from([NAMELESS, *KEYS.values()]),
    st.sampled_from([STORED[name] for name in STORED if name != "a byte a member"]),
    st.lists(st.integers(1, 6000), min_size=1, max_size=6),
)
def test_the_records_do_not_depend_on_how_the_file_is_cut(text, key, store, sizes):
    data = store(text)
    assert read_or_error(data, key, *sizes) == read_or_error(data, key)


@pytest.mark.parametrize("format_", KEYS)
@pytest.mark.parametrize("store", ["plain", "gzip", "zstd", "two members of gzip", "two frames of zstd"])
def test_a_file_cut_in_two_at_any_byte_gives_the_same_records(format_, store):
    data = STORED[store](many(format_, 2))
    whole = read_or_error(data, NAMELESS)
    assert len(whole[0]) == 2
    assert all(read_or_error(data, NAMELESS, at, len(data)) == whole for at in range(1, len(data)))


def gives_records_or_an_error(data: bytes, key: str, *sizes: int) -> bool:
    found = read_or_error(data, key, *sizes)
    return isinstance(found, tuple) or (issubclass(found, LogError) and found is not LogError)


@settings(UNHURRIED, max_examples=300)
@given(
    st.binary(max_size=600),
    st.sampled_from([b"", b'{"Records": [', b"{", b"o b [31/Jan/2026:", b"\x1f\x8b", b"\x28\xb5\x2f\xfd"]),
    st.sampled_from([NAMELESS, *KEYS.values()]),
    st.sampled_from([STORED["plain"], gzip.compress, zstd.compress]),
    st.integers(1, 700),
)
def test_any_bytes_give_records_or_an_error(data, before, key, store, size):
    assert gives_records_or_an_error(store(before + data), key, size)


@settings(UNHURRIED, max_examples=300)
@given(st.sampled_from(TEXTS), st.sampled_from([NAMELESS, *KEYS.values()]), st.data())
def test_a_log_with_random_damage_gives_records_or_an_error(text, key, data):
    at, to = sorted((data.draw(st.integers(0, len(text))), data.draw(st.integers(0, len(text)))))
    store = data.draw(st.sampled_from([STORED["plain"], gzip.compress, zstd.compress]))
    assert gives_records_or_an_error(store(text[:at] + data.draw(st.binary(max_size=20)) + text[to:]), key, 1000)


def test_every_write_is_an_object_event():
    assert all(isinstance(record, ObjectEvent) for format_ in KEYS for record in read(many(format_, 2)).found)
