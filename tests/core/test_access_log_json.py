"""S3 server access logs as JSON: what each object means."""

import gzip
import json
import sys
from urllib.parse import quote_plus

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.core.access_logs import read, summary
from tests.wire import cut

from jibe_sqs.core.errors import LogError, LogLimitExceeded, LogMalformed, RecordMalformed
from jibe_sqs.core.formats.access_log import AccessLog
from jibe_sqs.core.formats.access_log_records import OPERATIONS
from jibe_sqs.core.formats.bad_records import BadRecords
from jibe_sqs.core.formats.format import Format
from jibe_sqs.core.formats.limits import Limits
from jibe_sqs.core.formats.reader import LogReader
from jibe_sqs.core.model import UNKNOWN_TIME, Actor, Kind, SkipReason

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
WRITTEN, DELETED = Kind.WRITTEN, Kind.DELETED
START = 1_772_330_400.0  # 2026-03-01T02:00:00Z

DOCUMENTED = {
    "schema_version_id": "V_1_0",
    "bucket_arn": "arn:aws:s3:::data",
    "bucket_name": "data",
    "request_time": "2026-03-01T02:00:00.250Z",
    "bucket_owner_id": "79a59df9",
    "remote_ip": "192.0.2.1",
    "requester": "arn:aws:iam::111122223333:user/me",
    "request_id": "R1",
    "operation": "REST.PUT.OBJECT",
    "key_name": "a/b.txt",
    "request_uri": "PUT /a/b.txt HTTP/1.1",
    "http_status": 200,
    "error_code": None,
    "bytes_sent_size": None,
    "object_size": 512,
    "total_duration": 500,
    "turn_around_duration": 7,
    "referer": None,
    "user_agent": "cli/1",
    "version_id": "v1",
    "host_id": "hostid=",
    "signature_version": "SigV4",
    "cipher_suite": "cipher",
    "authentication_type": "AuthHeader",
    "host_header": "data.s3.amazonaws.com",
    "tls_version": "TLSv1.3",
    "access_point_arn": None,
    "acl_required": None,
    "source_region": "eu-west-1",
}


def entry(**others):
    """An object as CloudWatch Logs writes it. `...` removes a field."""
    return {name: value for name, value in (DOCUMENTED | others).items() if value is not ...}


def text(*entries, between=b"\n"):
    return between.join(each if isinstance(each, bytes) else json.dumps(each).encode() for each in entries)


def one(found):
    (record,) = read(text(found))
    return record


def renamed(names):
    return {names(name): value for name, value in DOCUMENTED.items()}


