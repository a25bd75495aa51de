"""What we read of SQS's answers is what botocore reads, for answers of any kind."""

import json

import botocore.session
import pytest
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError, create_parser
from hypothesis import example, given
from hypothesis import strategies as st
from tests.adapters.store_hosts import LOADER

from jibe_sqs.adapters import sqs_wire
from jibe_sqs.core.model import Message


def _model():
    session = botocore.session.Session()
    session.register_component("data_loader", LOADER)
    return session.get_service_model("sqs")


MODEL = _model()
PARSER = create_parser("json")


def botocores(operation, body, status=200, headers=None):
    shape = MODEL.operation_model(operation).output_shape
    return PARSER.parse({"status_code": status, "headers": headers or {}, "body": body}, shape)


def botocores_messages(body):
    """Botocore's answer in our type."""
    return [
        Message(
            id=found["MessageId"],
            receipt=found["ReceiptHandle"],
            body=found.get("Body", "").encode("utf-8", "surrogatepass"),
            receive_count=int(found.get("Attributes", {}).get("ApproximateReceiveCount", 1)),
            sent_at=int(found.get("Attributes", {}).get("SentTimestamp", 0)) / 1000,
        )
        for found in botocores("ReceiveMessage", body).get("Messages", ())
    ]


# Any text, with halves of surrogate pairs and control characters. Two halves in a row are one character in JSON.
TEXT = (st.text(st.characters(), max_size=30) | st.text('\ud83d\ude00\udfff\x00\x1f"\\/é\U0001f600a', max_size=20)).map(
    lambda text: json.loads(json.dumps(text))
)
NUMBER = st.integers(0, 2**53).map(str) | st.integers(0, 2**53)
ATTRIBUTES = st.none() | st.fixed_dictionaries(
    {}, optional={"ApproximateReceiveCount": NUMBER, "SentTimestamp": NUMBER, "Another": TEXT}
)
FOUND = st.fixed_dictionaries(
    {"MessageId": TEXT, "ReceiptHandle": TEXT},
    optional={"Body": st.none() | TEXT, "MD5OfBody": TEXT, "Attributes": ATTRIBUTES, "MessageAttributes": st.just({})},
)
ANSWER = st.fixed_dictionaries(
    {}, optional={"Messages": st.none() | st.lists(FOUND, max_size=10), "ResponseMetadata": st.just({"a": [1.5, None]})}
)


def written(value, *, ascii_only):
    """As a service may write it: with escapes, or with the characters themselves."""
    return json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")


@given(answer=ANSWER, ascii_only=st.booleans())
@example(answer={"Messages": [{"MessageId": "", "ReceiptHandle": "", "Body": "\ud83d\ude00"}]}, ascii_only=True)
def test_the_messages_of_a_receive_are_botocores(answer, ascii_only):
    body = written(answer, ascii_only=ascii_only)
    try:
        theirs = botocores_messages(body)
    except UnicodeDecodeError:
        # botocore refuses half of a surrogate pair that is not escaped.
        theirs = botocores_messages(written(answer, ascii_only=True))
    assert sqs_wire.messages(body) == theirs


@pytest.mark.parametrize("body", [b"", b"{}", b'{"Messages":null}', b'{"Messages":[]}', b'\xef\xbb\xbf{"Messages":[]}'])
def test_an_answer_without_messages_has_none(body):
    assert sqs_wire.messages(body) == []


FAILED = st.fixed_dictionaries(
    {"Id": st.integers(0, 9).map(str)},
    optional={"Code": st.none() | TEXT, "Message": st.none() | TEXT, "SenderFault": st.booleans()},
)
BATCH = st.fixed_dictionaries(
    {}, optional={"Failed": st.none() | st.lists(FAILED, max_size=10), "Successful": st.just([{"Id": "3"}])}
)


@given(answer=BATCH)
def test_the_failed_entries_of_a_batch_are_botocores(answer):
    body = written(answer, ascii_only=True)
    theirs = botocores("DeleteMessageBatch", body).get("Failed", ())
    ours = [(str(each.id), each.code, each.message) for each in sqs_wire.failures(body)]
    assert ours == [(each["Id"], each.get("Code"), each.get("Message")) for each in theirs]


UNREADABLE = {
    "html": b"<html><body>Welcome to the proxy</body></html>",
    "query protocol": b'<?xml version="1.0"?><ReceiveMessageResponse><ReceiveMessageResult/></ReceiveMessageResponse>',
    "cut off": b'{"Messages":[{"MessageId":"a","Rec',
    "list": b"[]",
    "no text": b"\xff\xfe\xfd",
    "deep": b"[" * 100_000,
}


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE)
@pytest.mark.parametrize("read", [sqs_wire.messages, sqs_wire.failures, sqs_wire.fields])
def test_an_answer_of_another_protocol_is_an_error_and_not_an_empty_queue(body, read):
    """botocore reads an answer in XML as one without messages: a queue that cannot be read would seem empty."""
    with pytest.raises(ResponseParserError, match="not of SQS's JSON protocol"):
        read(body)


