"""Audit logs of Lyve Cloud and MinIO, and S3 server access logs. A bad line never stops the others."""

import gzip
import json
from functools import partial
from typing import Any, Final

from .cases import ACCESS, ACCOUNT, DATA, FOLDER, LYVE, Case, done, file, reject, retry

audit = partial(file, "Files: audit logs of Lyve Cloud and MinIO", LYVE)
access = partial(file, "Files: S3 server access logs", ACCESS)


def audit_log(*lines: Any) -> bytes:
    return gzip.compress(
        b"\n".join(each if isinstance(each, bytes) else json.dumps(each).encode() for each in lines), mtime=0
    )


def entry(api: Any = None, **others: Any) -> dict[str, Any]:
    """An entry. `api` replaces fields of api, `others` fields of the entry, and `...` removes one."""
    call = {
        "name": "PutObject",
        "bucket": DATA,
        "object": "bad input/a.jpg",
        "status": "OK",
        "statusCode": 200,
        "timeToResponse": "8000000ns",
    }
    fields = {"time": "2026-01-31T12:00:00.5Z", "requestID": "16B6E6B6", "api": call | (api or {})} | others
    fields["api"] = _without(fields["api"]) if isinstance(fields["api"], dict) else fields["api"]
    return {"auditEntry": _without(fields), "serviceAccountName": "ingest"}


def _without(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not ...}


GOOD: Final = entry()
WHOLE: Final = rf"refreshed: .*/{DATA}/\*\*"
"""A refresh of the whole bucket."""
WITHOUT_COMMAS: Final = b'{"auditEntry": {"api": {"name": "PutObject" "bucket": "media" "object": "a.jpg"}}}'

AUDIT: Final = [
    audit(
        "a line without commas, as in the manual",
        audit_log(GOOD, WITHOUT_COMMAS),
        done("1 bad record skipped: line 2: not JSON"),
    ),
    audit(
        "only a line without commas",
        audit_log(WITHOUT_COMMAS),
        retry("LogMalformed", "0 of 1 lines are records of this format: line 1: not JSON"),
    ),
    audit(
        "a truncated last line",
        audit_log(GOOD, json.dumps(GOOD).encode()[:99]),
        done("1 bad record skipped: line 2: not JSON"),
    ),
    audit(
        "one line of 65 KiB",
        lambda: audit_log(GOOD, entry(userAgent="a" * 65_536)),
        done("1 bad record skipped: line 2: a record of more than 65,536 bytes.*; refreshed: "),
    ),
    audit(
        "1 MiB without a line break",
        lambda: gzip.compress(b"ab" * 500_000, mtime=0),
        reject("LogLimitExceeded", "line 1: a record of more than 65,536 bytes"),
    ),
    audit("only empty lines", audit_log(b"", b"", b" "), done("nothing in it")),
    audit("words and numbers", audit_log(b"seven", b"7", b"null", GOOD), done("3 bad records skipped: line 1: ")),
    audit(
        "objects over several lines", json.dumps(GOOD, indent=4).encode() * 2, done("skipped: duplicate 1; refreshed: ")
    ),
    audit(
        "several objects on one line, in an array",
        json.dumps([GOOD, GOOD]).encode(),
        done("skipped: duplicate 1; refreshed: "),
    ),
    audit(
        "an example of the manual, over several lines and without commas",
        json.dumps(GOOD, indent=4).replace(",\n", "\n").encode() + b"\n" + json.dumps(GOOD).encode(),
        done("1 bad record skipped: line 1: not JSON.*; refreshed: "),
    ),
    audit(
        "a truncated object, and a good one",
        audit_log(GOOD, json.dumps(GOOD).encode()[:99], entry(requestID="2")),
        done("1 bad record skipped: line 2: not JSON.*; refreshed: "),
    ),
    audit(
        "20 bad lines before the first good one",
        audit_log(*[b"bad"] * 20, GOOD),
        done("20 bad records skipped.*; refreshed: "),
    ),
    audit(
        "4,000 nested objects in a line that are not closed",
        audit_log(b'{"auditEntry":' * 4_000, GOOD),
        done("1 bad record skipped: line 1: not JSON"),
    ),
    audit(
        "a lone surrogate and NaN in other fields",
        audit_log(entry(userAgent="\udfff", requestID=float("nan"))),
        done("refreshed: .*/bad input$"),
    ),
    audit(
        "a key that is not UTF-8",
        audit_log(json.dumps(GOOD).encode().replace(b"a.jpg", b"\xe9.jpg")),
        done(WHOLE),
    ),
    audit(
        "a line without api",
        audit_log(entry(api=None) | {"auditEntry": {}}, GOOD),
        done("1 bad record skipped: line 1: the record has no field `api`"),
    ),
    audit(
        "a write without a bucket",
        audit_log(entry({"bucket": ...}), GOOD),
        done("1 bad record skipped: line 1: a PutObject without api.bucket"),
    ),
    audit("a write without an object", audit_log(entry({"object": ...})), done(WHOLE)),
    audit("an object that is a number", audit_log(entry({"object": 7})), done(WHOLE)),
    audit(
        "objects, one of them without a name",
        audit_log(entry({"name": "DeleteMultipleObjects", "objects": [{}, {"objectName": "b/c"}]})),
        done(rf"refreshed: .*/{DATA}/\*\*"),
    ),
    audit("a time in seconds", audit_log(entry(time="1769860800")), done("refreshed: ")),
    audit("a time that is a number of nanoseconds", audit_log(entry(time=1769860800000000000)), done("refreshed: ")),
    audit("a duration in milliseconds", audit_log(entry({"timeToResponse": "8ms"})), done("refreshed: ")),
    audit("a duration of 30 digits", audit_log(entry({"timeToResponse": "9" * 30 + "ns"})), done("refreshed: ")),
    audit("a status that is a string", audit_log(entry({"statusCode": "404"})), done("skipped: failed")),
    audit("a status that is a word", audit_log(entry({"statusCode": "OK"})), done("refreshed: ")),
    audit("a request id that is a number", audit_log(entry(requestID=7), entry(requestID=7)), done("refreshed: ")),
    audit(
        "a key of 5,000 characters",
        audit_log(GOOD, entry({"object": "a" * 5_000})),
        done("1 bad record skipped: .*a key of 5,000 characters"),
    ),
    audit(
        "a CloudTrail log under the name of an audit log",
        audit_log(b'{"Records": []}'),
        retry("LogMalformed", "line 1: the record has no field `api`"),
    ),
    audit(
        "binary data",
        gzip.compress(bytes(range(256)) * 4, mtime=0),
        retry("LogMalformed", "0 of . lines are records of this format"),
    ),
]