CASES = {
    "as documented": (entry(), (WRITTEN, "a/b.txt")),
    "a deletion": (entry(operation="BATCH.DELETE.OBJECT", http_status=204), (DELETED, "a/b.txt")),
    "a read": (entry(operation="REST.GET.OBJECT"), (SkipReason.READ_ONLY, "a/b.txt")),
    "a read of a bucket": (entry(operation="REST.GET.BUCKET", key_name=None), (SkipReason.READ_ONLY, "")),
    "a failure": (entry(http_status=403), (SkipReason.FAILED, "a/b.txt")),
    "a failure as a text": (entry(http_status="403"), (SkipReason.FAILED, "a/b.txt")),
    "a redirect": (entry(http_status=307), (SkipReason.FAILED, "a/b.txt")),
    "a status as a text": (entry(http_status="200"), (WRITTEN, "a/b.txt")),
    "a status as a decimal number": (entry(http_status=403.0), (SkipReason.FAILED, "a/b.txt")),
    "no status": (entry(http_status=None), (WRITTEN, "a/b.txt")),
    "no status, as in text": (entry(http_status="-"), (WRITTEN, "a/b.txt")),
    "no field for the status": (entry(http_status=...), (WRITTEN, "a/b.txt")),
    "a negative status": (entry(http_status=-404), (WRITTEN, "a/b.txt")),
    "a status below 100": (entry(http_status=99), (WRITTEN, "a/b.txt")),
    "a status from 600 on": (entry(http_status=600), (WRITTEN, "a/b.txt")),
    "a huge status": (entry(http_status=10**30), (WRITTEN, "a/b.txt")),
    "a bucket's ARN as its name": (entry(bucket_name="arn:aws:s3:::data"), (WRITTEN, "a/b.txt")),
    "a directory bucket's ARN": (
        entry(bucket_name="arn:aws:s3express:eu-west-1:111122223333:bucket/data"),
        (WRITTEN, "a/b.txt"),
    ),
    "an access point as the name, and the bucket's ARN": (
        entry(bucket_name="arn:aws:s3:eu-west-1:111122223333:accesspoint/x"),
        (WRITTEN, "a/b.txt"),
    ),
    "a status of another type": (entry(http_status={"code": 403}), (WRITTEN, "a/b.txt")),
    "a write without a key": (entry(key_name=None), (Kind.WRITTEN_UNLISTED, "")),
    "a deletion without a key": (entry(key_name="-", operation="REST.DELETE.OBJECT"), (Kind.DELETED_UNLISTED, "")),
    "a key of another type": (entry(key_name=7), (Kind.WRITTEN_UNLISTED, "")),
    "a key with half a surrogate pair": (text(entry(key_name="a/\udfff.txt")), (Kind.WRITTEN_UNLISTED, "")),
    "a key that is not UTF-8": (text(entry()).replace(b"a/b.txt", b"a/\xff.txt"), (Kind.WRITTEN_UNLISTED, "")),
    "a bucket by its ARN alone": (entry(bucket_name=...), (WRITTEN, "a/b.txt")),
    "an agent that is not UTF-8": (text(entry()).replace(b"cli/1", b"cli/\xff"), (WRITTEN, "a/b.txt")),
    "an agent with half a surrogate pair": (entry(user_agent="\ud800"), (WRITTEN, "a/b.txt")),
    "a size that is not a number": (text(entry()).replace(b"512", b"NaN"), (WRITTEN, "a/b.txt")),
    "a size of 5,000 digits": (text(entry()).replace(b"512", b"5" * 5_000), (WRITTEN, "a/b.txt")),
    "fields of other types": (entry(requester=7, remote_ip=[], user_agent={}, version_id=1), (WRITTEN, "a/b.txt")),
    "names in capitals": (renamed(str.upper), (WRITTEN, "a/b.txt")),
    "names with hyphens": (renamed(lambda name: name.replace("_", "-")), (WRITTEN, "a/b.txt")),
    "names with spaces": (renamed(lambda name: name.replace("_", " ").title()), (WRITTEN, "a/b.txt")),
    "names without separators": (renamed(lambda name: name.replace("_", "")), (WRITTEN, "a/b.txt")),
    "names of the text format": (
        {"bucket": "data", "time": "[01/Mar/2026:02:00:00 +0000]", "operation": "REST.PUT.OBJECT", "key": "a/b.txt"},
        (WRITTEN, "a/b.txt"),
    ),
    "only the fields that matter": (
        {"bucket_name": "data", "operation": "REST.PUT.OBJECT", "key_name": "k"},
        (WRITTEN, "k"),
    ),
}

BAD = {
    "not JSON": (b'{"operation": ', "not JSON"),
    "a list": (b"[1]", "names no operation"),
    "a number": (b"7", "names no operation"),
    "without an operation": (text(entry(operation=...)), "its operation is missing"),
    "with an operation of another type": (text(entry(operation=["REST.PUT.OBJECT"])), "its operation is"),
    "with a word in place of the operation": (text(entry(operation="FROB")), "its operation is 'FROB'"),
    "with a long operation": (text(entry(operation="REST." + "x" * 999)), "its operation is"),
    "without a bucket": (text(entry(bucket_name=..., bucket_arn=...)), "a REST.PUT.OBJECT without a bucket"),
    "with an access point's ARN": (
        text(entry(bucket_name=None, bucket_arn="arn:aws:s3:eu-west-1:111122223333:accesspoint/x")),
        "without a bucket",
    ),
    "with a short ARN": (text(entry(bucket_name=None, bucket_arn="arn:aws")), "without a bucket"),
    "with a bucket of another type": (text(entry(bucket_name=7, bucket_arn=7)), "a REST.PUT.OBJECT without a bucket"),
    "nested too deeply": (b'{"a":' * 100_000, "not JSON"),
}


