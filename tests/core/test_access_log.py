"""S3 server access logs: what each line means."""

import locale
import tracemalloc
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.core.access_logs import read, summary
from tests.wire import cut

from jibe_sqs.core.errors import LogError, LogLimitExceeded, LogMalformed, RecordMalformed
from jibe_sqs.core.formats.access_log import AccessLog
from jibe_sqs.core.formats.access_log_keys import ENCODED_ONCE
from jibe_sqs.core.formats.access_log_records import OPERATIONS
from jibe_sqs.core.formats.bad_records import BadRecords
from jibe_sqs.core.formats.limits import Limits
from jibe_sqs.core.model import UNKNOWN_TIME, Actor, Kind, ObjectEvent, SkipReason

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A slow test on a busy machine is not a failure."""
SAMPLES = Path(__file__).parents[3] / "shared" / "samples"
WRITTEN, DELETED = Kind.WRITTEN, Kind.DELETED
WRITTEN_SOMEWHERE, DELETED_SOMEWHERE = Kind.WRITTEN_UNLISTED, Kind.DELETED_UNLISTED
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
    """A line as S3 writes it. `key` is encoded already."""
    return f"0wner {bucket} {time} 192.0.2.1 arn:aws:iam::111122223333:user/me {request_id} {operation} {key} {uri} {status} {numbers} {tail}"


def lifecycle(operation, key="a/b.txt"):
    return f'0wner data [01/Mar/2026:02:00:00 +0000] - AmazonS3 R1 {operation} {key} "-" - - - 12 - - "-" "-" v1 hostid= - - - - - - -'


def text(*lines):
    return b"".join((line if isinstance(line, bytes) else line.encode()) + b"\n" for line in lines)


def one(line):
    (record,) = read(text(line))
    return record


BATCH = "0wner data [01/Mar/2026:02:00:00 +0000] 192.0.2.1 me R1 BATCH.DELETE.OBJECT a/b.txt - 204 - - 12 - - - - v1 hostid= SigV4"

CASES = {
    "a put writes": (request("REST.PUT.OBJECT"), (WRITTEN, "a/b.txt")),
    "a copy writes": (request("REST.COPY.OBJECT"), (WRITTEN, "a/b.txt")),
    "a form writes": (request("REST.POST.OBJECT", status="204"), (WRITTEN, "a/b.txt")),
    "completing a multipart upload writes": (request("REST.POST.UPLOAD"), (WRITTEN, "a/b.txt")),
    "a delete deletes": (request("REST.DELETE.OBJECT", status="204"), (DELETED, "a/b.txt")),
    "one delete of many deletes": (BATCH, (DELETED, "a/b.txt")),
    "an expiry deletes": (lifecycle("S3.EXPIRE.OBJECT"), (DELETED, "a/b.txt")),
    "an expiry that creates a delete marker deletes": (lifecycle("S3.CREATE.DELETEMARKER"), (DELETED, "a/b.txt")),
    "the call around many deletes is not a change": (request("REST.POST.MULTI_OBJECT_DELETE", "-"), (NOT_CHANGE, "")),
    "the source's side of a copy reads": (request("REST.COPY.OBJECT_GET"), (READ_ONLY, "a/b.txt")),
    "the source's side of a part's copy reads": (request("REST.COPY.PART_GET"), (READ_ONLY, "a/b.txt")),
    "a get reads": (request("REST.GET.OBJECT"), (READ_ONLY, "a/b.txt")),
    "a head reads": (request("REST.HEAD.OBJECT"), (READ_ONLY, "a/b.txt")),
    "a listing reads": (request("REST.GET.BUCKET", "-"), (READ_ONLY, "")),
    "a website's get reads": (request("WEBSITE.GET.OBJECT"), (READ_ONLY, "a/b.txt")),
    "a browser's preflight request reads": (request("REST.OPTIONS.PREFLIGHT"), (READ_ONLY, "a/b.txt")),
    "a failed read is a read": (request("REST.GET.OBJECT", status="404"), (READ_ONLY, "a/b.txt")),
    "a part is not a change": (request("REST.PUT.PART"), (NOT_CHANGE, "a/b.txt")),
    "a part by copy is not a change": (request("REST.COPY.PART"), (NOT_CHANGE, "a/b.txt")),
    "starting a multipart upload is not a change": (request("REST.POST.UPLOADS"), (NOT_CHANGE, "a/b.txt")),
    "aborting it is not a change": (request("REST.DELETE.UPLOAD"), (NOT_CHANGE, "a/b.txt")),
    "aborting it by a rule is not a change": (lifecycle("S3.DELETE.UPLOAD"), (NOT_CHANGE, "a/b.txt")),
    "tagging is not a change": (request("REST.PUT.OBJECT_TAGGING"), (NOT_CHANGE, "a/b.txt")),
    "an ACL is not a change": (request("REST.PUT.ACL"), (NOT_CHANGE, "a/b.txt")),
    "a restore is not a change": (request("REST.POST.RESTORE"), (NOT_CHANGE, "a/b.txt")),
    "a transition is not a change": (lifecycle("S3.TRANSITION_SIA.OBJECT"), (NOT_CHANGE, "a/b.txt")),
    "a transition to Glacier is not a change": (lifecycle("S3.TRANSITION.OBJECT"), (NOT_CHANGE, "a/b.txt")),
    "a bucket-level call is not a change": (request("REST.PUT.BUCKETPOLICY", "-"), (NOT_CHANGE, "")),
    "an unknown call on an object counts as a write": (request("REST.FROB.OBJECT"), (WRITTEN, "a/b.txt")),
    "an unknown call on something else is not a change": (request("REST.PUT.FROB"), (NOT_CHANGE, "a/b.txt")),
    "4xx fails": (request("REST.PUT.OBJECT", status="403"), (FAILED, "a/b.txt")),
    "5xx fails": (request("REST.DELETE.OBJECT", status="503"), (FAILED, "a/b.txt")),
    "3xx fails": (request("REST.PUT.OBJECT", status="307"), (FAILED, "a/b.txt")),
    "a failed delete of many fails": (BATCH.replace(" 204 ", " 403 "), (FAILED, "a/b.txt")),
    "304 fails": (request("REST.PUT.OBJECT", status="304"), (FAILED, "a/b.txt")),
    "a failed call on data beside the object is a failure": (request("REST.PUT.OBJECT_TAGGING", status="403"), (FAILED, "a/b.txt")),
    "a write without a status counts as a write": (request("REST.PUT.OBJECT", status="-"), (WRITTEN, "a/b.txt")),
    "a delete without a status counts as a delete": (request("REST.DELETE.OBJECT", status="-"), (DELETED, "a/b.txt")),
    "a write without a status in a line with few fields": (request("REST.PUT.OBJECT", status="-", numbers="-", tail="").rstrip(), (WRITTEN, "a/b.txt")),
    "an error code without a status is unknown": (request("REST.PUT.OBJECT", status="-", numbers="AccessDenied - 512 40 7"), (WRITTEN, "a/b.txt")),
    "a status that does not exist is unknown": (request("REST.PUT.OBJECT", status="000"), (WRITTEN, "a/b.txt")),
    "keys are encoded twice": (request("REST.PUT.OBJECT", "a%2520b%252Bc"), (WRITTEN, "a b+c")),
    "a key that decodes only once": (request("REST.PUT.OBJECT", "100%25"), (WRITTEN, "100%")),
    "a key that decodes only once keeps its plus": (request("REST.PUT.OBJECT", "100%25%2B"), (WRITTEN, "100%+")),
    "in a bulk delete a plus is a space": (BATCH.replace("a/b.txt", "My+Folder/Screen+Shot+1.png"), (DELETED, "My Folder/Screen Shot 1.png")),
    "in an expiry a plus is a space": (lifecycle("S3.EXPIRE.OBJECT", "a+b%2Bc"), (DELETED, "a b+c")),
    "in a bulk delete they are encoded once": (BATCH.replace("a/b.txt", "a%20b%2520c"), (DELETED, "a b%20c")),
    "in an expiry they are encoded once": (lifecycle("S3.EXPIRE.OBJECT", "a%20b%2520c"), (DELETED, "a b%20c")),
    "in an expiry with a delete marker they are encoded once": (lifecycle("S3.CREATE.DELETEMARKER", "a%2Bb%2520"), (DELETED, "a+b%20")),
    "keys are UTF-8": (request("REST.PUT.OBJECT", "%25C3%25BC"), (WRITTEN, "ü")),
    "keys that are not encoded are UTF-8": (request("REST.PUT.OBJECT", "ü"), (WRITTEN, "ü")),
    "without a key the bucket is stale": (request("REST.POST.OBJECT", "-"), (WRITTEN_SOMEWHERE, "")),
    "a deletion without a key": (request("REST.DELETE.OBJECT", "-"), (DELETED_SOMEWHERE, "")),
    "an empty key": (request("REST.PUT.OBJECT", ""), (WRITTEN_SOMEWHERE, "")),
    "a broken escape": (request("REST.PUT.OBJECT", "100%"), (WRITTEN_SOMEWHERE, "")),
    "a broken escape in a bulk delete": (BATCH.replace("a/b.txt", "a/%zz"), (DELETED_SOMEWHERE, "")),
    "a key that is not UTF-8": (request("REST.PUT.OBJECT", "%25FF"), (WRITTEN_SOMEWHERE, "")),
    "a key of bytes that are not UTF-8": (request("REST.PUT.OBJECT", "KEY").encode().replace(b"KEY", b"a/\xff"), (WRITTEN_SOMEWHERE, "")),
    "a key with spaces": (request("REST.PUT.OBJECT", "my file.txt"), (WRITTEN_SOMEWHERE, "")),
    "the line ends in the key": (request("REST.PUT.OBJECT").split(' "PUT')[0], (WRITTEN_SOMEWHERE, "")),
    "the line ends with the operation": (request("REST.PUT.OBJECT").split(" a/b.txt")[0], (WRITTEN_SOMEWHERE, "")),
    "the line ends in the request": (request("REST.PUT.OBJECT").split(" HTTP")[0], (WRITTEN, "a/b.txt")),
    "the line ends before the status": (request("REST.DELETE.OBJECT").split(" 200")[0], (DELETED, "a/b.txt")),
    "a read ends before the status": (request("REST.GET.OBJECT").split(" 200")[0], (READ_ONLY, "a/b.txt")),
    "a status below 100 is unknown": (request("REST.PUT.OBJECT", status="099"), (WRITTEN, "a/b.txt")),
    "a status from 600 on is unknown": (request("REST.PUT.OBJECT", status="600"), (WRITTEN, "a/b.txt")),
    "a negative status is unknown": (request("REST.PUT.OBJECT", status="-404"), (WRITTEN, "a/b.txt")),
    "a huge status is unknown": (request("REST.PUT.OBJECT", status="40444444444444444444"), (WRITTEN, "a/b.txt")),
    "a bucket's ARN gives the bucket": (request("REST.PUT.OBJECT", bucket="arn:aws:s3:::data"), (WRITTEN, "a/b.txt")),
    "a status of two digits is unknown": (request("REST.PUT.OBJECT", status="20"), (WRITTEN, "a/b.txt")),
    "numbers that are not numbers": (request("REST.PUT.OBJECT", numbers="- - 5 x 7"), (WRITTEN, "a/b.txt")),
    "times with a unit": (request("REST.PUT.OBJECT", status="403", numbers="- - 5 - 7ms"), (FAILED, "a/b.txt")),
    "an error code with other characters": (request("REST.PUT.OBJECT", status="403", numbers="Access_Denied/x - 5 40 7"), (FAILED, "a/b.txt")),
    "a quote that is not closed, in a line with few fields": (request("REST.PUT.OBJECT", uri='"PUT /x', tail='"-" "x" -'), (WRITTEN, "a/b.txt")),
    "no owner": ("data" + request("REST.PUT.OBJECT").partition(" data")[2], (WRITTEN, "a/b.txt")),
    "an owner with spaces": ("the owner " + request("REST.PUT.OBJECT"), (WRITTEN, "a/b.txt")),
    "an owner that is not UTF-8": (b"\xff\xfe" + request("REST.PUT.OBJECT").encode(), (WRITTEN, "a/b.txt")),
    "an address with spaces": (request("REST.PUT.OBJECT").replace("192.0.2.1", "not an address"), (WRITTEN, "a/b.txt")),
    "an address with spaces, in a read": (request("REST.GET.OBJECT").replace("192.0.2.1", "not an address"), (READ_ONLY, "a/b.txt")),
    "an address with spaces, in a failure": (request("REST.PUT.OBJECT", status="403").replace("192.0.2.1", "not an address"), (FAILED, "a/b.txt")),
    "a requester with spaces and quotes": (request("REST.PUT.OBJECT").replace("arn:aws:iam::111122223333:user/me", '"CN=me, O=us"'), (WRITTEN, "a/b.txt")),
    "no requester": (request("REST.DELETE.OBJECT").replace("arn:aws:iam::111122223333:user/me ", ""), (DELETED, "a/b.txt")),
    "a time that is null": (request("REST.PUT.OBJECT", time="-"), (WRITTEN, "a/b.txt")),
    "a time of another form": (request("REST.PUT.OBJECT", time="[2026-03-01T02:00:00Z]"), (WRITTEN, "a/b.txt")),
    "an upload by SOAP": (request("SOAP.PutObject"), (WRITTEN, "a/b.txt")),
    "a request that looks like a failure": (request("REST.PUT.OBJECT", uri='"PUT /x" 403 AccessDenied - - 5 5 HTTP/1.1"'), (WRITTEN, "a/b.txt")),
    "the request may be a hyphen": (request("REST.PUT.OBJECT", uri="-"), (WRITTEN, "a/b.txt")),
    "the request may contain quotes": (request("REST.PUT.OBJECT", uri='"PUT /"x" "y" HTTP/1.1"'), (WRITTEN, "a/b.txt")),
    "the request may contain text that looks like a status": (request("REST.PUT.OBJECT", uri='"PUT /x" 404 HTTP/1.1"'), (WRITTEN, "a/b.txt")),
    "a user agent cannot change the status": (
        request("REST.PUT.OBJECT", tail='"-" "x" 404 - - - - - "-" - hostid='),
        (WRITTEN, "a/b.txt"),
    ),
    "a line may end with the status": (
        request("REST.PUT.OBJECT").removesuffix(f" {NUMBERS} {TAIL}"),
        (WRITTEN, "a/b.txt"),
    ),
    "a line may end soon after the status": (request("REST.PUT.OBJECT", numbers="- - 5", tail="").rstrip(), (WRITTEN, "a/b.txt")),
    "a line may end with the numbers": (request("REST.PUT.OBJECT", tail="").rstrip(), (WRITTEN, "a/b.txt")),
    "fields may be added": (request("REST.PUT.OBJECT", tail=TAIL + ' new "fields" -'), (WRITTEN, "a/b.txt")),
    "a line may end with a space": (request("REST.PUT.OBJECT") + " ", (WRITTEN, "a/b.txt")),
    "bytes that are not UTF-8 in other fields do not matter": (
        request("REST.PUT.OBJECT", uri="URI", tail="AGENT").encode().replace(b"URI", b'"PUT /\xff"').replace(b"AGENT", b'"\xfe" "\xff"'),
        (WRITTEN, "a/b.txt"),
    ),
    "bytes that are not UTF-8 in the key of a read do not matter": (request("REST.GET.OBJECT", "%25FF"), (READ_ONLY, "%25FF")),
}  # fmt: skip

BAD = {
    "another text": (b"hello", "names no operation"),
    "JSON": (b'{"Records": []}', "its operation is missing"),
    "cut in the head": (b"0wner data [01/Mar/2026:02:00:00 +0000] 192.0.2.1 me R1 REST.PUT", "ends with the operation REST.PUT"),
    "cut before the operation": (b"0wner data [01/Mar/2026:02:00:00 +0000] 192.0.2.1 me R1", "names no operation"),
    "words": (b"a b c d e f g h i j k l m", "names no operation"),
    "with a word in place of the operation": (request("FROB").encode(), "names no operation"),
    "with a long operation": (request("O" * 99).encode(), "names no operation"),
    "with a long operation of S3": (request("REST." + "O" * 99).encode(), "names no operation"),
    "without a bucket": (request("REST.PUT.OBJECT", bucket="-").encode(), "bucket '-'|bucket b'-'"),
    "with an empty bucket": (request("REST.PUT.OBJECT", bucket="").encode(), "bucket"),
    "with an access point": (request("REST.PUT.OBJECT", bucket="arn:aws:s3:eu-west-1:111122223333:accesspoint/x").encode(), "bucket"),
    "with an odd bucket": (request("REST.PUT.OBJECT", bucket="ü").encode(), "bucket"),
    "without anything before the operation": (b" REST.PUT.OBJECT a/b.txt -", "bucket"),
}  # fmt: skip


@pytest.mark.parametrize(("line", "expected"), CASES.values(), ids=CASES.keys())
def test_a_line_gives_the_expected_record(line, expected):
    assert summary(one(line)) == expected


@pytest.mark.parametrize(("line", "reason"), BAD.values(), ids=BAD.keys())
def test_the_error_of_a_bad_line_names_the_problem(line, reason):
    good = text(request("REST.GET.OBJECT"))
    with pytest.raises(RecordMalformed, match=reason) as raised:
        read(good + line)
    assert str(raised.value).startswith("line 2: ")
    assert (raised.value.index, raised.value.offset) == (2, len(good))
    assert "x" * 41 not in str(raised.value)


@pytest.mark.parametrize("line", [line for line, _ in BAD.values()], ids=BAD.keys())
def test_a_bad_line_can_be_skipped(line):
    bad = BadRecords("skip")
    log = AccessLog(Limits(), bad)
    data = text(request("REST.PUT.OBJECT", "1"), line, request("REST.PUT.OBJECT", "2"))
    assert [summary(record) for record in log.feed(data) + log.finish()] == [(WRITTEN, "1"), (WRITTEN, "2")]
    assert bad.count == 1


def test_a_file_of_another_format_is_refused_even_if_bad_lines_are_skipped():
    with pytest.raises(LogMalformed):
        read(b'{"Records": [\n{"a": 1}]}\n', "skip")


TIMES = {
    "the end of the request": (request("REST.PUT.OBJECT", numbers="- - 5 1500 7"), START + 1.5),
    "the start, without a duration": (BATCH, START),
    "the end of the turn-around time, without the total time": (
        request("REST.PUT.OBJECT", numbers="- - 5 - 1500"),
        START + 1.5,
    ),
    "in milliseconds with a unit": (request("REST.PUT.OBJECT", numbers="- - 5 - 1500ms"), START + 1.5),
    "of a deletion without a duration, the start": (request("REST.DELETE.OBJECT", numbers="- - 5 - -"), START),
    "of a write without a duration, not known": (request("REST.PUT.OBJECT", numbers="- - 5 - -"), UNKNOWN_TIME),
    "of a write that ends before it, not known": (
        request("REST.PUT.OBJECT", numbers="-", tail="").rstrip(),
        UNKNOWN_TIME,
    ),
    "of a write with another duration, not known": (request("REST.PUT.OBJECT", numbers="- - 5 x 7"), UNKNOWN_TIME),
    "of a request of 30,000 years, not known": (
        request("REST.PUT.OBJECT", numbers="- - 5 999999999999999 7"),
        UNKNOWN_TIME,
    ),
    "of another form, not known": (request("REST.PUT.OBJECT", time="[2026-03-01T02:00:00 +0000]"), UNKNOWN_TIME),
    "before S3 existed, not known": (
        request("REST.PUT.OBJECT", time="[31/Dec/2005:23:59:59 +0000]"),
        UNKNOWN_TIME,
    ),
    "of Unix's zero, not known": (request("REST.DELETE.OBJECT", time="[01/Jan/1970:00:00:00 +0000]"), UNKNOWN_TIME),
    "of Go's zero, not known": (request("REST.PUT.OBJECT", time="[01/Jan/0001:00:00:00 +0000]"), UNKNOWN_TIME),
    "of a month that does not exist, not known": (
        request("REST.PUT.OBJECT", time="[01/Mai/2026:02:00:00 +0000]"),
        UNKNOWN_TIME,
    ),
    "of a day that does not exist, not known": (
        request("REST.DELETE.OBJECT", time="[30/Feb/2026:02:00:00 +0000]"),
        UNKNOWN_TIME,
    ),
    "of an hour that does not exist, not known": (
        request("REST.PUT.OBJECT", time="[01/Mar/2026:24:00:00 +0000]"),
        UNKNOWN_TIME,
    ),
    "of a zone that does not exist, not known": (
        request("REST.PUT.OBJECT", time="[01/Mar/2026:02:00:00 +9999]"),
        UNKNOWN_TIME,
    ),
    "of a long text, not known": (request("REST.PUT.OBJECT", time=f"[{'x' * 99} +0000]"), UNKNOWN_TIME),
    "that is null, not known": (request("REST.PUT.OBJECT", time="-"), UNKNOWN_TIME),
    "of a read, not known": (request("REST.GET.OBJECT", time="[30/Feb/2026:02:00:00 +0000]"), 0.0),
    "of a line with an odd address": (request("REST.PUT.OBJECT").replace("192.0.2.1", "not an address"), START + 0.04),
    "an hour's upload": (request("REST.PUT.OBJECT", numbers="- - 5 3600000 -"), START + 3600),
    "a zone's time": (request("REST.GET.OBJECT", time="[01/Mar/2026:07:30:00 +0530]"), START),
    "a zone's time, behind": (request("REST.GET.OBJECT", time="[28/Feb/2026:18:00:00 -0800]"), START),
    "of a lifecycle rule, its time": (lifecycle("S3.EXPIRE.OBJECT"), START),
}
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@pytest.mark.parametrize(("line", "expected"), TIMES.values(), ids=TIMES.keys())
def test_the_time_is_the_end_of_the_request_or_unknown(line, expected):
    assert one(line).time == pytest.approx(expected)


@pytest.mark.parametrize("month", range(12))
def test_every_month_name_is_read(month):
    days = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    line = request("REST.GET.OBJECT", time=f"[01/{MONTHS[month]}/2025:00:00:00 +0000]")
    assert one(line).time == 1_735_689_600 + 86_400 * sum(days[:month])


def test_month_names_do_not_depend_on_the_locale():
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
def test_the_user_agent_and_the_version_are_found(tail, agent, version):
    event = one(request("REST.PUT.OBJECT", tail=tail))
    assert (event.actor.user_agent, event.version) == (agent, version)


def test_the_event_has_the_caller_and_the_ids():
    event = one(request("REST.PUT.OBJECT"))
    assert event.actor == Actor("arn:aws:iam::111122223333:user/me", source_address="192.0.2.1", user_agent="cli/1")
    assert (event.bucket, event.event_id, event.name) == ("data", "R1", "REST.PUT.OBJECT")


def test_a_change_by_s3_itself_has_no_address():
    event = one(lifecycle("S3.EXPIRE.OBJECT"))
    assert event.actor == Actor(principal="AmazonS3")
    assert event.version == "v1"


@pytest.mark.parametrize("blank", ["  ", "\t", " \t ", "   "])
@pytest.mark.parametrize("status", ["200", "403"])
def test_the_fields_may_be_separated_by_any_blanks(blank, status):
    line = request("REST.PUT.OBJECT", status=status).replace(" ", blank)
    expected = WRITTEN if status == "200" else FAILED
    assert summary(one(line)) == (expected, "a/b.txt")


def test_a_request_that_is_logged_twice_counts_once():
    line = request("REST.PUT.OBJECT")
    assert [summary(record) for record in read(text(line, line))] == [
        (WRITTEN, "a/b.txt"),
        (SkipReason.DUPLICATE, "a/b.txt"),
    ]


def test_a_key_that_is_too_long_is_a_bad_record_and_makes_the_bucket_stale():
    bad = BadRecords("skip")
    log = AccessLog(Limits(), bad)
    data = text(request("REST.PUT.OBJECT", "k+" * 4000), request("REST.GET.OBJECT", "k" * 4097))
    assert [summary(each) for each in log.feed(data) + log.finish()] == [
        (WRITTEN_SOMEWHERE, ""),
        (READ_ONLY, "k" * 4097),
    ]
    assert [(each.index, each.field) for each in bad.first] == [(1, "key")]


def test_two_different_requests_are_not_duplicates():
    lines = [
        request("REST.PUT.OBJECT"),
        request("REST.PUT.OBJECT", "c"),
        request("REST.COPY.OBJECT"),
        request("REST.PUT.OBJECT", request_id="R2"),
        request("REST.PUT.OBJECT", request_id="-"),
        request("REST.PUT.OBJECT", request_id="-"),
    ]
    assert all(isinstance(record, ObjectEvent) for record in read(text(*lines)))


def test_a_file_with_one_line_that_is_too_large_is_refused():
    with pytest.raises(LogLimitExceeded):
        read(text(request("REST.PUT.OBJECT", "k" * 2000)), "skip", Limits(record_size=1000))


@pytest.mark.parametrize("size", [100, 1 << 30])
@pytest.mark.parametrize("length", [2_000, 200_000])
def test_a_line_that_is_too_large_is_one_bad_record(length, size):
    bad = BadRecords("skip")
    log = AccessLog(Limits(record_size=1000), bad)
    data = text(*(request("REST.PUT.OBJECT", key) for key in ("1", "k" * length, "2", "", "k" * length)))
    blocks = [data[at : at + size] for at in range(0, len(data), size)]
    records = [record for block in blocks for record in log.feed(block)] + log.finish()
    assert [summary(record) for record in records] == [(WRITTEN, "1"), (WRITTEN, "2"), (WRITTEN_SOMEWHERE, "")]
    assert [each.index for each in bad.first] == [2, 5]
    assert bad.first[1].offset == data.rindex(b"0wner")


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
def test_the_records_do_not_depend_on_how_the_text_is_cut(data, places, policy):
    assert outcome(cut(data, places), policy) == outcome([data], policy)


def test_a_cut_at_any_byte_changes_nothing():
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
def test_any_lines_give_records_or_log_errors(lines, policy):
    records, _ = outcome([b"\n".join(lines)], policy)
    for record in records if isinstance(records, list) else []:
        record.key.encode()
        assert not isinstance(record, ObjectEvent) or (record.bucket and (record.key or record.kind.is_unlisted))


CHANGES = sorted(name for name, meaning in OPERATIONS.items() if isinstance(meaning, Kind))
KEYS = st.text(
    st.characters(exclude_categories=["Cs"]) | st.sampled_from("/ %+\"'\\\n\r\u2028-"), min_size=1, max_size=30
)


def keys_of(operation, field):
    """The keys of all records of one line."""
    records = read(text(request(operation, field)))
    assert {record.kind for record in records} == {OPERATIONS[operation]}
    return [record.key for record in records]


def slash_kept(encode):
    return lambda key: encode(key, safe="/")


FORM, PERCENT = slash_kept(quote_plus), slash_kept(quote)
PLUS_KEPT = lambda key: quote(key, safe="/+")  # noqa: E731
ONCE = [FORM]
TWICE = [
    lambda key: FORM(FORM(key)),
    lambda key: PERCENT(PERCENT(key)),
    lambda key: FORM(PERCENT(key)),
    lambda key: PERCENT(FORM(key)),
    lambda key: PLUS_KEPT(PLUS_KEPT(key)),
    lambda key: PLUS_KEPT(FORM(key)),
    lambda key: PERCENT(PLUS_KEPT(key)),
]


@UNHURRIED
@given(st.sampled_from(CHANGES), KEYS.filter(lambda key: key != "-"), st.data())
@example("REST.PUT.OBJECT", "100%25 + 'ü\" .txt", None)
@example("BATCH.DELETE.OBJECT", "100%25 + 'ü\" .txt", None)
def test_the_real_key_is_always_among_the_possible_keys(operation, key, data):
    """For every way to encode a key as often as S3 encodes it for this operation."""
    ways = ONCE if operation in ENCODED_ONCE else TWICE
    for encode in ways if data is None else [data.draw(st.sampled_from(ways))]:
        assert key in keys_of(operation, encode(key))


@UNHURRIED
@given(st.sampled_from(CHANGES), KEYS.filter(lambda key: key != "-" and not {"+", " "} & set(key)))
def test_a_key_without_space_and_plus_gives_one_key(operation, key):
    assert keys_of(operation, FORM(key) if operation in ENCODED_ONCE else FORM(FORM(key))) == [key]


@UNHURRIED
@given(st.sampled_from(sorted(ENCODED_ONCE)), KEYS.filter(lambda key: key != "-"))
def test_a_key_that_is_encoded_once_gives_one_key(operation, key):
    assert keys_of(operation, FORM(key)) == [key]


@UNHURRIED
@given(
    st.sampled_from(CHANGES),
    st.text(st.sampled_from("ab+% 25BF/"), min_size=1, max_size=12).map(lambda key: key.replace(" ", "")),
)
def test_any_key_field_makes_something_in_the_bucket_stale(operation, field):
    records = read(text(request(operation, field)))
    assert records
    for record in records:
        assert record.bucket == "data"
        assert (record.kind is OPERATIONS[operation] and record.key) or (record.kind.is_unlisted and not record.key)


READINGS = {
    "an encoded plus may be a space that was encoded twice": ("My%2BFolder/x", ["My Folder/x", "My+Folder/x"]),
    "a plus that was encoded twice is a plus": ("My%252BFolder/x", ["My+Folder/x"]),
    "a space that was encoded twice is a space": ("My%2520Folder/x", ["My Folder/x"]),
    "a bare plus may be either": ("My+Folder/x", ["My Folder/x", "My+Folder/x"]),
    "a bare plus beside an encoded one": ("My+Folder/a%2Bb", ["My Folder/a b", "My+Folder/a+b", "My Folder/a+b"]),
    "lower case escapes": ("a%2bb%252bc", ["a b+c", "a+b+c"]),
    "a key that decodes only once": ("50%25+off", ["50% off", "50%+off"]),
}


@pytest.mark.parametrize(("field", "expected"), READINGS.values(), ids=READINGS.keys())
def test_a_plus_with_two_meanings_makes_both_folders_stale(field, expected):
    assert keys_of("REST.PUT.OBJECT", field) == expected


def test_a_request_with_two_possible_keys_that_is_logged_twice_counts_once():
    line = request("REST.PUT.OBJECT", "a+b")
    first, second, again = read(text(line, line))
    assert [summary(each) for each in (first, second)] == [(WRITTEN, "a b"), (WRITTEN, "a+b")]
    assert summary(again) == (SkipReason.DUPLICATE, "a b")
    assert first.event_id == second.event_id == "R1"


def test_a_line_with_shifted_fields_has_no_identities_and_is_never_a_duplicate():
    """The field in the place of the request id may be the same in every line."""
    line = request("REST.PUT.OBJECT").replace("192.0.2.1", "not an address")
    first, second = read(text(line, line))
    assert summary(first) == summary(second) == (WRITTEN, "a/b.txt")
    assert (first.actor, first.event_id) == (Actor(), "")


QUOTED = st.text(st.sampled_from('ab" -()/;=%') | st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)


@UNHURRIED
@given(QUOTED, QUOTED, st.sampled_from(["-", "v1"]), st.integers(0, 10**6))
def test_any_text_in_the_quoted_fields_does_not_hide_the_other_fields(uri, agent, version, taken):
    line = request(
        "REST.PUT.OBJECT", uri=f'"{uri}"', numbers=f"- - 5 {taken} -", tail=f'"-" "{agent}" {version} hostid='
    )
    event = one(line)
    assert summary(event) == (WRITTEN, "a/b.txt")
    assert event.time == START + taken / 1000
    assert event.version == (None if version == "-" else version)
    assert event.actor.user_agent == ("" if agent == "-" else agent)


@pytest.mark.parametrize("filling", ['" 200 - ', '" 200 - - - - - ', '" "', '"', "- ", '" 200 ' + "x" * 50, " "])
def test_a_line_that_should_make_a_regular_expression_slow_is_read_fast(filling):
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


def test_the_examples_of_aws_are_read():
    found = next(SAMPLES.glob("*LogFormat*.log"), None)
    if found is None:
        pytest.skip("the shared samples are not here")
    *reads, put = read(found.read_bytes())
    assert [record.reason for record in reads] == [READ_ONLY] * 4
    assert summary(put) == (WRITTEN, "s3-dg.pdf")
    assert put.time == 1_549_411_317 + 41.754


def test_deletions_of_a_screen_shot_have_a_key_with_spaces():
    found = SAMPLES.parent / "cases" / "access-log-plus.log"
    if not found.exists():
        pytest.skip("the shared cases are not here")
    assert [(*summary(record), record.bucket) for record in read(found.read_bytes())] == [
        (DELETED, "My Folder/Screen Shot 1.png", "b1"),
        (DELETED, "My Folder/a+b.png", "b1"),
        (WRITTEN, "plain/x.txt", "b1"),
    ]
