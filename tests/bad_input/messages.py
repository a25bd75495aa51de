"""Bad message bodies: not JSON, of unknown shapes, and in SNS envelopes.

A body never changes, so its errors are permanent.
"""

import json
from functools import partial
from typing import Final

from .cases import (
    DATA,
    DEEP,
    DIGEST,
    HOSTILE,
    LOGS,
    TRAIL,
    Case,
    announcing,
    deep,
    done,
    envelope,
    message,
    put,
    reject,
    s3_event,
    s3_record,
)

FORBIDDEN: Final = "a character that SQS forbids"
MALFORMED: Final = "AnnouncementMalformed"
UNKNOWN: Final = "AnnouncementUnknown"


def nested(times: int) -> str:
    """A good announcement in this many SNS envelopes."""
    body = announcing(TRAIL.format("nested").replace("CloudTrail/", "CloudTrail-Digest/"))
    for _ in range(times):
        body = json.dumps(envelope(body))
    return body


text = partial(message, "Messages: not JSON")

NOT_JSON: Final = [
    text("empty", "", reject(MALFORMED, "the body is empty"), unsendable="an empty body"),
    text("only white space", " \t\r\n ", reject(MALFORMED, "the body is empty")),
    text("prose", "Dear service, please sync.", reject(MALFORMED, "not JSON: .*Dear service")),
    text("a truncated JSON document", announcing("a")[:25], reject(MALFORMED, "not JSON: ")),
    text("JSON with data after it", announcing("a") + "x", reject(MALFORMED, "not JSON: ")),
    text("a byte order mark before the JSON", "\ufeff" + announcing(DIGEST), done("nothing to do: CloudTrail digest")),
    text("a number", "42", reject(UNKNOWN, "not a JSON object: it is 42")),
    text("null", "null", reject(UNKNOWN, "not a JSON object: it is null")),
    text("a string", '"CloudTrail"', reject(UNKNOWN, "not a JSON object: ")),
    text("a list of announcements", f"[{announcing('a')}]", reject(UNKNOWN, "not a JSON object: ")),
    text(
        "NaN and Infinity",
        '{"s3Bucket": NaN, "s3ObjectKey": [Infinity]}',
        reject(MALFORMED, "s3Bucket is not the name of a bucket"),
    ),
    text(
        "100,000 nested brackets",
        lambda: "[" * 100_000 + "]" * 100_000,
        reject(UNKNOWN, "not a JSON object: it is a list"),
    ),
    text(
        "1,000 nested brackets",
        "[" * 1_000 + "]" * 1_000,
        reject(UNKNOWN, "not a JSON object: it is a list"),
    ),
    text("100,000 brackets that are not closed", lambda: '{"a":' * 100_000, reject(MALFORMED, "not JSON: ")),
    text("1 MiB of text", lambda: "lorem " * 174_000, reject(MALFORMED, "not JSON: .*lorem")),
    text("1 MiB of digits", lambda: "9" * 1_000_000, reject(UNKNOWN, "not a JSON object: it is a large number")),
    text(
        "a body larger than SQS accepts",
        lambda: announcing("a" * 2**21),
        reject("AnnouncementTooLarge", "s3ObjectKey.0 has 2,097,152 characters; the limit is 2,000"),
        unsendable="2 MiB",
    ),
    text("a NUL byte", '{"s3Bucket": "\0"}', reject(MALFORMED, "not a list of keys"), unsendable=FORBIDDEN),
    text("control characters", "\x01\x02\x1b[31m", reject(MALFORMED, "not JSON: "), unsendable=FORBIDDEN),
    text(
        "a lone surrogate",
        '{"s3Bucket": "\ud800"}',
        reject(MALFORMED, "s3Bucket is not the name of a bucket"),
        unsendable=FORBIDDEN,
    ),
    text(
        "an escaped lone surrogate",
        '{"s3Bucket": "\\ud800"}',
        reject(MALFORMED, "s3Bucket is not the name of a bucket"),
    ),
    text("gzip in base64", "H4sIAAAAAAAAA6tWKk5NLkpVslJQKkpNzClVqgUAAAD//w==", reject(MALFORMED, "not JSON: ")),
    text(
        "XML",
        '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
        reject(MALFORMED, "not JSON: "),
    ),
]

