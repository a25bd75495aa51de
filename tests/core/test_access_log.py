"""S3 server access logs: what each line says."""

import locale
import tracemalloc
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.wire import cut

from jibe_sqs.core.errors import LogError, LogLimitExceeded, LogMalformed, RecordMalformed
from jibe_sqs.core.formats.access_log import ENCODED_ONCE, OPERATIONS, AccessLog
from jibe_sqs.core.formats.bad_records import BadRecords
from jibe_sqs.core.formats.limits import Limits
from jibe_sqs.core.model import Actor, Kind, ObjectEvent, SkipReason

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A busy machine is no failure."""
SAMPLES = Path(__file__).parents[3] / "shared" / "samples"
WRITTEN, DELETED, UNLISTED = Kind.WRITTEN, Kind.DELETED, Kind.DELETED_UNLISTED
READ_ONLY, FAILED, NOT_CHANGE = SkipReason.READ_ONLY, SkipReason.FAILED, SkipReason.NOT_OBJECT_CHANGE
START = 1_772_330_400.0  # 2026-03-01T02:00:00Z

NUMBERS = "- - 512 40 7"
TAIL = '"-" "cli/1" - hostid= SigV4 cipher AuthHeader data.s3.amazonaws.com TLSv1.3 - - eu-west-1'


def request(
    operation,
    key="a/b.txt",
    *,
    bucket="data",
    time="[01/Mar/2026:02:00:00 +0000]",
    request_id="R1",
    uri='"PUT /x HTTP/1.1"',
    status="200",
    numbers=NUMBERS,
    tail=TAIL,
):
    """A line as S3 writes it; `key` is encoded already."""
    return f"0wner {bucket} {time} 192.0.2.1 arn:aws:iam::111122223333:user/me {request_id} {operation} {key} {uri} {status} {numbers} {tail}"


def lifecycle(operation, key="a/b.txt"):
    return f'0wner data [01/Mar/2026:02:00:00 +0000] - AmazonS3 R1 {operation} {key} "-" - - - 12 - - "-" "-" v1 hostid= - - - - - - -'


def text(*lines):
    return b"".join((line if isinstance(line, bytes) else line.encode()) + b"\n" for line in lines)


def read(data, policy="reject", limits=None):
    bad = BadRecords(policy)
    log = AccessLog(limits or Limits(), bad)
    return log.feed(data) + log.finish()


def one(line):
    (record,) = read(text(line))
    return record


def said(record):
    return (record.kind if isinstance(record, ObjectEvent) else record.reason), record.key


BATCH = "0wner data [01/Mar/2026:02:00:00 +0000] 192.0.2.1 me R1 BATCH.DELETE.OBJECT a/b.txt - 204 - - 12 - - - - v1 hostid= SigV4"

CASES = {
    "a put writes": (request("REST.PUT.OBJECT"), (WRITTEN, "a/b.txt")),
    "a copy writes": (request("REST.COPY.OBJECT"), (WRITTEN, "a/b.txt")),
    "a form writes": (request("REST.POST.OBJECT", status="204"), (WRITTEN, "a/b.txt")),
    "completing a multipart upload writes": (request("REST.POST.UPLOAD"), (WRITTEN, "a/b.txt")),
    "a delete deletes": (request("REST.DELETE.OBJECT", status="204"), (DELETED, "a/b.txt")),
    "one delete of many deletes": (BATCH, (DELETED, "a/b.txt")),
    "an expiry deletes": (lifecycle("S3.EXPIRE.OBJECT"), (DELETED, "a/b.txt")),
    "an expiry that leaves a marker deletes": (lifecycle("S3.CREATE.DELETEMARKER"), (DELETED, "a/b.txt")),
    "the call around many deletes is no change": (request("REST.POST.MULTI_OBJECT_DELETE", "-"), (NOT_CHANGE, "")),
    "the source's side of a copy reads": (request("REST.COPY.OBJECT_GET"), (READ_ONLY, "a/b.txt")),
    "the source's side of a part's copy reads": (request("REST.COPY.PART_GET"), (READ_ONLY, "a/b.txt")),
    "a get reads": (request("REST.GET.OBJECT"), (READ_ONLY, "a/b.txt")),
    "a head reads": (request("REST.HEAD.OBJECT"), (READ_ONLY, "a/b.txt")),
    "a listing reads": (request("REST.GET.BUCKET", "-"), (READ_ONLY, "")),
    "a website's get reads": (request("WEBSITE.GET.OBJECT"), (READ_ONLY, "a/b.txt")),
    "a browser's question reads": (request("REST.OPTIONS.PREFLIGHT"), (READ_ONLY, "a/b.txt")),
    "a failed read is a read": (request("REST.GET.OBJECT", status="404"), (READ_ONLY, "a/b.txt")),
    "a part is no change": (request("REST.PUT.PART"), (NOT_CHANGE, "a/b.txt")),
    "a part by copy is no change": (request("REST.COPY.PART"), (NOT_CHANGE, "a/b.txt")),
    "starting a multipart upload is no change": (request("REST.POST.UPLOADS"), (NOT_CHANGE, "a/b.txt")),
    "aborting it is no change": (request("REST.DELETE.UPLOAD"), (NOT_CHANGE, "a/b.txt")),
    "aborting it by a rule is no change": (lifecycle("S3.DELETE.UPLOAD"), (NOT_CHANGE, "a/b.txt")),
    "tagging is no change": (request("REST.PUT.OBJECT_TAGGING"), (NOT_CHANGE, "a/b.txt")),
    "an ACL is no change": (request("REST.PUT.ACL"), (NOT_CHANGE, "a/b.txt")),
    "a restore is no change": (request("REST.POST.RESTORE"), (NOT_CHANGE, "a/b.txt")),
    "a transition is no change": (lifecycle("S3.TRANSITION_SIA.OBJECT"), (NOT_CHANGE, "a/b.txt")),
    "a transition to Glacier is no change": (lifecycle("S3.TRANSITION.OBJECT"), (NOT_CHANGE, "a/b.txt")),
    "a bucket-level call is no change": (request("REST.PUT.BUCKETPOLICY", "-"), (NOT_CHANGE, "")),
    "an unknown call on an object is taken for a write": (request("REST.FROB.OBJECT"), (WRITTEN, "a/b.txt")),
    "an unknown call on something else is not": (request("REST.PUT.FROB"), (NOT_CHANGE, "a/b.txt")),
    "a word is no known call": (request("FROB"), (NOT_CHANGE, "a/b.txt")),
    "4xx fails": (request("REST.PUT.OBJECT", status="403"), (FAILED, "a/b.txt")),
    "5xx fails": (request("REST.DELETE.OBJECT", status="503"), (FAILED, "a/b.txt")),
    "3xx fails": (request("REST.PUT.OBJECT", status="307"), (FAILED, "a/b.txt")),
    "a failed delete of many fails": (BATCH.replace(" 204 ", " 403 "), (FAILED, "a/b.txt")),
    "a request without a status fails": (request("REST.PUT.OBJECT", status="-"), (FAILED, "a/b.txt")),
    "keys are encoded twice": (request("REST.PUT.OBJECT", "a%2520b%252Bc"), (WRITTEN, "a b+c")),
    "a plus is a plus": (request("REST.PUT.OBJECT", "a+b"), (WRITTEN, "a+b")),
    "in a bulk delete they are encoded once": (BATCH.replace("a/b.txt", "a%20b%2520c"), (DELETED, "a b%20c")),
    "in an expiry they are encoded once": (lifecycle("S3.EXPIRE.OBJECT", "a%20b%2520c"), (DELETED, "a b%20c")),
    "in an expiry with a marker too": (lifecycle("S3.CREATE.DELETEMARKER", "a%2Bb%2520"), (DELETED, "a+b%20")),
    "keys are UTF-8": (request("REST.PUT.OBJECT", "%25C3%25BC"), (WRITTEN, "ü")),
    "even where they are not encoded": (request("REST.PUT.OBJECT", "ü"), (WRITTEN, "ü")),
    "a stray percent is itself": (request("REST.PUT.OBJECT", "100%"), (WRITTEN, "100%")),
    "without a key all of the bucket is stale": (request("REST.POST.OBJECT", "-"), (UNLISTED, "")),
    "the request may be a bare dash": (request("REST.PUT.OBJECT", uri="-"), (WRITTEN, "a/b.txt")),
    "the request may hold quotes": (request("REST.PUT.OBJECT", uri='"PUT /"x" "y" HTTP/1.1"'), (WRITTEN, "a/b.txt")),
    "and what looks like a status": (request("REST.PUT.OBJECT", uri='"PUT /x" 404 HTTP/1.1"'), (WRITTEN, "a/b.txt")),
    "a user agent cannot change the status": (
        request("REST.PUT.OBJECT", tail='"-" "x" 404 - - - - - "-" - hostid='),
        (WRITTEN, "a/b.txt"),
    ),
    "a line may end with the status": (
        request("REST.PUT.OBJECT").removesuffix(f" {NUMBERS} {TAIL}"),
        (WRITTEN, "a/b.txt"),
    ),
    "or soon after it": (request("REST.PUT.OBJECT", numbers="- - 5", tail="").rstrip(), (WRITTEN, "a/b.txt")),
    "or with the numbers": (request("REST.PUT.OBJECT", tail="").rstrip(), (WRITTEN, "a/b.txt")),
    "fields may be added": (request("REST.PUT.OBJECT", tail=TAIL + ' new "fields" -'), (WRITTEN, "a/b.txt")),
    "a space may end it": (request("REST.PUT.OBJECT") + " ", (WRITTEN, "a/b.txt")),
    "bytes that are not UTF-8 are no matter": (
        request("REST.PUT.OBJECT", uri="URI", tail="AGENT").encode().replace(b"URI", b'"PUT /\xff"').replace(b"AGENT", b'"\xfe" "\xff"'),
        (WRITTEN, "a/b.txt"),
    ),
    "nor in the key of a read": (request("REST.GET.OBJECT", "%25FF"), (READ_ONLY, "\ufffd")),
}  # fmt: skip

BAD = {
    "nothing of it": (b"hello", "ends after 1 fields"),
    "JSON": (b'{"Records": []}', "ends after 2 fields"),
    "cut in the head": (b"0wner data [01/Mar/2026:02:00:00 +0000] 192.0.2.1 me R1 REST.PUT", "ends after 8 fields"),
    "cut after the key": (request("REST.PUT.OBJECT").split(' "PUT')[0].encode(), "ends after 9 fields"),
    "cut in the request": (request("REST.PUT.OBJECT").split(" HTTP")[0].encode(), "no request and status"),
    "cut before the status": (request("REST.GET.OBJECT").split(" 200")[0].encode(), "no request and status"),
    "with a status that is none": (request("REST.PUT.OBJECT", status="20").encode(), "no request and status"),
    "with numbers that are none": (request("REST.PUT.OBJECT", numbers="- - 5 x 7").encode(), "no request and status"),
    "with a quote that nothing ends, in a line of few fields": (request("REST.PUT.OBJECT", uri='"PUT /x', tail='"-" "x" -').encode(), "no request and status"),
    "without a time": (b"a b c d e f g h i j k l m", "is no time"),
    "with a time of another shape": (request("REST.PUT.OBJECT", time="[2026-03-01T02:00:00 +0000]").encode(), "is no time"),
    "with a month that is none": (request("REST.GET.OBJECT", time="[01/Mai/2026:02:00:00 +0000]").encode(), "Mai"),
    "with a day that is none": (request("REST.GET.OBJECT", time="[30/Feb/2026:02:00:00 +0000]").encode(), "30/Feb"),
    "with an hour that is none": (request("REST.GET.OBJECT", time="[01/Mar/2026:24:00:00 +0000]").encode(), "24:00:00"),
    "with a zone that is none": (request("REST.GET.OBJECT", time="[01/Mar/2026:02:00:00 +9999]").encode(), "9999"),
    "with a long time": (request("REST.GET.OBJECT", time=f"[{'x' * 99} +0000]").encode(), "is no time"),
    "with a long operation": (request("O" * 99).encode(), "operation"),
    "without a bucket": (request("REST.PUT.OBJECT", bucket="-").encode(), "bucket '-'|bucket b'-'"),
    "with an empty bucket": (request("REST.PUT.OBJECT", bucket="").encode(), "bucket"),
    "with an odd bucket": (request("REST.PUT.OBJECT", bucket="ü").encode(), "bucket"),
    "with an empty key": (request("REST.PUT.OBJECT", "").encode(), "empty key"),
    "with a key that is not UTF-8": (request("REST.PUT.OBJECT", "%25FF").encode(), "the key of a REST.PUT.OBJECT is not UTF-8"),
}  # fmt: skip


@pytest.mark.parametrize(("line", "expected"), CASES.values(), ids=CASES.keys())
def test_what_a_line_says(line, expected):
    assert said(one(line)) == expected


@pytest.mark.parametrize(("line", "reason"), BAD.values(), ids=BAD.keys())
def test_a_bad_line_says_what_is_wrong(line, reason):
    good = text(request("REST.GET.OBJECT"))
    with pytest.raises(RecordMalformed, match=reason) as raised:
        read(good + line)
    assert str(raised.value).startswith("line 2: ")
    assert (raised.value.index, raised.value.offset) == (2, len(good))
    assert "x" * 41 not in str(raised.value)


@pytest.mark.parametrize("line", [line for line, _ in BAD.values()], ids=BAD.keys())
def test_a_bad_line_of_many_can_be_skipped(line):
    bad = BadRecords("skip")
    log = AccessLog(Limits(), bad)
    data = text(request("REST.PUT.OBJECT", "1"), line, request("REST.PUT.OBJECT", "2"))
    assert [said(record) for record in log.feed(data) + log.finish()] == [(WRITTEN, "1"), (WRITTEN, "2")]
    assert bad.count == 1


def test_a_file_of_another_kind_is_not_done_because_bad_lines_are_skipped():
    with pytest.raises(LogMalformed):
        read(b'{"Records": [\n{"a": 1}]}\n', "skip")


TIMES = {
    "the end of the request": (request("REST.PUT.OBJECT", numbers="- - 5 1500 7"), START + 1.5),
    "the start, where no duration is told": (BATCH, START),
    "the start, where the line ends before it": (request("REST.PUT.OBJECT", numbers="-", tail="").rstrip(), START),
    "an hour's upload": (request("REST.PUT.OBJECT", numbers="- - 5 3600000 -"), START + 3600),
    "a zone's time": (request("REST.GET.OBJECT", time="[01/Mar/2026:07:30:00 +0530]"), START),
    "a zone's time, behind": (request("REST.GET.OBJECT", time="[28/Feb/2026:18:00:00 -0800]"), START),
    "of a rule, its time": (lifecycle("S3.EXPIRE.OBJECT"), START),
}
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@pytest.mark.parametrize(("line", "expected"), TIMES.values(), ids=TIMES.keys())
def test_the_time_is_when_the_change_became_visible(line, expected):
    assert one(line).time == expected


@pytest.mark.parametrize("month", range(12))
def test_every_month_is_known(month):
    days = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    line = request("REST.GET.OBJECT", time=f"[01/{MONTHS[month]}/2025:00:00:00 +0000]")
    assert one(line).time == 1_735_689_600 + 86_400 * sum(days[:month])


def test_months_are_english_in_every_locale():
    for name in ("de_DE.UTF-8", "fr_FR.UTF-8"):
        try:
            locale.setlocale(locale.LC_TIME, name)
        except locale.Error:
            continue
        try:
            assert (
                one(request("REST.PUT.OBJECT", time="[01/Mar/2026:02:00:00 +0000]", request_id=name)).time
                == START + 0.04
            )
        finally:
            locale.setlocale(locale.LC_TIME, "C")


AGENTS = {
    "quoted": ('"http://x" "cli/1 (a b)" v1 hostid=', "cli/1 (a b)", "v1"),
    "null": ('"-" "-" - hostid=', "", None),
    "bare": ("- - v1 hostid=", "", "v1"),
    "bare after a quoted referer": ('"http://x" - v1 hostid=', "", "v1"),
    "quoted after a bare referer": ('- "cli" v1 hostid=', "cli", "v1"),
    "with quotes": ('"-" "a "b" c" v1 hostid=', 'a "b" c', "v1"),
    "after a referer with quotes": ('"http://"x"/" "cli" v1 hostid=', "cli", "v1"),
    "at the end": ('"-" "cli"', "cli", None),
    "cut": ('"-" "cl', "cl", None),
    "cut before it": ('"-"', "", None),
}


@pytest.mark.parametrize(("tail", "agent", "version"), AGENTS.values(), ids=AGENTS.keys())
def test_the_user_agent_and_the_version(tail, agent, version):
    event = one(request("REST.PUT.OBJECT", tail=tail))
    assert (event.actor.user_agent, event.version) == (agent, version)


def test_who_did_it_and_how_it_is_named():
    event = one(request("REST.PUT.OBJECT"))
    assert event.actor == Actor("arn:aws:iam::111122223333:user/me", source_address="192.0.2.1", user_agent="cli/1")
    assert (event.bucket, event.event_id, event.name) == ("data", "R1", "REST.PUT.OBJECT")


def test_what_s3_does_by_itself_has_no_address():
    event = one(lifecycle("S3.EXPIRE.OBJECT"))
    assert event.actor == Actor(principal="AmazonS3")
    assert event.version == "v1"


def test_a_request_that_is_logged_twice_counts_once():
    line = request("REST.PUT.OBJECT")
    assert [said(record) for record in read(text(line, line))] == [
        (WRITTEN, "a/b.txt"),
        (SkipReason.DUPLICATE, "a/b.txt"),
    ]


def test_two_requests_are_no_duplicates():
    lines = [
        request("REST.PUT.OBJECT"),
        request("REST.PUT.OBJECT", "c"),
        request("REST.COPY.OBJECT"),
        request("REST.PUT.OBJECT", request_id="R2"),
        request("REST.PUT.OBJECT", request_id="-"),
        request("REST.PUT.OBJECT", request_id="-"),
    ]
    assert all(isinstance(record, ObjectEvent) for record in read(text(*lines)))


def test_a_line_too_large_is_refused():
    with pytest.raises(LogLimitExceeded):
        read(text(request("REST.PUT.OBJECT", "k" * 2000)), "skip", Limits(record_size=1000))


def outcome(blocks, policy):
    bad = BadRecords(policy)
    log = AccessLog(Limits(record_size=5000), bad)
    try:
        records = [record for block in blocks for record in log.feed(block)] + log.finish()
    except LogError as error:
        return type(error), bad.count
    return records, bad.count


POLICIES = st.sampled_from(["skip", "reject"])
ANY_LINES = st.lists(st.sampled_from([text(line) for line, _ in (*CASES.values(), *BAD.values())]), max_size=8)


@UNHURRIED
@given(ANY_LINES.map(b"".join), st.lists(st.integers(0, 10_000), max_size=8), POLICIES)
def test_cutting_the_text_anywhere_changes_nothing(data, places, policy):
    assert outcome(cut(data, places), policy) == outcome([data], policy)


def test_cutting_the_text_at_every_byte_changes_nothing():
    data = text(request("REST.PUT.OBJECT"), BATCH)
    whole = outcome([data], "reject")
    assert all(outcome([data[:at], data[at:]], "reject") == whole for at in range(len(data)))


PIECES = [b" ", b'"', b"-", b'" ', b"[01/Mar/2026:02:00:00", b"+0000]", b"200", b"x", b"%", b"%25", b"%FF", b"REST.PUT.OBJECT", b"S3.EXPIRE.OBJECT", b"\xff", b".", b"999999999999999"]  # fmt: skip
FIELD = st.sampled_from(PIECES) | st.binary(max_size=4)
ODD_LINE = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=40).map(b"".join),
    st.lists(FIELD, max_size=24).map(b" ".join),
    st.tuples(FIELD, FIELD, FIELD, FIELD, st.lists(FIELD, max_size=16)).map(
        lambda f: b" ".join([f[0], f[1], b"[01/Mar/2026:02:00:00 +0000] ip me", f[2], b"REST.PUT.OBJECT", f[3], *f[4]])
    ),
    st.binary(max_size=60),
)


@UNHURRIED
@given(st.lists(ODD_LINE, max_size=5), POLICIES)
def test_whatever_comes_there_are_records_or_log_errors_and_nothing_else(lines, policy):
    records, _ = outcome([b"\n".join(lines)], policy)
    for record in records if isinstance(records, list) else []:
        record.key.encode()
        assert not isinstance(record, ObjectEvent) or (record.bucket and (record.key or record.kind is UNLISTED))


CHANGES = sorted(name for name, meaning in OPERATIONS.items() if isinstance(meaning, Kind))
KEYS = st.text(
    st.characters(exclude_categories=["Cs"]) | st.sampled_from("/ %+\"'\\\n\r\u2028-"), min_size=1, max_size=30
)


@UNHURRIED
@given(st.sampled_from(CHANGES), KEYS.filter(lambda key: key != "-"))
@example("REST.PUT.OBJECT", "100%25 + 'ü\" .txt")
@example("BATCH.DELETE.OBJECT", "100%25 + 'ü\" .txt")
def test_keys_come_back_as_they_were(operation, key):
    encoded = quote(key) if operation in ENCODED_ONCE else quote(quote(key))
    assert said(one(request(operation, encoded))) == (OPERATIONS[operation], key)


QUOTED = st.text(st.sampled_from('ab" -()/;=%') | st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)


@UNHURRIED
@given(QUOTED, QUOTED, st.sampled_from(["-", "v1"]), st.integers(0, 10**6))
def test_whatever_stands_in_the_quoted_fields_the_others_are_read(uri, agent, version, taken):
    line = request(
        "REST.PUT.OBJECT", uri=f'"{uri}"', numbers=f"- - 5 {taken} -", tail=f'"-" "{agent}" {version} hostid='
    )
    event = one(line)
    assert said(event) == (WRITTEN, "a/b.txt")
    assert event.time == START + taken / 1000
    assert event.version == (None if version == "-" else version)
    assert event.actor.user_agent == ("" if agent == "-" else agent)


@pytest.mark.parametrize("filling", ['" 200 - ', '" 200 - - - - - ', '" "', '"', "- ", '" 200 ' + "x" * 50, " "])
def test_a_line_made_to_be_slow_is_not(filling):
    line = request("REST.PUT.OBJECT", uri='"' + filling * 20_000, status="", numbers="", tail="")
    outcome([line.encode()[:4_000_000]], "skip")


def test_a_large_file_is_read_in_bounded_memory():
    log = AccessLog(Limits(), BadRecords("reject"))
    block = [
        text(*(request("REST.PUT.OBJECT", f"{i:0500}", request_id=f"{n}-{i}") for i in range(1000))) for n in range(26)
    ]
    tracemalloc.start()
    try:
        for each in block[:18]:
            log.feed(each)
        before, _ = tracemalloc.get_traced_memory()
        for each in block[18:]:
            log.feed(each)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after < before + 2_000_000


def test_awss_lines_are_read():
    found = next(SAMPLES.glob("*LogFormat*.log"), None)
    if found is None:
        pytest.skip("the shared samples are not here")
    *reads, put = read(found.read_bytes())
    assert [record.reason for record in reads] == [READ_ONLY] * 4
    assert said(put) == (WRITTEN, "s3-dg.pdf")
    assert put.time == 1_549_411_317 + 41.754