@pytest.mark.parametrize(("found", "expected"), CASES.values(), ids=CASES.keys())
def test_an_object_gives_the_expected_record(found, expected):
    record = one(found)
    assert summary(record) == expected
    record.key.encode()
    assert expected[1] == "" or record.bucket == "data"


@pytest.mark.parametrize(("found", "reason"), BAD.values(), ids=BAD.keys())
def test_the_error_of_a_bad_object_names_its_position_and_the_problem(found, reason):
    good = text(entry()) + b"\n"
    with pytest.raises(RecordMalformed, match=reason) as raised:
        read(good + found)
    assert (raised.value.index, raised.value.offset) == (2, len(good))
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize("found", [found for found, _ in BAD.values()], ids=BAD.keys())
def test_the_objects_beside_a_bad_object_are_read(found):
    records = read(text(entry(key_name="1"), found, entry(key_name="2")), "skip")
    assert [summary(record) for record in records] == [(WRITTEN, "1"), (WRITTEN, "2")]


TIMES = {
    "an ISO time, with the duration": (entry(), START + 0.75),
    "an ISO time without a zone": (entry(request_time="2026-03-01T02:00:00"), START + 0.5),
    "an ISO time with a zone": (entry(request_time="2026-03-01 07:30:00+05:30"), START + 0.5),
    "a text's time": (entry(request_time="[01/Mar/2026:02:00:00 +0000]"), START + 0.5),
    "a text's time without brackets": (entry(request_time="01/Mar/2026:02:00:00 +0000"), START + 0.5),
    "seconds": (entry(request_time=int(START)), START + 0.5),
    "seconds as a text": (entry(request_time=f"{START:.3f}"), START + 0.5),
    "milliseconds": (entry(request_time=int(START * 1000)), START + 0.5),
    "microseconds": (entry(request_time=int(START * 1_000_000)), START + 0.5),
    "a duration as a text": (entry(total_duration="500"), START + 0.75),
    "the turn-around time, without the total time": (entry(total_duration=None), START + 0.257),
    "no duration": (entry(total_duration=None, turn_around_duration=None), UNKNOWN_TIME),
    "no field for the duration": (entry(total_duration=..., turn_around_duration=...), UNKNOWN_TIME),
    "an unreadable duration": (entry(total_duration="long"), UNKNOWN_TIME),
    "a negative duration": (entry(total_duration=-1), UNKNOWN_TIME),
    "no duration, of a deletion": (entry(operation="REST.DELETE.OBJECT", total_duration=..., turn_around_duration=...), START + 0.25),
    "no time": (entry(request_time=None), UNKNOWN_TIME),
    "no field for the time": (entry(request_time=...), UNKNOWN_TIME),
    "a time that cannot be read": (entry(request_time="yesterday"), UNKNOWN_TIME),
    "a long time": (entry(request_time="2" * 999), UNKNOWN_TIME),
    "only a day": (entry(request_time="2026-03-01"), UNKNOWN_TIME),
    "only an hour": (entry(request_time="2026-03-01T02Z"), UNKNOWN_TIME),
    "only a minute": (entry(request_time="2026-03-01T02:00Z"), UNKNOWN_TIME),
    "only a minute, without colons, in a zone": (entry(request_time="20260301T0200+0100"), UNKNOWN_TIME),
    "a second, without colons": (entry(request_time="20260301T020000Z"), START + 0.5),
    "Unix's zero": (entry(request_time="1970-01-01T00:00:00Z"), UNKNOWN_TIME),
    "just before S3 existed": (entry(request_time="2005-12-31T23:59:59Z"), UNKNOWN_TIME),
    "a small number": (entry(request_time=41), UNKNOWN_TIME),
    "a truth value": (entry(request_time=True), UNKNOWN_TIME),
    "a time of another type": (entry(request_time=["2026-03-01T02:00:00Z"]), UNKNOWN_TIME),
    "a huge number": (text(entry(request_time=1)).replace(b'"request_time": 1', b'"request_time": 1e999'), UNKNOWN_TIME),
    "the year 1": (entry(request_time="0001-01-01T00:00:00+23:59"), UNKNOWN_TIME),
    "a second field, if the first cannot be read": (entry(request_time="x", timestamp="2026-03-01T02:00:00Z"), START + 0.5),
}  # fmt: skip