def line(
    operation: str = "REST.PUT.OBJECT",
    key: str = "bad%2520input/a.jpg",
    *,
    bucket: str = DATA,
    day: str = "[31/Jan/2026:12:00:00 +0000]",
    request: str = '"PUT /a.jpg HTTP/1.1"',
    outcome: str = "200 - - 1024 62 41",
    request_id: str = "3E57427F3EXAMPLE",
) -> bytes:
    agent = '"-" "aws-cli/2.31.0" -'
    return f"owner {bucket} {day} 192.0.2.3 arn:aws:iam::{ACCOUNT}:user/ana {request_id} {operation} {key} {request} {outcome} {agent}".encode()


def access_log(*lines: bytes) -> bytes:
    return b"\n".join(lines) + b"\n"


REQUEST: Final = line()
READ: Final = line("REST.GET.OBJECT")

ODD_ADDRESS: Final = REQUEST.replace(b"192.0.2.3", b"not an address")


def access_json(*found: Any, between: bytes = b"\n") -> bytes:
    return between.join(each if isinstance(each, bytes) else json.dumps(each).encode() for each in found)


def record(**others: Any) -> dict[str, Any]:
    """A record as CloudWatch Logs writes it. `others` replace its fields, and `...` removes one."""
    return _without(
        {
            "bucket_name": DATA,
            "request_time": "2026-01-31T12:00:00.500Z",
            "request_id": "3E57427F3EXAMPLE",
            "operation": "REST.PUT.OBJECT",
            "key_name": "bad input/a.jpg",
            "http_status": 200,
            "total_duration": 62,
        }
        | others
    )


OTHER: Final = record(key_name="bad input/other.jpg")

