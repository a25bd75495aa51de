"""CloudTrail log files with errors in their text."""

import gzip
import json
from functools import partial
from typing import Any, Final

from .cases import DATA, LOGS, TRAIL, Case, End, done, file, log, put, reject, retry, text

cloudtrail = partial(file, "Files: CloudTrail", TRAIL)
MALFORMED: Final = "LogMalformed"
HIDDEN: Final = "HIDDEN_DUE_TO_SECURITY_REASONS"
WHOLE: Final = rf"refreshed: .*/{DATA}/\*\*"
"""A refresh of the whole bucket."""


def bad(reason: str) -> End:
    """Rejected, after all other records are done."""
    return reject("RecordMalformed", reason)


def on(**parameters: Any) -> bytes:
    """A log file with one write, which has these parameters and no resources."""
    return log(put(requestParameters=parameters, resources=...))


def nested(depth: int) -> bytes:
    return gzip.compress(
        text(put(additionalEventData=0)).replace(
            b'"additionalEventData": 0', b'"additionalEventData": ' + b"[" * depth + b"]" * depth
        ),
        mtime=0,
    )


GOOD: Final = text(put())

CASES: Final[list[Case]] = [
    cloudtrail(
        "a list in place of the object",
        json.dumps([put()]).encode(),
        retry(MALFORMED, "not a JSON object with 'Records'"),
    ),
    cloudtrail("an object without Records", b'{"records": []}', retry(MALFORMED, "no array 'Records' in the JSON")),
    cloudtrail("an empty object", b"{}", retry(MALFORMED, "no array 'Records' in the JSON")),
    cloudtrail("Records that are null", b'{"Records": null}', retry(MALFORMED, "no array 'Records' in the JSON")),
    cloudtrail(
        "Records that are an object", b'{"Records": {"0": {}}}', retry(MALFORMED, "no array 'Records' in the JSON")
    ),
    cloudtrail(
        "a digest under the name of a log file",
        b'{"awsAccountId": "111122223333", "logFiles": []}',
        retry(MALFORMED, "no array 'Records' in the JSON"),
    ),
    cloudtrail("no records", log(), done("nothing in it")),
    cloudtrail("JSON, truncated before Records", b'{"Rec', retry("LogTruncated", "ends before its 'Records'")),
    cloudtrail("JSON, truncated in a record", GOOD[:300], retry("LogTruncated", "ends in the middle of its records")),
    cloudtrail(
        "JSON, truncated between records", GOOD[:-2], retry("LogTruncated", "ends in the middle of its records")
    ),
    cloudtrail(
        "JSON without its last bracket",
        GOOD[:-1],
        retry("LogTruncated", "ends before the object does, after 1 records"),
    ),
    cloudtrail("data after the document", GOOD + b"}", retry(MALFORMED, "after the array 'Records' comes")),
    cloudtrail("two documents", GOOD + GOOD, done("skipped: duplicate 1; refreshed: ")),
    cloudtrail("Records twice", GOOD[:-1] + b", " + GOOD[1:], done("skipped: duplicate 1; refreshed: ")),
    cloudtrail("NaN beside the Records", b'{"meta": NaN, ' + GOOD[1:], done("refreshed: ")),
    cloudtrail("a comma after the last record", GOOD[:-2] + b",]}", done("refreshed: ")),
    cloudtrail(
        "no comma between records",
        text(put(seed=1), put(seed=2)).replace(b'}, {"eventV', b'} {"eventV'),
        done("refreshed: "),
    ),
    cloudtrail(
        "an extra quote in a user agent",
        text(put(seed=1, userAgent="AGENT"), put(seed=2)).replace(b"AGENT", b'a"b'),
        bad(r"record 0: not JSON: .*offset \d+"),
    ),
    cloudtrail(
        "a record that is truncated in a string",
        GOOD[:200] + b", " + GOOD[GOOD.index(b"[") + 1 :],
        bad(r"record 0: not JSON: .*offset \d+"),
    ),
    cloudtrail(
        "single quotes",
        GOOD.replace(b'"eventName"', b"'eventName'"),
        bad("record 0: not JSON: Expecting property name"),
    ),
    cloudtrail("NaN in a record", log(put(additionalEventData=float("nan"))), done("refreshed: ")),
    cloudtrail("a NUL byte in a string", GOOD.replace(b"bad input", b"bad\0input"), done("refreshed: ")),
    cloudtrail("a key that is not UTF-8", GOOD.replace(b"a.jpg", b"\xe9.jpg"), done("refreshed: .*media")),
    cloudtrail(
        "a user agent that is not UTF-8", text(put(userAgent="AGENT")).replace(b"AGENT", b"\xe9"), done("refreshed: ")
    ),
    cloudtrail("UTF-16", GOOD.decode().encode("utf-16"), retry(MALFORMED, r"starts with b'\\xff\\xfe")),
    cloudtrail("a byte order mark", b"\xef\xbb\xbf" + GOOD, done("refreshed: ")),
    cloudtrail("a record that is a number", log(7), bad("record 0: it is not a JSON object")),
    cloudtrail(
        "a record that is null, after a good record",
        log(put(), None),
        bad("record 1: it is not a JSON object"),
    ),
    cloudtrail("a record that is empty", log({}), done("skipped: not-object-change")),
    cloudtrail(
        "a record of 65 KiB",
        lambda: log(put(additionalEventData="a" * 65_536)),
        reject("LogLimitExceeded", "a record of more than 65,536 bytes"),
    ),
    cloudtrail(
        "5,001 records",
        lambda: log(*[{"eventVersion": "1.11"}] * 5_001),
        reject("LogLimitExceeded", "more than 5,000 records"),
    ),
    cloudtrail(
        "a string of 1 MiB without its end",
        lambda: gzip.compress(b'{"Records": [{"eventName": "' + b"ab" * 500_000, mtime=0),
        reject("LogLimitExceeded", "a record of more than 65,536 bytes"),
    ),
    cloudtrail("10,000 nested lists", lambda: nested(10_000), done("refreshed: ")),
    cloudtrail(
        "an event of major version 2",
        log(put(eventVersion="2.0")),
        bad("record 0: eventVersion: the unknown version '2.0'"),
    ),
    cloudtrail("no version", log(put(eventVersion=...)), done("refreshed: ")),
    cloudtrail("a version that is a number", log(put(eventVersion=1.11)), done("refreshed: ")),
    cloudtrail("no time", log(put(eventTime=...)), done("refreshed: ")),
    cloudtrail("a time in the year 10000", log(put(eventTime="10000-01-01T00:00:00Z")), done("refreshed: ")),
    cloudtrail("the zero time", log(put(eventTime="0001-01-01T00:00:00Z")), done("refreshed: ")),
    cloudtrail("a date in place of a time", log(put(eventTime="2026-01-31")), done("refreshed: ")),
    cloudtrail("the 31st of February", log(put(eventTime="2026-02-31T00:00:00Z")), done("refreshed: ")),
    cloudtrail("a time that is a number", log(put(eventTime=1769860800)), done("refreshed: ")),
    cloudtrail("an event id that is null", log(put(eventID=None), put(eventID=None)), done("refreshed: ")),
    cloudtrail("a hidden identity", log(put(userIdentity=HIDDEN)), done("refreshed: ")),
    cloudtrail("an identity that is a number", log(put(userIdentity=7)), done("refreshed: ")),
    cloudtrail(
        "hidden parameters, and the object's ARN", log(put(requestParameters=HIDDEN)), done(r"refreshed: .*/bad input$")
    ),
    cloudtrail(
        "hidden parameters, and nothing else",
        log(put(requestParameters=HIDDEN, resources=...)),
        bad("record 0: requestParameters: a PutObject, and neither this nor resources names a bucket"),
    ),
    cloudtrail(
        "omitted parameters, and nothing else",
        log(put(requestParameters={"omitted": True, "reasonCode": "FIELD_SIZE_EXCEEDED"}, resources=...)),
        bad("names a bucket"),
    ),
    cloudtrail("a write without parameters", log(put(requestParameters=None, resources=...)), bad("names a bucket")),
    cloudtrail("a write without a key", on(bucketName=DATA), done(WHOLE)),
    cloudtrail("a key that is a number", on(bucketName=DATA, key=7), done(WHOLE)),
    cloudtrail("a bucket that is an object", on(bucketName={}, key="a"), bad("names a bucket")),
    cloudtrail(
        "parameters that are a string", log(put(requestParameters="bucketName=a", resources=...)), bad("names a bucket")
    ),
    cloudtrail("resources that are an object", log(put(resources={})), done("refreshed: ")),
    cloudtrail(
        "an access point of another account",
        on(bucketName="arn:aws:s3:eu-west-1:111122223333:accesspoint/ap", key="a"),
        done("skipped: not-mapped 1"),
    ),
    cloudtrail("a multi-region access point", on(bucketName="x.mrap", key="a"), done("skipped: not-mapped 1")),
    cloudtrail("an access point of FSx", on(bucketName="a-b-ext-s3alias", key="a"), done("skipped: not-mapped 1")),
    cloudtrail("S3 in China", log(put(eventSource="s3.amazonaws.com.cn")), done("refreshed: ")),
    cloudtrail("no event source", log(put(eventSource=None)), done("refreshed: ")),
    cloudtrail("a rename without its source", log(put(eventName="RenameObject", resources=...)), done(WHOLE)),
    cloudtrail(
        "deletes without a bucket",
        log(put(eventName="DeleteObjects", requestParameters={}, resources=...)),
        bad("names a bucket"),
    ),
    cloudtrail("a key of 5,000 characters", on(bucketName=DATA, key="a" * 5_000), bad("a key of 5,000 characters")),
    cloudtrail(
        "a bad record among good ones",
        log(put(seed=1), put(seed=2, requestParameters=None, resources=...), put(seed=3)),
        bad(r"1 bad record, all others are done: record 1: requestParameters: .*offset \d+, field requestParameters"),
    ),
    cloudtrail(
        "a lone surrogate in a record of another service",
        log(put(eventSource="ec2.amazonaws.com", requestParameters={"userData": "\udfff"}), put(seed=2)),
        done("skipped: not-object-change 1; refreshed: "),
    ),
    cloudtrail(
        "a bad time in a call that changes nothing",
        log(put(eventName="GetObject", eventTime="soon")),
        done("skipped: read-only"),
    ),
    cloudtrail(
        "unexpected types in a record of another service",
        log(put(eventSource="ec2.amazonaws.com", eventName=7)),
        done("skipped: not-object-change"),
    ),
    cloudtrail("a failed write", log(put(errorCode="AccessDenied")), done("skipped: failed")),
    cloudtrail(
        "a log file with a record about itself", log(put(TRAIL.format("itself"), LOGS)), done("skipped: not-mapped")
    ),
    cloudtrail(
        "a key with escaped NUL, control characters and a lone surrogate",
        log(put("a\0\x1b[31m\ud800.jpg")),
        done(WHOLE),
    ),
    cloudtrail("a key with ../ at its start", log(put("../../../etc/passwd")), done("refreshed: ")),
    cloudtrail("the same event twice", log(put(), put()), done("skipped: duplicate 1")),
]