@pytest.mark.parametrize(("found", "expected"), TIMES.values(), ids=TIMES.keys())
def test_the_time_is_the_end_of_the_request_or_unknown(found, expected):
    assert one(found).time == pytest.approx(expected, abs=1e-3)


def test_the_event_has_the_caller_and_the_ids():
    event = one(entry())
    assert event.actor == Actor("arn:aws:iam::111122223333:user/me", source_address="192.0.2.1", user_agent="cli/1")
    assert (event.bucket, event.event_id, event.version, event.name) == ("data", "R1", "v1", "REST.PUT.OBJECT")


def test_a_request_that_is_logged_twice_counts_once():
    assert [summary(record) for record in read(text(entry(), entry()))] == [
        (WRITTEN, "a/b.txt"),
        (SkipReason.DUPLICATE, "a/b.txt"),
    ]


READINGS = {
    "plain": ("a/b c.txt", ["a/b c.txt"]),
    "a plus": ("a+b", ["a+b", "a b"]),
    "an encoded space": ("a%20b", ["a%20b", "a b"]),
    "a space that was encoded twice": ("a%2520b", ["a%2520b", "a%20b", "a b"]),
    "a percent sign without an escape": ("100%", ["100%"]),
    "an escape that is not UTF-8": ("a%FF", ["a%FF"]),
}


@pytest.mark.parametrize(("key", "expected"), READINGS.values(), ids=READINGS.keys())
def test_the_possible_keys_are_the_field_as_it_is_and_decoded(key, expected):
    assert [record.key for record in read(text(entry(key_name=key)))] == expected


KEYS = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("/ %+\"'\\\n{}"), min_size=1, max_size=30)
CHANGES = sorted(name for name, meaning in OPERATIONS.items() if isinstance(meaning, Kind))


@UNHURRIED
@given(st.sampled_from(CHANGES), KEYS.filter(lambda key: key != "-"), st.sampled_from([0, 1, 2]))
def test_the_real_key_is_always_among_the_possible_keys(operation, key, times):
    """S3 encodes a key at most as often as in the text lines of the same operation."""
    encoded = key
    for _ in range(min(times, 1 if operation.startswith(("BATCH", "S3.")) else 2)):
        encoded = quote_plus(encoded, safe="/")
    records = read(text(entry(operation=operation, key_name=encoded)))
    assert key in [record.key for record in records]


BETWEEN = [b"\n", b"", b" ", b"\r\n", b"\n\n", b" \t"]


@pytest.mark.parametrize("between", BETWEEN)
@pytest.mark.parametrize("indent", ['{"operation"', '{ "operation"'])
def test_objects_may_follow_each_other_without_a_line_end(between, indent):
    """Firehose writes no newlines."""
    entries = [
        text({"operation": "REST.PUT.OBJECT", "key": f"{n}}}{{", "bucket": 'a}{"b', "user_agent": '}{"', "x": [{}, {}]})
        for n in range(9)
    ]
    data = between.join(each.replace(b'{"operation"', indent.encode()) for each in entries)
    assert [record.key for record in read(data.replace(b'a}{\\"b', b"data"))] == [f"{n}}}{{" for n in range(9)]


def test_the_position_of_a_bad_object_is_correct_without_line_ends():
    good = text(entry())
    bad = text(entry(operation="x"))
    with pytest.raises(RecordMalformed, match="line 1: ") as raised:
        read(good + good + bad + good)
    assert raised.value.offset == 2 * len(good)


