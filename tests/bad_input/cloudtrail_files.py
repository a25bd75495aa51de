"""CloudTrail's log files, wrong in their text."""

import gzip
import json
from functools import partial
from typing import Any, Final

from .cases import DATA, LOGS, TRAIL, Case, done, file, log, put, reject, retry, text

cloudtrail = partial(file, "Files: CloudTrail", TRAIL)
MALFORMED: Final = "LogMalformed"
RECORD: Final = "RecordMalformed"


def on(**parameters: Any) -> bytes:
    """A log of a write with these parameters."""
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
        "a digest, under a log's name",
        b'{"awsAccountId": "111122223333", "logFiles": []}',
        retry(MALFORMED, "no array 'Records' in the JSON"),
    ),
    cloudtrail("no records", log(), done("nothing in it")),
    cloudtrail("JSON, cut before its Records", b'{"Rec', retry("LogTruncated", "ends before its 'Records'")),
    cloudtrail("JSON, cut in a record", GOOD[:300], retry("LogTruncated", "ends in the middle of its records")),
    cloudtrail("JSON, cut between records", GOOD[:-2], retry("LogTruncated", "ends in the middle of its records")),
    cloudtrail(
        "JSON, cut at its last bracket",
        GOOD[:-1],
        retry("LogTruncated", "ends before the object does, after 1 records"),
    ),
    cloudtrail("something after the document", GOOD + b"}", retry(MALFORMED, "after the array 'Records' comes")),
    cloudtrail("two documents", GOOD + GOOD, retry(MALFORMED, "after the array 'Records' comes")),
    cloudtrail(
        "a comma after the last record",
        GOOD[:-2] + b",]}",
        retry(MALFORMED, "a comma, and no record, ends the records"),
    ),
    cloudtrail("single quotes", GOOD.replace(b'"eventName"', b"'eventName'"), retry(MALFORMED, "a record is not JSON")),
    cloudtrail("NaN in a record", log(put(additionalEventData=float("nan"))), retry(MALFORMED, "not JSON")),
    cloudtrail("a NUL byte in a text", GOOD.replace(b"bad input", b"bad\0input"), retry(MALFORMED, "not JSON")),
    cloudtrail(
        "bytes that are not UTF-8",
        GOOD.replace(b"a.jpg", b"\xe9.jpg"),
        retry(RECORD, "record 0: requestParameters: 'utf-8' codec"),
    ),
    cloudtrail("UTF-16", GOOD.decode().encode("utf-16"), retry(MALFORMED, r"starts with b'\\xff\\xfe")),
    cloudtrail("a byte order mark", b"\xef\xbb\xbf" + GOOD, done("refreshed: ")),
    cloudtrail("a record that is a number", log(7), retry(RECORD, "record 0: Expected `object`, got `int`")),
    cloudtrail(
        "a record that is null, after a good one",
        log(put(), None),
        retry(RECORD, "record 1: Expected `object`, got `null`"),
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
        "one text of a MiB that nobody ends",
        lambda: gzip.compress(b'{"Records": [{"eventName": "' + b"ab" * 500_000, mtime=0),
        reject("LogLimitExceeded", "a record of more than 65,536 bytes"),
    ),
    cloudtrail("10,000 levels", lambda: nested(10_000), retry(MALFORMED, "a record is nested too deeply")),
    cloudtrail(
        "an event of major version 2",
        log(put(eventVersion="2.0")),
        retry(RECORD, "record 0 has the unknown version '2.0'"),
    ),
    cloudtrail("no version", log(put(eventVersion=...)), retry(RECORD, "record 0 has the unknown version ''")),
    cloudtrail("a version that is a number", log(put(eventVersion=1.11)), retry(RECORD, "record 0: .*eventVersion")),
    cloudtrail("no time", log(put(eventTime=...)), retry(RECORD, "record 0: eventTime '' is no time")),
    cloudtrail("a time in the year 0", log(put(eventTime="0000-01-01T00:00:00Z")), retry(RECORD, "is no time")),
    cloudtrail("a time in the year 10000", log(put(eventTime="10000-01-01T00:00:00Z")), retry(RECORD, "is no time")),
    cloudtrail(
        "the 31st of February",
        log(put(eventTime="2026-02-31T00:00:00Z")),
        retry(RECORD, "eventTime '2026-02-31T00:00:00Z' is no time"),
    ),
    cloudtrail("a time that is a number", log(put(eventTime=1769860800)), retry(RECORD, "record 0: .*eventTime")),
    cloudtrail(
        "a write without parameters",
        log(put(requestParameters=None, resources=...)),
        retry(RECORD, "record 0, a PutObject, names no bucket and key"),
    ),
    cloudtrail("a write without a key", on(bucketName=DATA), retry(RECORD, "names no bucket and key")),
    cloudtrail(
        "a key that is a number", on(bucketName=DATA, key=7), retry(RECORD, "record 0: requestParameters: .*key")
    ),
    cloudtrail(
        "a bucket that is an object",
        on(bucketName={}, key="a"),
        retry(RECORD, "record 0: requestParameters: .*bucketName"),
    ),
    cloudtrail(
        "parameters that are a text",
        log(put(requestParameters="bucketName=a")),
        retry(RECORD, "record 0: requestParameters"),
    ),
    cloudtrail("resources that are an object", log(put(resources={})), retry(RECORD, "record 0: resources")),
    cloudtrail("a user who is a number", log(put(userIdentity=7)), retry(RECORD, "record 0: userIdentity")),
    cloudtrail(
        "a rename that doesn't say from where",
        log(put(eventName="RenameObject", resources=...)),
        retry(RECORD, "does not say from which key"),
    ),
    cloudtrail(
        "deletes of a bucket without a name",
        log(put(eventName="DeleteObjects", requestParameters={}, resources=...)),
        retry(RECORD, "names no bucket"),
    ),
    cloudtrail(
        "a key of 5,000 characters", on(bucketName=DATA, key="a" * 5_000), retry(RECORD, "a key of 5,000 characters")
    ),
    cloudtrail(
        "a bad record among good ones",
        log(put(seed=1), put(seed=2, eventTime="soon"), put(seed=3)),
        retry(RECORD, "record 1: eventTime 'soon' is no time"),
    ),
    cloudtrail(
        "a bad time in a call that changes nothing",
        log(put(eventName="GetObject", eventTime="soon")),
        done("skipped: read-only"),
    ),
    cloudtrail(
        "other types in another service's record",
        log(put(eventSource="ec2.amazonaws.com", eventName=7)),
        done("skipped: not-object-change"),
    ),
    cloudtrail("a failed write", log(put(errorCode="AccessDenied")), done("skipped: failed")),
    cloudtrail("a log that tells of itself", log(put(TRAIL.format("itself"), LOGS)), done("skipped: not-mapped")),
    cloudtrail(
        "a key with NUL, control characters and half of a surrogate pair, escaped",
        log(put("a\0\x1b[31m\ud800.jpg")),
        retry(MALFORMED, "not JSON"),
    ),
    cloudtrail("a key that climbs out of its bucket", log(put("../../../etc/passwd")), done("refreshed: ")),
    cloudtrail("the same event twice", log(put(), put()), done("skipped: duplicate 1")),
]