@pytest.mark.parametrize(
    "found",
    [
        '{"MessageId":"a"}',
        '{"ReceiptHandle":"b"}',
        '{"MessageId":"a","ReceiptHandle":5}',
        '{"MessageId":"a","ReceiptHandle":"b","Attributes":{"SentTimestamp":"soon"}}',
        "null",
    ],
)
def test_a_message_that_cannot_be_handled_is_an_error(found):
    with pytest.raises(ResponseParserError, match="not of SQS's JSON protocol"):
        sqs_wire.messages(b'{"Messages":[%s]}' % found.encode())


def test_control_characters_in_a_message_are_read():
    """They are not JSON, and botocore reads such an answer as one without messages."""
    body = b'{"Messages":[{"MessageId":"a","ReceiptHandle":"b","Body":"\x00\x1f"}]}'
    assert [message.body for message in sqs_wire.messages(body)] == [b"\x00\x1f"]


# Refusals

SCALAR = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT
CODE = st.sampled_from(
    [
        "com.amazonaws.sqs#QueueDoesNotExist",
        "com.amazon.coral.service#ExpiredTokenException",
        "AccessDenied:http://internal.amazon.com/coral/",
        "InternalError",
        "#",
        ":",
        "",
    ]
)
ERROR = st.fixed_dictionaries(
    {}, optional={"__type": CODE | SCALAR, "message": SCALAR, "Message": SCALAR, "other": SCALAR}
)
BODY = (
    ERROR.map(lambda error: written(error, ascii_only=True))
    | st.binary(max_size=20)
    | SCALAR.map(lambda value: written(value, ascii_only=True))
    | st.sampled_from(
        [
            b"<html><body><b>Http/1.1 Service Unavailable</b></body></html>",
            b"\n <html>",
            b"<!DOCTYPE html><html></html>",
            b"<ErrorResponse><Error><Code>InvalidClientTokenId</Code></Error></ErrorResponse>",
            b"[]",
            b"",
            b"  \n",
        ]
    )
)
QUERY_ERROR = st.sampled_from(
    ["AWS.SimpleQueueService.NonExistentQueue;Sender", "InternalFailure;Receiver", ";Sender", "A;B;C", "A", ""]
)
HEADERS = st.fixed_dictionaries({}, optional={"x-amzn-query-error": QUERY_ERROR, "x-amzn-requestid": st.just("id")})
STATUS = st.sampled_from([301, 307, 400, 403, 404, 413, 429, 500, 502, 503, 504])


@given(body=BODY, headers=HEADERS, status=STATUS)
@example(body=b"[]", headers={}, status=400)
@example(body=b"\xff", headers={}, status=503)
@example(body=b'{"__type": 5}', headers={}, status=400)
def test_the_code_and_the_message_of_a_refusal_are_botocores(body, headers, status):
    refusal = sqs_wire.refusal("ReceiveMessage", status, headers, body)
    assert isinstance(refusal, ClientError)
    assert refusal.response["ResponseMetadata"]["HTTPStatusCode"] == status
    ours = refusal.response["Error"]
    try:
        theirs = botocores("ReceiveMessage", body, status, headers)["Error"]
    except (AttributeError, TypeError, ValueError):
        # botocore's own parser fails. Then the status, or the code in the header, is all that is known.
        assert ours["Code"] in (str(status), headers.get("x-amzn-query-error", "").partition(";")[0])
    else:
        assert (ours["Code"], ours["Message"]) == (theirs["Code"], theirs["Message"] or "")


def test_a_refusal_of_the_query_protocol_shows_what_came():
    body = b"<ErrorResponse><Error><Code>InvalidAction</Code></Error></ErrorResponse>"
    refusal = sqs_wire.refusal("ReceiveMessage", 400, {}, body)
    assert (refusal.response["Error"]["Code"], refusal.response["Error"]["Message"]) == ("400", body.decode())


# Requests


@given(entries=st.lists(st.fixed_dictionaries({"Id": TEXT, "ReceiptHandle": TEXT}), max_size=10))
def test_a_request_carries_every_text(entries):
    assert json.loads(sqs_wire.request({"QueueUrl": "u", "Entries": entries})) == {"QueueUrl": "u", "Entries": entries}