def test_a_large_file_without_line_ends_is_read_object_by_object():
    log = AccessLog(Limits(record_size=2_000), BadRecords("reject"))
    block = text(*(entry(request_id=str(n)) for n in range(100)), between=b"")
    records = [record for _ in range(20) for record in log.feed(block)] + log.finish()
    assert len(records) == 2_000


def test_a_file_with_one_object_that_is_too_large_is_refused():
    with pytest.raises(LogLimitExceeded):
        read(text(entry(key_name="k" * 3_000)), "skip", Limits(record_size=2_000))


@pytest.mark.parametrize("size", [100, 1 << 30])
@pytest.mark.parametrize("between", [b"", b"\n", b",\n"])
def test_an_object_that_is_too_large_is_one_bad_record(between, size):
    bad = BadRecords("skip")
    log = AccessLog(Limits(record_size=2_000), bad)
    data = text(entry(key_name="1"), entry(key_name="k" * 90_000), entry(key_name="2"), between=between)
    blocks = [data[at : at + size] for at in range(0, len(data), size)]
    records = [record for block in blocks for record in log.feed(block)] + log.finish()
    assert [record.key for record in records] == ["1", "2"]
    assert bad.count == 1


LINE = '0wner data [01/Mar/2026:02:00:00 +0000] 192.0.2.1 me R1 REST.PUT.OBJECT t - 200 - - 5 40 7 "-" "{\\"x\\"}" -'
ONE, TWO = entry(key_name="1", request_id="1"), entry(key_name="2", request_id="2")
LAYOUTS = {
    "commas between lines": (text(ONE, TWO, between=b",\n"), ["1", "2"]),
    "a comma after each": (text(ONE, TWO, between=b",\n") + b",\n", ["1", "2"]),
    "an array on a line": (json.dumps([ONE, TWO]).encode(), ["1", "2"]),
    "an array over several lines": (json.dumps([ONE, TWO], indent=2).encode(), ["1", "2"]),
    "objects over several lines": (json.dumps(ONE, indent=2).encode() + b"\n" + json.dumps(TWO, indent=2).encode(), ["1", "2"]),
    "a wrapper": (json.dumps({"Records": [ONE, TWO]}).encode(), ["1", "2"]),
    "a wrapper over several lines": (json.dumps({"Records": [ONE, TWO]}, indent=1).encode(), ["1", "2"]),
    "record separators": (b"\x1e" + text(ONE, TWO, between=b"\n\x1e"), ["1", "2"]),
    "many spaces between objects": (text(ONE, TWO, between=b" " * 300), ["1", "2"]),
    "objects in messages": (text({"message": ONE}, {"message": json.dumps(TWO)}), ["1", "2"]),
    "a line of text in a message": (text({"timestamp": 1, "message": LINE}), ["t"]),
    "several objects in a message": (text({"message": json.dumps(ONE) + json.dumps(TWO)}), ["1", "2"]),
    "an array in a message": (text({"message": json.dumps([ONE, TWO])}), ["1", "2"]),
    "text and objects in the messages of a subscription": (
        text({"messageType": "DATA_MESSAGE", "logEvents": [{"message": LINE}, {"message": json.dumps(ONE)}]}),
        ["t", "1"],
    ),
    "objects among lines of text": (text(LINE.encode(), ONE, LINE.replace(" t ", " u ").encode(), TWO), ["t", "1", "u", "2"]),
}  # fmt: skip


@pytest.mark.parametrize(("data", "keys"), LAYOUTS.values(), ids=LAYOUTS.keys())
def test_requests_are_found_in_every_layout(data, keys):
    assert [record.key for record in read(data)] == keys