odd = partial(message, "Messages: unknown or unusual shapes")

OF_NO_SHAPE: Final = [
    odd("an empty object", {}, reject(UNKNOWN, "unknown shape")),
    odd(
        "an event of another application",
        {"source": "orders", "id": 7},
        reject(UNKNOWN, r"its fields are .*'id', 'source'"),
    ),
    odd(
        "50,000 fields",
        lambda: json.dumps(dict.fromkeys(map(str, range(50_000)), 0)),
        reject(UNKNOWN, "its fields are"),
    ),
    odd(
        "the same field twice, the last one empty",
        f'{{"s3Bucket": "{LOGS}", "s3Bucket": "", "s3ObjectKey": ["a"]}}',
        reject(MALFORMED, "s3Bucket is not the name of a bucket"),
    ),
    odd(
        "a CloudTrail record instead of a CloudTrail file",
        {"Records": [put()]},
        reject(UNKNOWN, "record 0 of the S3 event has no field s3"),
    ),
    odd(
        "an S3 event in an SQS event of Lambda",
        {"Records": [{"eventSource": "aws:sqs", "body": json.dumps(s3_event(s3_record()))}]},
        reject(UNKNOWN, "record 0 of the S3 event has no field s3"),
    ),
    odd("an empty message of a sweep", {"swept": {}}, reject(UNKNOWN, "its fields are 'swept'")),
    odd("a lone surrogate in the message of a sweep", {"swept": "\udfff"}, reject(UNKNOWN, "its fields are 'swept'")),
    odd(
        "the message of a sweep, from a queue",
        {"swept": {"bucket": LOGS, "key": TRAIL.format("swept")}},
        reject(UNKNOWN, "its fields are 'swept'"),
    ),
    odd(
        "CloudTrail's validation message",
        "CloudTrail validation message.",
        done("nothing to do: CloudTrail validation message"),
    ),
    odd(
        "CloudTrail's validation message without its full stop",
        "CloudTrail validation message",
        reject(MALFORMED, "not JSON"),
    ),
    odd("S3's test event", {"Event": "s3:TestEvent", "Bucket": DATA}, done("nothing to do: s3:TestEvent")),
    odd(
        "S3's test event, without a bucket", {"Event": "s3:TestEvent", "Bucket": 7}, done("nothing to do: s3:TestEvent")
    ),
    odd("S3's test event, in the field eventName", {"eventName": "s3:TestEvent"}, done("nothing to do: s3:TestEvent")),
    odd(
        "an event name of 1,000 nested lists",
        deep({"Event": DEEP}),
        reject(UNKNOWN, "name of the event is unknown: a list"),
    ),
    odd(
        "another event name",
        {"Event": "s3:OtherEvent"},
        reject(UNKNOWN, "name of the event is unknown: 's3:OtherEvent'"),
    ),
    odd("an event name that is a list", {"Event": ["s3:TestEvent"]}, reject(UNKNOWN, "name of the event is unknown")),
]

sns = partial(message, "Messages: SNS envelopes")

SNS: Final = [
    sns("four nested envelopes", nested(4), done("nothing to do: CloudTrail digest")),
    sns("five nested envelopes", nested(5), reject("AnnouncementTooDeep", "more than 4 nested SNS envelopes")),
    sns("an envelope with an empty message", envelope(""), reject(MALFORMED, "the body is empty")),
    sns("an envelope of an unknown type", envelope("{}", Type="Surprise"), reject(UNKNOWN, "unknown type 'Surprise'")),
    sns(
        "an envelope whose message is not a string",
        envelope("", Message={"s3Bucket": LOGS}),
        reject(UNKNOWN, "unknown shape"),
    ),
    sns(
        "a subscription confirmation with a URL in our own network",
        envelope("confirm", Type="SubscriptionConfirmation", SubscribeURL=HOSTILE),
        done("nothing to do: SNS SubscriptionConfirmation"),
    ),
    sns(
        "the end of a subscription",
        envelope("gone", Type="UnsubscribeConfirmation", SubscribeURL=HOSTILE),
        done("nothing to do: SNS UnsubscribeConfirmation"),
    ),
]

CASES: Final[list[Case]] = [*NOT_JSON, *OF_NO_SHAPE, *SNS]