ACCESS_LOGS: Final = [
    access(
        "a truncated last line",
        access_log(REQUEST, REQUEST[:70]),
        done("1 bad record skipped: line 2: it names no operation"),
    ),
    access(
        "only a truncated line",
        REQUEST[:70],
        retry("LogMalformed", "0 of 1 lines are records of this format: line 1: it names no operation"),
    ),
    access(
        "a line truncated in the operation",
        access_log(REQUEST, REQUEST.partition(b".OBJECT")[0]),
        done("1 bad record skipped: line 2: it ends with the operation REST.PUT, which may be cut off"),
    ),
    access(
        "a line truncated in the key",
        REQUEST.partition(b' "PUT')[0],
        done(rf"^refreshed: {FOLDER}/\*\*$"),
    ),
    access("a line truncated in the request", REQUEST.partition(b" HTTP")[0], done("^refreshed: .*/bad input$")),
    access(
        "a request without its last quote",
        access_log(line(request='"PUT /a.jpg')),
        done("^refreshed: .*/bad input$"),
    ),
    access("quotes within quotes", access_log(line(request='"GET /?a=" 200 "b" HTTP/1.1"')), done("refreshed: ")),
    access("a request that is -", access_log(line(request="-")), done("refreshed: ")),
    access(
        "a request that looks like a failed request",
        access_log(line(request='"PUT /" 403 AccessDenied - - 1 1 HTTP/1.1"')),
        done("^refreshed: .*/bad input$"),
    ),
    access(
        "a key that is not UTF-8",
        access_log(line(key="caf%25E9.jpg")),
        done(rf"^refreshed: {FOLDER}/\*\*$"),
    ),
    access("a key with a broken escape", access_log(line(key="100%.jpg")), done(rf"^refreshed: {FOLDER}/\*\*$")),
    access("a key with spaces", access_log(line(key="a b.jpg")), done(rf"^refreshed: {FOLDER}/\*\*$")),
    access("a write without a key", access_log(line(key="-")), done(rf"^refreshed: {FOLDER}/\*\*$")),
    access(
        "a plus with two readings",
        access_log(line(key="bad%2Binput/a.jpg")),
        done(r"^refreshed: .*/bad input, .*/bad\+input$"),
    ),
    access(
        "a deletion with a plus in place of a space",
        access_log(line("BATCH.DELETE.OBJECT", "bad+input/a%2Bb.jpg", request="-", outcome="204 - - 1024 - -")),
        done("^refreshed: .*/bad input$"),
    ),
    access(
        "a status that is null",
        access_log(line(outcome="- - - 1024 62 41")),
        done("^refreshed: .*/bad input$"),
    ),
    access(
        "a missing bucket",
        access_log(REQUEST, line(bucket="-")),
        done("1 bad record skipped: line 2: a REST.PUT.OBJECT on the bucket b'-'"),
    ),
    access("an IP address with spaces", access_log(ODD_ADDRESS), done("^refreshed: .*/bad input$")),
    access("no owner", access_log(REQUEST.partition(b" ")[2]), done("^refreshed: .*/bad input$")),
    access(
        "a month that does not exist",
        access_log(line(day="[31/Foo/2026:12:00:00 +0000]")),
        done("^refreshed: .*/bad input$"),
    ),
    access(
        "the 31st of February",
        access_log(line(day="[31/Feb/2026:12:00:00 +0000]")),
        done("^refreshed: .*/bad input$"),
    ),
    access("a time that is null", access_log(line(day="-")), done("^refreshed: .*/bad input$")),
    access(
        "a request that took 300,000 years",
        access_log(line(outcome="200 - - 1024 9999999999999999 41")),
        done("^refreshed: .*/bad input$"),
    ),
    access(
        "an operation of 100 letters",
        access_log(REQUEST, line("REST." + "A" * 95)),
        done("1 bad record skipped: line 2: it names no operation"),
    ),
    access(
        "binary data in a read",
        access_log(READ.replace(b"aws-cli", bytes(range(128, 256)))),
        done("skipped: read-only"),
    ),
    access("binary data", bytes(range(256)) * 4, retry("LogMalformed", "0 of . lines are records of this format")),
    access(
        "gzip, truncated in the middle",
        gzip.compress(access_log(*[REQUEST] * 9), mtime=0)[:60],
        retry("LogTruncated", "ends before its trailer"),
    ),
    access(
        "a web page",
        b"<!DOCTYPE html>\n<title>503</title>\n",
        retry("LogMalformed", "0 of 2 lines are records of this format"),
    ),
    access(
        "one line of 65 KiB",
        access_log(REQUEST, line(request=f'"PUT /{"a" * 65_536} HTTP/1.1"')),
        done("1 bad record skipped: line 2: a record of more than 65,536 bytes.*; refreshed: "),
    ),
    access(
        "Parquet",
        b"PAR1" + bytes(500),
        retry("LogMalformed", "Parquet access logs are not supported: deliver JSON or plain text"),
    ),
    access("JSON without line breaks", access_json(record(), OTHER, between=b""), done("^refreshed: .*/bad input$")),
    access(
        "JSON with a number in place of the key",
        access_json(record(key_name=7)),
        done(rf"^refreshed: {FOLDER}/\*\*$"),
    ),
    access(
        "JSON with a lone surrogate in the key",
        access_json(record(key_name="\udfff")),
        done(rf"^refreshed: {FOLDER}/\*\*$"),
    ),
    access(
        "JSON with bad values in fields that do not matter",
        access_json(
            record(requester=7, user_agent="\udfff", request_time="soon", total_duration=[], object_size=float("nan"))
        ),
        done("^refreshed: .*/bad input$"),
    ),
    access("JSON with a status that is null", access_json(record(http_status=None)), done("^refreshed: .*/bad input$")),
    access(
        "JSON without an operation",
        access_json(record(operation=...), OTHER),
        done("1 bad record skipped: line 1: its operation is missing"),
    ),
    access(
        "JSON without a bucket",
        access_json(record(bucket_name=...), OTHER),
        done("1 bad record skipped: line 1: a REST.PUT.OBJECT without a bucket"),
    ),
    access(
        "JSON with a truncated last object",
        access_json(OTHER, access_json(record())[:99]),
        done("1 bad record skipped: line 2: not JSON"),
    ),
    access(
        "JSON of another format",
        access_json({"Records": []}),
        retry("LogMalformed", "0 of 1 lines are records of this format: line 1: its operation is missing"),
    ),
]

CASES: Final[list[Case]] = [*AUDIT, *ACCESS_LOGS]