BROKEN_LAYOUTS = {
    "words first": (text(b"some words", ONE, TWO), ["1", "2"]),
    "words before an object on its line": (text(b"host: " + text(ONE), TWO), ["1", "2"]),
    "a cut object and a good one on its line": (text(text(ONE)[:70] + text(TWO)), ["2"]),
    "a cut object and a line of text": (text(text(ONE)[:70], LINE.encode(), TWO), ["t", "2"]),
    "a good object that is indented deeper": (text(text(ONE)[:70], b"    " + text(TWO)), ["2"]),
    "a message without an end": (text({"message": json.dumps(ONE)[:70] + json.dumps(TWO)}, ONE), ["2", "1"]),
}


@pytest.mark.parametrize(("data", "keys"), BROKEN_LAYOUTS.values(), ids=BROKEN_LAYOUTS.keys())
def test_text_without_a_request_is_one_bad_record(data, keys):
    bad = BadRecords("skip")
    log = AccessLog(Limits(), bad)
    assert [record.key for record in log.feed(data) + log.finish()] == keys
    assert bad.count == 1


@pytest.mark.parametrize("data", [data for data, _ in (*LAYOUTS.values(), *BROKEN_LAYOUTS.values())])
def test_a_cut_at_any_byte_of_any_layout_changes_nothing(data):
    whole = outcome([data], "skip")
    assert all(outcome([data[:at], data[at:]], "skip") == whole for at in range(1, len(data), 7))


def test_messages_that_are_nested_too_deeply_are_a_bad_record():
    message = json.dumps(ONE)
    for _ in range(9):
        message = json.dumps({"message": message})
    with pytest.raises(RecordMalformed, match="nested too deeply"):
        read(text(TWO, message.encode()))


def test_a_record_without_its_bucket_still_has_this_format():
    bad = BadRecords("skip")
    log = AccessLog(Limits(), bad)
    assert log.feed(text(entry(bucket_name=None, bucket_arn=None))) + log.finish() == []
    assert bad.count == 1


def test_a_good_request_after_many_bad_ones_is_read():
    records = read(text(*[b"{bad}"] * 100, ONE), "skip")
    assert [record.key for record in records] == ["1"]


ENVELOPE = {"messageType": "DATA_MESSAGE", "owner": "111122223333", "logGroup": "g", "logStream": "s"}


def wrapped(*messages):
    events = [{"id": str(n), "timestamp": 1, "message": message} for n, message in enumerate(messages)]
    return ENVELOPE | {"logEvents": events}


def test_a_log_groups_subscription_wraps_the_objects():
    data = text(
        wrapped(json.dumps(entry(key_name="1")), json.dumps(entry(key_name="2"))), wrapped(entry()), between=b""
    )
    assert [summary(record) for record in read(data)] == [(WRITTEN, "1"), (WRITTEN, "2"), (WRITTEN, "a/b.txt")]


def test_the_messages_beside_a_bad_message_of_a_subscription_are_read():
    bad = BadRecords("skip")
    log = AccessLog(Limits(), bad)
    data = text(wrapped(json.dumps(entry(key_name="1")), "START", None, json.dumps(entry(key_name="2"))))
    assert [record.key for record in log.feed(data) + log.finish()] == ["1", "2"]
    assert bad.count == 2


def test_a_control_message_of_a_subscription_gives_no_records():
    control = ENVELOPE | {"messageType": "CONTROL_MESSAGE", "logEvents": [{"id": "", "message": "CWL CONTROL MESSAGE"}]}
    assert read(text(control)) == []


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize(
    "data",
    [
        text(entry()),
        b"\xef\xbb\xbf" + text(entry()),
        b"\n \n" + text(entry()),
        text(renamed(str.upper)),
        b"\x1e" + text(entry()),
        json.dumps([entry()], indent=2).encode(),
        text({"bucket_arn": "arn:aws:s3:::data", "operation": "REST.PUT.OBJECT", "key_name": "a/b.txt"}),
        text(entry(user_agent='"api": {"auditEntry": ')),
        text(wrapped(json.dumps(entry()))),
    ],
)
def test_a_file_is_recognised_by_its_first_object(data, compress):
    for key, configured in (("", None), ("", Format.ACCESS_LOG), ("2026-03-01-02-00-00-0123456789ABCDEF", None)):
        reader = LogReader(key, Limits(), configured=configured)
        records = [record for batch in (*reader.feed(compress(data)), *reader.finish()) for record in batch]
        assert [summary(record) for record in records] == [(WRITTEN, "a/b.txt")]
        assert reader.format is Format.ACCESS_LOG


@pytest.mark.parametrize(
    "data",
    [
        b'{"time":"2026-01-31T12:00:00Z","api":{"name":"PutObject","bucket":"b","object":"k"},"tags":{"operation":"x"}}',
        b'{"auditEntry":{"time":"2026-01-31T12:00:00Z","api":{"name":"PutObject","bucket":"b","object":"k"}},"operation":1,"bucket":"b"}',
        b'{"time":"2026-01-31T12:00:00Z","version":"1","api":{"name":"PutObject","bucket":"b","object":"k"}}',
    ],
)
def test_an_audit_log_is_still_recognised(data):
    reader = LogReader("", Limits())
    assert len([record for batch in (*reader.feed(data), *reader.finish()) for record in batch]) == 1
    assert reader.format is Format.AUDIT_LOG


@pytest.mark.parametrize("key", ["", "x/2026-03-01-02-00-00-0123456789ABCDEF"])
@pytest.mark.parametrize("size", [1, 3, 9999])
def test_a_parquet_file_is_refused_with_the_remedy(key, size):
    data = b"PAR1" + bytes(range(256)) + b"PAR1"
    reader = LogReader(key, Limits())
    with pytest.raises(LogMalformed, match="Parquet access logs are not supported: deliver JSON or plain text"):
        [*(list(reader.feed(data[at : at + size])) for at in range(0, len(data), size)), *reader.finish()]


def outcome(blocks, policy):
    bad = BadRecords(policy)
    log = AccessLog(Limits(record_size=5000), bad)
    try:
        records = [record for block in blocks for record in log.feed(block)] + log.finish()
    except LogError as error:
        return type(error), bad.count
    return records, bad.count


PIECES = st.sampled_from(
    [text(entry()), text(entry(key_name="a}{")), text(wrapped(json.dumps(entry()))), b"{", b"}", b'{"a', b"\n", b" ", b"}{", b'"', b"\xff", b"\xef\xbb\xbf"]
)  # fmt: skip


@UNHURRIED
@given(st.lists(PIECES, max_size=8).map(b"".join), st.lists(st.integers(0, 10_000), max_size=8))
def test_the_records_do_not_depend_on_how_the_text_is_cut(data, places):
    assert outcome(cut(data, places), "skip") == outcome([data], "skip")


@UNHURRIED
@given(
    st.dictionaries(
        st.sampled_from(sorted(DOCUMENTED)),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.lists(st.none(), max_size=2),
    )
)
def test_a_write_with_any_other_fields_makes_its_bucket_stale(others):
    fixed = {"operation": "REST.PUT.OBJECT", "bucket_name": "data", "http_status": 200}
    for record in read(text(DOCUMENTED | others | fixed)):
        assert record.bucket == "data"
        assert record.kind is WRITTEN or record.kind.is_unlisted


@pytest.mark.parametrize("field", ["operation", "http_status", "total_time"])
def test_a_field_of_any_depth_costs_no_other_record(field):
    """Python cannot show a value that is nested too deeply, and decodes deeper ones."""
    limit = sys.getrecursionlimit()
    for depth in range(limit - 200, limit + 10):
        good = {"operation": "REST.PUT.OBJECT", "bucket_name": "b", "key": "k", "request_id": "good"}
        odd = json.dumps({**good, "request_id": "odd", field: "DEEP"}).replace('"DEEP"', "[" * depth + "]" * depth)
        reader = LogReader("", Limits(), configured=Format.ACCESS_LOG)
        found = [*reader.feed(f"{odd}\n{json.dumps(good)}\n".encode()), *reader.finish()]
        assert "good" in [each.event_id for records in found for each in records], depth
